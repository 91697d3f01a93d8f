"""`dropscribe models`: list, download, quantise, remove, verify and locate Whisper models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.backends import choice
from dropscribe.cli.console import ProgressBar, print_json, say
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.models.catalogue import READS_MODELS_OF, name_quantised
from dropscribe.models.store import ModelStore
from dropscribe.supervisor import locks
from dropscribe.supervisor.lookup import format_minute, read_journal

if TYPE_CHECKING:
    from dropscribe.cli import commands

_LISTING_KEYS = ("name", "backend", "repo", "origin", "source", "used", "path", "bytes")
"""What the JSON of `models list` holds of each model."""
_VERDICTS = {True: "ok", False: "DAMAGED", None: "no digest known"}


def list_models(arguments: commands.ListModels) -> int:
    """Print the known models, and of those on this machine their size, origin and last use.

    The models of WhisperX are those of faster-whisper, and are listed under its name.
    """
    backend = arguments.backend and READS_MODELS_OF.get(arguments.backend, arguments.backend)
    rows = [row for row in ModelStore().list_models() if backend in {None, row.backend}]
    if arguments.json:
        print_json([{name: getattr(row, name) for name in _LISTING_KEYS} for row in rows])
        return Exit.OK
    for row in rows:
        size = f"{row.bytes / 1e6:.0f} MB" if row.bytes else ""
        origin = f"{row.origin}: {row.source}" if row.origin else f"not here: {row.repo}"
        last = f" (used {format_minute(row.used)})" if row.used else ""
        print(f"{row.name:<20} {row.backend:<15} {size:>8}  {origin}{last}")
    return Exit.OK


def pull_model(arguments: commands.PullModel) -> int:
    """Download a model and print its folder."""
    model, backend = _choose(arguments.model, arguments.backend)
    return _pull(model, backend, as_json=arguments.json)


def quantize_model(arguments: commands.QuantizeModel) -> int:
    """Make a smaller copy of a model for MLX and print its folder."""
    if arguments.backend not in {None, "mlx"}:
        message = f"{arguments.backend} quantises by itself when it loads a model."
        raise UsageError(message, "This is for the backend mlx.")
    model, _ = _choose(arguments.model, "mlx")
    return _pull(name_quantised(model, arguments.bits), "mlx", as_json=arguments.json)


def remove_model(arguments: commands.RemoveModel) -> int:
    """Remove a model; with `--yes` also one that is shared with other programs or in use."""
    model, backend = _choose(arguments.model, arguments.backend)
    if not arguments.yes and _is_in_use(model, backend):
        raise DropscribeError(
            f"The running daemon uses the model {model}.",
            "Stop it first, or add --yes: it keeps what is in memory, and gets the model again later.",
        )
    removed = ModelStore().remove_model(model, backend, shared=arguments.yes)
    if arguments.json:
        print_json({"path": removed.path, "bytes": removed.bytes})
    else:
        say(f"Removed {removed.path}: {removed.bytes / 1e6:.0f} MB.")
    return Exit.OK


def verify_model(arguments: commands.VerifyModel) -> int:
    """Read a model's files and compare their digests; a damaged one is an error."""
    report = ModelStore().verify_model(*_choose(arguments.model, arguments.backend))
    if arguments.json:
        files = [{"name": file.name, "bytes": file.bytes, "ok": file.ok} for file in report.files]
        print_json({"name": report.model.name, "path": report.model.path, "ok": report.ok, "files": files})
    else:
        print(report.model.path)
        for file in report.files:
            print(f"{file.name:<26} {file.bytes / 1e6:>9.1f} MB  {_VERDICTS[file.ok]}")
    if not report.ok:
        cure = f"`dropscribe models pull {report.model.name}`."
        raise DropscribeError(f"The model {report.model.name} is damaged.", cure)
    return Exit.OK


def locate_model(arguments: commands.LocateModel) -> int:
    """Print the folder of a model that is on this machine."""
    found = ModelStore().find_path(*_choose(arguments.model, arguments.backend))
    if arguments.json:
        print_json({"path": found})
    else:
        print(found)
    return Exit.OK


def _choose(model: str | None, backend: str | None) -> tuple[str, str]:
    """Return a model and a backend: those named, else the one that is set and the one that this machine takes."""
    chosen = settings.load().settings
    if backend is None:
        line = choice.choose_for_this_machine(chosen)
        backend = line[0].name if line else "faster-whisper"
    return model or chosen.model, backend


def _pull(model: str, backend: str, *, as_json: bool) -> int:
    with ProgressBar() as bar:
        found = ModelStore().pull_model(
            model, backend, lambda p: bar.show_download(p.model, p.done_bytes, p.total_bytes)
        )
    if as_json:
        facts = {"name": found.name, "path": found.path, "revision": found.revision, "origin": found.origin}
        print_json(facts | {"backend": backend})
    else:
        say(f"{found.name} for {backend} is here ({found.origin}).")
        print(found.path)
    return Exit.OK


def _is_in_use(model: str, backend: str) -> bool:
    """Return whether a running daemon has this model in memory, or is set to load it."""
    chosen = settings.load().settings
    if not locks.is_running(chosen.state):
        return False
    with read_journal(chosen) as journal:
        if journal is None:
            return False
        loaded = journal.get_meta("engine").partition(" on ")[0]
    try:
        store = ModelStore()
        folder = store.find_path(model, backend)
        return any(store.find_path(name, backend) == folder for name in {loaded, chosen.model} - {""})
    except DropscribeError:
        return False

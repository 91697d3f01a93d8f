"""`dropscribe transcribe` and `dropscribe export`: transcripts without the daemon."""

from __future__ import annotations

import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe import settings
from dropscribe.cli.console import ProgressBar, say
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.formats import RENDERERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript

EXPORT_FORMATS = tuple(name for name in RENDERERS if name != "json")
"""The formats that can be written from the JSON."""


def transcribe(arguments: commands.Transcribe) -> int:
    """Transcribe files one after the other; what fails is reported and does not stop the others."""
    from dropscribe.supervisor import outbox

    chosen = settings.load(arguments.flags).settings
    if arguments.format not in RENDERERS:
        raise UsageError(f"There is no format {arguments.format}.", "Formats: " + ", ".join(RENDERERS))
    failed = 0
    with ProgressBar() as bar:
        for path, outcome in _transcripts(chosen, arguments.files, bar):
            bar.close()
            if isinstance(outcome, DropscribeError):
                failed += 1
                say(f"{path}: {outcome}")
            elif arguments.output is None:
                _print(arguments, path, outcome)
            else:
                _publish(arguments.output, outbox.bases(PurePath(path.name))[0], outcome, chosen.formats)
    return Exit.FAILED if failed else Exit.OK


def export(arguments: commands.Export) -> int:
    """Write other formats of a finished transcript from its JSON alone."""
    path = arguments.transcript
    wanted = [name.strip() for name in arguments.to.split(",") if name.strip()]
    for name in wanted:
        if name not in EXPORT_FORMATS:
            raise UsageError(f"There is no format {name} to export to.", f"Formats: {', '.join(EXPORT_FORMATS)}.")
    transcript = _read(path)
    _publish(arguments.output or path.parent, path.stem, transcript, wanted)
    return Exit.OK


def _print(arguments: commands.Transcribe, path: Path, transcript: Transcript) -> None:
    name = "json" if arguments.json else arguments.format
    if len(arguments.files) > 1 and name != "json":
        print(f"== {path}")
    sys.stdout.write(RENDERERS[name](transcript))
    sys.stdout.flush()


def _read(path: Path) -> Transcript:
    from dropscribe.transcript import Transcript

    try:
        return Transcript.from_json(path.read_bytes())
    except OSError as error:
        raise DropscribeError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        cure = "Give the .json that is in the outbox next to the text."
        raise DropscribeError(f"{path} is no transcript of Dropscribe.", cure) from None


def _publish(folder: Path, base: str, transcript: Transcript, formats: Sequence[str]) -> None:
    """Write a transcript in these formats and print the path of each file."""
    from dropscribe.supervisor import outbox

    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: RENDERERS[name](transcript) for name in formats}
    for published in outbox.publish(folder, base, contents, {}):
        print(folder / published.path)


def _transcripts(chosen: Settings, files: Sequence[Path], bar: ProgressBar) -> Any:
    """Yield each file with its transcript or the error about it, one worker for all."""
    import dataclasses
    import queue
    import tempfile
    from datetime import datetime

    from dropscribe import recording_date
    from dropscribe.errors import EnvironmentFaultError, Fault, JobError, RecordingFaultError
    from dropscribe.formats import replacements, review
    from dropscribe.supervisor import worker_process
    from dropscribe.supervisor.inbox import Stat, digest
    from dropscribe.transcript import Source

    request = worker_process.request(chosen, download=True)
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    worker = None
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        try:
            for number, path in enumerate(files):
                try:
                    found = path.stat()
                    sha256 = digest(path.resolve(), Stat(found.st_size, found.st_mtime_ns)) or ""
                except OSError as failure:
                    yield path, RecordingFaultError("unreadable", f"It cannot be read: {failure.strerror}.")
                    continue
                except EnvironmentFaultError as failure:  # in iCloud: the others go on
                    yield path, failure
                    continue
                source = Source(path.name, str(path.absolute()), sha256, found.st_size)
                if worker is None:
                    worker = worker_process.Worker(messages.put)
                spool = Path(folder) / f"{number}.f32"
                worker.send(number, "transcribe", path=str(path.resolve()), spool=str(spool), resume=None, **request)
                facts: dict[str, Any] = {}
                windows: list[dict[str, Any]] = []
                while True:
                    message = messages.get()
                    if message.event == "exit":
                        worker = None
                        how = f"The engine's process ended with {message.facts['how']}."
                        yield path, JobError("worker-died", how, message.facts["stderr"][-500:])
                        break
                    if message.event in {"decoded", "loaded", "planned"}:
                        facts |= message.facts
                    elif message.event == "model":
                        bar.show_download(message.facts["model"], message.facts["done"], message.facts["total"])
                    elif message.event == "fallback":
                        say(f"dropscribe: {message.facts['backend']} is passed over: {message.facts['reason']}")
                    elif message.event == "window":
                        windows.append(message.facts)
                        bar.show_seconds(path.name, message.facts["end_s"], facts["audio_s"])
                    elif message.event == "failed":
                        error = JobError(message.facts["code"], message.facts["message"], message.facts["cure"])
                        if message.facts["fault"] == Fault.ENVIRONMENT and not windows:
                            raise error
                        yield path, error
                        break
                    elif message.event == "finished":
                        made = worker_process.assemble(source, facts, windows, chosen)
                        now = datetime.now().astimezone()
                        at, origin = recording_date.filled(made.source, path, found.st_mtime_ns, now)
                        source = dataclasses.replace(made.source, recorded_at=at, recorded_from=origin)
                        made = replacements.replace(dataclasses.replace(made, source=source), chosen.replacements)
                        yield path, dataclasses.replace(made, review=review.review(made))
                        break
        finally:
            if worker is not None:
                worker.kill()

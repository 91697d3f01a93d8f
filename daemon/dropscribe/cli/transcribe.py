"""`dropscribe transcribe` and `dropscribe export`: transcripts without the daemon."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import ProgressBar, say
from dropscribe.errors import DropscribeError, Exit, JobError, UsageError
from dropscribe.formats import RENDERERS, render

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript

EXPORT_FORMATS = tuple(name for name in settings.FORMATS if name != "json")
"""The formats that can be written from the JSON."""


def transcribe(arguments: commands.Transcribe) -> int:
    """Transcribe files one after the other; what fails is reported and does not stop the others."""
    from dropscribe.cli.file_transcriber import FileTranscriber
    from dropscribe.models import catalogue

    chosen = settings.load(arguments.flags).settings
    catalogue.check_setting(chosen.model, chosen.backend)
    if arguments.format not in RENDERERS:
        raise UsageError(f"There is no format {arguments.format}.", "Formats: " + ", ".join(RENDERERS) + ".")
    failed = 0
    with ProgressBar() as bar, FileTranscriber(chosen, bar) as transcriber:
        for path in arguments.files:
            try:
                transcript = transcriber.transcribe(path)
            except JobError as error:
                bar.close()
                say(f"{path}: {error}")
                failed += 1
                continue
            bar.close()
            if arguments.output is None:
                _print(arguments, path, transcript, chosen)
            else:
                _publish(arguments.output, _choose_base(path, transcript, chosen), transcript, chosen)
    return Exit.FAILED if failed else Exit.OK


def export(arguments: commands.Export) -> int:
    """Write other formats of a finished transcript from its JSON alone."""
    path = arguments.transcript
    wanted = [name.strip() for name in arguments.to.split(",") if name.strip()]
    for name in wanted:
        if name not in EXPORT_FORMATS:
            raise UsageError(f"There is no format {name} to export to.", f"Formats: {', '.join(EXPORT_FORMATS)}.")
    settings.check_libraries(wanted)
    transcript = read_transcript_file(path)
    options = {name: value for name, value in transcript.engine.options.items() if name not in arguments.flags}
    for name, text in arguments.flags.items():
        number = settings.parse_value(name, text, f"--{name.replace('_', '-')}")
        options |= {name: f"{number:g}"} if number else {}
    transcript = dataclasses.replace(transcript, engine=dataclasses.replace(transcript.engine, options=options))
    named = settings.parse_value("srt_speakers", arguments.srt_speakers, "--srt-speakers")
    _publish(
        arguments.output or path.parent,
        path.stem,
        transcript,
        dataclasses.replace(settings.Settings(), formats=tuple(wanted), srt_speakers=named),
    )
    return Exit.OK


def _choose_base(path: Path, transcript: Transcript, chosen: Settings) -> str:
    from dropscribe.supervisor.assembly import find_text_language
    from dropscribe.supervisor.names import list_bases

    return list_bases(PurePath(path.name), chosen.names, find_text_language(transcript))[0]


def _print(arguments: commands.Transcribe, path: Path, transcript: Transcript, chosen: Settings) -> None:
    name = "json" if arguments.json else arguments.format
    if len(arguments.files) > 1 and name != "json":
        print(f"== {path}")
    sys.stdout.write(render(name, transcript, srt_speakers=chosen.srt_speakers).decode())
    sys.stdout.flush()


def read_transcript_file(path: Path) -> Transcript:
    """Return the transcript in a JSON file. Raises: DropscribeError."""
    from dropscribe.transcript import Transcript

    try:
        return Transcript.from_json(path.read_bytes())
    except OSError as error:
        raise DropscribeError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        cure = "Give the .json that is in the outbox next to the text."
        raise DropscribeError(f"{path} is no transcript of Dropscribe.", cure) from None


def _publish(folder: Path, base: str, transcript: Transcript, chosen: Settings) -> None:
    """Write a transcript in the formats that are set and print the path of each file."""
    from dropscribe.supervisor import outbox

    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: render(name, transcript, srt_speakers=chosen.srt_speakers) for name in chosen.formats}
    for published in outbox.publish(folder, base, contents, {}):
        print(folder / published.path)

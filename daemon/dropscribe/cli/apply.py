"""`dropscribe apply`: a text that was edited by hand becomes that of its transcript, and the other formats follow.

Guarantees: the file that was edited is only read; the journal is only read; what was corrected is left as a request
for the daemon, its only writer. A set that `dropscribe transcribe` wrote is corrected here, file by file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import print_json, say
from dropscribe.cli.transcribe import read_transcript_file
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.formats import RENDERERS
from dropscribe.library.corrections import correct
from dropscribe.library.edited_text import find_suffix, read_edits
from dropscribe.supervisor import locks, lookup, outbox, requests
from dropscribe.supervisor.correcting import ORIGINAL, make_correction, read_transcript
from dropscribe.supervisor.explanation import explain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.transcript import Edit, Transcript


def apply(arguments: commands.Apply) -> int:
    """Ask the daemon to correct a recording's transcript, or to take back its last correction."""
    chosen = settings.load().settings
    if arguments.undo is not None:
        return _undo(chosen, arguments.undo)
    assert arguments.file is not None  # noqa: S101 (the parser sees to it)
    path = arguments.file
    suffix = find_suffix(path.name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DropscribeError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UsageError(f"{path} is not UTF-8.", "Save it as UTF-8 in your editor.") from None
    with lookup.read_journal(chosen) as journal:
        recording = lookup.find_by_output(chosen, journal, path)
        transcript = None
        if journal is not None and recording is not None:
            transcript = read_transcript(journal, recording, chosen)
    if recording is None:
        transcript = _read_beside(path, suffix)
    if transcript is None:
        raise UsageError(f"{path} belongs to a recording that is not done.", "Wait until it is.")
    edits = read_edits(transcript, text, suffix)
    if arguments.json:
        print_json([dataclasses.asdict(edit) for edit in edits])
    count = f"{len(edits)} correction{'' if len(edits) == 1 else 's'}"
    if not edits:
        say(f"{path} says what its transcript says.")
    elif recording is None:
        _correct_files(path, suffix, transcript, edits)
        say(f"{count} of {transcript.source.name} are in every format that nobody edited.")
    else:
        request = requests.Correct(lookup.format_name(recording), make_correction(edits))
        requests.write_request(chosen.state, request)
        say(f"{count} of {lookup.format_name(recording)} will be in every format.{_say_when(chosen)}")
    return Exit.OK


def _read_beside(path: Path, suffix: str) -> Transcript:
    """Return the transcript next to a file that no daemon wrote, but `dropscribe transcribe`.

    Raises: UsageError when there is none.
    """
    beside = path.with_name(path.name.removesuffix(suffix) + ".json")
    if not beside.is_file():
        cure = "Edit a file that Dropscribe wrote, under the name and in the folder that it has."
        raise UsageError(f"{path} belongs to no transcript.", cure)
    return read_transcript_file(beside)


def _correct_files(path: Path, suffix: str, transcript: Transcript, edits: Sequence[Edit]) -> None:
    """Write the formats next to a transcript again that are as they were made from it, the JSON last."""
    folder, base = path.parent, path.name.removesuffix(suffix)
    corrected = correct(transcript, [make_correction(edits)]).transcript
    ours, contents = {}, {}
    for name, render in RENDERERS.items():
        digest = hashlib.sha256(render(transcript).encode("utf-8", "replace")).hexdigest()
        file = folder / f"{base}.{name}"
        if file.is_file() and not outbox.is_changed(file, digest):
            ours[file.name] = digest
            contents[name] = render(corrected)
    contents["json"] = corrected.to_json()
    if not transcript.corrections:
        contents[ORIGINAL] = transcript.to_json()
    for published in outbox.publish(folder, base, contents, ours):
        print(folder / published.path)


def _undo(chosen: Settings, path: Path) -> int:
    with lookup.read_journal(chosen) as journal:
        recording = lookup.find_recording(chosen, journal, path)
        held = _list_held(journal, recording)
    if recording is None or not held:
        raise UsageError(f"{path} has no correction that could be taken back.", explain(chosen, path).reason)
    requests.write_request(chosen.state, requests.Undo(lookup.format_name(recording), held[-1]))
    say(f"The correction of {held[-1]} is taken back.{_say_when(chosen)}")
    return Exit.OK


def _list_held(journal: Journal | None, recording: Recording | None) -> list[str]:
    """Return when the corrections were made that hold."""
    if journal is None or recording is None:
        return []
    return [correction.made for correction in journal.corrections.list_for(recording) if correction.undone is None]


def _say_when(chosen: Settings) -> str:
    return "" if locks.is_running(chosen.state) else " The daemon is not running: it does so when it starts."

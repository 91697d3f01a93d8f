"""`dropscribe speakers`: who speaks in a finished recording, and other names for them.

Guarantees: the journal is only read; what is to be renamed is left as a request for the daemon, its only writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import print_json, say
from dropscribe.errors import Exit, UsageError
from dropscribe.library.corrections import list_names
from dropscribe.supervisor import locks, lookup, requests
from dropscribe.supervisor.correcting import read_transcript
from dropscribe.supervisor.explanation import explain
from dropscribe.supervisor.journal import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript


def speakers(arguments: commands.Speakers) -> int:
    """Print the speakers of a recording, or ask the daemon to give them other names."""
    chosen = settings.load().settings
    transcript = _read_transcript(chosen, arguments.file)
    if not arguments.names:
        return _print_speakers(transcript, as_json=arguments.json)
    names = _read_names(arguments.names, list_names(transcript), arguments.file)
    file = lookup.locate_in_inbox(chosen, arguments.file) or str(arguments.file)
    requests.write_request(chosen.state, requests.Rename(file, names))
    later = "" if locks.is_running(chosen.state) else " The daemon is not running: it does so when it starts."
    say(f"{arguments.file}: {', '.join(f'{old} is called {new}' for old, new in names.items())}.{later}")
    return Exit.OK


def _read_transcript(chosen: Settings, path: Path) -> Transcript:
    """Return the stored transcript of a recording. Raises: UsageError when it is not done."""
    with lookup.read_journal(chosen) as journal:
        recording = lookup.find_recording(chosen, journal, path)
        transcript = None
        if journal is not None and recording is not None and recording.state == State.DONE and recording.result:
            transcript = read_transcript(journal, recording, chosen)
    if transcript is None:
        raise UsageError(f"{path} is not done yet.", explain(chosen, path).reason)
    return transcript


def _print_speakers(transcript: Transcript, *, as_json: bool) -> int:
    found = {speaker.name: speaker for speaker in transcript.speakers or ()}
    names = list_names(transcript)
    if as_json:
        print_json(
            [
                {"name": name, "share": found[name].share, "confidence": found[name].confidence}
                if name in found
                else {"name": name, "share": None, "confidence": None}
                for name in names
            ]
        )
        return Exit.OK
    for name in names:
        known = found.get(name)
        print(name if known is None else f"{name:<24} {known.share:>6.1%}  sure to {known.confidence:.0%}")
    if not names:
        say("No speakers are told apart in it: see the setting `speakers`.")
    return Exit.OK


def _read_names(pairs: Sequence[str], known: Sequence[str], path: Path) -> dict[str, str]:
    """Return the new name of each old one. Raises: UsageError."""
    names = {}
    for pair in pairs:
        old, equals, new = (part.strip() for part in pair.partition("="))
        if not equals or not old or not new:
            raise UsageError(f"`{pair}` is no pair of names.", 'Write "Speaker 1=Anna".')
        if old not in known:
            raise UsageError(f"{path} has no speaker {old}.", f"It has: {', '.join(known) or 'none'}.")
        names[old] = new
    later = [names.get(name, name) for name in known]
    if len(set(later)) < len(later):
        raise UsageError("Two speakers would have the same name.", "Give each a name of its own.")
    return names

"""What the library shows of each recording, read from the journal.

A page of it needs the rows of all recordings, which is quick, and the transcripts of those on it, which is not: of
each only the language and the speakers are looked at, once.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from dropscribe.supervisor import lookup
from dropscribe.supervisor.journal import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording

PAGE = 100
"""Recordings on a page of the library."""
NEEDY = 50
"""Recordings that need a person, named at the top."""
_MOST_FACTS = 20_000
"""Recordings of which the facts are kept."""
# As `Transcript.to_json` writes them: with one space of indent for each level.
_LANGUAGE = re.compile(r'^ "language": ("[^"]*")', re.MULTILINE)
_DURATION = re.compile(r'^ "duration": ([0-9.]+),$', re.MULTILINE)
_SPEAKER = re.compile(r'^   "speaker": (".*"),?$', re.MULTILINE)
_SPEAKERS = re.compile(r'^ "speakers": \[', re.MULTILINE)
_NAME = re.compile(r'^   "name": (".*"),?$', re.MULTILINE)
_STATES = {
    State.WAITING: "cannot be read yet",
    State.QUEUED: "waits",
    State.RUNNING: "is being transcribed",
    State.PUBLISHING: "is being written",
    State.DONE: "done",
    State.FAILED: "failed",
    State.SKIPPED: "skipped",
    State.GONE: "was taken away",
}
"""Each state in words."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a transcript says of its recording."""

    language: str
    speakers: tuple[str, ...]
    duration: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the library."""

    id: int
    file: str
    """Path relative to the inbox."""
    name: str
    folder: str
    state: str
    """A `journal.State`."""
    shown_state: str
    code: str
    reason: str
    when: str
    """Of its arrival: local date, hour and minute."""
    stamp: str
    """The same in ISO 8601."""
    length: str
    facts: Facts | None

    @property
    def cures(self) -> tuple[tuple[str, str], ...]:
        """Return what a person can do about it: the request, and the words on its button."""
        match self.state:
            case State.FAILED:
                return (("retry", "Try again"),)
            case State.SKIPPED:
                return (("retry", "Transcribe it"),)
            case State.WAITING | State.QUEUED | State.RUNNING:
                return (("skip", "Skip"),)
            case State.DONE:
                return (("redo", "Transcribe again"),)
        return ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which recordings are asked for."""

    text: str = ""
    """In the path, in any case of letters."""
    folder: str = ""
    """This folder and those in it."""
    state: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the library."""

    entries: list[Entry]
    needy: list[Entry]
    """Recordings that failed or wait for a person; on the first page only."""
    folders: list[str]
    states: list[str]
    found: int
    total: int
    pages: int


class Library:
    """Reads the journal of one daemon. Safe in several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._facts: dict[tuple[str, float], Facts] = {}

    def read(self, wanted: Wanted) -> Listing:
        """Return one page. Raises: DropscribeError and sqlite3.Error when the journal cannot be read."""
        with lookup.read_journal(self._settings) as journal:
            if journal is None:
                return Listing([], [], [], [], 0, 0, 1)
            everything = [r for r in _list_newest(journal) if r.state != State.GONE]
            folders = {str(parent) for r in everything for parent in r.name.parents} - {"."}
            found = list(_filter(everything, wanted))
            begin = (wanted.page - 1) * PAGE
            plain = wanted == Wanted()
            needy = [r for r in everything if r.state in {State.FAILED, State.WAITING}][:NEEDY] if plain else []
            return Listing(
                entries=[self._describe(journal, r) for r in found[begin : begin + PAGE]],
                needy=[self._describe(journal, r) for r in needy],
                folders=sorted(map(_show, folders), key=str.casefold),
                states=sorted({str(r.state) for r in everything}),
                found=len(found),
                total=len(everything),
                pages=max(1, -(-len(found) // PAGE)),
            )

    def find(self, number: int) -> Entry | None:
        """Return one recording."""
        with lookup.read_journal(self._settings) as journal:
            recording = find_recording(journal, number)
            return None if journal is None or recording is None else self._describe(journal, recording)

    def _describe(self, journal: Journal, recording: Recording) -> Entry:
        file = lookup.format_name(recording)
        place = PurePath(file)
        facts = self._read_facts(journal, recording) if recording.state == State.DONE else None
        length = recording.audio_s or (facts.duration if facts else 0.0)
        return Entry(
            id=recording.id,
            file=file,
            name=place.name,
            folder="" if str(place.parent) == "." else str(place.parent),
            state=str(recording.state),
            shown_state=_STATES[recording.state],
            code=recording.code,
            reason=recording.reason,
            when=lookup.format_minute(recording.seen),
            stamp=time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(recording.seen)),
            length=format_length(length) if length else "",
            facts=facts,
        )

    def _read_facts(self, journal: Journal, recording: Recording) -> Facts | None:
        if recording.result is None:
            return None
        row = journal.read("SELECT made FROM results WHERE key = ?", (recording.result,)).fetchone()
        if row is None:
            return None
        key = (recording.result, row["made"])
        if key not in self._facts:
            if len(self._facts) >= _MOST_FACTS:
                self._facts.clear()
            stored = journal.results.find(recording.result)
            self._facts[key] = Facts("", (), 0.0) if stored is None else read_facts(stored)
        return self._facts[key]


def find_recording(journal: Journal | None, number: int) -> Recording | None:
    """Return a recording by its number in the journal."""
    if journal is None or not 0 < number < 1 << 62:
        return None
    try:
        return journal.recordings.get(number)
    except KeyError:
        return None


def read_facts(stored: str) -> Facts:
    """Return what a stored transcript says of its recording, without reading all of it."""
    language = _LANGUAGE.search(stored)
    listed = _SPEAKERS.search(stored)
    names = _NAME.findall(stored, listed.end()) if listed else _SPEAKER.findall(stored)
    duration = _DURATION.search(stored)
    return Facts(
        "" if language is None else json.loads(language[1]),
        tuple(json.loads(name) for name in dict.fromkeys(names)),
        0.0 if duration is None else float(duration[1]),
    )


def format_length(seconds: float) -> str:
    """Return a length as people write it: `1:02:03`, `2:03`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _list_newest(journal: Journal) -> list[Recording]:
    found = [recording for recording in journal.recordings.list_in(*State) if not recording.is_guest]
    return sorted(found, key=lambda r: (r.seen, r.id), reverse=True)


def _filter(recordings: Iterable[Recording], wanted: Wanted) -> Iterable[Recording]:
    text, folder = wanted.text.casefold(), os.fsencode(wanted.folder) + b"/" if wanted.folder else b""
    for recording in recordings:
        if wanted.state and recording.state != wanted.state:
            continue
        if folder and not recording.path.startswith(folder):
            continue
        if text and text not in lookup.format_name(recording).casefold():
            continue
        yield recording


def _show(folder: str) -> str:
    return os.fsencode(folder).decode("utf-8", "replace")

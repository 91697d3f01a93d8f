"""What the library shows of each recording: its row in the journal, and what the index of transcripts knows of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from dropscribe.formats.page import format_length
from dropscribe.supervisor import lookup
from dropscribe.supervisor.journal import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.web.searching import Facts, Search

PAGE = 100
"""Recordings on a page of the library."""
NEEDY = 50
"""Recordings that need a person, named at the top."""
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
    speaker: str = ""
    language: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the library."""

    entries: list[Entry]
    needy: list[Entry]
    """Recordings that failed or wait for a person; on the first page only."""
    folders: list[str]
    states: list[str]
    speakers: list[str]
    languages: list[str]
    found: int
    total: int
    pages: int


class Library:
    """Reads the journal of one daemon. Safe in several threads."""

    def __init__(self, settings: Settings, search: Search) -> None:
        self._settings = settings
        self._search = search

    def read(self, wanted: Wanted) -> Listing:
        """Return one page. Raises: DropscribeError and sqlite3.Error when the journal cannot be read."""
        with lookup.read_journal(self._settings) as journal:
            if journal is None:
                return Listing([], [], [], [], [], [], 0, 0, 1)
            everything = [r for r in _list_newest(journal) if r.state != State.GONE]
            folders = {str(parent) for r in everything for parent in r.name.parents} - {"."}
            facts = self._search.read_facts()
            found = list(_filter(everything, wanted, facts))
            begin = (wanted.page - 1) * PAGE
            plain = wanted == Wanted()
            needy = [r for r in everything if r.state in {State.FAILED, State.WAITING}][:NEEDY] if plain else []
            return Listing(
                entries=[_describe(r, facts) for r in found[begin : begin + PAGE]],
                needy=[_describe(r, facts) for r in needy],
                folders=sorted(map(_show, folders), key=str.casefold),
                speakers=sorted({name for each in facts.values() for name in each.speakers}, key=str.casefold),
                languages=sorted({each.language for each in facts.values() if each.language}),
                states=sorted({str(r.state) for r in everything}),
                found=len(found),
                total=len(everything),
                pages=max(1, -(-len(found) // PAGE)),
            )

    def find(self, number: int) -> Entry | None:
        """Return one recording."""
        with lookup.read_journal(self._settings) as journal:
            recording = find_recording(journal, number)
            return None if recording is None else _describe(recording, self._search.read_facts())


def find_recording(journal: Journal | None, number: int) -> Recording | None:
    """Return a recording by its number in the journal."""
    if journal is None or not 0 < number < 1 << 62:
        return None
    try:
        return journal.recordings.get(number)
    except KeyError:
        return None


def _describe(recording: Recording, known: Mapping[str, Facts]) -> Entry:
    file = lookup.format_name(recording)
    place = PurePath(file)
    facts = known.get(str(recording.name)) if recording.state == State.DONE else None
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


def _list_newest(journal: Journal) -> list[Recording]:
    found = [recording for recording in journal.recordings.list_in(*State) if not recording.is_guest]
    return sorted(found, key=lambda r: (r.seen, r.id), reverse=True)


def _filter(recordings: Iterable[Recording], wanted: Wanted, known: Mapping[str, Facts]) -> Iterable[Recording]:
    text, folder = wanted.text.casefold(), os.fsencode(wanted.folder) + b"/" if wanted.folder else b""
    for recording in recordings:
        if wanted.state and recording.state != wanted.state:
            continue
        if folder and not recording.path.startswith(folder):
            continue
        if text and text not in lookup.format_name(recording).casefold():
            continue
        facts = known.get(str(recording.name))
        if wanted.speaker and (facts is None or wanted.speaker not in facts.speakers):
            continue
        if wanted.language and (facts is None or wanted.language != facts.language):
            continue
        yield recording


def _show(folder: str) -> str:
    return os.fsencode(folder).decode("utf-8", "replace")

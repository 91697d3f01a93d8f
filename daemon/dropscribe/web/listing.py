"""What the library shows of each recording: its row in the journal, and what the index of transcripts knows of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from dropscribe.formats.page import format_length
from dropscribe.supervisor import lookup
from dropscribe.supervisor.journal import GUEST, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.web.searching import Facts, Search

PAGE = 100
"""Recordings on a page of the library."""
NEEDY = 5
"""Recordings that need a person, named at the top; the others are a click away."""
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
    needing: int
    """How many there are of these in all."""
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
                return Listing([], [], 0, [], [], [], [], 0, 0, 1)
            everything = _list_newest(journal)
            folders = {parent for folder in {r.folder for r in everything} for parent in _list_parents(folder)}
            facts = self._search.read_facts()
            found = list(_filter(everything, wanted, facts))
            begin = (wanted.page - 1) * PAGE
            plain = wanted == Wanted()
            needy = [r for r in everything if r.state in {State.FAILED, State.WAITING}] if plain else []
            return Listing(
                entries=[_describe(journal.recordings.get(r.id), facts) for r in found[begin : begin + PAGE]],
                needy=[_describe(journal.recordings.get(r.id), facts) for r in needy[:NEEDY]],
                needing=len(needy),
                folders=sorted(map(_show, folders), key=str.casefold),
                speakers=sorted({name for each in facts.values() for name in each.speakers}, key=str.casefold),
                languages=sorted({each.language for each in facts.values() if each.language}),
                states=sorted({r.state for r in everything}),
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


class _Row(NamedTuple):
    """What is looked at of every recording: of thousands this is quick."""

    id: int
    path: bytes
    state: str

    @property
    def folder(self) -> bytes:
        return self.path.rpartition(b"/")[0]


def _list_newest(journal: Journal) -> list[_Row]:
    rows = journal.read(
        "SELECT id, path, state FROM recordings WHERE state != ? AND NOT (key >= ? AND key < ?)"
        " ORDER BY seen DESC, id DESC",
        (State.GONE, GUEST, GUEST + b"\xff"),
    )
    return [_Row(*row) for row in rows]


def _list_parents(folder: bytes) -> list[bytes]:
    """Return a folder and those it is in."""
    parts = folder.split(b"/") if folder else []
    return [b"/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _filter(rows: Iterable[_Row], wanted: Wanted, known: Mapping[str, Facts]) -> Iterable[_Row]:
    text, folder = wanted.text.casefold(), os.fsencode(wanted.folder) + b"/" if wanted.folder else b""
    for row in rows:
        if wanted.state and row.state != wanted.state:
            continue
        if folder and not row.path.startswith(folder):
            continue
        if text and text not in row.path.decode("utf-8", "replace").casefold():
            continue
        if wanted.speaker or wanted.language:
            facts = known.get(os.fsdecode(row.path))
            if facts is None or (wanted.speaker and wanted.speaker not in facts.speakers):
                continue
            if wanted.language and wanted.language != facts.language:
                continue
        yield row


def _show(folder: bytes) -> str:
    return folder.decode("utf-8", "replace")

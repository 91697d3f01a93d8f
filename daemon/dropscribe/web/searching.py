"""Sentences that are found, for the page that shows them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.formats.page import format_length
from dropscribe.library.index import FILE_NAME
from dropscribe.supervisor import indexing, lookup

if TYPE_CHECKING:
    from dropscribe.library.index import Filters, Hit, Index
    from dropscribe.settings import Settings

PAGE = 50
"""Sentences on a page."""
REFRESH_SECONDS = 60.0
"""The daemon indexes what it publishes: a look through the outbox is for what people put there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A sentence, and where it is heard."""

    number: int | None
    """Of the recording; None where the journal has none, and its sound is not known."""
    file: str
    recorded: str
    start: float
    end: float
    clock: str
    speaker: str
    language: str
    pieces: tuple[tuple[str, bool], ...]
    """The text in pieces: each with whether it is what was looked for."""


@dataclass(frozen=True, slots=True)
class Result:
    """A page of what was found."""

    found: list[Found]
    count: int
    languages: list[str]
    speakers: list[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the library shows of a transcript."""

    language: str
    speakers: tuple[str, ...]
    duration: float


class Search:
    """Searches the index of one daemon. Safe in several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refreshed = -REFRESH_SECONDS
        self._refreshing = threading.Lock()
        self._facts: dict[str, Facts] = {}
        self._facts_stamp = (0, 0)
        threading.Thread(target=self._begin, name="index", daemon=True).start()

    def _begin(self) -> None:
        """Index what is not indexed yet, before anybody searches: after an update that may take minutes."""
        with contextlib.suppress(DropscribeError, sqlite3.Error), indexing.open_index(self._settings) as index:
            self._refresh(index)

    def read_facts(self) -> dict[str, Facts]:
        """Return what is known of each recording, by its path relative to the inbox; nothing where that fails."""
        path = self._settings.state / FILE_NAME
        try:
            found = path.stat()
            if (stamp := (found.st_mtime_ns, found.st_size)) != self._facts_stamp:
                with indexing.open_index(self._settings) as index:
                    entries = index.list_entries()
                self._facts = {e.source: Facts(e.language, e.speakers, e.duration) for e in entries}
                self._facts_stamp = stamp
        except (OSError, DropscribeError):
            return {}
        return self._facts

    def search(self, text: str, filters: Filters, page: int) -> Result:
        """Return a page of sentences, best first.

        Raises: UsageError for a query that cannot be read; DropscribeError.
        """
        with indexing.open_index(self._settings) as index:
            self._refresh(index)
            facts = self.read_facts().values()
            languages = sorted({each.language for each in facts if each.language})
            speakers = sorted({name for each in facts for name in each.speakers}, key=str.casefold)
            if not text:
                return Result([], 0, languages, speakers)
            hits = index.search(text, filters, limit=PAGE, offset=(page - 1) * PAGE)
            count = index.count(text, filters)
        return Result(self._locate(hits), count, languages, speakers)

    def _refresh(self, index: Index) -> None:
        """Add what is not in the index yet, unless that was just done, or is being done."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS and not index.is_new:
            return
        if not self._refreshing.acquire(blocking=False):
            return
        try:
            # Without the outbox what was indexed before is searched.
            with contextlib.suppress(DropscribeError), lookup.read_journal(self._settings) as journal:
                index.refresh(indexing.list_documents(self._settings, journal))
            self._refreshed = time.monotonic()
        finally:
            self._refreshing.release()

    def _locate(self, hits: list[Hit]) -> list[Found]:
        inbox = lookup.open_inbox(self._settings)
        with lookup.read_journal(self._settings) as journal:
            rows = {
                hit.entry.source: None if journal is None else journal.recordings.find(inbox.key(hit.entry.source))
                for hit in hits
            }
        found = []
        for hit in hits:
            row = rows[hit.entry.source]
            found.append(
                Found(
                    number=None if row is None else row.id,
                    file=hit.entry.source,
                    recorded=hit.entry.recorded[:10],
                    start=hit.start,
                    end=hit.end,
                    clock=format_length(hit.start),
                    speaker=hit.speaker,
                    language=hit.language,
                    pieces=tuple(_cut(hit.text, hit.matches)),
                )
            )
        return found


def _cut(text: str, matches: tuple[tuple[int, int], ...]) -> list[tuple[str, bool]]:
    pieces, done = [], 0
    for start, end in matches:
        pieces += [(text[done:start], False), (text[start:end], True)]
        done = end
    return [piece for piece in [*pieces, (text[done:], False)] if piece[0]]

"""Sentences that are found, for the page that shows them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor import indexing, lookup
from dropscribe.web.listing import format_length

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


class Search:
    """Searches the index of one daemon. Safe in several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refreshed = -REFRESH_SECONDS
        self._refreshing = threading.Lock()

    def search(self, text: str, filters: Filters, page: int) -> Result:
        """Return a page of sentences, best first.

        Raises: UsageError for a query that cannot be read; DropscribeError.
        """
        with indexing.open_index(self._settings) as index:
            self._refresh(index)
            entries = index.list_entries()
            languages = sorted({entry.language for entry in entries if entry.language})
            speakers = sorted({name for entry in entries for name in entry.speakers}, key=str.casefold)
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
            with lookup.read_journal(self._settings) as journal:
                index.refresh(indexing.list_documents(self._settings, journal))
            self._refreshed = time.monotonic()
        except DropscribeError:
            pass  # without the outbox what was indexed before is searched
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
                    clock=format_length(int(hit.start)),
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

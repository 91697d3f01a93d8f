"""Passages that a person should listen to again, found among the words: for lists and marks."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dropscribe.formats.utterances import Token
    from dropscribe.transcript import Passage

QUOTED = 90
"""Characters of a passage that a list shows."""


class PassageIndex:
    """Tells which passage a word is in, by the word's middle."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Take passages in any order, none overlapping another."""
        self.passages = passages
        self._order = sorted(range(len(passages)), key=lambda i: passages[i].start)
        self._starts = [passages[i].start for i in self._order]

    def find(self, token: Token) -> int | None:
        """Return the number of the passage that a word is in."""
        middle = (token.start + token.end) / 2
        at = bisect_right(self._starts, middle) - 1
        return self._order[at] if at >= 0 and middle <= self.passages[self._order[at]].end else None

    def quote(self, spoken: Iterable[tuple[str, Token]]) -> dict[int, str]:
        """Return the words of each passage that has any, cut after `QUOTED` characters, by number
        of the passage.

        Args:
            spoken: every word with the space before it, or nothing.
        """
        quotes: dict[int, str] = {}
        for space, token in spoken:
            which = self.find(token)
            if which is not None and len(quotes.get(which, "")) <= QUOTED:
                quotes[which] = quotes.get(which, "") + space + token.text
        return {which: _shorten(text.strip()) for which, text in quotes.items()}


def _shorten(text: str) -> str:
    return text if len(text) <= QUOTED else text[:QUOTED].rsplit(" ", 1)[0] + " …"

"""Finding the same words again and again: the repetition loops that Whisper falls into.

Guarantees: standard library only, for the worker uses it as well as the review of a finished
transcript.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class LoopRules:
    """What counts as a repetition loop.

    Short loops in a long window compress little (2.1 was seen): Whisper's compression ratio does
    not show them.
    """

    times: int = 3
    """The same words at least so many times in a row,"""
    words: int = 6
    """and at least so many words in all."""
    phrase: int = 12
    """Longest phrase whose repetition is looked for, in words."""


def find_loops(texts: Sequence[str], rules: LoopRules | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield where words are repeated: the first, one past the last, and how many make one turn.

    `texts` are single words; one without a letter or digit belongs to no loop.
    """
    rules = rules or LoopRules()
    words = [re.sub(r"\W", "", text).casefold() for text in texts]
    at = 0
    while at < len(words):
        best = turn = 0
        for size in range(1, min(rules.phrase, (len(words) - at) // rules.times) + 1):
            if words[at] != words[at + size] or not all(words[at : at + size]):
                continue
            end = at + size
            while end < len(words) and words[end] == words[end - size]:
                end += 1
            times = (end - at) // size
            if times >= rules.times and times * size >= rules.words and end > best:
                best, turn = end, size
        if best:
            yield at, best, turn
        at = max(best, at + 1)

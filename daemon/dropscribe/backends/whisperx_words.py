"""Words of WhisperX: times for those that its aligner left out, and their sentences. Pure
functions.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*$")


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of a window; its times in seconds from the start of the window, NaN where the aligner
    has none.
    """

    word: str
    start: float = math.nan
    end: float = math.nan
    score: float = math.nan


def fill_in_times(words: Sequence[AlignedWord], length: float) -> list[AlignedWord]:
    """Return the words of a window of `length` seconds with times for those that have none.

    Between two words with times, or the edges of the window, the time is shared by letters. The
    score of such a word stays NaN: that marks it.
    """
    filled: list[AlignedWord] = []
    edge = 0.0
    for has_times, group in itertools.groupby(words, lambda word: not math.isnan(word.start + word.end)):
        run = list(group)
        if has_times:
            filled += run
            edge = max(edge, run[-1].end)
            continue
        rest = words[len(filled) + len(run) :]
        room = max(0.0, (rest[0].start if rest else length) - edge)
        letters = [0, *itertools.accumulate(len(word.word) + 1 for word in run)]
        for word, low, high in zip(run, letters, letters[1:], strict=False):
            start, end = (edge + room * at / letters[-1] for at in (low, high))
            filled.append(AlignedWord(word.word, start, end))
        edge += room
    return filled


def split_sentences(words: Sequence[AlignedWord]) -> Iterator[list[AlignedWord]]:
    """Yield the words in sentences: one ends with a full stop, unless a small letter follows."""
    first = 0
    for number, word in enumerate(words, 1):
        if number == len(words) or (_SENTENCE_END.search(word.word) and not words[number].word[:1].islower()):
            yield list(words[first:number])
            first = number

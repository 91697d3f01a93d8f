"""Which words belong to which sound segments: the assignment with the least cost, in order.

A dynamic programme. Its state is a pair of counts: so many sound segments and so many words, from
the first on, are assigned. `_Assignments` holds for each state the lowest cost and the group of
words that was assigned last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.segmentation import SoundSegment


@dataclass(frozen=True, slots=True)
class AlignmentCosts:
    """What an assignment costs. Lengths are in seconds; a cost of 1 is that of a word moved out of
    its segment.
    """

    per_second_away: float = 0.5
    """A word moved by a second. On top of that a word costs the share of it that is outside its
    segments: half a word outside costs a half."""
    word_outside: float = 2.0
    """A word outside every segment."""
    empty_segment: float = 1.0
    """A segment of `full_length` or more without a word; a shorter one costs less in
    proportion."""
    full_length: float = 0.3
    misfit: float = 1.0
    """Words that are e times too many or too few for their segments, beyond `elastic`."""
    elastic: float = 0.3
    """Natural logarithm of the ratio of lengths that costs nothing."""
    pause_inside: float = 3.0
    """A second of pause inside a group: a word may contain a short one (`eight`, `immettere`)."""
    detected_pause_inside: float = 6.0
    """The same where the speech detection sees the pause as well."""
    longest_pause_inside: float = 0.25
    """No group of segments bridges a longer pause."""
    most_segments: int = 4
    """Segments in one group at most."""
    longest_word: float = 1.25
    """Times its usual length that a word has at most in this comparison; what is before is a
    pause."""
    shortest_word: float = 0.02
    """Length of a word in this comparison, at least."""


COSTS = AlignmentCosts()


@dataclass(frozen=True, slots=True)
class WordGroup:
    """A run of words and the sound segments they are spoken in."""

    first: int
    """The first word."""
    last: int
    """One past the last word."""
    segments: tuple[int, int] | None
    """The first and the last sound segment; None for words outside all of them."""


_OUTSIDE = 0
"""In `_Assignments.first_segment`: the last words are outside every segment. Segments count from 1
there."""
_EMPTY = -1
"""In `_Assignments.first_segment`: the last segment stays without a word."""


@dataclass(frozen=True, slots=True)
class _Assignments:
    """The best assignment of the first k segments and the first i words, for each k and i: shape
    (k + 1, i + 1).
    """

    cost: NDArray[np.float64]
    first_word: NDArray[np.int_]
    """The first word of the last group."""
    first_segment: NDArray[np.int_]
    """The first segment of the last group, from 1; or `_OUTSIDE`, or `_EMPTY`."""

    @classmethod
    def allocate(cls, segments: int, words: int) -> _Assignments:
        """Return the table with only the assignments without segments: every word is outside."""
        shape = (segments + 1, words + 1)
        table = cls(np.full(shape, np.inf), np.tile(np.arange(-1, words), (segments + 1, 1)), np.full(shape, _EMPTY))
        table.cost[0] = np.arange(words + 1) * COSTS.word_outside
        table.first_segment[0] = _OUTSIDE
        return table

    def trace_groups(self) -> list[WordGroup]:
        """Return the groups of the best assignment of all segments and words, in order."""
        groups: list[WordGroup] = []
        k, i = self.cost.shape[0] - 1, self.cost.shape[1] - 1
        while i:
            first_word, first_segment = int(self.first_word[k, i]), int(self.first_segment[k, i])
            if first_segment == _EMPTY:
                k -= 1
            elif first_segment == _OUTSIDE:
                groups.append(WordGroup(first_word, i, None))
                i = first_word
            else:
                groups.append(WordGroup(first_word, i, (first_segment - 1, k - 1)))
                k, i = first_segment - 1, first_word
        return groups[::-1]


def assign_words(
    words: Sequence[Word], usual_lengths: NDArray[np.float64], segments: Sequence[SoundSegment]
) -> list[WordGroup]:
    """Return the words in groups, each with its sound segments. Words and segments stay in order.

    Of all assignments this takes the one with the lowest cost: for words moved, for words outside
    and segments without words, for words too many or too few for their segments.

    Args:
        words: With the engine's times.
        usual_lengths: Seconds that each word usually takes, shape (words,).
        segments: The sound segments of the window.
    """
    count = len(words)
    starts = np.array([word.start for word in words])
    ends = np.array([word.end for word in words])
    # The engine often makes a pause part of the word after it; where punctuation represents it, of
    # the word before.
    no_punctuation = np.array([word.word[-1:].isalnum() for word in words])
    starts = np.maximum(starts, np.where(no_punctuation, ends - COSTS.longest_word * usual_lengths, starts))
    lengths = np.maximum(ends - starts, COSTS.shortest_word)
    total = np.concatenate([[0.0], np.cumsum(usual_lengths)])
    all_outside = np.arange(count + 1) * COSTS.word_outside
    # Row: first word of a group; column: one past its last. No group ends before it begins, or is
    # empty.
    impossible = np.tril(np.full((count + 1, count + 1), np.inf))
    expected = np.log(np.maximum(total[None, :] - total[:, None], 1e-9))
    table = _Assignments.allocate(len(segments), count)
    for k in range(1, len(segments) + 1):
        last = segments[k - 1]
        best = table.cost[k - 1] + COSTS.empty_segment * min(1.0, (last.end - last.start) / COSTS.full_length)
        pauses, length = 0.0, 0.0
        for j in range(k, max(0, k - COSTS.most_segments), -1):  # the group has the segments j to k, from 1
            first = segments[j - 1]
            if j < k:
                pause = segments[j].start - first.end
                if pause >= COSTS.longest_pause_inside:
                    break
                same_span = segments[j].speech_span == first.speech_span
                pauses += (COSTS.pause_inside if same_span else COSTS.detected_pause_inside) * pause
            length += first.end - first.start
            overlap = np.minimum(ends, last.end) - np.maximum(starts, first.start)
            moved = 1.0 - np.clip(overlap, 0.0, lengths) / lengths + COSTS.per_second_away * np.maximum(-overlap, 0.0)
            moved = np.concatenate([[0.0], np.cumsum(moved)])
            misfit = np.abs(expected - np.log(length))
            costs = (table.cost[j - 1] - moved + pauses)[:, None] + moved[None, :] + impossible
            costs += COSTS.misfit * np.maximum(misfit - COSTS.elastic, 0.0)
            begin = costs.argmin(axis=0)
            sums = costs[begin, np.arange(count + 1)]
            better = sums < best
            best = np.where(better, sums, best)
            table.first_word[k, better], table.first_segment[k, better] = begin[better], j
        # A word after the group may be outside: the lowest cost before it, and that of every word
        # since.
        lowest = np.minimum.accumulate(best - all_outside)
        outside = np.flatnonzero(lowest < best - all_outside)
        best[outside] = lowest[outside] + all_outside[outside]
        table.first_word[k, outside], table.first_segment[k, outside] = outside - 1, _OUTSIDE
        table.cost[k] = best
    return table.trace_groups()

"""The time that an engine gives to punctuation. It is taken back where the sound is clear
(`snapping.SNAPPING.clear_headroom`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.worker.word_times.alignment import COSTS, WordGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.sound import Sound


@dataclass(frozen=True, slots=True)
class PunctuationTuning:
    """How punctuation is treated. Lengths are in seconds."""

    punctuation_gap: float = 0.01
    """More between two words was the time of punctuation: else one begins, by the engine, where
    the other ends."""
    search_before: float = 0.03
    """Before the beginning of a word after punctuation, by the engine, where its beginning is
    expected."""
    search_after: float = 0.04
    """After the beginning of such a word, by the engine, until which its beginning is looked
    for."""
    inside: float = 0.03
    """From a pause on which a border is inside the sound next to it."""


PUNCTUATION = PunctuationTuning()


def follows_punctuation(words: Sequence[Word], i: int) -> bool:
    """Return whether punctuation, by the engine, took time between word `i` and the one before
    it.
    """
    return i > 0 and words[i].start - words[i - 1].end > PUNCTUATION.punctuation_gap


def close_punctuation_gaps(
    words: Sequence[Word], groups: Sequence[WordGroup], sound: Sound
) -> tuple[list[Word], list[WordGroup]]:
    """Return words and groups without the gaps that punctuation left in one sound: words meet
    there.

    Whisper gives punctuation its own time, and mostly that is the end of the word before, which is
    drawn out at the end of a sentence. The next word begins where the engine says (base) or before
    (tiny.en): where it is quiet near that time. If that is not in the short pause between two
    groups, the pause was a closed mouth inside a word: the groups become one.
    """
    found = list(words)
    joined: list[WordGroup] = []

    def find_border(i: int) -> float:
        before, word = found[i - 1], found[i]
        latest = min(word.start + PUNCTUATION.search_after, word.end)
        return sound.find_quietest(before.end, latest, word.start - PUNCTUATION.search_before)

    def set_border(i: int, edge: float) -> None:
        found[i - 1] = dataclasses.replace(found[i - 1], end=edge)
        found[i] = dataclasses.replace(found[i], start=edge)

    for group in groups:
        gaps = [i for i in range(group.first, group.last) if follows_punctuation(found, i)]
        if group.segments is not None:
            for i in gaps:
                if i > group.first:
                    set_border(i, find_border(i))
            before = joined[-1] if joined else WordGroup(0, 0, None)
            if group.first in gaps and before.segments is not None and before.segments[1] + 1 == group.segments[0]:
                left, right = sound.segments[group.segments[0] - 1], sound.segments[group.segments[0]]
                edge = find_border(group.first)
                inside = edge < left.end - PUNCTUATION.inside or edge > right.start + PUNCTUATION.inside
                short = right.start - left.end < COSTS.longest_pause_inside
                if inside and short and left.speech_span == right.speech_span:
                    set_border(group.first, edge)
                    joined[-1] = WordGroup(before.first, group.last, (before.segments[0], group.segments[1]))
                    continue
        joined.append(group)
    return found, joined

"""Systematic errors of an engine's word times: its lag, and the time it gives to punctuation.

Both are measured only where the sound is clear (`snapping.SNAPPING.clear_headroom`).
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.worker.word_times.alignment import COSTS, WordGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.segmentation import SoundSegment
    from dropscribe.worker.word_times.sound import Sound


@dataclass(frozen=True, slots=True)
class LagTuning:
    """How the lag is measured and punctuation treated. Lengths are in seconds."""

    longest_pause: float = 0.4
    """The engine may make any part of a longer pause a part of the words on its sides."""
    most_lag: float = 0.3
    """More is a word that was assigned elsewhere."""
    punctuation_gap: float = 0.01
    """More between two words was the time of punctuation: else one begins, by the engine, where
    the other ends."""
    punctuation_delay: float = 0.05
    """That a word after punctuation begins later than others, by the engine: the punctuation has
    its own time. Seen with base and tiny.en, in human speech and in a synthesiser's."""
    prior: int = 2
    """Pauses for which no lag at all counts."""
    search_before: float = 0.03
    """Before the beginning of a word after punctuation, by the engine, where its beginning is
    expected."""
    search_after: float = 0.04
    """After the beginning of such a word, by the engine, until which its beginning is looked
    for."""
    inside: float = 0.03
    """From a pause on which a border is inside the sound next to it."""


LAG = LagTuning()


@dataclass(frozen=True, slots=True)
class Lag:
    """By how many seconds the engine's times are late; below 0 they are early."""

    usual: float
    after_punctuation: float
    """For the starts of words after punctuation."""


def estimate_lag(words: Sequence[Word], groups: Sequence[WordGroup], segments: Sequence[SoundSegment]) -> Lag | None:
    """Return the engine's lag in this window; None when nothing shows it.

    Each model has its own lag: base is 30 to 50 ms early, tiny.en 100 ms late. A word after
    punctuation and a short pause shows it, for its true beginning is seen. Without any, a word
    should end and the next begin in the middle of the pauses; but the engine may make a pause a
    part of either. Few pauses say less.
    """
    after_punctuation, plain = [], []
    for before, after in itertools.pairwise(groups):
        if before.segments is None or after.segments is None or after.segments[0] != before.segments[1] + 1:
            continue
        start = words[after.first].start
        pause_start, pause_end = segments[before.segments[1]].end, segments[after.segments[0]].start
        if pause_end - pause_start < LAG.longest_pause:
            if follows_punctuation(words, after.first):
                after_punctuation.append(start - pause_end - LAG.punctuation_delay)
            else:
                plain.append(start - (pause_start + pause_end) / 2)
    lags = [lag for lag in after_punctuation or plain if abs(lag) < LAG.most_lag]
    if not lags:
        return None
    median, certainty = float(np.median(lags)), len(lags) / (len(lags) + LAG.prior)
    return Lag(median * certainty, (median + LAG.punctuation_delay) * certainty)


def remove_lag(words: Sequence[Word], lag: Lag) -> list[Word]:
    """Return the words with the lag subtracted from their times."""
    shifted = []
    for i, word in enumerate(words):
        start = max(0.0, word.start - (lag.after_punctuation if follows_punctuation(words, i) else lag.usual))
        shifted.append(dataclasses.replace(word, start=start, end=max(start, word.end - lag.usual)))
    return shifted


def follows_punctuation(words: Sequence[Word], i: int) -> bool:
    """Return whether punctuation, by the engine, took time between word `i` and the one before
    it.
    """
    return i > 0 and words[i].start - words[i - 1].end > LAG.punctuation_gap


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
        latest = min(word.start + LAG.search_after, word.end)
        return sound.find_quietest(before.end, latest, word.start - LAG.search_before)

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
                inside = edge < left.end - LAG.inside or edge > right.start + LAG.inside
                short = right.start - left.end < COSTS.longest_pause_inside
                if inside and short and left.speech_span == right.speech_span:
                    set_border(group.first, edge)
                    joined[-1] = WordGroup(before.first, group.last, (before.segments[0], group.segments[1]))
                    continue
        joined.append(group)
    return found, joined

"""How sure the time of a word is: what the engine's edges and the sound agree on.

A logistic regression on four facts of each edge, fitted to hand-labelled and spoken words with known
times; [tests/bench](../../../../tests/bench/README.md) has how well it holds on others. It knows
nothing of whether the word is the right one: that is its `probability`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.worker.word_times.alignment import COSTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.intervals import Interval
    from dropscribe.worker.word_times.sound import Sound


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log-odds that an edge is within 0.1 s."""

    base: float = 1.9
    exact: float = 2.7
    """It is where a sound begins or ends."""
    moved: float = -1.5
    """Elsewhere: it is not where the engine has it, by `far` seconds or more; else in proportion."""
    far: float = 0.2
    dip: float = 1.5
    """Elsewhere: the sound on both sides is louder, by `deep` decibels or more; else in proportion."""
    deep: float = 20.0
    around: float = 0.1
    """Seconds on both sides that are compared: about a syllable."""
    drawn: float = -1.1
    """The word is e times too long (`Costs.longest`): there may be something else in it."""


EVIDENCE = Evidence()


def rate_times(
    words: Sequence[Word], placed: Sequence[Interval], usual_lengths: NDArray[np.float64], sound: Sound
) -> list[float]:
    """Return for each word how likely both its start and its end are within 0.1 s, 0 to 1.

    Args:
        words: With the engine's times.
        placed: The times that they got.
        usual_lengths: Seconds that each word usually takes, shape (words,).
        sound: What the window sounds like.
    """
    exact = {edge for segment in sound.segments for edge in (segment.start, segment.end)}
    found = []
    for word, (start, end), usual in zip(words, placed, usual_lengths.tolist(), strict=True):
        drawn = max(0.0, math.log(max(end - start, 1e-3) / (COSTS.longest * usual)))
        odds = EVIDENCE.base + EVIDENCE.drawn * min(drawn, 1.0)
        sure = 1.0
        for time, engine in ((start, word.start), (end, word.end)):
            more = EVIDENCE.exact
            if time not in exact:
                more = EVIDENCE.moved * min(abs(time - engine) / EVIDENCE.far, 1.0)
                more += EVIDENCE.dip * min(sound.measure_dip(time, EVIDENCE.around) / EVIDENCE.deep, 1.0)
            sure /= 1.0 + math.exp(-odds - more)
        found.append(sure)
    return found

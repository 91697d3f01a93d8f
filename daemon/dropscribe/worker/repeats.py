"""Words that the text repeats, compared with the sound: does it repeat them, and how often?

Whisper gets into loops, and people say the same thing again and again. The text looks the same in
both cases. The sound does not: what is said again sounds alike, band by band, and each time has a
peak of loudness of its own.

Guarantees: pure functions of the sound in the stretch that they are given.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.word_times.spectrum import FRAMING, HOP_SECONDS, measure_band_powers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.worker.word_times import Sound


@dataclass(frozen=True, slots=True)
class LikenessRules:
    """When two stretches of sound are the same words."""

    steps: int = 24
    """Points in time at which two stretches of any length are compared."""
    depth: float = 45.0
    """Decibels under a stretch's level below which all is silence."""
    alike: float = 0.4
    """Correlation of two stretches, each band without its mean, from which on they say the same.
    Stretches of other words that follow each other, 0.3 to 2.4 s long: median -0.1 to 0.0, 95 of
    100 below 0.1 to 0.5. The same word, cut up to 0.1 s off: 95 of 100 above 0.43, median 0.72."""
    most_pairs: int = 12
    """Pairs of neighbours that are compared; of more, these, spread over all."""
    dip: float = 3.0
    """Decibels that the loudness falls between two peaks: two syllables, or two words."""
    smooth_s: float = 0.04
    """Seconds over which the loudness is averaged before: a pitch period is no syllable."""


LIKENESS = LikenessRules()


def sounds_repeated(samples: NDArray[np.float32], turns: Sequence[tuple[float, float]]) -> bool:
    """Return whether stretches that follow each other say the same, most of them.

    Args:
        samples: The recording, shape (samples,), 16 kHz.
        turns: Start and end of each, in seconds.
    """
    pairs = list(itertools.pairwise(turns))
    if len(pairs) > LIKENESS.most_pairs:
        chosen = np.linspace(0, len(pairs) - 1, LIKENESS.most_pairs).round().astype(int)
        pairs = [pairs[i] for i in chosen]
    likeness = [_compare(samples, a, b) for a, b in pairs]
    return bool(likeness) and float(np.median(likeness)) >= LIKENESS.alike


def _compare(samples: NDArray[np.float32], a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the correlation of two stretches, -1 to 1; 0 where one is too short to say."""
    first, second = _describe(samples, a), _describe(samples, b)
    if first is None or second is None:
        return 0.0
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / norm if norm else 0.0


def _describe(samples: NDArray[np.float32], turn: tuple[float, float]) -> NDArray[np.float32] | None:
    """Return decibels over time, each band without its mean, shape (steps, bands)."""
    part = np.asarray(samples[round(turn[0] * SAMPLE_RATE) : round(turn[1] * SAMPLE_RATE)], np.float32)
    if len(part) < FRAMING.frame + LIKENESS.steps // 2 * FRAMING.hop:
        return None
    powers = measure_band_powers(part)
    level = max(float(powers.sum(axis=1).mean()), 1e-30)
    decibels = 10 * np.log10(np.maximum(powers / level, 10 ** (-LIKENESS.depth / 10)))
    edges = np.linspace(0, len(decibels), LIKENESS.steps + 1).astype(int)
    steps = np.stack([decibels[low : max(high, low + 1)].mean(axis=0) for low, high in itertools.pairwise(edges)])
    described: NDArray[np.float32] = steps - steps.mean(axis=0)
    return described


def count_peaks(sound: Sound, low: float, high: float) -> int | None:
    """Return how often the sound between two times gets louder and softer again: no fewer than
    the words in it. None where noise hides that.
    """
    if sound.loudness is None:
        return None
    first, last = (max(0, round((t - sound.first) / HOP_SECONDS)) for t in (low, high))
    width = max(1, round(LIKENESS.smooth_s / HOP_SECONDS))
    padded = np.pad(sound.loudness[first:last], width // 2, mode="edge") if last > first else sound.loudness[:0]
    loudness = np.convolve(padded, np.full(width, 1 / width), "valid") if len(padded) >= width else padded
    peaks, top, bottom = 0, -np.inf, np.inf
    floor = float(sound.loudness.min()) + LIKENESS.dip
    rising = True
    for value in loudness.tolist():
        top, bottom = max(top, value), min(bottom, value)
        if rising and value < top - LIKENESS.dip:
            peaks += top > floor
            rising, bottom = False, value
        elif not rising and value > bottom + LIKENESS.dip:
            rising, top = True, value
    return peaks + bool(rising and top > floor)

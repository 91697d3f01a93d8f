"""The levels of a recording's channels: whether each has a speaker of its own, and what is
crosstalk.

Guarantees: pure functions; memory does not grow with the recording beyond some bytes for each 32
ms and channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.vad import FRAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BLOCK = 2048
"""Frames that are worked on at once: 65 s."""
_STRETCH = 4  # frames that are looked at together to tell what kind of recording it is
_MOST_COMPARED = 200  # stretches whose waves are compared
_DELAY = 192  # samples (12 ms) between two microphones in one room
_SILENCE_DB = -100.0  # decibels of what counts as nothing


@dataclass(frozen=True, slots=True)
class SplitRules:
    """When a recording has one speaker a channel, and what is a channel's own voice."""

    unused_db: float = 45.0
    """Decibels below the loudest channel from which on one counts as unused."""
    active_db: float = 20.0
    """Decibels below its speaking level down to which a channel may count as being spoken in."""
    ahead_db: float = 8.0
    """Decibels by which a channel must be louder than every other to be the one spoken in."""
    share: float = 0.5
    """Share of the active time in which some channel must be that much ahead."""
    alike: float = 0.4
    """Correlation of two channels' levels from which on both record the same room."""
    unlike: float = 0.15
    """Correlation of two waves up to which they count as two voices: 0.02 to 0.07 was seen, in
    rooms 0.45."""
    least_s: float = 1.0
    """Seconds of speech that at least two channels must have for themselves."""
    above_db: float = 6.0
    """Decibels over what comes across from the others that are somebody's own voice."""
    decay_db: float = 2.0
    """Decibels a frame (60 in a second) by which what comes across may die away."""


SPLIT_RULES = SplitRules()


def measure_levels(
    separate: NDArray[np.float32], *, heartbeat: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """Return the level of each frame of `FRAME` samples in each channel, in decibels of full
    scale.

    Shape (ceil(samples / FRAME), channels). `separate` has shape (samples, channels) and may be
    a memory map.
    """
    samples, channels = separate.shape
    found = np.empty((math.ceil(samples / FRAME), channels), dtype=np.float32)
    for first in range(0, len(found), BLOCK):
        block = np.asarray(separate[first * FRAME : (first + BLOCK) * FRAME], dtype=np.float32)
        frames = math.ceil(len(block) / FRAME)
        padded = np.zeros((frames * FRAME, channels), dtype=np.float32)
        padded[: len(block)] = block
        power = np.square(padded.reshape(frames, FRAME, channels)).mean(axis=1)
        found[first : first + frames] = 10 * np.log10(power + 10 ** (_SILENCE_DB / 10))
        if heartbeat is not None:
            heartbeat(min(samples, (first + frames) * FRAME) / SAMPLE_RATE)
    return found


def _make_relative(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return levels below each channel's speaking level, so that how loud a channel was recorded
    does not count.

    A channel in which nothing is ever near as loud as in the others counts as unused, and stays as
    it is.
    """
    top = np.percentile(levels, 99.5, axis=0)
    live = top > max(top.max() - SPLIT_RULES.unused_db, _SILENCE_DB + SPLIT_RULES.active_db)
    reference: NDArray[np.float32] = np.where(live, top, top.max()).astype(np.float32)
    return levels - reference


def _smooth_levels(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the levels of longer stretches, each of `_STRETCH` frames."""
    whole = levels[: len(levels) // _STRETCH * _STRETCH].reshape(-1, _STRETCH, levels.shape[1])
    power = np.power(np.float32(10), whole / 10).mean(axis=1)
    return np.asarray(10 * np.log10(power + 1e-12), dtype=np.float32)


def _find_active(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the relative levels of the stretches in which a channel may be spoken in, and which
    ones these are.
    """
    relative = _smooth_levels(levels)
    relative = _make_relative(relative) if len(relative) else relative
    which = np.flatnonzero(relative.max(axis=1, initial=-np.inf) > -SPLIT_RULES.active_db)
    return relative[which], which


def has_speaker_per_channel(separate: NDArray[np.float32], levels: NDArray[np.float32]) -> bool:
    """Whether a recording looks like one speaker a channel.

    It does if most of the time one channel is clearly ahead of all others, not always the same
    one, and the levels of no two channels go up and down together. In a room both sides record
    everybody; in music both sides play on. Where no channel is ahead, two speak at once if the
    sound of one has nothing to do with that of the other.

    Args:
        separate: Shape (samples, channels).
        levels: What `measure_levels` gave for it.
    """
    rules = SPLIT_RULES
    active, which = _find_active(levels)
    if len(active) * _STRETCH * FRAME < 2 * rules.least_s * SAMPLE_RATE or _correlate_levels(active) >= rules.alike:
        return False
    order = np.argsort(active, axis=1)
    ahead = np.diff(np.take_along_axis(active, order[:, -2:], axis=1), axis=1)[:, 0] >= rules.ahead_db
    turns = np.bincount(order[ahead, -1], minlength=active.shape[1])
    at_once = np.flatnonzero(~ahead)
    if at_once.size and _correlate_waves(separate, which[at_once], order[at_once, -2:]) < rules.unlike:
        turns += np.bincount(order[at_once, -2:].ravel(), minlength=active.shape[1])
        ahead[at_once] = True
    seconds = turns * (_STRETCH * FRAME / SAMPLE_RATE)
    spoken = seconds >= max(rules.least_s / 2, 0.01 * seconds.sum())
    return float(ahead.mean()) >= rules.share and int(spoken.sum()) > 1


def _correlate_waves(separate: NDArray[np.float32], which: NDArray[np.intp], pairs: NDArray[np.intp]) -> float:
    """Return how alike the waves of two channels are in these stretches: 1 for the same, 0 for
    strangers.

    The median of the highest correlation at any delay up to 12 ms (4 m), of the differences
    between samples: these hold less of the low tones, in which all sounds are alike. Not all of
    many stretches are compared.
    """
    size, some = _STRETCH * FRAME, np.linspace(0, len(which) - 1, min(len(which), _MOST_COMPARED)).astype(np.intp)
    found = []
    for stretch, pair in zip(which[some], pairs[some], strict=True):
        wave = np.diff(np.asarray(separate[stretch * size : (stretch + 1) * size][:, pair], dtype=np.float32), axis=0)
        spectra = np.fft.rfft(wave, 2 * size, axis=0)
        cross = np.fft.irfft(spectra[:, 0] * spectra[:, 1].conj())
        power = float(np.sqrt(np.square(wave).sum(axis=0).prod()))
        found.append(float(np.abs(np.concatenate([cross[-_DELAY:], cross[:_DELAY]])).max()) / (power + 1e-12))
    return float(np.median(found))


def are_same(levels: NDArray[np.float32]) -> bool:
    """Whether all channels hold the same sound, be it louder in one of them."""
    active, _ = _find_active(levels)
    spread = active.max(axis=1, initial=-np.inf) - active.min(axis=1, initial=np.inf)
    return bool(len(active)) and bool((spread < 3.0).mean() > 0.95)


def _correlate_levels(active: NDArray[np.float32]) -> float:
    """Return the highest correlation between the levels of two channels in use; -1 when there are
    none.
    """
    floored = np.maximum(active, -40.0)
    used = floored[:, floored.std(axis=0) > 0.1]
    if used.shape[1] < 2:
        return -1.0
    found = np.corrcoef(used.T)
    return float(found[~np.eye(len(found), dtype=bool)].max())


def find_crosstalk(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return in which frames a channel holds only what came across from another one; shape
    (frames, channels).

    How much comes across is learned from the stretches in which the other channel is spoken in:
    half of them are below that. A frame that is not `above_db` louder than this is not the
    channel's own voice. What comes across may be a little late, and dies away more slowly than the
    voice itself.
    """
    relative = _make_relative(levels)
    found = np.zeros(levels.shape, dtype=np.bool_)
    for other in range(levels.shape[1]):
        envelope = _slow_falls(relative[:, other])
        speaks = relative[:, other] > -SPLIT_RULES.active_db
        for channel in range(levels.shape[1]):
            if channel == other:
                continue
            alone = speaks & (relative[:, other] - relative[:, channel] >= SPLIT_RULES.ahead_db)
            if not alone.any():
                continue
            comes = float(np.median(relative[alone, channel] - relative[alone, other]))
            found[:, channel] |= relative[:, channel] < envelope + comes + SPLIT_RULES.above_db
    return found


def _slow_falls(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the level with each fall slowed down to `decay_db` a frame, and one frame early."""
    early = np.maximum(level, np.concatenate([level[1:], level[-1:]]))
    # The highest of all levels before, each lowered by its age.
    age = SPLIT_RULES.decay_db * np.arange(len(level), dtype=np.float64)
    return (np.maximum.accumulate(early + age) - age).astype(np.float32)

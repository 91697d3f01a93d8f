"""How loud a recording is, and bringing what is too quiet or too loud to the level that the models
know.

The detector of speech hears nothing below some -80 dB of full scale, and Whisper's features move
with the level. So a recording whose speech is very quiet is amplified as a whole, by one factor,
after it is decoded; what is loud in it nevertheless (a door, a click) stays where it is. A
recording above full scale, which only floating-point formats can hold, is turned down before it is
mixed: it would be clipped.

Guarantees: a recording at an ordinary level is not touched, down to the last bit; memory does not
grow with the recording; equal recordings give equal results; a recording that is nothing but
steady noise is not amplified.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LevelLimits:
    """What is too quiet, and what is done about it. Levels are in decibels of full scale."""

    frame: int = 1024
    """Samples (64 ms, about a sound of speech) that are one measurement."""
    pieces: int = 8
    """Parts of a frame; the median of their powers is its level, so that a click shorter than 24
    ms does not count."""
    above: float = 6.0
    """By so much a frame must stand above the noise to be speech. Steady noise varies by less than
    1 from frame to frame, the noise of a room by some 3; speech that can be understood at all
    stands 10 or more above it."""
    floor_share: float = 0.2
    """The noise is the level that this share of the frames does not exceed: people pause that
    much."""
    speech_share: float = 0.9
    """The speech level is the one that this share of the frames of speech does not exceed: vowels,
    but not the loudest tenth, which may be a door, a cough or a tone. Where more than that is
    louder, it is no quiet recording."""
    least_seconds: float = 0.3
    """Less than this above the noise is no speech: the recording is left alone."""
    quiet: float = -45.0
    """Speech below this is very quiet. Ordinary recordings lie between -15 and -35, from across a
    room at -40."""
    target: float = -26.0
    """Where very quiet speech is brought: the level at which speech is compared (ITU-T P.56,
    P.830)."""
    most: float = 80.0
    """The most by which anything is amplified: from below the last bit of 16 to `target`."""
    full: float = 0.9
    """What amplified samples stay below."""
    hot: float = 1.0
    """Recorders that write floating-point samples mean what they write: above this they are turned
    down."""
    hot_lossy: float = 2**0.5
    """Decoders of lossy formats overshoot full scale by up to 3 dB where the sound before reached
    it."""
    stray: float = 0.0005
    """Share of the samples' stretches that may be louder still: a damaged float is some power of
    ten."""


_LOW, _HIGH = -200, 20  # the range of the histogram of levels, in decibels
_LIMITER = 256  # samples (16 ms) that share a gain
_AROUND = 7
"""Stretches of that length around one that is loud in which less is amplified, one of them for the
way there and back: 0.1 s, longer than a period of the lowest voice, so that the gain follows
syllables and not waves."""
_BLOCK = _LIMITER << 8  # samples that are worked on at once
_PEAK_STEPS = 8  # a factor of two has so many steps in the histogram of peaks: 0.75 dB
_PEAK_SPAN = 512  # samples whose highest is one peak


class LevelMeter:
    """Learns the level of speech in what was written, for `gain`."""

    def __init__(self, limits: LevelLimits) -> None:
        self._limits = limits
        self._counts = np.zeros(_HIGH - _LOW + 1, dtype=np.int64)
        self._rest = np.zeros(0, dtype=np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take in samples, shape (n,)."""
        limits = self._limits
        samples = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(samples) // limits.frame * limits.frame
        self._rest = samples[whole:].copy()
        if not whole:
            return
        power = np.square(samples[:whole].reshape(-1, limits.pieces, limits.frame // limits.pieces)).mean(axis=2)
        middle = np.sort(power, axis=1)[:, limits.pieces // 2 - 1]
        middle = middle[middle > 10.0 ** (_LOW / 10)]  # digital silence is no noise
        levels = np.clip(np.rint(10 * np.log10(middle)), _LOW, _HIGH).astype(np.intp)
        self._counts += np.bincount(levels - _LOW, minlength=len(self._counts))

    def speech_level(self, rate: int) -> float | None:
        """Return the level of speech in decibels of full scale; None where nothing stands above
        the noise.
        """
        limits = self._limits
        total = int(self._counts.sum())
        if not total:
            return None
        floor = int(np.searchsorted(np.cumsum(self._counts), limits.floor_share * total))
        speech = self._counts.copy()
        speech[: floor + int(limits.above)] = 0
        active = int(speech.sum())
        if active * limits.frame < limits.least_seconds * rate:
            return None
        return float(_LOW + int(np.searchsorted(np.cumsum(speech), limits.speech_share * active)))

    def gain(self, level: float | None) -> float:
        """Return the factor for a recording with speech at `level`: 1 for an ordinary one."""
        limits = self._limits
        if level is None or level >= limits.quiet:
            return 1.0
        return float(10 ** (min(limits.target - level, limits.most) / 20))


def amplify(
    mix: NDArray[np.float32],
    channels: NDArray[np.float32] | None,
    gain: float,
    limits: LevelLimits,
    beat: Callable[[int], None],
) -> None:
    """Amplify `mix`, shape (samples,), and `channels`, shape (samples, channels), in place, block
    by block.

    Where a stretch of the mix would pass full scale it and what is around it get less, down to
    what they are; the gain goes there and back in straight lines. `beat` is called with the
    samples done.
    """

    def allowed(first: int) -> NDArray[np.float32]:
        block = np.abs(np.asarray(mix[first : first + _BLOCK]))
        padded = np.zeros(-(-len(block) // _LIMITER) * _LIMITER, dtype=np.float32)
        padded[: len(block)] = block
        peaks = padded.reshape(-1, _LIMITER).max(axis=1, initial=0.0)
        gains: NDArray[np.float32] = np.clip(limits.full / np.maximum(peaks, 1e-12), 1.0, gain).astype(np.float32)
        return gains

    edge = np.full(_AROUND, gain, dtype=np.float32)
    before, now = edge, allowed(0)
    for first in range(0, len(mix), _BLOCK):
        after = allowed(first + _BLOCK) if first + _BLOCK < len(mix) else edge[:0]
        around = np.concatenate([before, now, after[:_AROUND], edge[: _AROUND - min(_AROUND, len(after))]])
        lowest = np.lib.stride_tricks.sliding_window_view(around, 2 * _AROUND - 1).min(axis=1)  # one more at each end
        length = min(_BLOCK, len(mix) - first)
        at = (np.arange(length, dtype=np.float32) + 0.5) / _LIMITER + 0.5
        curve = np.interp(at, np.arange(len(lowest)), lowest).astype(np.float32)
        for sound in (mix,) if channels is None else (mix, channels):
            block = np.asarray(sound[first : first + length])
            if block.any():  # what is a hole in the file stays one
                sound[first : first + length] = block * (curve if block.ndim == 1 else curve[:, None])
        before, now = np.concatenate([before, now])[-_AROUND:], after
        beat(first + length)


class PeakMeter:
    """Learns how far a recording in a floating-point format goes beyond full scale."""

    def __init__(self, limits: LevelLimits, *, lossy: bool) -> None:
        """`lossy` says that the decoder overshoots."""
        self._limits = limits
        self._least = limits.hot_lossy if lossy else limits.hot
        self._total = 0
        self._over: dict[int, int] = {}

    def add(self, samples: NDArray[Any]) -> None:
        """Take in finite samples of any shape."""
        flat = np.abs(samples).reshape(-1)
        self._total += -(-len(flat) // _PEAK_SPAN)
        if not len(flat) or float(flat.max()) <= 1.0:
            return
        padded = np.zeros(-(-len(flat) // _PEAK_SPAN) * _PEAK_SPAN, dtype=np.float64)
        padded[: len(flat)] = flat
        peaks = padded.reshape(-1, _PEAK_SPAN).max(axis=1)
        for step in np.ceil(np.log2(peaks[peaks > self._limits.hot]) * _PEAK_STEPS).astype(int).tolist():
            self._over[step] = self._over.get(step, 0) + 1

    def peak(self) -> float:
        """Return what full scale must become so that nothing is clipped; 1 for an ordinary
        recording.
        """
        stray = max(1.0, self._limits.stray * self._total)
        seen = 0
        for step in sorted(self._over, reverse=True):
            seen += self._over[step]
            if seen > stray:
                peak = float(2 ** (step / _PEAK_STEPS))
                return peak if peak > self._least else 1.0
        return 1.0


def is_lossy(codec: str) -> bool:
    """Whether FFmpeg's decoder of this name may overshoot what was encoded."""
    return not codec.startswith(("pcm_", "wavpack", "tta", "flac", "alac"))


def scale_frame(frame: Any, factor: float) -> tuple[Any, NDArray[Any]]:
    """Return a frame of floating-point samples times `factor`, without what is no number, and its
    samples.
    """
    samples = frame.to_ndarray()
    finite = bool(np.isfinite(samples).all())
    if finite and factor == 1.0:
        return frame, samples
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0) * samples.dtype.type(factor)
    scaled = av.AudioFrame.from_ndarray(samples, format=frame.format.name, layout=frame.layout.name)
    scaled.sample_rate = frame.sample_rate
    return scaled, samples


def decibels(factor: float) -> float:
    """Return a factor of amplitude in decibels."""
    return 20 * math.log10(factor)

"""What a window sounds like: its sound segments, and how far the speech stands out from the noise.

Silero VAD says where somebody speaks, to 32 ms and more. Where exactly the sound begins and ends
is read from the spectrum with the noise subtracted.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.word_times.intervals import find_runs, mark_covered, select_nearby
from dropscribe.worker.word_times.segmentation import (
    DEPTH,
    SEGMENTATION,
    OverNoise,
    SoundSegment,
    clip_to_window,
    find_sound_segments,
)
from dropscribe.worker.word_times.spectrum import FRAMING, HOP_SECONDS, measure_band_powers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.worker.vad import Span
    from dropscribe.worker.word_times.intervals import Interval


@dataclass(frozen=True, slots=True)
class NoiseTuning:
    """How the noise is measured."""

    around: int = 2 * SAMPLE_RATE
    """Samples on both sides of a window in which the noise is measured as well."""
    oversubtraction: float = 3.0
    """How many times the median noise is subtracted, so that little of its ups and downs
    remains."""
    least_noise: float = 0.2
    """Seconds without speech that it takes to know the noise."""
    least_silence: float = 0.05
    """Seconds in which nobody at all is loud that it takes to know how loud silence is: a voice in
    the background may leave one or two frames."""
    as_loud: float = 6.0
    """Decibels below the level of the speech: so loud a sound that continues detected speech is
    speech, not noise."""
    closed_share: float = 0.05
    """Share of the time that the mouth is closed in speech without pauses, at least."""
    usual_share: float = 0.9
    """Share of the frames without speech of which the loudest is noise."""
    unusual_share: float = 0.98
    """Share of the frames without speech beyond the former that may be a breath or a door."""
    unusual_margin: float = 6.0
    """Decibels over the usual noise for which a breath or a door counts at most."""
    least_headroom: float = 10.0
    """Decibels; with less headroom the edges of the sound cannot be seen."""


NOISE = NoiseTuning()


@dataclass(frozen=True, slots=True)
class Sound:
    """What a window sounds like."""

    segments: tuple[SoundSegment, ...]
    """In order, without overlap; none where no edges can be seen."""
    headroom: float
    """Decibels between the level of the speech and the level taken for silence: 25 when clean,
    less in noise."""
    loudness: NDArray[np.float32] | None = dataclasses.field(default=None, compare=False, repr=False)
    """Decibels over the level of the speech, -25 at least, shape (frames,), one every 5 ms; noise
    subtracted."""
    first: float = 0.0
    """Seconds from the start of the recording to the middle of the first frame."""
    speech: tuple[Interval, ...] = ()
    """The detected speech of the window."""

    def measure_dip(self, time: float, around: float) -> float:
        """Return by how many decibels it is softer at `time` than within `around` seconds on either
        side, the softer of the two; 0 where no edges can be seen.
        """
        if self.loudness is None:
            return 0.0
        place = min(max(round((time - self.first) / HOP_SECONDS), 0), len(self.loudness) - 1)
        reach = round(around / HOP_SECONDS)
        before, after = self.loudness[max(0, place - reach) : place + 1], self.loudness[place : place + reach + 1]
        return float(min(before.max(), after.max()) - self.loudness[place])


def measure_sound(samples: NDArray[np.float32], window: Window, spans: Sequence[Span]) -> Sound:
    """Return the sound segments in `window`.

    Sound is what stays above the noise, at most 25 dB under the level of the speech, and belongs
    to a span of the speech detection. Where the noise is as loud as the quieter speech, or is
    speech itself, no edge can be seen: then there are no segments.

    Args:
        samples: The recording, shape (samples,), 16 kHz. A memory map will do: only what is around
            the window is read.
        window: The window to measure.
        spans: Detected speech of the whole recording, as the VAD gives it.
    """
    nearby = select_nearby(window, spans, NOISE.around)
    speech = [(a, b) for a, b in nearby if b > window.start / SAMPLE_RATE and a < window.end / SAMPLE_RATE]
    if not speech:
        return Sound((), 0.0)
    first = max(0, window.start - NOISE.around)
    part = np.asarray(samples[first : window.end + NOISE.around], np.float32)
    if len(part) < 3 * FRAMING.frame:
        return Sound((), 0.0, speech=tuple(speech))
    powers = measure_band_powers(part)
    times = (np.arange(len(powers)) * FRAMING.hop + FRAMING.frame / 2 + first) / SAMPLE_RATE
    is_quiet = _find_quiet_frames(powers, times, nearby, speech)
    if is_quiet is None:
        return Sound((), 0.0, speech=tuple(speech))
    noise = NOISE.oversubtraction * np.median(powers[is_quiet], axis=0)
    power = np.maximum(powers - noise, 0.0).sum(axis=1)
    level = max(float(power[mark_covered(times, speech, 0.0)].mean()), 1e-30)
    floor = _measure_floor(power, times, is_quiet, level, nearby)
    headroom = float(min(DEPTH, 10 * np.log10(level / max(floor, 1e-30))))
    if headroom < NOISE.least_headroom:
        return Sound((), max(headroom, 0.0), speech=tuple(speech))
    over_noise = OverNoise(times, power, level, floor, noise.sum(), NOISE.oversubtraction)
    segments = find_sound_segments(over_noise, headroom, speech)
    loudness = 10 * np.log10(np.maximum(power / level, 10 ** (-DEPTH / 10)))
    return Sound(clip_to_window(segments, window), headroom, loudness, float(times[0]), tuple(speech))


def _find_quiet_frames(
    powers: NDArray[np.float32], times: NDArray[np.float64], nearby: Sequence[Interval], speech: Sequence[Interval]
) -> NDArray[np.bool_] | None:
    """Return the frames that hold noise alone; None where there are none to tell it from speech.

    Args:
        powers: Shape (frames, bands).
        times: Middles of the frames.
        nearby: Detected speech in all of these frames.
        speech: Detected speech of the window.
    """
    is_quiet = ~mark_covered(times, nearby, SEGMENTATION.guard)
    if is_quiet.sum() * FRAMING.hop >= NOISE.least_noise * SAMPLE_RATE:
        return is_quiet
    # Somebody speaks all the time. Between two words it is quiet only where there is little noise.
    total = powers.sum(axis=1)
    least = float(np.quantile(total, NOISE.closed_share))
    if total[mark_covered(times, speech, 0.0)].mean() < least * 10 ** (DEPTH / 10):
        return None
    quietest: NDArray[np.bool_] = total <= least
    return quietest


def _measure_floor(
    power: NDArray[np.float32],
    times: NDArray[np.float64],
    is_quiet: NDArray[np.bool_],
    level: float,
    nearby: Sequence[Interval],
) -> float:
    """Return the power that is taken for silence: what the noise reaches at its loudest, but for a
    breath or a door.

    Args:
        power: Power over the noise, shape (frames,).
        times: Middles of the frames.
        is_quiet: Frames without detected speech.
        level: Mean power of the speech.
        nearby: Detected speech in all of these frames.
    """
    guard = SEGMENTATION.guard
    loud = find_runs(power > level * 10 ** (-NOISE.as_loud / 10), times)
    speech = [(a, b) for a, b in loud if any(start - guard < b and a < end + guard for start, end in nearby)]
    silent = is_quiet & ~mark_covered(times, speech, guard)
    known = silent if silent.sum() * FRAMING.hop >= NOISE.least_silence * SAMPLE_RATE else is_quiet
    usual, unusual = np.quantile(power[known], [NOISE.usual_share, NOISE.unusual_share])
    return min(float(unusual), float(usual) * 10 ** (NOISE.unusual_margin / 10))

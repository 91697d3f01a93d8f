"""Sound segments: the stretches between two pauses that belong to detected speech, with exact
edges.
"""

from __future__ import annotations

import bisect
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.word_times.intervals import BREAK, find_runs, join_intervals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.worker.word_times.intervals import Interval

DEPTH = 25.0
"""Decibels below the level of the speech at which sound begins and ends: what is quieter is the
room's echo."""


@dataclass(frozen=True, slots=True)
class SegmentationTuning:
    """How runs of loud frames become sound segments. Lengths are in seconds."""

    guard: float = 0.15
    """Around a span of the speech detection that is not taken for noise: it begins late and ends
    early."""
    pause: float = 0.1
    """A shorter pause is the closed mouth inside a word (p, t, k)."""
    headroom_per_pause: float = 100.0
    """Decibels of missing headroom for each second by which that grows: in noise the quieter
    sounds are drowned."""
    shortest: float = 0.03
    """A shorter sound alone is a click."""
    touch: float = 0.1
    """From a span of the speech detection within which a sound belongs to it."""
    beyond: float = 0.2
    """That a sound may reach beyond the detected speech: more is another sound."""
    early: float = 0.1
    """That it may begin before the detected speech, in noise: more is the noise."""
    late: float = 0.05
    """That it may end after the detected speech, in noise: more is the noise."""
    overrun: float = 0.08
    """By which the detection may end speech too late with 20 dB of speech over noise: by less in 9
    of 10 prompts (white noise at 20 dB: 0.066 s)."""
    overrun_per_decibel: float = 0.007
    """The same for each decibel less (white noise at 10 dB, 9 of 10 prompts: 0.149 s)."""
    overrun_ratio: float = 20.0
    """Decibels of speech over noise at which `overrun` was measured."""
    softer: float = 7.0
    """Decibels by which the last consonant of a word may be softer than other sound (`sept`,
    `neuf`)."""
    tail: float = 0.1
    """That a soft end must last where no pause separates it from the sound before: a shorter one
    is the room's."""
    seam: float = 0.02
    """An added end is joined to a sound that is nearer than this."""
    reach: float = 1.0
    """That a word may reach back before its span into the same sound, where the engine has it there."""


SEGMENTATION = SegmentationTuning()


@dataclass(frozen=True, slots=True)
class SoundSegment:
    """A stretch of sound between two pauses."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    extends_before: float = 0.0
    """Seconds that the same sound goes on before `start`, where no speech was detected in it."""
    undetected_start: float = 0.0
    """Seconds after `start` in which no speech is detected yet."""
    undetected_end: float = 0.0
    """Seconds before `end` in which no speech is detected any more."""
    speech_span: int = 0
    """Number of the span of detected speech that it belongs to."""


@dataclass(frozen=True, slots=True)
class OverNoise:
    """The sound around a window with the noise subtracted, by frames."""

    times: NDArray[np.float64]
    """Middles of the frames, seconds of the recording, shape (frames,)."""
    power: NDArray[np.float32]
    """Power over the noise, shape (frames,)."""
    level: float
    """Mean power of the speech."""
    floor: float
    """Power that is taken for silence."""
    noise: np.floating[Any]
    """Power of the noise as subtracted, all bands together."""
    oversubtraction: float
    """How many times the noise was subtracted."""


def find_sound_segments(sound: OverNoise, headroom: float, speech: Sequence[Interval]) -> list[SoundSegment]:
    """Return the sound segments of the detected speech.

    Args:
        sound: The frames around the window.
        headroom: See `Sound.headroom`.
        speech: Detected speech of the window.
    """
    tuning = SEGMENTATION
    runs = find_runs(sound.power > sound.level * 10 ** (-headroom / 10), sound.times)
    pause = tuning.pause + (DEPTH - headroom) / tuning.headroom_per_pause
    runs = [(a, b) for a, b in join_intervals(runs, pause) if b - a >= tuning.shortest]
    soft = sound.level * 10 ** (-(DEPTH + tuning.softer) / 10)
    speech = join_intervals(speech, BREAK)
    if soft > sound.floor:
        runs = _add_soft_ends(runs, find_runs(sound.power > soft, sound.times), speech)
    if headroom < DEPTH:
        return _match_runs_to_speech(runs, speech, tuning.early, tuning.late)
    if sound.noise > soft:
        ratio = 10 * np.log10(sound.level * sound.oversubtraction / float(sound.noise))
        shortfall = max(0.0, tuning.overrun_ratio - float(ratio))
        runs = _extend_to_certain_speech(runs, speech, tuning.overrun + tuning.overrun_per_decibel * shortfall)
    return _match_runs_to_speech(runs, speech, tuning.beyond, tuning.beyond)


def clip_to_window(segments: Iterable[SoundSegment], window: Window) -> tuple[SoundSegment, ...]:
    """Return what of the segments is in the window."""
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    found = []
    for segment in segments:
        start, end = max(segment.start, low), min(segment.end, high)
        if end > start:
            clipped = SoundSegment(
                start=float(start),
                end=float(end),
                extends_before=float(min(segment.extends_before, start - low)),
                undetected_start=float(max(0.0, segment.undetected_start - (start - segment.start))),
                undetected_end=float(max(0.0, segment.undetected_end - (segment.end - end))),
                speech_span=segment.speech_span,
            )
            found.append(clipped)
    return tuple(found)


def _add_soft_ends(
    runs: Sequence[Interval], soft_runs: Sequence[Interval], speech: Sequence[Interval]
) -> list[Interval]:
    """Return the runs with the soft ends in which speech is still detected after the last run of
    each span.
    """
    found = list(runs)
    for start, end in speech:
        last = _find_last_end(runs, start, end)
        for a, b in soft_runs:
            low, high = max(a, last), min(b, end + SEGMENTATION.guard)
            shortest = SEGMENTATION.shortest if a > last else SEGMENTATION.tail
            if a < end and high - low >= shortest:
                found.append((low, high))
    return join_intervals(sorted(found), SEGMENTATION.seam)


def _extend_to_certain_speech(runs: Sequence[Interval], speech: Sequence[Interval], overrun: float) -> list[Interval]:
    """Return the runs, the last one of each span of speech extended to where speech was detected
    for certain.

    A soft consonant at its end (`huit`, `neuf`) is drowned in even noise. The detection may end
    speech `overrun` seconds too late.
    """
    found = list(runs)
    for start, end in speech:
        last = _find_last_end(runs, start, end)
        if last < end - overrun:
            found.append((last, end - overrun))
    return join_intervals(sorted(found), SEGMENTATION.seam)


def _find_last_end(runs: Sequence[Interval], start: float, end: float) -> float:
    """Return the end of the last run that touches a span of speech; the end of the span where none
    does.
    """
    return max((b for a, b in runs if a < end and b > start), default=end)


def _match_runs_to_speech(
    runs: Sequence[Interval], speech: Sequence[Interval], early: float, late: float
) -> list[SoundSegment]:
    """Return what of the runs belongs to speech. A run that fills a pause of the speech is divided
    there.

    No segment begins more than `early` seconds before its span of speech, or ends more than `late`
    after it.
    """
    tuning = SEGMENTATION
    found: list[SoundSegment] = []
    starts = [a for a, _ in runs]
    ends = [b for _, b in runs]
    for number, (a, b) in enumerate(speech):
        low = max(a - tuning.beyond, speech[number - 1][1]) if number else a - tuning.beyond
        high = min(b + tuning.beyond, speech[number + 1][0]) if number + 1 < len(speech) else b + tuning.beyond
        own = runs[bisect.bisect_left(ends, a - tuning.touch) : bisect.bisect_right(starts, b + tuning.touch)]
        # A run that reaches over the next pause ends where the detected speech does.
        parts = [
            SoundSegment(
                start=a if s < low else max(s, a - early),
                end=b if e > high else min(e, b + late),
                extends_before=min(a - s, tuning.reach) if s < low else 0.0,
                undetected_start=min(max(0.0, a - s), early) if s >= low else 0.0,
                undetected_end=min(max(0.0, e - b), late) if e <= high else 0.0,
                speech_span=number,
            )
            for s, e in own
            if s < b + tuning.touch and e > a - tuning.touch
        ]
        long_enough = [part for part in parts if part.end - part.start >= tuning.shortest]
        found += long_enough or [SoundSegment(a, b, speech_span=number)]
    return _remove_overlaps(found)


def _remove_overlaps(segments: Iterable[SoundSegment]) -> list[SoundSegment]:
    """Return the segments in order, each beginning no earlier than the one before it ends."""
    found: list[SoundSegment] = []
    edge = 0.0
    for segment in sorted(segments, key=lambda each: (each.start, each.end)):
        start = max(segment.start, edge)
        if segment.end > start:
            shortened = dataclasses.replace(
                segment,
                start=start,
                extends_before=min(segment.extends_before, start - edge),
                undetected_start=max(0.0, segment.undetected_start - (start - segment.start)),
            )
            found.append(shortened)
            edge = segment.end
    return found

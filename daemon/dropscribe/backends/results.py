"""What the engines give back, made into the segments that Dropscribe promises.

Guarantees: times are plain floats in whole milliseconds of the whole recording, inside the window,
in order and without overlap; joined, the words of a segment are its text; nothing without text or
without length remains; numbers are finite.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.transcript import Segment, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from dropscribe.backends import Window

INVENTED_NO_SPEECH, INVENTED_PROBABILITY = 0.6, 0.6
"""A segment is invented when no speech is more probable than the first, and every word less than
the second.

In 120 short recordings of speech, no segment came near these limits.
"""


_CUT = "\ufffd"
"""What stands for a letter that was not written to its end."""


class EngineWord(NamedTuple):
    """A word as the engine gave it."""

    text: str
    """With the space before it."""
    start: float
    """Seconds from the start of the window, omitted parts not counted."""
    end: float
    probability: float


@dataclass(slots=True)
class RawSegment:
    """A segment as the engine gave it: seconds from the start of the window, omitted parts not
    counted.
    """

    start: float
    end: float
    text: str
    words: list[EngineWord]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float


def copy_window(audio: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Return the kept samples of a window in new memory: a library must not get a memory map."""
    return np.concatenate([audio[start:end] for start, end in window.kept_spans], dtype=np.float32)


def build_segments(window: Window, raw_segments: Iterable[RawSegment]) -> list[Segment]:
    """Return the segments of one window, in order. Their ids are 0."""
    first, last = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    segments: list[Segment] = []
    edge = first
    for raw in raw_segments:
        text = raw.text.strip()
        words = _build_words(raw, window, edge, last)
        joined = "".join(word.word for word in words).strip()
        if words and joined != text:
            if joined.replace(_CUT, "") == text.replace(_CUT, ""):
                # A letter was not written to its end; the others have their times.
                words = [dataclasses.replace(word, word=word.word.replace(_CUT, "")) for word in words]
                words = [word for word in words if word.word.strip()]
                text = text.replace(_CUT, "")
            else:
                words = []  # better no times than wrong words
        start = words[0].start if words else _clamp(window.to_recording_seconds(raw.start), edge, last)
        end = words[-1].end if words else _clamp(window.to_recording_seconds(raw.end, is_end=True), start, last)
        if not text or end <= start or _is_invented(raw):
            continue
        segment = Segment(
            id=0,
            start=start,
            end=end,
            text=text,
            words=tuple(words),
            avg_logprob=_round_finite(raw.avg_logprob),
            compression_ratio=_round_finite(raw.compression_ratio),
            no_speech_prob=_clamp_probability(raw.no_speech_prob),
            temperature=_round_finite(raw.temperature),
        )
        segments.append(segment)
        edge = end
    return segments


def _is_invented(raw: RawSegment) -> bool:
    """Return whether the model itself believes neither in the speech nor in any word: "Thank you."
    over silence.

    The engines' own test lets such a segment pass when it is short: its end-of-text tokens are
    certain and lift the mean.
    """
    unsure = all(word.probability < INVENTED_PROBABILITY for word in raw.words)
    return raw.no_speech_prob > INVENTED_NO_SPEECH and unsure


def _build_words(raw: RawSegment, window: Window, edge: float, last: float) -> list[Word]:
    starts: list[float] = []
    ends: list[float] = []
    low = edge
    for word in raw.words:
        low = _clamp(window.to_recording_seconds(word.start), low, last)
        starts.append(low)
        ends.append(_clamp(window.to_recording_seconds(word.end, is_end=True), low, last))
    # Where two words overlap, the first ends where the second begins.
    ends[:-1] = [min(end, follower) for end, follower in zip(ends, starts[1:], strict=False)]
    return [
        Word(word=word.text, start=start, end=end, probability=_clamp_probability(word.probability))
        for word, start, end in zip(raw.words, starts, ends, strict=True)
    ]


def _clamp(seconds: float, low: float, high: float) -> float:
    return round(float(min(max(seconds, low), high)), 3)


def _clamp_probability(value: float) -> float | None:
    return _round_finite(min(max(value, 0.0), 1.0))


def _round_finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None

"""What the engines give, made into segments that hold what `dropscribe.transcript` promises.

Guarantees: times are plain floats in whole milliseconds of the whole recording, inside the window, in order and
without overlap; joined, the words of a segment are its text; nothing without text or without length remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE
from dropscribe.transcript import Segment, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropscribe.backends import Window

TAIL = 0.7
"""Seconds at the end of a window that are not worth another decoding.

Where the text ends before the audio does, Whisper hears the rest again. A window ends with a pause, and over a
pause it invents text; so a rest this short is left alone.
"""

MOST_DECODINGS = 12
"""Times that a window is heard again from where its text ended; a sound window needs one to three."""


@dataclass(slots=True)
class Raw:
    """A segment as the engine gave it: seconds from the start of the window."""

    start: float
    end: float
    text: str
    words: list[tuple[str, float, float, float]]
    """(word, start, end, probability)."""
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float


def shaped(window: Window, raws: Iterable[Raw]) -> list[Segment]:
    """Return the segments of one window, in order. Their ids are 0."""
    first, last = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    found: list[Segment] = []
    edge = first
    for raw in raws:
        text = raw.text.strip()
        words = _words(raw, first, edge, last)
        if words and "".join(word.word for word in words).strip() != text:
            words = []  # letters were cut apart: better no times than wrong words
        start = words[0].start if words else _inside(raw.start + first, edge, last)
        end = words[-1].end if words else _inside(raw.end + first, start, last)
        if not text or end <= start:
            continue
        found.append(
            Segment(
                id=0,
                start=start,
                end=end,
                text=text,
                words=tuple(words),
                avg_logprob=round(float(raw.avg_logprob), 4),
                compression_ratio=round(float(raw.compression_ratio), 4),
                no_speech_prob=_probability(raw.no_speech_prob),
                temperature=round(float(raw.temperature), 2),
            )
        )
        edge = end
    return found


def _words(raw: Raw, first: float, edge: float, last: float) -> list[Word]:
    starts: list[float] = []
    ends: list[float] = []
    low = edge
    for _, start, end, _ in raw.words:
        low = _inside(start + first, low, last)
        starts.append(low)
        ends.append(_inside(end + first, low, last))
    # Where two words overlap, the first ends where the second begins.
    ends[:-1] = [min(end, follower) for end, follower in zip(ends, starts[1:], strict=False)]
    return [
        Word(word=text, start=start, end=end, probability=_probability(probability))
        for (text, _, _, probability), start, end in zip(raw.words, starts, ends, strict=True)
    ]


def _inside(seconds: float, low: float, high: float) -> float:
    return round(float(min(max(seconds, low), high)), 3)


def _probability(value: float) -> float:
    return round(float(min(max(value, 0.0), 1.0)), 4)

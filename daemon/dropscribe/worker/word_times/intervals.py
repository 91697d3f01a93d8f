"""Small operations on intervals in seconds: (start, end), sorted."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.word_times.spectrum import HOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.worker.vad import Span

Interval = tuple[float, float]
"""Start and end, in seconds of the recording."""

BREAK = 0.15
"""Seconds; a shorter pause between two spans of the speech detection is none."""


def select_nearby(window: Window, spans: Sequence[Span], around: int) -> list[Interval]:
    """Return the spans within `around` samples of the window, in seconds."""
    first = bisect.bisect_right(spans, window.start - around, key=lambda span: span.end)
    last = bisect.bisect_left(spans, window.end + around, key=lambda span: span.start)
    return [(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in spans[first:last]]


def clip_speech(window: Window, spans: Sequence[Span]) -> list[Interval]:
    """Return the detected speech of `window` in seconds, joined over the shortest pauses and cut
    at its ends.
    """
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    cut = ((max(start, low), min(end, high)) for start, end in join_intervals(select_nearby(window, spans, 0), BREAK))
    return [(start, end) for start, end in cut if end > start]


def join_intervals(intervals: Iterable[Interval], pause: float) -> list[Interval]:
    """Return the intervals with those joined that are less than `pause` seconds apart."""
    found: list[Interval] = []
    for start, end in intervals:
        if found and start - found[-1][1] < pause:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def mark_covered(times: NDArray[np.float64], intervals: Sequence[Interval], margin: float) -> NDArray[np.bool_]:
    """Return which of the sorted `times` are in one of the intervals, or within `margin` seconds
    of one.
    """
    covered = np.zeros(len(times), bool)
    for start, end in intervals:
        covered[np.searchsorted(times, start - margin) : np.searchsorted(times, end + margin)] = True
    return covered


def find_runs(is_loud: NDArray[np.bool_], times: NDArray[np.float64]) -> list[Interval]:
    """Return the runs of loud frames; `times` are the middles of all frames."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], is_loud, [False]]).astype(np.int8)))
    half = HOP_SECONDS / 2
    return [
        (float(times[a] - half), float(times[b - 1] + half)) for a, b in zip(turns[::2], turns[1::2], strict=True)
    ]

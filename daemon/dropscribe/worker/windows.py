"""Windows: the stretches of a recording that are transcribed one by one.

Guarantees: windows are in order, do not overlap and cover every span; Whisper is given at most
`MAX_WINDOW` samples of one; only parts of pauses are left out; equal samples and spans give equal
windows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker.vad import FRAME, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_WINDOW = 30 * SAMPLE_RATE
"""Samples that Whisper takes at once."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How spans become windows. The defaults were found with `tests/bench/accuracy.py`."""

    limit: float = 30.0
    """Seconds that a window may last; 30 is what Whisper takes at once."""
    pad: float = 0.3
    """Seconds of the pauses around it that a window takes along; of a shorter pause, each
    neighbour half."""
    bridge: float = 8.0
    """Seconds; a longer pause is never inside a window: over silence Whisper invents text. Below
    that, windows cost more than pauses: with 4 s between sentences, 3 made three times as many
    windows as 8 for the same errors."""
    calm: float = 1.5
    """Seconds; a pause of this length or more is as good a place to cut as any."""
    gap: float = 0.8
    """Seconds to which the pauses inside a window may be shortened, the longest first, and only
    where it would not fit otherwise."""
    unfilled: float = 0.5
    """Seconds for which room is made at the end of a window whose pauses are shortened, if they
    have so much: in one that is filled up to its end, Whisper leaves the last words out (digits,
    tiny.en: suspicions in three of six windows)."""
    weight: float = 2.0
    """What a cut at no pause at all costs, in windows; at pauses up to `calm` in proportion less.
    A window costs its encoding, however full it is: 0.5 makes a tenth fewer of them than 2, for
    0.8 points more word errors (base, mean of en fr es it ru, MLX on a GPU); 3 and 6 make a few
    more, for -0.1 and 0.1 points."""


def cut_windows(audio: NDArray[np.float32], spans: Sequence[Span], cutting: Cutting | None = None) -> list[Window]:
    """Return the windows, in order, that together cover `spans` of `audio`; none when there are no
    spans.

    Each begins shortly before a span and ends shortly after one. Of all such cuts it takes the one
    with the least cost: one for each window, and more the shorter the pause that the window ends
    with. A span longer than a window is cut where it is quietest.
    """
    cutting = cutting or Cutting()
    limit, pad, calm = int(cutting.limit * SAMPLE_RATE), int(cutting.pad * SAMPLE_RATE), cutting.calm * SAMPLE_RATE
    bridge, gap = int(cutting.bridge * SAMPLE_RATE), int(cutting.gap * SAMPLE_RATE)
    unfilled = int(cutting.unfilled * SAMPLE_RATE)
    parts = [part for span in spans for part in _divide(audio, span, limit)]
    pauses = [after.start - before.end for before, after in itertools.pairwise(parts)]
    rooms = [min(pad, pause // 2) for pause in pauses]
    before = [min(pad, parts[0].start), *rooms] if parts else []
    after = [*rooms, min(pad, len(audio) - parts[-1].end)] if parts else []
    starts = [part.start - room for part, room in zip(parts, before, strict=True)]
    ends = [part.end + room for part, room in zip(parts, after, strict=True)]
    # What the pauses before each part can be shortened by, in all.
    spare = [0, *itertools.accumulate(max(0, pause - gap) for pause in pauses)]
    # Dynamic programming: least[k] is the lowest cost for the first k parts; their last window
    # begins at first[k].
    least = [0.0] + [math.inf] * len(parts)
    first = [0] * (len(parts) + 1)
    for last in range(len(parts)):
        pause = pauses[last] if last < len(pauses) else calm
        price = 1.0 + cutting.weight * max(0.0, 1.0 - pause / calm)
        for begin in range(last, -1, -1):
            length = ends[last] - starts[begin] - (spare[last] - spare[begin])
            if begin < last and (pauses[begin] > bridge or length > limit):
                break
            if least[begin] + price < least[last + 1]:
                least[last + 1] = least[begin] + price
                first[last + 1] = begin
    found: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []
    done = len(parts)
    while done:
        begin = first[done]
        start, end = starts[begin], ends[done - 1]
        if begin == done - 1 and end - start > limit:  # a part that fills a window alone has no room for its pauses
            start, end = parts[begin].start, parts[begin].end
        excess = end - start - limit
        left_out = _shorten_pauses(parts[begin:done], excess + unfilled, gap) if excess > 0 else ()
        found.append((start, end, left_out))
        done = begin
    return [Window(index, *each) for index, each in enumerate(reversed(found))]


def _shorten_pauses(parts: Sequence[Span], excess: int, gap: int) -> tuple[tuple[int, int], ...]:
    """Return what to leave out of the pauses between `parts` for `excess` samples too many: of the
    longest the most.

    What stays of a pause is as long as what stays of any longer one, at least `gap`, half of it on
    either side.
    """
    pauses = sorted((after.start - before.end for before, after in itertools.pairwise(parts)), reverse=True)
    saved = longest = 0
    for count, (pause, shorter) in enumerate(itertools.pairwise([*pauses, 0]), 1):
        saved += count * (pause - shorter)
        if saved >= excess:
            longest = shorter + (saved - excess) // count
            break
    longest = max(longest, gap)
    return tuple(
        (before.end + longest // 2, after.start - (longest - longest // 2))
        for before, after in itertools.pairwise(parts)
        if after.start - before.end > longest
    )


def _divide(audio: NDArray[np.float32], span: Span, limit: int) -> list[Span]:
    """Cut a span that is longer than a window where it is quietest, in the later half of each
    window.
    """
    parts = []
    start = span.start
    while span.end - start > limit:
        low, high = start + limit // 2, start + limit
        frames = np.asarray(audio[low : low + (high - low) // FRAME * FRAME], dtype=np.float64).reshape(-1, FRAME)
        cut = low + int(np.square(frames).sum(axis=1).argmin()) * FRAME
        parts.append(Span(start, cut))
        start = cut
    parts.append(Span(start, span.end))
    return parts

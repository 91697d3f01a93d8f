"""Segments of several speakers in one order.

Guarantees: standard library only (the supervisor joins with it); no word is lost, changed or said
by somebody else; a segment ends where another speaker begins during one of its pauses.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dropscribe.transcript import Segment

_PAUSE = 0.3
"""Seconds between two words in which somebody else may take the turn; less is in the middle of a
phrase."""


def order_turns(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments in order of time, each cut where another speaker begins while its own
    pauses.

    Segments of one speaker, or of nobody in particular, stay as they are. Those of different
    speakers may overlap.
    """
    found = list(segments)
    begins: dict[str, list[float]] = {}
    for segment in found:
        if segment.speaker is not None:
            starts = [word.start for word in segment.words] or [segment.start]
            begins.setdefault(segment.speaker, []).extend(starts)
    if len(begins) < 2:
        return found
    for starts in begins.values():
        starts.sort()
    parts = [part for segment in found for part in _cut(segment, begins)]
    return sorted(parts, key=lambda part: (part.start, part.end))


def _cut(segment: Segment, begins: dict[str, list[float]]) -> Iterator[Segment]:
    others = [starts for speaker, starts in begins.items() if speaker != segment.speaker]
    words = segment.words
    first = 0
    for i in range(1, len(words)):
        pause = (words[i - 1].end, words[i].start)
        if pause[1] - pause[0] >= _PAUSE and any(_within(starts, pause) for starts in others):
            yield _part(segment, first, i)
            first = i
    yield _part(segment, first, len(words)) if first else segment


def _within(starts: Sequence[float], pause: tuple[float, float]) -> bool:
    place = bisect_left(starts, pause[0])
    return place < len(starts) and starts[place] < pause[1]


def _part(segment: Segment, first: int, last: int) -> Segment:
    words = segment.words[first:last]
    text = "".join(word.word for word in words).strip()
    return dataclasses.replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)

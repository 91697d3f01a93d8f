"""When each word is spoken: the engine's times, settled on the sound.

Guarantees: text and order stay, words do not overlap, no time leaves the window; what a window gives depends on that
window alone; memory does not grow with the recording. Pure functions, the same for every backend.

Whisper places words by its attention: inside a sentence that is good to some 50 ms, but a word beside a pause often
takes a part of the pause or ends early, and among many pauses whole runs of words slip. So the words are laid over
the islands of sound of their window, in order (`_homes`); then the first word of an island begins with it and the
last ends with it. Silero VAD says where somebody speaks, to 32 ms and more; where exactly the sound begins and ends
is read from the spectrum with the noise taken off (`listen`).
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.transcript import Segment, Word
    from dropscribe.worker.vad import Span

_HOP = 80  # samples between two frames: 5 ms
_FRAME = 320  # samples of a frame: 20 ms
_FFT = 512
_BLOCK = 128
"""Frames that are transformed at once. Larger arrays are mapped from the system and given back each time, where
threads wait for each other: with 1024, two took longer than one."""
_AROUND = 2 * SAMPLE_RATE
"""Samples on both sides of a window in which the noise is listened to as well."""


@dataclass(frozen=True, slots=True)
class Island:
    """A stretch of sound between two pauses."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    before: float = 0.0
    """Seconds that the same sound goes on before `start`, where the speech detection does not hear speech in it."""
    early: float = 0.0
    """Seconds after `start` in which the speech detection does not hear speech yet."""
    late: float = 0.0
    """Seconds before `end` in which it hears none any more."""
    stretch: int = 0
    """Which stretch of detected speech it belongs to."""


_Group = tuple[int, int, tuple[int, int] | None]
"""A run of words, the first and one past the last, with the first and the last island they are in, if any."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What a window sounds like."""

    islands: tuple[Island, ...]
    room: float
    """Decibels between the level of the speech and the level taken for silence: 25 when clean, less in noise."""
    loudness: NDArray[np.float32] | None = dataclasses.field(default=None, compare=False, repr=False)
    """Decibels over the level of the speech, `-_DOWN` at least, shape (frames,), one every 5 ms; noise taken off."""
    first: float = 0.0
    """Seconds from the start of the recording to the middle of the first frame."""

    def softest(self, low: float, high: float, near: float) -> float:
        """Return when between `low` and `high` it is soft, best of all at `near`; seconds of the recording."""
        edge = min(max(near, low), high)
        if self.loudness is None:
            return edge
        begin, end = (max(0, round((t - self.first) * SAMPLE_RATE / _HOP)) for t in (low, high))
        inside = self.loudness[begin : end + 1]
        if not len(inside):
            return edge
        times = self.first + (begin + np.arange(len(inside))) * (_HOP / SAMPLE_RATE)
        found = float(times[(inside + _NEARER * np.abs(times - near)).argmin()])
        return min(max(found, low), high)


_DOWN = 25.0
"""Decibels below the level of the speech at which sound begins and ends: what is softer is the room's echo."""
_OVER = 3.0
"""How many times the mean noise is taken off (oversubtraction), so that little of its ups and downs remains."""
_EDGE = 0.15
"""Seconds around a span of the speech detection that are not taken for noise: it begins late and ends early."""
_LEAST_NOISE = 0.2
"""Seconds without speech that it takes to know the noise."""
_LEAST_SILENT = 0.05
"""Seconds in which nobody at all is loud that it takes to know how loud silence is: a voice in the background may
leave one or two frames."""
_PAUSE = 0.1
"""Seconds; a shorter pause is the closed mouth inside a word (p, t, k)."""
_LEAST = 0.03
"""Seconds; a shorter sound alone is a click."""
_TOUCH = 0.1
"""Seconds from a span of the speech detection within which a sound belongs to it."""


@functools.cache
def _bands() -> NDArray[np.intp]:
    """Return which frequency each of 21 bands from 80 to 7600 Hz begins with, and the one after the last."""
    edges = np.concatenate([np.arange(80, 1000, 120), np.geomspace(1040, 7600, 14)])
    return np.ceil(edges * _FFT / SAMPLE_RATE).astype(np.intp)


def _powers(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power in every band of every frame, shape (frames, bands)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    shape = np.hanning(_FRAME).astype(np.float32)
    bands = _bands()
    found = np.empty((len(frames), len(bands) - 1), np.float32)
    for first in range(0, len(frames), _BLOCK):
        spectrum = np.fft.rfft(frames[first : first + _BLOCK] * shape, _FFT, axis=1)[:, : bands[-1]]
        # No product of matrices: numpy's threads for it would wait busily, and take the engine's cores.
        found[first : first + _BLOCK] = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, bands[:-1], axis=1)
    found[1:-1] = found[:-2] / 4 + found[1:-1] / 2 + found[2:] / 4
    return found


def listen(samples: NDArray[np.float32], window: Window, spans: Sequence[Span]) -> Sound:
    """Return the islands of sound in `window`, shape of `samples` (samples,) at 16 kHz: a memory map will do.

    Sound is what stays above the noise, at most `_DOWN` under the level of the speech, and belongs to a span of the
    speech detection. Where the noise is as loud as the softer speech, or is speech itself, no edge can be seen: then
    there are no islands.
    """
    near = _near(window, spans, _AROUND)
    inside = [(a, b) for a, b in near if b > window.start / SAMPLE_RATE and a < window.end / SAMPLE_RATE]
    if not inside:
        return Sound((), 0.0)
    first = max(0, window.start - _AROUND)
    heard = np.asarray(samples[first : window.end + _AROUND], np.float32)
    if len(heard) < 3 * _FRAME:
        return Sound((), 0.0)
    powers = _powers(heard)
    times = (np.arange(len(powers)) * _HOP + _FRAME / 2 + first) / SAMPLE_RATE
    quiet = ~_covered(times, near, _EDGE)
    if quiet.sum() * _HOP < _LEAST_NOISE * SAMPLE_RATE:
        # Somebody speaks all the time. Between two words it is quiet only where there is little noise.
        total = powers.sum(axis=1)
        least = float(np.quantile(total, _CLOSED))
        if total[_covered(times, inside, 0.0)].mean() < least * 10 ** (_DOWN / 10):
            return Sound((), 0.0)
        quiet = total <= least
    noise = _OVER * np.median(powers[quiet], axis=0)
    over = np.maximum(powers - noise, 0.0).sum(axis=1)
    level = max(float(over[_covered(times, inside, 0.0)].mean()), 1e-30)
    loud = _runs(over > level * 10 ** (-_AS_LOUD / 10), times)
    speech = [(a, b) for a, b in loud if any(start - _EDGE < b and a < end + _EDGE for start, end in near)]
    silent = quiet & ~_covered(times, speech, _EDGE)
    known = silent if silent.sum() * _HOP >= _LEAST_SILENT * SAMPLE_RATE else quiet
    usual, unusual = np.quantile(over[known], [_USUAL, _UNUSUAL])
    floor = min(float(unusual), float(usual) * 10 ** (_MARGIN / 10))
    room = float(min(_DOWN, 10 * np.log10(level / max(floor, 1e-30))))
    if room < _LEAST_ROOM:
        return Sound((), max(room, 0.0))
    runs = _runs(over > level * 10 ** (-room / 10), times)
    pause = _PAUSE + (_DOWN - room) / 100  # in noise the softer sounds are drowned
    joined = [(a, b) for a, b in _joined(runs, pause) if b - a >= _LEAST]
    soft = level * 10 ** (-(_DOWN + _SOFTER) / 10)
    spoken = _joined(inside, _BREAK)
    if soft > floor:
        joined = _released_softly(joined, _runs(over > soft, times), spoken)
    if room < _DOWN:
        islands = _spoken(joined, spoken, _EARLY, _LATE)
    else:
        if noise.sum() > soft:
            ratio = 10 * np.log10(level * _OVER / float(noise.sum()))
            joined = _held(joined, spoken, _DRAWN + _DRAWN_IN_NOISE * max(0.0, 20.0 - float(ratio)))
        islands = _spoken(joined, spoken)
    loudness = 10 * np.log10(np.maximum(over / level, 10 ** (-_DOWN / 10)))
    return Sound(_clipped(islands, window), room, loudness, float(times[0]))


_AS_LOUD = 6.0
"""Decibels below the level of the speech: so loud a sound that goes on from detected speech is speech, not noise."""
_CLOSED = 0.05
"""Share of the time that the mouth is closed in speech without pauses, at least."""
_USUAL, _UNUSUAL = 0.9, 0.98
"""Shares of the frames without speech: the loudest of the first are noise, those of the second may be a breath or a
door, and count for no more than `_MARGIN` over the others."""
_MARGIN = 6.0
_LEAST_ROOM = 10.0
"""Decibels; with less room the edges of the sound are not seen."""
_BREAK = 0.15
"""Seconds; a shorter pause between two spans of the speech detection is none."""
_BEYOND = 0.2
"""Seconds that a sound may reach beyond the speech that was detected: more is another sound."""
_EARLY, _LATE = 0.1, 0.05
"""Seconds that it may begin before and end after the speech that was detected, in noise: more is the noise."""
_DRAWN, _DRAWN_IN_NOISE = 0.08, 0.007
"""Seconds by which the detection may end speech too late with 20 dB of speech over noise, and those more for each
decibel less: by less in 9 of 10 prompts (white noise, 20 and 10 dB: 0.066 and 0.149 s)."""


_SOFTER = 7.0
"""Decibels by which the last consonant of a word may be softer than other sound (`sept`, `neuf`)."""
_TAIL = 0.1
"""Seconds that a soft end must last where no pause parts it from the sound before: a shorter one is the room's."""


def _runs(loud: NDArray[np.bool_], times: NDArray[np.float64]) -> list[tuple[float, float]]:
    turns = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    half = _HOP / 2 / SAMPLE_RATE
    return [
        (float(times[a] - half), float(times[b - 1] + half)) for a, b in zip(turns[::2], turns[1::2], strict=True)
    ]


def _released_softly(
    runs: Sequence[tuple[float, float]], soft: Sequence[tuple[float, float]], speech: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return the runs of sound with the soft ends that the speech detection still hears after the last of them."""
    found = list(runs)
    for start, end in speech:
        last = _last(runs, start, end)
        for a, b in soft:
            low, high = max(a, last), min(b, end + _EDGE)
            if a < end and high - low >= (_LEAST if a > last else _TAIL):
                found.append((low, high))
    return _joined(sorted(found), 0.02)


def _held(
    runs: Sequence[tuple[float, float]], speech: Sequence[tuple[float, float]], late: float
) -> list[tuple[float, float]]:
    """Return the runs of sound, the last of each stretch of speech drawn out to where that was heard for certain.

    A soft consonant at its end (`huit`, `neuf`) is drowned in even noise. The detection may end speech `late` seconds
    too late.
    """
    found = list(runs)
    for start, end in speech:
        last = _last(runs, start, end)
        if last < end - late:
            found.append((last, end - late))
    return _joined(sorted(found), 0.02)


def _last(runs: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Return where the last run of sound ends that touches a stretch of speech; the end of that where none does."""
    return max((b for a, b in runs if a < end and b > start), default=end)


def _spoken(
    runs: Sequence[tuple[float, float]],
    speech: Sequence[tuple[float, float]],
    early: float = _BEYOND,
    late: float = _BEYOND,
) -> list[Island]:
    """Return what of the runs of sound belongs to speech; a run that fills a pause of the speech is parted there.

    None of them begins more than `early` seconds before a stretch of the speech, or ends more than `late` after it.
    """
    found: list[Island] = []
    begins = [a for a, _ in runs]
    ends = [b for _, b in runs]
    for number, (a, b) in enumerate(speech):
        low = max(a - _BEYOND, speech[number - 1][1]) if number else a - _BEYOND
        high = min(b + _BEYOND, speech[number + 1][0]) if number + 1 < len(speech) else b + _BEYOND
        own = runs[bisect.bisect_left(ends, a - _TOUCH) : bisect.bisect_right(begins, b + _TOUCH)]
        # A run that reaches over the next pause ends where the speech was heard to end.
        parts = [
            Island(
                a if s < low else max(s, a - early),
                b if e > high else min(e, b + late),
                before=min(a - s, _REACH) if s < low else 0.0,
                early=min(max(0.0, a - s), early) if s >= low else 0.0,
                late=min(max(0.0, e - b), late) if e <= high else 0.0,
                stretch=number,
            )
            for s, e in own
            if s < b + _TOUCH and e > a - _TOUCH
        ]
        found += [part for part in parts if part.end - part.start >= _LEAST] or [Island(a, b, stretch=number)]
    return _ordered(found)


def _ordered(islands: Iterable[Island]) -> list[Island]:
    found: list[Island] = []
    edge = 0.0
    for island in sorted(islands, key=lambda island: (island.start, island.end)):
        start = max(island.start, edge)
        if island.end > start:
            early = max(0.0, island.early - (start - island.start))
            before = min(island.before, start - edge)
            found.append(dataclasses.replace(island, start=start, before=before, early=early))
            edge = island.end
    return found


def _clipped(islands: Iterable[Island], window: Window) -> tuple[Island, ...]:
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    found = []
    for island in islands:
        start, end = max(island.start, low), min(island.end, high)
        if end > start:
            early = max(0.0, island.early - (start - island.start))
            late = max(0.0, island.late - (island.end - end))
            before = min(island.before, start - low)
            found.append(Island(float(start), float(end), float(before), float(early), float(late), island.stretch))
    return tuple(found)


def _near(window: Window, spans: Sequence[Span], around: int) -> list[tuple[float, float]]:
    """Return the spans within `around` samples of the window, in seconds."""
    first = bisect.bisect_right(spans, window.start - around, key=lambda span: span.end)
    last = bisect.bisect_left(spans, window.end + around, key=lambda span: span.start)
    return [(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in spans[first:last]]


def _covered(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], add: float) -> NDArray[np.bool_]:
    found = np.zeros(len(times), bool)
    for start, end in spans:
        found[np.searchsorted(times, start - add) : np.searchsorted(times, end + add)] = True
    return found


def _joined(runs: Iterable[tuple[float, float]], pause: float) -> list[tuple[float, float]]:
    """Return the runs with those joined that are less than `pause` seconds apart."""
    found: list[tuple[float, float]] = []
    for start, end in runs:
        if found and start - found[-1][1] < pause:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


_SLIP = 0.5
"""What it costs to move a word by a second; a word that lies half outside its island costs a half."""
_HOMELESS = 2.0
"""What it costs to leave a word outside every island."""
_EMPTY = 1.0
"""What it costs to leave an island of `_WORD` seconds or more without a word."""
_WORD = 0.3
_MISFIT = 1.0
"""What words cost that are e times too many or too few for their islands, beyond `_ELASTIC`."""
_ELASTIC = 0.3
_JOINT = 3.0
"""What a pause of a second inside a group costs: a word may contain a short one (`eight`, `immettere`)."""
_APART = 6.0
"""The same where the speech detection hears the pause as well."""
_INNER = 0.25
"""Seconds; no group of islands bridges a longer pause."""
_RELEASE = 0.15
"""Seconds; a shorter sound after such a pause, without a word of its own, is the end of the word before (`sept`)."""
_GROUP = 4
"""Islands in one group at most."""
_BRIEF = 0.4
"""Seconds; of a longer pause the engine may give any part to one of the words beside it."""
_MOST_LAG = 0.3
"""Seconds; more is a word that was laid elsewhere."""
_GAP = 0.01
"""Seconds; more between two words was the time of a mark: else one begins, by the engine, where the other ends."""
_MARKED = 0.05
"""Seconds that a word behind a mark begins later than others, by the engine: its mark has a time of its own. Seen
with base and tiny.en, in human speech and in a synthesiser's."""
_BEFORE_IT, _BEHIND = 0.03, 0.04
"""Seconds before the beginning of a word behind a mark, by the engine, at which it is looked for first, and those
after it at which it is not looked for any more."""
_NEARER = 60.0
"""Decibels that it must be softer a second further from there."""
_INSIDE = 0.03
"""Seconds from a pause on which it is in the sound beside it."""
_CLEAR = 20.0
"""Decibels of room from which on a pause is one of the speaker, not of the noise."""
_PRIOR = 2
"""Pauses for which no lag at all counts."""
_TOLD = 3
"""Groups with an end in one window that it takes to know how early the engine ends words."""
_LEAN = 0.06
"""Seconds by which an end in noise may be moved towards the engine's."""
_REACH, _REACH_IN_NOISE = 1.0, 0.6
"""Seconds that the outer edge of a word may be moved outwards to the edge of its island; in noise less, for
there an edge may be another sound's."""
_LOOSE = 2.5
"""Times its usual length that a word moved from elsewhere may get."""
_SLOW = 1.25
"""Times its usual length that a word gets at most while words are laid over the sound; what is before is a pause."""
_MINIMUM = 0.3
"""Share of its usual length that every word keeps."""


def settle(
    samples: NDArray[np.float32], window: Window, segments: Iterable[Segment], spans: Sequence[Span]
) -> list[Segment]:
    """Return the segments of `window` with the times of their words settled on the sound.

    Args:
        samples: the recording, shape (samples,), 16 kHz; only what lies around the window is read.
        window: where the segments are from.
        segments: as the engine gave them; those without words stay as they are.
        spans: where somebody speaks, in the whole recording, as `speech.spans` gives them.
    """
    segments = list(segments)
    if not any(segment.words for segment in segments):
        return segments
    return laid(segments, listen(samples, window, spans))


def laid(segments: Sequence[Segment], sound: Sound) -> list[Segment]:
    """Return the segments with their words laid over the islands of `sound`."""
    words = [word for segment in segments for word in segment.words]
    weights = np.array([_weight(word.word) for word in words])
    length = sum(island.end - island.start for island in sound.islands)
    pace = min(max(length / max(1.0, float(weights.sum())), 0.04), 0.12)  # seconds a letter
    usual = weights * pace
    settled: list[tuple[float, float]] = [(word.start, word.end) for word in words]
    groups = _homes(words, usual, sound.islands)
    if sound.room >= _CLEAR:
        if lags := _lags(words, groups, sound.islands):
            words = _shifted(words, *lags)
            groups = _homes(words, usual, sound.islands)
        words, groups = _met(words, groups, sound)
    edge = 0.0
    reach = _REACH if sound.room >= _DOWN else _REACH_IN_NOISE
    homes = {home[0] for *_, home in groups if home is not None}
    noisy = sound.room < _CLEAR
    ends = {
        home: _ended(sound.islands[_released(sound.islands, home[1], homes)], words[last - 1], noisy=noisy)
        for _, last, home in groups
        if home is not None
    }
    if noisy:
        ends = _leaning(words, groups, ends, sound.islands)
    for first, last, home in groups:
        if home is None:
            places = settled[first:last]
        else:
            low = _begun(sound.islands[home[0]], words[first], noisy=noisy)
            high = ends[home]
            places = _placed(words[first:last], usual[first:last], low, high, reach)
        for number, (start, end) in enumerate(places, first):
            begin = max(start, edge)
            edge = max(begin, end)
            settled[number] = (begin, edge)
    rest = iter(
        dataclasses.replace(w, start=round(a, 3), end=round(b, 3)) for w, (a, b) in zip(words, settled, strict=True)
    )
    found = []
    for segment in segments:
        own = tuple(itertools.islice(rest, len(segment.words)))
        found.append(dataclasses.replace(segment, start=own[0].start, end=own[-1].end, words=own) if own else segment)
    return found


def _lags(words: Sequence[Word], groups: Sequence[_Group], islands: Sequence[Island]) -> tuple[float, float] | None:
    """Return by how many seconds the engine's times are late (early: below 0), then for the starts behind a mark.

    Each model has a lag of its own: base is 30 to 50 ms early, tiny.en 100 ms late. A word behind a mark and a short
    pause tells it, for where it begins is seen. Without any, it should be in the middle of the pauses that one word
    ends and the next begins, but the engine may take a pause for a part of either. Few pauses tell less.
    """
    marked, plain = [], []
    for (_, _, home), (first, _, following) in itertools.pairwise(groups):
        if home is None or following is None or following[0] != home[1] + 1:
            continue
        start = words[first].start
        before, after = islands[home[1]].end, islands[following[0]].start
        if after - before < _BRIEF:
            if _behind_a_mark(words, first):
                marked.append(start - after - _MARKED)
            else:
                plain.append(start - (before + after) / 2)
    found = [lag for lag in marked or plain if abs(lag) < _MOST_LAG]
    if not found:
        return None
    lag, known = float(np.median(found)), len(found) / (len(found) + _PRIOR)
    return lag * known, (lag + _MARKED) * known


def _shifted(words: Sequence[Word], lag: float, marked: float) -> list[Word]:
    """Return the words with their lag taken off: `marked` from the start of those behind a mark."""
    found = []
    for i, word in enumerate(words):
        start = max(0.0, word.start - (marked if _behind_a_mark(words, i) else lag))
        found.append(dataclasses.replace(word, start=start, end=max(start, word.end - lag)))
    return found


def _behind_a_mark(words: Sequence[Word], i: int) -> bool:
    """Return whether a mark, by the engine, took time between word `i` and the one before it."""
    return i > 0 and words[i].start - words[i - 1].end > _GAP


def _met(words: Sequence[Word], groups: Sequence[_Group], sound: Sound) -> tuple[list[Word], list[_Group]]:
    """Return words and groups without the gaps that marks left in one sound: a word ends where the next begins.

    Whisper gives a mark a time of its own, and mostly that is the end of the word before, drawn out at the end of a
    sentence. The next word begins where the engine says (base) or before (tiny.en): where it is soft near by. If that
    is not in the short pause between two groups, the mouth was closed inside a word there: they are one.
    """
    found = list(words)
    joined: list[_Group] = []

    def border(i: int) -> float:
        before, word = found[i - 1], found[i]
        return sound.softest(before.end, min(word.start + _BEHIND, word.end), word.start - _BEFORE_IT)

    def meet(i: int, edge: float) -> None:
        found[i - 1] = dataclasses.replace(found[i - 1], end=edge)
        found[i] = dataclasses.replace(found[i], start=edge)

    for first, last, home in groups:
        marked = [i for i in range(first, last) if _behind_a_mark(found, i)]
        if home is not None:
            for i in marked:
                if i > first:
                    meet(i, border(i))
            before = joined[-1] if joined else (0, 0, None)
            if first in marked and before[2] is not None and before[2][1] + 1 == home[0]:
                left, right = sound.islands[home[0] - 1], sound.islands[home[0]]
                edge = border(first)
                inside = edge < left.end - _INSIDE or edge > right.start + _INSIDE
                if inside and right.start - left.end < _INNER and left.stretch == right.stretch:
                    meet(first, edge)
                    joined[-1] = (before[0], last, (before[2][0], home[1]))
                    continue
        joined.append((first, last, home))
    return found, joined


def _begun(island: Island, word: Word, *, noisy: bool) -> float:
    """Return where the words of an island begin, of which this is the first.

    If the engine heard all of it before the speech that was detected, in the same sound, the detection was late. In
    noise, sound before what both heard is another's.
    """
    if noisy and word.start >= island.start + island.early:
        return island.start + island.early
    if word.end > island.start:
        return island.start
    return max(island.start - island.before, word.start)


def _ended(island: Island, word: Word, *, noisy: bool) -> float:
    """Return where the words of an island end, of which this is the last."""
    return island.end - island.late if noisy and word.end <= island.end - island.late else island.end


def _leaning(
    words: Sequence[Word],
    groups: Sequence[_Group],
    ends: dict[tuple[int, int], float],
    islands: Sequence[Island],
) -> dict[tuple[int, int], float]:
    """Return the ends of groups, in noise, half way to where the engine has them.

    A voice in the background draws out the sound and the detection, and loud noise drowns an end; the engine is early
    by about as much everywhere in a window. So the two are wrong for different reasons.
    """
    early = {home: ends[home] - words[last - 1].end for _, last, home in groups if home is not None}
    if len(early) < _TOLD:
        return ends
    usual = float(np.median(list(early.values())))
    found = {}
    for (first, last), end in ends.items():
        moved = end + min(max((usual - early[first, last]) / 2, -_LEAN), _LEAN)
        following = islands[last + 1].start if last + 1 < len(islands) else end
        found[first, last] = min(max(moved, (islands[first].start + end) / 2), max(following, end))
    return found


def _released(islands: Sequence[Island], last: int, homes: set[int]) -> int:
    """Return the island that ends the word which ends in island `last`: a stop may be released after a pause."""
    if last + 1 < len(islands) and last + 1 not in homes:
        after = islands[last + 1]
        if after.start - islands[last].end < _INNER and after.end - after.start < _RELEASE:
            return last + 1
    return last


def _weight(word: str) -> float:
    """Return how long a word takes to say, in letters: a figure is a word of its own, and so is a Chinese letter."""
    return 1.5 + sum(
        4.0 if letter.isdigit() else 2.5 if ord(letter) >= 0x2E80 else 1.0 for letter in word if letter.isalnum()
    )


def _homes(words: Sequence[Word], usual: NDArray[np.float64], islands: Sequence[Island]) -> list[_Group]:
    """Return runs of words (first, one past the last) with their first and last island, None for words outside all.

    The order of words and islands agrees. Of all ways to lay one over the other this takes the one with the least
    cost: for words moved, for words and islands left alone, for words too many or too few for their islands.
    """
    n, m = len(words), len(islands)
    starts = np.array([word.start for word in words])
    ends = np.array([word.end for word in words])
    # A pause before a word is often taken for a part of it, one after it where a mark stands for that.
    joins = np.array([word.word[-1:].isalnum() for word in words])
    starts = np.maximum(starts, np.where(joins, ends - _SLOW * usual, starts))
    lengths = np.maximum(ends - starts, 0.02)
    total = np.concatenate([[0.0], np.cumsum(usual)])
    alone = np.arange(n + 1) * _HOMELESS
    # least[k, i]: the lowest cost of the first i words and the first k islands.
    least = np.full((m + 1, n + 1), np.inf)
    least[0] = alone
    # came[k, i]: the last run of that way, its first word and first island, counted from 1; island 0 is none, and
    # -1 says that island k stays empty.
    came = np.full((m + 1, n + 1, 2), -1)
    came[:, :, 0] = np.arange(-1, n)
    came[0, :, 1] = 0
    later = np.tril(np.full((n + 1, n + 1), np.inf))  # no run ends before it begins, or is empty
    takes = np.log(np.maximum(total[None, :] - total[:, None], 1e-9))
    for k in range(1, m + 1):
        empty = _EMPTY * min(1.0, (islands[k - 1].end - islands[k - 1].start) / _WORD)
        best = least[k - 1] + empty
        joints, length = 0.0, 0.0
        for j in range(k, max(0, k - _GROUP), -1):
            if j < k:
                pause = islands[j].start - islands[j - 1].end
                if pause >= _INNER:
                    break
                joints += (_JOINT if islands[j].stretch == islands[j - 1].stretch else _APART) * pause
            low, high = islands[j - 1].start, islands[k - 1].end
            length += islands[j - 1].end - islands[j - 1].start
            over = np.minimum(ends, high) - np.maximum(starts, low)
            cost = 1.0 - np.clip(over, 0.0, lengths) / lengths + _SLIP * np.maximum(-over, 0.0)
            moved = np.concatenate([[0.0], np.cumsum(cost)])
            fit = np.abs(takes - np.log(length))
            runs = (least[j - 1] - moved + joints)[:, None] + moved[None, :] + later
            runs += _MISFIT * np.maximum(fit - _ELASTIC, 0.0)
            begin = runs.argmin(axis=0)
            sums = runs[begin, np.arange(n + 1)]
            better = sums < best
            best = np.where(better, sums, best)
            came[k, better, 0], came[k, better, 1] = begin[better], j
        lowest = np.minimum.accumulate(best - alone)
        outside = np.flatnonzero(lowest < best - alone)
        best[outside] = lowest[outside] + alone[outside]
        came[k, outside, 0], came[k, outside, 1] = outside - 1, 0
        least[k] = best
    found: list[_Group] = []
    k, i = m, n
    while i:
        first, island = came[k, i].tolist()
        if island < 0:
            k -= 1
        elif island == 0:
            found.append((first, i, None))
            i = first
        else:
            found.append((first, i, (island - 1, k - 1)))
            k, i = island - 1, first
    return found[::-1]


def _placed(
    words: Sequence[Word], usual: NDArray[np.float64], low: float, high: float, reach: float
) -> list[tuple[float, float]]:
    """Return the times of words that are spoken between `low` and `high`."""
    start, end = words[0].start, words[-1].end
    if end <= low or start >= high:  # nothing is known but the order
        room = min(high - low, _LOOSE * float(usual.sum()))
        first = low if end <= low else high - room
        cuts = first + room * np.concatenate([[0.0], np.cumsum(usual)]) / usual.sum()
        return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
    # A sentence that the engine left out may stand before or after: no word is drawn out over it.
    first = low if start - low < reach else start
    last = high if high - end < reach else end
    least = _MINIMUM * usual
    if least.sum() > last - first:
        least *= (last - first) / least.sum()
    starts = np.clip([word.start for word in words], first, last)
    ends = np.clip([word.end for word in words], first, last)
    starts[0], ends[-1] = first, last
    for i in range(len(words)):
        if i:
            starts[i] = max(starts[i], ends[i - 1])
        ends[i] = max(ends[i], starts[i] + least[i])
    ends[-1] = last
    for i in range(len(words) - 1, -1, -1):
        if i < len(words) - 1:
            ends[i] = min(ends[i], starts[i + 1])
        starts[i] = max(min(starts[i], ends[i] - least[i]), first)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def stretches(window: Window, spans: Sequence[Span]) -> list[tuple[float, float]]:
    """Return the spans of `window` in seconds, joined over the shortest pauses and cut at its ends."""
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    cut = ((max(start, low), min(end, high)) for start, end in _joined(_near(window, spans, 0), _BREAK))
    return [(start, end) for start, end in cut if end > start]


def part(segment: Segment, words: tuple[Word, ...]) -> Segment:
    """Return the segment with only `words` (one or more, in order), its text and times theirs."""
    text = "".join(word.word for word in words).strip()
    return dataclasses.replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)


def ordered(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments, which are sorted by their start, with no word beginning before the one before it ended."""
    found = []
    edge = 0.0
    for segment in segments:
        words = []
        for word in segment.words:
            start = max(word.start, edge)
            edge = max(start, word.end)
            words.append(dataclasses.replace(word, start=start, end=edge))
        if words:
            found.append(part(segment, tuple(words)))
        else:
            start = max(segment.start, edge)
            edge = max(start, segment.end)
            found.append(dataclasses.replace(segment, start=start, end=edge))
    return found


_SILENCE = 0.8
"""Seconds without a word that end a sentence, whatever its punctuation."""
_STOPS = frozenset(".?!…。！？．؟۔।॥։።")  # noqa: RUF001
_WIDE = frozenset("。！？．")  # noqa: RUF001  # nothing stands between these and the next sentence
_AFTER = "\"'”’»«)]}」』）】"  # noqa: RUF001
_BEFORE = "\"'“‘«»([{¿¡「『（【-–—"  # noqa: RUF001
_ABBREVIATIONS = (
    "mr mrs ms dr prof sr sra srta dra st mt jr vs etc no nos vol fig approx inc ltd co corp dept gen sgt capt lt "
    "col rev mme mlle mm av bd bzw ca nr usw evtl ggf tel sig dott ing avv ecc ud uds др ул им"
)
_SHORT = frozenset(_ABBREVIATIONS.split())
"""Abbreviations, without their last full stop, that a sentence goes on after, in languages often spoken."""


def sentences(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments cut into sentences: after the sign that ends one, and before a pause of `_SILENCE`.

    What the engine said of the segment (`avg_logprob` and so on) stays with every part. A segment whose words have
    no times stays whole, and nothing is made that has no length.
    """
    return [sentence for segment in segments for sentence in _sentences(segment)]


def _sentences(segment: Segment) -> list[Segment]:
    words = segment.words
    cuts = [0]
    for i in range(1, len(words)):
        before, after = words[i - 1], words[i]
        ends = after.start - before.end >= _SILENCE or _stops(before.word, after.word)
        if ends and before.end > words[cuts[-1]].start:
            cuts.append(i)
    if len(cuts) > 1 and words[-1].end <= words[cuts[-1]].start:
        cuts.pop()
    if len(cuts) <= 1:
        return [segment]
    return [part(segment, words[a:b]) for a, b in itertools.pairwise([*cuts, len(words)])]


def _stops(word: str, following: str) -> bool:
    """Whether a sentence ends between the two words."""
    word = word.strip().rstrip(_AFTER)
    if not word or word[-1] not in _STOPS:
        return False
    if word[-1] in _WIDE:
        return True
    first = following.strip().lstrip(_BEFORE)[:1]
    if not following[:1].isspace() or first.islower():
        return False
    stem = word[:-1].lstrip(_BEFORE).casefold()
    initial = (len(stem) == 1 and stem.isalpha()) or re.fullmatch(r"(\w\.)+\w", stem) is not None
    return not (word[-1] == "." and (initial or stem in _SHORT))

"""When each word begins and ends: the engine's edges and the sound in one dynamic programme.

There are two witnesses. The engine's edges, found by letters, are good to some 30 ms inside speech,
and little worth beside pauses. The sound knows exactly where pauses begin and end, but not where one
word becomes the next. Everything that speaks for or against a time is a cost (`Costs`), and the
words, in order and without overlap, get the times of which the sum is least.

The costs of a word depend on where it begins and ends, those of the gap before it on the end of the
word before. So for each word the least cost of ending at each time follows from that of the word
before with a few minima over the window (`_Table`), and the times are read back from the last word
to the first.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.worker.word_times.segmentation import DEPTH
from dropscribe.worker.word_times.spectrum import HOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.intervals import Interval
    from dropscribe.worker.word_times.sound import Sound

    Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Costs:
    """What speaks against the times of words. Lengths are in seconds; only ratios of costs matter.
    All but `lost` and `longest` may be a third off and change little.
    """

    moved: float = 3.9
    """A second by which an edge is moved from the engine's."""
    moved_figure: float = 2.0
    """The same for a word with figures. They are not spelled for the engine, which knows their edges half as
    well."""
    lost: float = 0.08
    """From which on a second costs `moved_far`. Inside speech the engine is hardly ever wrong by
    more; beside a pause it is wrong by any amount."""
    moved_far: float = 0.5
    silence: float = 4.0
    """A second of a word in silence, and as much again where the detection hears a `rest` as well. More
    than `moved`, so that words end with the sound."""
    rest: float = 0.2
    """A shorter pause may be a closed mouth (`sixteen`), in noise also where the detection hears it: noise drowns
    the soft sounds on both sides, and nobody rests so shortly."""
    release: float = 0.15
    """A shorter sound is the release of a stop (`sept`, `huit`): the closed mouth before it costs half of
    `silence`. No word is shorter."""
    undetected: float = 2.0
    """A second of a word where the detection hears nobody and the sound shows no edges, in noise, music or
    another's voice; less than half of `silence`, for the detection misses soft speech. A second of detected
    speech between words costs the same where nothing shows edges."""
    margin: float = 0.05
    """Around detected speech that counts as detected: it is known to 32 ms."""
    unheard: float = 8.0
    """A second of sound between words: more than `silence`, so that what follows a closed mouth (the t of
    `eight`) belongs to the word."""
    masked: float = 0.25
    """Share of `unheard` for sound in noise shortly before detected speech, which may be another's:
    the engine decides, else it belongs to the word. Sound shortly after it belongs to nobody, for the
    detection ends late there."""
    clear: float = 22.0
    """Decibels of headroom from which on sound around detected speech is the speaker's: a few less than
    `DEPTH`, for some noise is in every room."""
    punctuation: float = 1.0
    """A second by which a word begins earlier in the time that the engine gives to the punctuation before it.
    Without a pause the two words meet where it is soft."""
    filler: float = 1.0
    """Sound between two words, however long: a filler, a breath, or a sentence that the engine left
    out. A quarter of a second of `moved`: no word is drawn out over more."""
    shortest: float = 0.5
    """Share of its usual length below which a word is too short."""
    longest: float = 1.4
    """Times its usual length from which on a word is too long, and a pause before it may be in it."""
    drawn: float = 0.1
    """Seconds that it may be longer where the engine gives as much to punctuation: the end of a sentence is
    drawn out."""
    misfit: float = 1.0
    """Too short or too long by its usual length."""
    loud: float = 0.15
    """A border at the level of the speech; none where it is silent: words meet where it is soft."""


COSTS = Costs()

STEP = 0.01
"""Seconds between two times that are tried: half a step of the engine. An edge of the sound is then
taken as it is."""


def place_words(words: Sequence[Word], usual_lengths: Values, sound: Sound) -> list[Interval]:
    """Return the time of each word, in order and without overlap.

    Args:
        words: With the engine's times.
        usual_lengths: Seconds that each word usually takes, shape (words,).
        sound: What the window sounds like.
    """
    first = min([word.start for word in words] + [segment.start for segment in sound.segments])
    last = max([word.end for word in words] + [segment.end for segment in sound.segments])
    steps = max(len(words), math.ceil((last - first) / STEP))
    times = np.minimum(first + STEP * np.arange(steps + 1), last)
    table = _Table(times, sound, usual_lengths)
    for word, begins, ends in zip(words, *_bound_edges(words, COSTS.longest * usual_lengths), strict=True):
        table.add_word(word, begins, ends)
    exact = np.array([edge for segment in sound.segments for edge in (segment.start, segment.end)])
    found: list[Interval] = []
    before = first
    for word, (begin, end) in zip(words, table.read_back(), strict=True):
        start = max(before, _refine(float(times[begin]), exact, word.start))
        if found and times[begin] <= found[-1][1]:  # the two meet, in one time
            found[-1] = (found[-1][0], start)
        before = max(start, _refine(float(times[end]), exact, word.end))
        found.append((start, before))
    return _keep_silent_words(words, found, COSTS.longest * usual_lengths, sound)


def _keep_silent_words(
    words: Sequence[Word], placed: Sequence[Interval], longest: Values, sound: Sound
) -> list[Interval]:
    """Return the times with the engine's for words over silence, which no sound can place: the recheck
    judges them. A pause before such a word is not in it either.
    """
    heard = [(s.start - s.extends_before, s.end) for s in sound.segments] or list(sound.speech)
    found: list[Interval] = []
    edge = 0.0
    following = [*(start for start, _ in placed[1:]), math.inf]
    for word, own, length, limit in zip(words, placed, longest.tolist(), following, strict=True):
        if any(a < own[1] and b > own[0] for a, b in heard):
            found.append(own)
        else:
            start = max(word.start, word.end - length)
            found.append((max(edge, min(start, limit)), max(edge, min(word.end, limit))))
        edge = found[-1][1]
    return found


def _bound_edges(words: Sequence[Word], longest: Values) -> tuple[list[Interval], list[Interval]]:
    """Return between which times each word begins, and ends, as far as the engine knows.

    The engine often makes a pause part of the word after it. The time of punctuation, between two
    words, is mostly the end of the word before, which is drawn out at the end of a sentence. But the
    word after it may begin in it.
    """
    earliest = [words[0].start]
    for before, word in itertools.pairwise(words):
        earliest.append(word.start if _has_figures(word) else min(before.end, word.start))
    begins = [
        (start, max(word.start, word.end - length))
        for start, word, length in zip(earliest, words, longest.tolist(), strict=True)
    ]
    following = [*(word.start for word in words[1:]), words[-1].end]
    return begins, [(word.end, max(word.end, start)) for word, start in zip(words, following, strict=True)]


def _has_figures(word: Word) -> bool:
    return any(map(str.isdigit, word.word))


def _refine(time: float, edges: Values, engine: float) -> float:
    """Return the edge of the sound, or else the engine's, that this time stands for."""
    near = edges[np.abs(edges - time) <= STEP]
    if len(near):
        return float(near[np.abs(near - time).argmin()])
    return engine if abs(engine - time) < STEP else time


class _Table:
    """The least cost of the words so far when the last of them ends at each time."""

    def __init__(self, times: Values, sound: Sound, usual_lengths: Values) -> None:
        """Take the times that are tried, shape (times,)."""
        self._times = times
        self._usual = usual_lengths / STEP
        in_word, in_gap, border = _weigh_sound(times, sound)
        self._word = np.concatenate([[0.0], np.cumsum(in_word)])
        self._gap = np.concatenate([[0.0], np.cumsum(in_gap)])
        self._border = border
        self._begin: list[Values] = []
        """For each word the least cost of beginning at each time."""
        self._drawn: list[float] = []
        """Steps by which each word may be longer."""
        self._end: list[Values] = []

    def add_word(self, word: Word, begins: Interval, ends: Interval) -> None:
        """Add the next word, which by the engine begins and ends between these times."""
        moved = COSTS.moved_figure if _has_figures(word) else COSTS.moved
        self._drawn.append(min(ends[1] - ends[0], COSTS.drawn) / STEP)
        begin = self._cross_gap() + self._move(begins, moved)
        begin += COSTS.punctuation * np.clip(word.start - self._times, 0.0, word.start - begins[0])
        number = len(self._begin)
        self._begin.append(begin)
        low, high, rate = self._limits(number)
        steps = np.arange(len(self._times))
        open_ = begin - self._word
        usual = _delay(_slide_minimum(open_, high - low + 1), low)
        short = _delay(_slide_minimum(open_ + rate * steps, low - 1), 1) + rate * (low - steps) if low > 1 else np.inf
        long = _delay(np.minimum.accumulate(open_ - rate * steps), high + 1) + rate * (steps - high)
        self._end.append(np.minimum(np.minimum(usual, short), long) + self._word + self._move(ends, moved))

    def read_back(self) -> list[tuple[int, int]]:
        """Return the steps at which each word begins and ends, at the least cost of all."""
        found: list[tuple[int, int]] = []
        costs = self._end[-1] + self._gap[-1] - self._gap
        ends = np.minimum(costs, self._end[-1] + COSTS.filler)
        end = int(ends.argmin())
        for number in range(len(self._end) - 1, -1, -1):
            low, high, rate = self._limits(number)
            length = end - np.arange(end)
            misfit = rate * np.maximum(np.maximum(low - length, length - high), 0)
            begin = int((self._begin[number][:end] - self._word[:end] + misfit).argmin())
            found.append((begin, end))
            if number:
                gap = np.minimum(self._gap[begin] - self._gap[: begin + 1], COSTS.filler)
                end = int((self._end[number - 1][: begin + 1] + gap).argmin())
        return found[::-1]

    def _limits(self, number: int) -> tuple[int, int, float]:
        """Return the least and the most steps of a usual word, and what a step less or more costs."""
        usual = self._usual[number]
        low = max(1, round(COSTS.shortest * usual))
        return low, max(low, round(COSTS.longest * usual + self._drawn[number])), COSTS.misfit / max(usual, 1.0)

    def _cross_gap(self) -> Values:
        """Return the least cost up to each time, the gap after the last word included."""
        heard, least = self._gap, np.zeros(len(self._gap))
        if self._end:
            heard = np.minimum.accumulate(self._end[-1] - self._gap) + self._gap
            least = np.minimum.accumulate(self._end[-1])
        cost: Values = np.minimum(heard, least + COSTS.filler)
        return cost

    def _move(self, engine: Interval, moved: float) -> Values:
        """Return what it costs that an edge of a word is at each time, when by the engine it is in
        this interval.
        """
        first, last = engine
        away = np.maximum(np.maximum(first - self._times, self._times - last), 0.0)
        near = np.minimum(away, COSTS.lost)
        return moved * near + COSTS.moved_far * (away - near) + self._border


def _weigh_sound(times: Values, sound: Sound) -> tuple[Values, Values, Values]:
    """Return what a step costs in a word and in a gap, shape (times - 1,), and what a border costs at
    each time.
    """
    middles = times[:-1] + STEP / 2
    silent, heard = np.zeros(len(middles)), np.zeros(len(middles))
    if sound.segments:
        silent += 1
        for before, after in itertools.pairwise(sound.segments):
            if before.speech_span != after.speech_span and after.start - before.end >= COSTS.rest:
                silent[_find(middles, before.end, after.start)] += 1
            elif after.end - after.start < COSTS.release:
                silent[_find(middles, before.end, after.start)] /= 2
        in_noise = sound.headroom < COSTS.clear  # there sound that is not detected may be another's
        earlier = COSTS.undetected / COSTS.silence if sound.headroom < DEPTH else 0.0
        for segment in sound.segments:
            silent[_find(middles, segment.start - segment.extends_before, segment.start)] = earlier
            silent[_find(middles, segment.start, segment.end)] = 0
            heard[_find(middles, segment.start, segment.end)] = 1
            if in_noise:
                heard[_find(middles, segment.start, segment.start + segment.undetected_start)] = COSTS.masked
                heard[_find(middles, segment.end - segment.undetected_end, segment.end)] = 0
    elif sound.speech:
        silent += COSTS.undetected / COSTS.silence
        for start, end in sound.speech:
            silent[_find(middles, start - COSTS.margin, end + COSTS.margin)] = 0
            heard[_find(middles, start, end)] = COSTS.undetected / COSTS.unheard
    loudness = np.zeros(len(times))
    if sound.loudness is not None:
        places = np.clip(np.round((times - sound.first) / HOP_SECONDS).astype(int), 0, len(sound.loudness) - 1)
        loudness = 1 + sound.loudness[places] / DEPTH
    return COSTS.silence * STEP * silent, COSTS.unheard * STEP * heard, COSTS.loud * loudness


def _find(times: Values, start: float, end: float) -> slice:
    """Return which of the sorted times are between these two."""
    return slice(int(np.searchsorted(times, start)), int(np.searchsorted(times, end)))


def _delay(values: Values, steps: int) -> Values:
    """Return the values `steps` later; before them there is none."""
    return np.concatenate([np.full(min(steps, len(values)), np.inf), values[: max(0, len(values) - steps)]])


def _slide_minimum(values: Values, width: int) -> Values:
    """Return the least of each value and the `width - 1` before it."""
    found, done = values, 1
    while done < width:
        step = min(done, width - done)
        found = np.minimum(found, _delay(found, step))
        done += step
    return found

"""Where the text of a window and its speech do not agree.

Guarantees: pure functions; what is found in a window depends on that window and its speech alone.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dropscribe.repetition import find_loops
from dropscribe.worker import repeats, word_times
from dropscribe.worker.word_times.durations import estimate_longest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.transcript import Segment
    from dropscribe.worker.vad import Span
    from dropscribe.worker.word_times import Sound


@dataclass(frozen=True, slots=True)
class SuspicionRules:
    """What is suspicious."""

    alone_s: float = 0.4
    """Shortest stretch of speech, in seconds, that is suspicious when it has no word at all. A
    shorter one may be a cough, or an "uh", which Whisper drops."""
    partly_s: float = 1.0
    """Shortest gap between words, in seconds, that is suspicious inside a stretch of speech. It is
    longer than `alone_s` because the times of words are not exact."""
    loud: float = 0.8
    """Share of `alone_s`, or of `partly_s`, for which such speech or such a gap must hold sound."""
    piece_s: float = 0.15
    """Sound, in seconds, that a shorter gap must hold to be counted: as long as the shortest word,
    longer than the error of a word's edges."""
    summed_s: float = 0.8
    """Sound of gaps near each other, in seconds, that is suspicious: two words or three."""
    near_s: float = 2.0
    """Seconds between two gaps that are counted together."""
    share: float = 0.35
    """Share of the sound, from the first of such gaps to the last, that is in them. Somebody who
    says "uh" every other word has less."""
    away_s: float = 0.3
    """Seconds between a word and the nearest speech, from which on the word counts as over
    silence."""
    fastest: float = 35.0
    """Letters a second above which a run of words is suspicious. Fast talkers reach 20."""
    fast_letters: int = 12
    """Fewest letters of a run that `fastest` is applied to."""
    fast_pause_s: float = 0.1
    """Shortest pause, in seconds, between two words that ends a run."""

    even: float = 1.5
    """Times the median length that the longest of sounds that are the same words may have."""

    peaks_a_second: float = 8.0
    """Syllables that anybody says in a second, where noise hides them."""


RULES = SuspicionRules()
_LOOP_IN_WORD = re.compile(r"(\w{1,3}?)\1{7,}")
"""The same one to three letters or figures eight times in a word."""

Unit = tuple[float, float, str]
"""Start, end and text of a word, or of a segment that has none."""


class SuspicionKind(enum.StrEnum):
    """How text and speech can disagree. All but `TOO_FAST` are also codes of notices."""

    MISSED_SPEECH = "speech-without-words"
    WORDS_OVER_SILENCE = "words-over-silence"
    TOO_FAST = "too-fast"
    LOOP = "repeated-words"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A stretch of a window in which text and speech do not agree."""

    kind: SuspicionKind
    start: float
    """Seconds from the start of the recording."""
    end: float
    part: float = field(default=1.0, compare=False)
    """Share of the stretch that is meant: of gaps that are summed, theirs."""

    @property
    def seconds(self) -> float:
        """How much is suspicious; at least a little."""
        return max(self.part * (self.end - self.start), 0.1)


def find_suspicions(
    window: Window,
    segments: Sequence[Segment],
    spans: Sequence[Span],
    sound: Sound,
    samples: NDArray[np.float32] | None = None,
) -> list[Suspicion]:
    """Return where text and speech do not agree in a window, whose words are placed, by kind and
    time.

    Without `samples` of the recording every repetition in the text is taken for a loop.
    """
    units = list_units(segments)
    speech = word_times.clip_speech(window, spans)
    return [
        *_find_missed_speech(units, speech, sound),
        *_find_words_over_silence(units, speech),
        *_find_too_fast(units),
        *_find_loops(units, sound, samples),
    ]


def list_units(segments: Sequence[Segment]) -> list[Unit]:
    """Return (start, end, text) of each word, or of a segment that has none."""
    return [
        unit
        for segment in segments
        for unit in [(w.start, w.end, w.word) for w in segment.words] or [(segment.start, segment.end, segment.text)]
    ]


# Speech without words


@dataclass(frozen=True, slots=True)
class _Gap:
    """Sound for which there are no words."""

    start: float
    end: float
    sound: float
    """Seconds."""
    is_enough: bool
    """Whether it is suspicious by itself."""


def _find_missed_speech(
    units: Sequence[Unit], speech: Sequence[tuple[float, float]], sound: Sound
) -> Iterator[Suspicion]:
    """Yield gaps that are long, and groups of gaps near each other that are long together."""
    group: list[_Gap] = []
    for gap in _find_gaps(units, speech, sound):
        if group and not _belongs(group, gap, sound):
            yield from _judge_gaps(group)
            group = []
        group.append(gap)
    yield from _judge_gaps(group)


def _belongs(group: Sequence[_Gap], gap: _Gap, sound: Sound) -> bool:
    if gap.start - group[-1].end >= RULES.near_s:
        return False
    silent = sum(each.sound for each in group) + gap.sound
    return silent >= RULES.share * _measure_sound(group[0].start, gap.end, sound)


def _judge_gaps(group: Sequence[_Gap]) -> Iterator[Suspicion]:
    kind = SuspicionKind.MISSED_SPEECH
    total = sum(gap.sound for gap in group)
    if all(gap.is_enough for gap in group):
        yield from (Suspicion(kind, gap.start, gap.end) for gap in group)
    elif total >= RULES.summed_s or any(gap.is_enough for gap in group):
        start, end = group[0].start, group[-1].end
        yield Suspicion(kind, start, end, min(1.0, total / (end - start)))


def _find_gaps(units: Sequence[Unit], speech: Sequence[tuple[float, float]], sound: Sound) -> Iterator[_Gap]:
    """Yield the gaps between words inside speech, and words that last longer than anybody says
    them.
    """
    for low, high in speech:
        edge, least = low, RULES.partly_s
        inside = [unit for unit in units if unit[0] < high and unit[1] > low]
        if not inside:
            least = RULES.alone_s
        for start, end, text in [*inside, (high, high, "")]:
            loud = _measure_sound(edge, start, sound)
            is_enough = start - edge >= least and loud >= RULES.loud * least
            if is_enough or loud >= RULES.piece_s:
                yield _Gap(edge, start, loud, is_enough)
            edge = max(edge, end)
            surplus = _measure_sound(max(start, low), min(end, high), sound) - estimate_longest(text) if text else 0.0
            if surplus >= RULES.piece_s:
                yield _Gap(max(start, low), min(end, high), surplus, surplus >= RULES.loud * RULES.partly_s)


def _measure_sound(low: float, high: float, sound: Sound) -> float:
    """Return the seconds of sound between `low` and `high`; all of them where the noise hides the
    sound.
    """
    if not sound.segments:
        return max(0.0, high - low)
    return sum(max(0.0, min(high, i.end) - max(low, i.start)) for i in sound.segments)


# Words without speech, or too many of them


def _find_words_over_silence(units: Sequence[Unit], speech: Sequence[tuple[float, float]]) -> Iterator[Suspicion]:
    for start, end, _ in units:
        if not any(low - RULES.away_s < end and start < high + RULES.away_s for low, high in speech):
            yield Suspicion(SuspicionKind.WORDS_OVER_SILENCE, start, end)


def _find_too_fast(units: Sequence[Unit]) -> Iterator[Suspicion]:
    """Yield the runs of words, without a pause between them, that nobody can speak so fast."""
    first = 0
    for i in range(1, len(units) + 1):
        if i < len(units) and units[i][0] - units[i - 1][1] < RULES.fast_pause_s:
            continue
        letters = sum(letter.isalnum() for _, _, text in units[first:i] for letter in text)
        if letters >= RULES.fast_letters and letters > RULES.fastest * (units[i - 1][1] - units[first][0]):
            yield Suspicion(SuspicionKind.TOO_FAST, units[first][0], units[i - 1][1])
        first = i


def _find_loops(units: Sequence[Unit], sound: Sound, samples: NDArray[np.float32] | None) -> Iterator[Suspicion]:
    """Yield repetitions in the text that the sound has not, or less often."""
    for first, last, size in find_loops([text for _, _, text in units]):
        start, end = units[first][0], units[last - 1][1]
        if samples is not None and repeats.sounds_repeated(samples, list_turns(units, first, last, size)):
            surplus = count_surplus(units, first, last, size, sound)
            if surplus:
                yield Suspicion(SuspicionKind.LOOP, start, end, surplus * size / (last - first))
        else:
            yield Suspicion(SuspicionKind.LOOP, start, end)
    for start, end, text in units:
        # "888888…" is one word.
        found = _LOOP_IN_WORD.search(re.sub(r"\W", "", text))
        if found:
            peaks = repeats.count_peaks(sound, start, end)
            most = RULES.peaks_a_second * (end - start) if peaks is None else peaks
            if len(found[0]) // len(found[1]) > most:
                yield Suspicion(SuspicionKind.LOOP, start, end)


def list_turns(units: Sequence[Unit], first: int, last: int, size: int) -> list[tuple[float, float]]:
    """Return start and end of each whole turn of a loop, as `find_loops` gives it."""
    begins = range(first, last - size + 1, size)
    return [(units[begin][0], units[begin + size - 1][1]) for begin in begins]


def count_surplus(units: Sequence[Unit], first: int, last: int, size: int, sound: Sound) -> int:
    """Return how many turns of a loop are more than the sound between its first and its last word
    can hold.
    """
    start, end = units[first][0], units[last - 1][1]
    peaks = repeats.count_peaks(sound, start, end)
    if peaks is None:
        return 0
    turns = (last - first) // size
    most = min(turns, max(1, peaks // size))
    # Said one by one, each turn is a sound of its own, as long as the others; or each two are.
    lengths = [
        segment.end - segment.start for segment in sound.segments if start < (segment.start + segment.end) / 2 < end
    ]
    if lengths and max(lengths) <= RULES.even * sorted(lengths)[len(lengths) // 2]:
        most = min(most, len(lengths) * max(1, round(most / len(lengths))))
    return turns - most


def group_suspicions(
    suspicions: Sequence[Suspicion], together_s: float
) -> Iterator[tuple[tuple[float, float], list[Suspicion]]]:
    """Yield suspicions that are less than `together_s` seconds apart, with start and end of each
    group.
    """
    run: list[Suspicion] = []
    for each in sorted(suspicions, key=lambda d: d.start):
        if run and each.start - run[-1].end >= together_s:
            yield (run[0].start, max(d.end for d in run)), run
            run = []
        run.append(each)
    if run:
        yield (run[0].start, max(d.end for d in run)), run

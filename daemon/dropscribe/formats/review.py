"""Where to listen again: the passages of a transcript that are most likely wrong, the worst first.

Guarantees: a pure function of the transcript; never more than `most` passages, none overlapping
another, each inside the recording and longer than nothing. Passages are spans of several words
where there is more than one unsure word, and no word alone is listed unless the model gave it less
than one chance in four.

What counts, and what does not, was chosen by looking at transcripts whose words are known
(`Limits.unsure` has the figures). Two things are left out on purpose. The sampling temperature: in
Russian 91 words at 0.4 or more held 4 errors, and the words' own probabilities say more. And
`no_speech_prob` by itself: it belongs to a window of up to 30 s and was 0.77 over faultless
speech.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from dropscribe.repetition import find_loops
from dropscribe.transcript import LANGUAGE_UNCERTAIN, Passage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a passage worth listening to again. Times in seconds."""

    unsure: float = 0.75
    """A word below this probability speaks for a passage, a word above it against: the sum
    decides.

    Measured on prompts with known words, with the other limits as they are here: share of all
    words that are inside the passages, against share of the wrong words: English 0.7 % and 10 %
    (tiny.en), 0.5 % and 9 % (base); with base French 4 % and 10 %, Italian 2 % and 12 %, Russian 1
    % and 6 %, Spanish 9 % and 19 %; with noise over two thirds of the time English 38 % and 86 %,
    French 37 % and 71 %. Of the words inside, 0.36 to 0.71 are wrong. With 0.6 about half of that
    is found; with 0.8 the noisy recording becomes one passage. Most errors of a clean recording
    are words that the model is sure of: no list can show them.
    """
    least_sum: float = 0.5
    """The least sum of `unsure - probability` over the words of a passage: a word alone needs less
    than 0.25."""
    pause: float = 1.0
    """Silence that ends a run of words: what is beyond is listened to separately."""
    longest: float = 30.0
    """After this time a run is cut, at the end of a segment: nobody listens to more in one go."""
    loop_ratio: float = 2.4
    """Whisper's own limit of `compression_ratio` for a loop (openai/whisper, `transcribe.py`). It
    counts bytes, so Cyrillic passes it with nothing repeated (2.8 was seen over faultless
    Russian): `loop_share` must agree."""
    loop_share: float = 0.3
    """Share of a window's three-word sequences that occurred before. Seen: loops 0.33, 0.60;
    speech up to 0.22."""
    no_speech: float = 0.6
    """Whisper's own limit of `no_speech_prob`: an unsure run above it is called words over
    silence."""
    near: float = 1.5
    """Time between two passages that are listed as one."""
    short: float = 5.0
    """A stretch in another language shorter than this is to be listened to whole."""
    border: float = 2.0
    """Time on both sides of a change of language to be listened to."""
    unsure_times: float = 0.6
    """A word whose `time_confidence` is below this speaks for a passage with unsure times, a word above
    it against. Of 2200 words of held-out speech, clean and in noise, a run as below was in 3 places."""
    least_unsure_times: int = 3
    """Words of such a passage: one wrong time does no harm."""
    rate: float = 2.5
    """Words a second of ordinary speech: makes seconds without words comparable with words."""


LIMITS = Limits()
MOST = 50
"""Passages listed by default: what a person goes through for one recording."""

_NOTICES = {
    "words-over-silence": "silence",
    "speech-without-words": "unheard",
    "repeated-words": "loop",
    "hole": "damaged",
    "speaker-unsure": "speaker",
    "two-speak": "speaker",
    "damaged": "damaged",
}


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word, or a segment whose words have no times."""

    start: float
    end: float
    text: str
    probability: float | None
    count: int
    segment: Segment
    sure: float | None = None
    """Of a word: its `time_confidence`."""


def review(transcript: Transcript, most: int = MOST) -> tuple[Passage, ...]:
    """Return at most `most` passages to listen to again, the worst first; none overlaps another."""
    spoken = [each for segment in transcript.segments for each in _read_words(segment)]
    spoken.sort(key=lambda each: each.start)
    found = [
        *_find_unsure(spoken),
        *_find_unsure_times(spoken),
        *_find_loops(spoken),
        *_find_compressed(transcript.segments),
    ]
    found += [*_find_switches(transcript.segments), *_read_notices(transcript)]
    inside = [p for each in found if (p := _clip(each, transcript.duration))]
    return tuple(sorted(_merge(inside), key=lambda p: (-p.score, p.start))[:most])


def list_passages(transcript: Transcript) -> tuple[Passage, ...]:
    """Return the list a transcript carries, or make it for a transcript of an older version."""
    return review(transcript) if transcript.review is None else transcript.review


def _read_words(segment: Segment) -> Iterator[_Spoken]:
    for word in segment.words:
        yield _Spoken(word.start, word.end, word.word, word.probability, 1, segment, word.time_confidence)
    if not segment.words:
        mean = None if segment.avg_logprob is None else math.exp(min(segment.avg_logprob, 0.0))
        yield _Spoken(segment.start, segment.end, segment.text, mean, len(segment.text.split()), segment)


def _find_unsure(spoken: Sequence[_Spoken]) -> Iterator[Passage]:
    """Yield the stretches in which unsure words outweigh the others."""
    first = 0
    for i in range(1, len(spoken) + 1):
        if i < len(spoken) and not _ends_run(spoken, first, i):
            continue
        values = [
            0.0 if s.probability is None else (LIMITS.unsure - s.probability) * s.count for s in spoken[first:i]
        ]
        for begin, end, total in _find_runs(values):
            if total >= LIMITS.least_sum:
                yield _describe_run(spoken[first + begin : first + end])
        first = i


def _ends_run(spoken: Sequence[_Spoken], first: int, i: int) -> bool:
    """Whether a run that began at `first` must end before `i`."""
    return spoken[i].start - spoken[i - 1].end >= LIMITS.pause or (
        spoken[i].segment is not spoken[i - 1].segment and spoken[i].end - spoken[first].start > LIMITS.longest
    )


def _find_runs(values: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return all maximal scoring runs as (first, after the last, sum), in linear time.

    W. L. Ruzzo and M. Tompa, "A linear time algorithm for finding all maximal scoring
    subsequences", ISMB 1999.
    """
    found: list[tuple[int, int, float, float]] = []  # first, after the last, sum before, sum after
    total = 0.0
    for i, value in enumerate(values):
        if value > 0:
            begin, left, right = i, total, total + value
            while True:
                j = len(found) - 1
                while j >= 0 and found[j][2] >= left:
                    j -= 1
                if j < 0 or found[j][3] >= right:
                    found.append((begin, i + 1, left, right))
                    break
                begin, left = found[j][0], found[j][2]
                del found[j:]
        total += value
    return [(begin, end, right - left) for begin, end, left, right in found]


def _describe_run(run: Sequence[_Spoken]) -> Passage:
    known = [s for s in run if s.probability is not None]
    count = sum(s.count for s in known)
    lost = sum((1.0 - (s.probability or 0.0)) * s.count for s in known)
    sure = round(100 * (1 - lost / count))
    if all((s.segment.no_speech_prob or 0.0) > LIMITS.no_speech for s in run):
        kind, why = "silence", f"Perhaps nobody speaks here: the model gave its words {sure} %."
    elif count == 1:
        kind, why = "unsure", f"The model gave this word {sure} %."
    else:
        kind, why = "unsure", f"The model gave these words {sure} % on average."
    return Passage(run[0].start, max(s.end for s in run), kind, why, lost)


def _find_unsure_times(spoken: Sequence[_Spoken]) -> Iterator[Passage]:
    """Yield the stretches of several words whose times are unsure."""
    values = [0.0 if s.sure is None else LIMITS.unsure_times - s.sure for s in spoken]
    for begin, end, total in _find_runs(values):
        if end - begin >= LIMITS.least_unsure_times:
            run = spoken[begin:end]
            why = "The words may be said earlier or later than their times say: engine and sound do not agree."
            yield Passage(run[0].start, max(s.end for s in run), "times", why, total)


def _find_loops(spoken: Sequence[_Spoken]) -> Iterator[Passage]:
    """Yield where the same words are repeated."""
    for first, last, size in find_loops([s.text if s.count == 1 else "" for s in spoken]):
        times = (last - first) // size
        why = f"The same {f'{size} words' if size > 1 else 'word'} {times} times in a row: perhaps a loop."
        yield Passage(spoken[first].start, max(s.end for s in spoken[first:last]), "loop", why, float(last - first))


def _find_compressed(segments: Sequence[Segment]) -> Iterator[Passage]:
    """Yield windows that compress like a loop and repeat themselves. All segments of a window
    carry its one ratio.
    """
    for ratio, group in groupby(segments, key=lambda segment: segment.compression_ratio):
        if ratio is None or ratio <= LIMITS.loop_ratio:
            continue
        window = list(group)
        words = " ".join(segment.text for segment in window).casefold().split()
        if len(words) < 2 * len(window):  # a script without spaces
            words = [letter for segment in window for letter in segment.text]
        seen = list(zip(words, words[1:], words[2:], strict=False))
        again = len(seen) - len(set(seen))
        if seen and again / len(seen) >= LIMITS.loop_share:
            why = f"The text repeats itself (compression {ratio:.1f}): perhaps a loop."
            yield Passage(window[0].start, max(segment.end for segment in window), "loop", why, float(again))


def _read_notices(transcript: Transcript) -> Iterator[Passage]:
    for notice in transcript.warnings:
        if notice.code == LANGUAGE_UNCERTAIN and transcript.segments:
            # All of it may be wrong, and a sentence shows whether it is.
            first = transcript.segments[0]
            words = sum(segment.text.count(" ") + 1 for segment in transcript.segments)
            yield Passage(first.start, first.end, "language", notice.detail, float(words))
            continue
        kind = _NOTICES.get(notice.code)
        seconds = min(notice.end, transcript.duration) - max(notice.start, 0.0)
        if kind or 0 < seconds < transcript.duration:  # not about the whole recording
            yield Passage(notice.start, notice.end, kind or "warning", notice.detail, max(1.0, LIMITS.rate * seconds))


def _find_switches(segments: Sequence[Segment]) -> Iterator[Passage]:
    """Yield where a mixed recording changes its language: a short stretch whole, of longer ones
    their borders.
    """
    stretches = [list(group) for _, group in groupby(segments, key=lambda segment: segment.language)]
    for before, stretch in pairwise(stretches):
        old, new = before[-1].language, stretch[0].language
        if old is None or new is None:
            continue
        start, end = stretch[0].start, stretch[-1].end
        if end - start < LIMITS.short:
            why = f"A few words in another language ({new}, not {old}): perhaps recognised wrongly."
            yield Passage(start, end, "language", why, max(1.0, LIMITS.rate * (end - start)))
        else:
            why = f"The language changes from {old} to {new}: words next to the border may be in the wrong one."
            yield Passage(
                max(start - LIMITS.border, before[-1].start), min(start + LIMITS.border, end), "language", why, 1.0
            )


def _clip(passage: Passage, duration: float) -> Passage | None:
    """Return the passage cut to the recording; None when nothing of it remains."""
    start, end = max(passage.start, 0.0), min(passage.end, duration)
    if end - start < 0.001:
        # A word of no length, which engines do give: it is listened to with a little around it.
        start, end = max(0.0, start - 0.1), min(duration, start + 0.1)
    if not (end > start and passage.score > 0):
        return None
    return dataclasses.replace(passage, start=start, end=end, score=round(passage.score, 2))


def _merge(passages: Sequence[Passage]) -> list[Passage]:
    """Join what overlaps or is nearer than `LIMITS.near`; the worse one gives the kind, both say
    why.
    """
    groups: list[list[Passage]] = []
    end = -math.inf
    for passage in sorted(passages, key=lambda p: (p.start, p.end)):
        joined = groups and (
            passage.start < end
            or (passage.start - end < LIMITS.near and passage.end - groups[-1][0].start <= LIMITS.longest)
        )
        if joined:
            groups[-1].append(passage)
        else:
            groups.append([passage])
        end = max(end, passage.end) if joined else passage.end
    return [_merge_group(group) for group in groups]


def _merge_group(group: Sequence[Passage]) -> Passage:
    ranked = sorted(group, key=lambda p: (-p.score, p.start))
    # Of each kind the worst speaks: what two runs of unsure words say is the same.
    whys = {p.kind: p.why for p in reversed(ranked)}
    order = dict.fromkeys(p.kind for p in ranked)
    spans = {p.kind: sum(q.score for q in group if q.kind == p.kind) for p in ranked}
    return Passage(
        start=min(p.start for p in group),
        end=max(p.end for p in group),
        kind=ranked[0].kind,
        why=" ".join(whys[kind] for kind in order),
        score=round(max(spans.values()), 2),
    )

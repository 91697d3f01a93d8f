"""Short recordings in one window: which of them share it, and whose each word is.

Whisper takes 30 seconds at a time and costs the same for less; a clip of 3 s costs ten times as
much as its share. So the only windows of several recordings are put behind one another with
silence between, transcribed as one, and the words given back by their times.

Guarantees: pure functions; a word is given to one recording at most; a recording gets its words
only when nothing speaks against it: no guard of the engine tripped, every word is in its own
speech, both its borders are clear, as many words as such speech has. Otherwise `divide_segments`
gives None for it, and it must be transcribed alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.backends.drafts import is_repetition_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.transcript import Segment, Word
    from dropscribe.worker.vad import Span

_GAP = SAMPLE_RATE // 2
"""Samples of silence between two recordings, which have 0.3 s of their own. 0.6 to 1.0 s were no
better: 120 clips with tiny.en and base, up to 7 windows more and the same errors within chance
(3.9 to 4.7 and 3.7 to 4.6 %)."""
_LIMIT = 30 * SAMPLE_RATE
"""Samples of a shared window."""


@dataclass(frozen=True, slots=True)
class PackingRules:
    """What speaks against the words that a recording got from a shared window."""

    clear_s: float = 0.3
    """Seconds; so far apart, two words show by themselves that there is a pause between them."""
    astray_s: float = 0.3
    """Seconds that a word may be outside of the speech it belongs to."""
    covered: float = 0.4
    """The least share of a recording's speech that its words must cover."""
    fewest_letters: float = 2.0
    """Letters a second of speech: fewer are a loss. Ordinary speech has 10 to 20."""
    most_letters: float = 30.0
    """Letters a second of speech: more are not one recording's."""
    least_logprob: float = -1.0
    """Mean log-probability, of the engine's segments and of a recording's words. As in
    `backends.drafts`."""


RULES = PackingRules()

_END = (".", "?", "!", "…", "。", "？", "！", "।", "؟")  # noqa: RUF001 (as they are written)
"""Marks that end a sentence."""
_QUOTES = "\"'“”‘’«»()[]{}「」¿¡- "  # noqa: RUF001 (as they are written)
"""Marks that may stand around a sentence."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The only window of a recording, and its place in the shared sound."""

    window: Window
    """In the recording."""
    spans: Sequence[Span]
    """Speech in the recording."""
    start: int
    """The window's first sample in the shared sound."""

    @property
    def end(self) -> int:
        """One past the last sample in the shared sound."""
        return self.start + self.window.end - self.window.start

    @property
    def offset(self) -> float:
        """Seconds from a time in the recording to the same one in the shared sound."""
        return (self.start - self.window.start) / SAMPLE_RATE

    @property
    def speech(self) -> list[tuple[float, float]]:
        """The stretches of speech inside the window, in seconds of the shared sound."""
        inside = [
            (max(s.start, self.window.start), min(s.end, self.window.end))
            for s in self.spans
            if s.end > self.window.start and s.start < self.window.end
        ]
        return [(start / SAMPLE_RATE + self.offset, end / SAMPLE_RATE + self.offset) for start, end in inside]


def group_clips(lengths: Sequence[int]) -> list[list[int]]:
    """Return which recordings share a window; `lengths` are those of their windows in samples.

    They are dealt out like cards: recordings that follow each other are often alike, and alike
    texts in one window look like a loop to the guards of the engine. Where a window is full, the
    next that has room is taken.
    """
    groups: list[list[int]] = [[] for _ in range(-(-sum(length + _GAP for length in lengths) // (_LIMIT + _GAP)))]
    room = [_LIMIT + _GAP] * len(groups)
    for number, length in enumerate(lengths):
        for turn in range(len(groups)):
            index = (number + turn) % len(groups)
            if _GAP + length <= room[index]:
                break
        else:
            index = len(groups)
            groups.append([])
            room.append(_LIMIT + _GAP)
        groups[index].append(number)
        room[index] -= _GAP + length
    return [group for group in groups if group]


def join_clips(
    recordings: Sequence[tuple[NDArray[np.float32], Window, Sequence[Span]]],
) -> tuple[NDArray[np.float32], list[Piece]]:
    """Return the shared sound, with silence between any two recordings, and the place of each; in
    the order given.

    Args:
        recordings: samples of shape (samples,), 16 kHz, with the recording's only window and its
            speech.
    """
    starts = [0, *itertools.accumulate(window.end - window.start + _GAP for _, window, _ in recordings)]
    sound = np.zeros(max(0, starts[-1] - _GAP), dtype=np.float32)
    pieces = []
    for (samples, window, spans), start in zip(recordings, starts, strict=False):
        piece = Piece(window, spans, start)
        sound[piece.start : piece.end] = samples[window.start : window.end]
        pieces.append(piece)
    return sound, pieces


def cover(pieces: Sequence[Piece], index: int) -> Window:
    """Return the window of the shared sound that holds exactly these neighbours."""
    return Window(index, pieces[0].start, pieces[-1].end)


def to_clip_time(piece: Piece, segments: Sequence[Segment]) -> list[Segment]:
    """Return segments of the shared sound with times of the recording, inside its window."""
    low, high = piece.window.start / SAMPLE_RATE, piece.window.end / SAMPLE_RATE

    def move(seconds: float) -> float:
        return round(min(max(seconds - piece.offset, low), high), 3)

    return [
        dataclasses.replace(
            segment,
            start=move(segment.start),
            end=move(segment.end),
            words=tuple(dataclasses.replace(w, start=move(w.start), end=move(w.end)) for w in segment.words),
        )
        for segment in segments
    ]


def divide_segments(pieces: Sequence[Piece], segments: Sequence[Segment]) -> list[list[Segment] | None]:
    """Return each recording's segments of a shared window; None for one that must be transcribed
    alone.

    Times are those of the recording.
    """
    if any(_trips_guard(segment) for segment in segments):
        return [None] * len(pieces)
    borders = [(a.end + b.start) / 2 / SAMPLE_RATE for a, b in itertools.pairwise(pieces)]
    owned: list[list[tuple[int, Word]]] = [[] for _ in pieces]
    for number, segment in enumerate(segments):
        for word in segment.words:
            owned[sum((word.start + word.end) / 2 >= border for border in borders)].append((number, word))
    words = [[word for _, word in own] for own in owned]
    clear = [_is_clear_border(words[i], words[i + 1], pieces[i], pieces[i + 1]) for i in range(len(borders))]
    found: list[list[Segment] | None] = []
    for index, (piece, own) in enumerate(zip(pieces, owned, strict=True)):
        if _is_plausible(piece, words[index]) and all(clear[max(0, index - 1) : index + 1]):
            parts = [
                _cut_segment(segments[number], [word for _, word in group])
                for number, group in itertools.groupby(own, key=lambda pair: pair[0])
            ]
            found.append(to_clip_time(piece, parts))
        else:
            found.append(None)
    return found


def _trips_guard(segment: Segment) -> bool:
    """Whether a guard of the engine tripped, or the words have no times."""
    return (
        bool(segment.temperature)
        or (segment.avg_logprob or 0.0) < RULES.least_logprob
        or is_repetition_loop(segment.text)
        or not segment.words
    )


def _is_plausible(piece: Piece, words: Sequence[Word]) -> bool:
    """Whether these can be the words of this speech, and all of them."""
    speech = piece.speech
    seconds = sum(end - start for start, end in speech)
    low, high = speech[0][0] - RULES.astray_s, speech[-1][1] + RULES.astray_s
    if not words or any(word.end < low or word.start > high for word in words):
        return False
    covered = sum(max(0.0, min(end, word.end) - max(start, word.start)) for start, end in speech for word in words)
    letters = sum(sum(map(str.isalnum, word.word)) for word in words)
    sure = [math.log(max(word.probability, 1e-6)) for word in words if word.probability is not None]
    return (
        covered >= RULES.covered * seconds
        and RULES.fewest_letters * seconds <= letters <= RULES.most_letters * max(seconds, 0.5)
        and sum(sure) >= RULES.least_logprob * len(sure)
    )


def _is_clear_border(before: Sequence[Word], after: Sequence[Word], piece: Piece, follower: Piece) -> bool:
    """Whether the border between two neighbours surely lies between these two runs of words.

    Word times of a model err most next to a pause: a word may slip over it whole. So the times
    must not reach from one speech into the other, and either a pause between the words or the end
    of a sentence must mark the border.
    """
    if not before or not after:
        return False
    last, first = before[-1], after[0]
    if last.end > follower.speech[0][0] or first.start < piece.speech[-1][1]:
        return False
    if _ends_sentence(last, first):
        return True
    # A sentence that ends a word or two from the border: that word may have slipped.
    near = [*before[-3:], *after[:3]]
    slipped = any(_ends_sentence(a, b) for a, b in itertools.pairwise(near))
    return first.start - last.end >= RULES.clear_s and not slipped


def _ends_sentence(word: Word, follower: Word) -> bool:
    """Whether a sentence seems to end between two words."""
    text, begin = word.word.strip(_QUOTES), follower.word.strip(_QUOTES)
    capital = begin[:1].isupper() and re.split(r"\W", begin)[0] != "I"
    return text.endswith(_END) or capital


def _cut_segment(segment: Segment, words: Sequence[Word]) -> Segment:
    """Return the part of a segment that these words make."""
    text = "".join(word.word for word in words).strip()
    return dataclasses.replace(segment, start=words[0].start, end=words[-1].end, text=text, words=tuple(words))

"""Text where there is speech, and only there: what to doubt in a window, and hearing it a second time.

Guarantees: what a window gives depends on the recording and that window alone, so work that goes on after a kill
gives the same; a window is heard again at most once, no sample of it twice, in at most `MOST_PIECES` pieces; a piece
takes the place of what was there only where it is better; what stays doubtful is told with its times.

An engine may leave out a sentence, write "Thank you." over a silence, or run in a loop, and then believes in it. Its
mistakes depend on where the audio was cut: another cut, at the pauses around, is the best second opinion there is.
"""

from __future__ import annotations

import collections
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.formats import review
from dropscribe.transcript import Notice, Segment
from dropscribe.worker import word_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Backend, Options
    from dropscribe.worker.vad import Span
    from dropscribe.worker.word_times import Sound

MOST_PIECES = 4
"""Pieces of a window that are decoded again; together they are never longer than the window."""

_AHEAD = 32
"""Windows that are listened to before the engine is done with them: a batch of a GPU."""
_ALONE = 0.4
"""Seconds of a stretch of speech without any word: a shorter one may be a cough, or an "uh", which Whisper drops."""
_BESIDE = 1.0
"""Seconds without a word in a stretch of speech that has some: the times of its words are not that sure."""
_TOLD = 1.0
"""Seconds of speech without words that are told; less than that is not worth a person's time."""
_AWAY = 0.3
"""Seconds between a word and all speech, from which on it stands over silence."""
_FASTEST = 35.0
"""Letters a second that nobody speaks, over `_FAST_LETTERS` letters or more; fast talkers come to 20."""
_FAST_LETTERS = 12
_CUT = 0.2
"""Seconds; a shorter pause is not cut in."""
_GAIN = 0.3
"""Seconds of doubt that a second hearing must be better by."""
_TRUST = 0.75
"""Share of the mean probability of the words before that those of the second hearing must have."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stretch of a window in which text and speech do not agree."""

    kind: str
    """`speech-without-words`, `words-over-silence`, `too-fast` or `loop`."""
    start: float
    """Seconds from the start of the recording."""
    end: float


def transcribe(
    backend: Backend,
    samples: NDArray[np.float32],
    windows: Sequence[Window],
    spans: Sequence[Span],
    options: Options,
    *,
    done: int = 0,
) -> Iterator[tuple[Window, list[Segment], list[Notice]]]:
    """Yield each window but the first `done`, in order, with its sentences and with what stays doubtful in it.

    Arguments and errors are those of `Backend.transcribe`; `spans` is where somebody speaks (`speech.spans`).
    Without word times (a translation may have none) nothing is settled or doubted.
    """
    with ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2))) as pool:
        # The sound of the next windows is listened to while the engine, perhaps a GPU, is at work.
        ahead = (pool.submit(word_times.measure_sound, samples, window, spans) for window in windows[done:])
        heard = collections.deque(itertools.islice(ahead, _AHEAD))
        try:
            for window, found in backend.transcribe(samples, windows, options, done=done):
                sound = heard.popleft().result()
                heard.extend(itertools.islice(ahead, 1))
                yield window, *checked(backend, samples, window, found, spans, options, sound)
        finally:
            pool.shutdown(cancel_futures=True)


def checked(
    backend: Backend,
    samples: NDArray[np.float32],
    window: Window,
    found: Sequence[Segment],
    spans: Sequence[Span],
    options: Options,
    sound: Sound | None = None,
) -> tuple[list[Segment], list[Notice]]:
    """Return the sentences of `window`, in which the engine heard `found`, and what stays doubtful."""
    sound = sound or word_times.measure_sound(samples, window, spans)
    segments = word_times.align_words(found, sound)
    notices: list[Notice] = []
    if doubts := look(window, segments, spans, sound):
        for piece, again in backend.transcribe(samples, pieces(window, doubts, sound), options):
            heard = word_times.align_window(samples, piece, again, spans)
            segments = better(piece, segments, heard, spans, sound)
        segments, notices = told(segments, look(window, segments, spans, sound), sound)
    return word_times.split_sentences(segments), notices


def look(window: Window, segments: Sequence[Segment], spans: Sequence[Span], sound: Sound) -> list[Doubt]:
    """Return where text and speech do not agree in `window`, whose settled segments these are, by kind and time."""
    units = _units(segments)
    speech = word_times.clip_speech(window, spans)
    return [*_unheard(units, speech, sound), *_silent(units, speech), *_fast(units), *_loops(units)]


def _units(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    """Return (start, end, text) of each word, or of a segment that has none."""
    return [
        unit
        for segment in segments
        for unit in [(w.start, w.end, w.word) for w in segment.words] or [(segment.start, segment.end, segment.text)]
    ]


def _unheard(
    units: Sequence[tuple[float, float, str]], speech: Sequence[tuple[float, float]], sound: Sound
) -> Iterator[Doubt]:
    for low, high in speech:
        edge, least = low, _BESIDE
        inside = [(start, end) for start, end, _ in units if start < high and end > low]
        if not inside:
            least = _ALONE
        for start, end in [*inside, (high, high)]:
            if start - edge >= least and _loud(edge, start, sound) >= 0.8 * least:
                yield Doubt("speech-without-words", edge, start)
            edge = max(edge, end)


def _loud(low: float, high: float, sound: Sound) -> float:
    """Return the seconds of sound between `low` and `high`; all of them where the noise hides the sound."""
    if not sound.segments:
        return high - low
    return sum(max(0.0, min(high, i.end) - max(low, i.start)) for i in sound.segments)


def _silent(units: Sequence[tuple[float, float, str]], speech: Sequence[tuple[float, float]]) -> Iterator[Doubt]:
    away = [unit for unit in units if not _beside(unit[0], unit[1], speech)]
    for unit in away:
        yield Doubt("words-over-silence", unit[0], unit[1])


def _beside(start: float, end: float, speech: Sequence[tuple[float, float]]) -> bool:
    return any(low - _AWAY < end and start < high + _AWAY for low, high in speech)


def _fast(units: Sequence[tuple[float, float, str]]) -> Iterator[Doubt]:
    """Yield the runs of words, without a pause between them, that nobody can speak so fast."""
    first = 0
    for i in range(1, len(units) + 1):
        if i < len(units) and units[i][0] - units[i - 1][1] < 0.1:
            continue
        letters = sum(letter.isalnum() for _, _, text in units[first:i] for letter in text)
        if letters >= _FAST_LETTERS and letters > _FASTEST * (units[i - 1][1] - units[first][0]):
            yield Doubt("too-fast", units[first][0], units[i - 1][1])
        first = i


def _loops(units: Sequence[tuple[float, float, str]]) -> Iterator[Doubt]:
    for first, last, _ in review.loops([text for _, _, text in units]):
        yield Doubt("loop", units[first][0], units[last - 1][1])


def pieces(window: Window, doubts: Sequence[Doubt], sound: Sound) -> list[Window]:
    """Return what of `window` to hear again: stretches around the doubts that begin and end in pauses.

    At most `MOST_PIECES`, in order, without overlap, and never the whole window: that would be the same again.
    """
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    pauses = [(a.end + b.start) / 2 for a, b in itertools.pairwise(sound.segments) if b.start - a.end >= _CUT]
    cuts = [low, *(cut for cut in pauses if low < cut < high), high]
    found: list[tuple[float, float]] = []
    for doubt in sorted(doubts, key=lambda d: (d.start, d.end)):
        start = max((cut for cut in cuts[:-1] if cut <= doubt.start), default=low)
        end = min((cut for cut in cuts if cut >= doubt.end and cut > start), default=high)
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    if found == [(low, high)]:
        inner = cuts[1:-1]
        if not inner:
            return []
        middle = min(inner, key=lambda cut: abs(cut - (low + high) / 2))
        found = [(low, middle), (middle, high)]
    found = sorted(sorted(found, key=lambda piece: piece[0] - piece[1])[:MOST_PIECES])
    return [
        window.cut(index, round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        for index, (start, end) in enumerate(found)
    ]


def better(
    piece: Window, segments: Sequence[Segment], heard: Sequence[Segment], spans: Sequence[Span], sound: Sound
) -> list[Segment]:
    """Return `segments` with what lies in `piece` replaced by `heard`, if that agrees better with the speech.

    It does if its doubtful seconds are at least `_GAIN` fewer (words over silence, speech without words, and the
    length of loops and of what is too fast) and its words are not much less probable.
    """
    low, high = piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE
    kept: list[Segment] = []
    old: list[Segment] = []
    for segment in segments:
        if not segment.words:
            (old if low <= (segment.start + segment.end) / 2 < high else kept).append(segment)
            continue
        middles = ((w.start + w.end) / 2 for w in segment.words)
        sides = [(middle >= low) + (middle >= high) for middle in middles]  # before, inside, after
        for side in sorted(set(sides)):
            words = tuple(w for w, own in zip(segment.words, sides, strict=True) if own == side)
            (old if side == 1 else kept).append(word_times.keep_words(segment, words))
    if _badness(piece, old, spans, sound) - _badness(piece, heard, spans, sound) < _GAIN:
        return list(segments)
    before, after = _sureness(old), _sureness(heard)
    if before is not None and after is not None and after < _TRUST * before:
        return list(segments)
    return word_times.remove_overlaps(sorted([*kept, *heard], key=lambda segment: (segment.start, segment.end)))


def _badness(piece: Window, segments: Sequence[Segment], spans: Sequence[Span], sound: Sound) -> float:
    return sum(max(doubt.end - doubt.start, 0.1) for doubt in look(piece, segments, spans, sound))


def _sureness(segments: Sequence[Segment]) -> float | None:
    known = [w.probability for segment in segments for w in segment.words if w.probability is not None]
    return sum(known) / len(known) if known else None


def told(segments: Sequence[Segment], doubts: Sequence[Doubt], sound: Sound) -> tuple[list[Segment], list[Notice]]:
    """Return the segments without words that stand over certain silence, and notices of all that stays doubtful."""
    notices = []
    silent = [doubt for doubt in doubts if doubt.kind == "words-over-silence"]
    certain = bool(sound.segments)
    for near, run in _together(silent):
        inside = [unit[2] for unit in _units(segments) if any((d.start, d.end) == unit[:2] for d in run)]
        text = re.sub(r"\s+", " ", "".join(inside)).strip()
        what = "were left out" if certain else "may be invented"
        notices.append(Notice("words-over-silence", *near, f"Nobody speaks here; the words “{text}” {what}."))
    if certain and silent:
        gone = {(doubt.start, doubt.end) for doubt in silent}
        kept = []
        for segment in segments:
            words = tuple(word for word in segment.words if (word.start, word.end) not in gone)
            if words:
                kept.append(word_times.keep_words(segment, words) if len(words) < len(segment.words) else segment)
            elif not segment.words and (segment.start, segment.end) not in gone:
                kept.append(segment)
        segments = kept
    for doubt in doubts:
        if doubt.kind == "speech-without-words" and doubt.end - doubt.start >= _TOLD:
            detail = (
                f"Somebody seems to speak here for {doubt.end - doubt.start:.1f} s, but no words were understood."
            )
            notices.append(Notice(doubt.kind, round(doubt.start, 3), round(doubt.end, 3), detail))
    return list(segments), sorted(notices, key=lambda notice: (notice.start, notice.end))


def _together(doubts: Sequence[Doubt]) -> Iterator[tuple[tuple[float, float], list[Doubt]]]:
    """Yield the doubts in runs less than a second apart, with where each run begins and ends."""
    run: list[Doubt] = []
    for doubt in sorted(doubts, key=lambda d: d.start):
        if run and doubt.start - run[-1].end >= 1.0:
            yield (run[0].start, max(d.end for d in run)), run
            run = []
        run.append(doubt)
    if run:
        yield (run[0].start, max(d.end for d in run)), run

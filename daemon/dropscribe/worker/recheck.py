"""The stage "recheck": text where there is speech, and only there; what is suspicious is
transcribed a second time.

Guarantees: what becomes of a window depends on that window and its speech, and on no other window;
only the backend may look further, for the spelling of numbers (`Options.normalise_numbers`). A
window is re-transcribed at most once, no sample of it twice, in at most `RecheckRules.most_pieces`
pieces. A piece replaces what was there only where it is better. What stays suspicious is reported
with its times.

An engine may leave out a sentence, write "Thank you." over a silence, or run in a loop, and be
sure of it. Its mistakes depend on where the audio was cut: another cut, at the pauses around, is
the best second opinion there is.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.repetition import find_loops
from dropscribe.transcript import Notice, Segment
from dropscribe.worker import word_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.worker.vad import Span
    from dropscribe.worker.window_text import WindowContext, WindowText
    from dropscribe.worker.word_times import Sound


@dataclass(frozen=True, slots=True)
class RecheckRules:
    """What is suspicious, what is transcribed again, and when that is better."""

    most_pieces: int = 4
    """Pieces of a window that are transcribed again; together they are never longer than the
    window."""
    alone_s: float = 0.4
    """Shortest stretch of speech, in seconds, that is suspicious when it has no word at all. A
    shorter one may be a cough, or an "uh", which Whisper drops."""
    partly_s: float = 1.0
    """Shortest gap between words, in seconds, that is suspicious inside a stretch of speech. It is
    longer than `alone_s` because the times of words are not exact."""
    loud: float = 0.8
    """Share of `alone_s`, or of `partly_s`, for which such speech or such a gap must hold sound."""
    reported_s: float = 1.0
    """Shortest speech without words, in seconds, that is reported. Less is not worth a person's
    time."""
    away_s: float = 0.3
    """Seconds between a word and the nearest speech, from which on the word counts as over
    silence."""
    fastest: float = 35.0
    """Letters a second above which a run of words is suspicious. Fast talkers reach 20."""
    fast_letters: int = 12
    """Fewest letters of a run that `fastest` is applied to."""
    fast_pause_s: float = 0.1
    """Shortest pause, in seconds, between two words that ends a run."""
    cut_s: float = 0.2
    """Shortest pause, in seconds, in which a window is cut."""
    gain_s: float = 0.3
    """Suspicious seconds that the second transcription must have less than the first to replace
    it."""
    trust: float = 0.75
    """Lowest mean probability of the words of the second transcription, as a share of that of the
    first."""
    together_s: float = 1.0
    """Words over silence that are less than this many seconds apart are reported together."""


RULES = RecheckRules()


class SuspicionKind(enum.StrEnum):
    """How text and speech can disagree. The first two are also codes of notices."""

    MISSED_SPEECH = "speech-without-words"
    WORDS_OVER_SILENCE = "words-over-silence"
    TOO_FAST = "too-fast"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A stretch of a window in which text and speech do not agree."""

    kind: SuspicionKind
    start: float
    """Seconds from the start of the recording."""
    end: float


def recheck(text: WindowText, context: WindowContext) -> WindowText:
    """Return a window, whose words are placed, with suspicious pieces re-transcribed and notices
    of what remains.
    """
    window, segments, sound, spans = text.window, list(text.segments), text.sound, context.spans
    suspicions = find_suspicions(window, segments, spans, sound)
    if not suspicions:
        return text
    pieces = choose_pieces(window, suspicions, sound)
    for piece, again in context.backend.transcribe(context.samples, pieces, context.options):
        second = word_times.align_window(context.samples, piece, again, spans)
        segments = replace_if_better(piece, segments, second, spans, sound)
    segments, notices = resolve_suspicions(segments, find_suspicions(window, segments, spans, sound), sound)
    return dataclasses.replace(text, segments=segments, notices=(*text.notices, *notices))


def find_suspicions(
    window: Window, segments: Sequence[Segment], spans: Sequence[Span], sound: Sound
) -> list[Suspicion]:
    """Return where text and speech do not agree in a window, whose words are placed, by kind and
    time.
    """
    units = _units(segments)
    speech = word_times.clip_speech(window, spans)
    return [
        *_find_missed_speech(units, speech, sound),
        *_find_words_over_silence(units, speech),
        *_find_too_fast(units),
        *_find_loops(units),
    ]


def _units(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    """Return (start, end, text) of each word, or of a segment that has none."""
    return [
        unit
        for segment in segments
        for unit in [(w.start, w.end, w.word) for w in segment.words] or [(segment.start, segment.end, segment.text)]
    ]


def _find_missed_speech(
    units: Sequence[tuple[float, float, str]], speech: Sequence[tuple[float, float]], sound: Sound
) -> Iterator[Suspicion]:
    for low, high in speech:
        edge, least = low, RULES.partly_s
        inside = [(start, end) for start, end, _ in units if start < high and end > low]
        if not inside:
            least = RULES.alone_s
        for start, end in [*inside, (high, high)]:
            if start - edge >= least and _measure_sound(edge, start, sound) >= RULES.loud * least:
                yield Suspicion(SuspicionKind.MISSED_SPEECH, edge, start)
            edge = max(edge, end)


def _measure_sound(low: float, high: float, sound: Sound) -> float:
    """Return the seconds of sound between `low` and `high`; all of them where the noise hides the
    sound.
    """
    if not sound.segments:
        return high - low
    return sum(max(0.0, min(high, i.end) - max(low, i.start)) for i in sound.segments)


def _find_words_over_silence(
    units: Sequence[tuple[float, float, str]], speech: Sequence[tuple[float, float]]
) -> Iterator[Suspicion]:
    for start, end, _ in units:
        if not any(low - RULES.away_s < end and start < high + RULES.away_s for low, high in speech):
            yield Suspicion(SuspicionKind.WORDS_OVER_SILENCE, start, end)


def _find_too_fast(units: Sequence[tuple[float, float, str]]) -> Iterator[Suspicion]:
    """Yield the runs of words, without a pause between them, that nobody can speak so fast."""
    first = 0
    for i in range(1, len(units) + 1):
        if i < len(units) and units[i][0] - units[i - 1][1] < RULES.fast_pause_s:
            continue
        letters = sum(letter.isalnum() for _, _, text in units[first:i] for letter in text)
        if letters >= RULES.fast_letters and letters > RULES.fastest * (units[i - 1][1] - units[first][0]):
            yield Suspicion(SuspicionKind.TOO_FAST, units[first][0], units[i - 1][1])
        first = i


def _find_loops(units: Sequence[tuple[float, float, str]]) -> Iterator[Suspicion]:
    for first, last, _ in find_loops([text for _, _, text in units]):
        yield Suspicion(SuspicionKind.LOOP, units[first][0], units[last - 1][1])


def choose_pieces(window: Window, suspicions: Sequence[Suspicion], sound: Sound) -> list[Window]:
    """Return what of a window to transcribe again: stretches around the suspicions that begin and
    end in pauses.

    At most `most_pieces`, in order, without overlap, and never the whole window: that would be the
    same again.
    """
    low, high = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    pauses = [(a.end + b.start) / 2 for a, b in itertools.pairwise(sound.segments) if b.start - a.end >= RULES.cut_s]
    cuts = [low, *(cut for cut in pauses if low < cut < high), high]
    found: list[tuple[float, float]] = []
    for suspicion in sorted(suspicions, key=lambda each: (each.start, each.end)):
        start = max((cut for cut in cuts[:-1] if cut <= suspicion.start), default=low)
        end = min((cut for cut in cuts if cut >= suspicion.end and cut > start), default=high)
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
    found = sorted(sorted(found, key=lambda piece: piece[0] - piece[1])[: RULES.most_pieces])
    return [
        window.cut(index, round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        for index, (start, end) in enumerate(found)
    ]


def replace_if_better(
    piece: Window, segments: Sequence[Segment], second: Sequence[Segment], spans: Sequence[Span], sound: Sound
) -> list[Segment]:
    """Return `segments` with what is in `piece` replaced by `second`, if that agrees better with
    the speech.

    It does if its suspicious seconds are at least `gain_s` fewer (words over silence, speech
    without words, and the length of loops and of what is too fast) and its words are not much less
    probable.
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
    gain = _measure_suspicions(piece, old, spans, sound) - _measure_suspicions(piece, second, spans, sound)
    if gain < RULES.gain_s:
        return list(segments)
    before, after = _mean_probability(old), _mean_probability(second)
    if before is not None and after is not None and after < RULES.trust * before:
        return list(segments)
    return word_times.remove_overlaps(sorted([*kept, *second], key=lambda segment: (segment.start, segment.end)))


def _measure_suspicions(piece: Window, segments: Sequence[Segment], spans: Sequence[Span], sound: Sound) -> float:
    return sum(max(each.end - each.start, 0.1) for each in find_suspicions(piece, segments, spans, sound))


def _mean_probability(segments: Sequence[Segment]) -> float | None:
    known = [w.probability for segment in segments for w in segment.words if w.probability is not None]
    return sum(known) / len(known) if known else None


def resolve_suspicions(
    segments: Sequence[Segment], suspicions: Sequence[Suspicion], sound: Sound
) -> tuple[list[Segment], list[Notice]]:
    """Return the segments without words over certain silence, and notices of all that stays
    suspicious.
    """
    notices = []
    silent = [each for each in suspicions if each.kind is SuspicionKind.WORDS_OVER_SILENCE]
    certain = bool(sound.segments)
    for (start, end), run in _group(silent):
        inside = [unit[2] for unit in _units(segments) if any((d.start, d.end) == unit[:2] for d in run)]
        text = re.sub(r"\s+", " ", "".join(inside)).strip()
        what = "were left out" if certain else "may be invented"
        notices.append(
            Notice(
                SuspicionKind.WORDS_OVER_SILENCE.value, start, end, f"Nobody speaks here; the words “{text}” {what}."
            )
        )
    if certain and silent:
        gone = {(each.start, each.end) for each in silent}
        kept = []
        for segment in segments:
            words = tuple(word for word in segment.words if (word.start, word.end) not in gone)
            if words:
                kept.append(word_times.keep_words(segment, words) if len(words) < len(segment.words) else segment)
            elif not segment.words and (segment.start, segment.end) not in gone:
                kept.append(segment)
        segments = kept
    for each in suspicions:
        seconds = each.end - each.start
        if each.kind is SuspicionKind.MISSED_SPEECH and seconds >= RULES.reported_s:
            detail = f"Somebody seems to speak here for {seconds:.1f} s, but no words were understood."
            notices.append(Notice(each.kind.value, round(each.start, 3), round(each.end, 3), detail))
    return list(segments), sorted(notices, key=lambda notice: (notice.start, notice.end))


def _group(suspicions: Sequence[Suspicion]) -> Iterator[tuple[tuple[float, float], list[Suspicion]]]:
    """Yield suspicions that are near each other, with the start and the end of each group."""
    run: list[Suspicion] = []
    for each in sorted(suspicions, key=lambda d: d.start):
        if run and each.start - run[-1].end >= RULES.together_s:
            yield (run[0].start, max(d.end for d in run)), run
            run = []
        run.append(each)
    if run:
        yield (run[0].start, max(d.end for d in run)), run

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
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.repetition import find_loops
from dropscribe.transcript import Notice, Segment
from dropscribe.worker import word_times
from dropscribe.worker.suspicions import (
    Suspicion,
    SuspicionKind,
    count_surplus,
    find_suspicions,
    group_suspicions,
    list_units,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.worker.vad import Span
    from dropscribe.worker.window_text import WindowContext, WindowText
    from dropscribe.worker.word_times import Sound


@dataclass(frozen=True, slots=True)
class RecheckRules:
    """What is transcribed again, and when that is better."""

    most_pieces: int = 6
    """Pieces of a window that are transcribed again; together they are never longer than the
    window."""
    longest_s: float = 7.0
    """Seconds; a longer piece that repeats itself is cut further: what Whisper counts and where it
    loses count depends on how often something is said in what it hears at once."""
    reported_s: float = 1.0
    """Shortest speech without words, in seconds, that is reported. Less is not worth a person's
    time."""
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


def recheck(text: WindowText, context: WindowContext) -> WindowText:
    """Return a window, whose words are placed, with suspicious pieces re-transcribed and notices
    of what remains.
    """
    window, segments, sound, spans = text.window, list(text.segments), text.sound, context.spans
    suspicions = find_suspicions(window, segments, spans, sound, context.samples)
    if not suspicions:
        return text
    pieces = choose_pieces(window, suspicions, sound)
    for piece, again in context.backend.transcribe(context.samples, pieces, context.options):
        second = word_times.align_window(context.samples, piece, again, spans)
        segments = replace_if_better(piece, segments, second, spans, sound, context.samples)
    suspicions = find_suspicions(window, segments, spans, sound, context.samples)
    segments, notices = resolve_suspicions(segments, suspicions, sound)
    return dataclasses.replace(text, segments=segments, notices=(*text.notices, *notices))


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
    found = [part for piece in found for part in _divide_piece(piece, cuts, suspicions)]
    found = sorted(sorted(found, key=lambda piece: piece[0] - piece[1])[: RULES.most_pieces])
    return [
        window.cut(index, round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        for index, (start, end) in enumerate(found)
    ]


def _divide_piece(
    piece: tuple[float, float], cuts: Sequence[float], suspicions: Sequence[Suspicion]
) -> list[tuple[float, float]]:
    """Return a piece in parts of `longest_s` where it repeats itself, or lost one word here and one
    there.
    """
    low, high = piece
    inside = [each for each in suspicions if each.start < high and each.end > low]
    if not any(each.kind is SuspicionKind.LOOP or each.part < 1.0 for each in inside):
        return [piece]
    count = math.ceil((high - low) / RULES.longest_s)
    inner = [cut for cut in cuts if low < cut < high]
    edges = (
        {min(inner, key=lambda cut: abs(cut - wish)) for wish in np.linspace(low, high, count + 1)[1:-1]}
        if inner
        else ()
    )
    return list(itertools.pairwise([low, *sorted(edges), high]))


def replace_if_better(
    piece: Window,
    segments: Sequence[Segment],
    second: Sequence[Segment],
    spans: Sequence[Span],
    sound: Sound,
    samples: NDArray[np.float32] | None = None,
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
    before_s, after_s = (
        sum(each.seconds for each in find_suspicions(piece, text, spans, sound, samples)) for text in (old, second)
    )
    gain = before_s - after_s
    if gain < RULES.gain_s:
        return list(segments)
    before, after = _mean_probability(old), _mean_probability(second)
    if before is not None and after is not None and after < RULES.trust * before:
        return list(segments)
    return word_times.remove_overlaps(sorted([*kept, *second], key=lambda segment: (segment.start, segment.end)))


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
    for (start, end), run in group_suspicions(silent, RULES.together_s):
        inside = [unit[2] for unit in list_units(segments) if any((d.start, d.end) == unit[:2] for d in run)]
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
    segments, cut = cut_loops(segments, sound) if certain and _has_loop(suspicions) else (segments, [])
    notices += cut
    for each in suspicions:
        if each.kind is SuspicionKind.MISSED_SPEECH and (each.part < 1.0 or each.seconds >= RULES.reported_s):
            if each.part < 1.0:
                detail = f"Of the sound here, {each.seconds:.1f} s have no words: some may be missing."
            else:
                detail = f"Somebody seems to speak here for {each.seconds:.1f} s, but no words were understood."
            notices.append(Notice(each.kind.value, round(each.start, 3), round(each.end, 3), detail))
        elif each.kind is SuspicionKind.LOOP and not any(n.start < each.end and n.end > each.start for n in cut):
            detail = "The text repeats itself here; what is heard does not, or less often."
            notices.append(Notice(each.kind.value, round(each.start, 3), round(each.end, 3), detail))
    return list(segments), sorted(notices, key=lambda notice: (notice.start, notice.end))


def _has_loop(suspicions: Sequence[Suspicion]) -> bool:
    return any(each.kind is SuspicionKind.LOOP for each in suspicions)


def cut_loops(segments: Sequence[Segment], sound: Sound) -> tuple[list[Segment], list[Notice]]:
    """Return the segments without the turns of repetition loops that the sound cannot hold, and
    notices of them.
    """
    units = list_units(segments)
    gone: set[int] = set()
    notices = []
    for first, last, size in find_loops([text for _, _, text in units]):
        surplus = count_surplus(units, first, last, size, sound)
        turns = (last - first) // size
        if not surplus:
            continue
        kept = set(np.linspace(0, turns - 1, turns - surplus).round().astype(int).tolist())
        gone.update(first + turn * size + i for turn in range(turns) if turn not in kept for i in range(size))
        words = re.sub(r"\s+", " ", "".join(text for _, _, text in units[first : first + size])).strip()
        detail = f"“{words}” was written {turns} times; the sound holds {turns - surplus} at most, which were kept."
        notices.append(Notice(SuspicionKind.LOOP.value, units[first][0], units[last - 1][1], detail))
    if not gone:
        return list(segments), []
    found = []
    number = 0
    for segment in segments:
        count = len(segment.words) or 1
        words_left = tuple(w for i, w in enumerate(segment.words, number) if i not in gone)
        number += count
        if not segment.words:
            found.append(segment)
        elif words_left:
            found.append(word_times.keep_words(segment, words_left) if len(words_left) < count else segment)
    return found, notices

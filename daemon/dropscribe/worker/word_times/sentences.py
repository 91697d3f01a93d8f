"""Segments of a transcript divided into sentences, reduced to some of their words, and put in
order.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropscribe.transcript import Segment, Word

_ABBREVIATIONS = (
    "mr mrs ms dr prof sr sra srta dra st mt jr vs etc no nos vol fig approx inc ltd co corp dept gen sgt capt lt "
    "col rev mme mlle mm av bd bzw ca nr usw evtl ggf tel sig dott ing avv ecc ud uds др ул им"
)


@dataclass(frozen=True, slots=True)
class SentenceRules:
    """Where a sentence ends."""

    pause: float = 0.8
    """Seconds without a word that end a sentence, whatever its punctuation."""
    stops: frozenset[str] = frozenset(".?!…。！？．؟۔।॥։።")  # noqa: RUF001
    """Signs that may end a sentence."""
    wide_stops: frozenset[str] = frozenset("。！？．")  # noqa: RUF001
    """Those with no space between them and the next sentence."""
    closing: str = "\"'”’»«)]}」』）】"  # noqa: RUF001
    """Signs that may follow the one that ends a sentence."""
    opening: str = "\"'“‘«»([{¿¡「『（【-–—"  # noqa: RUF001
    """Signs that may precede the first letter of a sentence."""
    abbreviations: frozenset[str] = frozenset(_ABBREVIATIONS.split())
    """Abbreviations, without their last full stop, after which a sentence goes on, in languages
    often spoken."""


RULES = SentenceRules()


def split_sentences(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments divided into sentences: after the sign that ends one, and at a long
    pause.

    What the engine said of the segment (`avg_logprob` and so on) stays with every part. A segment
    whose words have no times stays whole, and no part is without length.
    """
    return [sentence for segment in segments for sentence in _split_segment(segment)]


def keep_words(segment: Segment, words: tuple[Word, ...]) -> Segment:
    """Return the segment with only `words` (one or more, in order), its text and times theirs."""
    text = "".join(word.word for word in words).strip()
    return dataclasses.replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)


def remove_overlaps(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments, sorted by their start, with no word beginning before the one before it
    ended.
    """
    found = []
    edge = 0.0
    for segment in segments:
        words = []
        for word in segment.words:
            start = max(word.start, edge)
            edge = max(start, word.end)
            words.append(dataclasses.replace(word, start=start, end=edge))
        if words:
            found.append(keep_words(segment, tuple(words)))
        else:
            start = max(segment.start, edge)
            edge = max(start, segment.end)
            found.append(dataclasses.replace(segment, start=start, end=edge))
    return found


def _split_segment(segment: Segment) -> list[Segment]:
    words = segment.words
    cuts = [0]
    for i in range(1, len(words)):
        before, after = words[i - 1], words[i]
        ends = after.start - before.end >= RULES.pause or _ends_sentence(before.word, after.word)
        if ends and before.end > words[cuts[-1]].start:
            cuts.append(i)
    if len(cuts) > 1 and words[-1].end <= words[cuts[-1]].start:
        cuts.pop()
    if len(cuts) <= 1:
        return [segment]
    return [keep_words(segment, words[a:b]) for a, b in itertools.pairwise([*cuts, len(words)])]


def _ends_sentence(word: str, following: str) -> bool:
    """Return whether a sentence ends between the two words."""
    word = word.strip().rstrip(RULES.closing)
    if not word or word[-1] not in RULES.stops:
        return False
    if word[-1] in RULES.wide_stops:
        return True
    first = following.strip().lstrip(RULES.opening)[:1]
    if not following[:1].isspace() or first.islower():
        return False
    stem = word[:-1].lstrip(RULES.opening).casefold()
    is_initial = (len(stem) == 1 and stem.isalpha()) or re.fullmatch(r"(\w\.)+\w", stem) is not None
    return not (word[-1] == "." and (is_initial or stem in RULES.abbreviations))

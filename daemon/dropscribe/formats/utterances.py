"""What was said, as every format needs it: clean text, its tokens with times, and who spoke.

Guarantees: no token is lost or invented; what has no words, or words that do not spell the
segment's text, gets times in proportion to its length; text holds no control characters, which
some format or other cannot carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.line_breaking import is_ideographic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.transcript import Segment, Transcript

_BLANK = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""White space, but for the no-break spaces: French writes one before `?` and in numbers."""
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, lone surrogates and the like: XML, YAML or a parser for subtitles refuses
each of them."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word as it was spoken, or what takes its place."""

    text: str
    """Not empty, with no white space around it."""
    start: float
    """Seconds."""
    end: float
    """Seconds, never before `start`."""
    spaced: bool
    """Whether there is a space before it; false inside a word, and in writing systems that have no
    spaces."""
    sure: float = 1.0
    """How sure its times are, 0 to 1; 1 where nothing is known."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A segment, or the part of one that one person said."""

    text: str
    start: float
    """Seconds."""
    end: float
    """Seconds, never before `start`."""
    speaker: str | None
    """A clean name, never empty."""
    language: str | None
    """What is spoken here where the recording is in several languages."""
    tokens: tuple[Token, ...]
    """At least one."""
    begins: str | None = None
    """`line` or `paragraph` where a replacement says that one begins here."""


def clean_text(text: str) -> str:
    """Return a text on one line, with single spaces; each control character becomes U+FFFD."""
    return _UNFIT.sub("\ufffd", _BLANK.sub(" ", text)).strip(" ")


def split_utterances(transcript: Transcript) -> Iterator[Utterance]:
    """Yield what was said, in the order of the segments, cut where the speaker changes. Empty
    segments yield none.
    """
    for segment in transcript.segments:
        speakers, tokens = _read_tokens(segment)
        first = 0
        for i in range(1, len(tokens) + 1):
            if i < len(tokens) and speakers[i] == speakers[first]:
                continue
            part = tokens[first:i]
            # The edges keep the segment's own times: words may begin late or end early.
            start = segment.start if first == 0 else part[0].start
            end = segment.end if i == len(tokens) else max(t.end for t in part)
            yield Utterance(
                join_tokens(part),
                start,
                max(start, end),
                speakers[first],
                segment.language,
                tuple(part),
                segment.begins if first == 0 else None,
            )
            first = i


def join_tokens(tokens: Sequence[Token]) -> str:
    """Return the tokens as one line of text."""
    return "".join(f" {t.text}" if t.spaced and i else t.text for i, t in enumerate(tokens))


def _read_tokens(segment: Segment) -> tuple[list[str | None], list[Token]]:
    """Return the tokens of a segment, and who says each of them."""
    text = clean_text(segment.text)
    words = [(word, clean_text(word.word)) for word in segment.words]
    if not words or "".join(written for _, written in words).replace(" ", "") != text.replace(" ", ""):
        spread = spread_words(text, segment.start, segment.end)
        return [_clean_name(segment.speaker)] * len(spread), spread
    speakers: list[str | None] = []
    tokens: list[Token] = []
    at = 0
    for word, written in words:
        for token in spread_words(written, word.start, word.end):
            # The text knows where the spaces are; some engines leave them off their words.
            spaced = text.startswith(" ", at)
            at += spaced + len(token.text)
            sure = 1.0 if word.time_confidence is None else word.time_confidence
            tokens.append(Token(token.text, token.start, token.end, spaced or not tokens, sure))
            speakers.append(_clean_name(word.speaker) or _clean_name(segment.speaker))
    known = next(filter(None, speakers), None)
    for i, speaker in enumerate(speakers):
        # A word that is nobody's belongs to who spoke before it, or first in the segment.
        known = speakers[i] = speaker or known
    return speakers, tokens


def _clean_name(speaker: str | None) -> str | None:
    return clean_text(speaker or "") or None


def spread_words(text: str, start: float, end: float) -> list[Token]:
    """Return the words of a clean text with times in proportion to their lengths."""
    words = text.split(" ") if text else []
    total = sum(map(len, words)) or 1
    tokens, done = [], 0
    for word in words:
        begins = start + (end - start) * done / total
        done += len(word)
        ends = end if done == total else start + (end - start) * done / total
        tokens.append(Token(word, begins, max(begins, ends), spaced=True))
    return tokens


def join_texts(left: str, right: str) -> str:
    """Return two texts as one, with a space between them where their writing system has spaces."""
    return f"{left}{'' if needs_no_space(left[-1:], right[:1]) else ' '}{right}"


def needs_no_space(before: str, after: str) -> bool:
    """Return whether there is no space between two sentences, by the characters at their edges;
    either may be empty.

    So it is between Chinese or Japanese characters. Thai, Lao and Khmer put spaces between
    phrases.
    """
    return before != "" and after != "" and is_ideographic(before) and is_ideographic(after)

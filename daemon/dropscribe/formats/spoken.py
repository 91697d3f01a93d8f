"""What was said, as every format needs it: tidy text, its tokens with times, and who spoke.

Guarantees: no token is lost or invented; what has no words of its own, or words that do not spell the segment's text,
gets times in proportion to its length; text holds no control characters, which some format or other cannot carry.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.writing import ideographic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dropscribe.transcript import Passage, Segment, Transcript

_BLANK = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""White space, but for the no-break spaces: French writes one before `?` and in numbers."""
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, lone surrogates and the like: XML, YAML or a parser for subtitles refuses each of them."""
QUOTED = 90
"""Characters of a doubtful passage that a list of them shows."""
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?")


@dataclass(frozen=True, slots=True)
class Token:
    """A word as it was spoken, or what stands for one."""

    text: str
    """Not empty, with no white space around it."""
    start: float
    """Seconds."""
    end: float
    """Seconds, never before `start`."""
    spaced: bool
    """Whether a space stands before it; false inside a word, and in writing that has no spaces."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A segment, or the part of one that one person said."""

    text: str
    start: float
    """Seconds."""
    end: float
    """Seconds, never before `start`."""
    speaker: str | None
    """A tidy name, never empty."""
    language: str | None
    """What is spoken here where the recording is in several languages."""
    tokens: tuple[Token, ...]
    """At least one."""


def tidy(text: str) -> str:
    """Return a text on one line, with single spaces; each control character becomes U+FFFD."""
    return _UNFIT.sub("\ufffd", _BLANK.sub(" ", text)).strip(" ")


def utterances(transcript: Transcript) -> Iterator[Utterance]:
    """Yield what was said, in the order of the segments, cut where the speaker changes. Empty segments yield none."""
    for segment in transcript.segments:
        speakers, tokens = _tokens(segment)
        first = 0
        for i in range(1, len(tokens) + 1):
            if i < len(tokens) and speakers[i] == speakers[first]:
                continue
            part = tokens[first:i]
            # The edges keep the segment's own times: words may begin late or end early.
            start = segment.start if first == 0 else part[0].start
            end = segment.end if i == len(tokens) else max(t.end for t in part)
            yield Utterance(spell(part), start, max(start, end), speakers[first], segment.language, tuple(part))
            first = i


def spell(tokens: Sequence[Token]) -> str:
    """Return the tokens as one line of text."""
    return "".join(f" {t.text}" if t.spaced and i else t.text for i, t in enumerate(tokens))


def _tokens(segment: Segment) -> tuple[list[str | None], list[Token]]:
    text = tidy(segment.text)
    heard = [(w, tidy(w.word)) for w in segment.words]
    if not heard or "".join(t for _, t in heard).replace(" ", "") != text.replace(" ", ""):
        whole = spread(text, segment.start, segment.end)
        return [_named(segment.speaker)] * len(whole), whole
    speakers: list[str | None] = []
    tokens: list[Token] = []
    at = 0
    for word, said in heard:
        for token in spread(said, word.start, word.end):
            # The text knows where the spaces are; some engines leave them off their words.
            spaced = text.startswith(" ", at)
            at += spaced + len(token.text)
            tokens.append(Token(token.text, token.start, token.end, spaced or not tokens))
            speakers.append(_named(word.speaker) or _named(segment.speaker))
    known = next(filter(None, speakers), None)
    for i, speaker in enumerate(speakers):
        # A word that is nobody's belongs to who spoke before it, or first in the segment.
        known = speakers[i] = speaker or known
    return speakers, tokens


def _named(speaker: str | None) -> str | None:
    return tidy(speaker or "") or None


def spread(text: str, start: float, end: float) -> list[Token]:
    """Return the words of a tidy text with times in proportion to their lengths."""
    words = text.split(" ") if text else []
    total = sum(map(len, words)) or 1
    found, done = [], 0
    for word in words:
        begins = start + (end - start) * done / total
        done += len(word)
        ends = end if done == total else start + (end - start) * done / total
        found.append(Token(word, begins, max(begins, ends), spaced=True))
    return found


class Marks:
    """Which passage a word lies in, by its middle."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Take passages in any order, none overlapping another."""
        self.passages = passages
        self.order = sorted(range(len(passages)), key=lambda i: passages[i].start)
        self.starts = [passages[i].start for i in self.order]

    def of(self, token: Token) -> int | None:
        """Return the number of the passage."""
        middle = (token.start + token.end) / 2
        at = bisect_right(self.starts, middle) - 1
        return self.order[at] if at >= 0 and middle <= self.passages[self.order[at]].end else None

    def quoted(self, spoken: Iterable[tuple[str, Token]]) -> dict[int, str]:
        """Return the words of each passage that has any, cut after `QUOTED` characters.

        `spoken` yields every word with the space before it, or nothing.
        """
        found: dict[int, str] = {}
        for space, token in spoken:
            which = self.of(token)
            if which is not None and len(found.get(which, "")) <= QUOTED:
                found[which] = found.get(which, "") + space + token.text
        return {
            which: text if len(text) <= QUOTED else text[:QUOTED].rsplit(" ", 1)[0] + " …"
            for which, text in ((which, text.strip()) for which, text in found.items())
        }


def join(left: str, right: str) -> str:
    """Return two texts as one, with a space between them where their writing has spaces."""
    return f"{left}{'' if unspaced(left[-1:]) and unspaced(right[:1]) else ' '}{right}"


def unspaced(character: str) -> bool:
    """Return whether a character is of a writing without spaces in sentences: Chinese, Japanese and their signs.

    Thai, Lao and Khmer put spaces between phrases, so theirs are kept. An empty text is of no writing.
    """
    return bool(character) and ideographic(character)


def dated(recorded: str | None) -> str | None:
    """Return a time as it is if it is ISO 8601 with date and seconds, as YAML and XML both read it; else nothing."""
    if not recorded or not _DATE_TIME.fullmatch(recorded):
        return None
    try:
        dt.datetime.fromisoformat(recorded)
    except ValueError:
        return None
    return recorded


def day(recorded: str | None) -> str | None:
    """Return a date as it is if it is one of ISO 8601 without a time; else nothing."""
    return recorded if recorded and len(recorded) == 10 and dated(f"{recorded}T00:00:00") else None


def clock(seconds: float) -> str:
    """Return a time as `HH:MM:SS`, cut to the second."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def stamp(milliseconds: int, mark: str) -> str:
    """Return a time as `HH:MM:SS` with three decimals after `mark`."""
    return f"{clock(milliseconds // 1000)}{mark}{milliseconds % 1000:03}"


def milliseconds(seconds: float) -> int:
    """Return a time rounded to the millisecond, never below 0."""
    return max(0, round(seconds * 1000))

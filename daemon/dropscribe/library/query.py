"""What a person looks for, as FTS5 has it.

    words                  sentences that have all of them
    "so many words"        one behind the other
    transcri*              words that begin so
    NEAR(budget cut, 8)    within so many words of each other (10 where no number is given)
    a OR b, NOT c, ( )     either; not; groups. NOT stands behind what is to be found

Guarantees: every text is a query or a UsageError that says what is wrong; nothing in it is syntax but what is named
here; it finds what `folding` made of the sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dropscribe.errors import UsageError
from dropscribe.library.folding import locate_tokens, split_tokens

_PART = re.compile(r'"([^"]*)"(\*)?|(NEAR)\(|([()])|([^\s()"]+)')
_NEAR = 10
"""FTS5's own number of words between, where none is given."""
_DEEPEST = 50
"""Groups inside each other: more is no question."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Tokens that follow each other."""

    tokens: tuple[str, ...]
    prefix: bool
    """Whether the last may be the beginning of a word."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query that FTS5 takes, and the phrases to be marked in what it finds."""

    expression: str
    phrases: tuple[Phrase, ...]


def parse_query(text: str) -> Query:
    """Return what a person looks for as a query.

    Raises: UsageError where there is nothing to look for, or a bracket or quotation mark has no partner.
    """
    if text.count('"') % 2:
        raise UsageError("A quotation mark has no partner.", 'Write a phrase as "so many words".')
    parser = _Parser(list(_PART.finditer(text)))
    expression = parser.parse()
    return Query(expression, tuple(parser.phrases))


def find_matches(text: str, phrases: tuple[Phrase, ...]) -> list[tuple[int, int]]:
    """Return the places in a text that phrases are at, as first character and the one behind, in order, apart."""
    tokens = locate_tokens(text)
    found: list[tuple[int, int]] = []
    for phrase in phrases:
        length = len(phrase.tokens)
        for at in range(len(tokens) - length + 1):
            *first, last = [token.text for token in tokens[at : at + length]]
            ends = last.startswith(phrase.tokens[-1]) if phrase.prefix else last == phrase.tokens[-1]
            if ends and tuple(first) == phrase.tokens[:-1]:
                found.append((tokens[at].start, tokens[at + length - 1].end))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


class _Parser:
    """One pass over the parts of a query."""

    def __init__(self, parts: list[re.Match[str]]) -> None:
        self._parts = parts
        self._at = 0
        self._depth = 0
        self.phrases: list[Phrase] = []

    def parse(self) -> str:
        expression = self._read_either()
        if self._at < len(self._parts):
            raise UsageError("A closing bracket has no partner.", "Take it away, or put one before it.")
        if not expression:
            raise UsageError("There is nothing to look for.", 'Give words: dropscribe search "budget cut".')
        return expression

    def _peek(self) -> str:
        return self._parts[self._at].group() if self._at < len(self._parts) else ""

    def _read_either(self) -> str:
        found = [self._read_all()]
        while self._peek() == "OR":
            self._at += 1
            found.append(self._read_all())
        found = [each for each in found if each]
        return found[0] if len(found) == 1 else f"({' OR '.join(found)})" if found else ""

    def _read_all(self) -> str:
        wanted: list[str] = []
        unwanted: list[str] = []
        while (part := self._peek()) and part not in {")", "OR"}:
            if part == "AND":
                self._at += 1
                continue
            refused = part == "NOT"
            self._at += refused
            kept = len(self.phrases)
            if one := self._read_one():
                (unwanted if refused else wanted).append(one)
            if refused:
                del self.phrases[kept:]
        if unwanted and not wanted:
            raise UsageError("NOT alone finds nothing.", "Say what is to be found: budget NOT cut.")
        expression = " AND ".join(wanted)
        return f"(({expression}) NOT ({' OR '.join(unwanted)}))" if unwanted else expression

    def _read_one(self) -> str:
        if self._at >= len(self._parts) or self._peek() in {")", "OR", "AND", "NOT"}:
            return ""
        part = self._parts[self._at]
        self._at += 1
        quoted, star, near, bracket, word = part.groups()
        if bracket == "(":
            return self._read_group()
        if near:
            return self._read_near()
        if word is not None:
            star = word.endswith("*")
            return self._take(word, prefix=star)
        return self._take(quoted or "", prefix=bool(star))

    def _read_group(self) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UsageError("The brackets are nested too deeply.", "Ask for less at once.")
        inner = self._read_either()
        self._depth -= 1
        self._close()
        return f"({inner})" if inner else ""

    def _read_near(self) -> str:
        found: list[str] = []
        most = _NEAR
        comma = False
        while self._at < len(self._parts) and self._peek() != ")":
            quoted, star, _, bracket, word = self._parts[self._at].groups()
            self._at += 1
            if bracket:
                raise UsageError("Inside NEAR( ) there are only words and phrases.", "NEAR(budget cut, 8)")
            word = quoted if word is None else word
            if comma and word.isdecimal():
                most = min(int(word[:9]), 1_000_000)
                continue
            comma = word.endswith(",") or word == ","
            number = re.fullmatch(r"(.*),(\d{1,9})", word) if quoted is None else None
            if number:
                word, most = number[1], min(int(number[2]), 1_000_000)
            if one := self._take(word, prefix=bool(star) or (quoted is None and word.rstrip(",").endswith("*"))):
                found.append(one)
        self._close()
        return f"NEAR({' '.join(found)}, {most})" if len(found) > 1 else "".join(found)

    def _close(self) -> None:
        if self._peek() != ")":
            raise UsageError("A bracket has no partner.", 'Close it with ")".')
        self._at += 1

    def _take(self, text: str, *, prefix: bool) -> str:
        tokens = split_tokens(text)
        if not tokens:
            return ""
        self.phrases.append(Phrase(tuple(tokens), prefix))
        return f'"{" ".join(tokens)}"{" *" if prefix else ""}'

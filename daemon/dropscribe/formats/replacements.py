"""Writing words as a person wants them written: the setting `replacements`, applied to a finished
transcript.

Guarantees: a pure function; only whole words change, and of those only what the table names; what
was replaced is not looked at again; joined, the words of a segment are its text; no time is
outside the words replaced; the table is recorded among the transcript's options.

A left side is found in any case of letters, the longest first, and before a possessive 's. The
right side is written as it is; where both sides are in small letters, it follows what it replaces:
Capitalised, or IN CAPITALS. Where there are as many words after as before, each keeps its time.
Else the new ones share the time of the old ones by their length, and have the least probability
among them. Nothing is found across two segments or two speakers.

A right side may be empty, a mark or a line break, and sounds of hesitation may go (`fillers`): see
`edits` for what becomes of what stands around them.

Scripts without spaces show no whole words: there a left side is found wherever it occurs.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from dropscribe.formats import edits, fillers
from dropscribe.formats.line_breaking import breaks_without_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dropscribe.transcript import Option, Segment, Transcript, Word


def replace(transcript: Transcript, table: Mapping[str, str], *, drop_fillers: bool = False) -> Transcript:
    """Return the transcript with every left side of `table` written as its right side.

    A transcript that says that this was done already is returned as it is.

    Args:
        transcript: any.
        table: the setting `replacements`; no left side is empty.
        drop_fillers: whether sounds of hesitation go, but for those that the table names.
    """
    engine = transcript.engine
    wanted: dict[str, Option] = {"replacements": dict(table)} if table else {}
    wanted |= {"fillers": "drop"} if drop_fillers else {}
    if all(engine.options.get(name) == value for name, value in wanted.items()):
        return transcript
    finders: dict[str | None, _Finder] = {}
    replaced = []
    for segment in transcript.segments:
        language = segment.language or transcript.language
        if language not in finders:
            finders[language] = _Finder(table, fillers.list_forms(language) if drop_fillers else "")
        replaced.append(rewrite_segment(segment, finders[language].find_matches))
    segments = tuple(dataclasses.replace(segment, id=i) for i, segment in enumerate(edits.settle(replaced)))
    return dataclasses.replace(
        transcript,
        text=" ".join(segment.text for segment in segments),
        segments=segments,
        engine=dataclasses.replace(engine, options={**engine.options, **wanted}),
    )


@dataclass(frozen=True, slots=True)
class Match:
    """A part of a text, and what is written instead."""

    start: int
    end: int
    right: str


class _Finder:
    """Finds the left sides of a table in a text."""

    def __init__(self, table: Mapping[str, str], dropped: str = "") -> None:
        """`dropped` is what else is deleted, as a regular expression: sounds of hesitation."""
        order = sorted(table, key=lambda wrong: (-len(wrong), wrong))
        sources = [r"\s+".join(map(re.escape, wrong.split())) for wrong in order]
        self._any = re.compile("|".join([*sources, *filter(None, [dropped])]) or "(?!)", re.IGNORECASE)
        self._each = [
            (re.compile(source, re.IGNORECASE), wrong, table[wrong])
            for source, wrong in zip(sources, order, strict=True)
        ]
        if dropped:
            self._each.append((re.compile(dropped, re.IGNORECASE), "", ""))

    def find_matches(self, text: str) -> Iterator[Match]:
        """Yield what is to be replaced, in order, nothing twice."""
        position = 0
        while found := self._any.search(text, position):
            position = found.start() + 1
            for pattern, wrong, right in self._each:
                one = pattern.match(text, found.start())
                if one is None or (not wrong and len(one.group()) > 1 and one.group().isupper()):
                    continue  # an abbreviation is no sound of hesitation
                if not any(_is_inside_word(text, at, right) for at in one.span()):
                    adapted = _adapt_case(one.group(), wrong, right)
                    yield Match(one.start(), one.end(), edits.choose_sign(adapted, one.group()))
                    position = one.end()
                    break


def _is_inside_word(text: str, at: int, right: str) -> bool:
    """Return whether a word goes on from before the position `at` to behind it.

    A part of a compound is a word of its own, unless it is to be deleted (`right` is empty).
    """
    before, after, rest = text[max(at - 1, 0) : at], text[at : at + 1], text[at + 1 : at + 3]
    if not right and (
        (after != "" and after in "-'\u2019" and _is_letter(rest[:1]))
        or (before == "-" and at > 1 and _is_letter(text[at - 2]))
    ):
        return True
    if not before or not after:
        return False
    if after in "'\u2019" and _is_letter(before) and rest[:1].isalnum():  # don't, but not Aalto's
        return not (rest[:1] in "sS" and not _is_letter(rest[1:]))
    return (
        _is_letter(before) and _is_letter(after) and not (breaks_without_space(before) or breaks_without_space(after))
    )


def _is_letter(character: str) -> bool:
    return character.isalnum() or (character != "" and unicodedata.category(character) in {"Mn", "Mc", "Me", "Pc"})


def _adapt_case(found: str, wrong: str, right: str) -> str:
    if wrong != wrong.lower() or right != right.lower():
        return right
    if found.isupper() and sum(map(str.isalpha, found)) > 1:
        return right.upper()
    return right[:1].upper() + right[1:] if found[:1].isupper() else right


def _substitute(text: str, matches: Sequence[Match], start: int = 0) -> str:
    """Return a text with its matches replaced; `start` is its place in the text that the matches
    count in.
    """
    parts, position = [], start
    for match in matches:
        parts += [text[position - start : match.start - start], match.right]
        position = match.end
    return "".join(parts) + text[position - start :]


def rewrite_segment(segment: Segment, find_matches: Callable[[str], Iterator[Match]]) -> Segment:
    """Return a segment with what `find_matches` finds in its text written otherwise; see the module
    for what becomes of the words' times.
    """
    joined = "".join(word.word for word in segment.words)
    ends = list(accumulate(len(word.word) for word in segment.words))
    words: list[Word] = []
    done = 0
    for first, last, matches in _group_matches(segment.words, ends, find_matches(joined)):
        start = ends[first] - len(segment.words[first].word)
        words += segment.words[done:first]
        words += _time_words(segment.words[first : last + 1], _substitute(joined[start : ends[last]], matches, start))
        done = last + 1
    words += segment.words[done:]
    if words and joined.strip() == segment.text:
        text = "".join(word.word for word in words).strip()
    else:
        text = _substitute(segment.text, list(find_matches(segment.text)))
    return dataclasses.replace(segment, text=text, words=tuple(words))


def _group_matches(
    words: Sequence[Word], ends: Sequence[int], matches: Iterator[Match]
) -> Iterator[tuple[int, int, list[Match]]]:
    """Yield runs of words, by first and last index, with the matches in them; no word is in two
    runs.
    """
    found: list[tuple[int, int, list[Match]]] = []
    first = 0
    for match in matches:
        while ends[first] <= match.start:
            first += 1
        last = first
        while ends[last] < match.end:
            last += 1
        if len({word.speaker for word in words[first : last + 1]}) > 1:
            continue
        if found and found[-1][1] >= first:
            found[-1] = (found[-1][0], last, [*found[-1][2], match])
        else:
            found.append((first, last, [match]))
    yield from found


def _time_words(old: Sequence[Word], text: str) -> list[Word]:
    """Return the words of `text`, which replaces `old`."""
    new = re.findall(r"\s*\S+(?:\s+$)?", text)
    if len(new) == len(old):
        return [dataclasses.replace(word, word=text) for word, text in zip(old, new, strict=True)]
    start, end = min(word.start for word in old), max(word.end for word in old)
    lengths = list(accumulate(len(word.strip()) for word in new))
    edges = [start, *(min(max(start + (end - start) * n / lengths[-1], start), end) for n in lengths[:-1]), end]
    edges[1:-1] = [min(max(round(edge, 3), start), end) for edge in edges[1:-1]]
    known = [word.probability for word in old if word.probability is not None]
    made = dataclasses.replace(old[0], probability=min(known) if known else None, time_confidence=None)
    return [dataclasses.replace(made, word=text, start=edges[i], end=edges[i + 1]) for i, text in enumerate(new)]

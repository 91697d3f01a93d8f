"""Old words and a new text, brought together: which words were changed, and when the new ones are said.

Guarantees: pure functions; a word that is as it was keeps its times and its probability; new words are in order,
inside the time of the words they replace, and none ends before it starts. Words that a person wrote have no
probability.

Words are compared without case, accents and marks, so that a comma moves no time. Where words were changed, their
letters are aligned: `drop scribe` becomes `Dropscribe` with the first's start and the second's end, and a word that
was split is divided where its letters are.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from dropscribe.library.folding import split_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.transcript import Word

    Splitter = Callable[[str], list[str] | None]
    """Cuts a text without spaces into words that joined are the text; None where it cannot."""

_ATOM = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003fffd]"
    "|[^\\s\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003fffd]+"
)
"""What is compared: a word, or one sign of a writing system without spaces."""
_SMALL = 250_000
"""Pairs of atoms that are compared one by one: more are first divided where both have the same rare words."""
_RUNS = (4, 1)
"""How many atoms in a row are to be the same there: four words hardly ever follow each other twice, and where they do
not in a whole text, rare words help."""
_ALIKE = 0.6
"""Share of the letters that must be in both before letters, not the number of words, say what became of what: below
that, words were exchanged (`Moby Dick`, `Obi Wan`), and the first is still the first."""
_UNSPACED_WORD = 6
"""Signs of a word in a writing system without spaces, where no model cuts it: about what Whisper's tokens hold."""

_LEAST_SECONDS = 0.02
"""A word shorter than this cannot be seen while it is played (a picture of a screen lasts 0.017 s): it shares the
time of the word before it."""


@dataclass(frozen=True, slots=True)
class Change:
    """Old words that were written otherwise."""

    first: int
    """The first of the old words."""
    last: int
    """The one behind the last; equal to `first` where text was only added."""
    start: int
    """Of the new text: the first character."""
    end: int
    """The one behind the last; equal to `start` where words were only taken out."""


@dataclass(frozen=True, slots=True)
class _Atom:
    key: str
    raw: str
    start: int
    end: int
    word: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Old words next to a new text."""

    changes: tuple[Change, ...]
    """In order, none touching another."""
    places: tuple[tuple[int, int] | None, ...]
    """Where in the text each old word is, but for marks and case; None where it is not there any more."""


def compare(words: Sequence[str], text: str) -> Comparison:
    """Return where a new text differs from old words.

    Args:
        words: the old ones, with or without space around them.
        text: the whole new text.
    """
    old = [atom for i, word in enumerate(words) for atom in _split_atoms(word, i)]
    new = _split_atoms(text, 0)
    partner = _match([atom.key for atom in old], [atom.key for atom in new])
    places: list[tuple[int, int] | None] = [None] * len(words)
    changes: list[Change] = []
    at = first = i = 0  # the first new atom, and the first old word, that are not taken yet
    while i < len(old):
        word, last = old[i].word, i
        while last < len(old) and old[last].word == word:
            last += 1
        begin, count = partner[i], last - i
        if begin is not None and partner[i:last] == list(range(begin, begin + count)):
            if word > first or begin > at:
                changes.append(_make_change(first, word, new, at, begin))
            start, end = places[word] = new[begin].start, new[begin + count - 1].end
            if text[start:end] != words[word].strip():
                changes.append(Change(word, word + 1, start, end))
            at, first = begin + count, word + 1
        i = last
    if first < len(words) or at < len(new):
        changes.append(_make_change(first, len(words), new, at, len(new)))
    return Comparison(tuple(_join_touching(changes)), tuple(places))


def _join_touching(changes: Sequence[Change]) -> list[Change]:
    joined: list[Change] = []
    for change in changes:
        if joined and joined[-1].last == change.first:
            before = joined.pop()
            spans = [(c.start, c.end) for c in (before, change) if c.end > c.start] or [(change.start, change.end)]
            change = Change(before.first, change.last, spans[0][0], spans[-1][1])  # noqa: PLW2901
        joined.append(change)
    return joined


def _make_change(first: int, last: int, new: Sequence[_Atom], begin: int, end: int) -> Change:
    if begin < end:
        return Change(first, last, new[begin].start, new[end - 1].end)
    place = new[begin - 1].end if begin else 0
    return Change(first, last, place, place)


def _split_atoms(text: str, word: int) -> list[_Atom]:
    return [
        _Atom("".join(split_tokens(found.group())) or found.group(), found.group(), found.start(), found.end(), word)
        for found in _ATOM.finditer(text)
    ]


def _match(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """Return for each old key the place of the new one that it became, in order, or None."""
    partner: list[int | None] = [None] * len(old)
    ahead = [(0, len(old), 0, len(new))]
    while ahead:
        i, j, k, m = ahead.pop()
        while i < j and k < m and old[i] == new[k]:
            partner[i] = k
            i, k = i + 1, k + 1
        while i < j and k < m and old[j - 1] == new[m - 1]:
            j, m = j - 1, m - 1
            partner[j] = m
        if i == j or k == m:
            continue
        anchors = _find_anchors(old, new, (i, j, k, m)) if (j - i) * (m - k) > _SMALL else []
        if anchors:
            edges = [(i - 1, k - 1), *anchors, (j, m)]
            for place, other in anchors:
                partner[place] = other
            ahead += [(a + 1, c, b + 1, d) for (a, b), (c, d) in pairwise(edges)]
            continue
        matcher = SequenceMatcher(None, old[i:j], new[k:m], autojunk=(j - i) * (m - k) > 16 * _SMALL)
        for block in matcher.get_matching_blocks():
            for step in range(block.size):
                partner[i + block.a + step] = k + block.b + step
    return partner


def _find_anchors(old: Sequence[str], new: Sequence[str], where: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """Return places of runs that stand once in both, in the longest order that both have (patience diff)."""
    i, j, k, m = where
    for length in _RUNS:
        runs = list(zip(*(old[i + n : j] for n in range(length)), strict=False))
        others = list(zip(*(new[k + n : m] for n in range(length)), strict=False))
        once = {key for key, count in Counter(runs).items() if count == 1}
        once &= {key for key, count in Counter(others).items() if count == 1}
        place = {key: at for at, key in enumerate(others, k) if key in once}
        pairs = [(at, place[key]) for at, key in enumerate(runs, i) if key in once]
        if pairs:
            break
    tails: list[int] = []  # the least end of an order of each length
    ends: list[int] = []  # the pair at that end
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        length = bisect_left(tails, other)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [other]
        ends[length : length + 1] = [number]
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def write_words(old: Sequence[Word], text: str, split: Splitter = lambda _: None) -> list[Word]:
    """Return the words of a text that replaces old words.

    Args:
        old: at least one.
        text: what a person wrote in their place; empty where they were taken out.
        split: cuts what has no spaces.
    """
    words: list[Word] = []
    done = 0
    compared = compare([word.word for word in old], text)
    for change in compared.changes:
        first, last, start, end = change.first, change.last, change.start, change.end
        if first == last:  # text was only added: it shares the time of the word next to it
            first, last = (first - 1, last) if first else (first, last + 1)
            start, end = (
                min(start, (compared.places[first] or (start, end))[0]),
                max(end, (compared.places[first] or (start, end))[1]),
            )
        words += old[done:first]
        words += _time_words(old[first:last], text[start:end], split)
        done = last
    words += old[done:]
    return _space(words, text, leads=old[0].word[:1].isspace())


def _space(words: list[Word], text: str, *, leads: bool) -> list[Word]:
    """Return words with the space before each that the text has there."""
    spaced = []
    at = 0
    for i, word in enumerate(words):
        written = word.word.strip()
        place = text.find(written, at)
        space = leads if i == 0 else place > at or place < 0
        at = place + len(written) if place >= 0 else at
        spaced.append(dataclasses.replace(word, word=f"{' ' if space else ''}{written}"))
    return spaced


def _time_words(old: Sequence[Word], text: str, split: Splitter) -> list[Word]:
    """Return the words of a text that is said in the time of old words, of which none is the same."""
    new = [part for piece in text.split() for part in _cut(piece, split)]
    if not new:
        return []
    letters = [_letters(word.word) for word in old]
    wanted = [_letters(word) for word in new]
    matcher = SequenceMatcher(None, "".join(letters), "".join(wanted), autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    alike = sum(block.size for block in blocks) >= _ALIKE * max(sum(map(len, letters)), sum(map(len, wanted)))
    if len(new) == len(old) and not alike:
        return [
            dataclasses.replace(word, word=written, probability=_keep(word, written))
            for word, written in zip(old, new, strict=True)
        ]
    clock = _Clock(old, letters)
    points = [(0.0, 0.0)]
    if alike:
        points += [p for b in blocks for p in ((b.b, b.a), (b.b + b.size, b.a + b.size))]
    points.append((sum(map(len, wanted)), sum(map(len, letters))))
    edges = [_interpolate(points, float(edge)) for edge in accumulate(map(len, wanted), initial=0)]
    made = []
    for (begin, end), written in zip(pairwise(edges), new, strict=True):
        start, ends = clock.find_start(begin), clock.find_end(end)
        if end - begin < 1e-6:  # nothing of the old words became this one: it is said in the pause, if there is any
            start, ends = min(start, ends), max(start, ends)
        word = old[clock.find_word(begin)]
        ends = max(start, ends)
        made.append(dataclasses.replace(word, word=written, start=start, end=ends, probability=_keep(word, written)))
    for i in range(1, len(made)):
        before, word = made[i - 1], made[i]
        if word.end - word.start < _LEAST_SECONDS and before.end - before.start > 2 * _LEAST_SECONDS:
            middle = round((before.start + word.end) / 2, 3)
            made[i - 1], made[i] = dataclasses.replace(before, end=middle), dataclasses.replace(word, start=middle)
    return made


def _keep(word: Word, written: str) -> float | None:
    """Return the probability of a word that a person wrote: only another mark or case leaves it."""
    return word.probability if split_tokens(word.word) == split_tokens(written) else None


def _letters(word: str) -> str:
    return "".join(split_tokens(word)) or word.strip()


def _cut(piece: str, split: Splitter) -> list[str]:
    """Return the words of a text without white space."""
    atoms = _ATOM.findall(piece)
    if len(atoms) < 2:
        return [piece]
    if phrases := split(piece):
        return [phrase for phrase in phrases if phrase]
    return [piece[i : i + _UNSPACED_WORD] for i in range(0, len(piece), _UNSPACED_WORD)]


def _interpolate(points: Sequence[tuple[float, float]], at: float) -> float:
    """Return where a place among the new letters is among the old ones."""
    right = min(max(bisect_right(points, (at, float("inf"))), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y1 if x1 <= x0 else y0 + (y1 - y0) * (at - x0) / (x1 - x0)


class _Clock:
    """When the letters of words are said."""

    def __init__(self, words: Sequence[Word], letters: Sequence[str]) -> None:
        self._words = words
        self._edges = list(accumulate(map(len, letters), initial=0))

    def find_word(self, place: float) -> int:
        """Return the word that a place is in, or before."""
        return min(bisect_right(self._edges, place + 1e-6) - 1, len(self._words) - 1)

    def find_start(self, place: float) -> float:
        """Return when what begins at a place begins."""
        return self._read(self.find_word(place), place)

    def find_end(self, place: float) -> float:
        """Return when what ends at a place ends."""
        return self._read(max(min(bisect_left(self._edges, place - 1e-6) - 1, len(self._words) - 1), 0), place)

    def _read(self, number: int, place: float) -> float:
        word = self._words[number]
        begin, end = self._edges[number], self._edges[number + 1]
        share = min(max((place - begin) / (end - begin), 0.0), 1.0) if end > begin else 0.0
        return min(max(round(word.start + (word.end - word.start) * share, 3), word.start), word.end)

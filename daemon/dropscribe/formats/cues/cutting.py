# ruff: noqa: RUF001 (the marks of other writing systems are meant)
"""Where cues and their lines end.

Of all ways to divide the words between two silences into cues, the one of least cost is taken,
found by dynamic programming (as Knuth and Plass did for the lines of a paragraph). `Costs` says
what costs how much.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.line_breaking import SENTENCE_ENDS, breaks_without_space, is_ideographic, rate_break

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.formats.cues.atoms import Atom
    from dropscribe.formats.cues.limits import Limits

_PHRASE_ENDS = frozenset(",;:–—،؛、，；：·")
_AROUND = "\"'”’»›)]}」』）】〉》"
_CONJUNCTIONS = {
    *("and", "but", "or", "because", "so", "that", "which", "who", "when", "while", "if"),
    *("et", "mais", "ou", "parce", "que", "qui", "quand", "si", "donc"),
    *("y", "pero", "o", "porque", "cuando", "pues", "mas"),
    *("e", "ma", "perché", "che", "quando", "se", "quindi"),
    *("und", "aber", "oder", "weil", "dass", "wenn", "en", "maar", "of", "omdat", "dat", "als"),
    *("и", "но", "а", "или", "потому", "что", "когда", "если", "чтобы", "который"),
}
"""Conjunctions of the languages measured, and of their neighbours: a line is best broken before
them [N]."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What it costs to cut. Only their relations mean something; they were found by trying.

    References in brackets are those of `Limits`.
    """

    cue: float = 3.0
    """A cue, whatever is in it: few are better than many."""
    cue_end: float = 1.5
    """Times the cost of the boundary at which a cue ends."""
    line_end: float = 0.5
    """Times the cost of the boundary at which a line of a cue ends."""

    after_phrase_mark: float = 1.0
    """Boundary after a comma and the like, or at a space of a writing system that has none between
    words."""
    after_word: float = 4.0
    """Boundary after any other word."""
    inside_phrase: float = 12.0
    """Added to `after_word` inside a phrase of Japanese, Chinese or Thai."""
    after_short_word: float = 2.0
    """Added after words of up to three letters: articles and prepositions, which belong to the
    next word."""
    before_conjunction: float = -1.5
    """Added before a conjunction."""
    before_segment: float = -1.0
    """Added where the model began a new segment."""
    pause_ms: float = 150.0
    """Milliseconds of pause that make a boundary cheaper by 1: to breathe divides speech as well
    as a comma does."""
    least_boundary: float = 0.2
    """Least cost of a boundary that ends no sentence."""

    two_sentences: float = 4.0
    """Each end of a sentence within a cue: one sentence a cue reads best [B 3.2]."""
    line_in_sentence: float = 1.0
    """A line that ends within a sentence."""
    uneven_lines: float = 4.0
    """Times the share by which one line of a cue is shorter than the other."""
    orphan_line: float = 20.0
    """A line less than half as long as the other: it looks like a mistake."""

    haste_ms: float = 500.0
    """Milliseconds missing for comfortable reading, or for twice `Limits.shortest`, that cost 1."""
    borrowed: float = 4.0
    """Taking all of `Limits.shift` from a neighbour, to keep a rule of time."""
    flash: float = 3.0
    """Times the cost of too little time, where `Limits.shortest` is in danger: a flash is worse
    than haste."""
    broken_rule: float = 30.0
    """Breaking a rule of time: more than any cut inside a phrase, less than a hail of them."""


COSTS = Costs()


@dataclass(frozen=True, slots=True)
class Draft:
    """A cue with the times of its words, in milliseconds."""

    lines: tuple[str, ...]
    start: int
    end: int
    width: int
    speaker: str | None


def split_stretches(atoms: list[Atom], limits: Limits) -> Iterator[tuple[list[Atom], int | None]]:
    """Yield the atoms between two silences or changes of speaker, over which no cue may reach, and
    when what follows begins: the last cue must be gone by then.
    """
    first = 0
    for i in range(1, len(atoms)):
        if atoms[i].turn or atoms[i].start - atoms[i - 1].end >= limits.silence:
            yield atoms[first:i], atoms[i].start
            first = i
    if atoms:
        yield atoms[first:], None


def _begins_word(atom: Atom) -> bool:
    """Return whether a word begins here; of a writing system without spaces, a phrase."""
    return atom.spaced or atom.opens or bool(atom.phrase) or (atom.phrase is None and is_ideographic(atom.text[0]))


class Cutter:
    """Divides one stretch of speech into cues of least cost."""

    def __init__(self, atoms: list[Atom], following: int | None, limits: Limits, costs: Costs = COSTS) -> None:
        """Take the atoms of a stretch, and when what follows it begins."""
        self._atoms, self._following, self._limits, self._costs = atoms, following, limits, costs
        # reach[j] is the column where atom j - 1 ends when the whole stretch is one line.
        self._reach = [0]
        for atom in self._atoms:
            self._reach.append(self._reach[-1] + atom.spaced + atom.width)
        self._boundaries = [self._rate_boundary(i) for i in range(len(self._atoms))]
        # Words that begin before atom i.
        self._words = [0, *itertools.accumulate(map(_begins_word, self._atoms))]
        # Sentences that end before atom i.
        ends = (a.text.rstrip(_AROUND)[-1:] in SENTENCE_ENDS for a in self._atoms)
        self._sentences = [0, *itertools.accumulate(ends)]

    def cut(self) -> list[Draft]:
        """Return the cues."""
        atoms, limits = self._atoms, self._limits
        count = len(atoms)
        best = [0.0] + [math.inf] * count
        chosen: list[tuple[int, tuple[int, ...]]] = [(0, ())] * (count + 1)
        for j in range(1, count + 1):
            for i in range(j - 1, -1, -1):
                alone = i == j - 1
                if not alone and (
                    self._measure(i, j) > limits.lines * (limits.line + 1)
                    or atoms[j - 1].end - atoms[i].start > limits.longest
                    or (limits.words and self._words[j] - self._words[i + 1] >= limits.words)
                ):
                    break
                total = best[i] + self._rate_cue(i, j)
                if total < best[j]:  # lines only add to it
                    breaks, uneven = self._break_lines(i, j, limits.lines)
                    if total + uneven < best[j]:
                        best[j], chosen[j] = total + uneven, (i, breaks)
        drafts = []
        j = count
        while j:
            i, breaks = chosen[j]
            drafts.append(self._make_draft(i, j, breaks))
            j = i
        return drafts[::-1]

    def _make_draft(self, i: int, j: int, breaks: tuple[int, ...]) -> Draft:
        edges = (i, *breaks, j)
        lines = tuple(self._write(a, b) for a, b in itertools.pairwise(edges))
        first, last = self._atoms[i], self._atoms[j - 1]
        return Draft(lines, first.start, last.end, self._measure(i, j), first.speaker)

    def _write(self, i: int, j: int) -> str:
        return "".join(f" {a.text}" if a.spaced and k else a.text for k, a in enumerate(self._atoms[i:j]))

    def _measure(self, i: int, j: int) -> int:
        """Return the columns of atoms `i` to `j` on one line."""
        return self._reach[j] - self._reach[i] - self._atoms[i].spaced

    def _rate_boundary(self, i: int) -> float:
        """Return the cost of ending a line or cue after atom `i`: none where a sentence ends."""
        costs, text = self._costs, self._atoms[i].text
        bare = text.rstrip(_AROUND)
        mark = bare[-1:] or text[-1]
        if mark in SENTENCE_ENDS or i + 1 == len(self._atoms):
            return 0.0
        following = self._atoms[i + 1]
        if mark in _PHRASE_ENDS:
            cost = costs.after_phrase_mark
        elif not following.spaced:
            cost = costs.after_word
            if following.phrase is None:
                cost += rate_break(text[-1], following.text[0])
            elif not following.phrase:
                cost += costs.inside_phrase
        elif breaks_without_space(text[-1]):
            cost = costs.after_phrase_mark
        else:
            cost = costs.after_word
            if len(bare) <= 3 and bare.isalpha():
                cost += costs.after_short_word
            if following.text.lower() in _CONJUNCTIONS:
                cost += costs.before_conjunction
        if following.opens:
            cost += costs.before_segment
        # A pause counts as far as it is sure: the time of a word may be wrong by as much.
        sure = min(self._atoms[i].sure, following.sure)
        return max(costs.least_boundary, cost - sure * (following.start - self._atoms[i].end) / costs.pause_ms)

    def _break_lines(self, i: int, j: int, lines: int) -> tuple[tuple[int, ...], float]:
        """Return where to break atoms `i` to `j` into lines, and the cost: one line if it fits."""
        line, costs = self._limits.line, self._costs
        if self._measure(i, j) <= line:
            return (), 0.0
        best: tuple[tuple[int, ...], float] = (), math.inf
        if lines < 2:
            return best
        # What is above this leaves more than the lines below can hold.
        highest = bisect_left(self._reach, self._reach[j] - (lines - 1) * (line + 1), i + 1, j)
        for k in range(highest, j):
            upper = self._measure(i, k)
            if upper > line:
                break
            below, cost = self._break_lines(k, j, lines - 1)
            if cost == math.inf:
                continue
            lower = self._measure(k, below[0] if below else j)
            longer, shorter = max(upper, lower), min(upper, lower)
            if self._sentences[k] == self._sentences[k - 1]:
                cost += costs.line_in_sentence
            cost += costs.line_end * self._boundaries[k - 1] + costs.uneven_lines * (longer - shorter) / longer
            if shorter * 2 < longer:
                cost += costs.orphan_line
            if cost < best[1]:
                best = (k, *below), cost
        return best

    def _rate_cue(self, i: int, j: int) -> float:
        """Return the cost of showing atoms `i` to `j` as one cue, but for its lines."""
        limits, costs, atoms = self._limits, self._costs, self._atoms
        first, last = atoms[i], atoms[j - 1]
        cost = costs.cue + costs.cue_end * self._boundaries[j - 1]
        cost += costs.two_sentences * (self._sentences[j - 1] - self._sentences[i])
        following = atoms[j].start if j < len(atoms) else self._following
        room = min(last.end + limits.silence, first.start + limits.longest)
        if following is not None:
            room = min(room, following - limits.gap)
        room -= first.start
        width = self._measure(i, j)
        cost += self._rate_lack(width * 1000 / limits.fastest - room)
        cost += costs.flash * self._rate_lack(limits.shortest - room)
        cost += max(0.0, width * 1000 / limits.comfortable - room) / costs.haste_ms
        if room < 2 * limits.shortest:
            cost += (2 * limits.shortest - room) / costs.haste_ms
        return cost

    def _rate_lack(self, missing: float) -> float:
        """Return the cost of `missing` milliseconds: more than `Limits.shift` breaks a rule."""
        if missing <= 0:
            return 0.0
        beyond = missing - self._limits.shift
        return self._costs.borrowed * missing / self._limits.shift + (self._costs.broken_rule if beyond > 0 else 0.0)

# ruff: noqa: RUF001 (the marks of other writings are meant)
"""Subtitles: SubRip (.srt) and WebVTT (.vtt), cut from the words so that they read well.

Guarantees, whatever the words and their times: every word is shown once, in order; a cue has at most `Limits.lines`
lines of at most `Limits.line` columns; cues are at least 1 ms long and never overlap; text cannot end a cue or open a
tag. And, whatever the words, if their times are such as speech has: no cue is longer than `Limits.longest`, begins
more than `Limits.shift` away from its first word or stands for more than `Limits.silence` without a word.

Where the cuts fall is chosen for the whole stretch between two silences at once: of all ways to divide its words
into cues, the one of least cost, found by dynamic programming (as Knuth and Plass did for the lines of a paragraph).
A cue costs what `_Cutter._cost` says. Then the times are set: cues begin with their first word, and those that need
more time to be read take it from the silence after them, or move a neighbour by up to `Limits.shift`.

When somebody speaks faster than can be read, something gives way, in this order: the comfortable speed; the exact
beginning, by up to `Limits.shift`; `Limits.fastest`; last of all `Limits.shortest`. Words, their order, the lines,
the gaps and the longest time never do. Two people who speak at once are shown one after the other.

WebVTT: W3C, "WebVTT: The Web Video Text Tracks Format", cue text and voice spans. SubRip has no standard.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.spoken import milliseconds, stamp, utterances
from dropscribe.formats.writing import SENTENCE, belongs, breakable, ideographic, seam, signs, width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Limits:
    """What a subtitle may be. Times in milliseconds. A letter is a column, a full-width sign two, a mark above none.

    Sources: [N] Netflix, "Timed Text Style Guide: General Requirements", "Subtitle Timing Guidelines" and the guides
    of the languages; [B] BBC, "Subtitle Guidelines"; [S] Szarkowska and Gerber-Morón, "Viewers can keep up with fast
    subtitles", PLoS ONE 13(6), 2018, who tested 12, 16 and 20 characters a second.
    """

    lines: int = 2
    """Lines of a cue [N, B]."""
    line: int = 42
    """Columns of a line [N]."""
    shortest: int = 1000
    """Shortest time a cue stands; [N] allows 5/6 s."""
    longest: int = 7000
    """Longest time a cue stands [N]."""
    comfortable: float = 15.0
    """Columns a second that are aimed at; about the 160 to 180 words a minute of [B]."""
    fastest: float = 20.0
    """Columns a second that are not exceeded [N for adults, S]."""
    gap: int = 83
    """Least time between two cues: two frames at 24 a second, so that the eye sees the change [N]."""
    jerky: int = 1000
    """A shorter gap than this is closed to `gap`: it would flicker [B 4.5; N closes up to half a second]."""
    silence: int = 1000
    """Longest time a cue stands without a word: a longer pause ends it, and it stays no longer after the last one.

    [B] allows 1.5 s, [N] half a second; a cue of one short word needs nearly one to reach `shortest`.
    """
    shift: int = 250
    """How far a cue may begin before or after its first word, when reading needs it: 6 frames; [B] allows 1.5 s."""

    def within(self, language: str) -> Limits:
        """Return the limits of a language where they are tighter than these."""
        line, fastest = _LANGUAGES.get(language, (self.line, self.fastest))
        return dataclasses.replace(
            self,
            line=min(self.line, line),
            fastest=min(self.fastest, fastest),
            comfortable=min(self.comfortable, fastest * 0.75),
        )


_LANGUAGES = {
    "zh": (32, 18.0),
    "yue": (32, 18.0),
    "ja": (26, 20.0),
    "ko": (32, 20.0),
    "th": (35, 20.0),
}
"""Columns of a line and columns a second, by language, from [N]: 16 full-width signs a line and 9 a second in
Chinese, 16 a line in Korean, 13 a line in Japanese, 35 columns in Thai. Netflix's 4 signs a second in Japanese are
for translations, which may leave out; words as they were spoken cannot keep them."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Text that is shown."""

    start: int
    """Milliseconds."""
    end: int
    """Milliseconds, after `start`."""
    lines: tuple[str, ...]
    """At least one, none of them empty."""
    speaker: str | None = None


def srt(transcript: Transcript) -> str:
    """Return SubRip text; a change of speaker is written as `Name: ` before the words."""
    return "".join(
        f"{number}\n{stamp(cue.start, ',')} --> {stamp(cue.end, ',')}\n{_srt_safe(cue.lines)}\n\n"
        for number, cue in enumerate(cues(transcript, labelled=True), 1)
    )


def vtt(transcript: Transcript) -> str:
    """Return WebVTT text; speakers are voices (`<v Name>`); `&`, `<` and `>` are written as character references."""
    body = "".join(
        f"{stamp(cue.start, '.')} --> {stamp(cue.end, '.')}\n{_voice(cue.speaker)}{_vtt_safe(cue.lines)}\n\n"
        for cue in cues(transcript)
    )
    return f"WEBVTT\n\n{body}"


def cues(transcript: Transcript, limits: Limits | None = None, *, labelled: bool = False) -> list[Cue]:
    """Return the subtitles of a transcript.

    Args:
        transcript: what was said. Segments without words get times from their own.
        limits: what a cue may be; by default those of the sources, tighter where the language has tighter ones.
        labelled: write each change of speaker as `Name: ` in the text.
    """
    limits = Limits().within(transcript.language) if limits is None else limits
    shown: list[_Draft] = []
    for atoms, following in _stretches(_atoms(transcript, limits, labelled), limits):
        shown.extend(_Cutter(atoms, following, limits).cut())
    return _timed(shown, limits)


# The words.


@dataclass(slots=True)
class _Atom:
    """What is never cut: a word with the marks that belong to it, or a sign of a writing without spaces."""

    text: str
    start: int
    end: int
    spaced: bool
    speaker: str | None
    turn: bool = False
    """Somebody else begins to speak here."""
    opens: bool = False
    """A segment begins here."""
    width: int = 0


def _atoms(transcript: Transcript, limits: Limits, labelled: bool) -> list[_Atom]:
    atoms: list[_Atom] = []
    for said in utterances(transcript):
        turn = not atoms or said.speaker != atoms[-1].speaker
        for i, token in enumerate(said.tokens):
            atom = _Atom(token.text, milliseconds(token.start), milliseconds(token.end), token.spaced, said.speaker)
            if i == 0:
                atom.turn, atom.opens = turn, True
                atom.spaced = not (atoms and ideographic(atoms[-1].text[-1]) and ideographic(atom.text[0]))
                if labelled and turn and said.speaker:
                    atom.text = f"{said.speaker}: {atom.text}"
            elif belongs(atoms[-1].text, token.text, spaced=token.spaced):
                last = atoms[-1]
                last.text += f" {token.text}" if token.spaced else token.text
                last.end = max(last.end, atom.end)
                continue
            atoms.append(atom)
    whole = list(itertools.chain.from_iterable(_chopped(atom, limits.line) for atom in atoms))
    _in_order(whole)
    return whole


def _in_order(atoms: list[_Atom]) -> None:
    """Let no atom begin before the one before it, nor last into the next."""
    for a, b in itertools.pairwise(atoms):
        b.start = max(a.start, b.start)
        b.end = max(b.start, b.end)
        if b.start > a.start:
            a.end = min(a.end, b.start)


def _chopped(atom: _Atom, line: int) -> Iterator[_Atom]:
    """Yield an atom whole, or in parts where it is wider than a line: at spaces, else between signs."""
    atom.width = width(atom.text)
    if atom.width <= line:
        yield atom
        return
    parts: list[str] = []
    for sign in signs(atom.text):
        if parts and width(parts[-1] + sign) <= line:
            parts[-1] += sign
        elif parts and " " in parts[-1].rstrip() and not sign.startswith(" "):
            head, _, tail = parts[-1].rpartition(" ")
            parts[-1:] = [head + " ", tail + sign]
        else:
            parts.append(sign)
    total, done = sum(map(len, parts)), 0
    for i, part in enumerate(parts):
        start = atom.start + (atom.end - atom.start) * done // total
        done += len(part)
        end = atom.start + (atom.end - atom.start) * done // total
        spaced = atom.spaced if i == 0 else parts[i - 1].endswith(" ") or part.startswith(" ")
        text = part.strip(" ")
        if text:
            yield _Atom(
                text, start, end, spaced, atom.speaker, atom.turn and i == 0, atom.opens and i == 0, width(text)
            )


# The cuts.

_PHRASE = frozenset(",;:–—،؛、，；：·")
_AROUND = "\"'”’»›)]}」』）】〉》"
_JOINING = {
    *("and", "but", "or", "because", "so", "that", "which", "who", "when", "while", "if"),
    *("et", "mais", "ou", "parce", "que", "qui", "quand", "si", "donc"),
    *("y", "pero", "o", "porque", "cuando", "pues", "mas"),
    *("e", "ma", "perché", "che", "quando", "se", "quindi"),
    *("und", "aber", "oder", "weil", "dass", "wenn", "en", "maar", "of", "omdat", "dat", "als"),
    *("и", "но", "а", "или", "потому", "что", "когда", "если", "чтобы", "который"),
}
"""Conjunctions of the languages measured, and of their neighbours: a line is best broken before them [N]."""

_NEVER = math.inf
_BROKEN = 30.0
"""Cost of breaking a rule: more than any cut inside a phrase, less than a hail of them."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A cue with the times of its words."""

    lines: tuple[str, ...]
    start: int
    end: int
    width: int
    speaker: str | None


def _stretches(atoms: list[_Atom], limits: Limits) -> Iterator[tuple[list[_Atom], int | None]]:
    """Yield the atoms between two silences or changes of speaker, over which no cue may reach, and when what follows
    begins: the last cue must be gone by then.
    """
    first = 0
    for i in range(1, len(atoms)):
        if atoms[i].turn or atoms[i].start - atoms[i - 1].end >= limits.silence:
            yield atoms[first:i], atoms[i].start
            first = i
    if atoms:
        yield atoms[first:], None


class _Cutter:
    """Divides one stretch of speech into cues of least cost."""

    def __init__(self, atoms: list[_Atom], following: int | None, limits: Limits) -> None:
        self._atoms, self._following, self._limits = atoms, following, limits
        # reach[j] is the column where atom j - 1 ends when the whole stretch is one line.
        self._reach = [0]
        for atom in self._atoms:
            self._reach.append(self._reach[-1] + atom.spaced + atom.width)
        self._rest = [self._boundary(i) for i in range(len(self._atoms))]
        # Sentences that end before atom i.
        ends = (a.text.rstrip(_AROUND)[-1:] in SENTENCE for a in self._atoms)
        self._sentences = [0, *itertools.accumulate(ends)]

    def cut(self) -> list[_Draft]:
        atoms, limits = self._atoms, self._limits
        count = len(atoms)
        best = [0.0] + [_NEVER] * count
        chosen: list[tuple[int, tuple[int, ...]]] = [(0, ())] * (count + 1)
        for j in range(1, count + 1):
            for i in range(j - 1, -1, -1):
                alone = i == j - 1
                if not alone and (
                    self._width(i, j) > limits.lines * (limits.line + 1)
                    or atoms[j - 1].end - atoms[i].start > limits.longest
                ):
                    break
                total = best[i] + self._cost(i, j)
                if total < best[j]:  # lines only add to it
                    breaks, uneven = self._layout(i, j, limits.lines)
                    if total + uneven < best[j]:
                        best[j], chosen[j] = total + uneven, (i, breaks)
        found = []
        j = count
        while j:
            i, breaks = chosen[j]
            found.append(self._draft(i, j, breaks))
            j = i
        return found[::-1]

    def _draft(self, i: int, j: int, breaks: tuple[int, ...]) -> _Draft:
        edges = (i, *breaks, j)
        lines = tuple(self._text(a, b) for a, b in itertools.pairwise(edges))
        first, last = self._atoms[i], self._atoms[j - 1]
        return _Draft(lines, first.start, last.end, self._width(i, j), first.speaker)

    def _text(self, i: int, j: int) -> str:
        return "".join(f" {a.text}" if a.spaced and k else a.text for k, a in enumerate(self._atoms[i:j]))

    def _width(self, i: int, j: int) -> int:
        return self._reach[j] - self._reach[i] - self._atoms[i].spaced

    def _boundary(self, i: int) -> float:
        """Return what it costs to end a line or a cue after atom `i`: nothing where a sentence ends."""
        text = self._atoms[i].text
        bare = text.rstrip(_AROUND)
        mark = bare[-1:] or text[-1]
        if mark in SENTENCE or i + 1 == len(self._atoms):
            return 0.0
        following = self._atoms[i + 1]
        if mark in _PHRASE:
            cost = 1.0
        elif not following.spaced:
            cost = 4.0 + seam(text[-1], following.text[0])
        elif breakable(text[-1]):
            cost = 1.0  # where words have no spaces between them, a space is what a comma is elsewhere
        else:
            cost = 4.0
            # Short words are articles and prepositions in the languages that have them: they belong to the next.
            if len(bare) <= 3 and bare.isalpha():
                cost += 2.0
            if following.text.lower() in _JOINING:
                cost -= 1.5
        if following.opens:
            cost -= 1.0
        # A pause to breathe divides what is said as well as a comma does.
        return max(0.2, cost - (following.start - self._atoms[i].end) / 150)

    def _layout(self, i: int, j: int, lines: int) -> tuple[tuple[int, ...], float]:
        """Return the best places to break atoms `i` to `j` into lines, and their cost: one line where it fits."""
        line = self._limits.line
        if self._width(i, j) <= line:
            return (), 0.0
        best: tuple[tuple[int, ...], float] = (), _NEVER
        if lines < 2:
            return best
        # What is above this leaves more than the lines below can hold.
        highest = bisect_left(self._reach, self._reach[j] - (lines - 1) * (line + 1), i + 1, j)
        for k in range(highest, j):
            upper = self._width(i, k)
            if upper > line:
                break
            below, cost = self._layout(k, j, lines - 1)
            if cost == _NEVER:
                continue
            lower = self._width(k, below[0] if below else j)
            longer, shorter = max(upper, lower), min(upper, lower)
            if self._sentences[k] == self._sentences[k - 1]:
                cost += 1.0
            cost += 0.5 * self._rest[k - 1] + 4.0 * (longer - shorter) / longer
            if shorter * 2 < longer:
                cost += 20.0  # an orphan looks like a mistake
            if cost < best[1]:
                best = (k, *below), cost
        return best

    def _cost(self, i: int, j: int) -> float:
        """Return the cost of showing atoms `i` to `j` as one cue, but for its lines."""
        limits, atoms = self._limits, self._atoms
        first, last = atoms[i], atoms[j - 1]
        cost = 3.0 + 1.5 * self._rest[j - 1]
        # One sentence a cue reads best [B 3.2]; short ones go together (best on a line each: `_layout`).
        cost += 4.0 * (self._sentences[j - 1] - self._sentences[i])
        following = atoms[j].start if j < len(atoms) else self._following
        room = min(last.end + limits.silence, first.start + limits.longest)
        if following is not None:
            room = min(room, following - limits.gap)
        room -= first.start
        width = self._width(i, j)
        cost += self._lack(width * 1000 / limits.fastest - room)
        # A flash is worse than haste.
        cost += 3.0 * self._lack(limits.shortest - room)
        cost += max(0.0, width * 1000 / limits.comfortable - room) / 500
        if room < 2 * limits.shortest:
            cost += (2 * limits.shortest - room) / 500
        return cost

    def _lack(self, missing: float) -> float:
        """Return the cost of `missing` milliseconds: a neighbour may give `Limits.shift`; more breaks a rule."""
        if missing <= 0:
            return 0.0
        beyond = missing - self._limits.shift
        return 4.0 * missing / self._limits.shift + (_BROKEN if beyond > 0 else 0.0)


# The times.


def _timed(drafts: list[_Draft], limits: Limits) -> list[Cue]:
    """Set when cues appear and go.

    Backwards, `latest[k]` is the latest that cue k may begin if all after it are to have the time they need;
    forwards, each begins with its first word if it can. That keeps all needs wherever `Limits.shift` allows it.
    """
    needs = [max(limits.shortest, math.ceil(d.width * 1000 / limits.fastest)) for d in drafts]
    latest = [d.start + limits.shift for d in drafts]
    for k in range(len(drafts) - 2, -1, -1):
        fits = latest[k + 1] - limits.gap - needs[k]
        # Where even the earliest beginning is too late it would only take time from the cue before: exact, then.
        latest[k] = min(latest[k], fits if fits >= max(0, drafts[k].start - limits.shift) else drafts[k].start)
    found: list[Cue] = []
    for k, draft in enumerate(drafts):
        free = found[-1].end + limits.gap if found else 0
        start = max(free, min(draft.start, latest[k]))
        if found and start - draft.start > limits.shift:
            # The words' times are out of order or too dense for gaps: then cues follow at once.
            start = max(found[-1].end, min(start, draft.start))
        needed = start + needs[k]
        end = max(draft.end, needed, start + math.ceil(draft.width * 1000 / limits.comfortable))
        end = min(end, max(draft.end + limits.silence, start + 1), start + limits.longest)
        if k + 1 < len(drafts):
            wanted = min(drafts[k + 1].start, latest[k + 1]) - limits.gap
            end = min(end, max(wanted, min(needed, latest[k + 1] - limits.gap)))
            if 0 < wanted - end < limits.jerky - limits.gap:
                # Close the gap, or else make it long enough to be seen as one.
                closes = wanted <= min(draft.end + limits.silence, start + limits.longest)
                end = wanted if closes else max(min(needed, end), draft.end, wanted + limits.gap - limits.jerky)
        end = max(end, start + 1)
        found.append(Cue(start, end, draft.lines, draft.speaker))
    return found


# The files.

_POINTED = str.maketrans("<>{}\\", "\u2039\u203a()/")
"""SubRip has no escape, and players take `<i>`, `{\\an8}` and `\\N` for commands: other signs stand for theirs."""


def _srt_safe(lines: tuple[str, ...]) -> str:
    return "\n".join(map(_directed, lines)).translate(_POINTED)


def _directed(line: str) -> str:
    """Return a line of Arabic or Hebrew marked as right-to-left; other lines as they are.

    Players lay SubRip out from the left, which puts a full stop at the wrong end (UAX 9: U+202B embeds, U+202C ends).
    WebVTT needs no marks: there each cue takes its direction from its first letter.
    """
    strong = next((kind for kind in map(unicodedata.bidirectional, line) if kind in {"L", "R", "AL"}), "L")
    return line if strong == "L" else f"\u202b{line}\u202c"


def _vtt_safe(lines: tuple[str, ...]) -> str:
    return _escape("\n".join(lines))


def _voice(speaker: str | None) -> str:
    return f"<v {_escape(speaker)}>" if speaker else ""


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""The words of a transcript as the pieces that no cut divides, for `cutting`.

Guarantees: joined, the atoms are the words, each once and in order; no atom is wider than a line;
none begins before the one before it, nor lasts into the next.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.line_breaking import count_columns, forbids_break, is_ideographic, split_graphemes
from dropscribe.formats.phrases import PhraseSplitter
from dropscribe.formats.times import to_milliseconds
from dropscribe.formats.utterances import split_utterances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.formats.cues.limits import Limits
    from dropscribe.formats.utterances import Utterance
    from dropscribe.transcript import Transcript


@dataclass(slots=True)
class Atom:
    """What is never cut: a word with the marks that stay with it, or a sign of a writing system
    without spaces.
    """

    text: str
    start: int
    """Milliseconds, as all times here."""
    end: int
    spaced: bool
    """Whether there is a space before it."""
    speaker: str | None
    language: str | None
    turn: bool = False
    """Somebody else begins to speak here."""
    opens: bool = False
    """A segment begins here."""
    phrase: bool | None = None
    """Whether a phrase begins here; None where the language's phrases are not known."""
    width: int = 0
    """Columns."""
    sure: float = 1.0
    """How sure its times are, 0 to 1."""


def make_atoms(transcript: Transcript, limits: Limits, *, labelled: bool) -> list[Atom]:
    """Return the atoms of a transcript; `labelled` writes each change of speaker as `Name: `."""
    phrases = PhraseSplitter(transcript)
    atoms: list[Atom] = []
    for said in split_utterances(transcript):
        turn = not atoms or said.speaker != atoms[-1].speaker
        for i, atom in enumerate(_read_tokens(said, phrases)):
            if i == 0:
                atom.turn, atom.opens = turn, True
                atom.spaced = not (atoms and is_ideographic(atoms[-1].text[-1]) and is_ideographic(atom.text[0]))
                if labelled and turn and said.speaker:
                    atom.text = f"{said.speaker}: {atom.text}"
            elif forbids_break(atoms[-1].text, atom.text, spaced=atom.spaced):
                last = atoms[-1]
                last.text += f" {atom.text}" if atom.spaced else atom.text
                last.end = max(last.end, atom.end)
                continue
            atoms.append(atom)
    fitting = list(itertools.chain.from_iterable(_fit_to_line(atom, limits.line, phrases) for atom in atoms))
    _put_in_order(fitting)
    return fitting


def _read_tokens(said: Utterance, phrases: PhraseSplitter) -> Iterator[Atom]:
    """Yield an atom for each token of an utterance, which knows whether a phrase begins with it."""
    found = phrases.split(said.text, said.language)
    begins = None if found is None else {0, *itertools.accumulate(map(len, found))}
    at = 0
    for i, token in enumerate(said.tokens):
        at += token.spaced and i > 0
        yield Atom(
            token.text,
            to_milliseconds(token.start),
            to_milliseconds(token.end),
            token.spaced,
            said.speaker,
            said.language,
            phrase=None if begins is None else at in begins,
            sure=token.sure,
        )
        at += len(token.text)


def _fit_to_line(atom: Atom, line: int, phrases: PhraseSplitter) -> Iterator[Atom]:
    """Yield an atom whole, or in parts where it is wider than a line: phrases, else what is
    between spaces, else as many graphemes as a line holds. The parts share its time by their
    length.
    """
    atom.width = count_columns(atom.text)
    if atom.width <= line:
        yield atom
        return
    parts: list[tuple[str, bool | None]] = []
    for phrase in _split_phrases(atom, phrases):
        first, *rest = _fill_lines(phrase, line)
        known = atom.phrase is not None
        parts += [(first, True if known else None), *((part, False if known else None) for part in rest)]
    total, done = sum(len(part) for part, _ in parts), 0
    for i, (part, phrase_begins) in enumerate(parts):
        start = atom.start + (atom.end - atom.start) * done // total
        done += len(part)
        end = atom.start + (atom.end - atom.start) * done // total
        text = part.strip(" ")
        if text:
            yield Atom(
                text,
                start,
                end,
                spaced=atom.spaced if i == 0 else parts[i - 1][0].endswith(" ") or part.startswith(" "),
                speaker=atom.speaker,
                language=atom.language,
                turn=atom.turn and i == 0,
                opens=atom.opens and i == 0,
                phrase=atom.phrase if i == 0 else phrase_begins,
                width=count_columns(text),
            )


def _split_phrases(atom: Atom, phrases: PhraseSplitter) -> list[str]:
    """Return the phrases of an atom, none of them parted from a mark that stays with it."""
    found: list[str] = []
    for phrase in phrases.split(atom.text, atom.language) or [atom.text]:
        if found and forbids_break(found[-1], phrase, spaced=False):
            found[-1] += phrase
        else:
            found.append(phrase)
    return found


def _fill_lines(text: str, line: int) -> list[str]:
    """Return a text in parts that fit on a line: cut at spaces, else between graphemes."""
    parts: list[str] = []
    for sign in split_graphemes(text):
        if parts and count_columns(parts[-1] + sign) <= line:
            parts[-1] += sign
        elif parts and " " in parts[-1].rstrip() and not sign.startswith(" "):
            head, _, tail = parts[-1].rpartition(" ")
            parts[-1:] = [head + " ", tail + sign]
        else:
            parts.append(sign)
    return parts


def _put_in_order(atoms: list[Atom]) -> None:
    """Let no atom begin before the one before it, nor last into the next."""
    for a, b in itertools.pairwise(atoms):
        b.start = max(a.start, b.start)
        b.end = max(b.start, b.end)
        if b.start > a.start:
            a.end = min(a.end, b.start)

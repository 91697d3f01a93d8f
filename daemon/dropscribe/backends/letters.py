"""A finished text with the first and the last letter of each word apart, so that the decoder's
attention shows the edges of its words.

Given in the pieces that Whisper writes, a word is one or two tokens, and the attention to the sound
says little about where they begin. Given as single letters, the same decoder goes through the sound
with them. The idea is from "Whisper Has an Internal Word Aligner" (arXiv 2509.09987). Only the edges
of a word are asked for, so what is between its first and its last letter stays in pieces: as exact,
for two thirds of the time.

Pure functions, the same for every engine.
"""

from __future__ import annotations

import itertools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOKEN_SECONDS = 0.02
"""One step of the encoder, to which the attention goes."""
MEDIAN_WIDTH = 3
"""Steps of 20 ms of the median that smooths the attention, instead of Whisper's 7: a letter lasts
50 to 100 ms, and more would blur it."""

_LEAST_ROOM = 0.25
"""Share of the decoder's context that must be left for letters. A text that leaves less is a loop,
and each of its parts would time a few words only."""


@dataclass(frozen=True, slots=True)
class SpelledPart:
    """A whole text, some pieces of which are spelled."""

    tokens: list[int]
    first: int
    """The first piece that is spelled."""
    edges: list[int]
    """Where each spelled piece begins in `tokens`, and at last where the last one ends."""


def spell_text(
    texts: Sequence[str], pieces: Sequence[Sequence[int]], encode: Callable[[str], list[int]], room: int
) -> list[SpelledPart]:
    """Return the text with its pieces spelled; in parts where not all fit into the context at once.

    Each part is the whole text, so all of its sound has its words; the parts spell one run of
    pieces after the other, and together all of them.

    Args:
        texts: The pieces as the tokenizer's `split_to_word_tokens` gives them.
        pieces: Their tokens.
        encode: Text to tokens.
        room: Tokens that the decoder takes.
    """
    spelled = [_spell_piece(text, tokens, encode) for text, tokens in zip(texts, pieces, strict=True)]
    written = sum(map(len, pieces))
    if room - written < _LEAST_ROOM * room and sum(map(len, spelled)) > room:
        spelled = [list(tokens) for tokens in pieces]
    parts: list[SpelledPart] = []
    first = 0
    while first < len(pieces):
        length, last = written, first
        while last < len(pieces):
            length += len(spelled[last]) - len(pieces[last])
            if length > room and last > first:
                break
            last += 1
        before = list(itertools.chain.from_iterable(pieces[:first]))
        edges = list(itertools.accumulate(map(len, spelled[first:last]), initial=len(before)))
        after = itertools.chain.from_iterable([*spelled[first:last], *pieces[last:]])
        parts.append(SpelledPart([*before, *after], first, edges))
        first = last
    return parts


def _spell_piece(text: str, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> list[int]:
    """Return the tokens of a piece: its first letter, what is between, its last letter.

    What is not spoken letter by letter stays as it is: figures, signs, and letters cut apart.
    """
    plain = text.strip()
    if not any(map(str.isalpha, plain)) or any(map(str.isdigit, plain)) or "\ufffd" in plain:
        return list(tokens)
    letters = split_letters(plain)
    if len(letters) > 3:
        letters = [letters[0], "".join(letters[1:-1]), letters[-1]]
    letters[0] = text[: len(text) - len(text.lstrip())] + letters[0]
    return [token for letter in letters for token in encode(letter)]


def split_letters(text: str) -> list[str]:
    """Return the letters of a text, each with the marks that combine with it."""
    letters: list[str] = []
    for character in text:
        if letters and unicodedata.category(character).startswith("M"):
            letters[-1] += character
        else:
            letters.append(character)
    return letters

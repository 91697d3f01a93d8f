"""How long each word usually takes to say, at the pace of its window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.worker.word_times.sentences import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.segmentation import SoundSegment


@dataclass(frozen=True, slots=True)
class PaceTuning:
    """Weights of words, in Latin letters, and the limits of the pace, in seconds a letter."""

    word: float = 2.5
    """Every word, on top of its letters: the shortest ones take a syllable as well."""
    letter: float = 1.0
    digit: float = 4.0
    """A digit is a word when spoken, and so is each letter of `PBX`, and `Z` within a sentence."""
    wide_letter: float = 2.5
    """A letter from U+2E80 on: a Chinese letter is a word or a syllable."""
    first_wide: int = 0x2E80
    fastest: float = 0.04
    slowest: float = 0.12
    drawn_out: float = 1.35
    """Times what the slowest pace makes of it that a word may last."""
    longest: float = 1.0
    """Seconds that any word may last: a short one, drawn out by somebody who thinks."""


PACE = PaceTuning()


def estimate_durations(words: Sequence[Word], segments: Sequence[SoundSegment]) -> NDArray[np.float64]:
    """Return the seconds that each word usually takes when all of them fill these segments; shape
    (words,).
    """
    first = [True, *(word.word.rstrip()[-1:] in RULES.stops for word in words)]
    weights = np.array([_weigh_word(word.word, is_first=start) for word, start in zip(words, first, strict=False)])
    stretches = segments or words  # without segments the pauses that the engine took in are small
    length = sum(stretch.end - stretch.start for stretch in stretches)
    pace = min(max(length / max(1.0, float(weights.sum())), PACE.fastest), PACE.slowest)
    return weights * pace


def estimate_longest(word: str) -> float:
    """Return the seconds that a word may last; what is longer has other sound in it."""
    return max(PACE.longest, PACE.drawn_out * PACE.slowest * _weigh_word(word))


def _weigh_word(word: str, *, is_first: bool = True) -> float:
    """Return the weight of a word; `is_first` in its sentence, where a capital letter need not be the
    name of one.
    """
    letters = [letter for letter in word if letter.isalnum()]
    is_alone = len(letters) == 1 and (is_first or letters[0] == "I")  # the English word
    is_spelled = bool(letters) and not is_alone and all(map(str.isupper, letters))
    return PACE.word + sum(PACE.digit if is_spelled else _weigh_letter(letter) for letter in letters)


def _weigh_letter(letter: str) -> float:
    if letter.isdigit():
        return PACE.digit
    return PACE.wide_letter if ord(letter) >= PACE.first_wide else PACE.letter

# ruff: noqa: RUF001 (the marks of other writing systems are meant)
"""How wide text is and where a line may end, in the world's writing systems, for subtitles.

Guarantees: no break parts a grapheme (what a reader sees as one sign), nor a closing mark from
what it closes.

Width and graphemes are wcwidth's (Unicode's UAX 11 and UAX 29). The rules of line breaking are our
own: Unicode's (UAX 14) say where a line may end but not where it ends well, and leave Thai and its
neighbours to a dictionary. What is left of them for the text of speech recognition is the few sets
below. `phrases` knows better places for Japanese, Chinese and Thai.

wcwidth is imported on the first text that needs it: its tables take 8 MB, which a daemon that
transcribes English or French should not carry.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SENTENCE_ENDS = frozenset(".?!…。！？．؟۔।॥։።")
"""Marks that end a sentence."""

_CLOSING = frozenset("?!:;,.%»›…")
"""Besides what is closing by category: marks that stay with the word before them even after a
space, as in French."""
_NEVER_FIRST = frozenset(
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーｰ々〻ゝゞヽヾ・〜ะาำๅๆฯะາຳໆ、。，．：；？！"
)
"""No line begins with these: small kana, marks of length and repetition (W3C, "Requirements for
Japanese Text Layout", 3.1.7), Thai and Lao vowels that follow their consonant."""
_NEVER_LAST = frozenset("เแโใไເແໂໃໄ")
"""No line ends with these: Thai and Lao vowels that are written before their consonant."""

_NARROW = re.compile("[\x20-\x7e\u00a0-\u02ff\u0391-\u03a1\u03a3-\u0482\u2010-\u2027]*")
"""Text of Latin, Greek and Cyrillic letters and usual punctuation: each character is one grapheme
of one column."""

_LONGEST_GRAPHEME = 64
"""Characters that are looked at for the last grapheme of a text: what grows token by token stays
linear."""


def count_columns(text: str) -> int:
    """Return the columns a text takes: two for a full-width sign or emoji, none for a mark."""
    if _NARROW.fullmatch(text):
        return len(text)
    import wcwidth

    return wcwidth.width(text, control_codes="ignore")


def split_graphemes(text: str) -> Iterable[str]:
    """Return the signs a reader sees: a letter with its marks, a flag, a family of emoji."""
    if _NARROW.fullmatch(text):
        return text
    import wcwidth

    return wcwidth.iter_graphemes(text)


def forbids_break(before: str, after: str, *, spaced: bool) -> bool:
    """Return whether two words stay together, so that no line may end between them.

    Args:
        before: what was written. Not empty.
        after: the word that follows. Not empty.
        spaced: whether there is a space between the two.
    """
    first = after[0]
    if spaced:
        return all(c in _CLOSING or unicodedata.category(c) in {"Pe", "Pf"} for c in after) or (
            unicodedata.category(before[-1]) in {"Ps", "Pi"}
        )
    *_, sign = split_graphemes(before[-_LONGEST_GRAPHEME:])
    if len(list(split_graphemes(sign + first))) == 1:
        return True
    last = sign[0]
    if first in _NEVER_FIRST or last in _NEVER_LAST or unicodedata.category(last) in {"Ps", "Pi"}:
        return True
    if unicodedata.category(first) in {"Pe", "Pf"} or first in _CLOSING:
        return True
    return not (breaks_without_space(last) or breaks_without_space(first))


def is_ideographic(character: str) -> bool:
    """Return whether a character is Chinese or Japanese, which put no spaces between words, or one
    of their marks.
    """
    return unicodedata.east_asian_width(character) in "WF" and not "\uac00" <= character <= "\ud7a3"


def breaks_without_space(character: str) -> bool:
    """Return whether a line may end next to a character without a space: Han, kana, Thai, Lao,
    Khmer and others.

    In Thai and its neighbours that is right between words only, which takes a dictionary. Where
    `phrases` has none, the model's own tokens are taken for words.
    """
    return (
        is_ideographic(character)
        or "\u0e00" <= character <= "\u0fff"
        or "\u1000" <= character <= "\u109f"
        or "\u1780" <= character <= "\u17ff"
    )


def rate_break(before: str, after: str) -> float:
    """Return how bad a break between two characters without a space is likely to be: 0 is good, 2
    unsure, 12 bad.

    For text of a language that `phrases` does not know. Japanese phrases mostly begin with kanji
    or katakana and end in hiragana; a run of katakana is one word, and the honorific prefixes
    belong to what follows.
    """
    if before in "おご御":
        return 12.0
    kinds = _find_script(before), _find_script(after)
    if kinds in {("hiragana", "kanji"), ("hiragana", "katakana")}:
        return 0.0
    return 12.0 if kinds == ("katakana", "katakana") else 2.0


def _find_script(character: str) -> str:
    if "\u3040" <= character <= "\u309f":
        return "hiragana"
    if "\u30a0" <= character <= "\u30ff":
        return "katakana"
    return "kanji" if "\u4e00" <= character <= "\u9fff" else "other"

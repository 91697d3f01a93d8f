# ruff: noqa: RUF001 (the marks of other writings are meant)
"""How text looks and where it may be broken, in the writings of the world, as far as subtitles need it.

Guarantees: a letter is never parted from its marks, nor a closing mark from what it closes. Not the whole of
Unicode's line breaking (UAX 14), of which the standard library knows nothing: what speech recognition writes.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def signs(text: str) -> Iterator[str]:
    """Yield what a reader sees as one sign: a letter with its marks, an emoji with what is joined to it."""
    sign = ""
    for character in text:
        if sign and not (_rides(character) or sign.endswith("\u200d")):
            yield sign
            sign = ""
        sign += character
    yield sign


def _rides(character: str) -> bool:
    return unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"} or "\U0001f3fb" <= character <= "\U0001f3ff"


def width(text: str) -> int:
    """Return the columns a text takes: two for a full-width sign, none for a mark that stands on another."""
    if text.isascii():
        return len(text)
    marks = {"Mn", "Me", "Cf"}
    return sum((1 + (unicodedata.east_asian_width(c) in "WF")) for c in text if unicodedata.category(c) not in marks)


SENTENCE = frozenset(".?!…。！？．؟۔।॥։።")
"""Marks that end a sentence."""
_CLOSING = frozenset("?!:;,.%»›…")
"""With what is closing by category: marks that belong to the word before them even after a space, as in French."""
_BOUND = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーｰ々〻ゝゞヽヾ・〜ะาำๅๆฯะາຳໆ、。，．：；？！")
"""No line begins with these: small kana, marks of length and repetition (W3C, "Requirements for Japanese Text
Layout", 3.1.7), Thai and Lao vowels that follow their consonant."""
_LEADING = frozenset("เแโใไເແໂໃໄ")
"""Thai and Lao vowels that are written before their consonant."""


def belongs(before: str, after: str, *, spaced: bool) -> bool:
    """Return whether two words go together, so that no line may end between them.

    Args:
        before: what was written.
        after: the word that follows.
        spaced: whether a space stands between the two.
    """
    first = after[0]
    if spaced:
        return all(c in _CLOSING or unicodedata.category(c) in {"Pe", "Pf"} for c in after) or (
            unicodedata.category(before[-1]) in {"Ps", "Pi"}
        )
    last = next((c for c in reversed(before) if not _rides(c)), before[-1])
    if _rides(first) or first in _BOUND or last in _LEADING or unicodedata.category(last) in {"Ps", "Pi"}:
        return True
    if unicodedata.category(first) in {"Pe", "Pf"} or first in _CLOSING:
        return True
    return not (breakable(last) or breakable(first))


def ideographic(character: str) -> bool:
    """Return whether a character is of Chinese or Japanese, which put no spaces between words, or their signs."""
    return unicodedata.east_asian_width(character) in "WF" and not "\uac00" <= character <= "\ud7a3"


def breakable(character: str) -> bool:
    """Return whether a line may end beside a character without a space: Han, kana, Thai, Lao, Khmer and others.

    In Thai and its neighbours that is right between words only, which takes a dictionary; the model's own tokens are
    taken for them.
    """
    return (
        ideographic(character)
        or "\u0e00" <= character <= "\u0fff"
        or "\u1000" <= character <= "\u109f"
        or "\u1780" <= character <= "\u17ff"
    )


def seam(before: str, after: str) -> float:
    """Return how bad a break between two characters without a space is likely to be: 0 is good, 2 in doubt, 12 bad.

    Japanese phrases mostly begin with kanji or katakana and end in hiragana; a run of katakana is one word, and the
    honorific prefixes belong to what follows.
    """
    if before in "おご御":
        return 12.0
    kinds = _kind(before), _kind(after)
    if kinds in {("hiragana", "kanji"), ("hiragana", "katakana")}:
        return 0.0
    return 12.0 if kinds == ("katakana", "katakana") else 2.0


def _kind(character: str) -> str:
    if "\u3040" <= character <= "\u309f":
        return "hiragana"
    if "\u30a0" <= character <= "\u30ff":
        return "katakana"
    return "kanji" if "\u4e00" <= character <= "\u9fff" else "other"

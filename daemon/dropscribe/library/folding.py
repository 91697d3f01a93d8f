"""Text as it is looked for: without case and accents, cut into tokens.

Guarantees: what was indexed and what is looked for go through the same function; no dictionary decides what can be
found. Writing systems without spaces (Han, kana, Thai, Lao, Khmer, Burmese) are cut into single signs, and Korean
into syllables, so that any part of a text is found as a phrase of signs.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u1100-\u11ff\uac00-\ud7a3"  # Korean
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana, marks of repetition
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han
)
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0dff"  # the scripts of India: vowels are marks there
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a"
)
"""What stands in a word without being a letter to Python's `\\w`."""
_TOKEN = re.compile(f"[{_UNSPACED}][\u0300-\u036f\u3099\u309a]*|(?:(?![{_UNSPACED}])[^\\W_]|[{_MARKS}])+")
_PLAIN = re.compile("[a-z0-9]+")
_NO_ACCENTS = {
    "ł": "l",
    "ø": "o",
    "đ": "d",
    "ħ": "h",
    "ŧ": "t",
    "æ": "ae",
    "œ": "oe",
    "ð": "d",
    "þ": "th",
    "\u0131": "i",
}
"""Letters with a stroke, and double letters: Unicode does not take them apart."""


class _Folds(dict[int, str | None]):
    """What becomes of each character after decomposition and without case; filled as characters come."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        folded: str | None = _NO_ACCENTS.get(character, character)
        if _is_accent(character):
            folded = None
        self[code] = folded
        return folded


def _is_accent(character: str) -> bool:
    """Return whether a mark changes how a letter is said, not which one it is.

    These are the accents of Latin, Greek and Cyrillic letters (combining class 200 and above) and the points of
    Hebrew and Arabic (10 to 35). The marks of kana (8), of Indian (7, 9) and South East Asian scripts (0, 103 to 132)
    stay.
    """
    kind = unicodedata.combining(character)
    return kind >= 200 or 10 <= kind <= 35


_FOLDS = _Folds()


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place in the text it was cut from."""

    text: str
    start: int
    """Characters."""
    end: int


def split_tokens(text: str) -> list[str]:
    """Return a text as tokens without case and accents."""
    if text.isascii():
        return _PLAIN.findall(text.lower())
    return _TOKEN.findall(fold(text))


def fold(text: str) -> str:
    """Return a text without case and accents; compatibility forms (full width, ligatures) become usual ones."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text).casefold().translate(_FOLDS))


def locate_tokens(text: str) -> list[Token]:
    """Return the tokens of a text with their places in it."""
    return [
        Token(token, piece.start(), piece.end())
        for piece in _TOKEN.finditer(text)
        for token in split_tokens(piece.group())
    ]

"""Whisper's tokens: from text to numbers and back, and which numbers mean what.

Guarantees: needs the standard library and the two files in `vocabulary/` alone; text that looks like a special token
is text; bytes that are no UTF-8 become U+FFFD, one token's bytes never hide another's.

Byte-pair merging over GPT-2's pieces, and the special tokens in the order of OpenAI's `whisper/tokenizer.py`.
"""

from __future__ import annotations

import base64
import codecs
import functools
import itertools
import re
import string
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LANGUAGES = tuple(
    re.findall(
        r"\w+",
        "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la "
        "mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be "
        "tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue",
    )
)
"""Codes in the order of their tokens. Models before large-v3 know all but the last."""

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages whose words no space parts: there every character is taken for one."""
_SOUNDS = "♩♪♫♬♭♮♯"  # of their tokens the first is never a word's: all lie in U+2640 to U+267F
_MARKS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))"),
    *("[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
    *_SOUNDS,
)
"""What stands in captions for sounds and speakers, not for speech."""

_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)")
_SHAPE = re.compile(r" ?a+| ?1+| ?x+|[ s]+(?![^ s])|[ s]+")
r"""GPT-2's ` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, over `_kind` of each character."""


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    ranks: Mapping[bytes, int]
    tokens: tuple[bytes, ...]


@functools.cache
def _vocabulary(name: str) -> _Vocabulary:
    lines = (Path(__file__).parent / "vocabulary" / f"{name}.tiktoken").read_bytes().split()
    tokens = tuple(map(base64.b64decode, lines[::2]))
    return _Vocabulary({token: rank for rank, token in enumerate(tokens)}, tokens)


class Tokens:
    """The tokens of one model."""

    def __init__(self, size: int) -> None:
        """Take the number of the model's tokens: 51864 for English alone, 51865 for 99 languages, 51866 for 100.

        Raises: ValueError when no Whisper model has so many.
        """
        if size not in {51864, 51865, 51866}:
            raise ValueError(f"no Whisper model has {size} tokens")
        self.multilingual = size > 51864
        self._known = _vocabulary("multilingual" if self.multilingual else "english")
        self.size = size
        self.end = len(self._known.tokens)
        self.start = self.end + 1
        languages = LANGUAGES[: 100 if size == 51866 else 99]
        self.languages = {code: self.start + 1 + place for place, code in enumerate(languages)}
        """Token by code."""
        self.translate = self.start + 1 + len(languages)
        self.transcribe = self.translate + 1
        self.prev = self.translate + 3
        """Begins a prompt."""
        self.no_speech = self.translate + 4
        self.no_timestamps = self.translate + 5

    def prefix(self, language: str | None, task: str) -> list[int]:
        """Return what stands before a text without timestamps.

        Raises: ValueError when the model does not know the language.
        """
        if not self.multilingual:
            return [self.start, self.no_timestamps]
        code = language or "en"
        if code not in self.languages:
            raise ValueError(f"the model does not know the language {code}")
        return [
            self.start,
            self.languages[code],
            self.translate if task == "translate" else self.transcribe,
            self.no_timestamps,
        ]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return [token for piece in _pieces(text) for token in self._merged(piece.encode("utf-8", "replace"))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        known = self._known.tokens
        return b"".join(known[token] for token in tokens if token < self.end).decode("utf-8", "replace")

    def never(self) -> set[int]:
        """Return the tokens that begin no speech: marks for sounds and speakers, as OpenAI's `non_speech_tokens`."""
        found = {self.encode(" -")[0], self.encode(" '")[0]}  # inside a word they may stand
        for mark in _MARKS:
            for tokens in (self.encode(mark), self.encode(" " + mark)):
                if len(tokens) == 1 or mark in _SOUNDS:
                    found.add(tokens[0])
        return found

    def split(self, tokens: Sequence[int], language: str | None) -> tuple[list[str], list[list[int]]]:
        """Return the words of a text with their tokens, each with the space before it."""
        characters = self._characters(tokens)
        if language in _UNSPACED:
            return [text for text, _ in characters], [piece for _, piece in characters]
        words: list[str] = []
        pieces: list[list[int]] = []
        for text, piece in characters:
            if words and not text.startswith(" ") and text.strip() not in string.punctuation:
                words[-1] += text
                pieces[-1] += piece
            else:
                words.append(text)
                pieces.append(piece)
        return words, pieces

    def _characters(self, tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Return the shortest runs of tokens that end with whole characters."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found: list[tuple[str, list[int]]] = []
        text, piece = "", list[int]()
        for place, token in enumerate(tokens, 1):
            text += decoder.decode(self._known.tokens[token], final=place == len(tokens))
            piece.append(token)
            if not decoder.getstate()[0]:
                found.append((text, piece))
                text, piece = "", []
        return found

    def _merged(self, piece: bytes) -> list[int]:
        """Join neighbours, the pair of the least rank first, until no pair is a token."""
        ranks = self._known.ranks
        parts = [piece[place : place + 1] for place in range(len(piece))]
        while len(parts) > 1:
            pairs = [ranks.get(a + b, len(ranks)) for a, b in itertools.pairwise(parts)]
            least = min(pairs)
            if least == len(ranks):
                break
            place = pairs.index(least)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return [ranks[part] for part in parts]


def _pieces(text: str) -> Iterator[str]:
    """Yield the parts of a text that are merged each on its own: a word with the space before it, a number, marks."""
    shape = "".join(map(_kind, text))
    at = 0
    while at < len(text):
        match = _CONTRACTION.match(text, at) or _SHAPE.match(shape, at)
        assert match is not None  # noqa: S101 (one of its alternatives takes any character)
        yield text[at : match.end()]
        at = match.end()


def _kind(character: str) -> str:
    if character == " ":
        return character
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":  # these are space for Python alone
        return "s"
    return {"L": "a", "N": "1"}.get(unicodedata.category(character)[0], "x")

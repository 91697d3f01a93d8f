"""What a replacement does to what stands around it: deleted words, dictated marks and line breaks.

`replacements` writes a sign where one of these is, and `settle` carries the signs out:

- A deleted word goes with its times and the comma behind it. A full stop behind it, a bracket or
  a quotation mark goes to its neighbour. Where it began a sentence, the next word does.
- A mark joins the word before it, in place of a comma or a full stop there or behind it. One that
  ends a sentence makes the next word begin one. An opening one joins the word behind it.
- A line break ends the segment; the next one says so in `begins`.

Nothing moves to another speaker's words.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from dropscribe.formats.line_breaking import SENTENCE_ENDS
from dropscribe.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.transcript import Segment

_DELETED, _DELETED_CAPITAL, _LINE, _PARAGRAPH, _MARK = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"
"""The signs. They are no characters, so no text has them. A mark stands between two of its sign."""
_SIGN = re.compile(f"([{_DELETED}-{_PARAGRAPH}]|{_MARK}[^{_MARK}]*{_MARK})")
_BREAKS = {_LINE: "line", _PARAGRAPH: "paragraph"}
_PAUSES = ",;:،؛、，；：-–—"  # noqa: RUF001 (they are meant)
"""What a deleted word takes along."""
_REPLACED = ".,;:!?…،؛、，；：。！？"  # noqa: RUF001 (they are meant)
"""What another mark takes the place of."""


def choose_sign(right: str, found: str) -> str:
    """Return what is written for the right side of a replacement: itself, or a sign for `settle`.

    Args:
        right: the right side, as it is to be written.
        found: what it replaces.
    """
    if not right:
        return _DELETED_CAPITAL if found[:1].isupper() else _DELETED
    if right.isspace():
        return _PARAGRAPH if right.count("\n") > 1 else _LINE
    return f"{_MARK}{right}{_MARK}" if all(map(_joins, right)) or all(map(_opens, right)) else right


def settle(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments with the signs in their words and texts carried out. Those left empty are left out."""
    editor = _Editor()
    for number, segment in enumerate(segments):
        for word in segment.words or _split_text(segment):
            editor.take(number, segment, word)
    kept = {number: list(pieces) for number, pieces in groupby(editor.pieces, key=lambda piece: piece.segment)}
    done: list[Segment] = []
    for number, segment in enumerate(segments):
        if number not in editor.touched:
            done.append(segment)
        elif number in kept:
            done += _rebuild(segment, kept[number])
    return done


@dataclass(slots=True)
class _Piece:
    """A word that stays."""

    segment: int
    word: Word
    speaker: str | None
    begins: str | None


class _Editor:
    """Takes word after word, and carries out the signs in them."""

    def __init__(self) -> None:
        self.pieces: list[_Piece] = []
        self.touched: set[int] = set()
        """Numbers of the segments that are not as they were."""
        self._capital = False
        self._opening = ""
        self._begins: str | None = None

    def take(self, number: int, segment: Segment, word: Word) -> None:
        speaker = word.speaker or segment.speaker
        parts = _SIGN.split(word.word)
        if len(parts) == 1:
            self._keep(number, word, speaker)
            return
        self.touched.add(number)
        plain = "".join(parts[::2])
        if any(map(str.isalnum, plain)):  # a script without spaces: the rest of the word stays
            text = "".join(
                part.strip(_MARK) for part in parts if part[:1] not in {*_BREAKS, _DELETED, _DELETED_CAPITAL}
            )
            self._keep(number, dataclasses.replace(word, word=text), speaker)
            self._begins = next((_BREAKS[part] for part in parts if part in _BREAKS), self._begins)
            return
        before, after = parts[0].strip(), "".join(parts[2::2]).strip()
        for i, sign in enumerate(parts[1::2]):
            behind = after if i == len(parts) // 2 - 1 else ""
            if sign.startswith(_MARK):
                self._join(number, word, speaker, before + sign.strip(_MARK), behind)
            else:
                self._delete(speaker, before, behind, sign)
            before = ""

    def _keep(self, number: int, word: Word, speaker: str | None) -> None:
        text = word.word
        if self._opening or self._capital:
            space = text[: len(text) - len(text.lstrip())]
            rest = _capitalise(text.lstrip()) if self._capital else text.lstrip()
            text = f"{space}{self._opening}{rest}"
        if text != word.word or self._begins:
            self.touched.add(number)
        self.pieces.append(_Piece(number, dataclasses.replace(word, word=text), speaker, self._begins))
        self._opening, self._capital, self._begins = "", False, None

    def _find_last(self, speaker: str | None) -> _Piece | None:
        """Return the word before, where the same speaker said it and no line break is between."""
        last = self.pieces[-1] if self.pieces and not self._begins else None
        return last if last and last.speaker == speaker else None

    def _write(self, piece: _Piece, text: str) -> None:
        piece.word = dataclasses.replace(piece.word, word=text)
        self.touched.add(piece.segment)

    def _delete(self, speaker: str | None, before: str, after: str, sign: str) -> None:
        last = self._find_last(speaker)
        began = last is None or _ends_sentence(last.word.word)
        opening = "".join(filter(_opens, before))
        closing = "".join(c for c in after if _closes(c))
        if opening and closing:  # what stood between them is gone
            opening = closing = ""
        end = "".join(c for c in after if c in SENTENCE_ENDS)
        if last is not None:
            text = last.word.word
            if sign in _BREAKS or (end and not began):
                text = text.rstrip(_PAUSES)
            if end and not began:
                text += end
            if text + closing != last.word.word:
                self._write(last, text + closing)
        self._opening += opening
        if sign in _BREAKS:
            self._begins = _BREAKS[sign] if self._begins != "paragraph" else self._begins
            self._capital = True
        else:
            self._capital = self._capital or (sign == _DELETED_CAPITAL and began)

    def _join(self, number: int, word: Word, speaker: str | None, mark: str, after: str) -> None:
        if all(map(_opens, mark)):
            self._opening += mark
            return
        last = self._find_last(speaker)
        if last is None:
            self._keep(number, dataclasses.replace(word, word=mark), speaker)
        elif all(c == "%" or _closes(c) for c in mark):
            self._write(last, last.word.word + mark + after)
        else:
            self._write(last, last.word.word.rstrip(_REPLACED) + mark + "".join(filter(_closes, after)))
        self._capital = self._capital or mark[-1] in SENTENCE_ENDS


def _rebuild(segment: Segment, pieces: Sequence[_Piece]) -> list[Segment]:
    """Return a segment of the words that stay, or several where a line breaks."""
    parts: list[list[_Piece]] = []
    for piece in pieces:
        if piece.begins or not parts:
            parts.append([])
        parts[-1].append(piece)
    found = []
    for i, part in enumerate(parts):
        words = tuple(piece.word for piece in part)
        is_first = i == 0 and (not segment.words or words[0].start <= segment.words[0].start)
        is_last = i == len(parts) - 1 and (not segment.words or words[-1].end >= segment.words[-1].end)
        found.append(
            dataclasses.replace(
                segment,
                start=segment.start if is_first else words[0].start,
                end=segment.end if is_last else max(word.end for word in words),
                text="".join(word.word for word in words).strip(),
                words=words if segment.words else (),
                begins=part[0].begins or (segment.begins if i == 0 else None),
            )
        )
    return found


def _split_text(segment: Segment) -> list[Word]:
    """Return the text of a segment without words as words, all with its times."""
    return [Word(text, segment.start, segment.end) for text in re.findall(r"\s*\S+", segment.text)]


def _capitalise(text: str) -> str:
    at = next((i for i, c in enumerate(text) if c.isalnum()), 0)
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def _ends_sentence(text: str) -> bool:
    inner = text.rstrip()
    while inner and _closes(inner[-1]):
        inner = inner[:-1]
    return inner[-1:] in SENTENCE_ENDS if inner else False


def _closes(character: str) -> bool:
    return unicodedata.category(character) in {"Pe", "Pf"} or character == '"'


def _opens(character: str) -> bool:
    return unicodedata.category(character) in {"Ps", "Pi"} or character in '"¿¡'


def _joins(character: str) -> bool:
    return character in _REPLACED or character == "%" or (character != '"' and _closes(character))

"""Reading what a person edited: a text, a text with times or subtitles, as what is said and by whom.

Guarantees: only what a format adds to the words is taken away; whatever else is in the file is words.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import UsageError
from dropscribe.formats.subtitles import UNTAGGED
from dropscribe.library.alignment import compare
from dropscribe.library.corrections import edit_text, list_names, move_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dropscribe.transcript import Edit, Transcript

SUFFIXES = (".times.txt", ".lines.txt", ".txt", ".srt", ".vtt")
"""What can be read, the longest first."""
_CLOCK = re.compile(r"\[\d+:\d\d:\d\d\] ?")
_TIMING = re.compile(r"[\d:.,]+ --> [\d:.,]+.*")
_VOICE = re.compile(r"<v(?:\.[^ >]*)? ([^>]*)>")
_TAG = re.compile(r"</?[^>]*>")
_LABEL = re.compile(r"([^:\n]{1,60}): ")
_LONGEST_NAME = 4
"""Words of a new name in front of a paragraph: more are a sentence with a colon."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What one person says, as it was edited."""

    speaker: str | None
    """None where no name stands before it."""
    text: str


def find_suffix(name: str) -> str:
    """Return the suffix by which a file is read. Raises: UsageError for any other."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise UsageError(f"{name} cannot be applied.", f"Edit one of these: {', '.join(SUFFIXES)}.")


def read_paragraphs(text: str, suffix: str, names: Sequence[str]) -> list[Paragraph]:
    """Return the paragraphs of an edited file.

    Args:
        text: what is in it.
        suffix: one of `SUFFIXES`.
        names: the speakers; with none, no name is looked for.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = [block for block in re.split(r"\n[ \t]*\n", text) if block.strip()]
    if suffix in {".srt", ".vtt"}:
        return list(_read_cues(blocks, suffix, names))
    if suffix == ".times.txt":
        blocks = [
            _CLOCK.sub("", block.strip(), count=1) if _CLOCK.match(block.strip()) else block for block in blocks
        ]
    if suffix == ".lines.txt":  # a name stands where another person begins, and holds until the next
        return list(_carry_names(_split_name(line.strip(), names) for line in text.split("\n") if line.strip()))
    return [_split_name(block.strip(), names) for block in blocks]


def _carry_names(lines: Iterable[Paragraph]) -> Iterator[Paragraph]:
    speaker: str | None = None
    for line in lines:
        speaker = line.speaker or speaker
        yield Paragraph(speaker, line.text)


def _read_cues(blocks: Sequence[str], suffix: str, names: Sequence[str]) -> Iterator[Paragraph]:
    for block in blocks:
        lines = block.strip().split("\n")
        timing = next((i for i, line in enumerate(lines) if _TIMING.fullmatch(line.strip())), None)
        if timing is None:  # the head of the file, a note, a style
            continue
        said = " ".join(line.strip() for line in lines[timing + 1 :])
        voice = _VOICE.match(said)
        if suffix == ".vtt":
            said = html.unescape(_TAG.sub("", said))
        said = said.translate(dict.fromkeys((0x202A, 0x202B, 0x202C)))
        yield Paragraph(html.unescape(voice[1]), said) if voice else _split_name(said, names)


def _split_name(block: str, names: Sequence[str]) -> Paragraph:
    found = _LABEL.match(block) if names else None
    if found is None:
        return Paragraph(None, block)
    name = found[1].strip()
    words = name.split()
    new = 0 < len(words) <= _LONGEST_NAME and all(word[0].isupper() or word[0].isdigit() for word in words)
    return Paragraph(name, block[found.end() :]) if name in names or new else Paragraph(None, block)


def find_edits(transcript: Transcript, paragraphs: Sequence[Paragraph]) -> tuple[Edit, ...]:
    """Return the edits that make a transcript say what was edited: words first, then who says them."""
    text = "\n".join(paragraph.text for paragraph in paragraphs)
    words = edit_text(transcript, text)
    if not any(paragraph.speaker for paragraph in paragraphs):
        return words
    spoken = [(word, word.speaker or segment.speaker) for segment in transcript.segments for word in segment.words]
    places = compare([word.word for word, _ in spoken], text).places
    turns: list[Edit] = []
    begin = 0
    for paragraph in paragraphs:
        end = begin + len(paragraph.text)
        own = [pair for pair, place in zip(spoken, places, strict=True) if place and begin <= place[0] < end]
        if own and paragraph.speaker and any(speaker != paragraph.speaker for _, speaker in own):
            turns.append(move_time(transcript, own[0][0].start, own[-1][0].end, paragraph.speaker))
        begin = end + 1
    return (*words, *turns)


def read_edits(transcript: Transcript, text: str, suffix: str) -> tuple[Edit, ...]:
    """Return the edits in an edited file of a transcript; none where it says the same."""
    edits = find_edits(transcript, read_paragraphs(text, suffix, list_names(transcript)))
    if suffix == ".srt":  # other signs stand there for some that SubRip cannot hold
        edits = tuple(edit for edit in edits if edit.before.translate(UNTAGGED) != edit.after)
    return edits

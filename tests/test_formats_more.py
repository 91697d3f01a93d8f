"""Sentences as lines, Advanced SubStation Alpha and the document for word processors, read with other programs."""

from __future__ import annotations

import dataclasses
import io
import time
import zipfile
from typing import TYPE_CHECKING

import docx
import pysubs2
from hypothesis import given, settings

from any_speech import letters, named
from dropscribe.formats import RENDERERS, render
from dropscribe.transcript import Segment, Transcript
from examples import TWO, transcript

if TYPE_CHECKING:
    import pytest


def say(*texts: str, speakers: str = "", pause: float = 0.9) -> Transcript:
    """Return segments that last a second each, with a pause between."""
    return transcript(
        [
            Segment(i, i * (1 + pause), i * (1 + pause) + 1, text, speaker=speakers[i] if speakers else None)
            for i, text in enumerate(texts)
        ]
    )


def test_a_sentence_is_a_line_whatever_pauses_are_in_it() -> None:
    made = say("We went, after", "a while,", 'home. "No!"', "She said", "no", pause=3.0)
    assert RENDERERS["lines.txt"](made) == 'We went, after a while, home. "No!"\nShe said no\n'


def test_another_speaker_begins_a_line_and_is_named_once() -> None:
    made = say("We went", "where?", "Home.", "Then out.", speakers="ABAA")
    assert RENDERERS["lines.txt"](made) == "A: We went\nB: where?\nA: Home.\nThen out.\n"


def test_without_spaces_sentences_are_joined_without() -> None:
    made = dataclasses.replace(say("今日は", "いい天気。", "はい"), language="ja")
    assert RENDERERS["lines.txt"](made) == "今日はいい天気。\nはい\n"


@settings(max_examples=20)
@given(named)
def test_a_library_reads_every_letter_of_the_ass_file(made: Transcript) -> None:
    found = pysubs2.SSAFile.from_string(RENDERERS["ass"](made), format_="ass")
    srt = pysubs2.SSAFile.from_string(RENDERERS["srt"](made), format_="srt")
    marks = str.maketrans("", "", "\u202a\u202b\u202c")  # SubRip alone needs them
    assert [letters(e.plaintext).translate(marks) for e in found] == [
        letters(e.plaintext).translate(marks) for e in srt
    ]
    assert all(event.start < event.end and event.style == "Default" for event in found)
    assert all(a.end <= b.start + 10 for a, b in zip(found, list(found)[1:], strict=False))


def test_nothing_said_is_an_order_to_a_player() -> None:
    made = say("{\\an8}{\\k50}up\\Nthere", speakers="A")
    (event,) = pysubs2.SSAFile.from_string(RENDERERS["ass"](made), format_="ass")
    assert "\\" not in event.text
    assert "{" not in event.text
    assert event.name == "A"


@settings(max_examples=8)
@given(named)
def test_a_word_document_has_every_letter_of_the_text(made: Transcript) -> None:
    found = docx.Document(io.BytesIO(render("docx", made)))
    _, *paragraphs = (paragraph.text.split("] ", 1)[1:] for paragraph in found.paragraphs)
    text = RENDERERS["txt"](made)
    assert letters("".join(part for parts in paragraphs for part in parts)) == letters(text)


def test_the_same_transcript_gives_the_same_document_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = render("docx", TWO)
    dates = {item.date_time for item in zipfile.ZipFile(io.BytesIO(first)).infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert render("docx", TWO) == first
    assert docx.Document(io.BytesIO(first)).core_properties.title == TWO.source.name

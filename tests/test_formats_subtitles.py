"""Subtitles and lyrics as files, read by parsers that are not ours."""

from __future__ import annotations

import html
import io
import json
import re

import pysubs2
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from lrcparser import LrcParser

from any_speech import (
    UNFIT,
    letters,
    named,
    pointed,
    quiet,
    said,
    talks,
    tiled,
    undirected,
)
from dropscribe.formats import RENDERERS
from dropscribe.transcript import Segment, Transcript
from examples import TWO, transcript


def test_what_a_speaker_says_cannot_break_a_cue() -> None:
    nasty = transcript([Segment(0, 0.0, 1.0, "one\n\n2\n00:00 --> 00:01\ntwo"), Segment(1, 5.0, 6.0, "three")])
    parsed = pysubs2.SSAFile.from_string(RENDERERS["srt"](nasty), format_="srt")
    assert len(parsed) == 2
    assert len(webvtt.from_string(RENDERERS["vtt"](nasty))) == 2


def test_vtt_as_it_is_written() -> None:
    talk = transcript([Segment(0, 3600.0, 3601.0, "a --> b <i>&c", speaker="R & B")])
    assert RENDERERS["vtt"](talk) == (
        "WEBVTT\n\n01:00:00.000 --> 01:00:01.000\n<v R &amp; B>a --&gt; b &lt;i&gt;&amp;c\n\n"
    )


@given(quiet)
def test_srt_keeps_every_letter_in_order(made: Transcript) -> None:
    text = RENDERERS["srt"](made).encode("utf-8", "replace").decode()
    parsed = pysubs2.SSAFile.from_string(text, format_="srt")
    shown = letters("".join(event.plaintext for event in parsed))
    assert undirected(shown) == undirected(pointed(said(made)))
    assert tiled((event.start, event.end) for event in parsed)


@given(named)
def test_vtt_keeps_every_letter_and_every_speaker(made: Transcript) -> None:
    parsed = list(webvtt.from_buffer(io.StringIO(RENDERERS["vtt"](made))))
    text = "".join(re.sub(r"^<v [^>]*>", "", caption.raw_text) for caption in parsed)
    assert letters(html.unescape(text)) == said(made)
    assert tiled((c.start_in_seconds + c.start_time.milliseconds / 1000,
                  c.end_in_seconds + c.end_time.milliseconds / 1000) for c in parsed)  # fmt: skip
    found = {html.unescape(caption.voice) for caption in parsed if caption.voice}
    assert found == {UNFIT.sub("\ufffd", s) for s in speakers(made) if s}


def speakers(made: Transcript) -> set[str | None]:
    return {row["speaker"] for row in json.loads(RENDERERS["podcast.json"](made))["segments"] if "speaker" in row}


@given(talks(st.none()))  # up to 11 hours: the parser reads no minutes past 999
def test_lrc_keeps_every_letter_in_order(made: Transcript) -> None:
    parsed = LrcParser.parse(RENDERERS["lrc"](made))
    shown = "".join(str(line.text) for line in parsed["lrc_lines"])
    assert letters(shown) == said(made).translate(str.maketrans("[]<>", "()\u2039\u203a"))
    assert parsed["attributes"].keys() == {"ti", "length", "re"}


def test_lrc_as_it_is_written() -> None:
    assert RENDERERS["lrc"](TWO) == (
        "[ti:talk]\n[length:00:10]\n[re:Dropscribe]\n"
        "[00:00.50]Host: Hello, you.\n[00:01.63]\n"
        "[00:04.00]This is the second one, and it is long enough to need two lines.\n[00:07.50]\n"
    )

"""Every format against a parser that is not ours, on any text and any times."""

from __future__ import annotations

import html
import io
import itertools

import pysubs2
import webvtt
from hypothesis import given

from dropscribe.formats import RENDERERS
from dropscribe.transcript import Segment, Transcript
from examples import TWO, transcript, transcripts


def shown(transcript: Transcript) -> list[str]:
    return [" ".join(s.text.split()) for s in transcript.segments if s.text.split()]


def test_plain_text_has_a_paragraph_where_there_is_a_pause() -> None:
    assert RENDERERS["txt"](TWO) == (
        "Hello, you.\n\nThis is the second one, and it is long enough to need two lines.\n"
    )
    assert RENDERERS["txt"](transcript([])) == "\n"


def test_srt_as_it_is_written() -> None:
    assert RENDERERS["srt"](TWO) == (
        "1\n00:00:00,500 --> 00:00:01,250\nHello, you.\n\n"
        "2\n00:00:04,000 --> 00:00:06,500\nThis is the second one, and it is long\nenough to need two lines.\n\n"
    )


def test_vtt_as_it_is_written() -> None:
    assert RENDERERS["vtt"](transcript([Segment(0, 3600.0, 3601.0, "a --> b <i>&c")])) == (
        "WEBVTT\n\n01:00:00.000 --> 01:00:01.000\na --&gt; b &lt;i&gt;&amp;c\n\n"
    )


def test_what_a_speaker_says_cannot_break_a_cue() -> None:
    nasty = transcript([Segment(0, 0.0, 1.0, "one\n\n2\n00:00 --> 00:01\ntwo"), Segment(1, 1.0, 2.0, "three")])
    parsed = pysubs2.SSAFile.from_string(RENDERERS["srt"](nasty), format_="srt")
    assert len(parsed) == 2
    assert len(webvtt.from_string(RENDERERS["vtt"](nasty))) == 2


@given(transcripts)
def test_srt_keeps_every_word_in_order(made: Transcript) -> None:
    # pysubs2 would take {text} and <text> for markup: the words are compared in the file's own lines.
    text = RENDERERS["srt"](made)
    blocks = [b for b in text.split("\n\n") if b]
    assert [" ".join(" ".join(b.split("\n")[2:]).split()) for b in blocks] == [
        t.replace("-->", "->") for t in shown(made)
    ]
    parsed = pysubs2.SSAFile.from_string(text, format_="srt")
    assert len(parsed) == len(blocks)
    assert all(a.start < a.end for a in parsed)
    assert all(a.end <= b.start or a.start == b.start for a, b in itertools.pairwise(parsed))


@given(transcripts)
def test_vtt_keeps_every_word_in_order(made: Transcript) -> None:
    parsed = webvtt.from_buffer(io.StringIO(RENDERERS["vtt"](made)))
    assert [" ".join(html.unescape(c.raw_text).split()) for c in parsed] == shown(made)


@given(transcripts)
def test_plain_text_keeps_every_word_in_order(made: Transcript) -> None:
    assert RENDERERS["txt"](made).split() == [w for s in made.segments for w in s.text.split()]

# ruff: noqa: RUF001 (the marks of other writings are meant)
"""Every format against a parser that is not ours, on any text and any times."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import html
import io
import itertools
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pympi
import pysubs2
import pytest
import textgrid
import webvtt
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lrcparser import LrcParser
from markdown_it import MarkdownIt

from dropscribe.formats import RENDERERS
from dropscribe.formats.review import review
from dropscribe.transcript import Passage, Segment, Source, Transcript, Word
from examples import SOURCE, TWO, transcript, transcripts

if TYPE_CHECKING:
    from collections.abc import Iterable

UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

# What the model writes, in many scripts, and what breaks parsers.
pieces = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "Hello,", "you.", "and", "don't", "-->", "<i>", "</v>", "&amp;", "&", "{\\an8}", "\\N", '"', '""', "'",
            "[Music]", "[00:01.00]", "<00:01.00>", "*", "**bold**", "_x_", "---", "...", "a|b", "$1$", "=1+1", ":",
            "#", ";", "1", "2\n\n3", "?", "!", "«", "»", "\u00a0!", "\x00", "\x1b", "\u2028", "\ufeff", "\ud800",
            "今日は", "いい", "天気", "ですね", "。", "你好", "，", "สวัสดี", "ครับ", "่า", "안녕하세요", "שלום",
            "مرحبا،", "\u200f", "👩‍👩‍👧", "🇩🇪", "e\u0301", "x" * 60, "字" * 60, "ก็" * 60,
            'item [2]:\n        class = "IntervalTier"', "NOTE", "STYLE", "WEBVTT", "]]>", "<!--",
        ]
    ),
)  # fmt: skip
moments = st.one_of(st.floats(0, 40), st.floats(0, 40_000, width=32), st.sampled_from([0.0, 1.0, 1.0005, 59.9996]))
names = st.none() | st.sampled_from(
    ["Host", "Guest <2>", "words", "Host words", "", 'A "B"', "\u202eC", "utterances"]
)


@st.composite
def spoken(draw: st.DrawFn, speakers: st.SearchStrategy[str | None]) -> Segment:
    """Draw a segment whose words spell its text, as an engine's do, with times that no engine should give."""
    said = draw(st.lists(st.tuples(pieces, st.sampled_from([" ", " ", ""])), min_size=1, max_size=12))
    words = []
    for text, space in said:
        start, end = sorted((draw(moments), draw(moments)))
        words.append(Word(space + text, start, end, draw(st.none() | st.floats(0, 1)), draw(speakers)))
    start, end = sorted((draw(moments), draw(moments)))
    text = "".join(w.word for w in words).strip()
    return Segment(0, start, end, text, tuple(words) if draw(st.booleans()) else (), speaker=draw(speakers))


def talks(speakers: st.SearchStrategy[str | None]) -> st.SearchStrategy[Transcript]:
    language = st.sampled_from(["en", "fr", "ja", "zh", "th", "he", "ko", "xx"])
    made = st.lists(spoken(speakers), max_size=5).map(
        lambda found: transcript(sorted(found, key=lambda s: s.start), duration=40_000.0)
    )
    return st.builds(lambda t, code: dataclasses.replace(t, language=code), made, language)


quiet = talks(st.none()) | transcripts.map(
    lambda t: dataclasses.replace(t, segments=tuple(dataclasses.replace(s, words=()) for s in t.segments))
)
"""Nobody is named, so that every letter in a text was said."""
named = talks(names)


def letters(text: str) -> str:
    """Return a text without white space, control characters replaced as they must be."""
    return UNFIT.sub("\ufffd", "".join(c for c in text if not c.isspace()))


def said(made: Transcript) -> str:
    return "".join(letters(s.text) for s in made.segments)


def pointed(text: str) -> str:
    return text.translate(str.maketrans("<>{}\\", "\u2039\u203a()/"))


def undirected(text: str) -> str:
    return text.translate({0x202B: None, 0x202C: None})


def tiled(rows: Iterable[tuple[float, float]]) -> bool:
    """Return whether spans are in order, of some length, and do not overlap."""
    found = list(rows)
    return all(a < b for a, b in found) and all(a[1] <= b[0] for a, b in itertools.pairwise(found))


def test_the_names_are_suffixes_and_json_is_last() -> None:
    assert list(RENDERERS)[-1] == "json"
    assert all(re.fullmatch(r"[A-Za-z]+(\.[a-z]+)?", name) for name in RENDERERS)
    assert len({name.lower() for name in RENDERERS}) == len(RENDERERS)


@given(named | transcripts)
def test_no_format_fails_and_each_gives_the_same_twice(made: Transcript) -> None:
    for render in RENDERERS.values():
        text = render(made)
        assert text == render(made)
        assert not text or text.endswith("\n")


@pytest.mark.parametrize("name", RENDERERS)
def test_nothing_said_is_no_error(name: str) -> None:
    assert name == "srt" or RENDERERS[name](transcript([]))


# Text.


def test_plain_text_has_a_paragraph_where_there_is_a_pause() -> None:
    assert RENDERERS["txt"](TWO) == (
        "Host: Hello, you.\n\nThis is the second one, and it is long enough to need two lines.\n"
    )
    assert RENDERERS["txt"](transcript([])) == "\n"


def test_plain_text_with_times_and_speakers() -> None:
    talk = transcript(
        [
            Segment(0, 0.0, 1.0, "One.", speaker="Host"),
            Segment(1, 1.0, 2.0, "Two.", speaker="Host"),
            Segment(2, 3601.0, 3602.0, "Three.", speaker="Guest"),
        ]
    )
    assert RENDERERS["times.txt"](talk) == "[00:00:00] Host: One. Two.\n\n[01:00:01] Guest: Three.\n"


def test_a_segment_is_divided_where_its_words_change_speaker() -> None:
    words = (Word(" Yes?", 0.0, 0.5, None, "Host"), Word(" No.", 0.6, 1.0, None, "Guest"))
    assert RENDERERS["txt"](transcript([Segment(0, 0.0, 1.0, "Yes? No.", words)])) == "Host: Yes?\n\nGuest: No.\n"


def test_chinese_segments_are_joined_without_a_space() -> None:
    talk = transcript([Segment(0, 0.0, 1.0, "你好。"), Segment(1, 1.0, 2.0, "再见。"), Segment(2, 2.0, 3.0, "OK.")])
    assert RENDERERS["txt"](talk) == "你好。再见。 OK.\n"


@given(quiet)
def test_plain_text_keeps_every_letter_in_order(made: Transcript) -> None:
    assert letters(RENDERERS["txt"](made)) == said(made)
    timed = re.sub(r"(?m)^\[\d\d+:\d\d:\d\d\] ", "", RENDERERS["times.txt"](made))
    assert letters(timed) == said(made)


def test_markdown_as_it_is_written() -> None:
    assert RENDERERS["md"](TWO) == (
        '---\ntitle: "talk"\ndate: 2026-08-19T10:00:00+02:00\nsource: "talk.m4a"\nduration: "00:00:10"\n'
        'language: "en"\nmodel: "base"\n---\n'
        "\n[00:00:00](talk.m4a#t=0) **Host:** Hello, you.\n"
        "\n[00:00:04](talk.m4a#t=4) This is the second one, and it is long enough to need two lines.\n"
        "\n## Where to listen again\n\n"
        '1. [00:00:01](talk.m4a#t=1,2) "you." Packets could not be read.\n'
    )


AGAIN = "\n## Where to listen again\n"


@given(quiet, st.text(st.characters(exclude_characters="/\0"), min_size=1), st.none() | st.text())
def test_markdown_keeps_every_letter_and_its_front_matter_is_what_it_was(
    made: Transcript, name: str, recorded: str | None
) -> None:
    source = dataclasses.replace(SOURCE, name=name, recorded_at=recorded)
    written = RENDERERS["md"](dataclasses.replace(made, source=source)).encode("utf-8", "replace").decode()
    _, front, body = written.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["source"] == re.sub("[\ud800-\udfff]", "\ufffd", name)
    assert ("date" in fields) == (recorded is not None)
    shown = []
    body, _, again = body.partition(AGAIN)
    kinds = [token.type for token in MarkdownIt().parse(AGAIN + again)]
    assert kinds[:3] == ["heading_open", "inline", "heading_close"]
    item = ["list_item_open", "paragraph_open", "inline", "paragraph_close", "list_item_close"]
    listed = len(review(made))
    assert kinds[3:] == (["ordered_list_open", *item * listed, "ordered_list_close"] if listed else [])
    for token in MarkdownIt().parse(body):
        assert token.type in {"paragraph_open", "inline", "paragraph_close"}
        if token.type == "inline":
            link, clock, end, *rest = token.children or []
            assert (link.type, end.type) == ("link_open", "link_close")
            assert re.fullmatch(r".+#t=\d+", str(link.attrs["href"]))
            assert re.fullmatch(r"\d\d+:\d\d:\d\d", clock.content)
            assert {part.type for part in rest} <= {"text", "text_special"}
            shown.append("".join(part.content for part in rest))
    assert letters("".join(shown)) == said(made)


def test_the_date_is_a_date_and_the_speaker_stands_out() -> None:
    talk = dataclasses.replace(
        transcript([Segment(0, 83.4, 84.0, "So *there*.", speaker="Host")]),
        source=Source("50% of it: a#1.m4a", "x", "", 1, "2026-08-19T10:00:00+02:00"),
        warnings=(),
    )
    _, front, body = RENDERERS["md"](talk).split("---\n")
    zone = dt.timezone(dt.timedelta(hours=2))
    assert yaml.safe_load(front)["date"] == dt.datetime(2026, 8, 19, 10, tzinfo=zone)
    assert body == "\n[00:01:23](50%25%20of%20it%3A%20a%231.m4a#t=83) **Host:** So \\*there\\*.\n"


@pytest.mark.parametrize(
    "recorded", ["2026-13-01T00:00:00Z", "2026-02-01T24:00:00", "2026-02-30", "1:30", "null", ""]
)
def test_what_is_no_date_stays_text(recorded: str) -> None:
    made = dataclasses.replace(TWO, source=dataclasses.replace(SOURCE, recorded_at=recorded))
    assert yaml.safe_load(RENDERERS["md"](made).split("---\n")[1])["date"] == recorded
    assert read_eaf(RENDERERS["eaf"](made)).adocument["DATE"] == "1970-01-01T00:00:00Z"


def test_a_date_alone_is_a_date_and_a_guess_is_called_one() -> None:
    source = dataclasses.replace(SOURCE, recorded_at="2026-02-03", recorded_from="name")
    front = RENDERERS["md"](dataclasses.replace(TWO, source=source)).split("---\n")[1]
    assert yaml.safe_load(front)["date"] == dt.date(2026, 2, 3)
    assert yaml.safe_load(front)["date_from"] == "file name"
    source = dataclasses.replace(SOURCE, recorded_from="container")
    front = RENDERERS["md"](dataclasses.replace(TWO, source=source)).split("---\n")[1]
    assert "date_from" not in yaml.safe_load(front)


def test_the_passages_to_hear_again_are_those_of_the_transcript_the_worst_first() -> None:
    listed = (Passage(4.0, 6.5, "unsure", "First.", 2.0), Passage(0.5, 1.25, "loop", "*Second*.", 1.0))
    lines = RENDERERS["md"](dataclasses.replace(TWO, review=listed)).partition(AGAIN)[2].splitlines()
    long = "This is the second one, and it is long enough to need two lines."
    assert lines == [
        "",
        f'1. [00:00:04](talk.m4a#t=4,7) "{long}" First.',
        '2. [00:00:00](talk.m4a#t=0,2) "Hello, you." \\*Second\\*.',
    ]
    assert RENDERERS["md"](dataclasses.replace(TWO, review=())).partition(AGAIN)[1] == ""


@pytest.mark.parametrize("stop", [".", "…", "\u06d4", "\u0964"])  # the last two are those of Urdu and Hindi
def test_who_never_pauses_gets_paragraphs_all_the_same(stop: str) -> None:
    made = transcript([Segment(i, i * 3.0, i * 3.0 + 3.0, f"This goes on and on{stop}") for i in range(60)])
    assert [len(p) for p in RENDERERS["txt"](made).split("\n\n")] == [608, 608, 42]


def test_a_change_of_language_begins_a_paragraph_and_is_marked_where_there_is_a_place() -> None:
    said = (("en", "Good morning."), ("en", "Sit down."), ("de", "Guten Morgen."))
    made = transcript([Segment(i, i, i + 1.0, text, language=code) for i, (code, text) in enumerate(said)])
    assert RENDERERS["txt"](made) == "Good morning. Sit down.\n\nGuten Morgen.\n"
    assert yaml.safe_load(RENDERERS["md"](made).split("---\n")[1])["languages"] == ["en", "de"]
    page = RENDERERS["html"](made)
    # A few words in another language are also marked as worth hearing again.
    assert re.search('<p class="line" dir="auto" lang="de">(<[^>]*>)+Guten Morgen[.]', page)
    assert '<main id="text" lang="en">' in page
    odd = dataclasses.replace(made.segments[0], language='"><script>')
    assert '<p class="line" dir="auto"><span>Good morning.' in RENDERERS["html"](transcript([odd]))


# Subtitles and lyrics.


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


# Data.

_TIMES = {"start": {"type": "number"}, "end": {"type": "number"}, "speaker": {"type": "string"}}
_WORDS = {
    "type": "array",
    "items": {
        "required": ["word", "start", "end"],
        "properties": _TIMES | {"word": {"type": "string"}, "score": {"type": "number"}},
        "additionalProperties": False,
    },
}
WHISPERX = {
    "required": ["segments", "word_segments", "language"],
    "additionalProperties": False,
    "properties": {
        "segments": {
            "type": "array",
            "items": {
                "required": ["start", "end", "text", "words"],
                "properties": _TIMES
                | {"text": {"type": "string"}, "words": _WORDS, "avg_logprob": {"type": "number"}},
                "additionalProperties": False,
            },
        },
        "word_segments": _WORDS,
        "language": {"type": "string"},
    },
}


@given(named | transcripts)
def test_whisperx_json_has_its_fields_and_every_word(made: Transcript) -> None:
    data = json.loads(RENDERERS["whisperx.json"](made))
    jsonschema.validate(data, WHISPERX)
    assert [s["text"] for s in data["segments"]] == [s.text for s in made.segments]
    words = [w for s in made.segments for w in s.words]
    assert [w["word"] for w in data["word_segments"]] == [w.word.strip() for w in words]
    assert data["word_segments"] == [w for s in data["segments"] for w in s["words"]]


@given(named | transcripts)
def test_cpp_json_has_its_fields_and_every_word(made: Transcript) -> None:
    data = json.loads(RENDERERS["cpp.json"](made))
    assert data["result"] == {"language": made.language}
    for segment, row in zip(made.segments, data["transcription"], strict=True):
        assert row["text"].strip() == segment.text.strip()
        assert [t["text"] for t in row["tokens"]] == [w.word for w in segment.words]
        for part in (row, *row["tokens"]):
            for edge in ("from", "to"):
                hours, minutes, seconds = part["timestamps"][edge].split(":")
                whole, _, rest = seconds.partition(",")
                clock = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1000 + int(rest)
                assert clock == part["offsets"][edge]


def test_cpp_json_as_it_is_written() -> None:
    data = json.loads(RENDERERS["cpp.json"](TWO))
    assert data["params"] == {"model": "base", "language": "auto", "translate": False}
    assert data["transcription"][0] == {
        "timestamps": {"from": "00:00:00,500", "to": "00:00:01,250"},
        "offsets": {"from": 500, "to": 1250},
        "text": " Hello, you.",
        "tokens": [
            {
                "text": " Hello,",
                "timestamps": {"from": "00:00:00,500", "to": "00:00:00,900"},
                "offsets": {"from": 500, "to": 900},
                "id": -1,
                "p": 0.99,
                "t_dtw": -1.0,
            },
            {
                "text": " you.",
                "timestamps": {"from": "00:00:00,950", "to": "00:00:01,250"},
                "offsets": {"from": 950, "to": 1250},
                "id": -1,
                "p": 0.5,
                "t_dtw": -1.0,
            },
        ],
    }


PODCAST = {
    "required": ["version", "segments"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "1.0.0"},
        "segments": {
            "type": "array",
            "items": {
                "required": ["startTime", "endTime", "body"],
                "additionalProperties": False,
                "properties": {
                    "speaker": {"type": "string"},
                    "startTime": {"type": "number", "minimum": 0},
                    "endTime": {"type": "number", "minimum": 0},
                    "body": {"type": "string", "minLength": 1},
                },
            },
        },
    },
}


@given(named)
def test_podcast_json_has_its_fields_and_every_letter(made: Transcript) -> None:
    data = json.loads(RENDERERS["podcast.json"](made))
    jsonschema.validate(data, PODCAST)
    assert letters("".join(row["body"] for row in data["segments"])) == said(made)


@given(named)
def test_csv_and_tsv_keep_every_letter(made: Transcript) -> None:
    rows = list(csv.DictReader(io.StringIO(RENDERERS["csv"](made), newline="")))
    assert letters("".join(row["text"] for row in rows)) == said(made)
    assert all(int(row["start"]) <= int(row["end"]) for row in rows)
    head, *lines = RENDERERS["tsv"](made).split("\n")[:-1]
    assert head == "start\tend\ttext"
    assert [line.split("\t")[:2] for line in lines] == [[row["start"], row["end"]] for row in rows]
    assert letters("".join(line.split("\t")[2] for line in lines)) == said(made)


# Annotations.


def read_textgrid(text: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "talk.TextGrid"
        path.write_text(text, encoding="utf-8", errors="replace")
        return {tier.name: tier for tier in textgrid.TextGrid.fromFile(str(path))}


def read_eaf(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "talk.eaf"
        path.write_text(text, encoding="utf-8", errors="replace")
        return pympi.Eaf(str(path))


def by_speaker(made: Transcript) -> list[str]:
    """Return what each speaker said, whatever their names became."""
    found: dict[str | None, str] = {}
    for row in json.loads(RENDERERS["podcast.json"](made))["segments"]:
        speaker = row.get("speaker")
        found[speaker] = found.get(speaker, "") + letters(row["body"])
    return sorted(found.values())


@pytest.mark.filterwarnings("ignore:codecs.open:DeprecationWarning")  # of the parser, from Python 3.14 on
@given(named)
def test_a_textgrid_keeps_every_letter_of_each_speaker(made: Transcript) -> None:
    tiers = read_textgrid(RENDERERS["TextGrid"](made))
    told = {}
    for name, tier in tiers.items():
        spans = [(i.minTime, i.maxTime) for i in tier]
        assert tiled(spans)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
        assert (spans[0][0], spans[-1][1]) == (0, tier.maxTime)
        told[name] = letters("".join(i.mark for i in tier))
    assert sorted(told.values()) == sorted(2 * by_speaker(made)) or not made.segments or not said(made)


@given(named)
def test_an_elan_document_keeps_every_letter_of_each_speaker(made: Transcript) -> None:
    document = read_eaf(RENDERERS["eaf"](made))
    told = []
    for name in document.get_tier_names():
        rows = sorted(document.get_annotation_data_for_tier(name))
        assert tiled((row[0], row[1]) for row in rows)
        told.append(letters("".join(row[2] for row in rows)))
        parent = document.get_parameters_for_tier(name).get("PARENT_REF")
        if parent:
            outer = document.get_annotation_data_for_tier(parent)
            assert all(any(a[0] <= row[0] and row[1] <= a[1] for a in outer) for row in rows)
    assert sorted(told) == sorted(2 * by_speaker(made)) or not said(made)


def test_an_elan_document_finds_the_recording_and_its_words() -> None:
    document = read_eaf(RENDERERS["eaf"](TWO))
    assert document.media_descriptors == [
        {"MEDIA_URL": "./talk.m4a", "MIME_TYPE": "audio/*", "RELATIVE_MEDIA_URL": "./talk.m4a"}
    ]
    assert document.adocument["DATE"] == "2026-08-19T10:00:00+02:00"
    assert document.get_annotation_data_for_tier("Host") == [(500, 1250, "Hello, you.")]
    assert document.get_annotation_data_for_tier("Host words") == [(500, 900, "Hello,"), (950, 1250, "you.")]
    assert document.get_annotation_data_for_tier("utterances")[0][:2] == (4000, 6500)
    assert document.get_parameters_for_tier("words")["PARENT_REF"] == "utterances"

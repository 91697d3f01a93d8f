"""Plain text and Markdown, read by a parser that is not ours."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from any_speech import (
    letters,
    quiet,
    read_eaf,
    said,
)
from dropscribe.formats import RENDERERS
from dropscribe.formats.review import review
from dropscribe.transcript import Passage, Segment, Source, Transcript, Word
from examples import SOURCE, TWO, transcript


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


def test_the_date_is_a_date_and_the_speaker_is_set_off() -> None:
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


def test_the_passages_to_listen_to_again_are_those_of_the_transcript_the_worst_first() -> None:
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

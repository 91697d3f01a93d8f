# ruff: noqa: RUF001 (the marks of other writing systems are meant)
"""Speech in any script with anything that breaks parsers, and readers of formats that are not ours."""

from __future__ import annotations

import dataclasses
import itertools
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pympi
import textgrid
from hypothesis import strategies as st

from dropscribe.transcript import Segment, Transcript, Word
from examples import transcript, transcripts

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

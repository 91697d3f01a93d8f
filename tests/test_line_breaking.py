# ruff: noqa: RUF001 (the marks of other writing systems are meant)
"""What a reader sees as one sign is one, has its width, and is never parted; lines end where phrases do."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.formats.cues import Limits, make_cues
from dropscribe.formats.line_breaking import _NARROW, count_columns, forbids_break, split_graphemes
from dropscribe.formats.phrases import choose_model
from dropscribe.transcript import Segment, Transcript, Word
from examples import transcript

FRANCE, GERMANY = "\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea"
FAMILY = "👩‍👩‍👧"
THUMB = "👍🏽"


@pytest.mark.parametrize(
    ("text", "expected", "columns"),
    [
        (FRANCE + GERMANY, [FRANCE, GERMANY], 4),
        (FAMILY + FAMILY, [FAMILY, FAMILY], 4),
        (THUMB + "!", [THUMB, "!"], 3),
        ("❤️", ["❤️"], 2),
        ("1️⃣2", ["1️⃣", "2"], 3),
        ("e\u0301a\u0323\u0302", ["e\u0301", "a\u0323\u0302"], 2),
        ("क्षि", ["क्षि"], 2),
        ("नमस्ते", ["न", "म", "स्ते"], 4),
        ("วันที่", ["วั", "น", "ที่"], 3),
        ("น้ำ", ["น้ำ"], 2),
        ("한글", ["한", "글"], 4),
        ("字がー", ["字", "が", "ー"], 6),
        ("Größe – 5 €", list("Größe – 5 €"), 11),
        ("", [], 0),
    ],
    ids=["flags", "families", "skin tone", "heart", "keycap", "marks", "conjunct", "Hindi", "Thai", "Thai am",
         "Korean", "Japanese", "German", "nothing"],
)  # fmt: skip
def test_graphemes_and_their_columns(text: str, expected: list[str], columns: int) -> None:
    assert list(split_graphemes(text)) == expected
    assert count_columns(text) == columns


def test_the_short_way_for_narrow_text_says_what_the_tables_say() -> None:
    narrow = [character for character in map(chr, range(0x3000)) if _NARROW.fullmatch(character)]
    assert len(narrow) > 900
    assert {wcwidth.width(character) for character in narrow} == {1}
    assert all(list(wcwidth.iter_graphemes(a + "a" + a)) == [a, "a", a] for a in narrow)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (FRANCE[0], FRANCE[1], True),
        (FRANCE, "字", False),
        ("👩\u200d", "👧", True),
        ("👍", "🏽", True),
        ("ก", "็", True),
        ("เ", "ก", True),
        ("วัน", "นี้", False),
        ("स्", "ते", True),
        ("e", "\u0301", True),
        ("字", "。", True),
        ("（", "字", True),
        ("字", "字", False),
        ("ab", "cd", True),
    ],
)
def test_what_stays_together_without_a_space(before: str, after: str, expected: bool) -> None:
    assert forbids_break(before, after, spaced=False) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("ja", "今日は", "ja"),
        ("th", "วันนี้", "th"),
        ("zh", "我们决定去公园散步", "zh-hans"),
        ("zh", "我們決定去公園散步", "zh-hant"),
        ("zh", "今天去", "zh-hans"),
        ("yue", "今日去", "zh-hant"),
        ("yue", "我哋去邊度", "zh-hant"),
        ("en", "今日は", None),
        ("ko", "오늘은", None),
        ("lo", "ມື້ນີ້", None),
    ],
)
def test_the_model_is_that_of_the_language_and_its_characters(language: str, text: str, expected: str | None) -> None:
    assert choose_model(language, text) == expected


def say(text: str, language: str, *, pieces: int, seconds: float = 0.2) -> Transcript:
    """Return a transcript of words of `pieces` characters, whatever they mean, as a model may cut them."""
    parts = [text[i : i + pieces] for i in range(0, len(text), pieces)]
    words = tuple(Word(part, i * seconds * pieces, (i + 1) * seconds * pieces) for i, part in enumerate(parts))
    end = len(parts) * seconds * pieces
    return dataclasses.replace(transcript([Segment(0, 0.0, end, text, words)], duration=end), language=language)


def whole(text: str, language: str) -> Transcript:
    """Return a transcript of one segment whose words have no times."""
    end = 0.2 * len(text)
    return dataclasses.replace(transcript([Segment(0, 0.0, end, text)], duration=end), language=language)


SPOKEN = {
    "ja": (
        "来週の会議では新しい製品の発表について詳しく話し合う予定です",
        {"来週の", "会議では", "新しい", "製品の", "発表に", "ついて", "詳しく", "話し合う", "予定です"},
    ),
    "zh": (
        "我们昨天晚上在图书馆门口等了很久但是一直没有看到他们的汽车",
        {"我们", "昨天", "晚上", "在", "图书馆", "门口", "等", "了", "很久", "但是", "一直", "没有",
         "看到", "他们", "的", "汽车"},
    ),
    "zh-hant": (
        "我們昨天晚上在圖書館門口等了很久但是一直沒有看到他們的汽車",
        {"我們", "昨天", "晚上", "在", "圖書館", "門口", "等", "了", "很久", "但是", "一直", "沒有",
         "看到", "他們", "的", "汽車"},
    ),
    "th": (
        "วันนี้เราจะไปเที่ยวทะเลกับครอบครัวและเพื่อนที่โรงเรียนตอนเช้าด้วยรถไฟ",
        {"วัน", "นี้", "เรา", "จะ", "ไป", "เที่ยว", "ทะเล", "กับ", "ครอบครัว", "และ", "เพื่อน", "ที่", "โรงเรียน", "ตอน",
         "เช้า", "ด้วย", "รถไฟ"},
    ),
}  # fmt: skip
"""Sentences without a mark or a space, and the words, by hand, between which a line of them may end."""


def joins_words(line: str, words: set[str]) -> bool:
    """Return whether a line is made of whole words."""
    return not line or any(joins_words(line.removeprefix(word), words) for word in words if line.startswith(word))


@pytest.mark.parametrize("sentence", SPOKEN)
@pytest.mark.parametrize("pieces", [1, 0], ids=["words of one letter", "no words"])
def test_lines_without_spaces_end_between_words_and_keep_the_columns(sentence: str, pieces: int) -> None:
    text, words = SPOKEN[sentence]
    language = sentence.partition("-")[0]
    made = say(text, language, pieces=pieces) if pieces else whole(text, language)
    limits = Limits().tighten(language)
    lines = [line for cue in make_cues(made) for line in cue.lines]
    assert "".join(lines) == text
    assert len(lines) > 1
    assert max(map(count_columns, lines)) <= limits.line
    assert all(joins_words(line, words) for line in lines), lines


def test_a_language_whose_phrases_are_not_known_is_broken_as_its_characters_suggest() -> None:
    """Katakana is one word, whatever the transcript is called."""
    made = say("これからのプロジェクトマネージャーのためのミーティング", "en", pieces=1)
    lines = [line for cue in make_cues(made) for line in cue.lines]
    assert "".join(lines) == made.text
    assert all(not (a[-1] >= "ァ" and b[0] >= "ァ") for a, b in itertools.pairwise(lines) if b[0] <= "ヿ")


def test_each_part_of_a_mixed_recording_is_broken_by_its_own_language() -> None:
    text, words = SPOKEN["ja"]
    end = 0.2 * len(text)
    segments = [Segment(0, 0.0, end, text, language="ja"), Segment(1, end + 2, end + 4, "And so on.", language="en")]
    made = dataclasses.replace(transcript(segments, duration=end + 4), language="en")
    lines = [line for cue in make_cues(made, Limits(line=26)) for line in cue.lines]
    assert lines.pop() == "And so on."
    assert all(joins_words(line, words) for line in lines), lines


signs = st.sampled_from(
    [FRANCE, GERMANY, FAMILY, THUMB, "e\u0301", "字", "ก็", "น้ำ", "क्षि", "한", "x", "。", "（", " "]
)


@given(st.lists(signs, min_size=1, max_size=120), st.sampled_from(["ja", "zh", "th", "en"]))
def test_no_grapheme_is_parted_in_any_mixture(written: list[str], language: str) -> None:
    text = " ".join("".join(written).split())
    if not text:
        return
    lines = [line for cue in make_cues(whole(text, language)) for line in cue.lines]
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    parted = [sign for line in lines for sign in split_graphemes(line) if sign != " "]
    assert parted == [sign for sign in split_graphemes(text) if sign != " "]
    assert max(map(count_columns, lines)) <= Limits().tighten(language).line


def test_the_libraries_are_not_loaded_before_they_are_needed() -> None:
    """The supervisor imports every format; a daemon that transcribes English should not pay for tables."""
    program = """
import dataclasses, sys
from dropscribe.formats import RENDERERS
from examples import transcript
from dropscribe.transcript import Segment
made = transcript([Segment(0, 0.0, 60.0, "Größe und “Maß” – привет. " * 20)])
for render in RENDERERS.values():
    render(made)
print(*{"wcwidth", "budoux"} & set(sys.modules))
made = transcript([Segment(0, 0.0, 60.0, "字" * 50)])
RENDERERS["srt"](made)
print(*{"wcwidth", "budoux"} & set(sys.modules))
RENDERERS["srt"](dataclasses.replace(made, language="ja"))
print(*sorted({"wcwidth", "budoux"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["", "wcwidth", "budoux wcwidth"]

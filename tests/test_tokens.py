"""Our tokens are those of the tokenizer that faster-whisper uses, and of OpenAI's published numbers."""

from __future__ import annotations

import hashlib
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dropscribe import settings
from dropscribe.backends import _tokens
from dropscribe.backends._tokens import LANGUAGES, Tokens

SIZES = (51864, 51865, 51866)
FOLDER = Path(_tokens.__file__).parent / "vocabulary"


@cache
def tokens(size: int) -> Tokens:
    return Tokens(size)


@pytest.fixture(scope="module")
def theirs(tiny_en: Path) -> Any:
    """faster-whisper's tokenizer of the English model, made from its `tokenizer.json`."""
    library = importlib.import_module("tokenizers")
    return importlib.import_module("faster_whisper.tokenizer").Tokenizer(
        library.Tokenizer.from_file(str(tiny_en / "tokenizer.json")), multilingual=False
    )


def test_the_vocabularies_are_the_published_files() -> None:
    told = re.findall(r"([0-9a-f]{64})  (\S+)", (FOLDER / "README.md").read_text())
    assert {name for _, name in told} == {path.name for path in FOLDER.glob("*.tiktoken")}
    for digest, name in told:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", ["end", "start", "prev", "no_speech", "no_timestamps", "transcribe", "translate"])
def test_the_special_tokens_of_an_english_model(name: str, theirs: Any) -> None:
    other = {"end": "eot", "start": "sot", "prev": "sot_prev"}.get(name, name)
    assert getattr(tokens(51864), name) == getattr(theirs, other)


@pytest.mark.parametrize(
    ("size", "numbers"),
    [
        (51865, (50257, 50258, 50259, 50358, 50359, 50361, 50362, 50363)),
        (51866, (50257, 50258, 50259, 50359, 50360, 50362, 50363, 50364)),
    ],
)
def test_the_special_tokens_of_the_models_of_many_languages(size: int, numbers: tuple[int, ...]) -> None:
    t = tokens(size)
    found = (
        t.end,
        t.start,
        t.languages["en"],
        t.translate,
        t.transcribe,
        t.prev,
        t.no_speech,
        t.no_timestamps,
    )
    assert found == numbers
    assert t.size == t.no_timestamps + 1 + 1501  # the rest are times, 0.00 to 30.00


def test_the_languages_are_all_that_whisper_knows() -> None:
    known = importlib.import_module("faster_whisper.tokenizer")._LANGUAGE_CODES
    assert sorted(LANGUAGES) == sorted(known) == sorted(settings.LANGUAGES)
    assert "yue" in tokens(51866).languages
    assert "yue" not in tokens(51865).languages


def test_what_stands_before_a_text() -> None:
    assert tokens(51864).prefix("en", "transcribe") == [50257, 50362]
    assert tokens(51865).prefix("fr", "translate") == [50258, 50265, 50358, 50363]
    with pytest.raises(ValueError, match="yue"):
        tokens(51865).prefix("yue", "transcribe")
    with pytest.raises(ValueError, match="50000"):
        Tokens(50000)


TEXT = st.text(
    st.one_of(
        st.sampled_from(" 'stldrvem\n\t\u00a0\u3000\x1cé½²Ⅷ.,!?—\u0301"), st.characters(exclude_categories=["Cs"])
    )
)


@given(text=TEXT)
@example(text="  It's   what we'LL say:\n\n 12 o'clock, isn't it? ")
@example(text="<|endoftext|>")
@example(text="naïve café 北京 привет 👩‍👩‍👧 𐍈")
def test_a_text_gets_the_tokens_of_the_library(text: str, theirs: Any) -> None:
    if re.search(r"<\|.*\|>", text):  # a special token for the library; for us, whoever says so, text
        assert max(tokens(51864).encode(text)) < tokens(51864).end
    else:
        assert tokens(51864).encode(text) == theirs.encode(text)


@given(text=TEXT, size=st.sampled_from(SIZES))
def test_tokens_give_their_text_back(text: str, size: int) -> None:
    t = tokens(size)
    assert t.decode([*t.encode(text), t.end, t.no_speech]) == text


@given(data=st.data(), size=st.sampled_from(SIZES), language=st.sampled_from(["en", "zh", None]))
def test_a_split_text_is_whole(data: st.DataObject, size: int, language: str | None) -> None:
    t = tokens(size)
    drawn = data.draw(st.lists(st.integers(0, t.end - 1)))  # any bytes, also no UTF-8
    words, pieces = t.split(drawn, language)
    assert "".join(words) == t.decode(drawn)
    assert [token for piece in pieces for token in piece] == drawn
    assert all(pieces)


def test_words_are_split_at_spaces_and_marks_and_characters_where_there_are_none() -> None:
    t = tokens(51865)
    assert t.split(t.encode(" Unbelievable, isn't it?"), "en")[0] == [" Unbelievable", ",", " isn't", " it", "?"]
    assert t.split(t.encode("謝謝你 👩"), "zh")[0] == ["謝謝", "你", " 👩"]
    assert t.split([], "en") == ([], [])


def test_the_marks_that_are_never_speech_are_those_of_the_library(theirs: Any) -> None:
    assert sorted(tokens(51864).never()) == sorted(theirs.non_speech_tokens)

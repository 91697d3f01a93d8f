"""Numbers in figures: which, in which languages, and what becomes of the words' times."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import PurePath

import pytest

from dropscribe.formats import figures
from dropscribe.settings import Settings
from dropscribe.supervisor import assembly
from dropscribe.transcript import Segment, Word
from examples import transcript


def write(text: str, language: str = "en") -> str:
    for match in reversed(list(figures.find_numbers(text, language))):
        text = text[: match.start] + match.right + text[match.end :]
    return text


@pytest.mark.parametrize(
    ("language", "said", "written"),
    [
        ("en", "Extension one two three four, please.", "Extension 1234, please."),
        ("en", "Twenty-five thousand and three people, or 1,234.", "25003 people, or 1,234."),
        ("en", "Press seven, or two.", "Press 7, or 2."),
        ("en", "One, two, three, four.", "1, 2, 3, 4."),
        ("en", "zero zero seven zero zero zero", "007000"),
        ("en", "No one of them was second: the second one won.", "No one of them was second: the second one won."),
        ("fr", "Appuyez sur deux cent trois ou l'un des deux.", "Appuyez sur 203 ou l'un des 2."),
        ("de", "Dreiundzwanzig Euro", "23 Euro"),
        ("es", "uno de ellos", "uno de ellos"),
    ],
)
def test_numbers_become_figures_and_what_only_looks_like_one_stays(language: str, said: str, written: str) -> None:
    assert write(said, language) == written
    assert write(written, language) == written


def test_a_number_has_the_time_of_its_words() -> None:
    words = tuple(
        Word(text, start, start + 0.4, probability)
        for text, start, probability in (
            (" Dial", 0.0, 0.9),
            (" one", 1.0, 0.8),
            (" two", 1.5, 0.7),
            (" three.", 2.0, 0.9),
            (" Bye.", 3.0, 0.9),
        )
    )
    segment = Segment(0, 0.0, 3.4, "Dial one two three. Bye.", words)
    made = figures.write_figures(transcript([segment]))
    assert made.text == "Dial 123. Bye."
    assert made.segments[0].words == (words[0], Word(" 123.", 1.0, 2.4, 0.7), words[4])
    assert made.engine.options["numbers"] == "digits"
    assert figures.write_figures(made) is made


def test_in_other_languages_and_in_segments_of_them_all_stays() -> None:
    russian = Segment(0, 0.0, 1.0, "двадцать пять", language="ru")
    english = Segment(1, 1.0, 2.0, "twenty five")
    made = figures.write_figures(transcript([russian, english]))
    assert [segment.text for segment in made.segments] == ["двадцать пять", "25"]


@pytest.mark.parametrize(("numbers", "text"), [("digits", "25"), ("as said", "twenty five")])
def test_the_setting_decides(numbers: str, text: str) -> None:
    chosen = dataclasses.replace(Settings(), numbers=numbers)
    given = transcript([Segment(0, 0.0, 1.0, "twenty five")])
    made = assembly.finish_transcript(given, PurePath("talk.m4a"), 0, chosen, datetime.now(UTC))
    assert made.text == text

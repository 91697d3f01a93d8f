"""Words written otherwise: which, how, with what times, and that nothing else changes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dropscribe.formats.replacements import replace
from dropscribe.formats.text import render_markdown, render_txt
from dropscribe.transcript import Segment, Transcript, Word
from examples import TWO, transcript, transcripts


def spoken(*words: str, speakers: str = "") -> Transcript:
    """Return one segment of words, each half a second long with a pause of half a second behind it."""
    made = tuple(
        Word(word, float(i), i + 0.5, 0.9 - i / 10, speakers[i] if speakers else None) for i, word in enumerate(words)
    )
    return transcript([Segment(0, 0.0, len(words) - 0.5, "".join(words).strip(), made)])


def written(table: dict[str, str], *words: str) -> str:
    return replace(spoken(*words), table).text


@pytest.mark.parametrize(
    ("table", "said", "text"),
    [
        (
            {"drop scribe": "Dropscribe"},
            " We use drop scribe, and Drop Scribe.",
            "We use Dropscribe, and Dropscribe.",
        ),
        ({"alto": "Aalto"}, " Alto's alto, contralto (alto) alto-sax l'alto", None),
        ({"don": "Dawn"}, " Don don't don\u2019t don.", "Dawn don't don\u2019t Dawn."),
        ({"color": "colour"}, " Color color COLOR colors", "Colour colour COLOUR colors"),
        ({"Adidas": "adidas"}, " Adidas ADIDAS", "adidas adidas"),
        ({"new york": "York", "york": "New York"}, " new york york", "York New York"),
        ({"a": "b", "b": "a"}, " a b", "b a"),
        ({"c++": "C#"}, " c++ c++, c+++", "C# C#, C#+"),
        ({"北京": "北平"}, " 我在北京住", "我在北平住"),
        ({"हि": "x"}, " हिंदी", "हिंदी"),
        ({"i": "J"}, " \u0131 \u0130", None),
        ({"gone": "here"}, " nothing of it", "nothing of it"),
    ],
)
def test_whole_words_are_written_as_the_table_says(table: dict[str, str], said: str, text: str | None) -> None:
    expected = {"alto": "Aalto's Aalto, contralto (Aalto) Aalto-sax l'Aalto", "i": "J J"}
    assert written(table, *(" " + word for word in said.split())) == (text or expected[next(iter(table))])


def test_as_many_words_keep_their_times() -> None:
    made = replace(spoken(" Ask", " jon", " smit,", " please."), {"jon smit": "John Smith"})
    assert [(w.word, w.start, w.end, w.probability) for w in made.segments[0].words] == [
        (" Ask", 0.0, 0.5, 0.9),
        (" John", 1.0, 1.5, 0.8),
        (" Smith,", 2.0, 2.5, 0.7),
        (" please.", 3.0, 3.5, pytest.approx(0.6)),
    ]


def test_fewer_words_are_merged_with_their_times() -> None:
    made = replace(spoken(" Use", " drop", " scribe,", " now."), {"drop scribe": "Dropscribe"})
    assert [(w.word, w.start, w.end, w.probability) for w in made.segments[0].words] == [
        (" Use", 0.0, 0.5, 0.9),
        (" Dropscribe,", 1.0, 2.5, 0.7),
        (" now.", 3.0, 3.5, pytest.approx(0.6)),
    ]
    assert made.text == made.segments[0].text == "Use Dropscribe, now."


def test_more_words_share_the_time_by_their_length() -> None:
    made = replace(spoken(" Use", " newyorker."), {"newyorker": "New Yorker"})
    assert [(w.word, w.start, w.end) for w in made.segments[0].words[1:]] == [
        (" New", 1.0, 1.15),
        (" Yorker.", 1.15, 1.5),
    ]


def test_two_speakers_are_never_made_one() -> None:
    said = spoken(" drop", " scribe", " drop", " scribe", speakers="AABA")
    assert replace(said, {"drop scribe": "Dropscribe"}).text == "Dropscribe drop scribe"


def test_a_segment_without_words_has_its_text_replaced() -> None:
    assert replace(TWO, {"second": "third"}).segments[1].text.startswith("This is the third one")


def test_it_is_recorded_and_not_done_twice() -> None:
    once = replace(spoken(" a"), {"a": "a a"})
    assert once.engine.options == TWO.engine.options | {"replacements": {"a": "a a"}}
    assert replace(Transcript.from_json(once.to_json()), {"a": "a a"}) == once
    assert once.text == "a a"


def test_many_replacements_in_a_long_text_take_no_time() -> None:
    table = {f"word{n} {n}": f"Word{n}" for n in range(1000)}
    words = [word for n in range(1000) for word in (f" word{n}", f" {n}")]
    assert replace(spoken(*words), table).text == " ".join(f"Word{n}" for n in range(1000))


# What holds for any words

letters = st.text("abAB \u2019'-.", min_size=1, max_size=4)
tables = st.dictionaries(
    letters.filter(str.strip), letters.filter(lambda right: any(map(str.isalnum, right))), min_size=1, max_size=5
).map(lambda table: {" ".join(k.split()): " ".join(v.split()) for k, v in table.items()})


@st.composite
def sentences(draw: st.DrawFn) -> Transcript:
    """One segment as the engines give them: words in order, without overlap, joined the text."""
    texts = draw(st.lists(letters, min_size=1, max_size=12))
    edges = sorted(draw(st.lists(st.integers(0, 30_000), min_size=2 * len(texts), max_size=2 * len(texts))))
    words = tuple(
        Word(text, edges[2 * i] / 1000, edges[2 * i + 1] / 1000, draw(st.none() | st.floats(0, 1)))
        for i, text in enumerate(texts)
    )
    return transcript([Segment(0, words[0].start, words[-1].end, "".join(texts).strip(), words)])


@given(sentences(), tables)
def test_joined_the_words_are_the_text_and_times_stay_in_order(said: Transcript, table: dict[str, str]) -> None:
    (before,), (after,) = said.segments, replace(said, table).segments
    assert "".join(word.word for word in after.words).strip() == after.text
    times = [time for word in after.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] == before.words[0].start
    assert times[-1] == before.words[-1].end
    assert dataclasses.replace(after, text=before.text, words=before.words) == before


@given(sentences(), tables)
def test_words_without_anything_to_replace_are_the_same(said: Transcript, table: dict[str, str]) -> None:
    """A word that has no letter in common with any left side is found again, with its times, in the same order."""
    used = set("".join(table).casefold())
    separate = [w for w in said.segments[0].words if w.word.strip() and not used.intersection(w.word.casefold())]
    after = iter(replace(said, table).segments[0].words)
    assert all(any(word == other for other in after) for word in separate)


@given(sentences(), tables)
def test_text_alone_and_words_come_to_the_same(said: Transcript, table: dict[str, str]) -> None:
    (segment,) = said.segments
    bare = dataclasses.replace(said, segments=(dataclasses.replace(segment, words=()),))
    assert replace(bare, table).text.strip() == replace(said, table).text


@given(transcripts, st.dictionaries(st.text("ab ", min_size=1).filter(str.strip), st.just("x"), min_size=1))
def test_whatever_a_transcript_holds_nothing_else_changes(made: Transcript, table: dict[str, str]) -> None:
    after = replace(made, table)
    assert len(after.segments) == len(made.segments)
    assert after.text == " ".join(segment.text for segment in after.segments)
    same = dataclasses.replace(after, text=made.text, segments=made.segments, engine=made.engine)
    assert same == made
    for old, new in zip(made.segments, after.segments, strict=True):
        if "".join(word.word for word in old.words).strip() == old.text:
            assert "".join(word.word for word in new.words).strip() == new.text


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=8), st.text("ab", min_size=1, max_size=3))
def test_every_whole_word_is_found_and_no_part_of_one(texts: list[str], wrong: str) -> None:
    assume(wrong not in "xyz")
    said = spoken(*(" " + text for text in texts))
    words = [word.word for word in replace(said, {wrong: "xyz"}).segments[0].words]
    assert words == [" xyz" if text == wrong else " " + text for text in texts]


def test_times_of_new_words_are_inside_the_old_ones() -> None:
    made = replace(spoken(" one"), {"one": "this is one of many words here"})
    for word, after in itertools.pairwise(made.segments[0].words):
        assert 0.0 <= word.start < word.end == after.start <= 0.5


# Words that go, marks and lines that are dictated


@pytest.mark.parametrize(
    ("table", "said", "text"),
    [
        ({"um": ""}, " So um, we went, um, home.", "So we went, home."),
        ({"um": ""}, " Um, we went. Um... home um", "We went. Home"),
        ({"um": ""}, " We went home, um. Yes um!", "We went home. Yes!"),
        ({"um": ""}, " We went. Um. Home", "We went. Home"),
        ({"um": ""}, ' He said "um, no" and "Um." (um)', 'He said "no" and.'),
        ({"um": ""}, " Um um, um, no", "No"),
        ({"um": ""}, " um-hum umbrella um\u2014 then um's", "um-hum umbrella then um's"),
        ({"you know": ""}, " It is, you know, you know, fine.", "It is, fine."),
        ({"äh": ""}, " Äh, übrigens", "Übrigens"),
        ({"あの": ""}, " それはあの、いい", "それは、いい"),
        ({"full stop": "."}, " the end full stop next", "the end. Next"),
        ({"full stop": "."}, " The end, full stop. Next", "The end. Next"),
        ({"full stop": "."}, " The end. Full stop.", "The end."),
        ({"comma": ","}, " milk comma eggs, comma, bread", "milk, eggs, bread"),
        ({"question mark": "?"}, ' "Why question mark" he', '"Why?" He'),
        ({"open bracket": "(", "close bracket": ")"}, " a open bracket b close bracket. c", "a (b). c"),
        ({"dash": "\u2013"}, " a dash b", "a \u2013 b"),
        ({"percent": "%"}, " fifty percent.", "fifty%."),
        ({"comma": ","}, " comma first", ", first"),
    ],
)
def test_what_is_deleted_or_dictated_leaves_the_sentence_in_order(
    table: dict[str, str], said: str, text: str
) -> None:
    expected = {"fifty%.": "fifty%."}.get(text, text)
    assert written(table, *(" " + word for word in said.split())) == expected


def test_deleted_words_take_their_times_along_and_no_others() -> None:
    made = replace(spoken(" Um,", " we", " um", " went", " um."), {"um": ""})
    (segment,) = made.segments
    assert [(w.word, w.start, w.end) for w in segment.words] == [(" We", 1.0, 1.5), (" went.", 3.0, 3.5)]
    assert (segment.start, segment.end, segment.text) == (1.0, 3.5, "We went.")


def test_a_segment_of_deleted_words_is_gone_and_the_others_are_numbered_anew() -> None:
    said = transcript(
        [
            Segment(0, 0.0, 1.0, "We went", (Word(" We", 0.0, 0.5), Word(" went", 0.5, 1.0))),
            Segment(1, 1.0, 2.0, "Um.", (Word(" Um.", 1.0, 2.0),)),
            Segment(2, 2.0, 3.0, "Home", (Word(" Home", 2.0, 3.0),)),
        ]
    )
    made = replace(said, {"um": ""})
    assert [(s.id, s.start, s.end, s.text) for s in made.segments] == [
        (0, 0.0, 1.0, "We went."),
        (1, 2.0, 3.0, "Home"),
    ]
    assert made.text == "We went. Home"


def test_nothing_moves_to_what_another_person_said() -> None:
    made = replace(spoken(" We", " went", " um.", " Um,", " yes", speakers="AABBB"), {"um": ""})
    assert made.segments[0].text == "We went Yes"
    assert replace(spoken(" no", " comma", speakers="AB"), {"comma": ","}).text == "no,"
    assert [w.speaker for w in replace(spoken(" no", " comma", speakers="AB"), {"comma": ","}).segments[0].words] == [
        "A",
        "B",
    ]


def test_lines_and_paragraphs_begin_where_it_is_dictated() -> None:
    said = " Dear Ann comma new line thank you. New paragraph. See you new paragraph"
    made = replace(
        spoken(*(" " + word for word in said.split())), {"comma": ",", "new line": "\n", "new paragraph": "\n\n"}
    )
    assert [(s.text, s.begins) for s in made.segments] == [
        ("Dear Ann", None),
        ("Thank you.", "line"),
        ("See you", "paragraph"),
    ]
    assert render_txt(made) == "Dear Ann\nThank you.\n\nSee you\n"
    assert "Dear Ann\\\n\u200bThank you.\n\n[00:00" in render_markdown(made)
    assert Transcript.from_json(made.to_json()) == made


def test_a_segment_without_words_loses_what_is_deleted_too() -> None:
    said = transcript([Segment(0, 0.0, 2.0, "So um, we went um.")])
    (segment,) = replace(said, {"um": ""}).segments
    assert (segment.text, segment.words, segment.start, segment.end) == ("So we went.", (), 0.0, 2.0)


@pytest.mark.parametrize(
    ("language", "said", "text"),
    [
        ("en", " Um, so uh er I, uhh, erm, went to the ER. Hmm.", "So I, went to the ER."),
        ("de", " Ähm, er ging um, äh, zehn zur EM.", "Er ging um, zehn zur EM."),
        ("fr", " Euh, il a eu, heu, faim.", "Il a eu, faim."),
        ("ru", " Э, это 5 мм.", "Это 5 мм."),
        ("ja", " えーと、今日は", "、今日は"),
        ("xx", " um uh", "um uh"),
    ],
)
def test_sounds_of_hesitation_go_by_language(language: str, said: str, text: str) -> None:
    spoken_words = dataclasses.replace(spoken(*(" " + word for word in said.split())), language=language)
    assert replace(spoken_words, {}).text == said.strip()
    assert replace(spoken_words, {}, drop_fillers=True).text == text


def test_the_language_of_a_segment_and_the_table_come_first() -> None:
    said = spoken(" Um", " zehn,", " um", " elf.")
    german = dataclasses.replace(said, segments=(dataclasses.replace(said.segments[0], language="de"),))
    assert replace(german, {}, drop_fillers=True).segments == german.segments
    made = replace(said, {"um": "Umm"}, drop_fillers=True)
    assert made.text == "Umm zehn, Umm elf."
    assert made.engine.options["fillers"] == "drop"
    assert replace(Transcript.from_json(made.to_json()), {"um": "Umm"}, drop_fillers=True) == made

# ruff: noqa: RUF001 (the marks of other writings are meant)
"""Subtitles that read well: every rule, in every writing, and what gives way when one cannot be kept."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.formats.cues import Cue, Limits, make_cues
from dropscribe.formats.cues.atoms import make_atoms
from dropscribe.formats.cues.cutting import Cutter, split_stretches
from dropscribe.formats.line_breaking import count_columns
from dropscribe.formats.subtitles import render_srt, render_vtt
from dropscribe.transcript import Segment, Transcript, Word
from examples import transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.transcript import Option

LIMITS = Limits()


def speak(text: str | Sequence[str], *, language: str = "en", pace: float = 0.07, start: float = 0.5) -> Transcript:
    """Return text as if it were said at `pace` seconds a column, with a pause of half a second at each `|`."""
    words, at = [], start
    for word in [f" {w}" for w in text.split()] if isinstance(text, str) else text:
        if word.strip() == "|":
            at += 0.5
            continue
        end = at + pace * max(1, count_columns(word.strip()))
        words.append(Word(word, round(at, 3), round(end, 3)))
        at = end
    segment = Segment(0, start, at, "".join(w.word for w in words).strip(), tuple(words))
    return dataclasses.replace(transcript([segment], duration=at), language=language)


def lines(made: Transcript) -> list[tuple[str, ...]]:
    return [cue.lines for cue in make_cues(made)]


def test_one_short_sentence_is_one_line_from_its_first_word_on() -> None:
    assert make_cues(speak("Please hold the line.")) == [Cue(500, 1900, ("Please hold the line.",))]


def test_cues_end_where_sentences_and_phrases_do() -> None:
    made = speak(
        "If you would like to hear this again, press one. To speak with somebody in our office, "
        "please stay on the line and we will be with you as soon as we can."
    )
    assert lines(made) == [
        ("If you would like to hear", "this again, press one."),
        ("To speak with somebody in our office,",),
        ("please stay on the line and we will", "be with you as soon as we can."),
    ]


def test_lines_are_balanced_and_no_article_ends_one() -> None:
    made = speak("The number that you have dialed is in the process of being changed today.")
    assert lines(made) == [("The number that you have dialed", "is in the process of being changed today.")]


def test_no_cue_stands_over_a_silence() -> None:
    words = (Word(" One,", 0.0, 0.4), Word(" two.", 0.4, 0.8), Word(" Three.", 9.0, 9.4))
    made = transcript([Segment(0, 0.0, 9.4, "One, two. Three.", words)])
    assert make_cues(made) == [Cue(0, 1000, ("One, two.",)), Cue(9000, 10000, ("Three.",))]


def test_a_short_gap_is_closed_and_a_long_one_kept() -> None:
    said = [
        Segment(0, 0.0, 2.0, "This is the first of them."),
        Segment(1, 2.6, 4.6, "This is the second of them, which is longer."),
        Segment(2, 6.2, 8.0, "This is the third of them."),
    ]
    first, second, third = make_cues(transcript(said))
    assert second.start - first.end == LIMITS.gap
    assert third.start - second.end >= LIMITS.jerky


def test_segments_without_words_keep_their_own_times() -> None:
    made = transcript([Segment(0, 3.0, 5.0, "No words here."), Segment(1, 8.0, 10.0, "Nor here.")])
    assert make_cues(made) == [Cue(3000, 5000, ("No words here.",)), Cue(8000, 10000, ("Nor here.",))]


def test_words_that_do_not_spell_the_text_are_not_believed() -> None:
    made = transcript([Segment(0, 3.0, 5.0, "Said.", (Word(" Unsaid.", 0.0, 1.0),))])
    assert make_cues(made) == [Cue(3000, 5000, ("Said.",))]


def test_each_speaker_has_cues_of_their_own() -> None:
    made = transcript(
        [
            Segment(0, 0.0, 2.0, "Are you there?", speaker="Ann"),
            Segment(1, 2.0, 4.0, "Yes, I am.", speaker="Bob & Co"),
        ]
    )
    assert render_vtt(made) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.917\n<v Ann>Are you there?\n\n"
        "00:00:02.000 --> 00:00:04.000\n<v Bob &amp; Co>Yes, I am.\n\n"
    )
    assert render_srt(made) == (
        "1\n00:00:00,000 --> 00:00:01,917\nAnn: Are you there?\n\n2\n00:00:02,000 --> 00:00:04,000\n"
        "Bob & Co: Yes, I am.\n\n"
    )


def test_two_who_speak_at_once_are_shown_one_after_the_other() -> None:
    made = transcript(
        [Segment(0, 0.0, 4.0, "A long story of mine.", speaker="A"), Segment(1, 1.0, 2.0, "Really?", speaker="B")]
    )
    shown = make_cues(made)
    assert [c.speaker for c in shown] == ["A", "B"]
    assert shown[0].end <= shown[1].start


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            speak(list("今天的天气非常好，我们决定去公园散步。公园里有很多人。"), language="zh"),
            [("今天的天气非常好，", "我们决定去公园散步。"), ("公园里有很多人。",)],
        ),
        (
            speak(list("これから、新しいプロジェクトについて、ご説明します。"), language="ja"),
            [("これから、新しい", "プロジェクトについて、"), ("ご説明します。",)],
        ),
        (
            speak(["สวัสดี", "ครับ", "วัน", "นี้", "เรา", "จะ", "พูด", "ถึง", "เรื่อง", "การ", "เดินทาง", " ซึ่ง", "สวย", "งาม",
                   "มาก"], language="th"),
            [("สวัสดีครับวันนี้เราจะพูดถึง", "เรื่องการเดินทาง ซึ่งสวยงามมาก")],
        ),
        (
            speak("שלום לכולם, היום נדבר על ההיסטוריה של ירושלים. זה נושא מרתק!", language="he"),
            [("שלום לכולם, היום נדבר", "על ההיסטוריה של ירושלים."), ("זה נושא מרתק!",)],
        ),
        (
            speak("Avez-vous pensé à partir en vacances au mois de décembre ? Oui : « bien sûr » !", language="fr"),
            [("Avez-vous pensé à partir", "en vacances au mois de décembre ?"), ("Oui : « bien sûr » !",)],
        ),
    ],
    ids=["zh", "ja", "th", "he", "fr"],
)  # fmt: skip
def test_other_writings(made: Transcript, expected: list[tuple[str, ...]]) -> None:
    assert lines(made) == expected


def test_right_to_left_lines_are_marked_where_players_lay_out_from_the_left() -> None:
    made = speak("זה נושא מרתק!", language="he")
    assert "\n\u202bזה נושא מרתק!\u202c\n" in render_srt(made)
    assert "\nזה נושא מרתק!\n" in render_vtt(made)
    assert "\u202b" not in render_srt(speak("Say שלום to all."))


@pytest.mark.parametrize("language", ["ja", "zh", "th", "ko", "en"])
def test_what_has_no_space_at_all_is_cut_between_signs(language: str) -> None:
    for sign in ("字", "x", "ก็", "e\u0301", "👩‍👩‍👧"):
        made = dataclasses.replace(transcript([Segment(0, 0.0, 60.0, sign * 100)]), language=language)
        shown = [line for cue in make_cues(made) for line in cue.lines]
        assert "".join(shown) == sign * 100
        assert all(line.count(sign) * len(sign) == len(line) for line in shown)
        assert max(map(count_columns, shown)) <= LIMITS.tighten(language).line


def test_limits_are_settings_and_a_language_only_tightens_them() -> None:
    made = speak("The number that you have dialed is in the process of being changed today.")
    assert [cue.lines for cue in make_cues(made, Limits(lines=3, line=26))] == [
        ("The number that you have", "dialed is in the process", "of being changed today.")
    ]
    narrow = make_cues(made, Limits(line=20, longest=2500))
    assert all(max(map(count_columns, c.lines)) <= 20 and c.end - c.start <= 2500 for c in narrow)
    assert Limits(line=20).tighten("ja").line == 20
    assert Limits().tighten("ja").line == 26
    assert Limits().tighten("en") == Limits()


def test_a_neighbour_gives_time_before_a_rule_is_broken() -> None:
    # The middle one lacks 0.2 s, and those next to it are slow.
    made = transcript(
        [
            Segment(0, 0.0, 3.0, "Well, then.", speaker="A"),
            Segment(1, 3.0, 3.9, "Yes!", speaker="B"),
            Segment(2, 3.9, 7.0, "So be it.", speaker="A"),
        ]
    )
    first, second, third = make_cues(made)
    assert second.end - second.start == LIMITS.shortest
    assert first.end + LIMITS.gap <= second.start
    assert second.end + LIMITS.gap == third.start
    assert abs(third.start - 3900) <= LIMITS.shift


def test_a_speaker_who_is_too_fast_costs_reading_speed_and_nothing_else() -> None:
    made = speak(
        "This is far too fast for anybody to read, and so it goes on and on without a breath. " * 4, pace=0.03
    )
    shown = make_cues(made)
    assert " ".join(line for cue in shown for line in cue.lines) == made.segments[0].text
    starts = {round(w.start * 1000) for w in made.segments[0].words}
    for cue in shown:
        assert len(cue.lines) <= LIMITS.lines
        assert max(map(count_columns, cue.lines)) <= LIMITS.line
        assert LIMITS.shortest <= cue.end - cue.start <= LIMITS.longest
        assert min(abs(cue.start - start) for start in starts) <= LIMITS.shift
    assert all(b.start - a.end >= LIMITS.gap for a, b in itertools.pairwise(shown))


# Any speech.

vocabulary = st.sampled_from(
    [
        *(
            "a",
            "I",
            "of",
            "the",
            "and",
            "but",
            "voice",
            "mail.",
            "number,",
            "please",
            "press",
            "one.",
            "today:",
            "yes!",
        ),
        *("conference?", "extraordinarily", "Donaudampfschiffahrtsgesellschaft;", "12", "42,", "don't", "(so)"),
        *("“well”", "-", "–"),
    ]
)


@st.composite
def speech(draw: st.DrawFn) -> Transcript:
    """Draw what one person says at up to 15 columns a second, with pauses of any length."""
    words, at = [], draw(st.floats(0, 3))
    for word in draw(st.lists(vocabulary, min_size=1, max_size=60)):
        at += draw(st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.02, 0.3, 0.7, 0.99, 1.0, 1.01, 2.0, 5.0]))
        end = at + (len(word) + 1) * draw(st.floats(1 / 15, 1 / 10))
        words.append(Word(f" {word}", at, end))
        at = end
    return transcript([Segment(0, words[0].start, at, "".join(w.word for w in words).strip(), tuple(words))])


@given(speech())
def test_every_rule_is_kept_while_the_speaker_leaves_time_to_read(made: Transcript) -> None:
    shown = make_cues(made)
    assert " ".join(line for cue in shown for line in cue.lines) == made.segments[0].text
    words = iter(made.segments[0].words)
    for before, cue in zip([None, *shown], shown, strict=False):
        said = list(itertools.islice(words, sum(len(line.split()) for line in cue.lines)))
        time = cue.end - cue.start
        assert len(cue.lines) <= LIMITS.lines
        assert max(map(count_columns, cue.lines)) <= LIMITS.line
        assert LIMITS.shortest <= time <= LIMITS.longest
        assert count_columns(" ".join(cue.lines)) * 1000 / time <= LIMITS.fastest
        assert abs(cue.start - said[0].start * 1000) <= LIMITS.shift + 1
        edges = [cue.start, *(t * 1000 for w in said for t in (w.start, w.end)), cue.end]
        assert max(b - a for a, b in zip(edges[::2], edges[1::2], strict=True)) <= LIMITS.silence + 1
        if before:
            assert cue.start - before.end >= LIMITS.gap


@st.composite
def anything(draw: st.DrawFn) -> Transcript:
    """Draw segments whose words have any times, in any order."""
    found = []
    for start in sorted(draw(st.lists(st.floats(0, 100), max_size=5))):
        words = tuple(
            Word(f" {text}", start := draw(st.floats(0, 100)), draw(st.floats(start, 100)))
            for text in draw(st.lists(vocabulary, min_size=1, max_size=12))
        )
        text = "".join(w.word for w in words).strip()
        speaker = draw(st.sampled_from([None, "A", "B"]))
        found.append(Segment(0, start, start + draw(st.floats(0, 10)), text, words, speaker=speaker))
    return transcript(found)


@given(anything())
def test_lines_and_order_are_kept_whatever_the_times(made: Transcript) -> None:
    shown = make_cues(made)
    assert " ".join(line for cue in shown for line in cue.lines) == made.text
    assert all(len(cue.lines) <= LIMITS.lines and max(map(count_columns, cue.lines)) <= LIMITS.line for cue in shown)
    assert all(cue.start < cue.end for cue in shown)
    assert all(a.end <= b.start for a, b in itertools.pairwise(shown))


limits = st.builds(
    lambda line, rows, longest, words: dataclasses.replace(
        Limits(),
        line=line,
        lines=rows,
        longest=longest,
        words=words,
        shortest=min(LIMITS.shortest, words * 300 or LIMITS.shortest),
    ),
    st.integers(8, 60),
    st.integers(1, 4),
    st.sampled_from([1500, 3000, 12000]),
    st.integers(0, 8),
)


@given(speech(), limits)
def test_other_lengths_are_settings_and_every_rule_holds_with_them(made: Transcript, limits: Limits) -> None:
    options: dict[str, Option] = {
        "subtitle_columns": str(limits.line),
        "subtitle_lines": str(limits.lines),
        "subtitle_seconds": f"{limits.longest / 1000:g}",
        "subtitle_words": str(limits.words or ""),
    }
    made = dataclasses.replace(made, engine=dataclasses.replace(made.engine, options=options))
    assert Limits.of(made) == limits
    cues, whole = make_cues(made), {atom.text for atom in make_atoms(made, limits, labelled=False)}
    words = [word.word.strip() for segment in made.segments for word in segment.words]
    runs = {"".join(words[i : i + limits.words]) for i in range(len(words))}  # one may be cut at a line's end
    for cue in cues:
        assert len(cue.lines) <= limits.lines
        assert max(map(count_columns, cue.lines)) <= limits.line
        said = " ".join(cue.lines)
        assert not limits.words or said in whole or any(said.replace(" ", "") in several for several in runs)
        assert 1 <= cue.end - cue.start <= limits.longest
    assert all(a.end <= b.start for a, b in itertools.pairwise(cues))
    shown = "".join("".join(cue.lines).replace(" ", "") for cue in cues)
    assert shown == "".join(segment.text.replace(" ", "") for segment in made.segments)


def test_short_cues_are_shown_one_after_the_other() -> None:
    made = speak("We shall fight on the beaches, and we shall never surrender.")
    options: dict[str, Option] = {"subtitle_words": "3", "subtitle_lines": "1", "subtitle_columns": "20"}
    made = dataclasses.replace(made, engine=dataclasses.replace(made.engine, options=options))
    assert lines(made) == [("We shall fight",), ("on the beaches,",), ("and we shall",), ("never surrender.",)]


@given(st.lists(vocabulary, min_size=1, max_size=9), st.floats(0.02, 0.2))
def test_no_other_division_of_the_words_costs_less(said: list[str], pace: float) -> None:
    made = speak(" ".join(said), pace=pace)
    for stretch, following in split_stretches(make_atoms(made, LIMITS, labelled=False), LIMITS):
        cutter = Cutter(stretch, following, LIMITS)
        count = len(cutter._atoms)

        def cost(edges: tuple[int, ...], cutter: Cutter = cutter) -> float:
            total = 0.0
            for i, j in itertools.pairwise(edges):
                if j - i > 1 and cutter._atoms[j - 1].end - cutter._atoms[i].start > LIMITS.longest:
                    return math.inf
                _, uneven = cutter._break_lines(i, j, LIMITS.lines)
                total += uneven + cutter._rate_cue(i, j)
            return total

        every = ((0, *inner, count) for k in range(count) for inner in itertools.combinations(range(1, count), k))
        chosen = [len([a for a in cutter._atoms if a.start < d.start]) for d in cutter.cut()]
        assert cost((*chosen, count)) == pytest.approx(min(map(cost, every)))


@pytest.mark.parametrize("unsure", [9, 11])
def test_of_two_pauses_the_one_whose_times_are_sure_ends_the_cue(unsure: int) -> None:
    words, at = [], 0.0
    for i in range(22):
        words.append(Word(f" word{i:02}", at, at + 0.3, 0.9, time_confidence=0.05 if i == unsure else 0.98))
        at += 0.3 + (0.5 if i in {9, 11} else 0.0)
    text = "".join(word.word for word in words).strip()
    first, *_ = render_srt(transcript([Segment(0, 0.0, at, text, tuple(words))], duration=at)).split("\n\n")
    assert first.split()[-1] == f"word{20 - unsure:02}"

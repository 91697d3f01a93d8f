"""Where to listen again: what is listed, what is not, and in which order."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.formats.review import LIMITS, list_passages, review
from dropscribe.transcript import Notice, Passage, Segment, Transcript, Word
from examples import transcript, transcripts


def spoken(*probabilities: float | None, at: float = 0.0, text: str = "", **kept: float) -> Segment:
    """Return a segment of half-second words, different unless `text` is given."""
    names = text.split() or [f"w{round(at * 10)}x{i}" for i in range(len(probabilities))]
    words = tuple(
        Word(f" {name}", at + i / 2, at + i / 2 + 0.5, p)
        for i, (name, p) in enumerate(zip(names, probabilities, strict=True))
    )
    return Segment(0, words[0].start, words[-1].end, " ".join(names), words, **kept)  # type: ignore[arg-type]


def made(*segments: Segment, duration: float = 600.0, warnings: tuple[Notice, ...] = ()) -> Transcript:
    return dataclasses.replace(transcript(list(segments), duration=duration), warnings=warnings)


def spans(found: tuple[Passage, ...]) -> list[tuple[float, float, str]]:
    return [(p.start, p.end, p.kind) for p in found]


def test_words_the_model_is_sure_of_are_not_listed() -> None:
    assert review(made(spoken(*[0.95] * 40))) == ()
    assert review(made()) == ()


def test_an_unsure_word_alone_is_not_listed_unless_it_is_very_unsure() -> None:
    assert review(made(spoken(0.9, 0.9, 0.3, 0.9, 0.9))) == ()
    assert review(made(spoken(0.9, 0.9, 0.1, 0.9, 0.9))) == (
        Passage(1.0, 1.5, "unsure", "The model gave this word 10 %.", 0.9),
    )


def test_unsure_words_in_a_run_are_one_passage_with_the_surer_ones_between_them() -> None:
    assert review(made(spoken(0.99, 0.99, 0.4, 0.9, 0.3, 0.99, 0.99))) == (
        Passage(1.0, 2.5, "unsure", "The model gave these words 53 % on average.", 1.4),
    )


def test_unsure_words_far_from_each_other_are_no_rain_of_passages() -> None:
    assert review(made(spoken(*[0.4, *[0.98] * 9] * 20))) == ()


def test_an_uncertain_language_leads_the_list_with_a_sentence_to_listen_to() -> None:
    doubt = Notice("language-uncertain", 0.0, 600.0, "Latin, or Portuguese.")
    found = review(made(spoken(0.9, 0.9), spoken(0.1, 0.1, 0.1, at=60), warnings=(doubt,)))
    assert spans(found) == [(0.0, 1.0, "language"), (60.0, 61.5, "unsure")]
    assert review(made(warnings=(doubt,))) == ()


def test_several_words_whose_times_are_unsure_are_listed_and_one_is_not() -> None:
    def timed(*sure: float) -> Segment:
        segment = spoken(*[0.95] * len(sure))
        words = zip(segment.words, sure, strict=True)
        return dataclasses.replace(
            segment, words=tuple(dataclasses.replace(word, time_confidence=each) for word, each in words)
        )

    assert review(made(timed(0.9, 0.9, 0.1, 0.9, 0.9))) == ()
    assert spans(review(made(timed(0.9, 0.3, 0.2, 0.4, 0.9)))) == [(0.5, 2.0, "times")]


def test_the_worst_comes_first() -> None:
    found = review(made(spoken(0.2, 0.2), spoken(0.1, 0.1, 0.1, at=60), spoken(0.1, at=120)))
    assert spans(found) == [(60.0, 61.5, "unsure"), (0.0, 1.0, "unsure"), (120.0, 120.5, "unsure")]
    assert [p.score for p in found] == [2.7, 1.6, 0.9]


def test_a_pause_ends_a_passage_and_what_is_close_is_joined_again() -> None:
    separate = review(made(spoken(0.1, 0.1), spoken(0.1, 0.1, at=4)))
    close = review(made(spoken(0.1, 0.1), spoken(0.1, 0.1, at=2.2)))
    assert sorted(spans(separate)) == [(0.0, 1.0, "unsure"), (4.0, 5.0, "unsure")]
    assert spans(close) == [(0.0, 3.2, "unsure")]


def test_a_long_bad_stretch_is_cut_into_pieces_that_can_be_listened_to() -> None:
    found = review(made(*[spoken(*[0.2] * 10, at=5.0 * i) for i in range(60)], duration=300))
    assert len(found) >= 10
    assert max(p.end - p.start for p in found) <= LIMITS.longest


def test_a_segment_without_word_times_counts_with_its_mean() -> None:
    found = review(made(Segment(0, 3.0, 5.0, "five words without any times", (), avg_logprob=-1.2)))
    assert spans(found) == [(3.0, 5.0, "unsure")]
    assert review(made(Segment(0, 3.0, 5.0, "five words without any times", (), avg_logprob=-0.2))) == ()


def test_unsure_words_where_the_model_detects_no_speech_are_words_over_silence() -> None:
    assert spans(review(made(spoken(0.3, 0.2, no_speech_prob=0.9)))) == [(0.0, 1.0, "silence")]
    assert review(made(spoken(0.9, 0.9, no_speech_prob=0.9))) == ()


@pytest.mark.parametrize("text", ["so " * 6, "nice to meet you " * 3, "a b " * 4])
def test_the_same_words_again_and_again_are_a_loop(text: str) -> None:
    words = text.split()
    found = review(made(spoken(*[0.99] * (len(words) + 2), text=f"well {text} end")))
    assert spans(found) == [(0.5, 0.5 + len(words) / 2, "loop")]
    assert found[0].score == len(words)


@pytest.mark.parametrize("text", ["no no no no", "two words two words", "had had", "a b c a b c"])
def test_what_people_repeat_is_no_loop(text: str) -> None:
    assert review(made(spoken(*[0.99] * len(text.split()), text=text))) == ()


def test_a_high_compression_ratio_counts_where_the_words_do_repeat() -> None:
    loop = Segment(0, 10.0, 20.0, "la la di la da " * 6, (), compression_ratio=2.9)
    prompts = Segment(
        0, 10.0, 20.0, "Для прослушивания следующего сообщения нажмите шесть", (), compression_ratio=2.9
    )
    chinese = Segment(0, 10.0, 20.0, "谢谢大家" * 10, (), compression_ratio=5.0)
    assert spans(review(made(loop))) == [(10.0, 20.0, "loop")]
    assert spans(review(made(chinese))) == [(10.0, 20.0, "loop")]
    assert review(made(prompts)) == ()


def test_what_the_transcript_warns_of_is_listed_where_it_is_a_place() -> None:
    notices = (
        Notice("damaged", 10.0, 12.0, "Damaged here."),
        Notice("speech-without-words", 100.0, 104.0, "Speech that gave no words."),
        Notice("words-over-silence", 200.0, 201.0, "Nobody speaks."),
        Notice("something-new", 300.0, 302.0, "Look at this."),
        Notice("other-audio-streams", 0.0, 0.0, "Two streams."),
        Notice("no-speech", 0.0, 600.0, "Nobody speaks in this recording."),
    )
    assert sorted(spans(review(made(warnings=notices)))) == [
        (10.0, 12.0, "damaged"),
        (100.0, 104.0, "unheard"),
        (200.0, 201.0, "silence"),
        (300.0, 302.0, "warning"),
    ]


def test_where_a_mixed_recording_changes_its_language_is_listed_and_a_short_stretch_whole() -> None:
    talk = [spoken(*[0.99] * 20, at=at) for at in (0.0, 40.0, 80.0, 90.0)]
    tongues = ("en", "de", "en", "en")
    mixed = [dataclasses.replace(each, language=tongue) for each, tongue in zip(talk, tongues, strict=True)]
    short = dataclasses.replace(spoken(0.99, 0.99, at=120.0), language="fr")
    found = sorted(review(made(*mixed, short)), key=lambda passage: passage.start)
    assert [passage.kind for passage in found] == ["language"] * 3
    assert [(p.start, p.end) for p in found] == [(38.0, 42.0), (78.0, 82.0), (short.start, short.end)]
    assert "fr" in found[2].why
    assert review(made(*talk)) == ()


def test_where_two_things_are_wrong_both_are_said_once() -> None:
    found = review(made(spoken(*[0.2] * 6, text="so so so so so so")))
    assert [(p.kind, p.why) for p in found] == [
        ("loop", "The same word 6 times in a row: perhaps a loop. The model gave these words 20 % on average.")
    ]


@given(transcripts, st.integers(0, 5))
def test_few_in_order_without_overlap_and_inside(made: Transcript, most: int) -> None:
    found = review(made, most)
    assert len(found) <= most
    assert found == review(made)[:most]
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    assert all(0 <= p.start < p.end <= made.duration and p.why and p.score > 0 for p in found)
    ordered = sorted(found, key=lambda p: p.start)
    assert all(a.end <= b.start for a, b in itertools.pairwise(ordered))


def test_a_transcript_of_an_older_version_gets_its_list_where_it_is_shown() -> None:
    older = made(spoken(0.9, 0.9, 0.1, 0.9, 0.9))
    assert older.review is None
    assert list_passages(older) == review(older) != ()
    assert list_passages(dataclasses.replace(older, review=())) == ()

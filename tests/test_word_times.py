"""Words aligned with sound whose edges are known, in quiet and in noise; the promises of alignment
by property.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.transcript import Segment, Word
from dropscribe.worker import word_times
from dropscribe.worker.vad import Span
from dropscribe.worker.word_times import Sound, SoundSegment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SECOND = SAMPLE_RATE
EDGES = ((1.0, 1.75), (2.25, 2.875), (3.75, 4.5), (5.2, 6.9))
SPANS = tuple(Span(int((a - 0.03) * SECOND), int((b + 0.05) * SECOND)) for a, b in EDGES)
WHOLE = Window(0, 0, 8 * SECOND)
CLEAN = Sound(tuple(SoundSegment(a, b) for a, b in EDGES), 25.0)


def synthesise(edges: Sequence[tuple[float, float]], seconds: float = 8.0) -> NDArray[np.float32]:
    """Return voices (a buzz and its overtones) between the edges, a very soft hiss elsewhere."""
    clock = np.arange(int(seconds * SECOND)) / SECOND
    buzz = np.sum([np.sin(2 * np.pi * 140 * k * clock) / k for k in range(1, 25)], axis=0)
    open_ = np.zeros(len(clock))
    for a, b in edges:
        open_[int(a * SECOND) : int(b * SECOND)] = 1
    total = 0.1 * buzz * open_ + np.random.default_rng(0).normal(0, 1e-4, len(clock))
    return np.asarray(total, dtype=np.float32)


def clean_sound(*edges: tuple[float, float], headroom: float = 25.0) -> Sound:
    return Sound(tuple(SoundSegment(*each) for each in edges), headroom)


def add_noise(samples: NDArray[np.float32], kind: str, decibels: float) -> NDArray[np.float32]:
    clock = np.arange(len(samples)) / SECOND
    added = np.random.default_rng(1).normal(0, 1, len(samples)) if kind == "white" else np.sin(2 * np.pi * 50 * clock)
    power = np.mean(np.square(samples[samples**2 > 1e-6])) / 10 ** (decibels / 10)
    return np.asarray(samples + added * np.sqrt(power / np.mean(np.square(added))), dtype=np.float32)


def segment(*words: tuple[str, float, float]) -> Segment:
    made = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    return Segment(0, made[0].start, made[-1].end, "".join(w.word for w in made).strip(), made)


def untimed(found: Segment) -> Segment:
    """Return the segment as an engine gives it, which knows nothing of how sure its times are."""
    return dataclasses.replace(found, words=tuple(dataclasses.replace(w, time_confidence=None) for w in found.words))


class TestMeasureSound:
    @pytest.mark.parametrize(
        ("kind", "decibels"), [("white", 60), ("white", 20), ("white", 5), ("hum", 5), ("hum", -5)]
    )
    def test_the_edges_of_the_sound_are_found_in_noise_of_few_or_all_bands(self, kind: str, decibels: float) -> None:
        sound = word_times.measure_sound(add_noise(synthesise(EDGES), kind, decibels), WHOLE, SPANS)
        found = [(each.start, each.end) for each in sound.segments]
        np.testing.assert_allclose(found, EDGES, atol=0.02 if kind == "hum" or decibels > 5 else 0.15)

    def test_sound_that_is_not_speech_is_no_segment(self) -> None:
        sound = word_times.measure_sound(synthesise([*EDGES, (7.3, 7.45)]), WHOLE, SPANS)
        assert len(sound.segments) == len(EDGES)

    @pytest.mark.parametrize(
        ("after", "detected_until", "expected"),
        [
            pytest.param((3.0, 3.08), 3.12, [(2.25, 2.875), (3.0, 3.08)], id="the t of sept, after a closed mouth"),
            pytest.param((2.875, 3.06), 3.1, [(2.25, 3.06)], id="the f of neuf"),
            pytest.param((2.875, 2.93), 3.1, [(2.25, 2.875)], id="the echo of a room"),
            pytest.param((3.0, 3.08), 2.9, [(2.25, 2.875)], id="not detected as speech"),
        ],
    )
    def test_a_soft_end_in_detected_speech_belongs_to_it(
        self, after: tuple[float, float], detected_until: float, expected: list[tuple[float, float]]
    ) -> None:
        samples = synthesise(EDGES)
        first, last = (int(edge * SECOND) for edge in after)
        samples[first:last] += np.random.default_rng(3).normal(0, 0.0036, last - first).astype(np.float32)
        spans = [Span(s.start, int(detected_until * SECOND)) if number == 1 else s for number, s in enumerate(SPANS)]
        found = [
            (i.start, i.end) for i in word_times.measure_sound(samples, WHOLE, spans).segments if 2.0 < i.start < 3.5
        ]
        np.testing.assert_allclose(found, expected, atol=0.025)

    @pytest.mark.parametrize(
        ("decibels", "detected_until", "expected"),
        [
            pytest.param(20, 3.1, 3.02, id="drowned: to where speech was detected, less what that may be late"),
            pytest.param(20, 2.94, 2.875, id="detected no further than the detection may be late"),
            pytest.param(60, 3.1, 2.875, id="it would be seen"),
            pytest.param(12, 3.1, 2.964, id="the louder the noise, the later the detection may be"),
        ],
    )
    def test_an_end_drowned_in_even_noise_is_where_speech_was_detected(
        self, decibels: float, detected_until: float, expected: float
    ) -> None:
        spans = [Span(s.start, int(detected_until * SECOND)) if number == 1 else s for number, s in enumerate(SPANS)]
        sound = word_times.measure_sound(add_noise(synthesise(EDGES), "white", decibels), WHOLE, spans)
        (end,) = [each.end for each in sound.segments if 2.0 < each.start < 3.5]
        assert end == pytest.approx(expected, abs=0.025)

    def test_in_noise_that_rises_and_falls_sound_far_from_detected_speech_is_no_part_of_it(self) -> None:
        samples = synthesise(EDGES)
        clock = np.arange(len(samples)) / SECOND
        around = np.random.default_rng(5).normal(0, 0.02, len(samples)) * (1 + np.sin(2 * np.pi * 3 * clock))
        for first, last in ((2.05, 2.25), (2.875, 3.05)):  # another voice
            around[int(first * SECOND) : int(last * SECOND)] *= 5
        samples += around.astype(np.float32)
        sound = word_times.measure_sound(samples, WHOLE, SPANS)
        (only,) = [each for each in sound.segments if 2.0 < each.start < 3.5]
        assert 10 < sound.headroom < 25
        assert only.start >= SPANS[1].start / SECOND - 0.1 - 0.001
        assert only.end <= SPANS[1].end / SECOND + 0.05 + 0.001

    def test_speech_that_was_detected_late_is_not_taken_for_noise(self) -> None:
        late = [Span(s.start + int((0.6 if number == 3 else 0.0) * SECOND), s.end) for number, s in enumerate(SPANS)]
        sound = word_times.measure_sound(synthesise(EDGES), WHOLE, late)
        assert sound.headroom == word_times.measure_sound(synthesise(EDGES), WHOLE, SPANS).headroom
        assert sound.segments[-1].start == pytest.approx(5.77, abs=0.01)
        assert sound.segments[-1].start - sound.segments[-1].extends_before == pytest.approx(5.2, abs=0.02)

    def test_how_much_of_a_segment_is_not_detected_speech_is_known(self) -> None:
        spans = [*SPANS[:3], Span(int(5.3 * SECOND), int(6.75 * SECOND))]
        last = word_times.measure_sound(synthesise(EDGES), WHOLE, spans).segments[-1]
        assert (last.start, last.end) == pytest.approx((5.2, 6.9), abs=0.02)
        assert (last.undetected_start, last.undetected_end) == pytest.approx((0.1, 0.15), abs=0.02)
        cut = word_times.measure_sound(
            synthesise(EDGES), Window(0, int(5.25 * SECOND), int(6.8 * SECOND)), spans
        ).segments[-1]
        assert (cut.undetected_start, cut.undetected_end) == pytest.approx((0.05, 0.05), abs=0.02)

    def test_no_edges_are_seen_where_the_noise_is_as_loud_as_the_speech(self) -> None:
        samples = synthesise([(0.0, 8.0)]) * np.repeat(np.random.default_rng(2).uniform(0.3, 1.0, 80), SECOND // 10)
        assert word_times.measure_sound(samples.astype(np.float32), WHOLE, SPANS).segments == ()

    @pytest.mark.parametrize(("until", "seen"), [(0.19, False), (0.14, True)])
    def test_a_few_frames_do_not_tell_how_loud_silence_is(self, until: float, *, seen: bool) -> None:
        samples = synthesise([(0.0, 8.0)])
        for pause in (1.5, 3.5, 5.5):  # somebody else is loud in the middle of it
            share = np.full(SECOND // 2, 0.1, np.float32)
            share[int(0.12 * SECOND) : int(until * SECOND)] = 1.0
            samples[int(pause * SECOND) :][: len(share)] *= share
        spans = [Span(int(a * SECOND), int(b * SECOND)) for a, b in ((0, 1.5), (2, 3.5), (4, 5.5), (6, 8))]
        assert bool(word_times.measure_sound(samples, WHOLE, spans).segments) == seen

    def test_a_window_that_cuts_the_speech_cuts_the_segments(self) -> None:
        sound = word_times.measure_sound(synthesise(EDGES), Window(3, int(1.5 * SECOND), 4 * SECOND), SPANS)
        assert sound.segments[0].start == 1.5
        assert sound.segments[-1].end == 4.0
        assert len(sound.segments) == 3

    @pytest.mark.parametrize("length", [0, 1, 300, 900, 5000])
    def test_the_shortest_recordings(self, length: int) -> None:
        samples = np.ones(length, np.float32)
        assert word_times.measure_sound(samples, Window(0, 0, length), []) == Sound((), 0.0)
        assert word_times.measure_sound(samples, Window(0, 0, length), [Span(0, length)]).segments == ()

    def test_only_samples_around_the_window_are_read(self) -> None:
        long = np.broadcast_to(np.float32(0), (24 * 3600 * SECOND,))  # takes no memory: copied, it would take 5 GB
        assert word_times.measure_sound(long, WHOLE, SPANS).segments == ()


class TestAlignWords:
    def test_words_next_to_pauses_begin_and_end_with_the_sound(self) -> None:
        given_ = [
            segment((" one", 0.4, 1.6), (" two", 2.0, 3.0)),
            segment((" three", 3.0, 4.3), (" four more.", 4.9, 7.2)),
        ]
        assert [untimed(s) for s in word_times.align_words(given_, CLEAN)] == [
            segment((" one", 1.0, 1.75), (" two", 2.25, 2.875)),
            segment((" three", 3.75, 4.5), (" four more.", 5.2, 6.9)),
        ]

    def test_alignment_from_samples(self) -> None:
        given_ = [segment((" one", 0.4, 1.6), (" two", 2.0, 3.0), (" three", 3.0, 4.3), (" four more.", 4.9, 7.2))]
        (aligned,) = word_times.align_window(add_noise(synthesise(EDGES), "white", 20), WHOLE, given_, SPANS)
        np.testing.assert_allclose([(w.start, w.end) for w in aligned.words], EDGES, atol=0.02)

    def test_words_that_slipped_by_a_pause_go_back_to_the_sound_left_without_one(self) -> None:
        early = [segment((" eleven", 0.8, 1.5), (" four", 1.5, 2.5), (" fifteen", 3.5, 4.25))]
        (aligned,) = word_times.align_words(early, Sound(CLEAN.segments[:3], 25.0))
        assert [(w.start, w.end) for w in aligned.words] == list(EDGES[:3])

    def test_inside_a_sound_segment_the_times_of_the_engine_stay(self) -> None:
        given_ = [segment((" so", 5.1, 5.4), (" they", 5.4, 6.0), (" said", 6.0, 6.3), (" to us", 6.3, 6.8))]
        (aligned,) = word_times.align_words(given_, clean_sound((5.2, 6.9)))
        assert [(w.start, w.end) for w in aligned.words] == [(5.2, 5.4), (5.4, 6.0), (6.0, 6.3), (6.3, 6.9)]

    @pytest.mark.parametrize(
        ("soft", "expected"),
        [
            pytest.param((), 6.0, id="where the next word begins"),
            pytest.param((5.96,), 5.96, id="where it is soft near that"),
            pytest.param((5.85,), 5.85, id="where it is very soft"),
            pytest.param((5.6,), 6.0, id="not inside a word"),
        ],
    )
    def test_the_time_of_punctuation_inside_a_sound_belongs_to_the_word_before(
        self, soft: tuple[float, ...], expected: float
    ) -> None:
        given_ = [segment((" they", 5.2, 5.7), (" said.", 6.0, 6.9))]
        loudness = np.zeros(400, np.float32)
        for at in soft:
            loudness[round((at - 5.0) * 200) - 2 : round((at - 5.0) * 200) + 3] = -20.0, -22.0, -25.0, -22.0, -20.0
        (aligned,) = word_times.align_words(given_, Sound((SoundSegment(5.2, 6.9),), 25.0, loudness, 5.0))
        assert (aligned.words[0].end, aligned.words[1].start) == pytest.approx((expected, expected), abs=0.011)

    def test_a_pause_that_was_taken_for_the_beginning_of_a_word_does_not_move_it_before(self) -> None:
        given_ = [segment((" resultados", 2.4, 3.0), (" para", 3.0, 4.8), (" salir", 4.8, 5.35))]
        (aligned,) = word_times.align_words(given_, clean_sound((2.4, 3.54), (4.62, 5.35)))
        assert [(w.start, w.end) for w in aligned.words] == [(2.4, 3.54), (4.62, 4.8), (4.8, 5.35)]

    def test_a_closed_mouth_inside_a_word_separates_no_words(self) -> None:
        before = (" registrazione", 2.47, 3.15), (" premere", 3.15, 3.71), (" 2", 3.71, 3.91), (" per", 3.91, 4.09)
        after = (" immettere", 4.09, 4.65), (" un", 4.65, 4.85), (" numero", 4.85, 5.09), (" diverso.", 5.09, 5.73)
        (aligned,) = word_times.align_words([segment(*before, *after)], clean_sound((2.47, 4.39), (4.5, 5.76)))
        assert [(w.start, w.end) for w in aligned.words[3:6]] == [(3.91, 4.09), (4.09, 4.65), (4.65, 4.85)]

    def test_a_filler_behind_a_word_is_not_a_part_of_it_but_the_rest_of_a_figure_is(self) -> None:
        for word, expected in ((" of", 6.3), (" 15", 7.2)):
            given_ = [segment((" a", 5.2, 5.5), (" number", 5.5, 6.1), (word, 6.1, 6.3))]
            (aligned,) = word_times.align_words(given_, clean_sound((5.2, 7.2)))
            assert aligned.words[-1].end == expected

    def test_a_closed_mouth_that_noise_makes_a_pause_of_the_detection_does_not_move_words_to_others(self) -> None:
        edges = ((1.42, 2.09), (2.5, 2.76), (2.9, 3.41), (4.19, 4.86))  # `sixteen` is the two in the middle
        sound = Sound(tuple(SoundSegment(a, b, speech_span=n) for n, (a, b) in enumerate(edges)), 25.0)
        given_ = [segment((" 7", 0.36, 1.82), (" 16", 1.82, 3.0), (" 7", 3.0, 4.56))]
        (aligned,) = word_times.align_words(given_, sound)
        assert [(w.start, w.end) for w in aligned.words] == [edges[0], (2.5, 3.41), edges[3]]

    def test_figures_that_the_engine_has_in_the_sound_before_go_back_to_the_sound_left_without_one(self) -> None:
        edges = ((1.61, 2.22), (2.92, 3.89), (4.33, 4.9), (5.63, 6.53))
        given_ = [segment((" 5", 1.07, 2.23), (" 19", 2.23, 3.37), (" 12", 3.37, 4.55), (" 14", 4.55, 6.05))]
        (aligned,) = word_times.align_words(given_, clean_sound(*edges))
        assert [(w.start, w.end) for w in aligned.words] == list(edges)

    def test_another_voice_before_the_detected_speech_is_not_a_part_of_the_word_after_it(self) -> None:
        sound = Sound((SoundSegment(2.3, 5.0, extends_before=0.3),), 23.0)
        (aligned,) = word_times.align_words([segment((" that", 2.0, 2.7), (" was all of it.", 2.7, 5.0))], sound)
        assert aligned.start == 2.3

    def test_the_name_of_a_letter_within_a_sentence_is_as_long_as_a_word(self) -> None:
        words = [(" the", 1.0, 1.2), (" letter", 1.2, 1.55), (" Z.", 1.55, 1.89), (" Press", 2.05, 2.35)]
        (aligned,) = word_times.align_words([segment(*words, (" again.", 2.35, 2.8))], clean_sound((1.0, 2.8)))
        assert (aligned.words[2].start, aligned.words[3].start) == (1.55, 2.05)

    def test_the_last_word_of_a_sentence_is_drawn_out_where_the_engine_gives_punctuation_time(self) -> None:
        words = [(" please", 1.0, 1.4), (" cancel.", 1.4, 2.02), (" After", 2.12, 2.5), (" that", 2.5, 2.8)]
        loudness = np.zeros(600, np.float32)
        loudness[203:206] = -5.0  # a soft consonant
        (aligned,) = word_times.align_words([segment(*words)], Sound((SoundSegment(1.0, 2.8),), 25.0, loudness, 1.0))
        assert aligned.words[1].end == 2.12

    def test_where_no_sound_segment_is_seen_no_word_leaves_the_detected_speech(self) -> None:
        given_ = [segment((" first", 0.0, 12.4), (" last", 12.4, 13.0), (" far", 25.0, 25.5))]
        (aligned,) = word_times.align_words(given_, Sound((), 4.0, speech=((12.0, 13.0),)))
        assert [(w.start, w.end) for w in aligned.words] == [
            (pytest.approx(12.0, abs=0.06), 12.4),
            (12.4, 13.0),
            (25.0, 25.5),
        ]

    def test_a_word_may_begin_in_its_sound_before_the_speech_was_detected(self) -> None:
        given_ = [segment((" Si", 4.1, 5.1), (" usted", 5.1, 6.0), (" puede", 6.0, 6.9))]
        (aligned,) = word_times.align_words(given_, Sound((SoundSegment(5.2, 6.9, extends_before=0.4),), 25.0))
        assert aligned.words[0].start == pytest.approx(4.8, abs=0.011)

    @pytest.mark.parametrize(
        ("headroom", "engine", "expected"),
        [
            (15.0, (5.4, 6.7), (5.3, 6.75)),
            (15.0, (5.15, 6.8), (5.2, 6.8)),
            (23.0, (5.4, 6.7), (5.2, 6.9)),
            (25.0, (5.4, 6.7), (5.2, 6.9)),
        ],
    )
    def test_in_noise_sound_beyond_what_both_found_is_anothers(
        self, headroom: float, engine: tuple[float, float], expected: tuple[float, float]
    ) -> None:
        given_ = [segment((" the", engine[0], 6.0), (" conference", 6.0, engine[1]))]
        sound = Sound((SoundSegment(5.2, 6.9, undetected_start=0.1, undetected_end=0.15),), headroom)
        (aligned,) = word_times.align_words(given_, sound)
        assert (aligned.start, aligned.end) == pytest.approx(expected, abs=0.05)

    def test_words_without_time_get_some(self) -> None:
        given_ = [segment((" the", 5.2, 5.4), (" con", 5.4, 6.9), ("ference", 6.9, 6.9))]
        (aligned,) = word_times.align_words(given_, clean_sound((5.2, 6.9)))
        assert all(w.end - w.start > 0.1 for w in aligned.words)

    def test_the_release_of_a_stop_belongs_to_its_word(self) -> None:
        (aligned,) = word_times.align_words([segment((" sept.", 1.0, 1.6))], clean_sound((1.1, 1.5), (1.62, 1.68)))
        assert (aligned.words[0].start, aligned.words[0].end) == (1.1, 1.68)

    def test_no_word_is_drawn_out_over_a_sentence_that_was_left_out(self) -> None:
        (aligned,) = word_times.align_words([segment((" bye.", 19.0, 19.4))], clean_sound((10.0, 19.5)))
        assert (aligned.words[0].start, aligned.words[0].end) == (19.0, 19.5)

    def test_words_far_from_any_sound_and_segments_without_words_stay(self) -> None:
        given_ = [Segment(0, 0.5, 4.4, "Ask not."), segment((" Thanks.", 30.0, 31.0))]
        for sound in (CLEAN, Sound((), 0.0)):
            assert [untimed(s) for s in word_times.align_words(given_, sound)] == given_


@st.composite
def sounds(draw: st.DrawFn) -> Sound:
    steps = draw(st.lists(st.tuples(st.integers(11, 800), st.integers(3, 900)), max_size=30))
    position, found = 0, []
    for pause, length in steps:
        found.append(SoundSegment((position + pause) / 100, (position + pause + length) / 100))
        position += pause + length
    return Sound(tuple(found), draw(st.floats(12, 25)))


@st.composite
def transcripts(draw: st.DrawFn) -> list[Segment]:
    """Return segments of any lengths, as engines give them: in order, words of no length among
    them.
    """
    steps = draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), max_size=60))
    texts = st.sampled_from([" a", " word", ".", " 2026", " Mr.", " end.", "\u3002", " “Why?”", " longish", " 3.5"])
    position, words = 0, []
    for pause, length in steps:
        start = position + pause
        position = start + length
        words.append((draw(texts), start / 100, position / 100))
    size = draw(st.integers(1, 12))
    return [segment(*words[i : i + size]) for i in range(0, len(words), size)]


@given(transcripts(), sounds())
def test_order_and_text_stay_nothing_overlaps_or_leaves_what_it_was_given(
    given_: list[Segment], sound: Sound
) -> None:
    aligned = word_times.align_words(given_, sound)
    assert [[w.word for w in s.words] for s in aligned] == [[w.word for w in s.words] for s in given_]
    assert [s.text for s in aligned] == [s.text for s in given_]
    points = [t for s in aligned for w in s.words for t in (w.start, w.end)]
    assert points == sorted(points)
    if points:
        known = [t for s in given_ for t in (s.start, s.end)] + [t for i in sound.segments for t in (i.start, i.end)]
        assert min(known) <= points[0]
        assert points[-1] <= max(known)
    assert all((s.start, s.end) == (s.words[0].start, s.words[-1].end) for s in aligned)


@given(sounds())
def test_words_that_fill_their_sound_segments_stay(sound: Sound) -> None:
    single = [segment((" word", i.start, i.end)) for i in sound.segments if 0.2 <= i.end - i.start <= 0.6]
    sound = Sound(tuple(i for i in sound.segments if 0.2 <= i.end - i.start <= 0.6), sound.headroom)
    assert [untimed(s) for s in word_times.align_words(single, sound)] == single


class TestTimeConfidence:
    def test_words_between_pauses_are_surer_than_words_inside_speech(self) -> None:
        given_ = [segment((" three", 3.7, 4.4), (" four", 5.2, 6.0), (" more", 6.0, 6.9))]
        (aligned,) = word_times.align_words(given_, clean_sound(*EDGES[2:]))
        alone, inside = aligned.words[0].time_confidence, aligned.words[1].time_confidence
        assert alone is not None
        assert inside is not None
        assert 0.5 < inside < alone <= 1.0

    def test_a_word_that_the_sound_does_not_confirm_is_less_sure_the_further_it_was_moved(self) -> None:
        speech = ((5.0, 7.0),)
        near = word_times.align_words(
            [segment((" one", 5.1, 5.5), (" more", 5.5, 6.0))], Sound((), 4.0, speech=speech)
        )
        far = word_times.align_words(
            [segment((" one", 2.0, 5.5), (" more", 5.5, 6.0))], Sound((), 4.0, speech=speech)
        )
        assert far[0].words[0].time_confidence < near[0].words[0].time_confidence  # type: ignore[operator]


class TestSplitSentences:
    def cut(self, *words: str, pause_before: int = -1) -> list[str]:
        made = []
        for i, word in enumerate(words):
            start = i * 0.5 + (0.9 if 0 <= pause_before <= i else 0.0)
            made.append((word, start, start + 0.5))
        found = word_times.split_sentences([dataclasses.replace(segment(*made), avg_logprob=-0.3)])
        assert all(s.avg_logprob == -0.3 for s in found)
        return [s.text for s in found]

    @pytest.mark.parametrize(
        ("words", "sentences"),
        [
            ((" Go.", " He", " went."), ["Go.", "He went."]),
            ((" Why?", " “No!”", " I", " said."), ["Why?", "“No!”", "I said."]),
            ((" Dr.", " Smith", " and", " J.", " Doe", " met."), ["Dr. Smith and J. Doe met."]),
            ((" At", " 3.5", " or", " 4.", "5", " percent."), ["At 3.5 or 4.5 percent."]),
            ((" e.g.", " Rome.", " Yes."), ["e.g. Rome.", "Yes."]),
            ((" wait...", " what", " now?"), ["wait... what now?"]),
            ((" Press", " 7.", " Thanks."), ["Press 7.", "Thanks."]),
            (("你好\u3002", "再见\uff01", "好"), ["你好\u3002", "再见\uff01", "好"]),
            ((" ¿Qué?", " ¡Sí!", " Ud.", " Va."), ["¿Qué?", "¡Sí!", "Ud. Va."]),
        ],
    )
    def test_they_end_with_their_sign_and_not_after_abbreviations_initials_and_decimals(
        self, words: tuple[str, ...], sentences: list[str]
    ) -> None:
        assert self.cut(*words) == sentences

    def test_a_long_pause_ends_one_too(self) -> None:
        assert self.cut(" and", " then", " later", pause_before=2) == ["and then", "later"]

    def test_without_times_a_segment_stays_whole(self) -> None:
        given_ = [Segment(0, 0.0, 4.0, "One. Two.")]
        assert word_times.split_sentences(given_) == given_

    @given(transcripts())
    def test_every_word_stays_and_nothing_is_made_without_length(self, given_: list[Segment]) -> None:
        found = word_times.split_sentences(given_)
        assert [w for s in found for w in s.words] == [w for s in given_ for w in s.words]
        assert all(s.text == "".join(w.word for w in s.words).strip() for s in found)
        assert all((s.start, s.end) == (s.words[0].start, s.words[-1].end) for s in found)
        assert all(a.end <= b.start for a, b in itertools.pairwise(found))
        if all(s.end > s.start for s in given_):
            assert all(s.end > s.start for s in found)

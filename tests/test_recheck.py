"""Where text and speech do not agree, and the second transcription, with a real engine made to
leave words out.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.backends import SAMPLE_RATE, Options, Window
from dropscribe.backends.factory import create_backend
from dropscribe.transcript import Segment, Word
from dropscribe.worker import decoding, pipeline, recheck, suspicions, vad
from dropscribe.worker.suspicions import Suspicion, SuspicionKind
from dropscribe.worker.vad import Span
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows
from dropscribe.worker.word_times import Sound, SoundSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Backend, Hearing

DATA = Path(__file__).parent / "data"
SECOND = SAMPLE_RATE
WINDOW = Window(2, 0, 20 * SECOND)
EDGES = ((1.0, 4.0), (5.0, 8.0), (9.0, 9.3), (12.0, 15.0))
SPANS = tuple(Span(int(a * SECOND), int(b * SECOND)) for a, b in EDGES)
SOUND = Sound(tuple(SoundSegment(a, b) for a, b in EDGES), 25.0)


def segment(*words: tuple[str, float, float], probability: float = 0.9) -> Segment:
    made = tuple(Word(text, start, end, probability) for text, start, end in words)
    return Segment(0, made[0].start, made[-1].end, "".join(w.word for w in made).strip(), made)


FIRST = (" So let us say what it is.", 1.0, 4.0)
SECOND_ = (" Then let us say it again.", 5.0, 8.0)
LAST = (" And this is where it ends.", 12.0, 15.0)
TEXTS = [text.strip() for text, _, _ in (FIRST, SECOND_, LAST)]


class TestFindSuspicions:
    def test_text_that_covers_the_speech_is_not_suspicious(self) -> None:
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST, SECOND_, LAST)], SPANS, SOUND) == []

    def test_speech_without_words(self) -> None:
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST, LAST)], SPANS, SOUND) == [
            Suspicion(SuspicionKind.MISSED_SPEECH, 5.0, 9.3)
        ]
        partly = [segment((" Say", 1.0, 1.8), SECOND_, LAST)]
        assert suspicions.find_suspicions(WINDOW, partly, SPANS, SOUND) == [
            Suspicion(SuspicionKind.MISSED_SPEECH, 1.8, 4.0)
        ]

    def test_a_loop_inside_a_word(self) -> None:
        for times, found in ((60, [Suspicion(SuspicionKind.LOOP, 5.0, 8.0)]), (12, [])):
            given_ = [segment(FIRST), segment((" " + "8" * times, 5.0, 8.0)), segment(LAST)]
            looped = [
                s for s in suspicions.find_suspicions(WINDOW, given_, SPANS, SOUND) if s.kind == "repeated-words"
            ]
            assert looped == found

    def test_short_gaps_near_each_other_are_one_long_gap(self) -> None:
        # "No" twenty times; every third is written.
        edges = tuple((i * 0.8, i * 0.8 + 0.3) for i in range(20))
        spans = tuple(Span(int(a * SECOND), int(b * SECOND)) for a, b in edges)
        sound = Sound(tuple(SoundSegment(a, b) for a, b in edges), 25.0)
        said = segment(*[(" No.", a, b) for a, b in edges[::3]])
        found = suspicions.find_suspicions(WINDOW, [said], spans, sound)[0]
        assert found.kind is SuspicionKind.MISSED_SPEECH
        assert (found.start, found.end) == pytest.approx((edges[1][0], edges[-1][1]))
        assert found.seconds == pytest.approx(13 * 0.3)
        every = segment(*[(" No.", a, b) for a, b in edges[1:]])
        assert suspicions.find_suspicions(WINDOW, [every], spans, sound) == [
            Suspicion(SuspicionKind.LOOP, edges[1][0], edges[-1][1])
        ]

    def test_a_word_that_lasts_longer_than_anybody_says_it_is_a_gap(self) -> None:
        stretched = segment((" And", 5.0, 5.3), (" it", 5.3, 7.6), (" ends.", 7.6, 8.0))
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST), stretched, segment(LAST)], SPANS, SOUND) == [
            Suspicion(SuspicionKind.MISSED_SPEECH, 5.3, 9.3)
        ]
        drawn_out = segment((" And", 5.0, 6.0), (" so,", 6.0, 7.0), (" bye.", 7.0, 8.0))
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST), drawn_out, segment(LAST)], SPANS, SOUND) == []

    def test_what_the_detection_takes_for_speech_counts_only_where_there_is_sound(self) -> None:
        silent = Sound((SOUND.segments[0], SOUND.segments[3]), 25.0)
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST, LAST)], SPANS, silent) == []
        assert len(suspicions.find_suspicions(WINDOW, [segment(FIRST, LAST)], SPANS, Sound((), 5.0))) == 1

    def test_words_over_silence(self) -> None:
        found = suspicions.find_suspicions(
            WINDOW, [segment(FIRST, SECOND_, LAST, (" Thanks!", 17.0, 17.5))], SPANS, SOUND
        )
        assert found == [Suspicion(SuspicionKind.WORDS_OVER_SILENCE, 17.0, 17.5)]

    def test_words_faster_than_anybody_speaks(self) -> None:
        fast = segment(FIRST, SECOND_, (" incomprehensibilities", 9.0, 9.3), LAST)
        found = suspicions.find_suspicions(WINDOW, [fast], SPANS, SOUND)
        assert found == [Suspicion(SuspicionKind.TOO_FAST, 9.0, 9.3)]

    def test_a_loop(self) -> None:
        words = [(" so", 5.0 + i / 4, 5.25 + i / 4) for i in range(12)]
        assert suspicions.find_suspicions(WINDOW, [segment(FIRST, *words, LAST)], SPANS, SOUND) == [
            Suspicion(SuspicionKind.LOOP, 5.0, 8.0)
        ]


class TestChoosePieces:
    def test_they_begin_and_end_in_the_pauses_around(self) -> None:
        (piece,) = recheck.choose_pieces(WINDOW, [Suspicion(SuspicionKind.MISSED_SPEECH, 5.0, 8.0)], SOUND)
        assert piece == Window(0, int(4.5 * SECOND), int(8.5 * SECOND))

    def test_a_suspicious_window_is_cut_in_two(self) -> None:
        found = recheck.choose_pieces(WINDOW, [Suspicion(SuspicionKind.TOO_FAST, 1.0, 15.0)], SOUND)
        assert [(p.start / SECOND, p.end / SECOND) for p in found] == [(0.0, 10.65), (10.65, 20.0)]

    def test_what_repeats_itself_is_cut_into_short_pieces(self) -> None:
        found = recheck.choose_pieces(WINDOW, [Suspicion(SuspicionKind.LOOP, 1.0, 15.0)], SOUND)
        assert [(p.start / SECOND, p.end / SECOND) for p in found] == [(0.0, 4.5), (4.5, 10.65), (10.65, 20.0)]
        assert (
            recheck.choose_pieces(WINDOW, [Suspicion(SuspicionKind.LOOP, 1.0, 15.0)], Sound(SOUND.segments[:1], 25.0))
            == []
        )

    @given(
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 100)), min_size=1, max_size=20),
        st.lists(st.tuples(st.integers(1, 20), st.integers(1, 40)), max_size=12),
    )
    def test_few_in_order_without_overlap_and_never_the_same_window_again(
        self, drawn: list[tuple[int, int]], steps: list[tuple[int, int]]
    ) -> None:
        edges = list(itertools.accumulate(itertools.chain.from_iterable(steps)))
        sounds = tuple(SoundSegment(a / 10, b / 10) for a, b in zip(edges[::2], edges[1::2], strict=True) if b <= 200)
        asked = [Suspicion(SuspicionKind.LOOP, a / 10, min(20.0, (a + b) / 10)) for a, b in drawn]
        found = recheck.choose_pieces(WINDOW, asked, Sound(sounds, 25.0))
        assert len(found) <= recheck.RULES.most_pieces
        assert [p.index for p in found] == list(range(len(found)))
        assert all(WINDOW.start <= p.start < p.end <= WINDOW.end for p in found)
        assert all(a.end <= b.start for a, b in itertools.pairwise(found))
        assert (WINDOW.start, WINDOW.end) not in [(p.start, p.end) for p in found]


class TestReplaceIfBetter:
    PIECE = Window(0, int(4.5 * SECOND), int(8.5 * SECOND))

    def test_words_for_speech_that_had_none_are_taken(self) -> None:
        found = recheck.replace_if_better(self.PIECE, [segment(FIRST, LAST)], [segment(SECOND_)], SPANS, SOUND)
        assert [s.text for s in found] == TEXTS

    def test_nothing_is_taken_that_agrees_no_better_or_that_the_model_does_not_believe(self) -> None:
        whole = [segment(FIRST, SECOND_, LAST)]
        assert recheck.replace_if_better(self.PIECE, whole, [segment((" Or else.", 5.0, 8.0))], SPANS, SOUND) == whole
        loop = [segment(*[(" so", 5.0 + i / 4, 5.25 + i / 4) for i in range(12)])]
        unsure = segment((" Or else.", 5.0, 8.0), probability=0.3)
        assert recheck.replace_if_better(self.PIECE, loop, [unsure], SPANS, SOUND) == loop

    def test_words_never_overlap(self) -> None:
        old = [segment(FIRST, (" long", 4.0, 4.9), (" then", 11.0, 12.0), LAST)]
        found = recheck.replace_if_better(
            self.PIECE, old, [segment((" Say", 4.6, 6.0), (" more.", 6.0, 8.0))], SPANS, SOUND
        )
        points = [t for s in found for w in s.words for t in (w.start, w.end)]
        assert points == sorted(points)
        assert [w.word for s in found for w in s.words] == [
            FIRST[0],
            " long",
            " Say",
            " more.",
            " then",
            LAST[0],
        ]


class TestResolveSuspicions:
    def test_words_over_certain_silence_go_and_are_reported(self) -> None:
        given_ = [segment(FIRST, LAST, (" Thank", 17.0, 17.3), (" you.", 17.3, 17.6))]
        left, notices = recheck.resolve_suspicions(
            given_, suspicions.find_suspicions(WINDOW, given_, SPANS[::3], SOUND), SOUND
        )
        assert [s.text for s in left] == [f"{TEXTS[0]} {TEXTS[2]}"]
        assert [(n.code, n.start, n.end) for n in notices] == [("words-over-silence", 17.0, 17.6)]
        assert "“Thank you.”" in notices[0].detail

    def test_where_the_noise_hides_the_sound_they_stay(self) -> None:
        given_ = [segment(FIRST, LAST, (" Thanks!", 17.0, 17.5))]
        noise = Sound((), 4.0)
        left, notices = recheck.resolve_suspicions(
            given_, suspicions.find_suspicions(WINDOW, given_, SPANS[::3], noise), noise
        )
        assert left == given_
        assert [n.code for n in notices] == ["words-over-silence"]

    def test_turns_of_a_loop_for_which_there_is_no_sound_go_and_are_reported(self) -> None:
        looped = segment(*[(" so", 5.0 + i / 4, 5.25 + i / 4) for i in range(12)])
        frames = np.full(4000, -25.0, np.float32)  # 20 s; three words can be heard
        for start in (5.1, 6.1, 7.1):
            frames[int(start * 200) : int((start + 0.7) * 200)] = 0.0
        sound = dataclasses.replace(SOUND, loudness=frames)
        given_ = [segment(FIRST), looped, segment(LAST)]
        left, notices = recheck.resolve_suspicions(
            given_, suspicions.find_suspicions(WINDOW, given_, SPANS, sound), sound
        )
        assert [s.text for s in left] == [TEXTS[0], "so so so", TEXTS[2]]
        assert [n.code for n in notices if n.code == "repeated-words"] == ["repeated-words"]
        assert "12 times" in notices[0].detail

    def test_a_loop_that_may_be_what_was_said_stays_and_is_reported(self) -> None:
        given_ = [segment(FIRST), segment(*[(" so", 5.0 + i / 4, 5.25 + i / 4) for i in range(12)]), segment(LAST)]
        left, notices = recheck.resolve_suspicions(
            given_, suspicions.find_suspicions(WINDOW, given_, SPANS, SOUND), SOUND
        )
        assert left == given_
        assert [(n.code, n.start, n.end) for n in notices] == [("repeated-words", 5.0, 8.0)]

    def test_speech_that_stayed_without_words_is_reported(self) -> None:
        _, notices = recheck.resolve_suspicions(
            [segment(FIRST)], suspicions.find_suspicions(WINDOW, [segment(FIRST)], SPANS, SOUND), SOUND
        )
        assert [(n.code, n.start, n.end) for n in notices] == [
            ("speech-without-words", 5.0, 9.3),
            ("speech-without-words", 12.0, 15.0),
        ]


class Faulty:
    """The real engine; what it gives for whole windows is spoiled, as engines do it by themselves
    now and then.
    """

    name = "faulty"

    def __init__(self, engine: Backend, spoil: Callable[[Segment], list[Segment]]) -> None:
        self._engine, self._spoil = engine, spoil
        self.seconds: list[float] = []

    def transcribe(
        self,
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        options: Options,
        *,
        done: int = 0,
        hearing: Hearing | None = None,
    ) -> Iterator[tuple[Window, list[Segment]]]:
        first = not self.seconds
        self.seconds.append(sum(w.end - w.start for w in windows) / SAMPLE_RATE)
        for window, segments in self._engine.transcribe(audio, windows, options, done=done, hearing=hearing):
            yield window, [s for segment in segments for s in self._spoil(segment)] if first else segments


@pytest.fixture(scope="module")
def engine(tiny_en: Path) -> Iterator[Backend]:
    pytest.importorskip("faster_whisper")
    backend = create_backend("faster-whisper")
    backend.load(tiny_en)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Two recordings with a second between them."""
    spool = tmp_path_factory.mktemp("spool")
    pause = np.zeros(SECOND, np.float32)
    parts = [np.asarray(decoding.decode(DATA / n, spool / n).samples) for n in ("conference.flac", "password.flac")]
    return np.concatenate([pause, parts[0], pause, parts[1], pause])


def transcribe(backend: Backend | Faulty, samples: NDArray[np.float32]) -> tuple[list[Segment], list[str]]:
    spans = vad.detect_speech(samples)
    windows = cut_windows(samples, spans)
    context = WindowContext(backend, samples, spans, Options(language="en"))  # type: ignore[arg-type]
    found = list(pipeline.process_windows(context, windows))
    assert [text.window for text in found] == windows
    return [s for text in found for s in text.segments], [n.code for text in found for n in text.notices]


def spoken(segments: Sequence[Segment]) -> list[str]:
    return "".join(ch for ch in " ".join(s.text for s in segments).lower() if ch.isalpha() or ch == " ").split()


class TestTranscribe:
    def test_nothing_is_transcribed_again_where_text_and_speech_agree(
        self, engine: Backend, recording: NDArray[np.float32]
    ) -> None:
        whole = Faulty(engine, lambda segment: [segment])
        segments, notices = transcribe(whole, recording)
        assert notices == []
        assert len(whole.seconds) == 1
        assert len(segments) >= 2

    def test_a_sentence_that_the_engine_left_out_is_transcribed_again(
        self, engine: Backend, recording: NDArray[np.float32]
    ) -> None:
        known, _ = transcribe(engine, recording)
        lost = next(s.start for s, after in itertools.pairwise(known) if after.start - s.end > 0.5)
        edge = next(after.start for s, after in itertools.pairwise(known) if s.start == lost) - 0.3

        def cut_short(segment: Segment) -> list[Segment]:
            words = tuple(w for w in segment.words if w.start < edge)
            text = "".join(w.word for w in words).strip()
            return [dataclasses.replace(segment, end=words[-1].end, text=text, words=words)] if words else []

        faulty = Faulty(engine, cut_short)
        segments, notices = transcribe(faulty, recording)
        assert len(faulty.seconds) == 2
        assert faulty.seconds[1] < faulty.seconds[0]
        assert spoken(segments) == spoken(known)
        assert notices == []

    def test_words_invented_over_a_silence_do_not_stay(self, engine: Backend, recording: NDArray[np.float32]) -> None:
        samples = np.concatenate([recording, np.zeros(3 * SECOND, np.float32), recording])
        known, _ = transcribe(engine, samples)
        gap = len(recording) / SAMPLE_RATE + 1.0
        invented = segment((" Thank", gap, gap + 0.4), (" you.", gap + 0.4, gap + 0.8))

        def invent(s: Segment) -> list[Segment]:
            before = tuple(w for w in s.words if w.end <= gap)
            after = tuple(w for w in s.words if w.end > gap)
            if not before or not after:
                return [s]
            cut = [dataclasses.replace(s, words=p, text="".join(w.word for w in p).strip()) for p in (before, after)]
            return [
                dataclasses.replace(cut[0], end=before[-1].end),
                invented,
                dataclasses.replace(cut[1], start=after[0].start),
            ]

        faulty = Faulty(engine, invent)
        segments, _ = transcribe(faulty, samples)
        assert len(faulty.seconds) >= 2
        assert spoken(segments) == spoken(known)

    def test_what_is_said_again_and_again_is_written_as_often(
        self, engine: Backend, recording: NDArray[np.float32]
    ) -> None:
        (first, *_), _ = transcribe(engine, recording)
        said = recording[int((first.start - 0.1) * SECOND) : int((first.end + 0.3) * SECOND)]
        segments, notices = transcribe(engine, np.concatenate([recording[:SECOND], *[said] * 8, recording[:SECOND]]))
        assert spoken(segments) == spoken([first]) * 8
        assert set(notices) <= {"repeated-words"}  # the engine may write it a ninth time, which goes

    def test_a_loop_of_the_engine_does_not_stay(self, engine: Backend, recording: NDArray[np.float32]) -> None:
        known, _ = transcribe(engine, recording)
        loops = []

        def run_in_a_loop(s: Segment) -> list[Segment]:
            """Write the first three words again and again over the rest."""
            turn, rest = s.words[:3], s.words[3:]
            words = tuple(dataclasses.replace(w, word=turn[i % 3].word) for i, w in enumerate(rest))
            loops.append(len(words))
            words = (*turn, *words)
            return [dataclasses.replace(s, words=words, text="".join(w.word for w in words).strip())]

        faulty = Faulty(engine, run_in_a_loop)
        segments, notices = transcribe(faulty, recording)
        assert max(loops) >= 6
        assert spoken(segments) == spoken(known)
        assert notices == []

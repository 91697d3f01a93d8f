"""Which language is spoken: what follows from what the model detects, and the windows of a mixed
recording.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding, language_evidence, languages, vad
from dropscribe.worker.language_evidence import Detection
from dropscribe.worker.speech import Speech
from dropscribe.worker.windows import Cutting

DATA = Path(__file__).parent / "data"


def detected(seconds: float = 10.0, **probabilities: float) -> Detection:
    rest = 1.0 - sum(probabilities.values())
    return Detection(seconds, {**probabilities, "xx": rest})


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    """Three prompts with 2 s between them, about 23 s: one window."""
    folder = tmp_path_factory.mktemp("spool")
    pieces = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for name in ("conference.flac", "password.flac", "jfk.opus"):
        found = decoding.decode(DATA / name, folder / name)
        pieces += [np.asarray(found.samples), np.zeros(2 * SAMPLE_RATE, np.float32)]
    samples = np.concatenate(pieces)
    return Speech(samples, len(samples), (tuple(vad.detect_speech(samples)),))


def test_every_stretch_counts_by_its_speech_not_the_first_alone() -> None:
    assert language_evidence.find_main_language(
        [detected(2, en=0.9), detected(20, de=0.8), detected(20, de=0.7)]
    ) == (
        "de",
        0.7143,
    )
    assert language_evidence.find_main_language([detected(0, en=0.9)]) == ("en", 0.9)


def test_only_the_candidates_are_considered() -> None:
    known = {"en": 0.2, "de": 0.3, "nl": 0.5}
    assert language_evidence.restrict(known, ()) == known
    assert language_evidence.restrict(known, ("de", "en")) == pytest.approx({"en": 0.4, "de": 0.6})
    assert language_evidence.restrict({"en": 1.0}, ("de",)) == {"en": 1.0}  # an English model knows no other


def test_a_language_is_considered_where_enough_speech_is_clearly_in_it() -> None:
    assert language_evidence.find_possible([detected(en=0.9), detected(en=0.4, de=0.5)], "en") == ["en"]
    assert language_evidence.find_possible([detected(en=0.9), detected(2.0, de=0.9)], "en") == ["en"]
    assert language_evidence.find_possible(
        [detected(en=0.9), detected(2.0, de=0.9), detected(1.5, de=0.7)], "en"
    ) == [
        "de",
        "en",
    ]


def test_a_language_that_whisper_rarely_knows_needs_more_than_the_highest_probability() -> None:
    assert language_evidence.find_main_language([detected(la=0.5, pt=0.3)])[0] == "pt"
    assert language_evidence.find_main_language([detected(la=0.5, pt=0.3)], ("la", "pt"))[0] == "la"  # asked for
    assert language_evidence.find_main_language([detected(la=0.9, pt=0.05)])[0] == "la"
    assert language_evidence.find_possible([detected(pt=0.9), detected(la=0.7)], "pt") == ["pt"]


def test_a_language_in_doubt_has_a_runner_up() -> None:
    heard = [detected(5.0, th=0.45, hi=0.4), detected(5.0, th=0.45, hi=0.4)]
    assert language_evidence.find_runner_up(heard, *language_evidence.find_main_language(heard)) == "hi"
    assert language_evidence.find_runner_up([detected(en=0.9)], "en", 0.9) == ""
    assert language_evidence.find_runner_up([Detection(3.0, {"en": 1.0})], "en", 0.2) == ""


@pytest.mark.parametrize(
    ("stretches", "said"),
    [
        # One odd stretch, as noise, names or a song give it, changes nothing.
        ([detected(en=0.95), detected(de=0.8, en=0.1), detected(en=0.95)], "en en en"),
        # A word or two say little, however sure the model is.
        ([detected(en=0.95), detected(1.0, de=0.99), detected(en=0.95)], "en en en"),
        # Two in a row need less.
        (
            [detected(en=0.95), detected(de=0.85, en=0.03), detected(de=0.85, en=0.03), detected(en=0.95)],
            "en de de en",
        ),
        # An unsure stretch goes with its neighbours.
        ([detected(en=0.99), detected(de=0.99), detected(en=0.4, de=0.3), detected(de=0.99)], "en de de de"),
        ([detected(de=0.99), detected(de=0.99), detected(en=0.99), detected(en=0.99)], "de de en en"),
    ],
)
def test_a_change_of_language_needs_reasons(stretches: list[Detection], said: str) -> None:
    assert language_evidence.smooth_languages(stretches, ("de", "en")) == said.split()


probable = st.floats(0.0, 1.0).flatmap(
    lambda p: st.builds(
        lambda seconds: Detection(seconds, {"en": p, "de": (1 - p) * 0.7, "fr": (1 - p) * 0.3}), st.floats(0, 30)
    )
)


@given(st.lists(probable, max_size=30))
def test_smoothing_gives_each_stretch_one_of_the_languages_detected(stretches: list[Detection]) -> None:
    found = language_evidence.smooth_languages(stretches, ("en", "de"))
    assert len(found) == len(stretches)
    assert set(found) <= {"en", "de"}


def test_no_window_of_a_mixed_recording_holds_two_languages(talk: Speech) -> None:
    closer = talk.cut_windows(Cutting(limit=8.0, bridge=1.5))
    known = ["en" if i % 3 else "de" for i in range(len(closer))]
    assert len(closer) >= 4
    pairs = list(languages.join_stretches(talk, talk.channel_spans[0], list(zip(closer, known, strict=True))))
    assert {language for _, language in pairs} == {"en", "de"}
    assert len(pairs) < len(closer)  # neighbours in one language are one window again
    for window, language in zip(closer, known, strict=True):
        for span in talk.spans:
            for sample in range(max(span.start, window.start), min(span.end, window.end), 1600):
                assert [each for w, each in pairs if w.start <= sample < w.end] == [language]


class Model:
    """Hears German from one place on, English before, part by part; counts what it is asked."""

    def __init__(self, german_from: float) -> None:
        self.first = int(german_from * SAMPLE_RATE)
        self.encoded: list[int] = []

    def _hear(self, sample: float) -> dict[str, float]:
        return {"de": 0.97, "en": 0.03} if sample >= self.first else {"en": 0.97, "de": 0.03}

    def detect_languages(self, audio: Any, windows: Any, *, silence_s: float | None = None) -> Any:
        for window in windows:
            yield self._hear((window.start + window.end) / 2)

    def hear_languages(self, audio: Any, windows: Any, parts: Any) -> Any:
        for window, own in zip(windows, parts, strict=True):
            self.encoded.append(window.index)
            yield [self._hear(window.start + (first + last) / 2) for first, last in own]


@pytest.fixture(scope="module")
def long_talk(talk: Speech) -> Speech:
    """Twenty times the three prompts, about eight minutes: one window each."""
    count, length = 20, len(talk.samples)
    spans = [vad.Span(i * length + s.start, i * length + s.end) for i in range(count) for s in talk.spans]
    return Speech(np.tile(talk.samples, count), count * length, (tuple(spans),))


def read_by_time(spoken: languages.SpokenLanguages) -> list[tuple[str, float]]:
    return [(spoken.languages[first], spoken.windows[first].start / SAMPLE_RATE) for _, first, _ in spoken.group()]


def test_a_short_recording_is_heard_part_by_part_before_its_first_window(talk: Speech) -> None:
    model = Model(german_from=12.0)
    spoken = languages.decide_languages(model, talk, talk.cut_windows())  # type: ignore[arg-type]
    assert spoken.languages == ("en", "de")
    assert 9.0 < spoken.windows[1].start / SAMPLE_RATE < 15.0


def test_one_language_is_not_divided(long_talk: Speech) -> None:
    model = Model(german_from=0.0)
    windows = long_talk.cut_windows()
    spoken = languages.decide_languages(model, long_talk, windows)  # type: ignore[arg-type]
    assert spoken == languages.SpokenLanguages("de", 0.97, tuple(windows), ("de",) * len(windows))
    assert len(model.encoded) == language_evidence.RULES.most


def watch(model: Model, speech: Speech, heard: Any = ()) -> languages.LanguageWatch:
    windows = speech.cut_windows()
    spoken = languages.SpokenLanguages("de", 0.9, tuple(windows), ("de",) * len(windows))
    return languages.LanguageWatch(languages.Listener(model, speech, windows), spoken, heard)  # type: ignore[arg-type]


def transcribe(model: Model, speech: Speech, watch: languages.LanguageWatch, windows: range) -> None:
    """Hear what an engine hears while it transcribes these windows."""
    cut = speech.cut_windows()
    assert watch.hearing is not None
    for place in windows:
        own = watch.hearing.parts[place]
        (watch.hearing.heard[place],) = model.hear_languages(None, [cut[place]], [own])


def test_what_samples_missed_changes_the_plan_from_there_on(long_talk: Speech) -> None:
    model = Model(german_from=100.0)
    own = watch(model, long_talk)
    transcribe(model, long_talk, own, range(1))
    changed = own.reconsider(1)
    assert changed is not None
    assert [language for language, _ in read_by_time(changed)] == ["en", "de"]
    assert abs(read_by_time(changed)[1][1] - 100.0) < 10.0
    assert changed.language == "de"
    assert own.reconsider(2) is None  # every window is heard by now
    assert own.hearing is None
    assert sorted(model.encoded) == list(range(len(long_talk.cut_windows())))  # none twice


def test_a_plan_that_holds_stays(long_talk: Speech) -> None:
    model = Model(german_from=0.0)
    own = watch(model, long_talk)
    assert own.reconsider(0) is None
    for done in range(1, len(long_talk.cut_windows()) + 1):
        transcribe(model, long_talk, own, range(done - 1, done))
        assert own.reconsider(done) is None


def test_the_plan_after_a_kill_is_that_of_work_that_was_not_interrupted(long_talk: Speech) -> None:
    class Later(Model):
        def _hear(self, sample: float) -> dict[str, float]:
            return super()._hear(self.first if sample < self.first else 0)  # German first

    def go_on(own: languages.LanguageWatch, model: Model, first: int) -> tuple[list[Any], Any]:
        heard: list[Any] = []
        for done in range(first, 20):
            if (changed := own.reconsider(done)) is not None:
                return heard, changed
            transcribe(model, long_talk, own, range(done, done + 3))  # an engine that is ahead
            heard.append(own.read(done))
        raise AssertionError

    model = Later(german_from=150.0)
    heard, changed = go_on(watch(model, long_talk), model, 0)
    assert len(heard) > 3
    assert changed.windows[: len(heard) - 1] == tuple(long_talk.cut_windows())[: len(heard) - 1]  # what is done stays
    for killed in range(1, len(heard) + 1):
        again = watch(model, long_talk, heard[:killed])
        assert go_on(again, model, killed) == (heard[killed:], changed)


def test_windows_in_a_row_in_one_language_are_one_run() -> None:
    windows = tuple(Window(i, i, i + 1) for i in range(4))
    spoken = languages.SpokenLanguages("en", 0.9, windows, ("en", "en", "de", "en"))
    assert list(spoken.group()) == [("en", 0, 2), ("de", 2, 3), ("en", 3, 4)]
    assert list(languages.SpokenLanguages("und", None, (), ()).group()) == []


@pytest.mark.parametrize("mixed", ["auto", "always", "never"])
def test_an_english_model_detects_english(talk: Speech, tiny_en: Path, mixed: str) -> None:
    engine = create_backend("faster-whisper")
    engine.load(tiny_en)
    windows = talk.cut_windows()
    beats: list[float] = []
    spoken = languages.decide_languages(
        engine, talk, windows, candidates=("de", "fr"), mixed=mixed, heartbeat=beats.append
    )
    assert spoken == languages.SpokenLanguages("en", 1.0, tuple(windows), ("en",) * len(windows))
    assert beats[0] > 0
    # What is set is not asked for.
    assert languages.decide_languages(engine, talk, windows, language="de", mixed=mixed).probability is None
    assert languages.decide_languages(engine, talk, windows, candidates=("fr",), mixed=mixed).language == "fr"
    assert languages.decide_languages(engine, talk, [], mixed=mixed) == languages.SpokenLanguages("und", None, (), ())
    engine.close()


class Detector:
    """Gives a clip the language that its first sample stands for: the surer, the more silence it gets."""

    def __init__(self) -> None:
        self.asked: list[tuple[float | None, int]] = []

    def detect_languages(self, audio: Any, windows: Any, *, silence_s: float | None = None) -> Any:
        self.asked.append((silence_s, len(windows)))
        for window in windows:
            p = min(1.0, float(audio[window.start]) + (silence_s or 0) / 100)
            yield {"en": p, "de": (1 - p) * 0.6, "fr": (1 - p) * 0.4}


def test_a_clip_in_doubt_gets_more_silence_and_then_no_language_briefly() -> None:
    windows = [Window(0, 0, 10), Window(0, 10, 20), Window(0, 20, 30)]
    sound = np.zeros(30, np.float32)
    sound[::10] = [0.9, 0.65, 0.5]
    detector = Detector()
    found = languages.decide_briefly(detector, sound, windows)  # type: ignore[arg-type]
    assert found == [("en", 0.91), ("en", 0.72), None]
    assert detector.asked == [(1.0, 3), (7.0, 2)]
    # What can occur decides what is sure.
    assert languages.decide_briefly(detector, sound, windows, ("en",)) == [("en", 1.0)] * 3  # type: ignore[arg-type]
    assert languages.decide_briefly(detector, sound, [], ()) == []  # type: ignore[arg-type]

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
from dropscribe.worker import decoding, languages, vad
from dropscribe.worker.languages import Detection
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
    assert languages.find_main_language([detected(2, en=0.9), detected(20, de=0.8), detected(20, de=0.7)]) == (
        "de",
        0.7143,
    )
    assert languages.find_main_language([detected(0, en=0.9)]) == ("en", 0.9)


def test_only_the_candidates_are_considered() -> None:
    known = {"en": 0.2, "de": 0.3, "nl": 0.5}
    assert languages.restrict(known, ()) == known
    assert languages.restrict(known, ("de", "en")) == pytest.approx({"en": 0.4, "de": 0.6})
    assert languages.restrict({"en": 1.0}, ("de",)) == {"en": 1.0}  # an English model knows no other


def test_an_unsure_window_is_no_disagreement_and_a_sure_one_is() -> None:
    assert not languages.has_other_language([detected(en=0.9), detected(en=0.4, de=0.5)], "en")
    assert languages.has_other_language([detected(en=0.9), detected(en=0.2, de=0.7)], "en")


@pytest.mark.parametrize(
    ("stretches", "said"),
    [
        # One odd stretch, as noise, names or a song give it, changes nothing.
        ([detected(en=0.95), detected(cy=0.8, en=0.1), detected(en=0.95)], "en en en"),
        ([detected(cy=0.8, en=0.1), detected(en=0.95), detected(en=0.95)], "en en en"),
        # A word or two say little, however sure the model is.
        ([detected(en=0.95), detected(1.0, de=0.99), detected(en=0.95)], "en en en"),
        # All but certain, and long enough.
        ([detected(en=0.99), detected(de=0.999), detected(en=0.99)], "en de en"),
        # Two in a row need less.
        (
            [detected(en=0.95), detected(de=0.85, en=0.05), detected(de=0.85, en=0.05), detected(en=0.95)],
            "en de de en",
        ),
        # An unsure stretch goes with its neighbours.
        ([detected(en=0.99), detected(de=0.99), detected(en=0.4, de=0.3), detected(de=0.99)], "en de de de"),
        ([detected(de=0.99), detected(de=0.99), detected(en=0.99), detected(en=0.99)], "de de en en"),
    ],
)
def test_a_change_of_language_needs_reasons(stretches: list[Detection], said: str) -> None:
    assert languages.smooth_languages(stretches, "en") == said.split()


probable = st.floats(0.0, 1.0).flatmap(
    lambda p: st.builds(
        lambda seconds: Detection(seconds, {"en": p, "de": (1 - p) * 0.7, "fr": (1 - p) * 0.3}), st.floats(0, 30)
    )
)


@given(st.lists(probable, max_size=30))
def test_smoothing_gives_each_stretch_one_of_the_languages_detected(stretches: list[Detection]) -> None:
    found = languages.smooth_languages(stretches, "en")
    assert len(found) == len(stretches)
    assert set(found) <= {"en", *(h.best for h in stretches)}


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


def test_what_may_hold_two_languages_is_divided(talk: Speech) -> None:
    windows = [Window(i, 1000 * i, 1000 * i + 1000) for i in range(6)]
    said = [
        detected(en=0.99),
        detected(en=0.99),
        detected(de=0.99),
        detected(de=0.99),
        detected(de=0.99),
        detected(de=0.85),
    ]
    assert list(languages.find_unsure(talk, list(zip(windows, said, strict=True)))) == [
        windows[1],
        windows[2],
        windows[5],
    ]


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

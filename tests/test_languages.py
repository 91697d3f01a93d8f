"""Which language is spoken: what follows from what the model heard, and the windows of a mixed recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding, languages, vad
from dropscribe.worker.channels import Sound
from dropscribe.worker.languages import Heard

DATA = Path(__file__).parent / "data"


def heard(seconds: float = 10.0, **probabilities: float) -> Heard:
    rest = 1.0 - sum(probabilities.values())
    return Heard(seconds, {**probabilities, "xx": rest})


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """Three prompts with 2 s between them, about 23 s: one window."""
    folder = tmp_path_factory.mktemp("spool")
    pieces = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for name in ("conference.flac", "password.flac", "jfk.opus"):
        found = decoding.decode(DATA / name, folder / name)
        pieces += [np.asarray(found.samples), np.zeros(2 * SAMPLE_RATE, np.float32)]
    samples = np.concatenate(pieces)
    return Sound(samples, len(samples), (tuple(vad.spans(samples)),))


def test_every_stretch_counts_by_its_speech_not_the_first_alone() -> None:
    assert languages.overall([heard(2, en=0.9), heard(20, de=0.8), heard(20, de=0.7)]) == ("de", 0.7143)
    assert languages.overall([heard(0, en=0.9)]) == ("en", 0.9)


def test_only_the_candidates_are_thought_of() -> None:
    told = {"en": 0.2, "de": 0.3, "nl": 0.5}
    assert languages.restricted(told, ()) == told
    assert languages.restricted(told, ("de", "en")) == pytest.approx({"en": 0.4, "de": 0.6})
    assert languages.restricted({"en": 1.0}, ("de",)) == {"en": 1.0}  # an English model knows no other


def test_a_doubtful_window_is_no_disagreement_and_a_sure_one_is() -> None:
    assert not languages.disagree([heard(en=0.9), heard(en=0.4, de=0.5)], "en")
    assert languages.disagree([heard(en=0.9), heard(en=0.2, de=0.7)], "en")


@pytest.mark.parametrize(
    ("stretches", "said"),
    [
        # One odd stretch, as noise, names or a song give it, changes nothing.
        ([heard(en=0.95), heard(cy=0.8, en=0.1), heard(en=0.95)], "en en en"),
        ([heard(cy=0.8, en=0.1), heard(en=0.95), heard(en=0.95)], "en en en"),
        # A word or two say little, however sure the model is.
        ([heard(en=0.95), heard(1.0, de=0.99), heard(en=0.95)], "en en en"),
        # All but certain, and long enough.
        ([heard(en=0.99), heard(de=0.999), heard(en=0.99)], "en de en"),
        # Two in a row need less.
        ([heard(en=0.95), heard(de=0.85, en=0.05), heard(de=0.85, en=0.05), heard(en=0.95)], "en de de en"),
        # A doubtful stretch goes with its neighbours.
        ([heard(en=0.99), heard(de=0.99), heard(en=0.4, de=0.3), heard(de=0.99)], "en de de de"),
        ([heard(de=0.99), heard(de=0.99), heard(en=0.99), heard(en=0.99)], "de de en en"),
    ],
)
def test_a_change_of_language_needs_reasons(stretches: list[Heard], said: str) -> None:
    assert languages.smoothed(stretches, "en") == said.split()


probable = st.floats(0.0, 1.0).flatmap(
    lambda p: st.builds(
        lambda seconds: Heard(seconds, {"en": p, "de": (1 - p) * 0.7, "fr": (1 - p) * 0.3}), st.floats(0, 30)
    )
)


@given(st.lists(probable, max_size=30))
def test_smoothing_gives_each_stretch_one_of_the_languages_heard(stretches: list[Heard]) -> None:
    found = languages.smoothed(stretches, "en")
    assert len(found) == len(stretches)
    assert set(found) <= {"en", *(h.best for h in stretches)}


def test_no_window_of_a_mixed_recording_holds_two_languages(talk: Sound) -> None:
    closer = talk.windows(vad.Cutting(limit=8.0, bridge=1.5))
    told = ["en" if i % 3 else "de" for i in range(len(closer))]
    assert len(closer) >= 4
    pairs = list(languages.joined(talk, talk.speech[0], list(zip(closer, told, strict=True))))
    assert {language for _, language in pairs} == {"en", "de"}
    assert len(pairs) < len(closer)  # neighbours in one language are one window again
    for window, language in zip(closer, told, strict=True):
        for span in talk.spans:
            for sample in range(max(span.start, window.start), min(span.end, window.end), 1600):
                assert [each for w, each in pairs if w.start <= sample < w.end] == [language]


def test_what_may_hold_two_languages_is_listened_to_in_parts(talk: Sound) -> None:
    windows = [Window(i, 1000 * i, 1000 * i + 1000) for i in range(6)]
    said = [heard(en=0.99), heard(en=0.99), heard(de=0.99), heard(de=0.99), heard(de=0.99), heard(de=0.85)]
    assert list(languages.unsure(talk, list(zip(windows, said, strict=True)))) == [windows[1], windows[2], windows[5]]


def test_windows_in_a_row_in_one_language_are_one_run() -> None:
    windows = tuple(Window(i, i, i + 1) for i in range(4))
    spoken = languages.Spoken("en", 0.9, windows, ("en", "en", "de", "en"))
    assert list(languages.runs(spoken)) == [("en", 0, 2), ("de", 2, 3), ("en", 3, 4)]
    assert list(languages.runs(languages.Spoken("und", None, (), ()))) == []


@pytest.mark.parametrize("mixed", ["auto", "always", "never"])
def test_an_english_model_hears_english(talk: Sound, tiny_en: Path, mixed: str) -> None:
    engine = create_backend("faster-whisper")
    engine.load(tiny_en)
    windows = talk.windows()
    beats: list[float] = []
    spoken = languages.decide(engine, talk, windows, candidates=("de", "fr"), mixed=mixed, heartbeat=beats.append)
    assert spoken == languages.Spoken("en", 1.0, tuple(windows), ("en",) * len(windows))
    assert beats[0] > 0
    # What is set is not asked for.
    assert languages.decide(engine, talk, windows, language="de", mixed=mixed).probability is None
    assert languages.decide(engine, talk, windows, candidates=("fr",), mixed=mixed).language == "fr"
    assert languages.decide(engine, talk, [], mixed=mixed) == languages.Spoken("und", None, (), ())
    engine.close()

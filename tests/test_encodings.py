"""What the encoder is given to learn a language, and what is kept of its output."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE, Options, Window, encodings
from dropscribe.backends.encodings import KeptEncodings, count_encoded_samples
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding

DATA = Path(__file__).parent / "data"


def test_what_is_kept_is_given_once_and_for_the_same_sound_alone() -> None:
    kept, audio, window = KeptEncodings(), np.zeros(9, np.float32), Window(0, 0, 9)
    kept.keep(audio, window, "encoded")
    assert kept.take(audio, Window(0, 0, 8)) is None
    assert kept.take(audio, Window(0, 0, 9, ((2, 4),))) is None
    assert kept.take(audio.copy(), window) is None
    assert kept.take(audio, Window(7, 0, 9)) == "encoded"  # its place among the windows is not its sound
    assert kept.take(audio, window) is None


def test_only_the_newest_windows_of_one_recording_are_kept() -> None:
    kept, audio = KeptEncodings(), np.zeros(99, np.float32)
    windows = [Window(i, i, i + 1) for i in range(encodings.MOST_WINDOWS + 2)]
    for window in windows:
        kept.keep(audio, window, window.index)
    assert [kept.take(audio, window) for window in windows] == [None, None, *range(2, encodings.MOST_WINDOWS + 2)]
    kept.keep(audio, windows[0], 0)
    other = np.zeros(99, np.float32)
    kept.keep(other, windows[1], 1)
    assert kept.take(audio, windows[0]) is None
    assert kept.take(other, windows[1]) == 1


def test_what_is_kept_goes_with_the_sound() -> None:
    class Encoded:
        pass

    kept, audio = KeptEncodings(), np.zeros(9, np.float32)
    kept.keep(audio, Window(0, 0, 9), Encoded())
    del audio
    gc.collect()
    assert not any(isinstance(each, Encoded) for each in gc.get_objects())


@pytest.mark.parametrize(
    ("seconds", "silence_s", "encoded"),
    [(4.2, 1.0, 6), (4.0, 1.0, 5), (29.5, 1.0, 30), (30.0, 7.0, 30), (3.0, None, 30)],
)
def test_a_language_is_detected_of_little_more_than_the_sound(
    seconds: float, silence_s: float | None, encoded: int
) -> None:
    assert count_encoded_samples(int(seconds * SAMPLE_RATE), silence_s, step_s=1.0) == encoded * SAMPLE_RATE


def test_a_window_that_was_encoded_before_gets_the_same_text_to_the_last_bit(tiny_en: Path, tmp_path: Path) -> None:
    """Of a batch of two, the first window is kept, the second is not."""
    sound = np.array(decoding.decode(DATA / "jfk.opus", tmp_path / "spool").samples)
    windows = [Window(0, 0, 5 * SAMPLE_RATE), Window(1, 5 * SAMPLE_RATE, len(sound))]
    engine = create_backend("faster-whisper")
    engine.load(tiny_en)
    try:
        as_usual = list(engine.transcribe(sound, windows, Options(language="en")))
        for kept in (windows[:1], windows):
            for window in kept:
                engine._kept.keep(sound, window, _encode(engine, sound, window))  # type: ignore[attr-defined]
            assert list(engine.transcribe(sound, windows, Options(language="en"))) == as_usual
            assert engine._kept.take(sound, kept[0]) is None  # type: ignore[attr-defined]
    finally:
        engine.close()


def _encode(engine: object, sound: np.ndarray, window: Window) -> object:
    model = engine._model  # type: ignore[attr-defined]
    part = sound[window.start : window.end]
    extractor = model.feature_extractor
    return model.encode(extractor(part, padding=extractor.n_samples - len(part)))

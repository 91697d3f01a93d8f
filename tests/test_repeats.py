"""Whether the sound repeats itself, on a real voice."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker import decoding, repeats, vad, word_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """11 seconds of a speech."""
    return np.asarray(decoding.decode(DATA / "jfk.opus", tmp_path_factory.mktemp("spool") / "spool").samples)


def join(parts: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    edges = [0, *itertools.accumulate(map(len, parts))]
    return np.concatenate(parts), [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.5])
def test_what_is_said_again_sounds_alike(talk: NDArray[np.float32], seconds: float) -> None:
    length = int(seconds * SAMPLE_RATE)
    rng = np.random.default_rng(1)
    begins = [int(0.4 * SAMPLE_RATE + rng.integers(0, length // 10)) for _ in range(6)]
    louder = [(1 + 0.2 * i) * talk[begin : begin + length + 200 * i] for i, begin in enumerate(begins)]
    assert repeats.sounds_repeated(*join(louder))


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.0])
def test_other_words_do_not(talk: NDArray[np.float32], seconds: float) -> None:
    edges = np.arange(0.4, 10.0, seconds).tolist()
    assert not repeats.sounds_repeated(talk, list(itertools.pairwise(edges)))
    assert not repeats.sounds_repeated(talk, [(1.0, 2.0)])
    assert not repeats.sounds_repeated(talk, [(1.0, 1.01), (1.01, 1.02), (1.02, 1.03)])
    assert not repeats.sounds_repeated(np.zeros(SAMPLE_RATE * 3, np.float32), [(0, 1), (1, 2), (2, 3)])


def test_no_fewer_peaks_than_words_and_no_more_than_sounds(talk: NDArray[np.float32]) -> None:
    pause = np.zeros(SAMPLE_RATE // 3, np.float32)
    word = talk[int(0.35 * SAMPLE_RATE) : int(0.6 * SAMPLE_RATE)]
    samples = np.concatenate([pause, *[word, pause] * 9]).astype(np.float32)
    samples += np.random.default_rng(0).normal(0, 1e-4, len(samples)).astype(np.float32)
    window = Window(0, 0, len(samples))
    spans = [vad.Span(int(SAMPLE_RATE * 0.3), len(samples) - int(SAMPLE_RATE * 0.3))]
    sound = word_times.measure_sound(samples, window, spans)
    peaks = repeats.count_peaks(sound, 0.0, len(samples) / SAMPLE_RATE)
    assert peaks is not None
    assert 9 <= peaks <= 18
    assert repeats.count_peaks(word_times.Sound((), 0.0), 0.0, 1.0) is None

"""Speech detection against the library that carries its model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker import decoding, vad
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
SECOND = SAMPLE_RATE


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The three recordings with pauses of 0.5, 1 and 4 s between them: 27 s."""
    spool = tmp_path_factory.mktemp("spool")
    parts = [np.zeros(SECOND // 2, np.float32)]
    for name, pause in (("jfk.opus", 1.0), ("conference.flac", 4.0), ("password.flac", 0.5)):
        found = decoding.decode(DATA / name, spool / name)
        parts += [np.asarray(found.samples), np.zeros(int(pause * SECOND), np.float32)]
    return np.concatenate(parts)


def noise(seconds: float, level: float = 0.001) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, level, int(seconds * SECOND)).astype(np.float32)


class TestSpans:
    def test_probabilities_are_those_of_the_library(self, recording: NDArray[np.float32]) -> None:
        library = pytest.importorskip("faster_whisper.vad")
        padded = np.pad(recording, (0, 512 - len(recording) % 512))
        expected = library.get_vad_model()(padded).reshape(-1)
        np.testing.assert_allclose(vad.estimate_probabilities(recording), expected, atol=1e-5)

    @pytest.mark.parametrize("least", [0.0, 0.5])
    def test_spans_are_those_of_the_library(self, recording: NDArray[np.float32], least: float) -> None:
        library = pytest.importorskip("faster_whisper.vad")
        theirs = library.get_speech_timestamps(
            recording,
            min_silence_duration_ms=int(1000 * vad.THRESHOLDS.silence),
            speech_pad_ms=0,
            min_speech_duration_ms=int(1000 * least),
        )
        ours = vad.find_spans(vad.estimate_probabilities(recording), recording, least)
        assert [(s.start, s.end) for s in ours] == [(s["start"], s["end"]) for s in theirs]

    def test_blocks_make_no_difference(self, recording: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
        whole = vad.estimate_probabilities(recording)
        monkeypatch.setattr(vad, "_BLOCK", 7)
        beats: list[float] = []
        np.testing.assert_allclose(vad.estimate_probabilities(recording, heartbeat=beats.append), whole, atol=1e-5)
        assert beats == sorted(beats)
        assert beats[-1] == pytest.approx(len(recording) / SECOND)

    def test_where_nobody_speaks_there_is_nothing(self) -> None:
        for quiet in (np.zeros(10 * SECOND, np.float32), noise(10), noise(0.01), np.zeros(0, np.float32)):
            found = vad.detect_speech(quiet)
            assert found == []
            assert cut_windows(quiet, found) == []

    def test_the_model_is_read_without_importing_the_engine(self) -> None:
        code = (
            "import sys, numpy as np; from dropscribe.worker import vad; "
            "vad.detect_speech(np.zeros(16000, np.float32)); "
            "print(sorted({'faster_whisper', 'ctranslate2', 'av', 'mlx'} & set(sys.modules)))"
        )
        environ = {"PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_an_endless_span_is_cut_where_it_is_least_like_speech(self) -> None:
        probabilities = np.full(40 * SECOND // 512, 0.99, np.float32)
        probabilities[600:603] = 0.6  # at 19.2 s: not silence, but the best place
        sound = noise(40, 0.1)
        first, second = vad.find_spans(probabilities, sound)
        assert first.start == 0
        assert first.end == second.start == 601 * 512
        assert second.end == len(probabilities) * 512

    def test_among_equals_it_is_cut_where_it_is_quietest(self) -> None:
        probabilities = np.full(40 * SECOND // 512, 0.99, np.float32)
        sound = noise(40, 0.1)
        sound[700 * 512 : 701 * 512] *= 0.1
        first, _ = vad.find_spans(probabilities, sound)
        assert first.end == 700 * 512

"""The two halves of the speech detector together are the whole one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from dropscribe.worker import decoding, onnx_split, vad

DATA = Path(__file__).parent / "data"


def _read_model() -> bytes:
    spec = find_spec("faster_whisper")
    assert spec is not None
    assert spec.origin is not None
    return max((Path(spec.origin).parent / "assets").glob("silero_vad*.onnx")).read_bytes()


def test_speech_is_as_probable_as_by_the_whole_model_to_the_last_bit_on_any_number_of_threads(tmp_path: Path) -> None:
    speech = np.array(decoding.decode(DATA / "jfk.opus", tmp_path / "spool").samples)
    sound = np.tile(speech, 8)[: 80 * 16000 + 77]  # three blocks, the last frame not full
    session = onnxruntime.InferenceSession(_read_model())
    rows = np.zeros((-(-len(sound) // vad.FRAME), 64 + vad.FRAME), np.float32)
    padded = np.concatenate([np.zeros(64, np.float32), sound, np.zeros(vad.FRAME, np.float32)])
    for place, row in enumerate(rows):
        row[:] = padded[place * vad.FRAME : place * vad.FRAME + 64 + vad.FRAME]
    state = np.zeros((1, 1, 128), np.float32)
    whole, _, _ = session.run(None, {"input": rows, "h": state, "c": state})
    for threads in (1, 2, 0):
        np.testing.assert_array_equal(vad.estimate_probabilities(sound, threads=threads), whole.reshape(-1))


def test_no_sound_has_no_frames() -> None:
    assert len(vad.estimate_probabilities(np.zeros(0, np.float32))) == 0
    assert vad.detect_speech(np.zeros(0, np.float32)) == []


def test_a_model_without_a_recurrent_layer_is_not_split() -> None:
    frames, _, border = onnx_split.split_at_lstm(_read_model())
    assert border
    with pytest.raises(ValueError, match="0 LSTM layers"):
        onnx_split.split_at_lstm(frames)

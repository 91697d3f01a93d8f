"""Voice activity detection: where somebody speaks.

Guarantees: memory does not grow with the recording beyond four bytes for each 32 ms; equal samples
give equal spans; the model is read from a file of this machine.

The detector is Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), the ONNX file that the
distribution faster-whisper carries. Only that file is used: importing `faster_whisper` would bring
CTranslate2 along.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FRAME = 512
"""Samples (32 ms) that one probability of Silero VAD stands for at 16 kHz."""

_CONTEXT = 64  # samples of the frame before that the model sees with each frame
_BLOCK = 2048  # frames for each run of the model: 65 s, about 5 MB


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When speech begins and ends. The first three are the defaults of Silero VAD's own
    `get_speech_timestamps`.

    That one also drops less than 250 ms of speech, which may be a "yes", and pads by 30 ms; here
    spans are the edges of the sound, and windows take what they need around them.
    """

    begin: float = 0.5
    """Speech begins with a frame of at least this probability, unless another one is set."""
    end: float = 0.35
    """Speech may end with a frame below this probability; where another threshold is set, as far
    below that one."""
    silence: float = 0.1
    """Seconds below `end` that end a span."""
    longest: float = 29.0
    """Seconds; a longer span is cut where speech is least likely, in its later part."""


THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch in which somebody speaks."""

    start: int
    """First sample."""
    end: int
    """One past the last sample."""


@functools.cache
def _load_model() -> Any:
    # Read at import: without it onnxruntime 1.32 writes a device number and asks for an upload
    # host's address.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    spec = find_spec("faster_whisper")
    folder = Path(spec.origin).parent / "assets" if spec and spec.origin else None
    found = sorted(folder.glob("silero_vad*.onnx")) if folder else []
    if not found:
        raise EnvironmentFaultError(
            "vad-missing",
            "The speech detection model is not there: it comes with the package faster-whisper.",
            "Install faster-whisper 1.2 again.",
        )
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep the largest block for good
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(found[-1]), providers=["CPUExecutionProvider"], sess_options=options)


def estimate_probabilities(
    audio: NDArray[np.float32], *, heartbeat: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech in every frame of `FRAME` samples; shape (ceil(samples /
    FRAME),).

    Args:
        audio: Shape (samples,), 16 kHz; may be a memory map, of which one block at a time is read.
        heartbeat: Called after each block with the seconds worked through.

    Raises: EnvironmentFaultError `vad-missing`.
    """
    session = _load_model()
    h = np.zeros((1, 1, 128), dtype=np.float32)
    c = np.zeros((1, 1, 128), dtype=np.float32)
    context = np.zeros(_CONTEXT, dtype=np.float32)
    probabilities = np.empty(math.ceil(len(audio) / FRAME), dtype=np.float32)
    for first in range(0, len(probabilities), _BLOCK):
        block = np.asarray(audio[first * FRAME : (first + _BLOCK) * FRAME], dtype=np.float32)
        frames = math.ceil(len(block) / FRAME)
        rows = np.zeros((frames, _CONTEXT + FRAME), dtype=np.float32)
        flat = np.zeros(frames * FRAME, dtype=np.float32)
        flat[: len(block)] = block
        rows[:, _CONTEXT:] = flat.reshape(frames, FRAME)
        rows[0, :_CONTEXT] = context
        rows[1:, :_CONTEXT] = rows[:-1, -_CONTEXT:]
        context = rows[-1, -_CONTEXT:].copy()
        output, h, c = session.run(None, {"input": rows, "h": h, "c": c})
        probabilities[first : first + frames] = output.reshape(-1)[:frames]
        if heartbeat is not None:
            heartbeat(min(len(audio), (first + frames) * FRAME) / SAMPLE_RATE)
    return probabilities


def detect_speech(
    audio: NDArray[np.float32],
    *,
    threshold: float = THRESHOLDS.begin,
    heartbeat: Callable[[float], None] | None = None,
) -> list[Span]:
    """Return the stretches of speech in `audio`, in order; empty when nobody speaks.

    With a `threshold` of 0 that is all of it. The other arguments and errors are those of
    `estimate_probabilities`.
    """
    return find_spans(estimate_probabilities(audio, heartbeat=heartbeat), audio, threshold=threshold)


def find_spans(
    probabilities: NDArray[np.float32],
    audio: NDArray[np.float32],
    shortest: float = 0.0,
    threshold: float = THRESHOLDS.begin,
) -> list[Span]:
    """Return the spans of speech, by the hysteresis of Silero VAD's `get_speech_timestamps`.

    Args:
        probabilities: Shape (frames,): what `estimate_probabilities` gave for `audio`. A negative
            one is never speech.
        audio: Shape (samples,).
        shortest: A span of so many seconds or less is dropped.
        threshold: The probability from which on a frame is speech; 0 for all of them.
    """
    # Just above 0, speech would never end: no frame is below 0.
    lower = max(THRESHOLDS.end + (threshold - THRESHOLDS.begin), min(threshold, 0.01))
    found: list[tuple[int, int]] = []  # in frames, open end
    start = end = -1
    silence = THRESHOLDS.silence * SAMPLE_RATE
    for frame, probability in enumerate(probabilities.tolist()):
        if probability >= threshold:
            end = -1
            if start < 0:
                start = frame
        elif probability < lower and start >= 0:
            if end < 0:
                end = frame
            if (frame - end) * FRAME >= silence:
                found.append((start, end))
                start = end = -1
    if start >= 0:
        found.append((start, len(probabilities)))
    longest = int(THRESHOLDS.longest * SAMPLE_RATE / FRAME)
    return [
        Span(first * FRAME, min(last * FRAME, len(audio)))
        for start, end in found
        if min(end * FRAME, len(audio)) - start * FRAME > shortest * SAMPLE_RATE
        for first, last in _divide(probabilities, audio, start, end, longest)
    ]


def _divide(
    probabilities: NDArray[np.float32], audio: NDArray[np.float32], first: int, last: int, longest: int
) -> list[tuple[int, int]]:
    """Divide the frames first..last into pieces of at most `longest`, each cut where it is least
    like speech.
    """
    pieces = []
    while last - first > longest:
        low, high = first + longest // 2, first + longest
        near = np.convolve(probabilities[low - 1 : high + 1], np.full(3, 1 / 3), mode="valid")
        block = np.asarray(audio[low * FRAME : high * FRAME], dtype=np.float64)
        energy = np.square(block).reshape(high - low, FRAME).sum(axis=1)
        # Inside steady speech or song every probability is near 1: there the quietest frame
        # decides.
        energy[near > near.min() + 0.1] = np.inf
        cut = low + int(energy.argmin())
        pieces.append((first, cut))
        first = cut
    pieces.append((first, last))
    return pieces

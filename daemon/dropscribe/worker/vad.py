"""Voice activity detection: where somebody speaks.

Guarantees: memory does not grow with the recording beyond four bytes for each 32 ms; equal samples
give equal spans, on any number of threads; the model is read from a file of this machine.

The detector is Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), the ONNX file that the
distribution faster-whisper carries. Only that file is used: importing `faster_whisper` would bring
CTranslate2 along.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import EnvironmentFaultError
from dropscribe.worker import onnx_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

FRAME = 512
"""Samples (32 ms) that one probability of Silero VAD stands for at 16 kHz."""

_CONTEXT = 64  # samples of the frame before that the model sees with each frame
_BLOCK = 1024  # frames for each run of the model: 33 s, about 3 MB
_MOST_THREADS = 8


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


@dataclass(frozen=True, slots=True)
class _Model:
    """Silero VAD in two sessions of ONNX Runtime."""

    frames: Any
    """From frames to what the LSTM gets: 84 % of the time, and each frame by itself."""
    recurrent: Any
    """From there to probabilities."""
    between: str
    """The name of what the first gives to the second."""


@functools.cache
def _load_model() -> _Model:
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
    halves = onnx_split.split_at_lstm(found[-1].read_bytes())
    frames, recurrent = (
        onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"], sess_options=options)
        for half in halves[:2]
    )
    return _Model(frames, recurrent, halves[2])


def estimate_probabilities(
    audio: NDArray[np.float32], *, threads: int = 0, heartbeat: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech in every frame of `FRAME` samples; shape (ceil(samples /
    FRAME),).

    Args:
        audio: Shape (samples,), 16 kHz; may be a memory map, of which one block a thread is read.
        threads: At most so many work on it; 0: as many as there are processors.
        heartbeat: Called after each block with the seconds worked through.

    Raises: EnvironmentFaultError `vad-missing`.
    """
    model = _load_model()
    h = np.zeros((1, 1, 128), dtype=np.float32)
    c = np.zeros((1, 1, 128), dtype=np.float32)
    probabilities = np.empty(math.ceil(len(audio) / FRAME), dtype=np.float32)
    run = functools.partial(_run_frames, model, audio)
    firsts = range(0, len(probabilities), _BLOCK)
    workers = min(threads or os.cpu_count() or 1, _MOST_THREADS, len(firsts))
    # A thread only for what it is worth: one block is worked on right here.
    with ThreadPoolExecutor(workers) if workers > 1 else contextlib.nullcontext() as pool:
        states = iter(map(run, firsts)) if pool is None else _map_ahead(pool, run, firsts, 2 * workers)
        for first, state in zip(firsts, states, strict=True):
            output, h, c = model.recurrent.run(None, {model.between: state, "h": h, "c": c})
            found = output.reshape(-1)
            probabilities[first : first + len(found)] = found
            if heartbeat is not None:
                heartbeat(min(len(audio), (first + len(found)) * FRAME) / SAMPLE_RATE)
    return probabilities


def _run_frames(model: _Model, audio: NDArray[np.float32], first: int) -> NDArray[np.float32]:
    """Return what the LSTM gets of the block that begins with the frame `first`."""
    begin = first * FRAME
    block = np.asarray(audio[begin : begin + _BLOCK * FRAME], dtype=np.float32)
    frames = math.ceil(len(block) / FRAME)
    # Each frame with the end of the one before; silence before the first and after the last.
    flat = np.zeros(_CONTEXT + frames * FRAME, dtype=np.float32)
    flat[_CONTEXT : _CONTEXT + len(block)] = block
    if begin:
        flat[:_CONTEXT] = audio[begin - _CONTEXT : begin]
    rows = np.lib.stride_tricks.sliding_window_view(flat, _CONTEXT + FRAME)[::FRAME]
    (state,) = model.frames.run(None, {"input": np.ascontiguousarray(rows)})
    return state  # type: ignore[no-any-return]


def _map_ahead(
    pool: ThreadPoolExecutor,
    run: Callable[[int], NDArray[np.float32]],
    items: Iterable[int],
    ahead: int,
) -> Iterator[NDArray[np.float32]]:
    """Yield what `run` gives for each item, in order; `ahead` items at most are worked on."""
    waiting: collections.deque[Future[NDArray[np.float32]]] = collections.deque()
    for item in items:
        waiting.append(pool.submit(run, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def detect_speech(
    audio: NDArray[np.float32],
    *,
    threshold: float = THRESHOLDS.begin,
    threads: int = 0,
    heartbeat: Callable[[float], None] | None = None,
) -> list[Span]:
    """Return the stretches of speech in `audio`, in order; empty when nobody speaks.

    With a `threshold` of 0 that is all of it. The other arguments and errors are those of
    `estimate_probabilities`.
    """
    probabilities = estimate_probabilities(audio, threads=threads, heartbeat=heartbeat)
    return find_spans(probabilities, audio, threshold=threshold)


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

"""Where somebody speaks, and the windows that are decoded.

Guarantees: memory does not grow with the recording beyond four bytes for each 32 ms; equal samples give equal
spans and windows; the model is read from a file of this machine. Windows are in order, do not overlap, cover every
span, and at most `MAX_WINDOW` samples of one are heard; only of pauses is anything left out.

The detector is Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), the ONNX file that the distribution
faster-whisper carries. Only that file is used: importing `faster_whisper` would bring CTranslate2 along.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

FRAME = 512
"""Samples (32 ms) that one probability of Silero VAD stands for at 16 kHz."""

MAX_WINDOW = 30 * SAMPLE_RATE
"""Samples that Whisper hears at once."""

THRESHOLD = 0.5
"""Speech begins with a frame of at least this probability, unless another one is set.

This and the next two are the defaults of Silero VAD's own `get_speech_timestamps`. It drops less than 250 ms of
speech, which may be a "yes", and pads by 30 ms; here spans are the edges of the sound, and windows take what they
need around them.
"""
NEG_THRESHOLD = 0.35
"""Speech may end with a frame below this probability; where another threshold is set, as far below that one."""
MIN_SILENCE = 0.1
"""Seconds below `NEG_THRESHOLD` that end a span."""
MAX_SPAN = 29.0
"""Seconds; a longer span is cut where speech is least likely, in its later part."""

_UNFILLED = 0.5
"""Seconds for which room is made at the end of a window whose pauses are shortened, if they have so much: in one that
is filled up to its end, Whisper leaves the last words out (digits, tiny.en: three of six windows were doubted)."""

_CONTEXT = 64  # samples of the frame before that the model sees with each frame
_BLOCK = 2048  # frames for each run of the model: 65 s, about 5 MB


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch in which somebody speaks."""

    start: int
    """First sample."""
    end: int
    """One past the last sample."""


@functools.cache
def _session() -> Any:
    # Read at import: without it onnxruntime 1.32 writes a device number and asks for an upload host's address.
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


def probabilities(
    audio: NDArray[np.float32], *, heartbeat: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech in every frame of `FRAME` samples; shape (ceil(samples / FRAME),).

    Args:
        audio: Shape (samples,), 16 kHz; may be a memory map, of which one block at a time is read.
        heartbeat: Called after each block with the seconds heard so far.

    Raises: EnvironmentFaultError `vad-missing`.
    """
    session = _session()
    h = np.zeros((1, 1, 128), dtype=np.float32)
    c = np.zeros((1, 1, 128), dtype=np.float32)
    context = np.zeros(_CONTEXT, dtype=np.float32)
    found = np.empty(math.ceil(len(audio) / FRAME), dtype=np.float32)
    for first in range(0, len(found), _BLOCK):
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
        found[first : first + frames] = output.reshape(-1)[:frames]
        if heartbeat is not None:
            heartbeat(min(len(audio), (first + frames) * FRAME) / SAMPLE_RATE)
    return found


def spans(
    audio: NDArray[np.float32], *, threshold: float = THRESHOLD, heartbeat: Callable[[float], None] | None = None
) -> list[Span]:
    """Return the stretches of speech in `audio`, in order; empty when nobody speaks.

    With a `threshold` of 0 that is all of it. Arguments and errors are those of `probabilities`.
    """
    return spans_of(probabilities(audio, heartbeat=heartbeat), audio, threshold=threshold)


def spans_of(
    heard: NDArray[np.float32], audio: NDArray[np.float32], least: float = 0.0, threshold: float = THRESHOLD
) -> list[Span]:
    """Return the spans that the probabilities `heard`, shape (frames,), make of `audio`; none of `least` s or less.

    The hysteresis is that of Silero VAD's `get_speech_timestamps`. A negative probability is never speech.
    """
    lower = max(NEG_THRESHOLD + (threshold - THRESHOLD), min(threshold, 0.01))
    found: list[tuple[int, int]] = []  # in frames, open end
    start = end = -1
    quiet = MIN_SILENCE * SAMPLE_RATE
    for frame, probability in enumerate(heard.tolist()):
        if probability >= threshold:
            end = -1
            if start < 0:
                start = frame
        elif probability < lower and start >= 0:
            if end < 0:
                end = frame
            if (frame - end) * FRAME >= quiet:
                found.append((start, end))
                start = end = -1
    if start >= 0:
        found.append((start, len(heard)))
    longest = int(MAX_SPAN * SAMPLE_RATE / FRAME)
    return [
        Span(first * FRAME, min(last * FRAME, len(audio)))
        for start, end in found
        if min(end * FRAME, len(audio)) - start * FRAME > least * SAMPLE_RATE
        for first, last in _pieces(heard, audio, start, end, longest)
    ]


def _pieces(
    heard: NDArray[np.float32], audio: NDArray[np.float32], first: int, last: int, longest: int
) -> list[tuple[int, int]]:
    """Cut the frames first..last into pieces of at most `longest`, each where its later half is least like speech."""
    pieces = []
    while last - first > longest:
        low, high = first + longest // 2, first + longest
        near = np.convolve(heard[low - 1 : high + 1], np.full(3, 1 / 3), mode="valid")
        block = np.asarray(audio[low * FRAME : high * FRAME], dtype=np.float64)
        energy = np.square(block).reshape(high - low, FRAME).sum(axis=1)
        # Inside steady speech or song every probability is near 1: there the quietest frame decides.
        energy[near > near.min() + 0.1] = np.inf
        cut = low + int(energy.argmin())
        pieces.append((first, cut))
        first = cut
    pieces.append((first, last))
    return pieces


@dataclass(frozen=True, slots=True)
class Cutting:
    """How spans become windows. The defaults were found with `tests/bench/accuracy.py`."""

    limit: float = 30.0
    """Seconds that a window may last; 30 is what Whisper hears."""
    pad: float = 0.3
    """Seconds of the pauses around it that a window takes along; of a shorter pause, each neighbour half."""
    bridge: float = 8.0
    """Seconds; a longer pause is never inside a window: over silence Whisper invents text. Below that, windows cost
    more than pauses: with 4 s between sentences, 3 made three times as many windows as 8 for the same errors."""
    calm: float = 1.5
    """Seconds; a pause of this length or more is as good a place to cut as any."""
    gap: float = 0.8
    """Seconds to which the pauses inside a window may be shortened, the longest first, and only where it would not
    fit otherwise."""
    weight: float = 2.0
    """What a cut at no pause at all costs, in windows; at pauses up to `calm` in proportion less. A window costs its
    encoding, however full it is: 0.5 makes a tenth fewer of them than 2, for 0.8 points more word errors (base, mean
    of en fr es it ru, MLX on a GPU); 3 and 6 make a few more, for -0.1 and 0.1 points."""


def windows(audio: NDArray[np.float32], spans: Sequence[Span], cutting: Cutting | None = None) -> list[Window]:
    """Return the windows, in order, that together cover `spans` of `audio`; none when there are no spans.

    Each begins shortly before a span and ends shortly after one. Of all such cuts it takes the one with the least
    cost: one for each window, and more the shorter the pause it ends with. A span longer than a window is cut as
    in `spans`.
    """
    cutting = cutting or Cutting()
    limit, pad = int(cutting.limit * SAMPLE_RATE), int(cutting.pad * SAMPLE_RATE)
    bridge, gap = int(cutting.bridge * SAMPLE_RATE), int(cutting.gap * SAMPLE_RATE)
    calm = cutting.calm * SAMPLE_RATE
    parts = [part for span in spans for part in _parts(audio, span, limit)]
    pauses = [after.start - before.end for before, after in itertools.pairwise(parts)]
    rooms = [min(pad, pause // 2) for pause in pauses]
    before = [min(pad, parts[0].start), *rooms] if parts else []
    after = [*rooms, min(pad, len(audio) - parts[-1].end)] if parts else []
    starts = [part.start - room for part, room in zip(parts, before, strict=True)]
    ends = [part.end + room for part, room in zip(parts, after, strict=True)]
    # What the pauses before each part can be shortened by, in all.
    spare = [0, *itertools.accumulate(max(0, pause - gap) for pause in pauses)]
    # Dynamic programming: least[k] is the lowest cost for the first k parts; their last window begins at first[k].
    least = [0.0] + [math.inf] * len(parts)
    first = [0] * (len(parts) + 1)
    for last in range(len(parts)):
        pause = pauses[last] if last < len(pauses) else calm
        price = 1.0 + cutting.weight * max(0.0, 1.0 - pause / calm)
        for begin in range(last, -1, -1):
            heard = ends[last] - starts[begin] - (spare[last] - spare[begin])
            if begin < last and (pauses[begin] > bridge or heard > limit):
                break
            if least[begin] + price < least[last + 1]:
                least[last + 1] = least[begin] + price
                first[last + 1] = begin
    found: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []
    done = len(parts)
    while done:
        begin = first[done]
        start, end = starts[begin], ends[done - 1]
        if begin == done - 1 and end - start > limit:  # a part that fills a window alone has no room for its pauses
            start, end = parts[begin].start, parts[begin].end
        found.append((start, end, _left_out(parts[begin:done], end - start - limit, gap)))
        done = begin
    return [Window(index, *each) for index, each in enumerate(reversed(found))]


def _left_out(parts: Sequence[Span], excess: int, gap: int) -> tuple[tuple[int, int], ...]:
    """Return what to leave out of the pauses between `parts` for `excess` samples too many: of the longest the most.

    What stays of a pause is as long as what stays of any longer one, at least `gap`, half of it on either side.
    """
    if excess <= 0:
        return ()
    excess += int(_UNFILLED * SAMPLE_RATE)
    pauses = sorted((after.start - before.end for before, after in itertools.pairwise(parts)), reverse=True)
    saved = longest = 0
    for count, (pause, shorter) in enumerate(itertools.pairwise([*pauses, 0]), 1):
        saved += count * (pause - shorter)
        if saved >= excess:
            longest = shorter + (saved - excess) // count
            break
    longest = max(longest, gap)
    return tuple(
        (before.end + longest // 2, after.start - (longest - longest // 2))
        for before, after in itertools.pairwise(parts)
        if after.start - before.end > longest
    )


def _parts(audio: NDArray[np.float32], span: Span, limit: int) -> list[Span]:
    """Cut a span that is longer than a window where it is quietest, in the later half of each window."""
    parts = []
    start = span.start
    while span.end - start > limit:
        low, high = start + limit // 2, start + limit
        frames = np.asarray(audio[low : low + (high - low) // FRAME * FRAME], dtype=np.float64).reshape(-1, FRAME)
        cut = low + int(np.square(frames).sum(axis=1).argmin()) * FRAME
        parts.append(Span(start, cut))
        start = cut
    parts.append(Span(start, span.end))
    return parts

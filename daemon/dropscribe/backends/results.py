"""What the engines give back, made into what Dropscribe promises: segments, and errors for a person.

Guarantees: times are plain floats in whole milliseconds of the whole recording, inside the window, in order and
without overlap; joined, the words of a segment are its text; nothing without text or without length remains;
numbers are finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError
from dropscribe.transcript import Segment, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Window


def copied(audio: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Return what is heard of a window in memory of its own: a library must not get a memory map."""
    return np.concatenate([audio[start:end] for start, end in window.kept_spans], dtype=np.float32)


def languages(model: Any, audio: NDArray[np.float32], windows: Sequence[Window]) -> Iterator[dict[str, float]]:
    """Yield what faster-whisper's `WhisperModel`, which WhisperX has too, hears in each window.

    See `Backend.detect_languages`.
    """
    for window in windows:
        if not model.model.is_multilingual:
            yield {"en": 1.0}
            continue
        try:
            _, _, told = model.detect_language(audio=copied(audio, window))
        except (RuntimeError, MemoryError) as error:
            raise failed(error) from error
        yield dict(told)


@dataclass(slots=True)
class Raw:
    """A segment as the engine gave it: seconds from the start of what is heard of the window."""

    start: float
    end: float
    text: str
    words: list[tuple[str, float, float, float]]
    """(word, start, end, probability)."""
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float


def shaped(window: Window, raws: Iterable[Raw]) -> list[Segment]:
    """Return the segments of one window, in order. Their ids are 0."""
    first, last = window.start / SAMPLE_RATE, window.end / SAMPLE_RATE
    found: list[Segment] = []
    edge = first
    for raw in raws:
        text = raw.text.strip()
        words = _words(raw, window, edge, last)
        if words and "".join(word.word for word in words).strip() != text:
            words = []  # letters were cut apart: better no times than wrong words
        start = words[0].start if words else _inside(window.to_recording_seconds(raw.start), edge, last)
        end = words[-1].end if words else _inside(window.to_recording_seconds(raw.end, is_end=True), start, last)
        if not text or end <= start or _invented(raw):
            continue
        found.append(
            Segment(
                id=0,
                start=start,
                end=end,
                text=text,
                words=tuple(words),
                avg_logprob=_finite(raw.avg_logprob),
                compression_ratio=_finite(raw.compression_ratio),
                no_speech_prob=_probability(raw.no_speech_prob),
                temperature=_finite(raw.temperature),
            )
        )
        edge = end
    return found


def _invented(raw: Raw) -> bool:
    """Whether the model itself believes neither in the speech nor in any word: its "Thank you." over silence.

    The engines' own test lets such a segment pass when it is short: its end-of-text tokens are certain and lift the
    mean. In 120 short recordings of speech, no segment came near these limits.
    """
    return raw.no_speech_prob > 0.6 and all(probability < 0.6 for *_, probability in raw.words)


def _words(raw: Raw, window: Window, edge: float, last: float) -> list[Word]:
    starts: list[float] = []
    ends: list[float] = []
    low = edge
    for _, start, end, _ in raw.words:
        low = _inside(window.to_recording_seconds(start), low, last)
        starts.append(low)
        ends.append(_inside(window.to_recording_seconds(end, is_end=True), low, last))
    # Where two words overlap, the first ends where the second begins.
    ends[:-1] = [min(end, follower) for end, follower in zip(ends, starts[1:], strict=False)]
    return [
        Word(word=text, start=start, end=end, probability=_probability(probability))
        for (text, _, _, probability), start, end in zip(raw.words, starts, ends, strict=True)
    ]


def _inside(seconds: float, low: float, high: float) -> float:
    return round(float(min(max(seconds, low), high)), 3)


def _probability(value: float) -> float | None:
    return _finite(min(max(value, 0.0), 1.0))


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


_MEMORY = ("out of memory", "insufficient memory", "bad_alloc", "alloc_failed", "attempting to allocate", "malloc")


def failed(error: BaseException) -> JobError:
    """Return what an engine raised in its work as an error for a person."""
    if isinstance(error, JobError):
        return error
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _MEMORY):
        return EngineFaultError(
            "out-of-memory",
            "There is not enough memory for this model.",
            "Choose a smaller model, or close other programs.",
        )
    return EngineFaultError("engine-failed", f"The engine failed: {type(error).__name__}: {error}.")


def unusable(folder: Path, error: BaseException | str) -> JobError:
    """Return what went wrong at loading as an error for a person."""
    if isinstance(error, BaseException):
        found = failed(error)
        if found.code != "engine-failed":
            return found
        error = f"{type(error).__name__}: {error}"
    return EnvironmentFaultError(
        "model-unusable",
        f"The model in {folder} cannot be loaded: {error}.",
        "Check it with `dropscribe models verify`, or pull it again.",
    )

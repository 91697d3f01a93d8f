"""What every engine shares: the `Backend` protocol and its values.

Importing this package imports no model library and starts nothing. `choice` says which engines
there are and which one to take; `factory` creates one, and with it imports its libraries.

A backend knows nothing of files: it gets an array and windows, and yields segments.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.transcript import Segment

SAMPLE_RATE = 16000
"""Hz; the sample rate that every Whisper model expects."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the recording that is decoded on its own, cut in pauses. It holds at most 30 s of
    kept sound.
    """

    index: int
    """Position in the recording's list of windows, from 0; also the seed of any sampling in it."""
    start: int
    """First sample."""
    end: int
    """One past the last sample."""
    omitted: tuple[tuple[int, int], ...] = ()
    """The parts of its pauses that the engine does not get: first sample and one past the last of
    each, in order."""

    @classmethod
    def from_edges(cls, index: int, edges: Sequence[int]) -> Self:
        """Return the window whose `edges` these are."""
        return cls(index, edges[0], edges[-1], tuple(zip(edges[1:-1:2], edges[2:-1:2], strict=True)))

    @property
    def edges(self) -> list[int]:
        """First sample and one past the last of each kept span."""
        return [self.start, *itertools.chain.from_iterable(self.omitted), self.end]

    @property
    def kept_spans(self) -> list[tuple[int, int]]:
        """The spans that the engine gets, joined without a gap: first sample and one past the last
        of each.
        """
        edges = self.edges
        return list(zip(edges[::2], edges[1::2], strict=True))

    def cut(self, index: int, start: int, end: int) -> Window:
        """Return the window of what this one has between two samples of the recording."""
        start, end = max(self.start, start), min(self.end, end)
        within = ((max(first, start), min(last, end)) for first, last in self.omitted)
        return Window(index, start, end, tuple((first, last) for first, last in within if first < last))

    def to_recording_seconds(self, seconds: float, *, is_end: bool = False) -> float:
        """Return the time in the recording of a time in the joined kept spans.

        Exactly on the border of two kept spans, a start belongs to the second one and an end to
        the first.

        Args:
            seconds: From the start of the window, omitted parts not counted.
            is_end: Whether something ends at this time.
        """
        for start, end in self.kept_spans[:-1]:
            length = (end - start) / SAMPLE_RATE
            if seconds < length or (is_end and seconds == length):
                return start / SAMPLE_RATE + seconds
            seconds -= length
        return self.kept_spans[-1][0] / SAMPLE_RATE + seconds


@dataclass(frozen=True, slots=True)
class Options:
    """What a person can ask of the text."""

    language: str | None = None
    """Code of Whisper's tokenizer, such as `en`."""
    task: str = "transcribe"
    """`transcribe`, or `translate` into English."""
    prompt: str | None = None
    """Text that precedes every window: names and terms in the spelling that is wanted."""
    hotwords: str | None = None
    """Terms the model should know, separated by commas."""
    retry: bool = True
    """Whether a window whose text fails a quality check is decoded again. If not, the caller has
    another way."""
    normalise_numbers: bool = True
    """Whether numbers are spelled as in the windows nearby. Not where those are of other
    recordings."""

    @property
    def initial_prompt(self) -> str | None:
        """The hotwords and the prompt in one text. Where it is too long, the engine takes its
        end.
        """
        return " ".join(filter(None, (self.hotwords, self.prompt))) or None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was really loaded."""

    device: str
    """The device and the number format: `cpu int8`, `gpu float16`."""
    multilingual: bool
    """False for an `.en` model."""
    versions: dict[str, str]
    """Versions of the libraries that do the work, by distribution name."""


Part = tuple[int, int]
"""A part of a window: its first sample in the window's kept sound, and one past its last."""
Languages = dict[str, float]
"""The probability of each language."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is heard of the language while windows are transcribed, from what is encoded for that."""

    parts: Sequence[Sequence[Part]]
    """Those of each window that are asked for their language, by the window's place."""
    heard: dict[int, list[Languages]] = field(default_factory=dict)
    """By the window's place, for each of its parts: filled in before the window is yielded."""


class Backend(Protocol):
    """One engine with one model. Every call comes from the thread that called `load`."""

    name: str

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load the model in `folder` and keep it.

        Args:
            folder: The model, in this backend's own layout.
            threads: Processor threads; 0: the backend decides.
            safe: Load on the CPU in any case. For a recording on which the engine has failed
                before.
            batch: Windows decoded at once; 0: as many as suit the device and its memory.

        Raises:
            EnvironmentFaultError: `model-unusable` when the folder cannot be loaded.
        """
        ...

    def detect_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], *, silence_s: float | None = None
    ) -> Iterator[dict[str, float]]:
        """Yield for each window the probability of each language the model knows; they sum to 1.

        An `.en` model gives English with probability 1.

        Args:
            audio: Shape (samples,), 16 kHz; it may be a memory map.
            windows: The windows of `audio` to judge.
            silence_s: Encode no more than the sound and so many seconds of silence behind it, for
                a price that grows with the length. None: the sound is filled up to 30 s, encoded
                as `transcribe` does it, and what the encoder gave is kept for that: then the
                detection costs next to nothing.
        """
        ...

    def hear_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], parts: Sequence[Sequence[Part]]
    ) -> Iterator[list[Languages]]:
        """Yield for each window the probability of each language in each of its parts, as `Hearing`
        has it.

        Each window is encoded whole, as `transcribe` does it, and what the encoder gave is kept for
        that; its parts cost next to nothing.

        Args:
            audio: Shape (samples,), 16 kHz; it may be a memory map.
            windows: The windows of `audio` to judge.
            parts: Those of each window.
        """
        ...

    def transcribe(
        self,
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        options: Options,
        *,
        done: int = 0,
        hearing: Hearing | None = None,
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """Yield each window but the first `done`, in order, with its segments: times in seconds of
        the recording.

        No window is decoded with the text of another as its prompt. What a window gives does not
        depend on `done`, so that work can resume in the middle of a recording. A backend that
        decodes several windows at once therefore forms its batches from the whole of `windows`.
        Segment ids stay 0: the caller that joins the windows numbers them.

        Args:
            audio: Shape (samples,), float32, 16 kHz. It may be a memory map: slice it, never copy
                it whole.
            windows: All windows of the recording.
            options: What is asked for; `options.language` is set.
            done: Windows that were transcribed before.
            hearing: What to hear of the language besides. An engine that encodes out of reach leaves
                it as it is.
        """
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...

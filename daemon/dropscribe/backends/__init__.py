"""Which engines there are, which one is taken and why, and the one Protocol they share.

Guarantees: importing this module imports no model library; whether a backend is there is learned with
`find_spec`, and for `whisperx`, which has an environment of its own, from `dropscribe.backends.environments`; the
choice is a pure function whose reason is logged and shown.

A backend knows nothing of files: it is given an array and windows, and yields segments.
"""

from __future__ import annotations

import itertools
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.settings import Settings
    from dropscribe.transcript import Segment

SAMPLE_RATE = 16000
"""Hz; what every Whisper model hears."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the recording that is decoded on its own, cut where nobody speaks. At most 30 s are heard."""

    index: int
    """Position in the recording's list of windows, from 0; also the seed of any sampling in it."""
    start: int
    """First sample."""
    end: int
    """One past the last sample."""
    without: tuple[tuple[int, int], ...] = ()
    """What of its pauses is left out, in order: first sample of each stretch, and one past its last."""

    @classmethod
    def of(cls, index: int, edges: Sequence[int]) -> Self:
        """Return the window with these `edges`."""
        return cls(index, edges[0], edges[-1], tuple(zip(edges[1:-1:2], edges[2:-1:2], strict=True)))

    @property
    def edges(self) -> list[int]:
        """First sample and one past the last of each stretch that is heard."""
        return [self.start, *itertools.chain.from_iterable(self.without), self.end]

    @property
    def heard(self) -> list[tuple[int, int]]:
        """The stretches that are heard, one right behind the other."""
        edges = self.edges
        return list(zip(edges[::2], edges[1::2], strict=True))

    def part(self, index: int, start: int, end: int) -> Window:
        """Return the window of what of this one lies between two samples."""
        start, end = max(self.start, start), min(self.end, end)
        within = ((max(first, start), min(last, end)) for first, last in self.without)
        return Window(index, start, end, tuple((first, last) for first, last in within if first < last))

    def placed(self, seconds: float, *, ends: bool = False) -> float:
        """Return where in the recording something is heard, `seconds` from the start of what is heard.

        Right between two stretches, what begins does so in the second, and what `ends` in the first.
        """
        for start, end in self.heard[:-1]:
            length = (end - start) / SAMPLE_RATE
            if seconds < length or (ends and seconds == length):
                return start / SAMPLE_RATE + seconds
            seconds -= length
        return self.heard[-1][0] / SAMPLE_RATE + seconds


@dataclass(frozen=True, slots=True)
class Options:
    """What a person can ask of the text."""

    language: str | None = None
    """Code of Whisper's tokenizer, such as `en`."""
    task: str = "transcribe"
    """`transcribe`, or `translate` into English."""
    prompt: str | None = None
    """Text that comes before every window: names and terms to be spelled so."""
    hotwords: str | None = None
    """Terms the model should know, with commas between."""
    again: bool = True
    """Whether a window that trips a guard is decoded again. If not, the caller will hear it in another way."""
    alike: bool = True
    """Whether numbers are spelled as in the windows around; not where those are of other recordings."""

    @property
    def before(self) -> str | None:
        """The hot words and the prompt in one text. Where it is too long, its end counts."""
        return " ".join(filter(None, (self.hotwords, self.prompt))) or None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was really loaded."""

    device: str
    """Where it runs, with the number format: `cpu int8`, `gpu float16`."""
    multilingual: bool
    """False for an `.en` model."""
    versions: dict[str, str]
    """Versions of the libraries that do the work, by distribution name."""


class Backend(Protocol):
    """One engine with one model. Every call comes from the thread that called `load`."""

    name: str

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load the model in `folder` (this backend's own layout) and keep it. `threads` 0: the backend decides.

        `batch`: windows decoded at once; 0: as many as suit the device and its memory.
        `safe`: on the CPU, whatever else there is. It is for a recording on which the engine has failed before.

        Raises: EnvironmentFaultError `model-unusable` when the folder cannot be loaded.
        """
        ...

    def detect_languages(self, audio: NDArray[np.float32], windows: Sequence[Window]) -> Iterator[dict[str, float]]:
        """Yield, for each window of `audio`, how sure the model is of each language it knows; they sum to 1.

        `audio` has shape (samples,), 16 kHz, and may be a memory map. An `.en` model is sure of English.
        """
        ...

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """Yield each window but the first `done`, in order, with its segments: times in seconds of the recording.

        `audio` has shape (samples,), float32, 16 kHz; it may be a memory map: slice it, never copy it whole.
        `options.language` is set. No window is decoded behind the text of another, and what a window gives does
        not depend on `done`: work can go on in the middle of a recording. So a backend that decodes several windows
        at once forms its batches from the whole of `windows`.
        Segment ids are left at 0: whoever joins the windows numbers them.
        """
        ...

    def close(self) -> None:
        """Give the model's memory back."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One backend to try, and why it stands where it stands."""

    name: str
    reason: str


OURS = ("mlx", "faster-whisper")
"""The backends that run in our own environment."""
NAMES = (*OURS, "whisperx")
"""Every backend, in the order of the fall-back line."""

_MODULES = {"mlx": ("mlx", "mlx_whisper"), "faster-whisper": ("faster_whisper", "ctranslate2")}


def installed(settings: Settings) -> frozenset[str]:
    """Return the backends that are there; none of them is imported, no interpreter started."""
    from dropscribe.backends import environments

    present = {name for name, modules in _MODULES.items() if all(map(find_spec, modules))}
    return frozenset(present | ({"whisperx"} if environments.interpreter(settings) else set()))


def choose(setting: str, system: str, machine: str, present: frozenset[str]) -> tuple[Choice, ...]:
    """Return the backends to try, best first; empty when none fits.

    Args:
        setting: `auto` or a name of `NAMES`.
        system: `platform.system()`.
        machine: `platform.machine()`.
        present: the names that are installed.
    """
    if setting != "auto":
        return (Choice(setting, "set by the setting `backend`"),) if setting in present else ()
    line: list[Choice] = []
    if system != "Darwin" or machine != "arm64":
        # MLX runs on Linux too, but its CPU build is many times slower: only when asked for by name.
        faster = f"{system} on {machine}: MLX is for Apple Silicon"
    elif "mlx" in present:
        line.append(Choice("mlx", "Apple Silicon, and mlx-whisper is installed"))
        faster = "the fall-back when mlx fails"
    else:
        faster = "Apple Silicon, but mlx-whisper is not installed"
    if "faster-whisper" in present:
        line.append(Choice("faster-whisper", faster))
    if "whisperx" in present:
        before = " and ".join(choice.name for choice in line)
        reason = f"the fall-back when {before} fail{'' if ' ' in before else 's'}" if before else _ALL_THERE_IS
        line.append(Choice("whisperx", reason))
    return tuple(line)


_ALL_THERE_IS = "no other backend for this machine is installed"


def choose_here(settings: Settings) -> tuple[Choice, ...]:
    """Return `choose` for this machine."""
    return choose(settings.backend, platform.system(), platform.machine(), installed(settings))


def create(name: str, **options: str) -> Backend:
    """Return the backend `name`, not loaded yet. Imports its libraries. Only `whisperx` has options."""
    if name == "mlx":
        from dropscribe.backends._mlx import MLX

        return MLX()
    if name == "faster-whisper":
        from dropscribe.backends._faster_whisper import FasterWhisper

        return FasterWhisper()
    if name == "whisperx":
        from dropscribe.backends._whisperx import WhisperX

        return WhisperX(**options)
    msg = f"unknown backend: {name}"
    raise ValueError(msg)

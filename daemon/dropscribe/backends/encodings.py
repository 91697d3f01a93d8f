"""What the encoder is given to learn a language, and what is kept of its output for the transcript.

Guarantees: an output is given for exactly the sound it was made of, and once; at most
`MOST_WINDOWS` are kept, those of one recording, and none for longer than its sound.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from dropscribe.backends import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Part, Window

MOST_WINDOWS = 8
"""As many as a recording is asked for its language in. With large-v3 one takes 8 MB."""
SILENCE_S = 3
"""Seconds of silence, encoded by themselves, that the decoder is given behind what was encoded of a
part. Whisper was trained on sounds with silence behind them; without it, of 5 to 10 s of speech 77 to
84 % had the right language (base, 63 windows in five languages), with 1 s 92 to 95 %, with 3 s 99 %."""
_STEP_SAMPLES = 320
"""Samples that a step of the encoder's output stands for."""
_MOST_STEPS = 1500
"""Steps of a whole window."""


class KeptEncodings:
    """The encoder's outputs for some windows of one recording."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._audio: weakref.ref[Any] | None = None
        self._by_edges: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    def keep(self, audio: NDArray[np.float32], window: Window, encoded: Any) -> None:
        """Keep what the encoder made of a window; the oldest goes where there are too many.

        May be called from any thread, as `take`.
        """
        with self._lock:
            if self._audio is None or self._audio() is not audio:
                kept: dict[tuple[int, ...], Any] = {}
                self._by_edges = kept
                self._audio = weakref.ref(audio, lambda _: kept.clear())
            self._by_edges[tuple(window.edges)] = encoded
            while len(self._by_edges) > MOST_WINDOWS:
                del self._by_edges[next(iter(self._by_edges))]

    def look_up(self, audio: NDArray[np.float32], window: Window) -> Any | None:
        """Return what was kept of a window of this recording, and keep it on; None if nothing was."""
        if self._audio is None or self._audio() is not audio:
            return None
        return self._by_edges.get(tuple(window.edges))

    def take(self, audio: NDArray[np.float32], window: Window) -> Any | None:
        """Return what was kept of a window of this recording, and forget it; None if nothing was."""
        if self._audio is None or self._audio() is not audio:
            return None
        return self._by_edges.pop(tuple(window.edges), None)


def find_frames(part: Part) -> tuple[int, int]:
    """Return where a part of a window is in the encoder's output: its first step, and one past its
    last.
    """
    first = min(part[0] // _STEP_SAMPLES, _MOST_STEPS - 1)
    return first, max(first + 1, min(_MOST_STEPS, -(-part[1] // _STEP_SAMPLES)))


def count_encoded_samples(samples: int, silence_s: float | None, *, step_s: float) -> int:
    """Return how many samples are encoded to detect the language of `samples` with so much silence
    behind them: a multiple of `step_s` seconds, at most a whole window; None: a whole window.
    """
    if silence_s is None:
        return 30 * SAMPLE_RATE
    step = int(step_s * SAMPLE_RATE)
    return min(-(-(samples + int(silence_s * SAMPLE_RATE)) // step) * step, 30 * SAMPLE_RATE)

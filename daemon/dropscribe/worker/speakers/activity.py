"""When somebody speaks, when two do, and where the voice changes: the segmentation network over a whole recording.

The network hears 10 s at a time. Chunks follow each other by half of that, so that every frame is heard twice; the
middle of a chunk counts more than its edges. Memory: three probabilities for each frame and chunk, 200 kB a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.speakers.networks import CHUNK, FRAME_OFFSET, FRAME_STEP

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropscribe.worker.speakers.networks import Networks

    Floats = NDArray[np.float32]

CHUNK_FRAMES = 589
"""Frames that the network gives for a chunk."""
_HOP = 296  # frames from one chunk to the next: 4.995 s, so that the frames of all chunks lie on one grid
_BATCH = 2  # chunks at once: more are no faster on a CPU, and 8 take 140 MB more


@dataclass(frozen=True, slots=True)
class Activity:
    """What the network says of a recording. Frame `f` is about the sound around `time(f)`."""

    local: Floats
    """Probability that each of three speakers speaks, shape (chunks, `CHUNK_FRAMES`, 3). Who is first in one chunk
    need not be first in the next."""
    first: NDArray[np.intp]
    """The frame that each chunk begins with."""
    frames: int
    """Frames of the recording."""

    def mean(self, values: Floats) -> Floats:
        """Return values of all chunks, shape (chunks, `CHUNK_FRAMES`, n), as one row, shape (frames, n)."""
        weight = chunk_weights()
        total = np.zeros((self.frames + CHUNK_FRAMES, values.shape[2]), np.float32)
        weights = np.zeros((self.frames + CHUNK_FRAMES, 1), np.float32)
        for start, value in zip(self.first, values, strict=True):
            total[start : start + CHUNK_FRAMES] += value * weight
            weights[start : start + CHUNK_FRAMES] += weight
        return np.asarray(total / np.maximum(weights, 1e-6), np.float32)[: self.frames]

    def count(self) -> Floats:
        """Return how many people speak in each frame: 0 to 2, the mean over the chunks."""
        return self.mean(self.local.sum(axis=2, keepdims=True))[:, 0]


def chunk_weights() -> Floats:
    """Return how much each frame of a chunk counts, shape (`CHUNK_FRAMES`, 1)."""
    return np.hamming(CHUNK_FRAMES).astype(np.float32).reshape(-1, 1)


def time_of(frame: float) -> float:
    """Return the seconds in the middle of a frame."""
    return (frame * FRAME_STEP + FRAME_OFFSET) / SAMPLE_RATE


def frame_of(seconds: float) -> int:
    """Return the frame whose middle is closest to a time; it may lie outside the recording."""
    return round((seconds * SAMPLE_RATE - FRAME_OFFSET) / FRAME_STEP)


def find_activity(
    samples: Floats, networks: Networks, *, heartbeat: Callable[[float], None] | None = None
) -> Activity:
    """Run the segmentation network over a recording, mono, 16 kHz.

    `heartbeat` is called now and then with the seconds that are done.
    """
    step = _HOP * FRAME_STEP
    chunks = 1 + max(0, -(-(len(samples) - CHUNK) // step))
    local = np.empty((chunks, CHUNK_FRAMES, 3), np.float32)

    def segment(start: int) -> Floats:
        batch = np.zeros((min(_BATCH, chunks - start), CHUNK), np.float32)
        for row, chunk in enumerate(batch, start):
            part = samples[row * step : row * step + CHUNK]
            chunk[: len(part)] = part
        return networks.segment(batch)

    starts = range(0, chunks, _BATCH)
    for start, found in zip(starts, networks.map(segment, starts), strict=True):
        local[start : start + len(found)] = found
        if heartbeat is not None:
            heartbeat(min(len(samples), (start + len(found)) * step) / SAMPLE_RATE)
    frames = max(1, -(-len(samples) // FRAME_STEP))
    return Activity(local, np.arange(chunks, dtype=np.intp) * _HOP, frames)

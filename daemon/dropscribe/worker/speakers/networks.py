"""The two networks, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.models.speakers import embedding, segmentation

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

CHUNK = 160_000
"""Samples that the segmentation network was trained on: 10 s."""
LOCAL = 3
"""People whom it tells apart within one chunk."""
DIMENSIONS = 192

FRAME_STEP = 270
"""Samples from one frame of the segmentation to the next."""
FRAME_OFFSET = 495
"""Samples from the start of a chunk to the middle of its first frame: half of the 991 that a frame is made of."""

_SETS: tuple[tuple[int, ...], ...] = tuple(
    members for size in (0, 1, 2) for members in itertools.combinations(range(LOCAL), size)
)
_MEMBERS = np.array([[float(who in members) for who in range(LOCAL)] for members in _SETS], np.float32)
"""Which of the three speak in each of the network's seven classes."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Both networks, loaded."""

    segmentation: Any
    embedding: Any

    def segment(self, chunks: Floats) -> Floats:
        """Return who speaks when in chunks of 10 s, shape (chunks, samples).

        The probability of each local speaker, shape (chunks, frames, 3). Who is first in one chunk need not be first
        in the next.
        """
        logs = self.segmentation.run(None, {segmentation.INPUT: chunks[:, None, :]})[0]
        return np.asarray(np.exp(logs) @ _MEMBERS, np.float32)

    def embed(self, windows: Floats) -> Floats:
        """Return voices of unit length, shape (windows, 192), of log mel energies, shape (windows, frames, 80)."""
        centred = windows - windows.mean(axis=1, keepdims=True)
        found = self.embedding.run(None, {embedding.INPUT: centred})[0]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def load_networks(folder: Path, threads: int = 0) -> Networks:
    """Load both networks. `threads` 0 leaves their number to ONNX Runtime: one for each core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads burn CPU time between two small operators, which others need while a recording is transcribed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3

    def load(name: str) -> Any:
        return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

    return Networks(load("segmentation.onnx"), load("embedding.onnx"))

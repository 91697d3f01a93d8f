"""The two networks, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import collections
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dropscribe.models.speakers import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 8  # each takes some 60 MB

CHUNK = 160_000
"""Samples that the segmentation network was trained on: 10 s."""
LOCAL = 3
"""People whom it tells apart within one chunk."""
DIMENSIONS = 192
EMBEDDER = store.EMBEDDING_WEIGHTS.sha256[:16]
"""Which network the voices are of: those of different ones cannot be compared."""

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
    threads: int = 1

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results of `work`, in order, done for several items at once.

        The operators are too small to be divided among threads: two threads for one batch took longer than one.
        """
        if self.threads == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: collections.deque[Future[Result]] = collections.deque()
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def segment(self, chunks: Floats) -> Floats:
        """Return who speaks when in chunks of 10 s, shape (chunks, samples).

        The probability of each local speaker, shape (chunks, frames, 3). Who is first in one chunk need not be first
        in the next.
        """
        logs = self.segmentation.run(None, {_input(self.segmentation): chunks[:, None, :]})[0]
        return np.asarray(np.exp(logs) @ _MEMBERS, np.float32)

    def embed(self, windows: Floats) -> Floats:
        """Return voices of unit length, shape (windows, 192), of log mel energies, shape (windows, frames, 80)."""
        centred = windows - windows.mean(axis=1, keepdims=True)
        found = self.embedding.run(None, {_input(self.embedding): centred})[0]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _input(session: Any) -> str:
    """Return the name of a network's input: other exports call it otherwise."""
    return str(session.get_inputs()[0].name)


def load_networks(folder: Path, threads: int = 0) -> Networks:
    """Load both networks. `threads` 0: one for each processor, up to `_MOST_THREADS`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # see `Networks.map`
    options.log_severity_level = 3

    def load(name: str) -> Any:
        return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

    return Networks(
        load("segmentation.onnx"), load("embedding.onnx"), threads or min(_MOST_THREADS, os.cpu_count() or 1)
    )

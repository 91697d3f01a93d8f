"""How far a download is, as huggingface_hub reports it.

Since huggingface_hub 1.1 both `hf_hub_download` and `snapshot_download` take a `tqdm_class` and
tell it about the bytes of files (huggingface/huggingface_hub#3523; in 1.0 `snapshot_download` told
about the number of files only). The bar of `snapshot_download` adds the files up, but it cannot
give the percentage of a whole download:

- its total grows with each file that is begun ("incomplete total", says its label), so the
  percentage falls; files that are in the cache already count as nothing;
- it comes with one or two other bars (files, bytes received), told apart by their labels only, and
  the labels differ between versions.

So `hf_hub_download` fetches one file after the other, and `DownloadMeter` adds them up. The total
is in the listing of the repository, which is read before anyway.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_WATCH_S = 0.3
"""Seconds between two looks at a file that is being written: see `watch_size`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is."""

    model: str
    repo: str
    done_bytes: int
    total_bytes: int
    """Of all files that make the model; the same from the first report to the last."""


class DownloadMeter:
    """Adds up the bytes of files that are fetched one after the other, and reports them.

    Reports only grow: what is fetched again, because a server did not continue where it was cut
    off, is not new.
    """

    def __init__(self, model: str, repo: str, total_bytes: int, report: Callable[[Progress], None] | None) -> None:
        self._model, self._repo, self._total, self._report = model, repo, total_bytes, report
        self._finished = 0
        """Bytes of the files before the current one."""
        self._reported = -1
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def follow_file(self, size: int) -> Iterator[Callable[[int], None]]:
        """Count one file of `size` bytes.

        Yields:
            a function to call, from any thread, with the bytes of the file that are here.
        """
        start = self._finished

        def move(position: int) -> None:
            self._reach(start + min(position, size))

        move(0)
        yield move
        self._finished = start + size
        self._reach(self._finished)

    def _reach(self, done: int) -> None:
        with self._lock:
            if self._report is not None and done > self._reported:
                self._reported = done
                self._report(Progress(self._model, self._repo, done, self._total))


def make_bar(move: Callable[[int], None]) -> type[Any]:
    """Return a class for `hf_hub_download(tqdm_class=...)` that calls `move` and shows nothing.

    A file may get several bars: one at each attempt, one for what is received and one for what is
    written. Each calls `move` with its own position in the file.
    """
    from huggingface_hub.utils import tqdm

    class FileBar(tqdm):  # type: ignore[misc] # the library ships no types here
        def __init__(self, *_: Any, total: float | None = None, initial: float = 0, **__: Any) -> None:
            super().__init__(total=total, initial=initial, disable=True)
            move(int(self.n))

        def update(self, n: float | None = 1) -> None:
            # A disabled bar of tqdm does not count.
            self.n += n or 0
            move(int(self.n))

    return FileBar


@contextlib.contextmanager
def watch_size(file: Path, move: Callable[[int], None]) -> Iterator[None]:
    """Call `move` with the size of `file` while the block runs.

    For a huggingface_hub that takes no `tqdm_class`: WhisperX's own environment has one before
    1.0, because WhisperX asks for it. Without reports the daemon would take a long download there
    for a worker that hangs.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_WATCH_S):
            with contextlib.suppress(OSError):  # not begun, or finished
                move(file.stat().st_size)

    thread = threading.Thread(target=watch, name="model-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

"""The folder for the sound that a worker has decoded. What is in it is worth nothing without its process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dropscribe import protocol

if TYPE_CHECKING:
    from pathlib import Path


class Spool:
    """The folder `spool` of the state folder."""

    def __init__(self, state: Path) -> None:
        """Nothing is made yet."""
        self._folder = state / "spool"

    def make(self) -> None:
        """Make the folder; remove what an earlier daemon's worker left behind."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._folder.iterdir():
            left.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the sound that a worker left behind which has ended."""
        with contextlib.suppress(OSError):  # the folder may have been removed
            for left in self._folder.iterdir():
                left.unlink()

    def assign(self, job: int, path: Path, process: int, *, ahead: bool = False) -> protocol.RecordingFile:
        """Return a recording as a worker is given it, with a file of its own for its sound.

        Args:
            job: Its number.
            path: Where it is.
            process: The worker's: the last one may not have ended yet.
            ahead: Whether another one is in progress.
        """
        return protocol.RecordingFile(job, str(path), str(self._folder / f"{job}-{process}{'-ahead' * ahead}.f32"))

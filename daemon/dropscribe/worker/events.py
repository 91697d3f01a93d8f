"""Writing the events of `dropscribe.protocol` to the parent.

Guarantees: standard library only; one event a line; a parent that is gone ends this process.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from dropscribe import protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEARTBEAT_SECONDS = 1.0
"""The least time between two heartbeats."""


class EventWriter:
    """The worker's end of the pipe to its parent. Only the main thread writes."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is the process's real stdout; descriptor 1 points to stderr."""
        self._stream = stream
        self._last_heartbeat = time.monotonic()

    def write(self, job: int, event: protocol.WrittenEvent) -> None:
        """Write one event about a job."""
        try:
            self._stream.write(protocol.encode_event(job, event))
            self._stream.flush()
        except BrokenPipeError:
            os._exit(0)

    def write_heartbeat(self, job: int, seconds: float) -> None:
        """Write how many seconds of a recording are worked through, if the last heartbeat is long
        enough ago.
        """
        if time.monotonic() - self._last_heartbeat >= _HEARTBEAT_SECONDS:
            self._last_heartbeat = time.monotonic()
            self.write(job, protocol.Heartbeat(done_s=round(seconds, 1)))

    def become(self, command: Sequence[str]) -> None:
        """Replace this process by `command`, with the stream as its stdout. Returns only by
        raising OSError.
        """
        os.dup2(self._stream.fileno(), 1)
        try:
            os.execv(command[0], list(command))  # noqa: S606 (no shell is wanted)
        finally:
            os.dup2(2, 1)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Reports on one job."""

    writer: EventWriter
    job: int

    def report(self, event: protocol.WrittenEvent) -> None:
        """Write an event about the job."""
        self.writer.write(self.job, event)

    def heartbeat(self, seconds: float) -> None:
        """Report, at most once a second, how many seconds of a recording are worked through."""
        self.writer.write_heartbeat(self.job, seconds)

    def of(self, job: int) -> Reporter:
        """Return the reporter of another job, such as a recording of this pack."""
        return Reporter(self.writer, job)

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

    from dropscribe.protocol import RecordingFile, Request
    from dropscribe.worker.ahead import Prepared
    from dropscribe.worker.interruptions import Interruptions

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

    def write_heartbeat(self, job: int, heartbeat: protocol.Heartbeat) -> None:
        """Write how far the work is, if the last heartbeat is long enough ago."""
        if time.monotonic() - self._last_heartbeat >= _HEARTBEAT_SECONDS:
            self._last_heartbeat = time.monotonic()
            self.write(job, heartbeat)

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
    interruptions: Interruptions | None = None
    """What the parent may ask for while the job is in progress."""

    def report(self, event: protocol.WrittenEvent) -> None:
        """Write an event about the job."""
        self.writer.write(self.job, event)

    def watch_phase(self, phase: str, total_s: float = 0.0) -> PhaseReporter:
        """Return what reports how far a phase of the work on a recording is.

        Args:
            phase: Its name, for a person.
            total_s: Seconds of the recording; 0 where they are not known yet.
        """
        return PhaseReporter(self, phase, total_s)

    def attend(self) -> None:
        """Do what the parent asks for in the middle of this job.

        Raises: CalledOff when this job is not wanted any more.
        """
        if self.interruptions is not None:
            self.interruptions.attend()

    def read_clock(self) -> float:
        """Return seconds that pass only while this job is worked on, not while others go between."""
        return time.monotonic() - (0.0 if self.interruptions is None else self.interruptions.spent_s)

    def take_prepared(self, file: RecordingFile, request: Request) -> Prepared | None:
        """Return what was prepared of a recording, if anything. See `worker.ahead`."""
        ahead = None if self.interruptions is None else self.interruptions.ahead
        return None if ahead is None else ahead.take(file, request, self)

    def of(self, job: int) -> Reporter:
        """Return the reporter of another job, such as a recording of this pack."""
        return Reporter(self.writer, job, self.interruptions)


class PhaseReporter:
    """Reports how far one phase is; never less than before."""

    def __init__(self, reporter: Reporter, phase: str, total_s: float) -> None:
        """See `Reporter.watch_phase`."""
        self._reporter = reporter
        self._phase = phase
        self._total_s = total_s
        self._share: float | None = None

    def set_share(self, share: float) -> None:
        """Note how much of the phase is done, 0 to 1, where that does not follow from the seconds."""
        self._share = round(min(1.0, max(share, self._share or 0.0)), 3)

    def __call__(self, seconds: float) -> None:
        """Report, at most once a second, how many seconds are worked through; then attend to others.

        Raises: CalledOff.
        """
        if self._total_s:
            self.set_share(seconds / self._total_s)
        heartbeat = protocol.Heartbeat(done_s=round(seconds, 1), phase=self._phase, share=self._share)
        self._reporter.writer.write_heartbeat(self._reporter.job, heartbeat)
        self._reporter.attend()

"""What the parent asks for while a job is in progress: short jobs that go between, the next recording
to prepare, and calling off.

A long recording looks here between two windows, and between two steps of decoding and of detecting
speech. Its decoded sound, its plan and the model stay as they are meanwhile.

Guarantees: standard library only; a job that goes between has its own reports and failures, and
changes nothing of the one that waits; nothing goes between one that goes between already.
"""

from __future__ import annotations

import collections
import contextlib
import queue
import time
from typing import TYPE_CHECKING

from dropscribe import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.worker.ahead import Ahead


class CalledOff(Exception):  # noqa: N818 (it is no error)
    """The job in progress is not wanted any more."""


class Interruptions:
    """The jobs of a worker as they come in."""

    def __init__(
        self, lines: queue.SimpleQueue[str], run: Callable[[protocol.Job], None], ahead: Ahead | None = None
    ) -> None:
        """`lines` are those of the parent; `run` does a job that goes between, `ahead` prepares one."""
        self.ahead = ahead
        self._lines = lines
        self._run = run
        self._waiting: collections.deque[protocol.Job] = collections.deque()
        self._active: list[int] = []
        self._called_off: set[int] = set()
        self.spent_s = 0.0
        """Seconds spent on jobs that went between."""

    def wait_for_job(self) -> protocol.Job:
        """Return the next job. To call off what is over already means nothing."""
        while True:
            job = self._waiting.popleft() if self._waiting else protocol.decode_job(self._lines.get())
            if isinstance(job, protocol.PrepareJob):
                self._prepare(job)
            elif not isinstance(job, protocol.CallOffJob):
                return job

    @contextlib.contextmanager
    def work_on(self, job: int) -> Iterator[None]:
        """Within this context a job is in progress."""
        self._active.append(job)
        try:
            yield
        finally:
            self._active.pop()
            self._called_off.discard(job)

    def attend(self) -> None:
        """Do what the parent has asked for since the last call.

        Raises: CalledOff when that is to give up the job in progress.
        """
        self._read()
        while self._waiting and len(self._active) == 1:
            started = time.monotonic()
            self._run(self._waiting.popleft())
            self.spent_s += time.monotonic() - started
            self._read()
        if self._active and self._active[-1] in self._called_off:
            raise CalledOff

    def _read(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = protocol.decode_job(self._lines.get_nowait())
                if isinstance(job, protocol.PrepareJob):
                    self._prepare(job)
                elif not isinstance(job, protocol.CallOffJob):
                    self._waiting.append(job)
                elif job.job in self._active:
                    self._called_off.add(job.job)

    def _prepare(self, job: protocol.PrepareJob) -> None:
        if self.ahead is not None:
            self.ahead.begin(job)

"""The next recording, decoded and its speech detected in a process of its own while this one is
transcribed.

Guarantees: standard library only at its top; nothing depends on it: what is not there, was not made
of exactly this file and these settings, or failed, is done by the recording's own job, where it
fails with its own reason; a decoder that crashes counts against no recording; one recording is
prepared at a time; the process ends when this one does.

A process, because the engine of a GPU waits for this interpreter: decoding on a thread of it would
take the interpreter's lock from it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import crash, protocol
from dropscribe.backends import environments
from dropscribe.worker.events import EventWriter, Reporter

if TYPE_CHECKING:
    from dropscribe.protocol import RecordingFile, Request


@dataclass(frozen=True, slots=True)
class AheadLimits:
    """What is prepared, and where."""

    least_cores: int = 4
    """With fewer processors decoding takes as much from the engine as it saves."""
    most_seconds: float = 3 * 3600.0
    """A longer recording is not prepared: its sound takes 230 MB of disk an hour, beside that of
    the one in progress."""
    niceness: int = 5
    """The one in progress comes first."""


LIMITS = AheadLimits()

_PROGRAM = "from dropscribe.worker import ahead; ahead.main()"
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of a recording that was prepared; its sound lies in its spool file."""

    decoded: protocol.Decoded
    speech: protocol.SpeechFound


@dataclass(frozen=True, slots=True)
class _Held:
    """A recording that is being prepared, or is ready."""

    job: protocol.PrepareJob
    seen: tuple[int, ...]
    """What the file was before it was opened."""
    process: subprocess.Popen[str]
    events: queue.SimpleQueue[protocol.WrittenEvent | None]
    """None is the last."""


class Ahead:
    """The recording that is prepared, if any. Every method is called by the main thread."""

    def __init__(self, *, alone: bool = False, least_cores: int = LIMITS.least_cores) -> None:
        """Nothing is prepared yet.

        Args:
            alone: Whether this interpreter sees only its own packages and this one.
            least_cores: Fewest processors with which anything is.
        """
        self._alone = alone
        self._is_worth_it = _count_cores() >= least_cores
        self._held: _Held | None = None

    def begin(self, job: protocol.PrepareJob) -> None:
        """Begin to prepare a recording; another one that was prepared is forgotten."""
        if not self._is_worth_it or (self._held is not None and self._held.job == job):
            return
        self.discard()
        with contextlib.suppress(OSError, ValueError):  # then its own job does it
            seen = _identify(job.recording.path)
            process = subprocess.Popen(
                environments.build_command(sys.executable, _PROGRAM, alone=self._alone),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env={name: value for name, value in os.environ.items() if name != crash.VARIABLE},
            )
            events: queue.SimpleQueue[protocol.WrittenEvent | None] = queue.SimpleQueue()
            self._held = _Held(job, seen, process, events)
            threading.Thread(target=_read_events, args=(process, events), daemon=True, name="ahead").start()
            assert process.stdin is not None  # noqa: S101 (it is a pipe)
            process.stdin.write(protocol.encode_job(job))
            process.stdin.flush()

    def take(self, file: RecordingFile, request: Request, reporter: Reporter) -> Prepared | None:
        """Return what was prepared of a recording, its sound in `file.spool`; None where it was not,
        or not so.

        What is not ready yet is waited for.

        Raises: CalledOff.
        """
        held = self._held
        if held is None or (held.job.job, held.job.recording.path) != (file.job, file.path):
            return None
        try:
            if held.job.request != request or _identify(file.path) != held.seen:
                return None
            prepared = _wait(held, reporter)
            if prepared is not None:
                os.replace(held.job.recording.spool, file.spool)  # noqa: PTH105 (both are paths as text)
        except OSError:  # it left, or its sound did
            return None
        else:
            return prepared
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget what was prepared."""
        held, self._held = self._held, None
        if held is None:
            return
        held.process.kill()
        held.process.wait()
        with contextlib.suppress(OSError):
            assert held.process.stdin is not None  # noqa: S101
            held.process.stdin.close()
        from dropscribe.worker import decoding

        spool = Path(held.job.recording.spool)
        for path in (spool, decoding.channels_path(spool)):
            with contextlib.suppress(OSError):
                path.unlink()


def _wait(held: _Held, reporter: Reporter) -> Prepared | None:
    """Return what is prepared when it is; None when it fails."""
    decoded: protocol.Decoded | None = None
    while True:
        try:
            event = held.events.get(timeout=_POLL_S)
        except queue.Empty:
            reporter.attend()
            continue
        match event:
            case protocol.Heartbeat():
                reporter.writer.write_heartbeat(reporter.job, event)
            case protocol.Decoded():
                decoded = event
            case protocol.SpeechFound() if decoded is not None:
                return Prepared(decoded, event)
            case _:
                return None


def _read_events(process: subprocess.Popen[str], events: queue.SimpleQueue[protocol.WrittenEvent | None]) -> None:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    with process.stdout as lines, contextlib.suppress(protocol.ProtocolError, OSError):
        for line in lines:
            events.put(protocol.decode_event(line)[1])
    events.put(None)


def _identify(path: str) -> tuple[int, ...]:
    """Return what changes when another content comes to this path."""
    found = os.stat(path)  # noqa: PTH116 (it is a path as text)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# In the process of its own


def main() -> None:
    """Prepare the recording of the one job on stdin; end when that closes."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(LIMITS.niceness)
    job = protocol.decode_job(sys.stdin.readline())
    assert isinstance(job, protocol.PrepareJob)  # noqa: S101 (`Ahead.begin` sends nothing else)
    threading.Thread(target=_end_with_parent, daemon=True, name="stdin").start()
    from dropscribe.worker import pipeline

    pipeline.prepare_recording(job, Reporter(EventWriter(stream), job.job), most_seconds=LIMITS.most_seconds)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)

"""The worker as its parent sees it: start it, give it jobs, receive its events, end it.

Guarantees: imports no model library; the child is spawned, never forked; its stdin is a pipe that
only this process holds, so it ends when this process does, however that ends; every event of a
worker, its end included, reaches `post` exactly once, from another thread, with the worker that it
came from.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import protocol, voices
from dropscribe.backends import choice
from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a worker about the job of this number. `protocol.Exited` is always its last."""

    worker: Worker
    job: int
    event: protocol.Event


class Worker:
    """One child process."""

    def __init__(self, post: Callable[[Message], None], command: Sequence[str] | None = None) -> None:
        """Start it. `command` replaces the real worker in tests of faults that cannot be made for
        real.
        """
        environment = os.environ | {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        self._post = post
        self._process = subprocess.Popen(
            list(command or (sys.executable, "-m", "dropscribe.worker")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for us, not for it
        )
        self._stderr: collections.deque[str] = collections.deque(maxlen=20)
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True, name="worker stderr")
        self._stderr_reader.start()
        self._reader = threading.Thread(target=self._read, daemon=True, name="worker stdout")
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def send(self, job: protocol.Job) -> None:
        """Give it a job. That a worker is gone is reported by `protocol.Exited`, not here."""
        stdin = self._process.stdin
        line = protocol.encode_job(job)
        with contextlib.suppress(OSError, ValueError):
            assert stdin is not None  # noqa: S101 (it was opened as a pipe)
            stdin.write(line)
            stdin.flush()

    def measure_memory(self) -> int | None:
        """Return the bytes of memory it holds now, or None when nobody can tell."""
        command = ["ps", "-o", "rss=", "-p", str(self.pid)]
        try:
            if sys.platform == "linux":  # no process of its own for each recording
                pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
                return int(pages) * os.sysconf("SC_PAGE_SIZE")
            return 1024 * int(subprocess.run(command, capture_output=True, timeout=5, check=False).stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None

    def kill(self) -> None:
        """End it at once; it has no state to save."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with self._process.stderr as lines:
            for line in lines:
                self._stderr.append(line.rstrip())

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        with self._process.stdout as lines:
            for line in lines:
                try:
                    job, event = protocol.decode_event(line)
                except protocol.ProtocolError:
                    self._stderr.append(line.rstrip())  # a native library that wrote to a descriptor of its own
                    continue
                self._post(Message(self, job, event))
        code = self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._stderr_reader.join(timeout=5)
        exited = protocol.Exited(code=code, how=describe_exit(code), stderr="\n".join(self._stderr))
        self._post(Message(self, 0, exited))


def describe_exit(code: int) -> str:
    """Return how a process ended, by subprocess's return code. Not every signal has a name."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def make_request(settings: Settings, *, download: bool) -> protocol.Request:
    """Return the part of a job that comes from the settings.

    Raises: EnvironmentFaultError `backend-missing` when no backend that fits is installed; `voices-damaged`.
    """
    choices = choice.choose_for_this_machine(settings)
    if not choices:
        present = ", ".join(sorted(choice.find_installed(settings))) or "none"
        how = "`dropscribe backends install whisperx` does it" if settings.backend == "whisperx" else "Install it"
        raise EnvironmentFaultError(
            "backend-missing",
            f"The backend {settings.backend} is not installed (installed: {present}).",
            f"{how}, or set `backend` to auto.",
        )
    return protocol.Request(
        backends=choices,
        model=settings.model,
        language=settings.language,
        task=settings.task,
        prompt=settings.prompt,
        hotwords=", ".join(settings.glossary) or None,
        languages=settings.languages,
        mixed_languages=settings.mixed_languages,
        channels=settings.channels,
        split_channels=settings.split_channels,
        speakers=settings.speakers,
        voices=voices.list_known(settings.state) if settings.speakers else (),
        audio_track=settings.audio_track,
        speech_threshold=settings.speech_threshold,
        threads=settings.threads,
        batch=settings.batch,
        max_seconds=settings.max_hours * 3600 or None,
        download=download,
    )

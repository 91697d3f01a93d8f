"""One hook as a process: started without a shell, given its facts, and ended when it takes too
long.

A command gets the paths as arguments, exactly as the file system has them; `DROPSCRIBE_FACT_…`
variables; and JSON on its standard input. A webhook gets the same JSON
(`dropscribe.supervisor.webhook`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.settings import PREFIX
from dropscribe.supervisor import worker_process
from dropscribe.supervisor.hook_facts import format_json, format_variables
from dropscribe.supervisor.journal import HookWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Hook

TAIL = 2000
"""Bytes of what a hook prints that the log keeps."""
GRACE = 2.0
"""Seconds between asking a hook that takes too long to end, and ending it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A hook has ended; posted from its thread."""

    hook: Hook
    problem: str
    """Empty when it succeeded."""
    output: str
    seconds: float


def find_missing_programs(settings: Settings, path: str | None = None) -> dict[str, str]:
    """Return the settings whose program is not there or may not be executed, and which that is.

    `path` is where programs are looked for; None: in this process's `PATH`.
    """
    programs = {name: getattr(settings, name)[:1] for name in (HookWay.ON_DONE, HookWay.ON_FAILED)}
    set_ones = {str(name): found[0] for name, found in programs.items() if found}
    return {name: program for name, program in set_ones.items() if shutil.which(program, path=path) is None}


class HookProcess:
    """One hook that runs, and the thread that waits for it."""

    def __init__(self, settings: Settings, hook: Hook, post: Callable[[Ended], None]) -> None:
        """Start it. `post` takes how it ended, from another thread."""
        self._settings = settings
        self._hook = hook
        self._post = post
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"hook {hook.way}")
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread, which has posted its end or does so in a moment."""
        self._thread.join(timeout=5)

    def end(self) -> None:
        """End the hook; nothing is posted."""
        self._stop.set()
        self.join()

    def _run(self) -> None:
        started = time.monotonic()
        output = _Tail()
        try:
            problem = self._run_to_end(json.loads(self._hook.facts), output)
        except OSError as error:
            problem = f"It cannot be started: {error.strerror or error}."
        except ValueError as error:  # a text that no argument or variable takes; nothing else would post its end
            problem = f"It cannot be started: {error}."
        if not self._stop.is_set():
            self._post(Ended(self._hook, problem, output.text(), time.monotonic() - started))

    def _run_to_end(self, facts: dict[str, Any], output: _Tail) -> str:
        """Run it to its end, or to the end of its time; return what went wrong."""
        environment = {**os.environ, **format_variables(facts)}
        if self._hook.way == HookWay.WEBHOOK:
            command = [sys.executable, "-m", "dropscribe.supervisor.webhook"]
            environment[f"{PREFIX}WEBHOOK"] = self._settings.webhook
        else:
            command = [*getattr(self._settings, self._hook.way), facts["source"], *facts["files"]]
        with tempfile.TemporaryFile() as stdin:
            stdin.write(format_json(facts))
            stdin.seek(0)
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # its own group, which can be ended with all that it started
            )
        drain = threading.Thread(target=output.read, args=(process,), daemon=True, name="hook output")
        drain.start()
        until = time.monotonic() + self._settings.hook_seconds
        # In short steps, so that the daemon's end is seen.
        while (code := _wait(process, min(0.2, max(0.0, until - time.monotonic())))) is None:
            if self._stop.is_set() or time.monotonic() >= until:
                _end_group(process)
                drain.join(timeout=1)
                return f"It took longer than {self._settings.hook_seconds:g} s and was ended."
        drain.join(timeout=1)  # something it left running may hold its output
        if code == 0:
            return ""
        said = output.text().strip().splitlines()
        return f"It ended with {worker_process.describe_exit(code)}{f': {said[-1][:200]}' if said else ''}."


class _Tail:
    """The last of what a process prints."""

    def __init__(self) -> None:
        self._kept = b""

    def read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 (it was opened as a pipe)
        with process.stdout as pipe, contextlib.suppress(OSError, ValueError):
            while piece := os.read(pipe.fileno(), 65536):
                self._kept = (self._kept + piece)[-TAIL:]

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, then end it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    _wait(process, GRACE)
    # The leader may have ended, and left others that did not listen.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

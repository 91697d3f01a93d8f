"""Hooks: a command, or a message to a server, for each recording that is done or failed.

Guarantees: no shell; what is to be run is in the journal together with `done` or `failed`, so no hook is lost with
the daemon; one that was cut off by the daemon's end is run again, so each runs at least once and a hook must bear
being run twice (`id` in its facts tells); one of each kind at a time, in order but for those that wait after a
failure; never in the way of transcribing. A hook that takes too long is ended with every process it started.

A command gets the paths as arguments, exactly as the file system has them; `DROPSCRIBE_FACT_…` variables; and JSON on
its standard input. A webhook gets the same JSON (`dropscribe.supervisor.webhook`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from dropscribe import crash
from dropscribe.settings import FACT, PREFIX
from dropscribe.supervisor import worker_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Hook, Journal, Recording
    from dropscribe.transcript import Transcript

WAYS = ("on_done", "on_failed", "webhook")
"""The settings that name a hook."""
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


def about(
    settings: Settings,
    recording: Recording,
    source: Path,
    event: str,
    files: Sequence[str],
    transcript: Transcript | None = None,
    code: str = "",
    reason: str = "",
) -> list[tuple[str, str]]:
    """Return what is to be run for an event, as the journal keeps it: the setting and its facts.

    Args:
        settings: which hooks there are.
        recording: the recording.
        source: where its file is.
        event: `done` or `failed`.
        files: what was written, relative to the outbox.
        transcript: for `done`.
        code: for `failed`: the stable name of the reason.
        reason: for `failed`: what happened, for a person.
    """
    ways = [way for way in (f"on_{event}", "webhook") if getattr(settings, way)]
    if not ways:
        return []
    paths = [str(settings.outbox / file) for file in files]
    facts: dict[str, Any] = {
        "event": event,
        "id": f"{recording.id}-{time.time_ns()}",
        "source": str(source),
        "name": recording.name.name,
        "relative": str(recording.name),
        "bytes": recording.size,
        "sha256": recording.sha256,
        "files": paths,
    }
    if transcript is not None:
        facts |= {
            "transcript": next((path for path in paths if path.endswith(".json")), None),
            "duration": transcript.duration,
            "language": transcript.language,
            "recorded_at": transcript.source.recorded_at,
            "recorded_from": transcript.source.recorded_from,
            "backend": transcript.engine.backend,
            "model": transcript.engine.model,
            "words": len(transcript.text.split()),
            "passages": len(transcript.review or ()),
            "warnings": sorted({notice.code for notice in transcript.warnings}),
        }
    else:
        facts |= {"code": code, "reason": reason}
    return [(way, json.dumps(facts)) for way in ways]


def variables(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts as variables: `DROPSCRIBE_FACT_SOURCE`, …; a list has a line for each item."""
    found = {}
    for name, value in facts.items():
        text = "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)
        found[f"{PREFIX}{FACT}{name.upper()}"] = text.replace("\0", "\ufffd")
    return found


class Hooks:
    """The hooks of one daemon. Every method is called by the thread that owns the journal."""

    def __init__(self, settings: Settings, post: Callable[[Ended], None], pauses: tuple[float, float]) -> None:
        """`post` takes what ended, from another thread; `pauses` are the seconds after a first and a last failure."""
        self._settings = settings
        self._post = post
        self._pauses = pauses
        self._log = structlog.get_logger()
        self._running: dict[str, _Run] = {}
        self._not_before: dict[int, float] = {}
        """time.monotonic() by hook."""
        self._look = True

    def begin(self, journal: Journal) -> None:
        """Take up what an earlier run left; hooks that are no longer set are forgotten."""
        set_ = [way for way in WAYS if getattr(self._settings, way)]
        if forgotten := journal.forget_hooks(set_):
            self._log.info("hook.forgotten", count=forgotten, reason="they are no longer set")

    def added(self) -> None:
        """There may be more to run."""
        self._look = True

    @property
    def running(self) -> bool:
        """Whether a hook runs."""
        return bool(self._running)

    @property
    def due(self) -> bool:
        """Whether one could begin."""
        return self._look

    def tick(self, journal: Journal) -> None:
        """Begin what is due."""
        now = time.monotonic()
        if any(until <= now for until in self._not_before.values()):
            self._not_before = {hook: until for hook, until in self._not_before.items() if until > now}
            self._look = True
        if not self._look:
            return
        for way in WAYS:
            if way not in self._running and getattr(self._settings, way):
                found = journal.hooks(way, limit=len(self._not_before) + 1)
                if (hook := next((h for h in found if h.id not in self._not_before), None)) is not None:
                    self._running[way] = _Run(self._settings, hook, self._post)
        self._look = False

    def hear(self, journal: Journal, ended: Ended) -> None:
        """Note how a hook ended."""
        hook = ended.hook
        run = self._running.pop(hook.way, None)
        if run is not None:
            run.join()
        self._look = True
        crash.reach("hooked")
        facts = json.loads(hook.facts)
        told = {"hook": hook.way, "file": _readable(facts["relative"]), "seconds": round(ended.seconds, 3)}
        if not ended.problem:
            journal.hook_ran(hook.id)
            self._log.info("hook.done", **told, output=ended.output or None)
            return
        tried = hook.tries + 1
        give_up = tried >= self._settings.hook_tries
        if not give_up:
            self._not_before[hook.id] = time.monotonic() + min(self._pauses[0] * 2**hook.tries, self._pauses[1])
        journal.hook_failed(hook.id, ended.problem, give_up=give_up)
        say = self._log.error if give_up else self._log.warning
        say("hook.failed", **told, tried=tried, given_up=give_up, reason=ended.problem, output=ended.output or None)

    def close(self) -> None:
        """End what runs: it is run again at the next start."""
        for run in self._running.values():
            run.end()


class _Run:
    """One hook that runs, and the thread that waits for it."""

    def __init__(self, settings: Settings, hook: Hook, post: Callable[[Ended], None]) -> None:
        self._settings = settings
        self._hook = hook
        self._post = post
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"hook {hook.way}")
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=5)

    def end(self) -> None:
        self._stop.set()
        self.join()

    def _run(self) -> None:
        started = time.monotonic()
        output = _Tail()
        try:
            problem = self._outcome(json.loads(self._hook.facts), output)
        except OSError as error:
            problem = f"It cannot be started: {error.strerror or error}."
        except ValueError as error:  # a text that no argument or variable takes; nobody else would tell of its end
            problem = f"It cannot be started: {error}."
        if not self._stop.is_set():
            self._post(Ended(self._hook, problem, output.text(), time.monotonic() - started))

    def _outcome(self, facts: dict[str, Any], output: _Tail) -> str:
        """Run it to its end, or to the end of its time; return what went wrong."""
        environment = {**os.environ, **variables(facts)}
        if self._hook.way == "webhook":
            command = [sys.executable, "-m", "dropscribe.supervisor.webhook"]
            environment[f"{PREFIX}WEBHOOK"] = self._settings.webhook
        else:
            command = [*getattr(self._settings, self._hook.way), facts["source"], *facts["files"]]
        with tempfile.TemporaryFile() as told:
            told.write(json.dumps(_shown(facts), ensure_ascii=False).encode() + b"\n")
            told.seek(0)
            process = subprocess.Popen(
                command,
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # its own group, which can be ended with all it started
            )
        drain = threading.Thread(target=output.read, args=(process,), daemon=True, name="hook output")
        drain.start()
        until = time.monotonic() + self._settings.hook_seconds
        # In short steps, so that the daemon's end is heard.
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


def _shown(value: Any) -> Any:
    """Return the facts with every text as UTF-8 takes it: names need not be."""
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return _readable(value) if isinstance(value, str) else value


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

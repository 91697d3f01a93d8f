"""`dropscribe doctor`: every promise that can be checked on this machine, checked by doing it.

Guarantees: a check cannot hang (folders are probed in a child with a timeout, for macOS may hold a read of a guarded
folder until somebody answers a prompt) and cannot stop the others; nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dropscribe import __version__, backends, protocol, service, settings
from dropscribe.errors import DropscribeError
from dropscribe.supervisor import loop, worker_process
from dropscribe.supervisor.inbox import Inbox, Watcher, file_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dropscribe.settings import Settings

PROBE_SECONDS = 10
"""For one folder; a healthy network drive that has to wake up takes less."""
ENGINE_SECONDS = 300
"""For loading the model and transcribing one second."""

_PROBE = """
import os, sys, tempfile
if not os.path.isdir(sys.argv[1]):
    sys.exit(3)
os.listdir(sys.argv[1])
if sys.argv[2] == "write":
    with tempfile.NamedTemporaryFile(dir=sys.argv[1], prefix=".dropscribe-") as file:
        file.write(b"x")
"""
_ABSENT = 3  # what the probe exits with where no folder is


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: str
    """`ok`, `note` (works, but know this) or `fail`."""
    detail: str
    cure: str = ""


def examine(chosen: Settings) -> Iterator[Check]:
    """Yield the checks one by one, the slow one last."""
    yield Check(
        "program", "ok", f"dropscribe {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    path = settings.config_path()
    yield Check("settings", "ok", str(path) if path.exists() else f"no file ({path}): defaults and the environment")
    inbox = _folder("inbox", chosen.inbox, "read")
    yield inbox
    yield _folder("outbox", chosen.outbox, "write")
    yield _folder("state", chosen.state, "write")
    if chosen.after == "archive":
        yield _folder("archive", chosen.archive, "write")
    if inbox.verdict != "fail":  # to ask for its file system may take as long as to read it
        yield _events(chosen)
    yield _journal(chosen.state / "journal.sqlite3")
    yield from _hooks(chosen)
    yield _daemon(chosen)
    yield from _service(chosen)
    yield _torch()
    yield from _engine(chosen)


def _folder(name: str, folder: Path, mode: str) -> Check:
    command = [sys.executable, "-c", _PROBE, str(folder), mode]
    probe = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = probe.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        probe.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            probe.communicate(timeout=1)  # what reads from a volume that is gone may not end before it comes back
        cure = "On a Mac: System Settings, Privacy & Security, Files and Folders. Else: is its volume reachable?"
        return Check(name, "fail", f"{folder} did not answer for {PROBE_SECONDS} s", cure)
    if probe.returncode == _ABSENT:
        return Check(name, "note", f"{folder} is not there yet", "`dropscribe run` makes it.")
    if probe.returncode:
        return Check(name, "fail", f"{folder}: {said.strip().splitlines()[-1]}", "Grant access or choose another.")
    free = shutil.disk_usage(folder).free / 1e9
    verdict = "note" if free < 1 else "ok"
    return Check(name, verdict, f"{folder}, {mode} works, {free:.1f} GB free ({file_system(folder) or 'unknown'})")


def _events(chosen: Settings) -> Check:
    watcher = Watcher(Inbox(chosen.inbox, chosen.recursive, chosen.outbox), chosen.observer, lambda: None)
    if watcher.native:
        return Check("events", "ok", f"native, with a full look every {chosen.scan_seconds:g} s")
    return Check("events", "ok", f"polling{': ' + watcher.why if watcher.why else ', as set'}")


def _hooks(chosen: Settings) -> Iterator[Check]:
    for name in ("on_done", "on_failed"):
        if not (command := getattr(chosen, name)):
            continue
        if (found := shutil.which(command[0])) is not None:
            yield Check(name, "ok", found)
        else:
            cure = "Write the whole path of a program that may be executed; a service has a PATH of its own."
            yield Check(name, "fail", f"{command[0]} is not there or may not be executed", cure)


def _journal(path: Path) -> Check:
    version = f"SQLite {sqlite3.sqlite_version}"
    if not path.exists():
        return Check("journal", "ok", f"{version}; none yet")
    try:
        with sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=5) as db:
            verdict = db.execute("PRAGMA quick_check").fetchone()[0]
        db.close()
    except sqlite3.Error as error:
        return Check("journal", "fail", f"{path}: {error}", "Stop the daemon and move the file away.")
    return Check("journal", "ok" if verdict == "ok" else "fail", f"{version}; {path}: {verdict}")


def _daemon(chosen: Settings) -> Check:
    if loop.running(chosen.state):
        return Check("daemon", "ok", "running")
    return Check("daemon", "note", "not running", "`dropscribe service start`, or `dropscribe run`.")


def _service(chosen: Settings) -> Iterator[Check]:
    try:
        spec = service.make_spec(os.environ, sys.executable, logs=chosen.logs)
        found = service.choose_manager().status(spec)
    except DropscribeError as error:
        yield Check("service", "note", error.message, error.cure)
        return
    yield Check("service", "ok" if found.installed and not found.differs else "note", found.detail)
    yield Check("path", "ok", f"under the service: {dict(spec.environment)['PATH']}")


def _torch() -> Check:
    if find_spec("torch") is None:
        return Check("pytorch", "ok", "not installed, as it should be")
    return Check(
        "pytorch", "note", "installed beside Dropscribe, which does not use it", "README, `Install on a Mac`."
    )


def _engine(chosen: Settings) -> Iterator[Check]:
    try:
        request = worker_process.make_request(chosen, download=False)
    except DropscribeError as error:
        yield Check("backend", "fail", error.message, error.cure)
        return
    first = request.backends[0]
    others = sorted(backends.installed(chosen) - {first.name})
    also = f"; also installed: {', '.join(others)}" if others else ""
    yield Check("backend", "ok", f"{first.name}: {first.reason}{also}")
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    worker = worker_process.Worker(messages.put)
    loaded: protocol.Loaded | None = None
    try:
        worker.send(protocol.CheckJob(job=1, request=request))
        while True:
            match messages.get(timeout=ENGINE_SECONDS).event:
                case protocol.Fallback(backend=backend, reason=reason):
                    yield Check("backend", "note", f"{backend} is passed over: {reason}")
                case protocol.Loaded() as loaded:
                    detail = f"{loaded.model} loaded on {loaded.device} in {loaded.load_s:.1f} s ({loaded.folder})"
                    yield Check("model", "ok", detail)
                case protocol.Finished(seconds=seconds):
                    name = loaded.backend if loaded else ""
                    yield Check("engine", "ok", f"{name} took one second of sound in {seconds:.1f} s")
                    return
                case protocol.Failed() as failed:
                    verdict = "note" if failed.code == "model-missing" else "fail"
                    yield Check("engine" if loaded else "model", verdict, failed.message, failed.cure)
                    return
                case protocol.Exited(how=how, stderr=stderr):
                    yield Check("engine", "fail", f"its process ended with {how}", stderr[-300:])
                    return
    except queue.Empty:
        yield Check("engine", "fail", f"no answer for {ENGINE_SECONDS} s", "`dropscribe logs` may say more.")
    finally:
        worker.kill()

"""`dropscribe doctor`: every promise that can be checked on this machine, checked by doing it.

Guarantees: a check cannot hang and cannot stop the others; nothing is downloaded. macOS may hold a read of a guarded
folder until somebody answers a prompt, so folders are probed in a child process with a timeout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
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

from dropscribe import __version__, logs, protocol, service, settings
from dropscribe.backends import choice
from dropscribe.cli.console import print_json
from dropscribe.errors import DropscribeError, Exit
from dropscribe.supervisor import locks, worker_process
from dropscribe.supervisor.hook_process import find_missing_programs
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.journal import FILE_NAME
from dropscribe.supervisor.mounts import find_file_system
from dropscribe.supervisor.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dropscribe.cli import commands
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
_ABSENT = 3
"""Exit code of the probe when there is no such folder."""
_LOW_SPACE_GB = 1
"""Less free space than this is pointed out."""


class Verdict(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """It works, but a person should know this."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. The fields are the keys of the JSON."""

    name: str
    verdict: Verdict
    detail: str
    cure: str = ""


def show_checks(arguments: commands.Doctor) -> int:
    """Print each check as soon as it is done; the exit code says whether one failed."""
    checks = []
    differing = _take_environment_of_service()
    chosen = settings.load(arguments.flags).settings
    for check in examine(chosen, differing):
        checks.append(check)
        if not (arguments.json or arguments.report):
            print(f"{check.verdict:<5} {check.name:<10} {check.detail}", flush=True)
            if check.cure:
                print(f"{'':<16} {check.cure}")
    if arguments.report:
        from dropscribe.cli.report import format_report

        print(format_report(checks, chosen.logs / logs.NAME), end="")
    elif arguments.json:
        print_json([dataclasses.asdict(check) for check in checks])
    return Exit.FAILED if any(check.verdict is Verdict.FAIL for check in checks) else Exit.OK


def _take_environment_of_service() -> tuple[str, ...] | None:
    """Give this process the variables that an installed service has, so that what is checked is what runs.

    Returns: what differed, as words for each variable; None when no service is installed.
    """
    try:
        installed = service.choose_manager().read_environment()
        spec = service.make_spec(os.environ, sys.executable, logs=settings.load().settings.logs)
    except DropscribeError:  # what is wrong is told by the checks
        return None
    if installed is None:
        return None
    for name in [name for name in os.environ if service.is_kept(name)]:
        del os.environ[name]
    os.environ.update(installed)
    return service.compare_environments(installed, dict(spec.environment))


def examine(chosen: Settings, differing: tuple[str, ...] | None = None) -> Iterator[Check]:
    """Yield the checks one by one, the slow one last.

    Args:
        chosen: the settings.
        differing: how this shell's variables differed from those of an installed service, which this process
            has taken; None when there is none.
    """
    yield Check(
        "program", Verdict.OK, f"dropscribe {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    path = settings.find_config_path()
    yield Check(
        "settings", Verdict.OK, str(path) if path.exists() else f"no file ({path}): defaults and the environment"
    )
    if differing:
        cure = "`dropscribe service install` takes over those of this shell."
        detail = f"checked with the service's variables; this shell's differ: {', '.join(differing)}"
        yield Check("variables", Verdict.NOTE, detail, cure)
    elif differing is not None:
        yield Check("variables", Verdict.OK, "the service has the same as this shell")
    inbox = _check_folder("inbox", chosen.inbox, "read")
    yield inbox
    yield _check_folder("outbox", chosen.outbox, "write")
    yield _check_folder("state", chosen.state, "write")
    if chosen.after == "archive":
        yield _check_folder("archive", chosen.archive, "write")
    if inbox.verdict is not Verdict.FAIL:  # to ask for its file system may take as long as to read it
        yield _check_events(chosen)
    yield _check_journal(chosen.state / FILE_NAME)
    yield from _check_hooks(chosen)
    yield _check_daemon(chosen)
    yield from _check_service(chosen)
    yield _check_torch()
    yield from _check_engine(chosen)


def _check_folder(name: str, folder: Path, mode: str) -> Check:
    command = [sys.executable, "-c", _PROBE, str(folder), mode]
    probe = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, stderr = probe.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        probe.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            probe.communicate(timeout=1)  # what reads from a volume that is gone may not end before it comes back
        cure = "On a Mac: System Settings, Privacy & Security, Files and Folders. Else: is its volume reachable?"
        return Check(name, Verdict.FAIL, f"{folder} did not answer for {PROBE_SECONDS} s", cure)
    if probe.returncode == _ABSENT:
        cure = "`dropscribe run` makes it."
        if name == "inbox" and not settings.is_default_inbox(folder):
            cure = "Make it, or mount its volume: `dropscribe run` waits for it."
        return Check(name, Verdict.NOTE, f"{folder} is not there yet", cure)
    if probe.returncode:
        return Check(
            name, Verdict.FAIL, f"{folder}: {stderr.strip().splitlines()[-1]}", "Grant access or choose another."
        )
    free = shutil.disk_usage(folder).free / 1e9
    verdict = Verdict.NOTE if free < _LOW_SPACE_GB else Verdict.OK
    return Check(
        name, verdict, f"{folder}, {mode} works, {free:.1f} GB free ({find_file_system(folder) or 'unknown'})"
    )


def _check_events(chosen: Settings) -> Check:
    watcher = Watcher(Inbox.of(chosen), chosen.observer, lambda: None)
    if watcher.native:
        return Check("events", Verdict.OK, f"native, with a full look every {chosen.scan_seconds:g} s")
    return Check("events", Verdict.OK, f"polling{': ' + watcher.why if watcher.why else ', as set'}")


def _check_hooks(chosen: Settings) -> Iterator[Check]:
    missing = find_missing_programs(chosen)
    for name in ("on_done", "on_failed"):
        if name in missing:
            cure = "Write the whole path of a program that may be executed; a service has a PATH of its own."
            yield Check(name, Verdict.FAIL, f"{missing[name]} is not there or may not be executed", cure)
        elif command := getattr(chosen, name):
            yield Check(name, Verdict.OK, str(shutil.which(command[0])))


def _check_journal(path: Path) -> Check:
    version = f"SQLite {sqlite3.sqlite_version}"
    if not path.exists():
        return Check("journal", Verdict.OK, f"{version}; none yet")
    try:
        uri = path.absolute().as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as db:
            found = db.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        return Check("journal", Verdict.FAIL, f"{path}: {error}", "Stop the daemon and move the file away.")
    return Check("journal", Verdict.OK if found == "ok" else Verdict.FAIL, f"{version}; {path}: {found}")


def _check_daemon(chosen: Settings) -> Check:
    if locks.is_running(chosen.state):
        return Check("daemon", Verdict.OK, "running")
    return Check("daemon", Verdict.NOTE, "not running", "`dropscribe service start`, or `dropscribe run`.")


def _check_service(chosen: Settings) -> Iterator[Check]:
    try:
        spec = service.make_spec(os.environ, sys.executable, logs=chosen.logs)
        found = service.choose_manager().status(spec)
    except DropscribeError as error:
        yield Check("service", Verdict.NOTE, error.message, error.cure)
        return
    yield Check("service", Verdict.OK if found.installed and not found.differs else Verdict.NOTE, found.detail)
    yield Check("path", Verdict.OK, f"under the service: {dict(spec.environment)['PATH']}")


def _check_torch() -> Check:
    if find_spec("torch") is None:
        return Check("pytorch", Verdict.OK, "not installed, as it should be")
    return Check("pytorch", Verdict.NOTE, "installed next to Dropscribe, which does not use it", "README, `Install`.")


def _check_engine(chosen: Settings) -> Iterator[Check]:
    try:
        request = worker_process.make_request(chosen, download=False)
    except DropscribeError as error:
        yield Check("backend", Verdict.FAIL, error.message, error.cure)
        return
    first = request.backends[0]
    others = sorted(choice.find_installed(chosen) - {first.name})
    also = f"; also installed: {', '.join(others)}" if others else ""
    yield Check("backend", Verdict.OK, f"{first.name}: {first.reason}{also}")
    yield from _load_and_transcribe(request)


def _load_and_transcribe(request: protocol.Request) -> Iterator[Check]:
    """Have a worker load the model and transcribe one second of sound."""
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    worker = worker_process.Worker(messages.put)
    loaded: protocol.Loaded | None = None
    try:
        worker.send(protocol.CheckJob(job=1, request=request))
        while True:
            match messages.get(timeout=ENGINE_SECONDS).event:
                case protocol.Fallback(backend=backend, reason=reason):
                    yield Check("backend", Verdict.NOTE, f"{backend} is passed over: {reason}")
                case protocol.Loaded() as loaded:
                    detail = f"{loaded.model} loaded on {loaded.device} in {loaded.load_s:.1f} s ({loaded.folder})"
                    yield Check("model", Verdict.OK, detail)
                case protocol.Finished(seconds=seconds):
                    name = loaded.backend if loaded else ""
                    yield Check("engine", Verdict.OK, f"{name} took one second of sound in {seconds:.1f} s")
                    return
                case protocol.Failed() as failed:
                    verdict = Verdict.NOTE if failed.code == "model-missing" else Verdict.FAIL
                    yield Check("engine" if loaded else "model", verdict, failed.message, failed.cure)
                    return
                case protocol.Exited(how=how, stderr=stderr):
                    yield Check("engine", Verdict.FAIL, f"its process ended with {how}", stderr[-300:])
                    return
    except queue.Empty:
        yield Check("engine", Verdict.FAIL, f"no answer for {ENGINE_SECONDS} s", "`dropscribe logs` may say more.")
    finally:
        worker.kill()

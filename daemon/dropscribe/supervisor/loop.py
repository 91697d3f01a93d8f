"""The daemon: takes recordings from the inbox, has the worker transcribe them, puts the outputs into the outbox.

Here are its locks, its loop and the requests of the command line; the loop drives the parts, each of which owns its
state: `intake` (files), `scheduler` (who is next), `jobs` (the work in progress), `delivery` (outputs and failures),
`hooks`, `afterwards` (sources that leave), and `trouble` (what is wrong around us).

Guarantees: one thread, the one that calls `run`, owns every piece of state; other threads (events, digests, the
worker's pipes) and signal handlers only post messages to it. No model library is imported and no connection
opened in this process. What is in the journal is true after any crash: each step is committed before the next begins.

The order of a recording's last steps: transcript into the journal, files into the outbox with the JSON last, then
`done`. A crash between any two repeats only the step it interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import queue
import signal
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from dropscribe import backends, crash
from dropscribe.errors import DropscribeError, EnvironmentFaultError, Exit
from dropscribe.supervisor import disposal, hooks, intake, outbox, profiles, recovery, worker_process
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.jobs import Jobs
from dropscribe.supervisor.journal import State, mark
from dropscribe.supervisor.outage import Trouble
from dropscribe.supervisor.outbox import readable
from dropscribe.supervisor.publisher import Delivery, Progress
from dropscribe.supervisor.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings

BACKOFF = (5.0, 300.0)
"""Seconds before the first and, doubling, between the last tries while something of the environment is wrong."""
TICK = 1.0
"""Seconds between two looks at requests and deadlines."""
MESSAGES = 100
"""At most so many are taken before the next look: ten thousand files that settle at once must not stop the work."""
PAUSED = "paused"
"""File in the state folder whose presence means that no work is given out; it survives restarts."""
REQUESTS = "requests"
"""Folder in the state folder into which the command line puts requests for the daemon."""


class AlreadyRunningError(DropscribeError):
    """Another daemon works on this state or this inbox."""

    exit_code = Exit.OK


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to."""

    done: int
    failed: int
    waiting: int
    trouble: DropscribeError | None


class Supervisor:
    """The daemon on one inbox."""

    def __init__(
        self,
        settings: Settings,
        *,
        once: bool = False,
        command: Sequence[str] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Take the locks and open the journal.

        Args:
            settings: checked settings.
            once: end when everything that is there is worked off.
            command: replaces the real worker, in tests of faults that cannot be made for real.
            progress: called when something moved, for a person at a terminal.

        Raises: AlreadyRunningError when another daemon has this inbox or state; DropscribeError when a folder
        cannot be made.
        """
        self._settings = settings
        self._once = once
        self._log = structlog.get_logger()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping = ""
        make_folders(settings, ["state"])
        inbox = Inbox(settings.inbox, settings.recursive, settings.outbox)
        self._locks: list[int] = []
        try:
            self._locks.append(lock(settings.state / "daemon.lock", settings.state))
            self._locks.append(lock(inbox_lock(settings.inbox), settings.inbox))
            self._journal = recovery.open_journal(settings.state / "journal.sqlite3", settings.outbox, inbox)
        except (OSError, sqlite3.OperationalError) as error:
            self._unlock()
            msg = f"The state in {settings.state} cannot be opened: {error}."
            raise DropscribeError(msg, "Look at the disk that holds it.") from None
        except AlreadyRunningError:
            self._unlock()
            raise
        # A folder that was used before and is gone is waited for, not made anew: its volume may not be there now.
        used = {name: self._journal.meta(name) for name in ("inbox", "outbox")}
        make_folders(settings, [name for name in used if used[name] != readable(getattr(settings, name))])
        self._paused = False
        self._begun = False
        post = self._messages.put
        self._trouble = Trouble(settings, self._journal, BACKOFF)
        self._hooks = hooks.Hooks(settings, post, BACKOFF)
        self._afterwards = disposal.Afterwards(settings, post, BACKOFF)
        self._intake = intake.Intake(settings, inbox, self._journal, post)
        self._delivery = Delivery(
            settings, self._journal, self._intake, self._hooks, self._afterwards, self._trouble, progress
        )
        self._scheduler = Scheduler(settings, self._journal, self._intake, self._delivery)
        self._jobs = Jobs(
            settings,
            self._journal,
            self._intake,
            self._scheduler,
            self._delivery,
            self._trouble,
            post,
            command=command,
            progress=progress,
        )

    # The loop

    def stop(self, reason: str) -> None:
        """Ask the loop to end; safe from a signal handler and from any thread."""
        self._stopping = reason
        self._messages.put(intake.Wake())

    def run(self) -> Summary:
        """Work until stopped (or, with `once`, until nothing is left). Returns what was done."""
        self._intake.start()
        try:
            while not self._stopping:
                self._tick()
                if self._once and self._finished():
                    break
                with contextlib.suppress(queue.Empty):
                    self._handle(self._messages.get(timeout=self._sleep()))
                    for _ in range(MESSAGES):
                        if self._stopping:
                            break
                        self._handle(self._messages.get_nowait())
        except Exception:
            # A fault of ours, or a journal damaged while open: the service starts us anew, and the start heals.
            self._stopping = "crash"
            self._log.exception("daemon.crashed")
            raise
        finally:
            self._end()
        counts, results = self._journal.counts(), self._delivery.results
        waiting = counts[State.QUEUED] + counts[State.WAITING] + counts[State.PUBLISHING]
        return Summary(results["done"], results["failed"], waiting, self._trouble.error)

    def _begin(self) -> None:
        """Tidy up after the last run. With the disk of the journal full this waits, as everything else does."""
        self._jobs.tidy()
        swept = outbox.sweep(self._settings.outbox)
        again = self._journal.recover()
        self._intake.recovered()
        line = backends.choose_here(self._settings)
        self._journal.note(
            pid=str(os.getpid()),
            started=str(time.time()),
            inbox=readable(self._settings.inbox),
            outbox=readable(self._settings.outbox),
            inbox_trouble="",
            backend=line[0].name if line else "",
            backend_reason=line[0].reason if line else "no backend is installed",
            model=self._settings.model,
            settings=json.dumps(profiles.used(self._settings)),
            engine="",
            trouble="",
            phase="",
        )
        self._log.info(
            "daemon.started",
            pid=os.getpid(),
            inbox=str(self._settings.inbox),
            outbox=str(self._settings.outbox),
            backend=line[0].name if line else None,
            reason=line[0].reason if line else "no backend is installed",
            model=self._settings.model,
            interrupted=again,
            temporary_files_removed=swept,
            once=self._once,
        )
        self._hooks.begin(self._journal)
        self._begun = True

    def _end(self) -> None:
        self._intake.close()
        self._hooks.close()
        self._jobs.close(self._stopping)
        with contextlib.suppress(sqlite3.Error):
            self._journal.note(pid="", phase="", engine="")
        self._log.info("daemon.stopped", reason=self._stopping or "all done", **self._delivery.results)

    def close(self) -> None:
        """Close the journal and let go of the locks."""
        self._journal.close()
        self._unlock()

    def _unlock(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _sleep(self) -> float:
        """Return how long the loop may sleep."""
        now = time.monotonic()
        return max(0.0, min(now + TICK, self._intake.due) - now)

    def _finished(self) -> bool:
        """Return whether nothing is left that could be done now."""
        if not self._intake.idle or self._jobs.busy or not self._messages.empty():
            return False
        if self._hooks.running or self._afterwards.running:
            return False
        if self._trouble.error is not None or self._paused or self._intake.trouble:
            return True
        counts = self._journal.counts()
        left = counts[State.QUEUED] or counts[State.PUBLISHING] or self._hooks.due or self._afterwards.due
        return not left

    def _tick(self) -> None:
        """Do whatever is due. A fault of the environment is noted, waited out and tried again."""
        try:
            if not self._begun:
                self._begin()
            self._read_requests()
            self._intake.tick()
            self._jobs.watch()
            self._hooks.tick(self._journal)
            if self._afterwards.due and not self._intake.trouble and self._delivery.outbox_is_there():
                self._afterwards.tick(self._journal, self._intake.unsettled)
            self._dispatch()
        except EnvironmentFaultError as error:
            self._trouble.wait_out(error)
        except sqlite3.OperationalError as error:
            self._jobs.drop()  # it may not have reached the worker
            self._trouble.wait_out(self._journal_fault(error))

    def _handle(self, message: Any) -> None:
        try:
            if isinstance(message, worker_process.Message):
                self._jobs.handle_message(message)
            elif isinstance(message, intake.Digested):
                if (taken := self._intake.take_in(message)) is not None:
                    self._jobs.handle_taken_in(taken)
            elif isinstance(message, hooks.Ended):
                self._hooks.hear(self._journal, message)
                self._afterwards.added()
            elif isinstance(message, disposal.Left):
                self._intake.let_go(self._afterwards.hear(self._journal, message), message.outcome)
        except EnvironmentFaultError as error:
            self._trouble.wait_out(error)
        except sqlite3.OperationalError as error:
            self._jobs.drop()
            self._trouble.wait_out(self._journal_fault(error))

    def _journal_fault(self, error: sqlite3.Error) -> EnvironmentFaultError:
        if not (self._settings.state / "journal.sqlite3").exists():
            # What was opened is no file any more, and waiting does not bring it back.
            msg = f"The journal in {self._settings.state} was removed while it was used."
            raise DropscribeError(msg, "Started again, the daemon makes a new one from the outbox.") from error
        return EnvironmentFaultError(
            "journal-unwritable",
            f"The journal cannot be written: {error}.",
            f"Look at the disk that holds {self._settings.state}.",
        )

    def _dispatch(self) -> None:
        """Give the next recording to the worker, or publish what only needs publishing."""
        if self._jobs.busy or self._paused:
            return
        missing = self._trouble.code == "outbox-missing"
        if self._trouble.error is not None:
            if self._trouble.lasts and not (missing and self._delivery.outbox_is_there()):
                return
            self._journal.recover()  # a journal that failed may have left a recording marked as running
        self._delivery.check_outbox()
        if missing:
            self._trouble.over()
        for unpublished in self._journal.all(State.PUBLISHING, limit=1):
            self._delivery.publish(unpublished)
            self._intake.look_again(unpublished)
            return
        if self._intake.trouble:
            return
        first = self._journal.next()
        if first is None:
            self._trouble.over()
        elif claimed := self._scheduler.claim(first):
            self._jobs.begin(claimed)

    # Requests of the command line

    def _read_requests(self) -> None:
        paused = (self._settings.state / PAUSED).exists()
        if paused != self._paused:
            self._paused = paused
            self._log.info("daemon.paused" if paused else "daemon.resumed")
            if paused:
                self._jobs.drop("paused")
        folder = self._settings.state / REQUESTS
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
        except FileNotFoundError:
            return
        for name in names:
            with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
                request = json.loads((folder / name).read_bytes())
                if "redo" in request:
                    self._redo(request["redo"], stale=request["stale"])
                else:
                    self._retry(request["retry"])
            with contextlib.suppress(OSError):
                (folder / name).unlink()

    def _retry(self, wanted: str | None) -> None:
        """Queue a failed recording again, or all of them."""
        for recording in self._journal.all(State.FAILED):
            if wanted is None or self._intake.key(wanted) == recording.key:
                self._journal.retry(recording.id, time.time())
                self._intake.note(recording, State.QUEUED)
                self._log.info("job.retried", **recording.told)
        found = None if wanted is None else self._journal.find(self._intake.key(wanted))
        if (wanted is None or found) and self._journal.hooks_again(found.id if found else None):
            self._hooks.added()
        self._trouble.try_now()

    def _redo(self, names: list[str] | None, *, stale: bool) -> None:
        """Queue recordings that are done again: those that are named, or all.

        With `stale` only those whose settings are no longer in force, and a stored result will do where it fits.
        """
        looked, keys = profiles.Profiles(self._settings), None if names is None else set(map(self._intake.key, names))
        wanted = []
        for recording in self._journal.all(State.DONE, State.FAILED):
            if keys is not None and recording.key not in keys:
                continue
            same = stale and (
                recording.state == State.FAILED or not looked.changed(recording.name, recording.settings)
            )
            if not same and self._intake.look(recording) is not None:
                wanted.append(recording)
        marks = [(r.id, mark(r.changed)) for r in wanted]
        self._journal.redo(marks, time.time(), anew=not stale)
        crash.reach("asked")
        for recording in wanted:
            self._intake.note(recording, State.QUEUED)
            self._log.info("job.redone", **recording.told, stale=stale)


def make_folders(settings: Settings, names: Sequence[str] = ("inbox", "outbox", "state")) -> None:
    """Make the inbox, the outbox and the state folder, or those that are named, where they are missing.

    Raises: DropscribeError naming the folder.
    """
    for name in names:
        folder: Path = getattr(settings, name)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700 if name == "state" else 0o777)
        except OSError as error:
            msg = f"The folder {folder} (setting `{name}`) cannot be made: {error.strerror}."
            raise DropscribeError(msg, "Make it yourself or choose another one.") from None


def lock(path: Path, what: Path, *, patience: float = 0.5) -> int:
    """Take a lock that ends with this process; returns its descriptor.

    `patience` seconds outlast a look by `running`, which holds the lock for a moment.

    Raises: AlreadyRunningError naming `what`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            msg = f"A daemon is already running on {what}."
            raise AlreadyRunningError(msg, "`dropscribe status` shows what it does.") from None
        return descriptor


def inbox_lock(inbox: Path) -> Path:
    """Return the lock file that keeps daemons with different state folders off one inbox.

    It is not in the inbox: an open file there would keep a removable volume from being ejected.
    """
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"dropscribe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / (hashlib.sha256(os.fsencode(os.path.realpath(inbox))).hexdigest()[:16] + ".lock")


def running(state: Path) -> bool:
    """Return whether a daemon has the lock of this state folder."""
    try:
        os.close(lock(state / "daemon.lock", state, patience=0))
    except AlreadyRunningError:
        return True
    except OSError:
        return False
    return False


def handle_signals(supervisor: Supervisor) -> None:
    """Let SIGTERM and SIGINT end the loop, and SIGHUP too: a closed terminal is a stop, not a crash."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: supervisor.stop(signal.Signals(n).name))

"""The daemon: takes recordings from the inbox, has the worker transcribe them, puts the outputs into the outbox.

Guarantees: one thread, the one that calls `run`, owns every piece of state; other threads (events, digests, the
worker's pipes) and signal handlers only post messages to it. No model library is imported and no connection
opened here. What is in the journal is true after any crash: each step is committed before the next begins.

The order of a recording's last steps: transcript into the journal, files into the outbox with the JSON last, then
`done`. A crash between any two repeats only the step it interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import queue
import signal
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import structlog

from dropscribe import (
    afterwards,
    backends,
    crash,
    engine,
    formats,
    heal,
    hooks,
    outbox,
    packing,
    profiles,
    recorded,
    replacements,
    review,
)
from dropscribe.errors import DropscribeError, EnvironmentFaultError, Exit, Fault
from dropscribe.inbox import POLL_SECONDS, Inbox, Settler, Stat, Watcher, digest, is_profile
from dropscribe.journal import Recording, State, mark
from dropscribe.transcript import Source, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings

ATTEMPTS = 3
"""How often a recording is tried when the engine fails on it."""
BACKOFF = (5.0, 300.0)
"""Seconds before the first and, doubling, between the last tries while something of the environment is wrong."""
TICK = 1.0
"""Seconds between two looks at requests and deadlines."""
MESSAGES = 100
"""At most so many are taken before the next look: ten thousand files that settle at once must not stop the work."""
_READ_AGAIN = frozenset({"permission-denied", "unreadable", "read-failed", "in-icloud"})
"""Faults of the environment that concern one file: the others go on."""
PACK = 0
"""Stands for several recordings in what the worker is told and tells; no row of the journal has this number."""
UNREAD = ""
"""Stands for the digest of a file that is too large to be read at all."""

PROFILE_FAULTS = frozenset({profiles.WRONG, "model-missing", "model-damaged", "model-unusable"})
"""Failures that a profile is to blame for: what is set for all makes the queue wait instead."""
_CORRECT_IT = "Correct or remove that file, and the recording is taken up again by itself."


class AlreadyRunningError(DropscribeError):
    """Another daemon works on this state or this inbox."""

    exit_code = Exit.OK


@dataclass(frozen=True, slots=True)
class _Wake:
    """Something happened that the loop learns by itself: an event of the inbox, a signal."""


@dataclass(frozen=True, slots=True)
class _Digested:
    relative: str
    found: Stat
    sha256: str | None
    error: DropscribeError | OSError | None


@dataclass
class _Job:
    """What is known of the work in progress on one recording."""

    recording: Recording
    settings: Settings
    """Those in force for it when it was claimed."""
    packed: bool
    """Whether it was given to the worker together with others."""
    begun: float
    """time.monotonic() when it was given to the worker."""
    facts: dict[str, Any] = field(default_factory=dict)
    window: int = 0
    tenth: int = -1
    """Tenths of a model's download that were told."""


@dataclass
class _Trouble:
    """What is wrong around us, and when to try again."""

    error: DropscribeError
    code: str
    delay: float
    until: float


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
        self._command = command
        self._progress = progress
        self._log = structlog.get_logger()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping = ""
        make_folders(settings, ["state"])
        self._inbox = Inbox(settings.inbox, settings.recursive, settings.outbox)
        self._locks: list[int] = []
        try:
            self._locks.append(lock(settings.state / "daemon.lock", settings.state))
            self._locks.append(lock(inbox_lock(settings.inbox), settings.inbox))
            self._journal = heal.open_journal(settings.state / "journal.sqlite3", settings.outbox, self._inbox)
        except (OSError, sqlite3.OperationalError) as error:
            self._unlock()
            msg = f"The state in {settings.state} cannot be opened: {error}."
            raise DropscribeError(msg, "Look at the disk that holds it.") from None
        except AlreadyRunningError:
            self._unlock()
            raise
        # A folder that was used before and is gone is waited for, not made anew: its volume may not be there now.
        used = {name: self._journal.meta(name) for name in ("inbox", "outbox")}
        make_folders(settings, [name for name in used if used[name] != _readable(str(getattr(settings, name)))])
        self._outbox_is_volume = self._journal.meta("outbox_volume") == _readable(str(settings.outbox))
        self._spool = settings.state / "spool"
        self._watcher = Watcher(self._inbox, settings.observer, lambda: self._messages.put(_Wake()))
        self._settler = Settler(settings.settle_seconds)
        self._known: dict[bytes, tuple[Stat, State]] = {
            key: (Stat(size, mtime_ns), state) for key, size, mtime_ns, state in self._journal.stats()
        }
        self._digests: queue.SimpleQueue[tuple[str, Stat] | None] = queue.SimpleQueue()
        self._digesting: set[str] = set()
        self._worker: engine.Worker | None = None
        self._worker_ready = False
        self._jobs: dict[int, _Job] = {}
        self._pack = False  # whether the worker is given several recordings and has not told the end of that
        self._heard = 0.0  # time.monotonic() of the last sign of life of the worker
        self._idle_since = time.monotonic()
        self._next_scan = 0.0
        self._trouble: _Trouble | None = None
        self._inbox_trouble = ""
        self._paused = False
        self._begun = False
        self._results = {"done": 0, "failed": 0}
        self._hooks = hooks.Hooks(settings, self._messages.put, BACKOFF)
        self._afterwards = afterwards.Afterwards(settings, self._messages.put, BACKOFF)

    # The loop

    def stop(self, reason: str) -> None:
        """Ask the loop to end; safe from a signal handler and from any thread."""
        self._stopping = reason
        self._messages.put(_Wake())

    def run(self) -> Summary:
        """Work until stopped (or, with `once`, until nothing is left). Returns what was done."""
        threading.Thread(target=self._digest_files, daemon=True, name="digest").start()
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
        counts = self._journal_counts()
        trouble = self._trouble.error if self._trouble else None
        return Summary(self._results["done"], self._results["failed"], counts, trouble)

    def _begin(self) -> None:
        """Tidy up after the last run. With the disk of the journal full this waits, as everything else does."""
        self._spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._spool.iterdir():
            left.unlink(missing_ok=True)
        swept = outbox.sweep(self._settings.outbox)
        again = self._journal.recover()
        for key, found, _ in self._rows_in(State.RUNNING):
            self._known[key] = (found, State.QUEUED)
        line = backends.choose_here(self._settings)
        self._journal.note(
            pid=str(os.getpid()),
            started=str(time.time()),
            inbox=_readable(str(self._settings.inbox)),
            outbox=_readable(str(self._settings.outbox)),
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

    def _rows_in(self, state: State) -> list[tuple[bytes, Stat, State]]:
        return [(key, found, s) for key, (found, s) in self._known.items() if s == state]

    def _end(self) -> None:
        self._watcher.close()
        self._digests.put(None)
        self._hooks.close()
        for job in self._jobs.values():
            with contextlib.suppress(sqlite3.Error):
                self._journal.release(job.recording.id)
            self._log.info("job.interrupted", **self._about(job.recording), reason=self._stopping)
        self._stop_worker("daemon ends")
        with contextlib.suppress(sqlite3.Error):
            self._journal.note(pid="", phase="", engine="")
        self._log.info("daemon.stopped", reason=self._stopping or "all done", **self._results)

    def close(self) -> None:
        """Close the journal and let go of the locks."""
        self._journal.close()
        self._unlock()

    def _unlock(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _journal_counts(self) -> int:
        counts = self._journal.counts()
        return counts[State.QUEUED] + counts[State.WAITING] + counts[State.PUBLISHING]

    def _sleep(self) -> float:
        """Return how long the loop may sleep."""
        now = time.monotonic()
        times = [now + TICK, self._next_scan]
        if (due := self._settler.due()) is not None:
            times.append(due)
        return max(0.0, min(times) - now)

    def _finished(self) -> bool:
        """Return whether nothing is left that could be done now."""
        if len(self._settler) or self._digesting or self._busy or not self._messages.empty():
            return False
        if self._hooks.running or self._afterwards.running:
            return False
        if self._trouble is not None or self._paused or self._inbox_trouble:
            return True
        counts = self._journal.counts()
        left = counts[State.QUEUED] or counts[State.PUBLISHING] or self._hooks.due or self._afterwards.due
        return not left

    @property
    def _busy(self) -> bool:
        return bool(self._jobs) or self._pack

    def _tick(self) -> None:
        """Do whatever is due. A fault of the environment is noted, waited out and tried again."""
        try:
            if not self._begun:
                self._begin()
            self._read_requests()
            self._take_hints()
            if time.monotonic() >= self._next_scan:
                self._scan()
            self._settle()
            self._watch_worker()
            self._hooks.tick(self._journal)
            if self._afterwards.due and not self._inbox_trouble and self._outbox_is_there():
                self._afterwards.tick(self._journal, self._unsettled)
            self._dispatch()
        except EnvironmentFaultError as error:
            self._wait_out(error)
        except sqlite3.OperationalError as error:
            self._drop_job()  # it may not have reached the worker
            self._wait_out(self._journal_fault(error))

    def _handle(self, message: Any) -> None:
        try:
            if isinstance(message, engine.Message):
                if message.worker is self._worker:
                    self._hear(message)
            elif isinstance(message, _Digested):
                self._take_in(message)
            elif isinstance(message, hooks.Ended):
                self._hooks.hear(self._journal, message)
                self._afterwards.added()
            elif isinstance(message, afterwards.Left):
                self._let_go(self._afterwards.hear(self._journal, message), message.outcome)
        except EnvironmentFaultError as error:
            self._wait_out(error)
        except sqlite3.OperationalError as error:
            self._drop_job()
            self._wait_out(self._journal_fault(error))

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

    # Trouble around us

    def _wait_out(self, error: EnvironmentFaultError) -> None:
        """Stop giving out work for a while, and say so once."""
        old = self._trouble
        delay = min(old.delay * 2, BACKOFF[1]) if old and old.code == error.code else BACKOFF[0]
        self._trouble = _Trouble(error, error.code, delay, time.monotonic() + delay)
        if old is None or old.code != error.code:
            self._log.warning("daemon.waiting", code=error.code, reason=error.message, cure=error.cure)
        with contextlib.suppress(sqlite3.Error):
            self._journal.note(trouble=json.dumps({"code": error.code, "reason": str(error), "since": time.time()}))

    def _over(self) -> None:
        """Something worked: what was wrong is over."""
        if self._trouble is not None:
            self._journal.note(trouble="")  # a journal that cannot be written is not over
            if self._trouble.code.startswith("outbox-"):
                outbox.sweep(self._settings.outbox)
            self._log.info("daemon.goes_on", code=self._trouble.code)
            self._trouble = None

    # Requests of the command line

    def _read_requests(self) -> None:
        paused = (self._settings.state / PAUSED).exists()
        if paused != self._paused:
            self._paused = paused
            self._log.info("daemon.paused" if paused else "daemon.resumed")
            if paused:
                self._drop_job()
                self._stop_worker("paused")
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
            if wanted is None or self._key(wanted) == recording.key:
                self._journal.retry(recording.id, time.time())
                self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)
                self._log.info("job.retried", **self._about(recording))
        found = None if wanted is None else self._journal.find(self._key(wanted))
        if (wanted is None or found) and self._journal.hooks_again(found.id if found else None):
            self._hooks.added()
        if self._trouble is not None:
            self._trouble.until = 0.0

    def _redo(self, names: list[str] | None, *, stale: bool) -> None:
        """Queue recordings that are done again: those that are named, or all.

        With `stale` only those whose settings are no longer in force, and a stored result will do where it fits.
        """
        looked, keys = profiles.Profiles(self._settings), None if names is None else set(map(self._key, names))
        wanted = []
        for recording in self._journal.all(State.DONE, State.FAILED):
            if keys is not None and recording.key not in keys:
                continue
            same = stale and (
                recording.state == State.FAILED or not looked.changed(recording.name, recording.settings)
            )
            if not same and self._look(recording) is not None:
                wanted.append(recording)
        marks = [(r.id, mark(r.changed)) for r in wanted]
        self._journal.redo(marks, time.time(), anew=not stale)
        crash.reach("asked")
        for recording in wanted:
            self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)
            self._log.info("job.redone", **self._about(recording), stale=stale)

    # The inbox

    def _take_hints(self) -> None:
        paths, scan = self._watcher.take()
        if scan:
            self._next_scan = 0.0
        if any(is_profile(PurePath(relative).name) for relative in paths):
            self._look_at_profiles()
        now = time.monotonic()
        for relative in paths:
            found = self._inbox.look(relative)
            if found is not None:
                self._notice(relative, found, now)

    def _scan(self) -> None:
        """Look through the whole inbox."""
        every = self._settings.scan_seconds
        started = time.monotonic()
        self._next_scan = started + (every if self._watcher.native else min(every, POLL_SECONDS))
        try:
            if self._watcher.ensure():
                self._log.info("inbox.watched", native=self._watcher.native, why=self._watcher.why or None)
            if not self._watcher.native:
                self._next_scan = started + min(every, POLL_SECONDS)
            seen = set()
            for relative, found in self._inbox.scan():
                seen.add(self._key(relative))
                self._notice(relative, found, started)
        except EnvironmentFaultError as error:
            if self._inbox_trouble != error.code:
                self._inbox_trouble = error.code
                self._log.warning("inbox.missing", code=error.code, reason=error.message, cure=error.cure)
                self._journal.note(inbox_trouble=str(error))
            self._next_scan = started + min(every, POLL_SECONDS)
            return
        if self._inbox_trouble:
            self._inbox_trouble = ""
            self._log.info("inbox.back")
            self._journal.note(inbox_trouble="")
        gone = [
            key
            for key, (_, state) in self._known.items()
            if state in {State.QUEUED, State.WAITING} and key not in seen and not self._moves(key)
        ]
        if gone:
            self._leave(gone, time.time())
        self._look_at_profiles()

    def _look_at_profiles(self) -> None:
        """Queue again what failed because of its profile, if that says something else now."""
        looked = profiles.Profiles(self._settings)
        for recording in self._journal.failed(PROFILE_FAULTS):
            try:
                now = json.dumps(profiles.used(looked.of(recording.name).settings))
            except profiles.ProfileError as error:
                now = f"{error} {_CORRECT_IT}"
            if now != (recording.reason if recording.code == profiles.WRONG else recording.settings):
                self._journal.retry(recording.id, time.time())
                self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)
                self._log.info("job.retried", **self._about(recording))

    def _settings_of(self, recording: Recording) -> Settings | None:
        """Return the settings in force for a recording; None when nobody can tell.

        A profile that is wrong is its failure then.
        """
        if self._look(recording) is None:  # it left, and maybe the whole inbox did
            return self._settings
        if not os.path.isdir(self._inbox.root):  # noqa: PTH112 -- it is archived, but its profiles are away
            self._next_scan = 0.0
            return None
        try:
            return profiles.Profiles(self._settings).of(recording.name).settings
        except profiles.ProfileError as error:
            self._quarantine(recording, profiles.WRONG, f"{error} {_CORRECT_IT}")
            return None

    def _moves(self, key: bytes) -> bool:
        """Return whether a recording is not in the inbox because we archived it, or let it leave at this moment."""
        recording = self._journal.find(key)
        archived = recording is not None and self._journal.place(recording.id) is not None
        return archived or self._afterwards.holds(self._journal, key)

    def _forget_moved(self, recording: Recording) -> None:
        """Once its work is over: what comes under the name of a recording that we moved away is a new one."""
        leaving = self._journal.leaving(recording.id)
        if leaving is not None and leaving.state == "moved":
            self._known.pop(recording.key, None)

    def _notice(self, relative: str, found: Stat, now: float) -> None:
        """Let a file settle unless the journal knows it as it is."""
        if relative in self._digesting:
            return
        known = self._known.get(self._key(relative))
        if known is not None and known[1] == State.PUBLISHING:
            return  # some of its files may be there: they become the journal's before newer ones replace them
        if known is None or known[0] != found or known[1] in {State.GONE, State.WAITING}:
            if relative not in self._settler and (known is None or known[0] != found):
                self._log.info("inbox.seen", file=_readable(relative), bytes=found.size)
                crash.reach("seen")
            self._settler.observe(relative, found, now)

    def _key(self, relative: str) -> bytes:
        """Return a file's key: its own spelling where it got that, also when the twin it was told from is gone."""
        spelled = os.fsencode(relative)
        return spelled if spelled in self._known else self._inbox.key(relative)

    def _settle(self) -> None:
        settled = self._settler.settled(self._inbox.look, time.monotonic())
        for relative, found in sorted(settled, key=lambda item: (item[1].mtime_ns, item[0])):  # oldest first
            self._digesting.add(relative)
            if self._too_large(found.size):
                self._messages.put(_Digested(relative, found, UNREAD, None))  # reading it would take hours
            else:
                self._digests.put((relative, found))

    def _digest_files(self) -> None:
        """Thread: digest settled files, one after another, so that a large one does not stop the loop."""
        while (item := self._digests.get()) is not None:
            relative, found = item
            sha256, error = None, None
            try:
                sha256 = digest(self._settings.inbox / relative, found)
            except (OSError, DropscribeError) as caught:
                error = caught
            self._messages.put(_Digested(relative, found, sha256, error))

    def _unsettled(self, recording: Recording) -> bool:
        """Return whether a recording's file is being looked at anew."""
        name = str(recording.name)
        return name in self._settler or name in self._digesting

    def _let_go(self, recording: Recording, outcome: str) -> None:
        """A source has left the inbox, or has not: what lies under its name now is looked at."""
        if outcome == "moved" and recording.state in {State.DONE, State.FAILED}:  # not asked for again meanwhile
            self._known.pop(recording.key, None)
        if (found := self._inbox.look(str(recording.name))) is not None:
            self._notice(str(recording.name), found, time.monotonic())

    def _place(self, recording: Recording) -> Path:
        """Return where a recording's file is: in the inbox, or where we archived it."""
        return self._journal.place(recording.id) or self._settings.inbox / recording.name

    def _look(self, recording: Recording) -> Stat | None:
        """Return the size and time of a recording's file."""
        return afterwards.look(self._inbox, recording, self._journal.place(recording.id))

    def _take_in(self, message: _Digested) -> None:
        """A settled file was digested: queue it."""
        relative, found, now = message.relative, message.found, time.time()
        self._digesting.discard(relative)
        key = self._key(relative)
        if self._afterwards.holds(self._journal, key):  # a new file under the name of one that is just leaving
            self._settler.observe(relative, found, time.monotonic())
            return
        if isinstance(message.error, FileNotFoundError):
            return
        if message.error is not None:
            error = message.error
            code = error.code if isinstance(error, EnvironmentFaultError) else "unreadable"
            reason = str(error) if isinstance(error, DropscribeError) else _unreadable(error)
            if self._journal.wait(key, PurePath(relative), found.size, found.mtime_ns, code, reason, now):
                self._log.warning("inbox.unreadable", file=_readable(relative), code=code, reason=reason)
            self._known[key] = (found, State.WAITING)
            return
        if message.sha256 is None:  # it changed after all
            again = self._inbox.look(relative)
            if again is not None:
                self._settler.observe(relative, again, time.monotonic())
            return
        if self._journal.queue(key, PurePath(relative), found.size, found.mtime_ns, message.sha256, now):
            crash.reach("queued")
            self._known[key] = (found, State.QUEUED)
            self._log.info("inbox.settled", file=_readable(relative), bytes=found.size, sha256=message.sha256)
            for job in [job for job in self._jobs.values() if job.recording.key == key]:
                self._log.info("job.superseded", **self._about(job.recording))
                self._give_up(job, "its recording was replaced")
        else:
            state = self._known[key][1] if key in self._known else State.DONE
            self._known[key] = (found, state)
            for job in self._jobs.values():
                if job.recording.key == key:  # only its date is new
                    size, mtime_ns = found.size, found.mtime_ns
                    job.recording = dataclasses.replace(job.recording, size=size, mtime_ns=mtime_ns)

    # The worker

    def _watch_worker(self) -> None:
        """Replace a worker that shows no life; end one that has had no work for long."""
        now = time.monotonic()
        stall, idle = self._settings.stall_minutes * 60, self._settings.idle_minutes * 60
        if self._busy and stall and now - self._heard > stall:
            jobs = self._take_jobs()
            self._stop_worker("stalled")
            message = f"The engine showed no progress for {self._settings.stall_minutes:g} minutes."
            self._broke(jobs, "stalled", message)
        elif not self._busy and self._worker is not None and idle and now - self._idle_since > idle:
            self._stop_worker("idle")

    def _take_jobs(self) -> list[_Job]:
        """Return the work in progress; nothing is in progress any more."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        self._pack = False
        return jobs

    def _give_up(self, job: _Job, reason: str) -> None:
        """Stop work on a recording that is another now. What was packed with it is soon packed again."""
        others = [other for other in self._take_jobs() if other is not job]
        self._stop_worker(reason)
        self._release([other.recording for other in others])

    def _stop_worker(self, reason: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            self._log.info("worker.stopped", pid=worker.pid, reason=reason)
            with contextlib.suppress(sqlite3.Error):
                self._journal.note(engine="", phase="")
            self._sweep()

    def _sweep(self) -> None:
        """Remove the sound that a worker left behind which has ended."""
        with contextlib.suppress(OSError):  # the folder may have been removed
            for left in self._spool.iterdir():
                left.unlink()

    def _weigh(self, worker: engine.Worker) -> None:
        """Replace a worker that has grown too large: between recordings it costs one load of the model."""
        most = self._settings.memory_gigabytes * 1e9
        if most and (worker.memory() or 0) > most:
            self._stop_worker("memory")

    def _drop_job(self) -> None:
        """Put what is in progress back; finished windows are kept."""
        busy, jobs = self._busy, self._take_jobs()
        if busy:
            self._stop_worker("its job was dropped")
        for job in jobs:
            with contextlib.suppress(sqlite3.Error):
                self._journal.release(job.recording.id)

    def _dispatch(self) -> None:
        """Give the next recording to the worker, or publish what only needs publishing."""
        if self._busy or self._paused:
            return
        if self._trouble is not None:
            back = self._trouble.code == "outbox-missing" and self._outbox_is_there()
            if time.monotonic() < self._trouble.until and not back:
                return
            self._journal.recover()  # a journal that failed may have left a recording marked as running
        self._check_outbox()
        if self._trouble is not None and self._trouble.code == "outbox-missing":
            self._over()
        for unpublished in self._journal.all(State.PUBLISHING, limit=1):
            self._publish(unpublished)
            if (newer := self._inbox.look(str(unpublished.name))) is not None:
                self._notice(str(unpublished.name), newer, time.monotonic())
            return
        if self._inbox_trouble:
            return
        claimed = self._claim()
        if not claimed:
            return
        recordings, chosen = [recording for recording, _ in claimed], claimed[0][1]
        try:
            # A file that was dropped into the inbox makes nobody open a connection.
            request = engine.request(chosen, download=chosen.model == self._settings.model)
        except EnvironmentFaultError:
            self._release(recordings)
            raise
        last = recordings[0].attempts >= ATTEMPTS
        if last:  # alone in a fresh process, with the options that can go least wrong
            self._stop_worker("a last attempt begins")
        if self._worker is None:
            try:
                self._worker = engine.Worker(self._messages.put, self._command)
            except OSError as error:
                self._release(recordings)
                why = f"The engine's process cannot be started: {error.strerror}."
                raise EnvironmentFaultError("worker-refused", why, "`dropscribe doctor` looks closer.") from None
            self._worker_ready = False
            self._log.info("worker.started", pid=self._worker.pid)
        self._heard, self._pack = time.monotonic(), len(recordings) > 1
        self._jobs = {r.id: _Job(r, own, self._pack, begun=self._heard) for r, own in claimed}
        for recording in recordings:
            self._log.info(
                "job.claimed",
                **self._about(recording),
                attempt=recording.attempts,
                bytes=recording.size,
                packed=len(recordings) if self._pack else None,
            )
        self._journal.note(phase="decoding")
        work = [
            {"path": str(self._place(r)), "spool": str(self._spool / f"{r.id}-{self._worker.pid}.f32")}
            for r in recordings  # named after the process, too: the last one may not have ended yet
        ]
        if self._pack:
            numbered = [{"job": r.id, **paths} for r, paths in zip(recordings, work, strict=True)]
            self._worker.send(PACK, "pack", recordings=numbered, safe=False, **request)
            return
        assert recordings[0].result is not None  # noqa: S101 (claim sets it)
        saved = self._journal.checkpoints(recordings[0].result)
        resume = saved[0] | {"done": len(saved) - 1} if saved else None
        self._worker.send(recordings[0].id, "transcribe", **work[0], resume=resume, safe=last, **request)

    def _claim(self) -> list[tuple[Recording, Settings]]:
        """Take the first of the queue; if it is short, also those right behind it that may share its windows.

        Only what waits already, and nobody is overtaken: one that is large or has other settings ends the pack.
        """
        first = self._journal.next()
        if first is None:
            self._over()
            return []
        chosen = self._settings_of(first)
        if chosen is None:
            return []
        packs = self._packs(first, chosen)
        taken = self._claim_one(chosen)
        pack = [] if taken is None else [(taken, chosen)]
        known = profiles.Profiles(self._settings)
        while pack and packs and len(pack) < packing.MOST:
            found = self._journal.next()
            # A copy of one of them waits for its result.
            if found is None or any(found.sha256 == recording.sha256 for recording, _ in pack):
                break
            try:
                own = known.of(found.name).settings
            except profiles.ProfileError:
                break
            if engine.options(own) != engine.options(chosen) or not self._packs(found, own):
                break
            if (taken := self._claim_one(own)) is None:
                break  # it may be first in the queue again: the inbox left, or it is just being archived
            pack.append((taken, own))
        return pack

    def _packs(self, queued: Recording, chosen: Settings) -> bool:
        """Return whether a recording may be heard with others: it seems short, and nothing was done for it yet."""
        if not chosen.pack or chosen.channels or queued.attempts or queued.code == packing.ALONE:
            return False
        if chosen.whisperx_diarizer and chosen.backend in {"auto", "whisperx"}:
            return False  # it would tell the speakers of all apart together, and number them through
        if not 0 < queued.size <= packing.MOST_BYTES or self._too_large(queued.size):
            return False
        key = f"{queued.sha256}:{heal.fingerprint(engine.options(chosen))}"
        return self._journal.result(key) is None and not self._journal.checkpoints(key)

    def _claim_one(self, chosen: Settings) -> Recording | None:
        """Take the first of the queue; None when it needs no work of the engine."""
        fingerprint, used = heal.fingerprint(engine.options(chosen)), json.dumps(profiles.used(chosen))
        recording = self._journal.claim(fingerprint, time.time(), used)
        assert recording is not None  # noqa: S101 (nobody else takes from the queue)
        assert recording.result is not None  # noqa: S101 (claim sets it)
        crash.reach("claimed")
        claimed = Stat(recording.size, recording.mtime_ns)
        self._known[recording.key] = (claimed, State.RUNNING)
        found = self._look(recording)
        if found != claimed or (recording.sha256 == UNREAD and not self._too_large(recording.size)):
            self._lost(recording, found)
            return None
        if self._too_large(recording.size):
            reason = f"It has {recording.size / 1e9:.1f} GB, more than the setting `max_gigabytes` allows."
            self._quarantine(recording, "too-large", f"{reason} Set it higher, then retry.")
            return None
        if self._journal.result(recording.result) is not None:
            self._log.info("job.known", **self._about(recording))
            self._journal.reuse_result(recording.id, time.time())
            self._known[recording.key] = (claimed, State.PUBLISHING)
            self._publish(self._journal.get(recording.id))
            return None
        return recording

    def _release(self, recordings: Sequence[Recording], code: str = "", reason: str = "") -> None:
        """Put recordings back where they were in the queue; the attempt does not count."""
        for recording in recordings:
            self._journal.release(recording.id, code, reason)
            self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)

    def _too_large(self, size: int) -> bool:
        most = self._settings.max_gigabytes * 1e9
        return bool(most) and size > most

    def _outbox_is_there(self) -> bool:
        """Return whether the outbox can be used. Where a volume was mounted, its bare mount point is no outbox."""
        if os.path.ismount(self._settings.outbox):
            if not self._outbox_is_volume:
                self._journal.note(outbox_volume=_readable(str(self._settings.outbox)))
                self._outbox_is_volume = True
            return True
        return os.path.isdir(self._settings.outbox) and not self._outbox_is_volume  # noqa: PTH112 (it never raises)

    def _check_outbox(self) -> None:
        if not self._outbox_is_there():
            raise EnvironmentFaultError(
                "outbox-missing",
                f"The outbox {self._settings.outbox} is not there.",
                "Make it again or bring its volume back; the work goes on by itself.",
            )

    def _hear(self, message: engine.Message) -> None:
        """Act on one event of the worker."""
        facts = message.facts
        if message.event == "log":
            getattr(self._log, facts["level"], self._log.info)(facts["name"], **facts["facts"])
            return
        if message.event == "ready":
            self._worker_ready = True
            return
        if message.event == "exit":
            self._worker = None
            self._sweep()
            self._log.warning("worker.died", pid=message.worker.pid, how=facts["how"], stderr=facts["stderr"][-2000:])
            jobs = self._take_jobs()
            if jobs and not self._worker_ready:  # no recording can have done that
                self._release([job.recording for job in jobs])
                why = f"The engine's process ended at its start with {facts['how']}."
                raise EnvironmentFaultError("worker-broken", why, "`dropscribe doctor` looks closer.")
            self._broke(jobs, "worker-died", f"The engine's process ended with {facts['how']}.")
            return
        self._heard = time.monotonic()
        if message.job == PACK:
            self._hear_of_pack(message)
        elif message.job in self._jobs:
            self._hear_of(self._jobs[message.job], message)

    def _hear_of_pack(self, message: engine.Message) -> None:
        """Act on an event of work on several recordings that is about all of them."""
        job, facts = next(iter(self._jobs.values()), None), message.facts
        match message.event:
            case "model" | "fallback" | "loaded":
                if job is not None:
                    self._hear_of(job, message)
            case "finished":
                self._release([job.recording for job in self._take_jobs()], packing.ALONE)
                self._idle_since = time.monotonic()
                self._weigh(message.worker)
            case "failed":
                jobs = self._take_jobs()
                self._idle_since = time.monotonic()
                if facts["fault"] == Fault.ENGINE:
                    self._stop_worker("engine failed")
                    self._broke(jobs, facts["code"], facts["message"], facts.get("detail", ""))
                    return
                if jobs and jobs[0].settings.model != self._settings.model:  # a profile's: nobody else waits for it
                    self._release([job.recording for job in jobs], packing.ALONE)
                    return
                self._release([job.recording for job in jobs], facts["code"], facts["message"])
                raise EnvironmentFaultError(facts["code"], facts["message"], facts["cure"])

    def _hear_of(self, job: _Job, message: engine.Message) -> None:
        """Act on an event of the work on one recording."""
        facts = message.facts
        match message.event:
            case "decoded":
                found = self._look(job.recording)
                if found != Stat(job.recording.size, job.recording.mtime_ns):
                    # What was decoded may be another content: nothing made of it may be kept under this digest.
                    self._give_up(job, "its recording changed")
                    self._lost(job.recording, found)
                    return
                job.facts |= facts
                self._log.info(
                    "job.decoded",
                    **self._about(job.recording),
                    audio_s=facts["audio_s"],
                    seconds=facts["decode_s"],
                    channels=facts["channels"],
                    codec=facts["codec"],
                    warnings=[w["code"] for w in facts["warnings"]],
                )
                if not job.packed:
                    self._journal.note(phase="loading the model")
            case "model":
                self._tell_download(job, facts)
            case "fallback":
                self._log.warning(
                    "backend.fallback", backend=facts["backend"], code=facts["code"], reason=facts["reason"]
                )
            case "loaded":
                job.facts |= facts
                if job.packed and message.job != PACK:
                    return  # it was told of all of them
                if facts["load_s"]:
                    self._log.info(
                        "model.loaded",
                        **{k: facts[k] for k in ("backend", "reason", "device", "model", "revision")},
                        seconds=facts["load_s"],
                    )
                self._over()
                self._journal.note(
                    phase=f"one of {len(self._jobs)} transcribed together" if job.packed else "listening for speech",
                    backend=facts["backend"],
                    backend_reason=facts["reason"],
                    engine=f"{facts['model']} on {facts['device']}, process {message.worker.pid}",
                )
            case "planned":
                self._plan(job, facts)
            case "window":
                job.window += 1
                self._journal.checkpoint(job.recording, job.window, facts, facts["end_s"], job.facts["audio_s"])
                crash.reach("checkpointed")
                self._tell(job, facts["end_s"])
            case "finished":
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                if not job.packed:
                    self._weigh(message.worker)
                self._conclude(job)
            case "failed" if not job.packed:
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                self._failed(job, facts)
            case "apart" | "failed":  # alone it fails as it deserves
                del self._jobs[job.recording.id]
                self._log.info("job.apart", **self._about(job.recording), why=facts["code"])
                self._release([job.recording], packing.ALONE)

    def _tell_download(self, job: _Job, facts: dict[str, Any]) -> None:
        """Log a download of a model at its start and every tenth of the way."""
        tenth = 10 * facts["done"] // max(1, facts["total"])
        if tenth != job.tenth:
            job.tenth = tenth
            self._log.info(
                "model.downloading",
                **{k: facts[k] for k in ("model", "repo")},
                percent=10 * tenth,
                bytes=facts["total"],
            )
            self._journal.note(phase=f"downloading the model {facts['model']}: {10 * tenth} %")

    def _plan(self, job: _Job, facts: dict[str, Any]) -> None:
        job.facts |= facts
        job.window = facts["done"]
        recording, windows = job.recording, facts["plan"]["windows"]
        if not facts["done"]:
            assert recording.result is not None  # noqa: S101
            self._journal.forget_checkpoints(recording.result)
        plan = facts["plan"] | {k: facts[k] for k in ("language", "language_probability")}
        done_s = windows[facts["done"] - 1][1] / backends.SAMPLE_RATE if facts["done"] else 0.0
        self._journal.checkpoint(recording, 0, plan, done_s, job.facts["audio_s"])
        self._log.info(
            "job.planned",
            **self._about(recording),
            windows=len(windows),
            resumed_at=facts["done"],
            speech_s=facts["speech_s"],
            language=facts["language"],
            language_probability=facts["language_probability"],
            seconds=facts["plan_s"],
        )
        if not job.packed:
            self._journal.note(phase="transcribing")
        self._tell(job, done_s)

    def _tell(self, job: _Job, done_s: float) -> None:
        self._progress(Progress(str(job.recording.name), done_s, job.facts["audio_s"]))

    def _conclude(self, job: _Job) -> None:
        """Every window is there: make the transcript, keep it, publish it."""
        recording = job.recording
        found = self._look(recording)
        if found not in {None, Stat(recording.size, recording.mtime_ns)}:
            self._lost(recording, found)
            return
        assert recording.result is not None  # noqa: S101
        assert recording.sha256 is not None  # noqa: S101
        source = Source(
            name=_readable(recording.name.name),
            path=_readable(str(recording.name)),
            sha256=recording.sha256,
            bytes=recording.size,
        )
        windows = self._journal.checkpoints(recording.result)[1:]
        transcript = engine.assemble(source, job.facts, windows, job.settings)
        self._journal.keep_result(recording, transcript.to_json(), transcript.timing.speed, time.time())
        crash.reach("kept")
        self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.PUBLISHING)
        self._log.info(
            "job.transcribed",
            **self._about(recording),
            audio_s=transcript.timing.audio_s,
            seconds=round(time.monotonic() - job.begun, 3),
            speed=transcript.timing.speed,
            segments=len(transcript.segments),
            language=transcript.language,
        )
        self._publish(self._journal.get(recording.id))

    def _lost(self, recording: Recording, found: Stat | None) -> None:
        """A claimed recording is no longer the file that had settled: let it settle again, or note that it left."""
        now, key = time.time(), recording.key
        old = Stat(recording.size, recording.mtime_ns)
        if found is None and self._afterwards.holds(self._journal, key):  # it is just leaving
            self._journal.release(recording.id)
            self._known[key] = (old, State.QUEUED)
            return
        if (place := self._journal.place(recording.id)) is not None:
            reason = f"Its file was archived as {_readable(str(place))} and is not there any more, or was changed."
            self._quarantine(recording, "archive-missing", f"{reason} Bring it back, then retry.")
            return
        if found is None:
            self._journal.release(recording.id)
            self._known[key] = (old, State.QUEUED)
            if os.path.isdir(self._inbox.root):  # noqa: PTH112 (it never raises)
                self._leave([key], now)
                self._forget_moved(recording)
            else:  # the inbox left with all of them
                self._next_scan = 0.0
            return
        reason = "The file is being changed."
        self._journal.wait(recording.key, recording.name, old.size, old.mtime_ns, "changing", reason, now)
        self._known[key] = (old, State.WAITING)
        self._log.info("job.superseded", **self._about(recording))
        self._settler.observe(str(recording.name), found, time.monotonic())

    def _leave(self, keys: list[bytes], now: float) -> None:
        """Note files that left the inbox before they were transcribed."""
        done = self._journal.gone(keys, now)
        for key in keys:
            self._known[key] = (self._known[key][0], State.DONE if key in done else State.GONE)
            self._log.info("inbox.gone", file=_readable(os.fsdecode(key)))

    def _publish(self, recording: Recording) -> None:
        """Write a recording's files. A full disk or a lost outbox leaves it to be published later."""
        self._check_outbox()
        started = time.monotonic()
        assert recording.result is not None  # noqa: S101
        stored = self._journal.result(recording.result)
        if stored is None:  # only damage from outside can do this
            self._journal.retry(recording.id, time.time())
            return
        transcript = Transcript.from_json(stored)
        # It may have been made from the same recording under another name.
        now = datetime.now().astimezone()
        recorded_at, recorded_from = recorded.filled(transcript.source, recording.name, recording.mtime_ns, now)
        source = dataclasses.replace(
            transcript.source,
            name=_readable(recording.name.name),
            path=_readable(str(recording.name)),
            recorded_at=recorded_at,
            recorded_from=recorded_from,
        )
        used = profiles.restored(recording.settings, self._settings)
        transcript = replacements.replace(dataclasses.replace(transcript, source=source), used.replacements)
        transcript = dataclasses.replace(transcript, review=review.review(transcript))
        contents = {name: formats.RENDERERS[name](transcript) for name in used.formats}
        known = self._journal.outputs(recording.id)
        crash.reach("rendered")
        try:
            base = self._journal.base(recording)
            older = outbox.keep(self._settings.outbox, base, known, recording.redo) if recording.redo else []
            if older:
                crash.reach("retired")
            published = outbox.publish(self._settings.outbox, base, contents, known)
            self._remove_failure(recording)
            for left in set(older) - {p.path for p in published}:  # a format that is no longer wanted
                outbox.remove(self._settings.outbox, {left: known[left]})
        except OSError as error:
            if _refuses_name(error):
                why = f"The outbox cannot hold files of this name: {error.strerror or error}."
                self._quarantine(recording, "name-refused", f"{why} Give the recording another name.")
                return
            raise _outbox_fault(self._settings.outbox, error) from None
        crash.reach("published")
        files, place = [p.path for p in published], self._place(recording)
        run = hooks.about(self._settings, recording, place, "done", files, transcript)
        self._journal.done(recording.id, published, time.time(), hooks=run, after=self._settings.after)
        crash.reach("committed")
        self._over()
        self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.DONE)
        self._forget_moved(recording)
        self._hooks.added()
        self._afterwards.added()
        self._results["done"] += 1
        self._log.info(
            "job.done",
            **self._about(recording),
            files=[_readable(p.path) for p in published],
            beside=[p.beside for p in published if p.beside] or None,
            seconds=round(time.monotonic() - started, 3),
        )
        self._progress(Progress(str(recording.name), transcript.duration, transcript.duration, outcome="done"))

    def _remove_failure(self, recording: Recording) -> None:
        """Remove the record of an earlier failure if it is as we write it; the journal may not know of it."""
        path = self._settings.outbox / outbox.failure_path(recording.name)
        source = _readable(str(self._settings.inbox / recording.name))
        try:
            if outbox.is_failure_record(source, path.read_text(encoding="utf-8", errors="replace")):
                path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and not _refuses_name(error):
                raise

    # Failures

    def _failed(self, job: _Job, facts: dict[str, Any]) -> None:
        recording, code = job.recording, facts["code"]
        reason = f"{facts['message']} {facts['cure']}".strip()
        if facts["fault"] == Fault.ENGINE:
            # What failed once may have left the process in a bad state: the next try gets a new one.
            self._stop_worker("engine failed")
        found = self._look(recording)
        if found != Stat(recording.size, recording.mtime_ns):  # it failed because it was being changed, or left
            self._lost(recording, found)
            return
        if code == "gone" and self._journal.place(recording.id) is not None:
            self._release([recording])  # it was archived before it was opened, and is read there
            return
        match Fault(facts["fault"]):
            case Fault.RECORDING:
                self._quarantine(recording, code, reason)
            case Fault.ENVIRONMENT if code in _READ_AGAIN:
                found = Stat(recording.size, recording.mtime_ns)
                self._journal.wait(
                    recording.key, recording.name, found.size, found.mtime_ns, code, reason, time.time()
                )
                self._known[recording.key] = (found, State.WAITING)
                self._log.warning("inbox.unreadable", file=str(recording.name), code=code, reason=reason)
            case Fault.ENVIRONMENT if code in PROFILE_FAULTS and job.settings.model != self._settings.model:
                why = "A profile asks for it, and a profile makes nobody download. Then `dropscribe retry` goes on."
                self._quarantine(recording, code, f"{reason} {why}")
            case Fault.ENVIRONMENT:
                self._journal.release(recording.id, code, reason)
                self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)
                raise EnvironmentFaultError(code, facts["message"], facts["cure"])
            case Fault.ENGINE:
                self._engine_failed(recording, code, reason, facts.get("detail", ""))

    def _broke(self, jobs: Sequence[_Job], code: str, reason: str, detail: str = "") -> None:
        """The engine failed. Of several recordings nobody knows which was to blame: each goes alone, uncounted."""
        if not any(job.packed for job in jobs):
            for job in jobs:
                self._engine_failed(job.recording, code, reason, detail)
            return
        files = [_readable(str(job.recording.name)) for job in jobs]
        self._log.warning("pack.failed", files=files, code=code, reason=reason, detail=detail[-2000:] or None)
        why = f"{reason} Others were transcribed with it; now each is on its own."
        self._release([job.recording for job in jobs], packing.ALONE, why)

    def _engine_failed(self, recording: Recording, code: str, reason: str, detail: str = "") -> None:
        """Try again, up to `ATTEMPTS` times, then quarantine. `detail` is the engine's traceback, for the log."""
        self._log.warning(
            "job.engine_failed",
            **self._about(recording),
            attempt=recording.attempts,
            code=code,
            reason=reason,
            detail=detail[-2000:] or None,
        )
        if recording.attempts < ATTEMPTS:
            self._journal.release(recording.id, code, reason, at_end=time.time())
            self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.QUEUED)
        else:
            cure = "`dropscribe retry` tries it again; another model or backend may do better."
            self._quarantine(recording, code, f"{reason} It was tried {recording.attempts} times. {cure}")

    def _quarantine(self, recording: Recording, code: str, reason: str) -> None:
        """Write the record of a failure into the outbox, then note it."""
        name = outbox.failure_path(recording.name)
        source = _readable(str(self._settings.inbox / recording.name))
        when = time.strftime("%Y-%m-%d %H:%M:%S %z")
        data = outbox.failure_record(source, code, reason, when).encode("utf-8", "replace")
        try:
            self._check_outbox()
            try:
                outbox.write(self._settings.outbox / name, data)
            except OSError as error:
                if not _refuses_name(error):
                    raise
                name = outbox.failure_path(PurePath(hashlib.sha256(recording.key).hexdigest()[:16]))
                outbox.write(self._settings.outbox / name, data)
        except OSError as error:
            self._journal.release(recording.id, code, reason)
            raise _outbox_fault(self._settings.outbox, error) from None
        except EnvironmentFaultError:
            self._journal.release(recording.id, code, reason)
            raise
        crash.reach("quarantined")
        record = outbox.Published(name, hashlib.sha256(data).hexdigest())
        place = self._place(recording)
        run = hooks.about(self._settings, recording, place, "failed", [name], code=code, reason=reason)
        self._journal.fail(recording.id, code, reason, record, time.time(), hooks=run)
        self._hooks.added()
        self._known[recording.key] = (Stat(recording.size, recording.mtime_ns), State.FAILED)
        self._forget_moved(recording)
        self._results["failed"] += 1
        self._log.error("job.failed", **self._about(recording), code=code, reason=reason, record=_readable(name))
        self._progress(Progress(str(recording.name), 0.0, 0.0, outcome=f"failed: {reason}"))

    def _about(self, recording: Recording) -> dict[str, Any]:
        return {"job_id": recording.id, "file": _readable(str(recording.name))}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is."""

    file: str
    done_s: float
    audio_s: float
    outcome: str = ""
    """`done`, `failed: why`, or empty while it runs."""


PAUSED = "paused"
"""File in the state folder whose presence means that no work is given out; it survives restarts."""
REQUESTS = "requests"
"""Folder in the state folder into which the command line puts requests for the daemon."""


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


def _refuses_name(error: OSError) -> bool:
    """Return whether a folder refused a name, which no waiting cures: too long, not its characters, a file's name."""
    return isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError) or error.errno in {
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ELOOP,
    }


def _outbox_fault(folder: Path, error: OSError) -> EnvironmentFaultError:
    cures = {
        errno.ENOSPC: (
            "disk-full",
            "The disk of the outbox is full.",
            "Free some space; the work goes on by itself.",
        ),
        errno.EDQUOT: (
            "disk-full",
            "The disk quota is used up.",
            "Free some space; the work goes on by itself.",
        ),
        errno.EROFS: (
            "outbox-readonly",
            "The outbox is on a read-only disk.",
            "Make it writable or choose another.",
        ),
        errno.EACCES: ("outbox-refused", "The outbox may not be written.", "Grant access or choose another."),
        errno.EPERM: ("outbox-refused", "The outbox may not be written.", "Grant access or choose another."),
    }
    found = cures.get(error.errno or 0)
    if found is None:
        return EnvironmentFaultError("outbox-unwritable", f"The outbox {folder} cannot be written: {error}.")
    return EnvironmentFaultError(*found)


def _unreadable(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "The recording may not be read. Give this user the right to read it."
    return f"The recording cannot be read: {error.strerror}."


def _readable(text: str) -> str:
    """Return a file name as text that any encoder takes: names need not be UTF-8."""
    return os.fsencode(text).decode("utf-8", "replace")

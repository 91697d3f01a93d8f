"""Taking recordings in: what lies in the inbox, whether it has settled, and what the journal is told of it.

Guarantees: a file is queued when it has stood still and was digested, once for each content; one that cannot be read
waits and says why; one that leaves before it was transcribed is noted, unless we let it leave ourselves. Every method
is called by the thread that owns the journal; a thread of its own only digests, so that a large file stops nobody.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.errors import DropscribeError, EnvironmentFaultError
from dropscribe.supervisor import disposal, profiles
from dropscribe.supervisor.inbox import POLL_SECONDS, Inbox, Settler, Stat, Watcher, digest, is_profile
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.outbox import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording

_MOMENT = 0.5
"""Seconds: files that are copied one after another settle so close behind each other."""

UNREAD = ""
"""Stands for the digest of a file that is too large to be read at all."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Something happened that the loop learns by itself: an event of the inbox, a signal."""


@dataclass(frozen=True, slots=True)
class Digested:
    """A settled file was digested; posted from the thread that does it."""

    relative: str
    found: Stat
    sha256: str | None
    """None when it has changed meanwhile, or with an `error`."""
    error: DropscribeError | OSError | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a digested file that the journal has now."""

    key: bytes
    found: Stat
    new: bool
    """Whether it is to be transcribed; else it is known, and only its date is new."""


class Intake:
    """The files of one inbox, and what is known of each."""

    def __init__(
        self, settings: Settings, inbox: Inbox, journal: Journal, post: Callable[[Wake | Digested], None]
    ) -> None:
        """`post` takes what other threads find."""
        self._settings = settings
        self._inbox = inbox
        self._journal = journal
        self._post = post
        self._log = structlog.get_logger()
        self._watcher = Watcher(inbox, settings.observer, lambda: post(Wake()))
        self._settler = Settler(settings.settle_seconds)
        self._known: dict[bytes, tuple[Stat, State]] = {
            key: (Stat(size, mtime_ns), state) for key, size, mtime_ns, state in journal.stats()
        }
        """What the journal says of each file: ten thousand are compared at every scan."""
        self._missing = journal.missing()
        self._digests: queue.SimpleQueue[tuple[str, Stat] | None] = queue.SimpleQueue()
        self._digesting: set[str] = set()
        self._next_scan = 0.0
        self.trouble = ""
        """Code of what is wrong with the inbox; empty when it can be read."""

    def start(self) -> None:
        """Begin to digest what settles."""
        threading.Thread(target=self._digest_files, daemon=True, name="digest").start()

    def close(self) -> None:
        """End the threads."""
        self._watcher.close()
        self._digests.put(None)

    def tick(self) -> None:
        """Look at what events named, through the whole inbox when that is due, and at what has settled."""
        self._take_hints()
        if time.monotonic() >= self._next_scan:
            self._scan()
        self._settle()

    @property
    def idle(self) -> bool:
        """Whether nothing settles or is digested."""
        return not len(self._settler) and not self._digesting

    @property
    def busy(self) -> bool:
        """Whether anything that has settled, or does so in a moment, is not queued yet."""
        settled = self._settler.due()
        return bool(self._digesting) or (settled is not None and settled < time.monotonic() + _MOMENT)

    @property
    def due(self) -> float:
        """time.monotonic() of the next scan, or of when the next file may have settled."""
        settled = self._settler.due()
        return self._next_scan if settled is None else min(self._next_scan, settled)

    def scan_soon(self) -> None:
        """Look through the inbox at the next tick: it may have left."""
        self._next_scan = 0.0

    # What is known

    def note(self, recording: Recording, state: State) -> None:
        """The journal has the file of a recording, as it was claimed, in this state now."""
        self._known[recording.key] = (Stat.of(recording), state)

    def recovered(self) -> None:
        """What was running when all stopped is queued again."""
        for key, (found, state) in self._known.items():
            if state == State.RUNNING:
                self._known[key] = (found, State.QUEUED)

    def _take_hints(self) -> None:
        paths, left, scan = self._watcher.take()
        if scan:
            self._next_scan = 0.0
        self._miss(map(self.key, left))
        if any(is_profile(PurePath(relative).name) for relative in paths):
            self._look_at_profiles()
        now = time.monotonic()
        for relative in paths:
            found = self._inbox.look(relative)
            if found is not None:
                self.notice(relative, found, now)

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
                seen.add(self.key(relative))
                self.notice(relative, found, started)
        except EnvironmentFaultError as error:
            if self.trouble != error.code:
                self.trouble = error.code
                self._log.warning("inbox.missing", code=error.code, reason=error.message, cure=error.cure)
                self._journal.note(inbox_trouble=str(error))
            self._next_scan = started + min(every, POLL_SECONDS)
            return
        if self.trouble:
            self.trouble = ""
            self._log.info("inbox.back")
            self._journal.note(inbox_trouble="")
        gone = [
            key
            for key, (_, state) in self._known.items()
            if state in {State.QUEUED, State.WAITING} and key not in seen and not self._journal.away(key)
        ]
        if gone:
            self._leave(gone)
        self._miss(self._known.keys() - seen)
        self._look_at_profiles()

    def _look_at_profiles(self) -> None:
        """Queue again what failed because of its profile, if that says something else now."""
        looked = profiles.Profiles(self._settings)
        for recording in self._journal.failed(profiles.FAULTS):
            try:
                now = json.dumps(profiles.used(looked.of(recording.name).settings))
            except profiles.ProfileError as error:
                now = f"{error} {profiles.CORRECT_IT}"
            if now != (recording.reason if recording.code == profiles.WRONG else recording.settings):
                self._journal.retry(recording.id, time.time())
                self.note(recording, State.QUEUED)
                self._log.info("job.retried", **recording.told)

    def notice(self, relative: str, found: Stat, now: float) -> None:
        """Let a file settle unless the journal knows it as it is."""
        if relative in self._digesting:
            return
        known = self._known.get(self.key(relative))
        if known is not None and known[1] == State.PUBLISHING:
            return  # some of its files may be there: they become the journal's before newer ones replace them
        if known is None or known[0] != found or known[1] in {State.GONE, State.WAITING}:
            if relative not in self._settler and (known is None or known[0] != found):
                self._log.info("inbox.seen", file=readable(relative), bytes=found.size)
                crash.reach("seen")
            self._settler.observe(relative, found, now)

    def key(self, relative: str) -> bytes:
        """Return a file's key: its own spelling where it got that, also when the twin it was told from is gone."""
        spelled = os.fsencode(relative)
        return spelled if spelled in self._known else self._inbox.key(relative)

    def _settle(self) -> None:
        settled = self._settler.settled(self._inbox.look, time.monotonic())
        for relative, found in sorted(settled, key=lambda item: (item[1].mtime_ns, item[0])):  # oldest first
            self._digesting.add(relative)
            if self.too_large(found.size):
                self._post(Digested(relative, found, UNREAD, None))  # reading it would take hours
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
            self._post(Digested(relative, found, sha256, error))

    def too_large(self, size: int) -> bool:
        """Return whether the settings forbid so many bytes."""
        most = self._settings.max_gigabytes * 1e9
        return bool(most) and size > most

    def unsettled(self, recording: Recording) -> bool:
        """Return whether a recording's file is being looked at anew."""
        name = str(recording.name)
        return name in self._settler or name in self._digesting

    def let_go(self, recording: Recording, outcome: str) -> None:
        """A source has left the inbox, or has not: what lies under its name now is looked at."""
        if outcome == "moved" and recording.state in {State.DONE, State.FAILED}:  # not asked for again meanwhile
            self._known.pop(recording.key, None)
        self.look_again(recording)

    def look_again(self, recording: Recording) -> None:
        """Notice what lies in the inbox under the name of a recording: it was passed over for a while."""
        if (found := self._inbox.look(str(recording.name))) is not None:
            self.notice(str(recording.name), found, time.monotonic())

    def place(self, recording: Recording) -> Path:
        """Return where a recording's file is: in the inbox, or where we archived it."""
        return self._journal.place(recording.id) or self._settings.inbox / recording.name

    def look(self, recording: Recording) -> Stat | None:
        """Return the size and time of a recording's file."""
        return disposal.look(self._inbox, recording, self._journal.place(recording.id))

    def take_in(self, message: Digested) -> Taken | None:
        """A settled file was digested: queue it. None when it is not taken in, or not yet."""
        relative, found, now = message.relative, message.found, time.time()
        self._digesting.discard(relative)
        key = self.key(relative)
        if self._journal.leaves(key):  # a new file under the name of one that is just leaving
            self._settler.observe(relative, found, time.monotonic())
            return None
        if isinstance(message.error, FileNotFoundError):
            return None
        if message.error is not None:
            error = message.error
            code = error.code if isinstance(error, EnvironmentFaultError) else "unreadable"
            reason = str(error) if isinstance(error, DropscribeError) else _unreadable(error)
            if self._journal.wait(key, PurePath(relative), found.size, found.mtime_ns, code, reason, now):
                self._log.warning("inbox.unreadable", file=readable(relative), code=code, reason=reason)
            self._known[key] = (found, State.WAITING)
            return None
        if message.sha256 is None:  # it changed after all
            again = self._inbox.look(relative)
            if again is not None:
                self._settler.observe(relative, again, time.monotonic())
            return None
        new = self._journal.queue(key, PurePath(relative), found.size, found.mtime_ns, message.sha256, now)
        self._missing.discard(key)
        if new:
            crash.reach("queued")
            self._known[key] = (found, State.QUEUED)
            self._log.info("inbox.settled", file=readable(relative), bytes=found.size, sha256=message.sha256)
        else:
            state = self._known[key][1] if key in self._known else State.DONE
            self._known[key] = (found, state)
        return Taken(key, found, new)

    def lost(self, recording: Recording, found: Stat | None) -> None:
        """A claimed recording is no longer the file that had settled: let it settle again, or note that it left.

        `found` is what lies in the inbox. One that was archived is no matter of the inbox.
        """
        if found is not None:
            self.wait(recording, "changing", "The file is being changed.")
            self._log.info("job.superseded", **recording.told)
            self._settler.observe(str(recording.name), found, time.monotonic())
            return
        self._journal.release(recording.id)
        self.note(recording, State.QUEUED)
        if self._journal.leaves(recording.key):
            return
        if os.path.isdir(self._inbox.root):  # noqa: PTH112 (it never raises)
            self._leave([recording.key])
            self.forget_moved(recording)
        else:  # the inbox left with all of them
            self.scan_soon()

    def wait(self, recording: Recording, code: str, reason: str) -> None:
        """A claimed recording cannot be read at present: it is looked at again at every scan."""
        size, mtime_ns = recording.size, recording.mtime_ns
        self._journal.wait(recording.key, recording.name, size, mtime_ns, code, reason, time.time())
        self.note(recording, State.WAITING)

    def _leave(self, keys: list[bytes]) -> None:
        """Note files that left the inbox before they were transcribed."""
        done = self._journal.gone(keys, time.time())
        for key in keys:
            self._known[key] = (self._known[key][0], State.DONE if key in done else State.GONE)
            self._log.info("inbox.gone", file=readable(os.fsdecode(key)))

    def _miss(self, keys: Iterable[bytes]) -> None:
        """Note recordings whose files a person took away: what comes under their names is another recording."""
        missed = [
            key
            for key in keys
            if key not in self._missing
            and key in self._known
            and self._known[key][1] in {State.DONE, State.FAILED}
            and not self._journal.away(key)
        ]
        if missed:
            self._journal.miss(missed)
            self._missing.update(missed)

    def forget_moved(self, recording: Recording) -> None:
        """Once its work is over: what comes under the name of a recording that we moved away is a new one."""
        leaving = self._journal.leaving(recording.id)
        if leaving is not None and leaving.state == "moved":
            self._known.pop(recording.key, None)


def _unreadable(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "The recording may not be read. Give this user the right to read it."
    return f"The recording cannot be read: {error.strerror}."

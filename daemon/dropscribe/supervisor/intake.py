"""Taking recordings in: which files are in the inbox, whether they have settled, and their state
in the journal.

Guarantees: a file is queued when it has stood still and was digested, once for each content; one
that cannot be read waits and says why; one that leaves before it was transcribed is marked as
gone, unless we let it leave ourselves. Every method is called by the thread that owns the journal.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.errors import DropscribeError, EnvironmentFaultError
from dropscribe.supervisor import disposal, guests, profiles, result_options
from dropscribe.supervisor.absence import AbsentRecordings
from dropscribe.supervisor.digesting import Digested, Digester
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.inbox_volume import InboxVolume
from dropscribe.supervisor.journal import InboxFile, State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.pacing import POLLING_LIMITS, PollingPace
from dropscribe.supervisor.passed_over import PassedOverFiles
from dropscribe.supervisor.recording_names import SIDECARS, is_profile
from dropscribe.supervisor.settling import Settler
from dropscribe.supervisor.source_moves import Outcome
from dropscribe.supervisor.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.readiness import Hold
    from dropscribe.supervisor.source_moves import Left

_OVER = frozenset(set(State) - {State.WAITING, State.GONE})
"""The states of files that a scan need not look at again, as long as they have not changed."""
_MOMENT = 0.5
"""Seconds: files that are copied one after another settle so close behind each other."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Something happened that the loop learns by itself: an event of the inbox, a signal."""


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
        self._log = structlog.get_logger()
        self._watcher = Watcher(inbox, settings.observer, lambda: post(Wake()))
        self._settler = Settler(settings.settle_seconds)
        self._digester = Digester(settings.inbox, post, settings.incomplete_minutes * 60)
        self._passed_over = PassedOverFiles(journal)
        self._known: dict[bytes, tuple[Stat, State]] = {
            file.key: (Stat(file.size, file.mtime_ns), file.state) for file in journal.recordings.list_files()
        }
        """What the journal says of each file: ten thousand are compared at every scan."""
        self._missing = journal.recordings.list_missing()
        failed = [key for key in self._missing if self._state(key) == State.FAILED]
        self._absent = AbsentRecordings(journal, self.stat, failed)
        self._next_scan = 0.0
        self._volume = InboxVolume(inbox, journal)
        self._pace = PollingPace(settings.scan_seconds)
        self._profiles: dict[str, Stat] = {}
        self._are_profiles_changed = False
        self.outage: EnvironmentFaultError | None = None
        """What is wrong with the inbox; None when it can be read."""

    def start(self) -> None:
        """Start to digest what settles."""
        self._digester.start()

    def close(self) -> None:
        """End the threads."""
        self._watcher.close()
        self._digester.close()

    def tick(self) -> None:
        """Look at what events named, through the whole inbox when that is due, and at what has
        settled.
        """
        self._take_hints()
        if time.monotonic() >= self._next_scan:
            self._scan()
        self._digest_settled()

    @property
    def is_idle(self) -> bool:
        """Whether nothing settles or is digested, besides what may never be finished."""
        return self._settler.has_only_endless and not len(self._digester)

    @property
    def is_busy(self) -> bool:
        """Whether anything that has settled, or does so in a moment, is not queued yet."""
        settled = self._settler.next_due()
        return bool(len(self._digester)) or (settled is not None and settled < time.monotonic() + _MOMENT)

    @property
    def next_due(self) -> float:
        """time.monotonic() of the next scan, or of when the next file may have settled."""
        settled = self._settler.next_due()
        return self._next_scan if settled is None else min(self._next_scan, settled)

    @property
    def is_there(self) -> bool:
        """Whether the inbox is there at this moment, on the volume that it was on."""
        return self.outage is None and self._volume.is_there

    def scan_soon(self) -> None:
        """Look through the inbox at the next tick: it may have left."""
        self._next_scan = 0.0

    # Looking at the inbox

    def _take_hints(self) -> None:
        hints = self._watcher.take()
        if hints.scan or (hints.removed and not self._volume.is_there):
            self._next_scan = 0.0
        if self.outage or not hints or not self._volume.is_there:  # what is there instead of the inbox is not it
            return
        now = time.monotonic()
        removed = set(map(self.key, hints.removed))
        self._mark_missing(removed)
        self._watch_absent(removed, now)
        for relative in hints.removed:
            for suffix in SIDECARS:
                self._settler.hasten(relative.removesuffix(suffix), now)
        if any(is_profile(PurePath(relative).name, self._inbox.suffixes) for relative in hints.changed):
            self._are_profiles_changed = True
            self._retry_corrected_profiles()
        for relative in hints.changed:
            found = self._inbox.stat(relative)
            if found is not None:
                self._observe(relative, found, now)
                self._settler.hasten(relative, now)

    def _scan(self) -> None:
        """Look through the whole inbox."""
        every = self._settings.scan_seconds
        started = time.monotonic()
        self._next_scan = started + (every if self._watcher.native else self._pace.pause_s)
        seen_profiles: dict[str, Stat] = {}
        self._pace.begin()
        try:
            if self._watcher.ensure_running():
                self._log.info("inbox.watched", native=self._watcher.native, why=self._watcher.why or None)
            self._volume.check()
            seen, names = set(), set()
            self._passed_over.begin_scan()
            for relative, found in self._inbox.scan(self._passed_over.add, seen_profiles.__setitem__):
                key = self.key(relative)
                seen.add(key)
                names.add(relative)
                known = self._known.get(key)
                # Nearly all of them are as they were.
                if known is None or known[0] != found or known[1] not in _OVER or key in self._missing:
                    self._observe(relative, found, started)
            self._volume.check()  # what was not seen because the volume went away in between has not left
        except EnvironmentFaultError as error:
            if self.outage is None or self.outage.code != error.code:
                self.outage = error
                self._log.warning("inbox.missing", code=error.code, reason=error.message, cure=error.cure)
                self._journal.set_meta(inbox_trouble=str(error))
            self._next_scan = started + min(every, POLLING_LIMITS.least_s)
            return
        if self.outage:
            self.outage = None
            self._log.info("inbox.back")
            self._journal.set_meta(inbox_trouble="")
        gone = [
            key
            for key, (_, state) in self._known.items()
            if state in {State.QUEUED, State.WAITING} and key not in seen and not self._journal.sources.is_away(key)
        ]
        if gone:
            self._mark_gone(gone)
        self._mark_missing(self._known.keys() - seen)
        self._watch_absent(self._known.keys() - seen, started)
        self._passed_over.end_scan(names)
        if seen_profiles != self._profiles:
            self._profiles, self._are_profiles_changed = seen_profiles, True
        self._retry_corrected_profiles()
        self._pace.end()
        if not self._watcher.native:
            self._next_scan = started + self._pace.pause_s

    def take_profile_change(self) -> bool:
        """Return whether profiles were changed since the last call."""
        changed, self._are_profiles_changed = self._are_profiles_changed, False
        return changed

    def _retry_corrected_profiles(self) -> None:
        """Queue again what failed because of its profile, if that says something else now."""
        current = profiles.Profiles(self._settings)
        for recording in self._journal.recordings.list_failed(profiles.FAULTS):
            try:
                now = json.dumps(result_options.read_output_options(current.resolve(recording.name).settings))
            except profiles.ProfileError as error:
                now = f"{error} {profiles.CORRECT_IT}"
            if now != (recording.reason if recording.code == profiles.WRONG else recording.settings):
                self._journal.recordings.retry(recording.id, time.time())
                self.set_state(recording, State.QUEUED)
                self._log.info("job.retried", **recording.log_facts)

    def _observe(self, relative: str, found: Stat, now: float) -> None:
        """Let a file settle unless the journal knows it as it is."""
        if relative in self._digester or self._passed_over.is_foreign(relative, found):
            return
        key = self.key(relative)
        known = self._known.get(key)
        if known is not None and known[1] == State.PUBLISHING:
            return  # some of its files may be there: they become the journal's before newer ones replace them
        back = key in self._missing or (known is not None and known[1] in {State.GONE, State.WAITING})
        if known is None or known[0] != found or back:
            if relative not in self._settler and (known is None or known[0] != found):
                self._log.info("inbox.seen", file=decode_name(relative), bytes=found.size)
                crash.reach("seen")
            self._settler.observe(relative, found, now)

    def observe_again(self, recording: Recording) -> None:
        """Look at the file that has the name of a recording in the inbox: it was passed over for a
        while.
        """
        if (found := self._inbox.stat(str(recording.name))) is not None:
            self._observe(str(recording.name), found, time.monotonic())

    def _digest_settled(self) -> None:
        if self.outage:
            self._settler.clear()  # the scan that finds the inbox again sees all of them
            return
        now = time.monotonic()
        settled = self._settler.take_settled(self._inbox.stat, now)
        for relative, found in sorted(settled, key=lambda item: (item[1].mtime_ns, item[0])):  # oldest first
            if self.is_too_large(found.size):
                self._digester.skip(relative, found)
            else:
                self._digester.add(relative, found, now - self._settler.held_since(relative, found, now))

    # What is known of a file

    def key(self, relative: str) -> bytes:
        """Return a file's key.

        Where one name is there composed and decomposed, as two files, the decomposed one has its
        own spelling as its key (`Inbox.key`). It keeps that key when the other file is gone.
        """
        spelled = os.fsencode(relative)
        return spelled if spelled in self._known else self._inbox.key(relative)

    def _state(self, key: bytes) -> State | None:
        known = self._known.get(key)
        return None if known is None else known[1]

    def set_state(self, recording: Recording, state: State) -> None:
        """Save that the journal has the file of a recording, as it was claimed, in this state now."""
        if recording.is_guest:
            return
        self._known[recording.key] = (Stat.of(recording), state)

    def requeue_running(self) -> None:
        """Save that what was running when all stopped is queued again."""
        for key, (found, state) in self._known.items():
            if state == State.RUNNING:
                self._known[key] = (found, State.QUEUED)

    def is_too_large(self, size: int) -> bool:
        """Return whether the settings forbid so many bytes."""
        most = self._settings.max_gigabytes * 1e9
        return bool(most) and size > most

    def is_settling(self, recording: Recording) -> bool:
        """Return whether a recording's file is settling or being digested."""
        name = str(recording.name)
        return name in self._settler or name in self._digester

    def locate(self, recording: Recording) -> Path:
        """Return where a recording's file is: in the inbox, or where we archived it."""
        return self._journal.sources.find_archived(recording.id) or self._settings.inbox / recording.name

    def stat(self, recording: Recording) -> Stat | None:
        """Return the size and time of a recording's file, or None when it is not there."""
        if recording.is_guest:
            return guests.stat(recording)
        return disposal.stat_source(self._inbox, recording, self._journal.sources.find_archived(recording.id))

    # Files that come

    def accept(self, message: Digested) -> Taken | None:
        """Queue a file that was digested. None when it is not taken in, or not yet."""
        relative, found, now = message.relative, message.found, time.time()
        self._digester.forget(relative)
        key = self.key(relative)
        file = InboxFile(key, PurePath(relative), found.size, found.mtime_ns)
        if self._journal.sources.is_leaving(key):  # a new file under the name of one that is just leaving
            self._settler.observe(relative, found, time.monotonic())
            return None
        if message.hold is not None:
            self._hold(file, found, message.hold)
            return None
        self._settler.release(relative)
        if message.foreign:
            self._passed_over.add_foreign(relative, found)
            return None
        if isinstance(message.error, FileNotFoundError):
            return None
        if message.error is not None:
            error = message.error
            code = error.code if isinstance(error, EnvironmentFaultError) else "unreadable"
            reason = str(error) if isinstance(error, DropscribeError) else _explain_unreadable(error)
            if self._journal.recordings.mark_waiting(file, code, reason, now):
                self._log.warning("inbox.unreadable", file=decode_name(relative), code=code, reason=reason)
            self._known[key] = (found, State.WAITING)
            return None
        if message.sha256 is None:  # it changed after all
            again = self._inbox.stat(relative)
            if again is not None:
                self._settler.observe(relative, again, time.monotonic())
            return None
        new = self._journal.enqueue(file, message.sha256, now)
        self._missing.discard(key)
        if new:
            crash.reach("queued")
            self._known[key] = (found, State.QUEUED)
            self._log.info("inbox.settled", file=decode_name(relative), bytes=found.size, sha256=message.sha256)
        else:
            state = self._known[key][1] if key in self._known else State.DONE
            self._known[key] = (found, state)
        return Taken(key, found, new)

    def _hold(self, file: InboxFile, found: Stat, hold: Hold) -> None:
        """Look again later at a file that stands still and is not finished."""
        relative = str(file.path)
        self._settler.hold(relative, found, time.monotonic(), endless=hold.endless)
        known = self._known.get(file.key)
        if known is not None and known[1] in {State.RUNNING, State.PUBLISHING, State.SKIPPED}:
            return  # what it was before is worked on, or nothing is to be
        if self._journal.recordings.mark_waiting(file, hold.code, hold.reason, time.time()):
            self._log.info("inbox.held", file=decode_name(relative), code=hold.code, reason=hold.reason)
        self._known[file.key] = (found, State.WAITING)

    # Files that go

    def give_back(self, recording: Recording, found: Stat | None) -> None:
        """Put back a claimed recording that is no longer the file that had settled.

        It settles again or, where it left the inbox, is marked as gone. One that was archived does
        not concern the inbox.

        Args:
            recording: as it was claimed.
            found: what is in the inbox under its name.
        """
        if found is not None:
            self.mark_waiting(recording, "changing", "The file is being changed.")
            self._log.info("job.superseded", **recording.log_facts)
            self._settler.observe(str(recording.name), found, time.monotonic())
            return
        self._journal.recordings.release(recording.id)
        self.set_state(recording, State.QUEUED)
        if recording.is_guest:  # who sent it has left: `Guests.tick` sees that
            return
        if self._journal.sources.is_leaving(recording.key):
            return
        if self.is_there:
            self._mark_gone([recording.key])
            self.forget_moved(recording)
        else:  # the inbox left with all of them
            self.scan_soon()

    def mark_waiting(self, recording: Recording, code: str, reason: str) -> None:
        """Save that a claimed recording cannot be read at present: it is looked at again at every
        scan.
        """
        self._journal.recordings.mark_waiting(recording.file, code, reason, time.time())
        self.set_state(recording, State.WAITING)

    def end_disposal(self, recording: Recording, left: Left) -> None:
        """Look at what has the name of a source now that it has left the inbox, or has not."""
        if left.outcome == Outcome.MOVED and recording.state in {State.DONE, State.FAILED}:  # not asked for meanwhile
            self._known.pop(recording.key, None)
        self.observe_again(recording)

    def forget_moved(self, recording: Recording) -> None:
        """Once its work is over: what comes under the name of a recording that we moved away is a
        new one.
        """
        if self._journal.sources.has_moved(recording.id):
            self._known.pop(recording.key, None)

    def _mark_gone(self, keys: list[bytes]) -> None:
        """Save that files left the inbox before they were transcribed."""
        done = self._journal.recordings.mark_gone(keys, time.time())
        for key in keys:
            self._known[key] = (self._known[key][0], State.DONE if key in done else State.GONE)
            self._log.info("inbox.gone", file=decode_name(os.fsdecode(key)))
        self._absent.watch_failed(keys)

    def _mark_missing(self, keys: Iterable[bytes]) -> None:
        """Save that a person took files away: what comes under their names is another recording."""
        missed = [
            key
            for key in keys
            if key not in self._missing
            and key in self._known
            and self._known[key][1] in {State.DONE, State.FAILED}
            and not self._journal.sources.is_away(key)
        ]
        if missed:
            self._journal.recordings.mark_missing(missed)
            self._missing.update(missed)
            self._absent.watch_failed(key for key in missed if self._known[key][1] == State.FAILED)

    def _watch_absent(self, keys: Iterable[bytes], now: float) -> None:
        """Save which of these files, seen to leave or not seen, are being transcribed."""
        self._absent.watch_running((key for key in keys if self._state(key) == State.RUNNING), now)

    def take_absent(self) -> list[bytes]:
        """Return, and forget, the keys of recordings whose files left while they were transcribed."""
        return self._absent.take_running(time.monotonic()) if self.is_there else []

    def mark_gone(self, key: bytes) -> None:
        """Save that a queued recording left the inbox."""
        self._mark_gone([key])

    def skip(self, relative: str) -> bool:
        """Take a file out of the queue, or out of what settles; False when there is nothing to take
        out.
        """
        key, now = self.key(relative), time.time()
        found, known = self._inbox.stat(relative), self._known.get(key)
        recording = self._journal.recordings.find(key)
        is_new = recording is None or recording.state == State.GONE or (known is not None and known[0] != found)
        if found is not None and is_new and not self._journal.sources.is_away(key):
            file = InboxFile(key, PurePath(relative), found.size, found.mtime_ns)
            self._journal.recordings.mark_waiting(file, "skipped", "", now)
            self._known[key] = (found, State.WAITING)
        state = self._journal.recordings.skip(key, now)
        if state is None:
            return False
        self._settler.drop(relative)
        self._known[key] = (self._known[key][0], state)
        self._log.info("job.skipped", file=decode_name(relative))
        return True

    def take_back(self, recording: Recording) -> None:
        """Take a skipped recording up again."""
        if recording.sha256 is not None:
            self._journal.recordings.retry(recording.id, time.time())
            self.set_state(recording, State.QUEUED)
            return
        self.mark_waiting(recording, "changing", "It is looked at again.")
        self.observe_again(recording)

    def take_absent_failures(self) -> list[Recording]:
        """Return, and forget, recordings that left the inbox: what is left of a failure goes, too."""
        return self._absent.take_failed()


def _explain_unreadable(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "The recording may not be read. Give this user the right to read it."
    return f"The recording cannot be read: {error.strerror}."

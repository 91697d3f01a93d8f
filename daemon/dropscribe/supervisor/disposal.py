"""The disposal of sources: a recording whose outputs are there stays, or is archived, trashed or
deleted.

Guarantees: one source at a time, after its hooks, and transcribing never waits for it; the journal
has the target before anything moves, so that the next start finishes what a killed daemon began;
what cannot be done now is tried again after pauses that double, and `dropscribe why` says why.
What guards the file itself is in `source_moves`.
"""

from __future__ import annotations

import errno
import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.supervisor import trash
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import DisposalWay, LeavingState
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.source_moves import Order, Outcome, carry_out, list_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Journal, Leaving, Recording
    from dropscribe.supervisor.source_moves import Left


class Disposal:
    """The sources of one daemon that are to leave. Every method is called by the thread that owns
    the journal.
    """

    def __init__(self, settings: Settings, post: Callable[[Left], None], pauses: tuple[float, float]) -> None:
        """`post` takes what became of a source, from another thread; `pauses` are between tries,
        first and last.
        """
        self._settings = settings
        self._post = post
        self._pauses = pauses
        self._log = structlog.get_logger()
        self._is_moving = False
        self._next = 0.0
        """time.monotonic() of the next look at the journal."""
        self._waits: dict[int, tuple[float, float]] = {}
        """By recording: time.monotonic() before which it is not tried again, and the pause that
        led there.
        """

    def look_soon(self) -> None:
        """Look into the journal at the next tick: there may be more to do."""
        self._next = 0.0

    @property
    def is_running(self) -> bool:
        """Whether a source is being moved."""
        return self._is_moving

    @property
    def is_due(self) -> bool:
        """Whether one could be moved now."""
        return not self._is_moving and self._next <= time.monotonic()

    def tick(self, journal: Journal, is_settling: Callable[[Recording], bool]) -> None:
        """Let the next source leave that may; `is_settling` says whether its file is being written
        or looked at.
        """
        if not self.is_due:
            return
        now = time.monotonic()
        self._next = math.inf
        for leaving in journal.sources.list_due(limit=len(self._waits) + 1):
            recording = journal.recordings.get(leaving.recording)
            until, pause = self._waits.get(recording.id, (0.0, 0.0))
            if until <= now and leaving.state == LeavingState.DUE and is_settling(recording):
                until = now + 1.0
                self._waits[recording.id] = (until, pause)
            if until <= now:
                self._start_move(journal, leaving, recording)
                return
            self._next = min(self._next, until)

    def _start_move(self, journal: Journal, leaving: Leaving, recording: Recording) -> None:
        source = self._settings.inbox / recording.name
        target = leaving.place
        try:
            if leaving.way == DisposalWay.ARCHIVE and not self._is_archive_available(journal):
                why = f"The archive {self._settings.archive} is not there. Make it again or bring its volume back."
                self._postpone(journal, leaving, target, why)
                return
            if target is None and leaving.state == LeavingState.DUE:
                target = self._choose_target(leaving.way, source, recording)
        except OSError as error:
            self._postpone(journal, leaving, target, f"No place for it can be found: {error.strerror or error}.")
            return
        if leaving.state == LeavingState.DUE:
            journal.sources.update(recording.id, LeavingState.BEGUN, target)
        crash.reach("leaving")
        outputs = journal.outputs.list_digests(recording.id).items()
        order = Order(
            recording=recording.id,
            way=leaving.way,
            source=source,
            found=Stat.of(recording),
            sha256=recording.sha256 or "",
            target=target,
            resumed=leaving.state == LeavingState.BEGUN or leaving.place is not None,
            outputs=tuple((self._settings.outbox / path, sha256) for path, sha256 in outputs),
        )
        self._is_moving = True
        threading.Thread(target=lambda: self._post(carry_out(order)), daemon=True, name="disposal").start()

    def _is_archive_available(self, journal: Journal) -> bool:
        """Return whether the archive can be used; it is made once, and then waited for, as the
        outbox is.

        Where a volume was mounted, its bare mount point is no archive.
        """
        archive, name = self._settings.archive, decode_name(self._settings.archive)
        volume, used = journal.get_meta("archive_volume") == name, journal.get_meta("archive") == name
        if archive.is_mount():
            if not volume:
                journal.set_meta(archive=name, archive_volume=name)
            return True
        if volume or (used and not archive.is_dir()):
            return False
        if not used:
            archive.mkdir(parents=True, exist_ok=True)
            journal.set_meta(archive=name)
        return True

    def _choose_target(self, way: DisposalWay, source: Path, recording: Recording) -> Path | None:
        """Return a place that is free now."""
        if way == DisposalWay.ARCHIVE:
            wanted = self._settings.archive / recording.name
            return _first(place for place in list_names(wanted) if not os.path.lexists(place))
        if way == DisposalWay.TRASH and sys.platform != "darwin":
            wanted = trash.find_trash(source, os.environ) / "files" / recording.name.name
            return _first(
                place
                for place in list_names(wanted)
                if not os.path.lexists(place) and not os.path.lexists(trash.note_path(place))
            )
        return None

    def save_outcome(self, journal: Journal, left: Left) -> Recording:
        """Save what became of a source; returns whose it is."""
        order = left.order
        self._is_moving, self._next = False, 0.0
        recording = journal.recordings.get(order.recording)
        leaving = journal.sources.find(order.recording)
        if leaving is None or leaving.state != LeavingState.BEGUN:
            return recording
        facts = recording.log_facts | {"after": str(order.way)}
        match left.outcome:
            case Outcome.MOVED:
                self._waits.pop(order.recording, None)
                journal.sources.update(order.recording, LeavingState.MOVED, order.target)
                place = None if order.target is None else decode_name(order.target)
                self._log.info("source.moved", **facts, place=place)
            case Outcome.KEPT:
                self._waits.pop(order.recording, None)
                journal.sources.update(order.recording, LeavingState.KEPT, None, left.reason)
                self._log.warning("source.kept", **facts, reason=left.reason)
            case Outcome.TAKEN:
                journal.sources.update(order.recording, LeavingState.DUE, None)
            case Outcome.LATER:
                self._postpone(journal, leaving, order.target, left.reason)
        return recording

    def _postpone(self, journal: Journal, leaving: Leaving, target: Path | None, reason: str) -> None:
        old = self._waits.get(leaving.recording, (0.0, 0.0))[1]
        pause = min(max(2 * old, self._pauses[0]), self._pauses[1])
        self._waits[leaving.recording] = (time.monotonic() + pause, pause)
        self._next = 0.0
        journal.sources.update(leaving.recording, LeavingState.DUE, target, reason)
        if not old:
            self._log.warning("source.waits", job_id=leaving.recording, after=str(leaving.way), reason=reason)


def _first(places: Iterator[Path]) -> Path:
    """Return the first of these. Raises: FileExistsError when there is none."""
    for place in places:
        return place
    raise FileExistsError(errno.EEXIST, "Every name it could have is taken")


def stat_source(inbox: Inbox, recording: Recording, place: Path | None) -> Stat | None:
    """Return the size and time of a recording's file, or None when it is not there.

    Args:
        inbox: where it is, unless it was archived.
        recording: its row.
        place: where it was archived (`Sources.find_archived`). Its time there is given as the
            journal has it where the two differ by no more than another file system's rounding.
    """
    if place is None:
        return inbox.stat(str(recording.name))
    try:
        found = place.lstat()
    except OSError:
        return None
    near = abs(found.st_mtime_ns - recording.mtime_ns) <= 2 * 10**9
    return Stat(found.st_size, recording.mtime_ns if near else found.st_mtime_ns)

"""What becomes of a recording's file when its outputs are there: it stays, or is archived, trashed or deleted.

Guarantees: nothing leaves the inbox before every output was read from the disk and is as it was published, and the
file is the very one that was transcribed (inode, size, time, SHA-256); nothing is ever overwritten; killed at any
moment, there is a whole copy of it, and the next start finishes what was begun, so that there is one (the journal has
the target before anything moves). Whatever is in doubt stays in the inbox, and `dropscribe why` says why.

A file is moved by a rename over an empty file that was made, exclusively, under its new name: the one way to take a
name without overwriting that every file system knows. To another disk it is copied, synced, read again, and then
removed. What is removed is first renamed to a hidden name and looked at again, so that a file that took its place at
the last moment is not lost: it is put back.

The trash is that of the system: on Linux "The FreeDesktop.org Trash specification" 1.0, on a Mac Send2Trash.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import shutil
import stat
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import structlog

from dropscribe import crash, files
from dropscribe.errors import DropscribeError
from dropscribe.supervisor import outbox
from dropscribe.supervisor.inbox import Stat, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Journal, Leaving, Recording

HIDDEN = ".dropscribe-leaving-"
"""Begins the name under which a file stands for the moment before it is removed; the inbox passes it over."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that is to be known to let one source leave."""

    recording: int
    way: str
    source: Path
    found: Stat
    """What was transcribed."""
    sha256: str
    target: Path | None
    """Where it goes; None where it is removed or where the system chooses."""
    resumed: bool
    """Whether this may have been begun before."""
    outputs: tuple[tuple[Path, str], ...]
    """Every output and its SHA-256."""

    @property
    def hidden(self) -> Path:
        """Where it stands for the moment before it is removed."""
        return self.source.with_name(f"{HIDDEN}{self.recording}{self.source.suffix}")


@dataclass(frozen=True, slots=True)
class Left:
    """What came of an order; posted from its thread."""

    order: Order
    outcome: str
    """`moved`; `kept`: it stays for good; `later`: something around us is wrong; `taken`: the target's name is."""
    reason: str = ""


class _KeptError(Exception):
    """It must stay."""


class _TakenError(Exception):
    """The target's name is somebody else's."""


class Afterwards:
    """The sources of one daemon that are to leave. Every method is called by the thread that owns the journal."""

    def __init__(self, settings: Settings, post: Callable[[Left], None], pauses: tuple[float, float]) -> None:
        """`post` takes what became of a source, from another thread; `pauses` are between tries, first and last."""
        self._settings = settings
        self._post = post
        self._pauses = pauses
        self._log = structlog.get_logger()
        self._at_work = False
        self._next = 0.0
        """time.monotonic() of the next look at the journal."""
        self._waits: dict[int, tuple[float, float]] = {}
        """By recording: time.monotonic() before which it is not tried again, and the pause that led there."""

    def added(self) -> None:
        """There may be more to do."""
        self._next = 0.0

    @property
    def running(self) -> bool:
        """Whether a source is on its way."""
        return self._at_work

    @property
    def due(self) -> bool:
        """Whether one could begin."""
        return not self._at_work and self._next <= time.monotonic()

    def tick(self, journal: Journal, unsettled: Callable[[Recording], bool]) -> None:
        """Let the next source leave that may; `unsettled` tells whether one is being written or looked at."""
        if not self.due:
            return
        now = time.monotonic()
        self._next = math.inf
        for leaving in journal.due(limit=len(self._waits) + 1):
            recording = journal.get(leaving.recording)
            until, pause = self._waits.get(recording.id, (0.0, 0.0))
            if until <= now and leaving.state == "due" and unsettled(recording):
                until = now + 1.0
                self._waits[recording.id] = (until, pause)
            if until <= now:
                self._begin(journal, leaving, recording)
                return
            self._next = min(self._next, until)

    def _begin(self, journal: Journal, leaving: Leaving, recording: Recording) -> None:
        source = self._settings.inbox / recording.name
        target = leaving.place
        try:
            if leaving.way == "archive" and not self._archive_is_there(journal):
                why = f"The archive {self._settings.archive} is not there. Make it again or bring its volume back."
                self._postpone(journal, leaving, target, why)
                return
            if target is None and leaving.state == "due":
                target = self._target(leaving.way, source, recording)
        except OSError as error:
            self._postpone(journal, leaving, target, f"No place for it can be found: {error.strerror or error}.")
            return
        if leaving.state == "due":
            journal.leave(recording.id, "begun", target)
        crash.reach("leaving")
        order = Order(
            recording=recording.id,
            way=leaving.way,
            source=source,
            found=Stat.of(recording),
            sha256=recording.sha256 or "",
            target=target,
            resumed=leaving.state == "begun" or leaving.place is not None,
            outputs=tuple((self._settings.outbox / p, sha) for p, sha in journal.outputs(recording.id).items()),
        )
        self._at_work = True
        threading.Thread(target=lambda: self._post(carry_out(order)), daemon=True, name="afterwards").start()

    def _archive_is_there(self, journal: Journal) -> bool:
        """Return whether the archive can be used; it is made once, and then waited for, as the outbox is.

        Where a volume was mounted, its bare mount point is no archive.
        """
        archive, name = self._settings.archive, outbox.readable(self._settings.archive)
        volume, used = journal.meta("archive_volume") == name, journal.meta("archive") == name
        if archive.is_mount():
            if not volume:
                journal.note(archive=name, archive_volume=name)
            return True
        if volume or (used and not archive.is_dir()):
            return False
        if not used:
            archive.mkdir(parents=True, exist_ok=True)
            journal.note(archive=name)
        return True

    def _target(self, way: str, source: Path, recording: Recording) -> Path | None:
        """Return a place that is free now."""
        if way == "archive":
            wanted = self._settings.archive / recording.name
            return _free(place for place in names(wanted) if not os.path.lexists(place))
        if way == "trash" and sys.platform != "darwin":
            wanted = trash(source, os.environ) / "files" / recording.name.name
            return _free(p for p in names(wanted) if not os.path.lexists(p) and not os.path.lexists(info(p)))
        return None

    def hear(self, journal: Journal, left: Left) -> Recording:
        """Note what became of a source; returns whose it is."""
        order = left.order
        self._at_work, self._next = False, 0.0
        recording = journal.get(order.recording)
        leaving = journal.leaving(order.recording)
        if leaving is None or leaving.state != "begun":
            return recording
        told = recording.told | {"after": order.way}
        match left.outcome:
            case "moved":
                self._waits.pop(order.recording, None)
                journal.leave(order.recording, "moved", order.target)
                place = None if order.target is None else outbox.readable(order.target)
                self._log.info("source.moved", **told, place=place)
            case "kept":
                self._waits.pop(order.recording, None)
                journal.leave(order.recording, "kept", None, left.reason)
                self._log.warning("source.kept", **told, reason=left.reason)
            case "taken":
                journal.leave(order.recording, "due", None)
            case _:
                self._postpone(journal, leaving, order.target, left.reason)
        return recording

    def _postpone(self, journal: Journal, leaving: Leaving, target: Path | None, reason: str) -> None:
        old = self._waits.get(leaving.recording, (0.0, 0.0))[1]
        pause = min(max(2 * old, self._pauses[0]), self._pauses[1])
        self._waits[leaving.recording] = (time.monotonic() + pause, pause)
        self._next = 0.0
        journal.leave(leaving.recording, "due", target, reason)
        if not old:
            self._log.warning("source.waits", job_id=leaving.recording, after=leaving.way, reason=reason)


def look(inbox: Inbox, recording: Recording, place: Path | None) -> Stat | None:
    """Return the size and time of a recording's file, or None when it is not there.

    Args:
        inbox: where it is, unless it was archived.
        recording: its row.
        place: where it was archived (`Journal.place`). There its time is told as the journal has it where they differ
            by no more than another file system's rounding.
    """
    if place is None:
        return inbox.look(str(recording.name))
    try:
        found = place.lstat()
    except OSError:
        return None
    near = abs(found.st_mtime_ns - recording.mtime_ns) <= 2 * 10**9
    return Stat(found.st_size, recording.mtime_ns if near else found.st_mtime_ns)


def carry_out(order: Order) -> Left:
    """Let a source leave, or finish what an earlier try began. Works on files alone, in any thread."""
    try:
        _restore(order)
        source = _verified(order)
        if source is not None:
            with source:
                _let_go(order, source)
    except _KeptError as kept:
        return Left(order, "kept", str(kept))
    except _TakenError:
        return Left(order, "taken")
    except DropscribeError as wrong:
        return Left(order, "later", str(wrong))
    except OSError as error:
        where = f" ({outbox.readable(error.filename)})" if isinstance(error.filename, str | Path) else ""
        return Left(order, "later", f"{error.strerror or error}{where}.")
    return Left(order, "moved")


def _restore(order: Order) -> None:
    """Undo the hidden name that a killed daemon left a file under, or finish what it was for."""
    if not os.path.lexists(order.hidden):
        return
    try:
        _put_back(order.hidden, order.source)
    except _KeptError:  # its name is taken by a new file
        gone = order.way == "delete" or (order.target is not None and _is_it(order, order.target))
        if not (gone and _is_it(order, order.hidden)):
            raise
        order.hidden.unlink()


def _verified(order: Order) -> BinaryIO | None:
    """Return the source, opened, when it is the very file and all its outputs are there; None when it has left.

    Raises: _KeptError when it is not to leave.
    """
    try:
        descriptor = os.open(order.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            raise
        _gone(order)
        return None
    source = os.fdopen(descriptor, "rb")
    try:
        found = os.fstat(descriptor)
        same = stat.S_ISREG(found.st_mode) and Stat(found.st_size, found.st_mtime_ns) == order.found
        if not same or digest(order.source, order.found) != order.sha256 or not _same(order.source, found):
            _gone(order)
            source.close()
            return None
        _check_outputs(order)
    except BaseException:
        source.close()
        raise
    return source


def _gone(order: Order) -> None:
    """Return when the source is not there because it has left already. Raises: _KeptError."""
    if order.resumed and (order.target is None or _is_it(order, order.target)):
        return
    if order.resumed:
        _discard(order)
    raise _KeptError("It was changed, replaced or removed after it was transcribed.")


def _check_outputs(order: Order) -> None:
    for path, sha256 in order.outputs:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            found = ""
        if found != sha256:
            if order.resumed:
                _discard(order)
            wrong = "is not as it was written" if found else "is not there"
            raise _KeptError(f"Its output {outbox.readable(path)} {wrong}.")


def _let_go(order: Order, source: BinaryIO) -> None:
    found = os.fstat(source.fileno())
    if order.way == "delete":
        _remove(order, found)
        return
    if order.target is None:
        from send2trash import send2trash

        send2trash(order.source)
        return
    copied = _reserve(order)
    crash.reach("reserved")
    try:
        if not copied:
            try:
                order.source.replace(order.target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(order, source)
                copied = True
    except BaseException:
        _discard(order)
        raise
    if copied:
        crash.reach("copied")
        _remove(order, found)
        return
    crash.reach("moved")
    if not _same(order.target, found):
        _put_back(order.target, order.source)
        _discard(order)
        raise _KeptError("Another file took its place at the last moment.")
    files.sync_folder(order.target.parent)
    files.sync_folder(order.source.parent)


def _reserve(order: Order) -> bool:
    """Take the target's name with an empty file. Returns whether the whole file is there, from an earlier try.

    Raises: _TakenError when the name is somebody else's.
    """
    target = order.target
    assert target is not None  # noqa: S101
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if order.way == "trash" else 0o777)
    if order.way == "trash":
        _note_in_trash(order)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if order.resumed and _empty(target):
            return False
        if order.resumed and _is_it(order, target):
            return True
        if order.way == "trash":
            info(target).unlink()
        raise _TakenError from None
    return False


def _note_in_trash(order: Order) -> None:
    """Write the file that tells the system where a file in the trash came from. It comes first: the name is ours."""
    target = order.target
    assert target is not None  # noqa: S101
    note = info(target)
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = os.path.realpath(order.source.parent) + os.sep + order.source.name
    if (bin_ := target.parent.parent).name != "Trash":  # one on another disk: `.Trash-1000`, `.Trash/1000`
        path = os.path.relpath(path, _top(bin_))
    when = time.strftime("%Y-%m-%dT%H:%M:%S")
    mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if order.resumed else os.O_EXCL)
    try:
        descriptor = os.open(note, mode, 0o600)
    except FileExistsError:
        raise _TakenError from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"[Trash Info]\nPath={quote(os.fsencode(path))}\nDeletionDate={when}\n".encode())
        file.flush()
        files.sync_descriptor(file.fileno())


def _copy(order: Order, source: BinaryIO) -> None:
    """Copy the source to another disk; its content is read again there before it gets its name."""
    target = order.target
    assert target is not None  # noqa: S101
    temporary = target.with_name(f"{outbox.TEMPORARY}{order.recording}.tmp")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            with contextlib.suppress(OSError):  # not every file system takes every time and mode
                shutil.copystat(order.source, temporary)
            files.sync_descriptor(file.fileno())
        if not _is_it(order, temporary):
            raise OSError(errno.EIO, "The copy is not what was copied", str(target))  # noqa: TRY301
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    files.sync_folder(target.parent)


def _remove(order: Order, found: os.stat_result) -> None:
    """Remove the source if it still is the file that was looked at."""
    order.source.rename(order.hidden)
    crash.reach("withdrawn")
    if not _same(order.hidden, found):
        _put_back(order.hidden, order.source)
        raise _KeptError("Another file took its place at the last moment.")
    order.hidden.unlink()
    crash.reach("removed")
    files.sync_folder(order.source.parent)


def _put_back(path: Path, source: Path) -> None:
    """Give a file its old name again, over nothing. Raises: _KeptError when that is taken."""
    try:
        os.close(os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise _KeptError(f"A new file has its name; the old one is {outbox.readable(path)}.") from None
    path.replace(source)


def _discard(order: Order) -> None:
    """Give up the target's name, which is ours, if nothing stands there but our empty file."""
    if order.target is None:
        return
    with contextlib.suppress(OSError):
        if _empty(order.target):
            order.target.unlink()
        if order.way == "trash" and not os.path.lexists(order.target):
            info(order.target).unlink(missing_ok=True)


def _is_it(order: Order, path: Path) -> bool:
    """Return whether a file has the content that was transcribed."""
    try:
        found = path.lstat()
        return (
            found.st_size == order.found.size and digest(path, Stat(found.st_size, found.st_mtime_ns)) == order.sha256
        )
    except FileNotFoundError:
        return False


def _same(path: Path, found: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(now, found) and (now.st_size, now.st_mtime_ns) == (found.st_size, found.st_mtime_ns)


def _empty(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


def names(wanted: Path) -> Iterator[Path]:
    """Yield the names a file may get, best first: `talk.m4a`, `talk (2).m4a`, … Long ones are cut."""
    room = outbox.NAME_BYTES - len(" (999).trashinfo") - len(os.fsencode(wanted.suffix))
    stem = os.fsencode(wanted.stem)
    fitting = wanted.stem if len(stem) <= room else stem[:room].decode("utf-8", "ignore")
    yield wanted.with_name(f"{fitting}{wanted.suffix}")
    for number in range(2, 1000):
        yield wanted.with_name(f"{fitting} ({number}){wanted.suffix}")


def _free(places: Iterator[Path]) -> Path:
    """Return the first of these. Raises: FileExistsError when there is none."""
    for place in places:
        return place
    raise FileExistsError(errno.EEXIST, "Every name it could have is taken")


def trash(source: Path, environ: Mapping[str, str]) -> Path:
    """Return the trash that a file belongs into: the home's, or that of its own disk; see the specification.

    Where its disk has none and none can be made, it is the home's.
    """
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".local/share")  # noqa: PTH118
    home = Path(data, "Trash")
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    device = source.parent.stat().st_dev
    if there.stat().st_dev == device:
        return home
    top = Path(os.path.realpath(source.parent))
    while not top.is_mount():
        top = top.parent
    user = str(os.getuid())
    with contextlib.suppress(OSError):
        shared = (top / ".Trash").lstat()
        if stat.S_ISDIR(shared.st_mode) and shared.st_mode & stat.S_ISVTX:
            (top / ".Trash" / user).mkdir(mode=0o700, exist_ok=True)
            return top / ".Trash" / user
    with contextlib.suppress(OSError):
        own = top / f".Trash-{user}"
        own.mkdir(mode=0o700, exist_ok=True)
        if stat.S_ISDIR(own.lstat().st_mode):
            return own
    return home


def _top(bin_: Path) -> Path:
    """Return the top folder of the disk that a trash is of."""
    return bin_.parent if bin_.name.startswith(".Trash-") else bin_.parent.parent


def info(place: Path) -> Path:
    """Return where the trash keeps what it knows of a file."""
    return place.parent.parent / "info" / f"{place.name}.trashinfo"

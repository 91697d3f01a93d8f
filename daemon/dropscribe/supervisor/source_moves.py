"""Moving a source out of the inbox: into the archive, into the trash, or away for good. Works on
files alone.

Guarantees: nothing leaves the inbox before every output was read from the disk and is as it was
published, and the file is the very one that was transcribed (inode, size, time, SHA-256); nothing
is ever overwritten; killed at any moment, there is a whole copy of it. Whatever is in doubt stays
in the inbox.

A file is moved by a rename over an empty file that was made, exclusively, under its new name: the
one way to take a name without overwriting that every file system knows. To another disk it is
copied, synced, read again, and then removed. What is removed is first renamed to a hidden name and
looked at again, so that a file that took its place at the last moment is not lost: it is put back.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dropscribe import crash, files
from dropscribe.errors import DropscribeError
from dropscribe.supervisor import trash
from dropscribe.supervisor.inbox import Stat, digest_file
from dropscribe.supervisor.journal import DisposalWay
from dropscribe.supervisor.names import NAME_BYTES, decode_name
from dropscribe.supervisor.outbox import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = ".dropscribe-leaving-"
"""Begins the name that a file has for the moment before it is removed; the inbox passes it over."""


class Outcome(enum.StrEnum):
    """What came of an order."""

    MOVED = "moved"
    KEPT = "kept"
    """It stays in the inbox for good."""
    LATER = "later"
    """Something around us is wrong: it is to be tried again."""
    TAKEN = "taken"
    """The target's name is somebody else's: another one is needed."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that must be known to let one source leave."""

    recording: int
    way: DisposalWay
    source: Path
    found: Stat
    """What was transcribed."""
    sha256: str
    target: Path | None
    """Where it goes; None where it is removed or where the system chooses."""
    resumed: bool
    """Whether an earlier try may have begun it."""
    outputs: tuple[tuple[Path, str], ...]
    """Every output and its SHA-256."""

    @property
    def hidden(self) -> Path:
        """Its name for the moment before it is removed."""
        return self.source.with_name(f"{HIDDEN}{self.recording}{self.source.suffix}")


@dataclass(frozen=True, slots=True)
class Left:
    """What came of an order; posted from its thread."""

    order: Order
    outcome: Outcome
    reason: str = ""


class KeptError(Exception):
    """The source must stay."""


class TakenError(Exception):
    """The target's name is somebody else's."""


def carry_out(order: Order) -> Left:
    """Let a source leave, or finish what an earlier try began. Works on files alone, in any
    thread.
    """
    try:
        _restore_hidden(order)
        source = _open_verified(order)
        if source is not None:
            with source:
                move_out(order, source)
    except KeptError as kept:
        return Left(order, Outcome.KEPT, str(kept))
    except TakenError:
        return Left(order, Outcome.TAKEN)
    except DropscribeError as wrong:
        return Left(order, Outcome.LATER, str(wrong))
    except OSError as error:
        where = f" ({decode_name(error.filename)})" if isinstance(error.filename, str | Path) else ""
        return Left(order, Outcome.LATER, f"{error.strerror or error}{where}.")
    return Left(order, Outcome.MOVED)


def _restore_hidden(order: Order) -> None:
    """Undo the hidden name that a killed daemon left a file under, or finish what it was for."""
    if not os.path.lexists(order.hidden):
        return
    try:
        put_back(order.hidden, order.source)
    except KeptError:  # its name is taken by a new file
        gone = order.way == DisposalWay.DELETE or (order.target is not None and _has_its_content(order, order.target))
        if not (gone and _has_its_content(order, order.hidden)):
            raise
        order.hidden.unlink()


def _open_verified(order: Order) -> BinaryIO | None:
    """Return the source, opened, when it is the very file and all its outputs are there; None when
    it has left.

    Raises: KeptError when it is not to leave.
    """
    try:
        descriptor = os.open(order.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            raise
        _require_has_left(order)
        return None
    source = os.fdopen(descriptor, "rb")
    try:
        found = os.fstat(descriptor)
        same = stat.S_ISREG(found.st_mode) and Stat(found.st_size, found.st_mtime_ns) == order.found
        if (
            not same
            or digest_file(order.source, order.found) != order.sha256
            or not _is_same_file(order.source, found)
        ):
            _require_has_left(order)
            source.close()
            return None
        _check_outputs(order)
    except BaseException:
        source.close()
        raise
    return source


def _require_has_left(order: Order) -> None:
    """Return when the source is not there because it has left already. Raises: KeptError."""
    if order.resumed and (order.target is None or _has_its_content(order, order.target)):
        return
    if order.resumed:
        _discard(order)
    raise KeptError("It was changed, replaced or removed after it was transcribed.")


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
            raise KeptError(f"Its output {decode_name(path)} {wrong}.")


def move_out(order: Order, source: BinaryIO) -> None:
    """Move a verified source, which is open. Raises: KeptError, TakenError, OSError."""
    found = os.fstat(source.fileno())
    if order.way == DisposalWay.DELETE:
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
    if not _is_same_file(order.target, found):
        put_back(order.target, order.source)
        _discard(order)
        raise KeptError("Another file took its place at the last moment.")
    files.sync_folder(order.target.parent)
    files.sync_folder(order.source.parent)


def _reserve(order: Order) -> bool:
    """Take the target's name with an empty file. Returns whether the whole file is there, from an
    earlier try.

    Raises: TakenError when the name is somebody else's.
    """
    target = order.target
    assert target is not None  # noqa: S101
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if order.way == DisposalWay.TRASH else 0o777)
    if order.way == DisposalWay.TRASH and not trash.write_note(target, order.source, replace=order.resumed):
        raise TakenError
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if order.resumed and _is_empty(target):
            return False
        if order.resumed and _has_its_content(order, target):
            return True
        if order.way == DisposalWay.TRASH:
            trash.note_path(target).unlink()
        raise TakenError from None
    return False


def _copy(order: Order, source: BinaryIO) -> None:
    """Copy the source to another disk; its content is read again there before it gets its name."""
    target = order.target
    assert target is not None  # noqa: S101
    temporary = target.with_name(f"{TEMPORARY}{order.recording}.tmp")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            with contextlib.suppress(OSError):  # not every file system takes every time and mode
                shutil.copystat(order.source, temporary)
            files.sync_descriptor(file.fileno())
        if not _has_its_content(order, temporary):
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
    if not _is_same_file(order.hidden, found):
        put_back(order.hidden, order.source)
        raise KeptError("Another file took its place at the last moment.")
    order.hidden.unlink()
    crash.reach("removed")
    files.sync_folder(order.source.parent)


def put_back(path: Path, source: Path) -> None:
    """Give a file its old name again, over nothing. Raises: KeptError when that is taken."""
    try:
        os.close(os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise KeptError(f"A new file has its name; the old one is {decode_name(path)}.") from None
    path.replace(source)


def _discard(order: Order) -> None:
    """Give up the target's name, which is ours, if nothing is there but our empty file."""
    if order.target is None:
        return
    with contextlib.suppress(OSError):
        if _is_empty(order.target):
            order.target.unlink()
        if order.way == DisposalWay.TRASH and not os.path.lexists(order.target):
            trash.note_path(order.target).unlink(missing_ok=True)


def _has_its_content(order: Order, path: Path) -> bool:
    """Return whether a file has the content that was transcribed."""
    try:
        found = path.lstat()
        as_it_is = Stat(found.st_size, found.st_mtime_ns)
        return as_it_is.size == order.found.size and digest_file(path, as_it_is) == order.sha256
    except FileNotFoundError:
        return False


def _is_same_file(path: Path, found: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(now, found) and (now.st_size, now.st_mtime_ns) == (found.st_size, found.st_mtime_ns)


def _is_empty(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


def list_names(wanted: Path) -> Iterator[Path]:
    """Yield the names a file may get, best first: `talk.m4a`, `talk (2).m4a`, … Long ones are cut."""
    room = NAME_BYTES - len(" (999).trashinfo") - len(os.fsencode(wanted.suffix))
    stem = os.fsencode(wanted.stem)
    fitting = wanted.stem if len(stem) <= room else stem[:room].decode("utf-8", "ignore")
    yield wanted.with_name(f"{fitting}{wanted.suffix}")
    for number in range(2, 1000):
        yield wanted.with_name(f"{fitting} ({number}){wanted.suffix}")

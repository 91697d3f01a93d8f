"""The recording on the disk: opened once, read only, never through a link; and the parts of it
that FFmpeg gets to see.

Guarantees: a FIFO, a link or a folder is refused and not opened; an error of the disk is kept,
which FFmpeg would take for the end of the file; what is patched in a `Part` is patched in memory,
the file itself never changes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from dropscribe.errors import EngineFaultError, EnvironmentFaultError, RecordingFaultError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the file that is a recording of its own; nearly always the whole file."""

    start: int
    """First byte."""
    end: int
    """One past the last byte."""
    patches: tuple[tuple[int, bytes], ...] = ()
    """What is read in place of the file's own bytes, by the position in the file."""


class RecordingFile:
    """The opened recording. Remembers the error of the disk, which FFmpeg would hide."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        suffix = path.suffix.lower()
        # FFmpeg takes the suffix as a hint; the rest of the name may not even be UTF-8.
        self.name = f"recording{suffix}" if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else "recording"
        self.size = os.fstat(file.fileno()).st_size
        self.failed: OSError | None = None
        self._file = file

    def read_at(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes from `position` on; fewer at the end, or where the disk fails."""
        found = b""
        try:
            self._file.seek(position)
            while len(found) < size and (more := self._file.read(size - len(found))):
                found += more
        except OSError as error:
            self.failed = error
        return found

    def view(self, part: Part) -> PartReader:
        """Return the part as a file that PyAV can read."""
        return PartReader(self, part)


class PartReader:
    """One part of a recording as PyAV wants a file: it begins at 0 and ends with the part."""

    def __init__(self, file: RecordingFile, part: Part) -> None:
        self.name = file.name
        self._file = file
        self._part = part
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Read on; b"" at the end and where the disk fails."""
        start = self._part.start + self._at
        left = self._part.end - start
        data = self._file.read_at(start, left if size < 0 else min(size, left)) if left > 0 else b""
        for position, patch in self._part.patches:
            low, high = max(position, start), min(position + len(patch), start + len(data))
            if low < high:
                data = data[: low - start] + patch[low - position : high - position] + data[high - start :]
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; -1 where there is none: FFmpeg tries positions before the start of a
        damaged file.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._part.end - self._part.start}[whence]
        if base + offset < 0:
            return -1
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readable(self) -> bool:
        """PyAV asks."""
        return True

    def seekable(self) -> bool:
        """PyAV asks."""
        return True


def open_recording(path: Path) -> BinaryIO:
    """Open a plain file and nothing else: a FIFO would hang, a link may lead anywhere.

    Raises: RecordingFaultError `gone`, `not-a-file`, `empty`; EnvironmentFaultError
    `folder-missing`, `permission-denied`, `read-failed`.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            _refuse_kind()
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if path.parent.is_dir():
            raise RecordingFaultError("gone", "It is not there any more.") from error
        raise EnvironmentFaultError(
            "folder-missing", f"The folder {path.parent} is not there.", "Connect the volume that holds it."
        ) from error
    except PermissionError as error:
        raise EnvironmentFaultError(
            "permission-denied",
            f"Reading {path.name} is not allowed.",
            "Give the user that runs dropscribe the right to read it (macOS: Full Disk Access).",
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became a link after lstat
            _refuse_kind()
        raise make_read_error(error) from error
    file = os.fdopen(descriptor, "rb", buffering=0)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        file.close()
        _refuse_kind()
    if not status.st_size:
        file.close()
        raise RecordingFaultError("empty", "The file is empty.", "Copy it again.")
    return file


def _refuse_kind() -> NoReturn:
    raise RecordingFaultError(
        "not-a-file", "It is not a plain file.", "Put a copy of the recording there, not a link or a folder."
    )


def make_read_error(error: OSError) -> EnvironmentFaultError:
    """Return the error for a disk that failed."""
    return EnvironmentFaultError(
        "read-failed", f"The disk could not read it: {error.strerror}.", "Check the volume it lies on."
    )


def refuse(file: RecordingFile, error: Exception) -> NoReturn:
    """Turn what FFmpeg or the disk says into an error for a person."""
    if file.failed is not None:
        raise make_read_error(file.failed) from file.failed
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        raise EngineFaultError("out-of-memory", "There is not enough memory to decode it.") from error
    raise make_not_audio_error() from error


def make_not_audio_error() -> RecordingFaultError:
    """Return the error for what FFmpeg can make nothing of."""
    return RecordingFaultError(
        "not-audio",
        "It cannot be read as a recording: it is damaged, incomplete, or another kind of file.",
        "Play it in another program; export or copy it again.",
    )

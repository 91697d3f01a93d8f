"""Recordings that a browser or a program sends: written whole, or not at all.

Guarantees: the inbox sees a file only when all of it is there and on the disk, under a name that was free; what is no
recording is refused with the reason, before anything of it is in the inbox; a kill leaves at most a hidden temporary
file, which the next start removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import anyio.to_thread

from dropscribe import files
from dropscribe.errors import DropscribeError
from dropscribe.supervisor.recording_names import choose_suffixes, explain_refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

    from dropscribe.settings import Settings

TEMPORARY = ".dropscribe-upload-"
"""Begins the name of a file that is not all there: the inbox passes over what begins with a point."""
LEFT_SECONDS = 3600.0
"""A temporary file that has not grown for so long is nobody's."""
SPARE_BYTES = 500_000_000
"""Disk space that is left for the transcripts and for the system."""
PROBE_SECONDS = 20
"""To look at the streams of a recording takes less than a second; what takes longer is the daemon's to decide."""
_NAMES = 1000
"""Names that are tried for a file whose own is taken."""
_PROBE = """
import sys
import av
from dropscribe.worker.decoding.container import FORMATS
extra = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
allowed = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
try:
    with av.open(sys.argv[1], options=allowed, **extra) as found:
        sys.exit(0 if found.streams.audio else 3)
except av.error.FFmpegError:
    sys.exit(4)
"""
"""Formats and protocols are bounded as they are for the daemon: a playlist would make FFmpeg open what it names."""
_WHY = {3: "It has no sound.", 4: "It is no recording, or it is damaged."}
"""What the exit codes of the probe mean."""


class RefusedError(DropscribeError):
    """What was sent is not taken."""

    def __init__(self, status: int, message: str, cure: str = "") -> None:
        """`status` is the HTTP status that says so."""
        super().__init__(message, cure)
        self.status = status


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is all there, under its temporary name."""

    path: Path
    size: int
    sha256: str


def check_name(settings: Settings, name: str, folder: str = "") -> PurePath:
    """Return the path in the inbox that a file of this name will have. Raises: RefusedError."""
    place = PurePath(folder) / name if folder else PurePath(name)
    odd = not name or name in {".", ".."} or len(os.fsencode(name)) > 250
    if odd or "/" in name or "\\" in name or "\0" in folder + name or not name.isprintable():
        raise RefusedError(400, "No file can have this name in the inbox.", "Give it another one.")
    if place.is_absolute() or ".." in place.parts:
        raise RefusedError(400, "This folder is not in the inbox.")
    if folder and (not settings.recursive or not _is_folder_inside(settings.inbox, PurePath(folder))):
        raise RefusedError(400, f"There is no folder {folder} in the inbox that recordings are taken from.")
    if (why := explain_refusal(place, choose_suffixes(settings.suffixes))) is not None:
        raise RefusedError(415, f"It {why}.")
    return place


def _is_folder_inside(root: Path, folder: PurePath) -> bool:
    place = root
    for part in folder.parts:
        place /= part
        if place.is_symlink() or not place.is_dir():
            return False
    return True


def check_size(settings: Settings, folder: Path, size: int) -> None:
    """Refuse a recording that is too large for the settings or for the disk. Raises: RefusedError."""
    if size == 0:
        raise RefusedError(400, "The file is empty.")
    if size > most_bytes(settings):
        raise RefusedError(413, f"It has more than {settings.max_gigabytes:g} GB, the setting `max_gigabytes`.")
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        raise RefusedError(503, f"{folder} is not there.", "Make it again, or bring its volume back.") from None
    if size > free - SPARE_BYTES:
        raise RefusedError(507, "The disk has no room for it.", "Make room, then send it again.")


def most_bytes(settings: Settings) -> float:
    """Return the size of the largest recording that is taken."""
    return settings.max_gigabytes * 1e9 or float("inf")


async def receive(settings: Settings, folder: Path, stream: AsyncIterator[bytes], suffix: str = ".tmp") -> Received:
    """Write what comes into a temporary file of a folder; return it when it is on the disk.

    Raises: RefusedError; nothing is left then.
    """
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}{suffix}"
    most, size, digest = most_bytes(settings), 0, hashlib.sha256()
    try:
        file = await anyio.to_thread.run_sync(lambda: path.open("xb"))
    except OSError as error:
        raise _refuse_for(folder, error) from None
    try:
        with file:
            async for piece in stream:
                size += len(piece)
                if size > most:
                    break
                if piece:
                    await anyio.to_thread.run_sync(_append, file, piece, digest)
            await anyio.to_thread.run_sync(_sync, file)
        check_size(settings, folder, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _refuse_for(folder, error) from None
    except BaseException:  # refused, or the sender has left
        path.unlink(missing_ok=True)
        raise
    return Received(path, size, digest.hexdigest())


def _append(file: BinaryIO, piece: bytes, digest: hashlib._Hash) -> None:
    file.write(piece)
    digest.update(piece)


def _sync(file: BinaryIO) -> None:
    file.flush()
    files.sync_descriptor(file.fileno())


def _refuse_for(folder: Path, error: OSError) -> RefusedError:
    return RefusedError(507, f"It cannot be written into {folder}: {error.strerror}.", "Look at that disk.")


def check_content(path: Path) -> None:
    """Refuse what the decoder cannot open, or what has no sound. Raises: RefusedError.

    The decoder is a large library, and damaged files may break it: it runs in a process of its own.
    """
    command = [sys.executable, "-c", _PROBE, str(path)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = subprocess.run(
            command, check=False, timeout=PROBE_SECONDS, stdin=subprocess.DEVNULL, capture_output=True
        ).returncode
        if code in _WHY:
            raise RefusedError(415, _WHY[code])


def put_into_inbox(settings: Settings, received: Received, place: PurePath, modified: float | None = None) -> str:
    """Give a received file its name in the inbox, or one like it that is free; return that name.

    Args:
        settings: whose inbox.
        received: the file.
        place: from `check_name`.
        modified: when the recording was last changed where it comes from, in seconds since the epoch.

    Raises: RefusedError.
    """
    if modified is not None and 0 < modified < time.time():
        os.utime(received.path, (modified, modified))
    for number in range(1, _NAMES):
        name = place.name if number == 1 else f"{place.stem} {number}{place.suffix}"
        target = settings.inbox / place.with_name(name)
        try:
            _rename_if_free(received.path, target)
        except FileExistsError:
            continue
        except OSError as error:
            raise _refuse_for(target.parent, error) from None
        files.sync_folder(target.parent)
        return str(place.with_name(name))
    raise RefusedError(409, f"There are {_NAMES} files of this name.", "Give it another one.")


def _rename_if_free(path: Path, target: Path) -> None:
    """Raises: FileExistsError where the name is taken; OSError."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        path.replace(target)
    else:
        path.unlink()


def remove_left_files(folder: Path) -> None:
    """Remove temporary files that a killed server left behind."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}*"):
            if path.lstat().st_mtime < time.time() - LEFT_SECONDS:
                path.unlink(missing_ok=True)

"""Files that are on the disk, whole or not at all, when the call that writes them returns.

Guarantees: a reader sees the old content or the new, never a part; whatever kills the process or
cuts the power after the call has returned, the new content is there. Standard library only: the
worker may import it.

A kill in the middle leaves a temporary file next to the target. Its name is `prefix`, a random
part and `.tmp`, so that whoever owns the folder can recognise and remove it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_atomically(
    path: Path,
    data: bytes,
    *,
    prefix: str = ".dropscribe-",
    mode: int = 0o666,
    exact: int | None = None,
    reach: Callable[[str], None] | None = None,
) -> None:
    """Write a file: temporary name in the same folder, sync, rename, sync of the folder.

    Args:
        path: the file; one that is there is replaced. Its folder must exist.
        data: the whole content.
        prefix: begins the temporary name.
        mode: permissions of the file, less the process's umask.
        exact: permissions of the file whatever the umask; not every file system can have them.
        reach: called with `written` before the rename and with `renamed` after it: the points of
            `dropscribe.crash`.

    Raises:
        OSError: the disk is full, read-only, gone, … Nothing has changed then, unless only the
            last sync failed.
    """
    temporary = path.parent / f"{prefix}{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if exact is not None:
                with contextlib.suppress(OSError):
                    os.fchmod(file.fileno(), exact)
            file.write(data)
            file.flush()
            sync_descriptor(file.fileno())
        if reach is not None:
            reach("written")
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if reach is not None:
        reach("renamed")
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Force a file's content to the disk. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk. Raises: OSError."""
    try:
        sync_file(path)
    except OSError as error:  # some network file systems sync files, but no folders
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise


def sync_descriptor(descriptor: int) -> None:
    """Force an open file to the disk itself: on macOS fsync stops at the drive's cache."""
    import fcntl

    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        with contextlib.suppress(OSError):  # ENOTSUP, EINVAL on network and foreign file systems
            fcntl.fcntl(descriptor, full_sync)
            return
    os.fsync(descriptor)

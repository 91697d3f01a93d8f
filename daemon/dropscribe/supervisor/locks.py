"""Locks that keep two daemons off one state folder and off one inbox. They end with the process
that has them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from pathlib import Path

from dropscribe.errors import DropscribeError, Exit


class AlreadyRunningError(DropscribeError):
    """Another daemon works on this state or this inbox."""

    exit_code = Exit.OK


class Locks:
    """The locks of one daemon: a context manager that lets go of them."""

    def __init__(self, state: Path, inbox: Path) -> None:
        """Take both. Raises: AlreadyRunningError naming the folder that is taken; OSError."""
        self._descriptors: list[int] = []
        try:
            self._descriptors.append(_take(state / "daemon.lock", state))
            self._descriptors.append(_take(_inbox_lock_path(inbox), inbox))
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of them."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def is_running(state: Path) -> bool:
    """Return whether a daemon has the lock of this state folder."""
    try:
        os.close(_take(state / "daemon.lock", state, patience=0))
    except AlreadyRunningError:
        return True
    except OSError:
        return False
    return False


def _take(path: Path, folder: Path, *, patience: float = 0.5) -> int:
    """Take a lock; returns its descriptor.

    `patience` seconds outlast a look by `is_running`, which holds the lock for a moment.

    Raises: AlreadyRunningError naming `folder`.
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
            msg = f"A daemon is already running on {folder}."
            raise AlreadyRunningError(msg, "`dropscribe status` shows what it does.") from None
        return descriptor


def _inbox_lock_path(inbox: Path) -> Path:
    """Return the lock file that keeps daemons with different state folders off one inbox.

    It is not in the inbox: an open file there would keep a removable volume from being ejected.
    """
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"dropscribe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / (hashlib.sha256(os.fsencode(os.path.realpath(inbox))).hexdigest()[:16] + ".lock")

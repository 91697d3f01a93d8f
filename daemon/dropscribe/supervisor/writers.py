"""Whether somebody has a file open for writing, and who.

- Linux: a read lease (fcntl(2), F_SETLEASE) is refused while anybody has the file open for writing.
  That is certain on a local disk, for a file of this user. Where no lease can be had, the open files
  in /proc are looked through: those of this user's processes, or of all for root.
- macOS: `lsof` says what this user's processes have open. Not run on a Mac: the program's output is read as lsof(8)
  describes it, and tested with the lsof of Linux.
- What none of them can see (another machine that writes to a network folder, another user's process) stays unknown,
  and the file counts as finished when it has stood still for long enough.

No method waits for a lock, and none changes the file. A writer that opens the file while the lease is held waits for
the microseconds until it is given back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.supervisor.mounts import NETWORK, find_file_system

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LSOF = "/usr/sbin/lsof"
"""Where macOS has it."""
_LSOF_SECONDS = 10.0
"""Seconds after which `lsof` is given up; it takes less than one."""
_SNAPSHOT_SECONDS = 1.0
"""How long a list of open files is used: thousands of files that settle at once are looked up in one list. A file is
asked for when it has not changed for a while, so whoever wrote to it had opened it before that."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that a process has open for writing."""

    path: str
    """Leads to the file; need not be its name."""
    name: str
    """Its name without folder, in NFC."""
    owner: str
    """The process, for a person."""


class Writers:
    """Finds out who has files open for writing. To be used by one thread."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        """The type of the file system by device: to find it, every mount is looked at."""
        self._snapshot: dict[str, list[OpenFile]] = {}
        self._taken = float("-inf")

    def find(self, path: Path) -> str | None:
        """Return who has a file open for writing, as part of a sentence; None when nobody is known to.

        Raises: OSError when the file cannot be opened for reading.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            refused = _is_lease_refused(descriptor) if self._has_leases(path, descriptor) else None
            if refused is False:
                return None
            owner = self._find_owner(path, descriptor)
            return owner or ("a program" if refused else None)
        finally:
            os.close(descriptor)

    def _has_leases(self, path: Path, descriptor: int) -> bool:
        """Return whether a lease says something about this file: on a network folder it does not."""
        if sys.platform != "linux":
            return False
        device = os.fstat(descriptor).st_dev
        if device not in self._kinds:
            self._kinds[device] = find_file_system(path)
        return self._kinds[device] not in NETWORK

    def _find_owner(self, path: Path, descriptor: int) -> str | None:
        now = time.monotonic()
        if now - self._taken > _SNAPSHOT_SECONDS:
            self._snapshot, self._taken = {}, now
            for opened in _list_open_files():
                self._snapshot.setdefault(opened.name, []).append(opened)
        found = os.fstat(descriptor)
        for opened in self._snapshot.get(_compose(path.name), ()):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(opened.path), found):  # noqa: PTH116 (text, as listed)
                    return opened.owner
        return None


def _is_lease_refused(descriptor: int) -> bool | None:
    """Return whether a lease is refused because of a writer; None when none can be had here."""
    if sys.platform != "linux":
        return None
    try:
        # Who wants to write meanwhile would have the kernel send SIGIO, which ends a process. This one is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _list_open_files() -> Iterator[OpenFile]:
    if sys.platform == "linux":
        return _list_by_proc()
    if sys.platform == "darwin":
        return list_by_lsof(LSOF)
    return iter(())


def _list_by_proc() -> Iterator[OpenFile]:
    """Yield what the processes that may be looked into have open for writing."""
    for process in os.scandir("/proc"):
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # it ended, or is another user's
            for opened in os.scandir(f"/proc/{process.name}/fd"):
                with contextlib.suppress(OSError):
                    # The mode of the link says how the file was opened: proc(5).
                    if not opened.stat(follow_symlinks=False).st_mode & 0o200:
                        continue
                    target = Path(opened.path).readlink()
                    if target.is_absolute():
                        yield OpenFile(opened.path, _compose(target.name), _name_process(process.name))


def _name_process(pid: str) -> str:
    with contextlib.suppress(OSError):
        return f"{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (process {pid})"
    return f"process {pid}"


def list_by_lsof(program: str) -> Iterator[OpenFile]:
    """Yield what this user's processes have open for writing, as `lsof` says; nothing where it does not answer."""
    command = [program, "-w", "-n", "-P", "-u", str(os.getuid()), "-F", "acn"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LSOF_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return iter(())
    return _parse_lsof(os.fsdecode(done.stdout).splitlines())


def _parse_lsof(lines: Iterable[str]) -> Iterator[OpenFile]:
    """Read fields one a line: `p` process and `c` its command, then for each file `f`, `a` access, `n` name."""
    process = command = access = ""
    for line in lines:
        kind, value = line[:1], line[1:]
        if kind == "p":
            process, command = value, ""
        elif kind == "c":
            command = value
        elif kind == "f":
            access = ""
        elif kind == "a":
            access = value
        elif kind == "n" and access in {"w", "u"} and value.startswith("/"):
            yield OpenFile(value, _compose(Path(value).name), f"{command} (process {process})")


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", name)

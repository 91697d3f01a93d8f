"""Finding finished recordings in the inbox.

Guarantees: a full scan is the truth, events only make it quicker; a file is taken when its size and time have stood
still; only regular files inside the inbox are taken, links are never followed; the content that is digested is the
content that had settled. Knows nothing of backends.

watchdog's threads do no more here than note a path: an exception in a handler would end all events for good.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
import subprocess
import sys
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watchdog.observers.api import BaseObserver

    from dropscribe.supervisor.journal import Recording

logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # at its end it warns of an end that was asked for

# fmt: off
AUDIO = frozenset({
    ".3ga", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".awb", ".caf", ".flac", ".m4a",
    ".m4b", ".mka", ".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus", ".qta", ".ra", ".spx", ".tta", ".wav",
    ".wave", ".weba", ".wma", ".wv",
})
VIDEO = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
})
# fmt: on
UNFINISHED = (".part", ".tmp", ".crdownload", ".download", ".icloud", ".partial")
PROFILE = "dropscribe.toml"
"""Name of a folder's profile; that of a recording is its name with `.toml` (dropscribe.profiles)."""
FOREIGN_FOLDERS = frozenset({"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that network drives put into every folder."""
POLL_SECONDS = 5.0
"""Between two scans where there are no events."""
# fmt: off
NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "ncpfs", "9p", "sshfs", "fuse.sshfs",
    "fuse.rclone", "fuse.gvfsd-fuse",
})
# fmt: on
"""File systems that tell nothing of what another machine writes."""
DATALESS = 0x40000000
"""SF_DATALESS of macOS: the content is in iCloud only, and reading it may block for ever."""
_MOST_HINTS = 10_000


def refusal(relative: PurePath) -> str | None:
    """Return why a name is passed over, as half a sentence, or None when it may be a recording."""
    for part in relative.parts[:-1]:
        if part in FOREIGN_FOLDERS or part.startswith(".") or part.lower().endswith(UNFINISHED):
            return f"lies in {part}, a folder that is passed over"
    name = relative.name
    if name.startswith((".", "~")):
        return "is hidden or temporary by its name"
    if name.lower().endswith(UNFINISHED):
        return "is an unfinished download by its name"
    if is_profile(name):
        return "is a profile: it tells how recordings are transcribed"
    if relative.suffix.lower() not in AUDIO | VIDEO:
        return f"is no recording by its name: {relative.suffix or 'no suffix'} is not among the known suffixes"
    return None


def is_profile(name: str) -> bool:
    """Return whether a file of this name holds settings of a folder or of a recording."""
    return name == PROFILE or (name.endswith(".toml") and PurePath(name[:-5]).suffix.lower() in AUDIO | VIDEO)


@dataclass(frozen=True, slots=True)
class Stat:
    """What must stand still for a file to count as finished."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, recording: Recording) -> Stat:
        """Return what the journal says of a recording's file."""
        return cls(recording.size, recording.mtime_ns)


@dataclass(frozen=True, slots=True)
class Inbox:
    """The folder and how it is looked through."""

    root: Path
    recursive: bool
    exclude: Path
    """The outbox, which may lie inside."""

    def identity(self) -> tuple[int, int]:
        """Return the device and inode of the root. Raises: EnvironmentFaultError `inbox-missing`."""
        try:
            found = self.root.stat()
        except OSError as error:
            raise _missing(self.root, error) from None
        return found.st_dev, found.st_ino

    def key(self, relative: str | PurePath) -> bytes:
        """Return what names a file in the journal: its path relative to the root, in NFC.

        One disk may report the same name composed or decomposed. Where both are there as two files, the decomposed
        one keeps its own spelling.
        """
        spelled, composed = str(relative), unicodedata.normalize("NFC", str(relative))
        if spelled != composed:
            with contextlib.suppress(OSError):
                if not os.path.samestat(os.lstat(self.root / composed), os.lstat(self.root / spelled)):
                    return os.fsencode(spelled)
        return os.fsencode(composed)

    def scan(self) -> Iterator[tuple[str, Stat]]:
        """Yield every recording by its name: path relative to the root, and size and time.

        Raises: EnvironmentFaultError `inbox-missing` or `inbox-refused` for the root; a subfolder that vanishes or
        refuses is passed over and found by a later scan.
        """
        pending = [""]
        exclude = os.path.realpath(self.exclude)
        root = os.path.realpath(self.root)
        while pending:
            folder = pending.pop()
            try:
                entries = list(os.scandir(os.path.join(root, folder)))  # noqa: PTH118 (10,000 of them)
            except OSError as error:
                if not folder:
                    raise _missing(self.root, error) from None
                continue
            for entry in entries:
                relative = os.path.join(folder, entry.name)  # noqa: PTH118
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self.recursive and not _passed_over(entry.name) and entry.path != exclude:
                            pending.append(relative)
                    elif entry.is_file(follow_symlinks=False) and refusal(PurePath(entry.name)) is None:
                        found = entry.stat(follow_symlinks=False)
                        yield relative, Stat(found.st_size, found.st_mtime_ns)
                except OSError:  # vanished while we looked
                    continue

    def look(self, relative: str) -> Stat | None:
        """Return the size and time of one path that an event named, or None when it is none of ours."""
        pure = PurePath(relative)
        path = os.path.join(os.path.realpath(self.root), relative)  # noqa: PTH118
        if refusal(pure) is not None or (not self.recursive and len(pure.parts) > 1):
            return None
        if path.startswith(os.path.realpath(self.exclude) + os.sep):
            return None
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return Stat(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _passed_over(folder: str) -> bool:
    return folder in FOREIGN_FOLDERS or folder.startswith(".") or folder.lower().endswith(UNFINISHED)


def _missing(root: Path, error: OSError) -> EnvironmentFaultError:
    if isinstance(error, PermissionError):
        cure = "Grant access (on a Mac: System Settings, Privacy & Security, Files and Folders), or choose another."
        return EnvironmentFaultError("inbox-refused", f"The inbox {root} may not be read.", cure)
    cure = "Make it again or bring its volume back."
    return EnvironmentFaultError("inbox-missing", f"The inbox {root} is not there.", cure)


class Settler:
    """Files that were seen and may still be growing. `now` is always `time.monotonic()`: clocks may jump."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[Stat, float]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, relative: str) -> bool:
        return relative in self._seen

    def observe(self, relative: str, found: Stat, now: float) -> None:
        """Note a file; its time begins anew when it differs from what was noted."""
        old = self._seen.get(relative)
        if old is None or old[0] != found:
            self._seen[relative] = (found, now)

    def settled(self, look: Callable[[str], Stat | None], now: float) -> list[tuple[str, Stat]]:
        """Return, and forget, the files that `look` finds unchanged after the settling time."""
        ready = []
        for relative, (old, since) in list(self._seen.items()):
            if now - since < self._seconds:
                continue
            found = look(relative)
            if found == old:
                ready.append((relative, old))
                del self._seen[relative]
            elif found is None:
                del self._seen[relative]
            else:
                self._seen[relative] = (found, now)
        return ready

    def due(self) -> float | None:
        """Return when the next file may have settled."""
        return min((since + self._seconds for _, since in self._seen.values()), default=None)


class _Hints(FileSystemEventHandler):
    """Collects paths for the main loop; the only code that runs on watchdog's threads."""

    def __init__(self, root: str, wake: Callable[[], None]) -> None:
        self._root = root + os.sep
        self._wake = wake
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._left: set[str] = set()
        self._scan = False

    def on_any_event(self, event: FileSystemEvent) -> None:
        with self._lock:
            idle = not self._paths and not self._left and not self._scan
            if isinstance(event, FileDeletedEvent | FileMovedEvent):
                self._name(self._left, event.src_path)
            if isinstance(event, DirCreatedEvent | DirMovedEvent):
                self._scan = True
            elif isinstance(event, FileCreatedEvent | FileModifiedEvent | FileMovedEvent | FileClosedEvent):
                self._name(self._paths, event.dest_path or event.src_path)
            elif not isinstance(event, FileDeletedEvent):
                return
        if idle:
            self._wake()

    def _name(self, paths: set[str], named: bytes | str) -> None:
        """Note a path among others; where it lies elsewhere, or they are too many, a scan is to tell."""
        path = os.fsdecode(named)
        if path.startswith(self._root) and len(paths) < _MOST_HINTS:
            paths.add(path.removeprefix(self._root))
        else:
            self._scan = True

    def take(self) -> tuple[set[str], set[str], bool]:
        with self._lock:
            paths, self._paths = self._paths, set()
            left, self._left = self._left, set()
            scan, self._scan = self._scan, False
        return paths, left, scan


class Watcher:
    """watchdog on the inbox, restarted whenever it or the folder is no longer what it was."""

    def __init__(self, inbox: Inbox, setting: str, wake: Callable[[], None]) -> None:
        """`wake` is called, from another thread, when there is something to take."""
        self._inbox = inbox
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._hints = _Hints("", wake)
        self._identity: tuple[int, int] | None = None
        self.why = ""
        self.native = setting == "native" or (setting == "auto" and not self._on_network())

    def _on_network(self) -> bool:
        kind = file_system(self._inbox.root)
        if kind in NETWORK:
            self.why = f"the inbox is on {kind}, which sends no events"
        return kind in NETWORK

    def ensure(self) -> bool:
        """Start the observer, or restart it when it died or the folder was replaced. Returns True when it did.

        Raises: EnvironmentFaultError when the inbox is not there.
        """
        if not self.native:
            return False
        identity = self._inbox.identity()
        observer = self._observer
        if (
            observer is not None
            and self._identity == identity
            and observer.is_alive()
            and observer.emitters
            and all(emitter.is_alive() for emitter in observer.emitters)
        ):
            return False
        self.close()
        root = os.path.realpath(self._inbox.root)
        self._hints = _Hints(root, self._wake)
        observer = Observer()
        try:
            observer.schedule(self._hints, root, recursive=self._inbox.recursive)
            observer.start()
        except OSError as error:
            # ENOSPC: no inotify watches left. EMFILE: no inotify instances left.
            if error.errno not in {errno.ENOSPC, errno.EMFILE}:
                raise _missing(self._inbox.root, error) from None
            self.native = False
            self.why = "the system has no more file watches (fs.inotify.max_user_watches)"
            return True
        self._observer, self._identity = observer, identity
        return True

    def take(self) -> tuple[set[str], set[str], bool]:
        """Return what events told since the last call: what there is, what left, and whether a scan is needed.

        The first two are relative paths. One may be in both: it left, and another file came under its name.
        """
        return self._hints.take()

    def close(self) -> None:
        """End watchdog's threads."""
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(timeout=5)


def file_system(path: Path) -> str:
    """Return the type of the file system that holds `path` (`ext4`, `apfs`, `nfs`, …), or an empty string."""
    target = os.path.realpath(path)
    best, kind = "", ""
    for mount, name in _mounts():
        if (target == mount or target.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _mounts() -> Iterator[tuple[str, str]]:
    if sys.platform == "linux":
        for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines():
            _, mount, kind, *_ = line.split(" ")
            yield mount.replace("\\040", " "), kind
    elif sys.platform == "darwin":
        # "//user@nas/share on /Volumes/share (smbfs, nodev, nosuid)"
        try:
            listing = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return
        for line in listing.splitlines():
            mount, _, flags = line.partition(" on ")[2].rpartition(" (")
            yield mount, flags.split(",")[0].rstrip(")")


def digest(path: Path, expected: Stat) -> str | None:
    """Return the SHA-256 of a settled file, or None when it is no longer the file that had settled.

    Raises: OSError when it cannot be read; EnvironmentFaultError `in-icloud` when its content is not on this machine.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or Stat(before.st_size, before.st_mtime_ns) != expected:
            return None
        if getattr(before, "st_flags", 0) & DATALESS:
            raise EnvironmentFaultError(
                "in-icloud", "The recording is in iCloud and not on this Mac.", "Download it in the Finder."
            )
        found = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(descriptor)
    return found if Stat(after.st_size, after.st_mtime_ns) == expected else None

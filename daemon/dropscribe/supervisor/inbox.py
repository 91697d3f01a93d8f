"""The folder that recordings are dropped into, and how it is looked through.

Guarantees: a full scan is the truth, events only make it quicker; only regular files inside the
inbox are taken, links are never followed; the content that is digested is the content that had
settled. Knows nothing of backends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError
from dropscribe.supervisor.recording_names import (
    SUFFIXES,
    PassedOver,
    choose_suffixes,
    explain_refusal,
    find_refusal,
    is_ignored_folder,
    is_profile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Recording

DATALESS = 0x40000000
"""SF_DATALESS of macOS: the content is in iCloud only, and reading it may block for ever."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What must not change any more for a file to count as finished."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, recording: Recording) -> Stat:
        """Return what the journal says of a recording's file."""
        return cls(recording.size, recording.mtime_ns)

    @classmethod
    def at(cls, path: Path) -> Stat:
        """Return what a file is now. Raises: OSError."""
        found = path.lstat()
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Inbox:
    """The folder and how it is looked through."""

    root: Path
    recursive: bool
    exclude: Path
    """The outbox, which may be inside."""
    suffixes: frozenset[str] = SUFFIXES
    """Those that a recording may have."""

    @classmethod
    def of(cls, settings: Settings) -> Inbox:
        """Return the inbox of these settings."""
        return cls(settings.inbox, settings.recursive, settings.outbox, choose_suffixes(settings.suffixes))

    def identify(self) -> tuple[int, int]:
        """Return the device and inode of the root. Raises: EnvironmentFaultError `inbox-missing`."""
        try:
            found = self.root.stat()
        except OSError as error:
            raise inbox_fault(self.root, error) from None
        return found.st_dev, found.st_ino

    def key(self, relative: str | PurePath) -> bytes:
        """Return what names a file in the journal: its path relative to the root, in NFC.

        One disk may report the same name composed or decomposed. Where both are there as two
        files, the decomposed one keeps its own spelling.
        """
        spelled = str(relative)
        if spelled.isascii():
            return spelled.encode()
        composed = unicodedata.normalize("NFC", spelled)
        if spelled != composed:
            with contextlib.suppress(OSError):
                if not os.path.samestat(os.lstat(self.root / composed), os.lstat(self.root / spelled)):
                    return os.fsencode(spelled)
        return os.fsencode(composed)

    def scan(
        self,
        pass_over: Callable[[str, PassedOver], None] = lambda *_: None,
        see_profile: Callable[[str, Stat], None] = lambda *_: None,
    ) -> Iterator[tuple[str, Stat]]:
        """Yield every recording by its name: path relative to the root, and size and time.

        Args:
            pass_over: called with the path of each file that somebody may have meant to drop, but
                that is none.
            see_profile: called with the path, size and time of each profile.

        Raises: EnvironmentFaultError `inbox-missing` or `inbox-refused` for the root; a subfolder
        that vanishes or refuses is passed over and found by a later scan.
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
                    raise inbox_fault(self.root, error) from None
                continue
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self.recursive and not is_ignored_folder(entry.name) and entry.path != exclude:
                            pending.append(relative)
                        continue
                    refusal = find_refusal(PurePath(entry.name), self.suffixes)
                    kind = None if refusal is None else refusal.kind
                    if entry.is_symlink():
                        kind = None if entry.name.startswith((".", "~")) else PassedOver.LINK
                    elif refusal is None and entry.is_file(follow_symlinks=False):
                        yield relative, _stat_entry(entry)
                    elif refusal is None:
                        kind = PassedOver.SPECIAL
                    elif is_profile(entry.name, self.suffixes) and entry.is_file(follow_symlinks=False):
                        see_profile(relative, _stat_entry(entry))
                    if kind is not None:
                        pass_over(relative, kind)
                except OSError:  # vanished while we looked
                    continue

    def stat(self, relative: str) -> Stat | None:
        """Return the size and time of one path that an event named, or None when it is none of
        ours.
        """
        pure = PurePath(relative)
        if pure.is_absolute():
            return None
        path = os.path.join(os.path.realpath(self.root), relative)  # noqa: PTH118
        if explain_refusal(pure, self.suffixes) is not None or (not self.recursive and len(pure.parts) > 1):
            return None
        if path.startswith(os.path.realpath(self.exclude) + os.sep):
            return None
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return Stat(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _stat_entry(entry: os.DirEntry[str]) -> Stat:
    found = entry.stat(follow_symlinks=False)
    return Stat(found.st_size, found.st_mtime_ns)


def inbox_fault(root: Path, error: OSError) -> EnvironmentFaultError:
    """Return the fault of the environment that keeps the inbox from being read."""
    if isinstance(error, PermissionError):
        cure = "Grant access (on a Mac: System Settings, Privacy & Security, Files and Folders), or choose another."
        return EnvironmentFaultError("inbox-refused", f"The inbox {root} may not be read.", cure)
    cure = "Make it again or bring its volume back."
    return EnvironmentFaultError("inbox-missing", f"The inbox {root} is not there.", cure)


def is_readable(path: Path, expected: Stat) -> bool:
    """Return whether a path is the file that had settled, and its content on this machine.

    To read another one may never end. Raises: OSError.
    """
    found = path.lstat()
    same = stat.S_ISREG(found.st_mode) and Stat(found.st_size, found.st_mtime_ns) == expected
    return same and not getattr(found, "st_flags", 0) & DATALESS


def digest_file(path: Path, expected: Stat) -> str | None:
    """Return the SHA-256 of a settled file, or None when it is no longer the file that had
    settled.

    Raises: OSError when it cannot be read; EnvironmentFaultError `in-icloud` when its content is
    not on this machine.
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

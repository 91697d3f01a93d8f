"""Putting a set of outputs into the outbox.

Guarantees: a file is there whole or not at all, and on the disk before the call returns; the JSON
comes last, so a JSON means that its set is complete; a file that is not ours, or that a person has
changed since, is never overwritten: the new version gets another name that is free.

Accepted: between the look at an old file and the rename over it a person could still save it; the
window is microseconds wide.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe import crash, files
from dropscribe.supervisor import names

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPORARY = ".dropscribe-"
"""Prefix of files that are being written; one that a crash left behind may be removed."""


@dataclass(frozen=True, slots=True)
class Published:
    """A file that was written, to be remembered."""

    path: str
    """Relative to the outbox."""
    sha256: str
    displaced_by: str | None = None
    """The file of a person's that holds the name it should have had, relative to the outbox."""


def publish(
    outbox: Path,
    base: str,
    contents: Mapping[str, str | bytes],
    known: Mapping[str, str],
    permissions: str = "",
) -> list[Published]:
    """Write a set of files `base.SUFFIX` and return what was written.

    Args:
        outbox: the folder, which must exist.
        base: name relative to it, without suffix.
        contents: the files by suffix (`json`, `txt`, …); `json` is written last whatever the order.
        known: digest by relative path of files that we wrote: only those may be replaced, while
            they are as written.
        permissions: see `write`.

    Raises:
        OSError: the disk is full, read-only, gone, …; files already written stay and are replaced
            next time.
    """
    done = []
    for suffix in sorted(contents, key=lambda s: s == "json"):
        name, text = f"{base}.{suffix}", contents[suffix]
        text = text.encode("utf-8", "replace") if isinstance(text, str) else text
        digest = hashlib.sha256(text).hexdigest()
        free = _find_free_name(outbox, base, suffix, digest, known)
        write(outbox, free, text, permissions)
        done.append(Published(free, digest, name if free != name else None))
    return done


def keep_old_versions(
    outbox: Path, base: str, known: Mapping[str, str], mark: str, permissions: str = ""
) -> list[str]:
    """Copy a set of outputs to where older versions stay, and return the paths of what was copied.

    `a/talk.txt` becomes `_old/a/talk MARK.txt`. Copied is what is still as we wrote it: what a
    person changed stays where it is, and the new version gets another name. Done again after a
    crash it makes no second copy, for the new files that are there by then are not the known ones.

    Args:
        outbox: the folder.
        base: name of the set relative to it, without suffix.
        known: digest by relative path of the files of the set.
        mark: tells this version from others.
        permissions: see `write`.

    Raises:
        OSError: as `publish`.
    """
    kept = []
    old = names.old_version_base(base, mark)
    for path, digest in sorted(known.items(), key=lambda item: item[0].endswith(".json")):
        data = _read_unchanged(outbox / path, digest) if path.startswith(base) else None
        if data is not None:
            number, _, suffix = path.removeprefix(base).partition(".")
            write(outbox, _find_free_name(outbox, f"{old}{number}", suffix, digest, {}), data, permissions)
            kept.append(path)
    return kept


def remove_unchanged(outbox: Path, known: Mapping[str, str]) -> None:
    """Remove those of our files that are still as we wrote them. Raises: OSError."""
    for path, digest in known.items():
        if _read_unchanged(outbox / path, digest) is not None:
            (outbox / path).unlink(missing_ok=True)


def is_changed(path: Path, *digests: str) -> bool:
    """Return whether a file of ours is there and has none of these contents."""
    return path.exists() and all(_read_unchanged(path, digest) is None for digest in digests)


def _read_unchanged(path: Path, digest: str) -> bytes | None:
    """Return what a file of ours holds, or None when it is gone or another one now."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _find_free_name(outbox: Path, base: str, suffix: str, digest: str, known: Mapping[str, str]) -> str:
    for number in range(1, 1000):
        candidate = f"{base}.{suffix}" if number == 1 else f"{base} ({number}).{suffix}"
        try:
            if not stat.S_ISREG((outbox / candidate).lstat().st_mode):
                continue
            found = hashlib.sha256((outbox / candidate).read_bytes()).hexdigest()
        except FileNotFoundError:
            return candidate
        except PermissionError:  # it is somebody else's
            continue
        if found in {digest, known.get(candidate)}:
            return candidate
    msg = f"no free name beside {base}.{suffix}"
    raise FileExistsError(msg)


def write(outbox: Path, name: PurePath | str, data: bytes, permissions: str = "") -> None:
    """Write a file so that it is there whole or not at all, and make its folders inside the
    outbox.

    An outbox that was taken away meanwhile is not made: the files would be hidden when its volume
    is mounted again.

    Args:
        outbox: the folder.
        name: the file's path relative to it.
        data: its content.
        permissions: `folder`: who may read or write the folder may do so with the file; `private`:
            its owner alone; empty: as the process's umask says.

    Raises:
        OSError: as `publish`.
    """
    path = outbox / name
    for relative in list(PurePath(name).parents)[-2::-1]:
        folder = outbox / relative
        try:
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            with contextlib.suppress(OSError):  # not every file system has permissions
                if permissions:
                    folder.chmod(
                        stat.S_IMODE(folder.stat().st_mode) & ~0o777 | _choose_mode(folder.parent, permissions)
                    )
    exact = _choose_mode(path.parent, permissions) & 0o666 if permissions else None
    files.write_atomically(path, data, prefix=TEMPORARY, exact=exact, reach=crash.reach)


def _choose_mode(folder: Path, permissions: str) -> int:
    """Return the permissions of what is written into a folder, as those of a folder."""
    if permissions == "private":
        return 0o700
    found = folder.stat().st_mode
    # Where anybody may write but nobody may touch what others wrote, as in /tmp, so it stays. Its
    # owner can always write, or the next version could not be made.
    return (found & 0o755 if found & stat.S_ISVTX else found & 0o777) | 0o700


def remove_temporary_files(outbox: Path) -> int:
    """Remove temporary files that a crash left behind, in the whole outbox; return how many."""
    count = 0
    for folder, _, found in os.walk(outbox):
        for name in found:
            if name.startswith(TEMPORARY) and name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118 (os.walk gives strings)
                    count += 1
    return count

"""What is written down about a model's files: their digests, and their size and time when they
were last seen whole.

Guarantees: a record appears whole or not at all; one that is missing, damaged or cannot be written
only costs reading the model again. The format is that of version 0.1: models that an earlier
version left are found again.

A blob of the hub's cache is named by its digest: SHA-256 for large files, git's SHA-1 for small
ones. The layout of that cache is documented at
https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dropscribe import files
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_log = Log()

RECORD = "dropscribe.json"
"""Name of the record in the folder of a model that was made here."""
_USED = ".used"
"""Suffix of the empty file next to a record whose time is the model's last use."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was when it was last found whole."""

    digest: str | None
    """`sha256:HEX` or `git:HEX` (the SHA-1 of a blob object); None when nobody gave one."""
    size: int
    mtime_ns: int

    @classmethod
    def unseen(cls, digest: str | None) -> FileStamp:
        """Return the stamp of a file that is still to be read: no file has this size."""
        return cls(digest, -1, -1)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of the files of one model. The names of the fields are those of the JSON."""

    source: str
    """The repository, or what a model was made of: when this changes, it is made again."""
    revision: str | None
    files: Mapping[str, FileStamp]


def read_record(path: Path) -> Record | None:
    """Return a record; None when there is none that can be read."""
    try:
        data = json.loads(path.read_bytes())
        stamps = {name: FileStamp(**stamp) for name, stamp in data["files"].items()}
        return Record(data["source"], data["revision"], stamps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, json.dumps(asdict(record), indent=1).encode())


def try_write_record(path: Path, record: Record) -> None:
    """Write a record that can be done without. A failure is logged as `model.record_failed`."""
    try:
        write_record(path, record)
    except OSError as error:
        _log.warning("model.record_failed", path=str(path), error=str(error))


def remove_record(path: Path) -> None:
    """Remove a record and the time of the last use. Raises: OSError."""
    path.unlink(missing_ok=True)
    path.with_suffix(_USED).unlink(missing_ok=True)


def touch_use(record: Path) -> None:
    """Write down that the model of this record is used now. A failure costs only that."""
    with contextlib.suppress(OSError):
        stamp = record.with_suffix(_USED)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


def read_last_use(record: Path) -> float | None:
    """Return when the model of this record was last used, in seconds since the epoch, or None."""
    try:
        return record.with_suffix(_USED).stat().st_mtime
    except OSError:
        return None


def list_files(folder: Path) -> set[str]:
    """Return the names of the files in `folder`; a link to nothing is no file. Raises: OSError."""
    return {entry.name for entry in folder.iterdir() if entry.is_file()}


def measure_folder(folder: Path) -> int:
    """Return the bytes of the files in `folder`. Raises: OSError."""
    return sum((folder / name).stat().st_size for name in list_files(folder))


def check_files(
    folder: Path, names: Iterable[str], known: Mapping[str, FileStamp], *, thorough: bool = False
) -> tuple[dict[str, FileStamp], list[str]]:
    """Return the stamps of the files now, and the names of those that do not have their digest.

    A file whose size and time are as `known` is not read, unless `thorough`.

    Raises:
        OSError: a file cannot be read.
    """
    stamps: dict[str, FileStamp] = {}
    damaged = []
    for name in names:
        file = folder / name
        stat = file.stat()
        before = known.get(name)
        if not thorough and before and (before.size, before.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            stamps[name] = before
            continue
        digest = _read_blob_name(file) or (before.digest if before else None)
        if digest is not None and compute_digest(file, digest.partition(":")[0]) != digest:
            damaged.append(name)
        stamps[name] = FileStamp(digest, stat.st_size, stat.st_mtime_ns)
    return stamps, damaged


def stamp_file(file: Path) -> FileStamp:
    """Read a file that was just made, and return its stamp. Raises: OSError."""
    stat = file.stat()
    return FileStamp(compute_digest(file, "sha256"), stat.st_size, stat.st_mtime_ns)


def _read_blob_name(file: Path) -> str | None:
    """Return the digest by which the hub's cache names the file.

    The link is followed once: further on it may lead to a store shared by repositories, with names
    of another kind.
    """
    blob = file.readlink().name if file.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{64}", blob):
        return f"sha256:{blob}"
    return f"git:{blob}" if re.fullmatch("[0-9a-f]{40}", blob) else None


def compute_digest(file: Path, kind: str) -> str:
    """Return the digest of a file: `sha256`, or `git`, the SHA-1 of a blob object.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as data:
        if kind == "sha256":
            return "sha256:" + hashlib.file_digest(data, hashlib.sha256).hexdigest()
        start = hashlib.sha1(f"blob {os.fstat(data.fileno()).st_size}\0".encode(), usedforsecurity=False)
        return "git:" + hashlib.file_digest(data, lambda: start).hexdigest()

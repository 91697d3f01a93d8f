"""Folders of models that are made here: unpacked, converted or quantised.

Guarantees: such a folder appears whole under its name or not at all, also with two processes at
work and after a crash. It is on the disk when the call returns. It is made again when what it is
made of changes, or when it is damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import files
from dropscribe.log_bridge import Log
from dropscribe.models.records import (
    RECORD,
    Record,
    check_files,
    list_files,
    read_record,
    stamp_file,
    try_write_record,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.models.stored import StoredModel

_log = Log()

_SCRATCH = ".new-"
"""Prefix of the folders in which a model is being made."""


def build_model(name: str, target: StoredModel, made_of: str, fill: Callable[[Path], None]) -> None:
    """Make the folder of `target`, unless it is there, whole, and made of `made_of`.

    Args:
        name: the model, for the log.
        target: where it is to be.
        made_of: identifies what it is made of.
        fill: writes the files into the empty folder that it is given.

    Raises:
        OSError: the disk refused. What `fill` raises comes through. Nothing is left half made.
    """
    if is_current(name, target, made_of):
        return
    with lock_folder(target.path.parent) as scratch:
        if is_current(name, target, made_of):  # another process made it meanwhile
            return
        folder = scratch / "made"
        folder.mkdir()
        fill(folder)
        names = sorted(list_files(folder))
        stamps = {file: stamp_file(folder / file) for file in names}
        for file in names:
            files.sync_file(folder / file)
        write_record(folder / RECORD, Record(made_of, target.revision, stamps))
        files.sync_folder(folder)
        if target.path.exists():
            target.path.rename(scratch / "old")
        folder.rename(target.path)
        files.sync_folder(target.path.parent)


def is_current(name: str, target: StoredModel, made_of: str) -> bool:
    """Return whether `target` is there, whole and made of `made_of`. Damage is logged.

    Raises:
        OSError: its files cannot be read.
    """
    record = read_record(target.record)
    if record is None or record.source != made_of or record.files.keys() - list_files(target.path):
        return False
    stamps, damaged = check_files(target.path, record.files, record.files)
    if damaged:
        _log.warning("model.damaged", model=name, files=damaged)
    elif stamps != record.files:
        try_write_record(target.record, Record(record.source, record.revision, stamps))
    return not damaged


@contextlib.contextmanager
def lock_folder(parent: Path) -> Iterator[Path]:
    """Work on the models in `parent` as the only process.

    Yields:
        a scratch folder, which is removed at the end.

    The lock ends with its process. So a scratch folder that is there when it is taken was left by
    a killed process.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in parent.glob(f"{_SCRATCH}*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(dir=parent, prefix=_SCRATCH))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

"""The trash of the system on Linux: "The FreeDesktop.org Trash specification" 1.0. On a Mac,
Send2Trash does this.

Each file in the trash has a note, in the folder `info`, that says where it came from and when it
was put there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dropscribe import files

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_trash(source: Path, environ: Mapping[str, str]) -> Path:
    """Return the trash that a file belongs in: the home's, or that of its own disk; see the
    specification.

    Where its disk has none and none can be made, it is the home's.
    """
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".local/share")  # noqa: PTH118
    home = Path(data, "Trash")
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    device = source.parent.stat().st_dev
    if there.stat().st_dev == device:
        return home
    top = Path(os.path.realpath(source.parent))
    while not top.is_mount():
        top = top.parent
    user = str(os.getuid())
    with contextlib.suppress(OSError):
        shared = (top / ".Trash").lstat()
        if stat.S_ISDIR(shared.st_mode) and shared.st_mode & stat.S_ISVTX:
            (top / ".Trash" / user).mkdir(mode=0o700, exist_ok=True)
            return top / ".Trash" / user
    with contextlib.suppress(OSError):
        own = top / f".Trash-{user}"
        own.mkdir(mode=0o700, exist_ok=True)
        if stat.S_ISDIR(own.lstat().st_mode):
            return own
    return home


def _find_top(trash: Path) -> Path:
    """Return the top folder of the disk that a trash is of."""
    return trash.parent if trash.name.startswith(".Trash-") else trash.parent.parent


def note_path(place: Path) -> Path:
    """Return the note of a file in the trash."""
    return place.parent.parent / "info" / f"{place.name}.trashinfo"


def write_note(place: Path, source: Path, *, replace: bool) -> bool:
    """Write the note of a file that is about to be put into the trash: from then on its name there
    is ours.

    Returns False when the name is somebody else's.

    Args:
        place: where the file goes.
        source: where it is.
        replace: whether a note that is there may be ours, from an earlier try.
    """
    note = note_path(place)
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = os.path.realpath(source.parent) + os.sep + source.name
    if (trash := place.parent.parent).name != "Trash":  # one on another disk: `.Trash-1000`, `.Trash/1000`
        path = os.path.relpath(path, _find_top(trash))
    when = time.strftime("%Y-%m-%dT%H:%M:%S")
    mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if replace else os.O_EXCL)
    try:
        descriptor = os.open(note, mode, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"[Trash Info]\nPath={quote(os.fsencode(path))}\nDeletionDate={when}\n".encode())
        file.flush()
        files.sync_descriptor(file.fileno())
    return True

"""The recordings of Apple's Voice Memos: their files, and the titles that its database has for them.

Guarantees: nothing in that folder is written, locked or created: the database is read from a copy; without a database
that can be read every recording is found by its file alone.

The tables are not documented by Apple. What is used was seen in several programs that read them: `ZCLOUDRECORDING`
with `ZPATH` (file name), `ZENCRYPTEDTITLE` (the title, in plain text) and `ZCUSTOMLABEL` (the title in older
versions, else a date).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.formats.utterances import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = (
    Path("~/Library/Group Containers/group.com.apple.VoiceMemos.shared/Recordings"),
    Path("~/Library/Application Support/com.apple.voicememos/Recordings"),
)
"""Where Voice Memos keeps recordings: from macOS 14 on, and before."""
DATABASE = "CloudRecordings.db"
_SUFFIXES = frozenset({".m4a", ".qta"})
_DATE = re.compile(r"\d{4}-\d\d-\d\dT.*")
"""What `ZCUSTOMLABEL` has where nobody gave a title."""
_NAMED = re.compile(r"(\d{4})(\d\d)(\d\d) (\d\d)(\d\d)(\d\d).*")
"""What Voice Memos calls its files: date, time and a part of an id."""
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]+')
_LONGEST = 80
"""Characters of a title in a file name."""


@dataclass(frozen=True, slots=True)
class VoiceMemo:
    """A recording of Voice Memos."""

    path: Path
    title: str
    """Empty where nobody gave one, or the database cannot be read."""
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The name of a copy: date, time and title, else the name that it has."""
        title = " ".join(_UNFIT.sub(" ", self.title).split())[:_LONGEST].strip(" .")
        found = _NAMED.fullmatch(self.path.stem)
        if not title:
            return self.path.name
        when = "{}-{}-{} {}.{}.{} ".format(*found.groups()) if found else ""
        return f"{when}{title}{self.path.suffix}"


def find_folder() -> Path:
    """Return the folder of Voice Memos' recordings. Raises: DropscribeError when there is none."""
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            if folder.expanduser().is_dir():
                return folder.expanduser()
    msg = "Voice Memos has no folder of recordings here."
    raise DropscribeError(msg, "Name it with --folder, if it is elsewhere.")


def list_memos(folder: Path) -> Iterator[VoiceMemo]:
    """Yield the recordings of a folder by file name.

    Raises: DropscribeError when it may not be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        cure = "Give the terminal Full Disk Access: System Settings, Privacy & Security."
        raise DropscribeError(f"{folder} cannot be read: {error.strerror}.", cure) from None
    titles = read_titles(folder)
    for entry in entries:
        suffix = PurePath(entry.name).suffix.lower()
        if suffix in _SUFFIXES and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
            stat = entry.stat(follow_symlinks=False)
            yield VoiceMemo(Path(entry.path), titles.get(entry.name, ""), stat.st_size, stat.st_mtime_ns)


def read_titles(folder: Path) -> dict[str, str]:
    """Return the titles by file name; none where the database cannot be read."""
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as scratch:
        try:
            for name in (DATABASE, f"{DATABASE}-wal"):  # what is in the second is newer
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(folder / name, Path(scratch, name))
            with contextlib.closing(sqlite3.connect(Path(scratch, DATABASE))) as database:
                columns = {row[1] for row in database.execute("PRAGMA table_info(ZCLOUDRECORDING)")}
                wanted = [name for name in ("ZENCRYPTEDTITLE", "ZCUSTOMLABEL") if name in columns]
                if "ZPATH" not in columns or not wanted:
                    return {}
                rows = database.execute(f"SELECT ZPATH, {', '.join(wanted)} FROM ZCLOUDRECORDING").fetchall()  # noqa: S608 (ours)
        except (OSError, sqlite3.Error):
            return {}
    titles = {}
    for path, *found in rows:
        usable = (clean_text(title) for title in found if isinstance(title, str) and not _DATE.fullmatch(title))
        title = next(filter(None, usable), "")
        if isinstance(path, str) and title:
            titles[PurePath(path).name] = title
    return titles

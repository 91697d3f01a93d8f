"""`dropscribe memos`: copies of Apple's Voice Memos, with their titles as names, into the inbox.

Guarantees: the folder of Voice Memos is only read; a memo is copied once, and again when it was changed there; a copy
is in the inbox whole or not at all, and none takes the place of a file that is not a copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import files, settings
from dropscribe.cli.console import print_json, say
from dropscribe.errors import DropscribeError, Exit
from dropscribe.library.voice_memos import find_folder, list_memos
from dropscribe.log_bridge import sanitize
from dropscribe.supervisor.inbox import DATALESS

if TYPE_CHECKING:
    from dropscribe.cli import commands
    from dropscribe.library.voice_memos import VoiceMemo
    from dropscribe.settings import Settings

_TARGET = "Voice Memos"
"""Folder in the inbox: it can have a profile of its own."""
_TAKEN = "voice-memos.json"
"""File in the state folder: size, time and copy of each memo that was taken, by file name."""


def copy_memos(arguments: commands.Memos) -> int:
    """Copy the memos that are new or changed, and print the path of each copy."""
    chosen = settings.load().settings
    memos = list(list_memos(arguments.folder or find_folder()))
    if arguments.list:
        return _list(memos, as_json=arguments.json)
    if not chosen.inbox.is_dir():
        raise DropscribeError(
            f"The inbox {chosen.inbox} is not there.", "Mount its volume, or start the daemon once."
        )
    taken = _read_taken(chosen)
    failed = 0
    for memo in memos:
        before = taken.get(memo.path.name)
        if before is not None and before[:2] == [memo.size, memo.mtime_ns]:
            continue
        try:
            copy = _copy(memo, chosen.inbox / _TARGET, None if before is None else str(before[2]))
        except OSError as error:
            say(f"{sanitize(memo.path.name)} was not copied: {error.strerror or error}.")
            failed += 1
            continue
        taken[memo.path.name] = [memo.size, memo.mtime_ns, copy.name]
        _write_taken(chosen, taken)
        print(copy)
    return Exit.FAILED if failed else Exit.OK


def _list(memos: list[VoiceMemo], *, as_json: bool) -> int:
    if as_json:
        print_json([{"path": str(memo.path), "title": memo.title or None, "bytes": memo.size} for memo in memos])
        return Exit.OK
    for memo in memos:
        print(f"{sanitize(memo.path.name)}  {sanitize(memo.title)}".rstrip())
    return Exit.OK


def _copy(memo: VoiceMemo, folder: Path, before: str | None) -> Path:
    """Copy a memo, in place of its earlier copy where that is still there. Raises: OSError."""
    if getattr(memo.path.stat(), "st_flags", 0) & DATALESS:
        raise OSError(None, "it is in iCloud and not on this Mac; open it in Voice Memos")
    folder.mkdir(exist_ok=True)
    temporary = folder / f".dropscribe-{os.getpid()}.tmp"
    try:
        shutil.copyfile(memo.path, temporary)
        found = memo.path.stat()
        if (found.st_size, found.st_mtime_ns) != (memo.size, memo.mtime_ns):
            raise OSError(None, "it is being recorded; it is copied the next time")
        os.utime(temporary, ns=(found.st_mtime_ns, found.st_mtime_ns))
        files.sync_file(temporary)
        target = (
            folder / before if before is not None and (folder / before).exists() else _find_free(folder, memo.name)
        )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(folder)
    return target


def _find_free(folder: Path, name: str) -> Path:
    path = folder / name
    number = 2
    while path.exists():
        path = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
        number += 1
    return path


def _read_taken(chosen: Settings) -> dict[str, list[int | str]]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((chosen.state / _TAKEN).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {k: v for k, v in found.items() if isinstance(v, list) and len(v) == 3}
    return {}


def _write_taken(chosen: Settings, taken: dict[str, list[int | str]]) -> None:
    chosen.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_atomically(chosen.state / _TAKEN, json.dumps(taken).encode())

"""What the command line asks of the daemon: requests as files in the state folder, and the pause.

Guarantees: a request is there whole or not at all; it waits for a daemon that does not run; one
that is damaged, or of another version, is dropped and harms nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import files
from dropscribe.transcript import correction_from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from dropscribe.transcript import Correction

PAUSED = "paused"
"""File in the state folder whose presence means that no work is given out; it survives restarts."""
FOLDER = "requests"
"""Folder in the state folder with a file for each request."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again what failed: a recording and its hooks, or all of them."""

    file: str | None
    """Path relative to the inbox; None for all."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Transcribe again what is done or failed."""

    files: tuple[str, ...] | None
    """Paths relative to the inbox; None for all."""
    stale: bool
    """Only those whose settings have changed; a stored result will do where it fits."""


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the speakers of a finished recording other names."""

    file: str
    """Path relative to the inbox."""
    names: dict[str, str]
    """The new name of each old one."""


@dataclass(frozen=True, slots=True)
class Correct:
    """Correct the transcript of a recording, and publish it again."""

    file: str
    """Path relative to the inbox."""
    correction: Correction


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back a correction of a recording, and publish it again."""

    file: str
    """Path relative to the inbox."""
    made: str = ""
    """When the correction was made that is meant; empty: the last that holds."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not transcribe a recording that waits or is being transcribed."""

    file: str
    """Path relative to the inbox."""


Request = Retry | Redo | Skip | Rename | Correct | Undo


def write_request(state: Path, request: Request) -> None:
    """Leave a request for the daemon. Raises: OSError."""
    match request:
        case Retry():
            data: dict[str, object] = {"retry": request.file}
        case Skip():
            data = {"skip": request.file}
        case Rename():
            data = {"rename": request.file, "names": request.names}
        case Correct():
            data = {"correct": request.file, "correction": to_dict(request.correction)}
        case Undo():
            data = {"undo": request.file, "made": request.made}
        case Redo():
            data = {"redo": None if request.files is None else list(request.files), "stale": request.stale}
    (state / FOLDER).mkdir(exist_ok=True)
    name = f"{time.time_ns()}-{secrets.token_hex(4)}.json"
    files.write_atomically(state / FOLDER / name, json.dumps(data).encode())


def take_requests(state: Path) -> Generator[Request]:
    """Yield the requests that are there, the oldest first; each is removed after it was acted on."""
    folder = state / FOLDER
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except FileNotFoundError:
        return
    for name in names:
        request = None
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            request = _parse((folder / name).read_bytes())
        if request is not None:
            yield request
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _parse(text: bytes) -> Request:
    data = json.loads(text)
    if "rename" in data:
        names = {_require_text(old): _require_text(new) for old, new in data["names"].items()}
        return Rename(_require_text(data["rename"]), names)
    if "correct" in data:
        correction = correction_from_dict(data["correction"])
        _check_correction(correction)
        return Correct(_require_text(data["correct"]), correction)
    if "undo" in data:
        return Undo(_require_text(data["undo"]), _require_text(data["made"]))
    if "redo" in data:
        named = data["redo"]
        if not isinstance(named, list | None):
            raise TypeError(named)
        return Redo(None if named is None else tuple(map(_require_text, named)), bool(data["stale"]))
    if "skip" in data:
        return Skip(_require_text(data["skip"]))
    named = data["retry"]
    return Retry(None if named is None else _require_text(named))


def _check_correction(correction: Correction) -> None:
    """Raise TypeError or ValueError for values that no correction has."""
    texts = [correction.made, correction.by]
    for edit in correction.edits:
        texts += [edit.kind, edit.before, edit.after]
        if not 0.0 <= float(edit.start) <= float(edit.end) < math.inf:
            raise ValueError(edit.start)
    for text in texts:
        _require_text(text).encode()


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def pause(state: Path) -> None:
    """Let the daemon give out no work until `resume`. Raises: OSError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_atomically(state / PAUSED, b"")


def resume(state: Path) -> None:
    """Let the daemon give out work again."""
    (state / PAUSED).unlink(missing_ok=True)


def is_paused(state: Path) -> bool:
    """Return whether the daemon is to give out no work."""
    return (state / PAUSED).exists()

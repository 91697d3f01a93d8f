"""What the command line asks of the daemon: requests as files in the state folder, and the pause.

Guarantees: a request is there whole or not at all; it waits for a daemon that does not run; one
that is damaged, or of another version, is dropped and harms nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import files

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

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


Request = Retry | Redo


def write_request(state: Path, request: Request) -> None:
    """Leave a request for the daemon. Raises: OSError."""
    if isinstance(request, Retry):
        data: dict[str, object] = {"retry": request.file}
    else:
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
    if "redo" in data:
        named = data["redo"]
        if not isinstance(named, list | None):
            raise TypeError(named)
        return Redo(None if named is None else tuple(map(_require_text, named)), bool(data["stale"]))
    named = data["retry"]
    return Retry(None if named is None else _require_text(named))


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

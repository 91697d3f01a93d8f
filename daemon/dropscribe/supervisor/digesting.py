"""Digesting settled files in a thread, one after another: a large one does not stop the loop."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor.inbox import digest_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropscribe.supervisor.inbox import Stat

UNREAD = ""
"""Takes the place of the digest of a file that is too large to be read at all."""


@dataclass(frozen=True, slots=True)
class Digested:
    """A settled file was digested; posted from the thread that does it."""

    relative: str
    found: Stat
    sha256: str | None
    """None when it has changed meanwhile, or with an `error`."""
    error: DropscribeError | OSError | None


class Digester:
    """The thread, and the names of the files that it has or has posted. See `forget`."""

    def __init__(self, inbox: Path, post: Callable[[Digested], None]) -> None:
        """`post` takes what was digested, from the thread."""
        self._inbox = inbox
        self._post = post
        self._queue: queue.SimpleQueue[tuple[str, Stat] | None] = queue.SimpleQueue()
        self._names: set[str] = set()

    def __contains__(self, relative: str) -> bool:
        return relative in self._names

    def __len__(self) -> int:
        return len(self._names)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, daemon=True, name="digest").start()

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)

    def add(self, relative: str, found: Stat) -> None:
        """Digest a file, after those that are waiting."""
        self._names.add(relative)
        self._queue.put((relative, found))

    def skip(self, relative: str, found: Stat) -> None:
        """Post a file that is too large to be read: that would take hours."""
        self._names.add(relative)
        self._post(Digested(relative, found, UNREAD, None))

    def forget(self, relative: str) -> None:
        """Drop the name of a file whose digest was seen."""
        self._names.discard(relative)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            relative, found = item
            sha256, error = None, None
            try:
                sha256 = digest_file(self._inbox / relative, found)
            except (OSError, DropscribeError) as caught:
                error = caught
            self._post(Digested(relative, found, sha256, error))

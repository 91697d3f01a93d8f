"""Digesting settled files in a thread, one after another: a large one does not stop the loop."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor.first_bytes import is_recording
from dropscribe.supervisor.inbox import digest_file, is_readable
from dropscribe.supervisor.readiness import find_hold
from dropscribe.supervisor.recording_names import find_suffix
from dropscribe.supervisor.writers import Writers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropscribe.supervisor.inbox import Stat
    from dropscribe.supervisor.readiness import Hold

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
    hold: Hold | None = None
    """Why it was not digested: it stands still and is not finished."""
    foreign: bool = False
    """Whether it was not digested because it has no suffix and is no recording."""


class Digester:
    """The thread, and the names of the files that it has or has posted. See `forget`."""

    def __init__(self, inbox: Path, post: Callable[[Digested], None], incomplete_s: float) -> None:
        """Nothing is started yet.

        Args:
            inbox: the folder that names are relative to.
            post: takes what was digested, from the thread.
            incomplete_s: seconds for which a file that is too short is waited for.
        """
        self._inbox = inbox
        self._post = post
        self._incomplete_s = incomplete_s
        self._writers = Writers()
        self._queue: queue.SimpleQueue[tuple[str, Stat, float] | None] = queue.SimpleQueue()
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

    def add(self, relative: str, found: Stat, waited_s: float = 0.0) -> None:
        """Digest a file, after those that are waiting; `waited_s` is how long it was held already."""
        self._names.add(relative)
        self._queue.put((relative, found, waited_s))

    def skip(self, relative: str, found: Stat) -> None:
        """Post a file that is too large to be read: that would take hours."""
        self._names.add(relative)
        self._post(Digested(relative, found, UNREAD, None))

    def forget(self, relative: str) -> None:
        """Drop the name of a file whose digest was seen."""
        self._names.discard(relative)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            relative, found, waited_s = item
            try:
                made = self._digest(relative, found, waited_s)
            except (OSError, DropscribeError) as caught:
                made = Digested(relative, found, None, caught)
            self._post(made)

    def _digest(self, relative: str, found: Stat, waited_s: float) -> Digested:
        """Digest a file if it is a recording and finished. Raises: OSError, DropscribeError."""
        path = self._inbox / relative
        if is_readable(path, found):
            if not find_suffix(path.name) and not is_recording(path):
                return Digested(relative, found, None, None, foreign=True)
            if hold := find_hold(path, self._writers, waited_s=waited_s, incomplete_s=self._incomplete_s):
                return Digested(relative, found, None, None, hold)
        return Digested(relative, found, digest_file(path, found), None)

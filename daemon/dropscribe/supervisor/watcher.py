"""Events of the inbox: a quicker way than the next scan to see that a file came or left.

watchdog's threads do no more here than save a path: an exception in a handler would end all events
for good.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from dropscribe.supervisor.inbox import inbox_fault
from dropscribe.supervisor.mounts import NETWORK, find_file_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.api import BaseObserver

    from dropscribe.supervisor.inbox import Inbox

logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # at its end it warns of an end that was asked for

_MOST_PATHS = 10_000


@dataclass(slots=True)
class Hints:
    """What events say about the inbox. A path, relative to it, may be in both sets: another file
    has its name now.
    """

    changed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    scan: bool = False
    """Whether the events do not say all of it: a scan is needed."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed or self.scan)


class _Collector(FileSystemEventHandler):
    """Collects hints for the main loop; the only code that runs on watchdog's threads."""

    def __init__(self, root: str, wake: Callable[[], None]) -> None:
        self._root = root + os.sep
        self._wake = wake
        self._lock = threading.Lock()
        self._hints = Hints()

    def on_any_event(self, event: FileSystemEvent) -> None:
        with self._lock:
            idle, hints = not self._hints, self._hints
            if isinstance(event, FileDeletedEvent | FileMovedEvent):
                self._add(hints.removed, event.src_path)
            if isinstance(event, DirCreatedEvent | DirMovedEvent):
                hints.scan = True
            elif isinstance(event, FileCreatedEvent | FileModifiedEvent | FileMovedEvent | FileClosedEvent):
                self._add(hints.changed, event.dest_path or event.src_path)
            elif not isinstance(event, FileDeletedEvent):
                return
        if idle:
            self._wake()

    def _add(self, paths: set[str], named: bytes | str) -> None:
        """Add a path; where it is outside the inbox, or they are too many, a scan is needed."""
        path = os.fsdecode(named)
        if path.startswith(self._root) and len(paths) < _MOST_PATHS:
            paths.add(path.removeprefix(self._root))
        else:
            self._hints.scan = True

    def take(self) -> Hints:
        with self._lock:
            hints, self._hints = self._hints, Hints()
        return hints


class Watcher:
    """watchdog on the inbox, restarted whenever it or the folder is no longer what it was."""

    def __init__(self, inbox: Inbox, setting: str, wake: Callable[[], None]) -> None:
        """`wake` is called, from another thread, when there is something to take."""
        self._inbox = inbox
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._collector = _Collector("", wake)
        self._identity: tuple[int, int] | None = None
        self.why = ""
        """Why there are no events, where the setting leaves that open."""
        self.native = setting == "native" or (setting == "auto" and not self._is_on_network())

    def _is_on_network(self) -> bool:
        kind = find_file_system(self._inbox.root)
        if kind in NETWORK:
            self.why = f"the inbox is on {kind}, which sends no events"
        return kind in NETWORK

    def ensure_running(self) -> bool:
        """Start the observer, or restart it when it died or the folder was replaced. Returns True
        when it did.

        Raises: EnvironmentFaultError when the inbox is not there.
        """
        if not self.native:
            return False
        identity = self._inbox.identify()
        observer = self._observer
        if (
            observer is not None
            and self._identity == identity
            and observer.is_alive()
            and observer.emitters
            and all(emitter.is_alive() for emitter in observer.emitters)
        ):
            return False
        self.close()
        root = os.path.realpath(self._inbox.root)
        self._collector = _Collector(root, self._wake)
        try:
            observer = Observer()  # opens an inotify instance
            observer.schedule(self._collector, root, recursive=self._inbox.recursive)
            observer.start()
        except OSError as error:
            self._inbox.identify()
            if isinstance(error, PermissionError):
                raise inbox_fault(self._inbox.root, error) from None
            # ENOSPC: no inotify watches left. EMFILE: no inotify instances left. Others, such as ENOSYS: a kernel
            # or a sandbox without events. The folder is there, so it is scanned instead.
            self.native = False
            if error.errno in {errno.ENOSPC, errno.EMFILE}:
                self.why = "the system has no more file watches (fs.inotify.max_user_watches)"
            else:
                self.why = f"the system gives no file events ({error.strerror or error})"
            return True
        self._observer, self._identity = observer, identity
        return True

    def take(self) -> Hints:
        """Return what events said since the last call."""
        return self._collector.take()

    def close(self) -> None:
        """End watchdog's threads."""
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(timeout=5)

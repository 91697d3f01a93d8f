"""The messages that other threads post to the loop: work comes before new files.

Guarantees: safe to post from any thread and from a signal handler; each message is taken exactly
once; messages of the same urgency are taken in the order in which they were posted; one that
yields waits for `YIELD_TO` others at most.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

YIELD_TO = 50
"""So many urgent messages in a row let another one pass: even a worker that reports without a pause
does not keep new files from being taken in.
"""


class Mailbox(Generic[T]):
    """Messages in two queues: the urgent ones, and those that yield."""

    def __init__(self, yields: Callable[[T], bool]) -> None:
        """`yields` says of a message that it may wait for the others."""
        self._yields = yields
        # Their `put` may interrupt itself, as a signal handler does; no lock of ours could.
        self._urgent: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._yielding: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._posted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._in_a_row = 0

    def post(self, message: T) -> None:
        """Add a message."""
        (self._yielding if self._yields(message) else self._urgent).put(message)
        self._posted.put(None)

    def take(self, timeout: float) -> T | None:
        """Return the next message, or None when none comes within `timeout` seconds."""
        try:
            self._posted.get(timeout=timeout)
        except queue.Empty:
            return None
        first, second = self._urgent, self._yielding
        if self._in_a_row >= YIELD_TO:
            first, second = second, first
        taken = first if not first.empty() else second
        self._in_a_row = self._in_a_row + 1 if taken is self._urgent else 0
        return taken.get_nowait()

    def is_empty(self) -> bool:
        """Return whether no message waits."""
        return self._posted.empty()

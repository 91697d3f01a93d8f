"""How long to wait between two scans where the system sends no events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class PollingLimits:
    """What scans may cost while nothing happens."""

    least_s: float = 5.0
    """Seconds between two scans: a small inbox is looked at so often."""
    share_of_processor: float = 0.002
    """Of one core, on average. An idle daemon is not to be found in a list of busy processes."""
    share_of_time: float = 0.05
    """Of the time, while a server answers: others use its disk too, and nothing else is done meanwhile."""


POLLING_LIMITS = PollingLimits()


class PollingPace:
    """Measures scans, and makes the pauses between them grow with their cost."""

    def __init__(
        self,
        most_s: float,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        """`most_s` is the longest pause; `clock` and `processor` give seconds, of time and of work."""
        self._most_s = most_s
        self._clock = clock
        self._processor = processor
        self._began = (0.0, 0.0)
        self.pause_s = min(most_s, POLLING_LIMITS.least_s)
        """Seconds from the start of one scan to the start of the next."""

    def begin(self) -> None:
        """A scan begins."""
        self._began = self._clock(), self._processor()

    def end(self) -> None:
        """The scan is over: the pause follows from what it took."""
        took, worked = self._clock() - self._began[0], self._processor() - self._began[1]
        limits = POLLING_LIMITS
        fair = max(limits.least_s, worked / limits.share_of_processor, took / limits.share_of_time)
        self.pause_s = min(self._most_s, fair)

"""What is wrong around the daemon: a full disk, a folder that is gone, a model that is missing.

Guarantees: said once, when it begins and when it is over; noted in the journal for `dropscribe status`; tried again
after pauses that double; no work is given out meanwhile, and no recording is to blame.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING

import structlog

from dropscribe.supervisor import outbox

if TYPE_CHECKING:
    from dropscribe.errors import EnvironmentFaultError
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal


class Trouble:
    """The one thing that is wrong at present, or nothing."""

    def __init__(self, settings: Settings, journal: Journal, pauses: tuple[float, float]) -> None:
        """`pauses` are the seconds before the first and, doubling, between the last tries."""
        self._settings = settings
        self._journal = journal
        self._pauses = pauses
        self._log = structlog.get_logger()
        self._delay = self._until = 0.0
        self.error: EnvironmentFaultError | None = None

    @property
    def code(self) -> str:
        """What is wrong, as its stable name; empty when nothing is."""
        return "" if self.error is None else self.error.code

    @property
    def lasts(self) -> bool:
        """Whether it is too early to try again."""
        return self.error is not None and time.monotonic() < self._until

    def try_now(self) -> None:
        """Wait no longer: a person says so."""
        self._until = 0.0

    def wait_out(self, error: EnvironmentFaultError) -> None:
        """Stop giving out work for a while, and say so once."""
        first, last = self._pauses
        again = error.code == self.code
        self._delay = min(self._delay * 2, last) if again else first
        self.error, self._until = error, time.monotonic() + self._delay
        if not again:
            self._log.warning("daemon.waiting", code=error.code, reason=error.message, cure=error.cure)
        with contextlib.suppress(sqlite3.Error):
            self._journal.note(trouble=json.dumps({"code": error.code, "reason": str(error), "since": time.time()}))

    def over(self) -> None:
        """Something worked: what was wrong is over."""
        if self.error is not None:
            self._journal.note(trouble="")  # a journal that cannot be written is not over
            if self.code.startswith("outbox-"):
                outbox.sweep(self._settings.outbox)
            self._log.info("daemon.goes_on", code=self.code)
            self.error = None

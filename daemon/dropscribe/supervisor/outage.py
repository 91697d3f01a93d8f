"""An outage: a fault of the environment, such as a full disk, a folder that is gone or a model
that is missing.

Guarantees: logged once, when it begins and when it ends; saved in the journal for `dropscribe
status`; tried again after pauses that double; no work is given out meanwhile, and no recording is
to blame.
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


class Outage:
    """The present outage of one daemon, or none."""

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
        """The stable name of the fault; empty when there is none."""
        return "" if self.error is None else self.error.code

    @property
    def is_pausing(self) -> bool:
        """Whether it is too early to try again."""
        return self.error is not None and time.monotonic() < self._until

    def retry_now(self) -> None:
        """End the pause: a person asked for another try."""
        self._until = 0.0

    def begin(self, error: EnvironmentFaultError) -> None:
        """Give out no work for a while. The same fault once more makes the pause longer and is not
        logged.
        """
        first, last = self._pauses
        again = error.code == self.code
        self._delay = min(self._delay * 2, last) if again else first
        self.error, self._until = error, time.monotonic() + self._delay
        if not again:
            self._log.warning("daemon.waiting", code=error.code, reason=error.message, cure=error.cure)
        with contextlib.suppress(sqlite3.Error):
            self._journal.set_meta(
                trouble=json.dumps({"code": error.code, "reason": str(error), "since": time.time()})
            )

    def end(self) -> None:
        """Something worked, so an outage, if there was one, is over."""
        if self.error is not None:
            self._journal.set_meta(trouble="")  # an outage of the journal itself does not end before this works
            if self.code.startswith("outbox-"):
                outbox.remove_temporary_files(self._settings.outbox)
            self._log.info("daemon.goes_on", code=self.code)
            self.error = None

"""What becomes of a recording on which the work failed.

Guarantees: a failure is treated by its fault: one of the recording quarantines it, one of the
engine is tried again behind the others, `ATTEMPTS` times in all, one of the environment is raised
and the recording waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from dropscribe.errors import EnvironmentFaultError, Fault
from dropscribe.supervisor import profiles
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.scheduler import ALONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe import protocol
    from dropscribe.settings import Settings
    from dropscribe.supervisor.intake import Intake
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.publisher import Publisher
    from dropscribe.supervisor.scheduler import Scheduler

ATTEMPTS = 3
"""How often a recording is tried when the engine fails on it."""
_ONE_FILE = frozenset({"permission-denied", "unreadable", "read-failed", "in-icloud"})
"""Faults of the environment that concern one file: the others go on."""


class Failures:
    """Decides on failures, in the thread that owns the journal."""

    def __init__(
        self, settings: Settings, journal: Journal, intake: Intake, scheduler: Scheduler, publisher: Publisher
    ) -> None:
        """A recording goes back to `intake` or `scheduler`, or on to `publisher`."""
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._scheduler = scheduler
        self._publisher = publisher
        self._log = structlog.get_logger()

    def handle(self, recording: Recording, settings: Settings, failed: protocol.Failed) -> None:
        """Decide what becomes of a recording on which the work failed.

        Args:
            recording: The recording, as it was claimed.
            settings: Those that were in force for it.
            failed: What the worker reported.

        Raises:
            EnvironmentFaultError: The fault concerns every recording; this one is queued again.
        """
        code, reason = failed.code, f"{failed.message} {failed.cure}".strip()
        found = self._intake.stat(recording)
        if found != Stat.of(recording):  # it failed because it was being changed, or left
            self._scheduler.release_changed(recording, found)
            return
        if code == "gone" and self._journal.sources.find_archived(recording.id) is not None:
            self._scheduler.put_back([recording])  # it was archived before it was opened, and is read there
            return
        match Fault(failed.fault):
            case Fault.RECORDING:
                self._publisher.quarantine(recording, code, reason)
            case Fault.ENVIRONMENT if code in _ONE_FILE:
                self._intake.mark_waiting(recording, code, reason)
                self._log.warning("inbox.unreadable", file=str(recording.name), code=code, reason=reason)
            case Fault.ENVIRONMENT if code in profiles.FAULTS and settings.model != self._settings.model:
                why = "A profile asks for it, and a profile makes nobody download. Then `dropscribe retry` goes on."
                self._publisher.quarantine(recording, code, f"{reason} {why}")
            case Fault.ENVIRONMENT:
                self._scheduler.put_back([recording], code, reason)
                raise EnvironmentFaultError(code, failed.message, failed.cure)
            case Fault.ENGINE:
                self._retry_or_quarantine(recording, code, reason, failed.detail)

    def handle_engine_fault(
        self, recordings: Sequence[Recording], code: str, reason: str, detail: str = "", *, packed: bool = False
    ) -> None:
        """The engine failed on these recordings.

        Which recording of a pack caused it is unknown: each is transcribed alone, and the attempt
        does not count.
        """
        if not packed:
            for recording in recordings:
                self._retry_or_quarantine(recording, code, reason, detail)
            return
        files = [decode_name(recording.name) for recording in recordings]
        self._log.warning("pack.failed", files=files, code=code, reason=reason, detail=detail[-2000:] or None)
        why = f"{reason} Others were transcribed with it; now each is on its own."
        self._scheduler.put_back(recordings, ALONE, why)

    def _retry_or_quarantine(self, recording: Recording, code: str, reason: str, detail: str = "") -> None:
        """Try again, up to `ATTEMPTS` times, then quarantine. `detail` is the engine's traceback,
        for the log.
        """
        self._log.warning(
            "job.engine_failed",
            **recording.log_facts,
            attempt=recording.attempts,
            code=code,
            reason=reason,
            detail=detail[-2000:] or None,
        )
        if recording.attempts < ATTEMPTS:
            self._journal.recordings.release(recording.id, code, reason, at_end=time.time())
            self._intake.set_state(recording, State.QUEUED)
        else:
            cure = "`dropscribe retry` tries it again; another model or backend may do better."
            self._publisher.quarantine(recording, code, f"{reason} It was tried {recording.attempts} times. {cure}")

"""Every error a person may see: it says what happened and what to do next.

Guarantees: an error that leaves a command carries its exit code; an error about a recording
carries a stable `code` and a fault class, because the supervisor decides by class what happens to
the recording.
"""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    DEGRADED = 4
    ALREADY_RUNNING = 5
    """Another daemon has this inbox or this state."""


class Fault(enum.StrEnum):
    """What a failure is about, and so what is done: wait, quarantine, or replace the worker and
    try again.
    """

    ENVIRONMENT = "environment"
    """The machine or the settings: folder gone, disk full, model missing. The queue waits and goes
    on by itself."""
    RECORDING = "recording"
    """The file itself: no sound in it, not audio, damaged. Quarantined at once; retried when it
    changes."""
    ENGINE = "engine"
    """The engine failed on it: crashed, hung, out of memory. Tried again in a fresh worker, then
    quarantined."""


class DropscribeError(Exception):
    """Base of all errors shown to a person. `message` says what happened, `cure` what to do."""

    exit_code = Exit.FAILED

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()


class UsageError(DropscribeError, ValueError):
    """A setting or an argument is wrong."""

    exit_code = Exit.USAGE


class NotRunningError(DropscribeError):
    """The command needs a running daemon and there is none."""

    exit_code = Exit.NOT_RUNNING


class JobError(DropscribeError):
    """The work on one recording failed. `code` is stable and kebab-case: `no-audio`,
    `model-missing`, ...
    """

    fault = Fault.ENGINE

    def __init__(self, code: str, message: str, cure: str = "") -> None:
        super().__init__(message, cure)
        self.code = code


class EnvironmentFaultError(JobError):
    """See `Fault.ENVIRONMENT`."""

    fault = Fault.ENVIRONMENT


class RecordingFaultError(JobError):
    """See `Fault.RECORDING`."""

    fault = Fault.RECORDING


class EngineFaultError(JobError):
    """See `Fault.ENGINE`."""

    fault = Fault.ENGINE

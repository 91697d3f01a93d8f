"""What the journal holds, as values: a frozen dataclass for each kind of row, an enum for each
kind of state.
"""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe.supervisor.names import decode_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from dropscribe.supervisor.outbox import Published
    from dropscribe.transcript import Correction


GUEST = b"\0guest/"
"""Begins the keys of recordings that other programs sent (`supervisor.guests`): no path has a NUL."""


class State(enum.StrEnum):
    """How far a recording has come."""

    WAITING = "waiting"
    """Seen and settled, but it cannot be read at present; `reason` says why. Looked at again at
    every scan.
    """
    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    """The transcript is in `results`; its files are being written."""
    DONE = "done"
    FAILED = "failed"
    """Quarantined; tried again when the file changes or a person asks."""
    SKIPPED = "skipped"
    """A person does not want it transcribed; taken back by a retry, or when the file changes."""
    GONE = "gone"
    """Removed from the inbox before it was transcribed."""


class HookWay(enum.StrEnum):
    """The setting that names a hook."""

    ON_DONE = "on_done"
    ON_FAILED = "on_failed"
    WEBHOOK = "webhook"


class DisposalWay(enum.StrEnum):
    """Where a source goes when its outputs are there. The setting `after` has one more value:
    `keep`.
    """

    ARCHIVE = "archive"
    TRASH = "trash"
    DELETE = "delete"


class LeavingState(enum.StrEnum):
    """How far a source is on its way out of the inbox."""

    DUE = "due"
    BEGUN = "begun"
    MOVED = "moved"
    KEPT = "kept"
    """It stays in the inbox for good."""


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A file of the inbox, as it is now."""

    key: bytes
    """Names it in the journal: `Inbox.key`."""
    path: PurePath
    """Relative to the inbox, as the file system spells it."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the journal has it: what a scan compares with."""

    key: bytes
    size: int
    mtime_ns: int
    state: State


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the journal; see the comments in the schema. Paths are bytes there: a name need
    not be UTF-8.
    """

    id: int
    key: bytes
    path: bytes
    size: int
    mtime_ns: int
    sha256: str | None
    result: str | None
    state: State
    code: str
    reason: str
    attempts: int
    base: str | None
    seen: float
    changed: float
    started: float | None
    audio_s: float | None
    done_s: float
    speed: float | None
    settings: str = ""
    redo: str = ""
    discard_result: bool = False
    """Column `anew`."""
    content_changed: bool = False
    """Column `other`."""
    missing: bool = False
    priority: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any] | sqlite3.Row) -> Recording:
        """Build from a row that holds exactly the table's columns; a journal of an older program
        has fewer.
        """
        values = dict(row)
        values["state"] = State(row["state"])
        values["base"] = None if row["base"] is None else os.fsdecode(row["base"])
        values["discard_result"] = bool(values.pop("anew", False))
        values["content_changed"] = bool(values.pop("other", False))
        values["missing"] = bool(values.get("missing", False))
        return cls(**values)

    @property
    def name(self) -> PurePath:
        """Path relative to the inbox as the file system spells it."""
        return PurePath(os.fsdecode(self.path))

    @property
    def is_guest(self) -> bool:
        """Whether another program sent it: its path is absolute, and its file in no folder of a person's."""
        return self.key.startswith(GUEST)

    @property
    def file(self) -> InboxFile:
        """The file as it was when the row was written."""
        return InboxFile(self.key, self.name, self.size, self.mtime_ns)

    @property
    def log_facts(self) -> dict[str, Any]:
        """Facts that name it in a line of the log."""
        return {"job_id": self.id, "file": decode_name(self.name)}


@dataclass(frozen=True, slots=True)
class NewHook:
    """A hook that is to be run for a recording that is done or failed."""

    way: HookWay
    facts: str
    """JSON, with paths as os.fsdecode gives them."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook that is to be run, or that failed for good."""

    id: int
    recording: int
    way: HookWay
    facts: str
    tries: int
    given_up: bool
    problem: str

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Hook:
        """Build from a row that holds exactly the table's columns."""
        return cls(**dict(row) | {"way": HookWay(row["way"]), "given_up": bool(row["given_up"])})


@dataclass(frozen=True, slots=True)
class Leaving:
    """The disposal of a source whose outputs are there: planned, under way, or over."""

    recording: int
    way: DisposalWay
    state: LeavingState
    target: bytes | None
    reason: str

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Leaving:
        """Build from a row that holds exactly the table's columns."""
        return cls(**dict(row) | {"way": DisposalWay(row["way"]), "state": LeavingState(row["state"])})

    @property
    def place(self) -> Path | None:
        """Where it goes or is."""
        return None if self.target is None else Path(os.fsdecode(self.target))


@dataclass(frozen=True, slots=True)
class AdoptedSet:
    """A set of outputs that was found in the outbox, and the recording that it was made of."""

    key: bytes
    path: PurePath
    """Of the recording, relative to the inbox."""
    size: int
    sha256: str
    fingerprint: str
    """Stands for the settings that made the result: `result_options.fingerprint`."""
    transcript: str
    """JSON."""
    base: str
    """Name of the set relative to the outbox, without suffix."""
    published: Sequence[Published]
    settings: str
    """JSON of the settings that made the outputs."""
    corrections: Sequence[Correction] = ()
    """Made on `transcript`."""


def format_mark(when: float) -> str:
    """Return the mark under which the outputs of that time (seconds since the epoch) are kept.

    See `outbox.keep_old_versions`.
    """
    return time.strftime("%Y-%m-%d %H.%M.%S", time.localtime(when))


def encode_text(text: str) -> str:
    """Return a text as SQLite takes it: what names a file may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()

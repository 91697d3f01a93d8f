"""The journal: every recording that was seen, what became of it and why, in one SQLite file.

Guarantees: one writer, the daemon (the command line opens it read-only); every method that changes something is
one transaction, on the disk when it returns; a recording is in exactly one state. A finished transcript is kept
here, so that the same recording under another name is published again and not transcribed again.

No WAL: SQLite before 3.51.3 can corrupt a WAL with two connections that write or checkpoint.
"""

from __future__ import annotations

import enum
import json
import os
import re
import sqlite3
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe.errors import DropscribeError
from dropscribe.supervisor import outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,      -- names the file: Inbox.key
    path BLOB NOT NULL,            -- relative to the inbox, as the file system spells it
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    result TEXT,                   -- key into results
    state TEXT NOT NULL,
    code TEXT NOT NULL DEFAULT '', -- of the last failure, or of what is waited for
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    base BLOB,                     -- output name without suffix, decided once
    seen REAL NOT NULL,            -- times are seconds since the epoch
    changed REAL NOT NULL,
    started REAL,
    audio_s REAL,
    done_s REAL NOT NULL DEFAULT 0,
    speed REAL
);
CREATE INDEX recordings_by_state ON recordings (state, changed, id);
CREATE INDEX recordings_by_result ON recordings (result);
CREATE TABLE bases (base BLOB PRIMARY KEY, recording INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE results (key TEXT PRIMARY KEY, transcript BLOB NOT NULL, made REAL NOT NULL);
CREATE TABLE outputs (path BLOB PRIMARY KEY, recording INTEGER NOT NULL, sha256 TEXT NOT NULL, beside BLOB)
    WITHOUT ROWID;
CREATE TABLE checkpoints (result TEXT NOT NULL, part INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (result, part)) WITHOUT ROWID;
"""

_STEPS = (
    """
    -- JSON of the settings that made the outputs, or are making them (profiles.used); empty when not known
    ALTER TABLE recordings ADD COLUMN settings TEXT NOT NULL DEFAULT '';
    -- asked for again: under which mark the older outputs are kept (outbox.keep); empty when not asked for
    ALTER TABLE recordings ADD COLUMN redo TEXT NOT NULL DEFAULT '';
    -- whether a stored result will not do
    ALTER TABLE recordings ADD COLUMN anew INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE hooks (
        id INTEGER PRIMARY KEY,
        recording INTEGER NOT NULL,
        way TEXT NOT NULL,             -- the setting: on_done, on_failed, webhook
        facts TEXT NOT NULL,           -- JSON, with paths as os.fsdecode gives them
        tries INTEGER NOT NULL DEFAULT 0,
        given_up INTEGER NOT NULL DEFAULT 0,
        problem TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX hooks_by_recording ON hooks (recording);
    CREATE TABLE sources (
        recording INTEGER PRIMARY KEY,
        way TEXT NOT NULL,             -- archive, trash, delete
        state TEXT NOT NULL,           -- due, begun, moved, kept
        target BLOB,                   -- absolute path of where it goes or is
        reason TEXT NOT NULL DEFAULT ''
    );
    """,
    """
    -- whether the file has another content than the one that the outputs, if there are any, were made of
    ALTER TABLE recordings ADD COLUMN other INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- whether a person took the file away: what comes under its name is another recording
    ALTER TABLE recordings ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;
    """,
)
"""What made each later version of the schema out of the one before it."""

VERSION = 1 + len(_STEPS)
"""Value of SQLite's `user_version`; a journal of a newer program is refused."""


class State(enum.StrEnum):
    """Where a recording is on its way."""

    WAITING = "waiting"
    """Seen and settled, but it cannot be read at present; `reason` says why. Looked at again at every scan."""
    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    """The transcript is in `results`; its files are being written."""
    DONE = "done"
    FAILED = "failed"
    """Quarantined; tried again when the file changes or a person asks."""
    GONE = "gone"
    """Removed from the inbox before it was transcribed."""


_QUEUED = (State.QUEUED, State.WAITING)


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the journal; see the comments in the schema. Paths are bytes there: a name need not be UTF-8."""

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
    anew: int = 0
    other: int = 0
    missing: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any] | sqlite3.Row) -> Recording:
        """Build from a row that holds exactly the table's columns."""
        base = None if row["base"] is None else os.fsdecode(row["base"])
        return cls(**dict(row) | {"state": State(row["state"]), "base": base})

    @property
    def name(self) -> PurePath:
        """Path relative to the inbox as the file system spells it."""
        return PurePath(os.fsdecode(self.path))

    @property
    def told(self) -> dict[str, Any]:
        """What a line of the log says of it."""
        return {"job_id": self.id, "file": outbox.readable(self.name)}


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook that is to be run, or that failed for good."""

    id: int
    recording: int
    way: str
    facts: str
    tries: int
    given_up: int
    problem: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is to become, or has become, of a source whose outputs are there; see the schema."""

    recording: int
    way: str
    state: str
    target: bytes | None
    reason: str

    @property
    def place(self) -> Path | None:
        """Where it goes or is."""
        return None if self.target is None else Path(os.fsdecode(self.target))


class JournalError(DropscribeError):
    """The journal cannot be opened."""


class Journal:
    """The open journal. Every method may raise sqlite3.OperationalError (disk full, read-only, gone)."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open `path`, making it if need be.

        Raises: JournalError when it is of a newer program; sqlite3.DatabaseError when it is damaged.
        """
        target = path.absolute().as_uri() + ("?mode=ro" if readonly else "")
        self._db = sqlite3.connect(target, uri=True, timeout=10, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._prepare(path, readonly=readonly)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, path: Path, *, readonly: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            msg = f"The journal {path} was written by a newer version of Dropscribe."
            raise JournalError(msg, "Update Dropscribe.")
        if readonly:
            if 0 < version < VERSION:  # the daemon that has it open is of an older program: nothing is there yet
                tables = re.findall(r"CREATE (TABLE[^;]+;)", "".join(_STEPS[version - 1 :]))
                self._db.executescript("".join(f"CREATE TEMP {table}" for table in tables))
            return
        self._db.execute("PRAGMA journal_mode = TRUNCATE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA fullfsync = ON")
        steps = (_SCHEMA, *_STEPS)[version:]
        if steps:
            self._db.executescript(f"BEGIN IMMEDIATE; {''.join(steps)} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # some errors (disk full) have rolled back already
                self._db.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Read the whole file and raise sqlite3.DatabaseError when it is damaged."""
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        self._db.execute("SELECT count(*) FROM recordings").fetchone()  # a file that was emptied is whole, too

    # Reading

    def meta(self, name: str, default: str = "") -> str:
        """Return one of the daemon's own notes."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else default

    def get(self, recording: int) -> Recording:
        """Return a recording by id. Raises: KeyError."""
        return self._one("id = ?", (recording,))

    def find(self, key: bytes) -> Recording | None:
        """Return a recording by its key."""
        try:
            return self._one("key = ?", (key,))
        except KeyError:
            return None

    def _one(self, where: str, values: Sequence[Any]) -> Recording:
        row = self._db.execute(f"SELECT * FROM recordings WHERE {where}", values).fetchone()  # noqa: S608 (ours)
        if row is None:
            raise KeyError(values)
        return Recording.from_row(row)

    def all(self, *states: State, limit: int = -1, newest: bool = False) -> list[Recording]:
        """Return the recordings in these states in the order in which they came there."""
        marks, order = ", ".join("?" * len(states)), "DESC" if newest else "ASC"
        query = (
            f"SELECT * FROM recordings WHERE state IN ({marks}) "  # noqa: S608 (only marks)
            f"ORDER BY changed {order}, id {order} LIMIT ?"
        )
        return [Recording.from_row(row) for row in self._db.execute(query, (*states, limit))]

    def failed(self, codes: Collection[str]) -> list[Recording]:
        """Return the recordings that failed with one of these codes."""
        marks = ", ".join("?" * len(codes))
        query = f"SELECT * FROM recordings WHERE state = ? AND code IN ({marks})"  # noqa: S608 (only marks)
        return [Recording.from_row(row) for row in self._db.execute(query, (State.FAILED, *codes))]

    def stats(self) -> Iterator[tuple[bytes, int, int, State]]:
        """Yield (key, size, mtime_ns, state) of every recording: what a scan compares with.

        A recording that we moved away is left out: what comes under its name is a new one.
        """
        moved = "SELECT recording FROM sources WHERE state = 'moved'"
        query = f"SELECT key, size, mtime_ns, state FROM recordings WHERE id NOT IN ({moved})"  # noqa: S608 (ours)
        for row in self._db.execute(query):
            yield row["key"], row["size"], row["mtime_ns"], State(row["state"])

    def missing(self) -> set[bytes]:
        """Return the keys of the recordings whose files a person took away."""
        return {row["key"] for row in self._db.execute("SELECT key FROM recordings WHERE missing")}

    def next(self) -> Recording | None:
        """Return the first of the queue, which `claim` would take."""
        return next(iter(self.all(State.QUEUED, limit=1)), None)

    def counts(self) -> dict[State, int]:
        """Return how many recordings are in each state."""
        rows = self._db.execute("SELECT state, count(*) AS n FROM recordings GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row["state"]): row["n"] for row in rows}

    def result(self, key: str) -> str | None:
        """Return a stored transcript as JSON."""
        row = self._db.execute("SELECT transcript FROM results WHERE key = ?", (key,)).fetchone()
        return zlib.decompress(row["transcript"]).decode() if row else None

    def checkpoints(self, key: str) -> list[dict[str, Any]]:
        """Return what was noted about the work on a result, in order: first the plan, then a part a window."""
        rows = self._db.execute("SELECT payload FROM checkpoints WHERE result = ? ORDER BY part", (key,))
        return [json.loads(zlib.decompress(row["payload"])) for row in rows]

    def outputs(self, recording: int) -> dict[str, str]:
        """Return the digest by path of every file that was written for a recording."""
        rows = self._db.execute("SELECT path, sha256 FROM outputs WHERE recording = ?", (recording,))
        return {os.fsdecode(row["path"]): row["sha256"] for row in rows}

    def beside(self, recording: int) -> dict[str, str]:
        """Return, by output, the file a person had changed that the output was written beside."""
        rows = self._db.execute(
            "SELECT path, beside FROM outputs WHERE recording = ? AND beside IS NOT NULL", (recording,)
        )
        return {os.fsdecode(row["path"]): os.fsdecode(row["beside"]) for row in rows}

    def hooks(self, *ways: str, given_up: bool = False, limit: int = -1) -> list[Hook]:
        """Return the hooks that are to be run, the oldest first, or those that failed for good, the newest first."""
        marks, order = ", ".join("?" * len(ways)), "DESC" if given_up else "ASC"
        query = f"SELECT * FROM hooks WHERE given_up = ? AND way IN ({marks}) ORDER BY id {order} LIMIT ?"  # noqa: S608
        return [Hook(**dict(row)) for row in self._db.execute(query, (given_up, *ways, limit))]

    def hooks_of(self, recording: int) -> list[Hook]:
        """Return the hooks of one recording that have not succeeded."""
        query = "SELECT * FROM hooks WHERE recording = ? ORDER BY id"
        return [Hook(**dict(row)) for row in self._db.execute(query, (recording,))]

    def leaving(self, recording: int) -> Leaving | None:
        """Return what is to become, or has become, of a recording's source."""
        row = self._db.execute("SELECT * FROM sources WHERE recording = ?", (recording,)).fetchone()
        return Leaving(**dict(row)) if row else None

    def place(self, recording: int) -> Path | None:
        """Return where we moved a recording's source, or None when it is in the inbox, in the trash or deleted."""
        found = self.leaving(recording)
        return found.place if found is not None and (found.way, found.state) == ("archive", "moved") else None

    def places(self) -> dict[int, Path]:
        """Return where we moved sources, as `place`, for all recordings."""
        rows = self._db.execute("SELECT * FROM sources WHERE way = 'archive' AND state = 'moved'")
        found = [Leaving(**dict(row)) for row in rows]
        return {leaving.recording: leaving.place for leaving in found if leaving.place is not None}

    def leaves(self, key: bytes) -> bool:
        """Return whether the source of this key is on its way: nothing new may take its place here."""
        recording = self.find(key)
        leaving = None if recording is None else self.leaving(recording.id)
        return leaving is not None and leaving.state == "begun"

    def away(self, key: bytes) -> bool:
        """Return whether a recording is not in the inbox because we archived it, or let it leave at this moment."""
        recording = self.find(key)
        return recording is not None and (self.place(recording.id) is not None or self.leaves(key))

    def due(self, limit: int = -1) -> list[Leaving]:
        """Return the sources that may leave now: those that were about to first; never before a recording's hooks."""
        rows = self._db.execute(
            "SELECT sources.* FROM sources JOIN recordings ON recordings.id = recording"
            " WHERE sources.state = 'begun' OR (sources.state = 'due' AND recordings.state = ? AND NOT EXISTS"
            " (SELECT 1 FROM hooks WHERE hooks.recording = sources.recording))"
            " ORDER BY sources.state, recording LIMIT ?",
            (State.DONE, limit),
        )
        return [Leaving(**dict(row)) for row in rows]

    def staying(self, limit: int = -1) -> list[tuple[Recording, str]]:
        """Return the recordings that were to leave the inbox and have not, with the reason, the newest first."""
        rows = self._db.execute(
            "SELECT recordings.*, sources.reason AS why FROM sources JOIN recordings ON recordings.id = recording"
            " WHERE sources.reason != '' ORDER BY changed DESC LIMIT ?",
            (limit,),
        )
        found = [dict(row) for row in rows]
        return [(Recording.from_row({k: v for k, v in row.items() if k != "why"}), row["why"]) for row in found]

    # Writing

    def note(self, **values: str) -> None:
        """Write the daemon's own notes."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, _text(v)) for k, v in values.items()])

    def queue(self, key: bytes, relative: PurePath, size: int, mtime_ns: int, sha256: str, now: float) -> bool:
        """Take in a settled file. Returns False for a known one that only has a new date: that is noted, no more.

        What comes under the name of a recording that left is a new one, whether we moved it away or a person did: the
        outputs of the old one are kept beside its own, for nothing else may be left of it. Finished windows of the
        old content are dropped when no other recording has it.
        """
        path = os.fsencode(relative)
        with self._transaction() as db:
            old = db.execute("SELECT * FROM recordings WHERE key = ?", (key,)).fetchone()
            left = old is not None and self._left(old["id"])
            if old is not None and old["sha256"] == sha256 and old["state"] != State.GONE and not left:
                db.execute(
                    "UPDATE recordings SET path = ?, size = ?, mtime_ns = ?, missing = 0 WHERE key = ?",
                    (path, size, mtime_ns, key),
                )
                return False
            db.execute(
                "INSERT INTO recordings (key, path, size, mtime_ns, sha256, state, seen, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET path = excluded.path, size = excluded.size,"
                " mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256, result = NULL, state = excluded.state,"
                " code = '', reason = '', attempts = 0, done_s = 0, audio_s = NULL, started = NULL, speed = NULL,"
                " changed = excluded.changed, anew = 0, other = 1, missing = 0",
                (key, path, size, mtime_ns, sha256, State.QUEUED, now, now),
            )
            if old is None:
                return True
            another = old["sha256"] != sha256 or old["other"]  # than the outputs, if there are any, were made of
            if (left or old["missing"]) and another and not old["redo"]:
                db.execute("UPDATE recordings SET redo = ? WHERE key = ?", (mark(old["changed"]), key))
            # What was to become of the old file is no matter for the new one.
            db.execute("DELETE FROM sources WHERE recording = ?", (old["id"],))
            for digest in {old["sha256"], (old["result"] or "").partition(":")[0]} - {None, "", sha256}:
                db.execute(
                    "DELETE FROM checkpoints WHERE result >= ? || ':' AND result < ? || ';'"  # of any settings
                    " AND NOT EXISTS (SELECT 1 FROM recordings WHERE sha256 = ?)",
                    (digest, digest, digest),
                )
        return True

    def _left(self, recording: int) -> bool:
        found = self.leaving(recording)
        return found is not None and found.state == "moved"

    def wait(
        self, key: bytes, relative: PurePath, size: int, mtime_ns: int, code: str, reason: str, now: float
    ) -> bool:
        """Note a file that cannot be read at present. Returns False when that was known already."""
        path = os.fsencode(relative)
        with self._transaction() as db:
            old = db.execute("SELECT state, code FROM recordings WHERE key = ?", (key,)).fetchone()
            db.execute(
                "INSERT INTO recordings (key, path, size, mtime_ns, state, code, reason, seen, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, sha256 = NULL,"
                " state = excluded.state, code = excluded.code, reason = excluded.reason, changed = excluded.changed",
                (key, path, size, mtime_ns, State.WAITING, code, _text(reason), now, now),
            )
        return old is None or (old["state"], old["code"]) != (State.WAITING, code)

    def claim(self, fingerprint: str, now: float, settings: str = "") -> Recording | None:
        """Take the first of the queue: it is running now and the attempt is counted.

        `fingerprint` stands for the settings that change a result; with the digest it names the result. `settings` is
        noted. A stored result is dropped when the recording was asked for anew.
        """
        with self._transaction() as db:
            row = db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts + 1, started = ?, changed = ?, done_s = 0,"
                " result = sha256 || ':' || ?, settings = ?"
                " WHERE id = (SELECT id FROM recordings WHERE state = ? ORDER BY changed, id LIMIT 1) RETURNING *",
                (State.RUNNING, now, now, fingerprint, settings, State.QUEUED),
            ).fetchone()
            if row and row["anew"]:
                db.execute("DELETE FROM results WHERE key = ?", (row["result"],))
        return Recording.from_row(row) if row else None

    def release(self, recording: int, code: str = "", reason: str = "", *, at_end: float | None = None) -> None:
        """Put a running recording back into the queue.

        It goes to its old place and the attempt does not count: it was interrupted. With `at_end` (the time now)
        the attempt counts as a failed one and the recording goes behind the others.
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts - ?, code = ?, reason = ?,"
                " changed = coalesce(?, seen), started = NULL WHERE id = ? AND state = ?",
                (State.QUEUED, at_end is None, code, _text(reason), at_end, recording, State.RUNNING),
            )

    def checkpoint(
        self, recording: Recording, part: int, payload: dict[str, Any], done_s: float, audio_s: float
    ) -> None:
        """Note a finished part of the work (0 is the plan) and how far it has come."""
        packed = zlib.compress(json.dumps(payload, allow_nan=False).encode())
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (recording.result, part, packed))
            db.execute("UPDATE recordings SET done_s = ?, audio_s = ? WHERE id = ?", (done_s, audio_s, recording.id))

    def forget_checkpoints(self, key: str) -> None:
        """Drop the checkpoints of a result whose work begins anew."""
        with self._transaction() as db:
            db.execute("DELETE FROM checkpoints WHERE result = ?", (key,))

    def keep_result(self, recording: Recording, transcript: str, speed: float, now: float) -> None:
        """Store a finished transcript; the recording is being published now and its checkpoints are gone."""
        with self._transaction() as db:
            packed = zlib.compress(transcript.encode())
            db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (recording.result, packed, now))
            db.execute("DELETE FROM checkpoints WHERE result = ?", (recording.result,))
            db.execute(
                "UPDATE recordings SET state = ?, speed = ?, code = '', reason = '', changed = ? WHERE id = ?",
                (State.PUBLISHING, speed, now, recording.id),
            )

    def reuse_result(self, recording: int, now: float) -> None:
        """Publish a recording from the stored result of an identical one."""
        with self._transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, changed = ? WHERE id = ?",
                (State.PUBLISHING, now, recording),
            )

    def base(self, recording: Recording) -> str:
        """Return the recording's output name without suffix, deciding it the first time."""
        if recording.base is not None:
            return recording.base
        with self._transaction() as db:
            for base in outbox.bases(recording.name):
                taken = db.execute(
                    "INSERT OR IGNORE INTO bases VALUES (?, ?)",
                    (os.fsencode(outbox.fold(base)), recording.id),
                )
                if taken.rowcount:
                    db.execute("UPDATE recordings SET base = ? WHERE id = ?", (os.fsencode(base), recording.id))
                    return base
        msg = f"no free output name for {recording.name}"
        raise FileExistsError(msg)

    def done(
        self,
        recording: int,
        published: Sequence[outbox.Published],
        now: float,
        *,
        hooks: Sequence[tuple[str, str]] = (),
        after: str = "keep",
    ) -> None:
        """All files are in the outbox.

        `hooks` (setting and facts) are to be run; `after` is the setting that says what becomes of the source.
        """
        with self._transaction() as db:
            self._hook(db, recording, hooks)
            if after != "keep":
                db.execute(
                    "INSERT INTO sources (recording, way, state) VALUES (?, ?, 'due') ON CONFLICT (recording)"
                    " DO UPDATE SET way = excluded.way, state = excluded.state, reason = '' WHERE state != 'moved'",
                    (recording, after),
                )
            db.execute("DELETE FROM outputs WHERE recording = ?", (recording,))
            db.executemany(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)",
                [
                    (
                        os.fsencode(p.path),
                        recording,
                        p.sha256,
                        None if p.beside is None else os.fsencode(p.beside),
                    )
                    for p in published
                ],
            )
            db.execute(
                "UPDATE recordings SET state = ?, code = '', reason = '', changed = ?, redo = '', anew = 0,"
                " other = 0 WHERE id = ?",
                (State.DONE, now, recording),
            )

    def fail(
        self,
        recording: int,
        code: str,
        reason: str,
        record: outbox.Published,
        now: float,
        *,
        hooks: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Quarantine a recording; `record` is the file that says so, `hooks` are as for `done`."""
        with self._transaction() as db:
            self._hook(db, recording, hooks)
            db.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, NULL)",
                (os.fsencode(record.path), recording, record.sha256),
            )
            db.execute(
                "UPDATE recordings SET state = ?, code = ?, reason = ?, changed = ? WHERE id = ?",
                (State.FAILED, code, _text(reason), now, recording),
            )

    def _hook(self, db: sqlite3.Connection, recording: int, hooks: Sequence[tuple[str, str]]) -> None:
        """Note hooks to be run. Those of an earlier event that failed for good are forgotten."""
        db.execute("DELETE FROM hooks WHERE recording = ? AND given_up", (recording,))
        rows = [(recording, way, facts) for way, facts in hooks]
        db.executemany("INSERT INTO hooks (recording, way, facts) VALUES (?, ?, ?)", rows)

    def hook_ran(self, hook: int) -> None:
        """A hook has succeeded."""
        with self._transaction() as db:
            db.execute("DELETE FROM hooks WHERE id = ?", (hook,))

    def hook_failed(self, hook: int, problem: str, *, give_up: bool) -> None:
        """A hook has failed, perhaps for good."""
        with self._transaction() as db:
            db.execute(
                "UPDATE hooks SET tries = tries + 1, problem = ?, given_up = ? WHERE id = ?",
                (_text(problem), give_up, hook),
            )

    def hooks_again(self, recording: int | None) -> int:
        """Let hooks that failed for good be tried again: a recording's, or all; returns how many."""
        with self._transaction() as db:
            return db.execute(
                "UPDATE hooks SET given_up = 0, tries = 0 WHERE given_up AND recording = coalesce(?, recording)",
                (recording,),
            ).rowcount

    def forget_hooks(self, ways: Sequence[str]) -> int:
        """Forget the hooks of settings other than these; returns how many."""
        with self._transaction() as db:
            marks = ", ".join("?" * len(ways))
            return db.execute(f"DELETE FROM hooks WHERE way NOT IN ({marks})", tuple(ways)).rowcount  # noqa: S608

    def leave(self, recording: int, state: str, target: Path | None, reason: str = "") -> None:
        """Note how far a source is on its way; see the schema for `state`."""
        with self._transaction() as db:
            db.execute(
                "UPDATE sources SET state = ?, target = ?, reason = ? WHERE recording = ?",
                (state, None if target is None else os.fsencode(target), _text(reason), recording),
            )

    def adopt(
        self,
        key: bytes,
        relative: PurePath,
        size: int,
        sha256: str,
        fingerprint: str,
        transcript: str,
        base: str,
        published: Sequence[outbox.Published],
        settings: str,
        now: float,
    ) -> bool:
        """Take in, as done, a recording whose outputs were found in the outbox; False if it is known already.

        Its time is not known: the next scan digests it and finds it unchanged.
        """
        path, result = os.fsencode(relative), f"{sha256}:{fingerprint}"
        with self._transaction() as db:
            packed = zlib.compress(transcript.encode())
            db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", (result, packed, now))
            row = db.execute(
                "INSERT OR IGNORE INTO recordings"
                " (key, path, size, mtime_ns, sha256, result, state, base, settings, seen, changed)"
                " VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (key, path, size, sha256, result, State.DONE, os.fsencode(base), settings, now, now),
            ).fetchone()
            if row is None:
                return False
            db.execute("INSERT OR IGNORE INTO bases VALUES (?, ?)", (os.fsencode(outbox.fold(base)), row["id"]))
            db.executemany(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, NULL)",
                [(os.fsencode(p.path), row["id"], p.sha256) for p in published],
            )
        return True

    def retry(self, recording: int, now: float) -> None:
        """Queue a recording again as if it were new."""
        with self._transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, attempts = 0, code = '', reason = '', changed = ? WHERE id = ?",
                (State.QUEUED, now, recording),
            )

    def redo(self, wanted: Sequence[tuple[int, str]], now: float, *, anew: bool) -> None:
        """Queue recordings that are done or failed again.

        They come with the mark under which the older outputs are kept. With `anew` a stored result will not do. A
        recording in any other state is left as it is; one that failed keeps the mark it has.
        """
        with self._transaction() as db:
            db.executemany(
                "UPDATE recordings SET redo = iif(state = ?, ?, redo), state = ?, attempts = 0, code = '',"
                " reason = '', changed = ?, anew = ? WHERE id = ? AND state IN (?, ?)",
                [
                    (State.DONE, mark, State.QUEUED, now, anew, number, State.DONE, State.FAILED)
                    for number, mark in wanted
                ],
            )

    def gone(self, keys: Sequence[bytes], now: float) -> set[bytes]:
        """Note recordings that left the inbox before they were transcribed.

        One that was to be transcribed again is as done as before, unless its content is, or may be, another one;
        these are returned.
        """
        with self._transaction() as db:
            query = (
                "SELECT key FROM recordings WHERE redo != '' AND NOT other AND sha256 IS NOT NULL AND state IN (?, ?)"
            )
            done = {row["key"] for row in db.execute(query, _QUEUED)}.intersection(keys)
            db.executemany(
                "UPDATE recordings SET state = ?, changed = ?, redo = iif(?, '', redo), anew = 0, missing = 1"
                " WHERE key = ? AND state IN (?, ?)",
                [(State.DONE if key in done else State.GONE, now, key in done, key, *_QUEUED) for key in keys],
            )
        return done

    def miss(self, keys: Sequence[bytes]) -> None:
        """Note recordings that are done or failed and whose files a person took away."""
        with self._transaction() as db:
            db.executemany("UPDATE recordings SET missing = 1 WHERE key = ?", [(key,) for key in keys])

    def recover(self) -> int:
        """Queue again, uncounted, what is marked as running though nobody works on it; returns how many."""
        with self._transaction() as db:
            return db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts - 1, changed = seen, started = NULL"
                " WHERE state = ?",
                (State.QUEUED, State.RUNNING),
            ).rowcount


def mark(when: float) -> str:
    """Return the mark under which the outputs of that time (seconds since the epoch) are kept; see `outbox.keep`."""
    return time.strftime("%Y-%m-%d %H.%M.%S", time.localtime(when))


def _text(told: str) -> str:
    """Return a text as SQLite takes it: what names a file may hold bytes that are no UTF-8."""
    return told.encode("utf-8", "replace").decode()

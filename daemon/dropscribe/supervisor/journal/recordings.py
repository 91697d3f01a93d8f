"""The table `recordings`: one row for each name in the inbox, with its state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dropscribe.supervisor.journal.records import GUEST, InboxFile, KnownFile, Recording, State, encode_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from dropscribe.supervisor.journal.database import Database

_BEFORE_WORK = (State.QUEUED, State.WAITING)
_TURN = "priority DESC, changed, id"
"""The order of the queue."""


class Recordings:
    """The recordings of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading

    def get(self, recording: int) -> Recording:
        """Return a recording by id. Raises: KeyError."""
        found = self._find("id = ?", recording)
        if found is None:
            raise KeyError(recording)
        return found

    def find(self, key: bytes) -> Recording | None:
        """Return a recording by its key."""
        return self._find("key = ?", key)

    def _find(self, where: str, value: Any) -> Recording | None:
        row = self._database.read(f"SELECT * FROM recordings WHERE {where}", (value,)).fetchone()  # noqa: S608 (ours)
        return None if row is None else Recording.from_row(row)

    def list_in(self, *states: State, limit: int = -1, newest: bool = False) -> list[Recording]:
        """Return the recordings in these states in the order in which they came there."""
        marks, order = ", ".join("?" * len(states)), "DESC" if newest else "ASC"
        query = (
            f"SELECT * FROM recordings WHERE state IN ({marks}) "  # noqa: S608 (only marks)
            f"ORDER BY changed {order}, id {order} LIMIT ?"
        )
        return [Recording.from_row(row) for row in self._database.read(query, (*states, limit))]

    def list_failed(self, codes: Collection[str]) -> list[Recording]:
        """Return the recordings that failed with one of these codes."""
        marks = ", ".join("?" * len(codes))
        query = f"SELECT * FROM recordings WHERE state = ? AND code IN ({marks})"  # noqa: S608 (only marks)
        return [Recording.from_row(row) for row in self._database.read(query, (State.FAILED, *codes))]

    def list_files(self) -> Iterator[KnownFile]:
        """Yield the file of every recording: what a scan compares with.

        A recording that we moved away is left out: what comes under its name is a new one. So are those that other
        programs sent, which are not in the inbox.
        """
        moved = "SELECT recording FROM sources WHERE state = 'moved'"
        query = f"SELECT key, size, mtime_ns, state FROM recordings WHERE id NOT IN ({moved})"  # noqa: S608 (ours)
        for row in self._database.read(query):
            if not row["key"].startswith(GUEST):
                yield KnownFile(row["key"], row["size"], row["mtime_ns"], State(row["state"]))

    def list_guests(self) -> list[Recording]:
        """Return the recordings that other programs sent."""
        query = "SELECT * FROM recordings WHERE key >= ? AND key < ?"
        return [Recording.from_row(row) for row in self._database.read(query, (GUEST, GUEST + b"\xff"))]

    def list_missing(self) -> set[bytes]:
        """Return the keys of the recordings whose files a person took away."""
        return {row["key"] for row in self._database.read("SELECT key FROM recordings WHERE missing")}

    def peek_queue(self) -> Recording | None:
        """Return the first of the queue, which `Journal.claim` would take."""
        return next(iter(self.list_queue(limit=1)), None)

    def list_queue(self, limit: int = -1) -> list[Recording]:
        """Return the queue in its order: by priority, then first come, first served."""
        turn = _TURN if self._database.version >= 6 else "changed, id"
        query = f"SELECT * FROM recordings WHERE state = ? ORDER BY {turn} LIMIT ?"  # noqa: S608 (ours)
        return [Recording.from_row(row) for row in self._database.read(query, (State.QUEUED, limit))]

    def count_ahead(self, recording: Recording) -> int:
        """Return how many come before a queued recording: those in progress, and those in the queue."""
        queued = "(changed, id) < (:changed, :id)"
        if self._database.version >= 6:
            queued = f"(priority > :priority OR (priority = :priority AND {queued}))"
        row = self._database.read(
            "SELECT count(*) AS n FROM recordings"  # noqa: S608 (ours)
            f" WHERE state IN (:running, :publishing) OR (state = :queued AND {queued})",
            {
                "running": State.RUNNING,
                "publishing": State.PUBLISHING,
                "queued": State.QUEUED,
                "priority": recording.priority,
                "changed": recording.changed,
                "id": recording.id,
            },
        ).fetchone()
        found: int = row["n"]
        return found

    def count_by_state(self) -> dict[State, int]:
        """Return how many recordings are in each state."""
        rows = self._database.read("SELECT state, count(*) AS n FROM recordings GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row["state"]): row["n"] for row in rows}

    def count_done(self, code: str) -> int:
        """Return how many finished recordings a person should look at for the reason of this code."""
        rows = self._database.read(
            "SELECT count(*) AS n FROM recordings WHERE state = ? AND code = ?", (State.DONE, code)
        )
        return int(next(iter(rows))["n"])

    # Files that come

    def put_in_queue(self, file: InboxFile, sha256: str, now: float) -> None:
        """Make a file's row, or make it what the row of a new file is; outputs keep their name and
        their mark.
        """
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO recordings (key, path, size, mtime_ns, sha256, state, seen, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET path = excluded.path, size = excluded.size,"
                " mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256, result = NULL, state = excluded.state,"
                " code = '', reason = '', attempts = 0, done_s = 0, audio_s = NULL, started = NULL, speed = NULL,"
                " changed = excluded.changed, anew = 0, other = 1, missing = 0, priority = 0",
                (file.key, os.fsencode(file.path), file.size, file.mtime_ns, sha256, State.QUEUED, now, now),
            )

    def update_file(self, file: InboxFile) -> None:
        """Save the path, size and time of a file whose content is known."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET path = ?, size = ?, mtime_ns = ?, missing = 0 WHERE key = ?",
                (os.fsencode(file.path), file.size, file.mtime_ns, file.key),
            )

    def save_digest(self, file: InboxFile, sha256: str) -> None:
        """Save the digest of a file that has none, and its size and time."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET path = ?, size = ?, mtime_ns = ?, sha256 = ?, missing = 0 WHERE key = ?",
                (os.fsencode(file.path), file.size, file.mtime_ns, sha256, file.key),
            )

    def keep_outputs_under(self, mark: str, key: bytes) -> None:
        """Let the outputs that are there be kept under a mark when newer ones are published."""
        with self._database.transaction() as db:
            db.execute("UPDATE recordings SET redo = ? WHERE key = ?", (mark, key))

    def mark_waiting(self, file: InboxFile, code: str, reason: str, now: float) -> bool:
        """Save that a file cannot be read at present. Returns False when that was known already."""
        with self._database.transaction() as db:
            old = db.execute("SELECT state, code FROM recordings WHERE key = ?", (file.key,)).fetchone()
            path, text = os.fsencode(file.path), encode_text(reason)
            db.execute(
                "INSERT INTO recordings (key, path, size, mtime_ns, state, code, reason, seen, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, sha256 = NULL,"
                " state = excluded.state, code = excluded.code, reason = excluded.reason, changed = excluded.changed",
                (file.key, path, file.size, file.mtime_ns, State.WAITING, code, text, now, now),
            )
        return old is None or (old["state"], old["code"]) != (State.WAITING, code)

    def mark_gone(self, keys: Sequence[bytes], now: float) -> set[bytes]:
        """Save that recordings left the inbox before they were transcribed.

        One that was to be transcribed again is as done as before, unless its content is, or may
        be, another one; these are returned.
        """
        with self._database.transaction() as db:
            query = (
                "SELECT key FROM recordings WHERE redo != '' AND NOT other AND sha256 IS NOT NULL AND state IN (?, ?)"
            )
            done = {row["key"] for row in db.execute(query, _BEFORE_WORK)}.intersection(keys)
            db.executemany(
                "UPDATE recordings SET state = ?, changed = ?, redo = iif(?, '', redo), anew = 0, missing = 1"
                " WHERE key = ? AND state IN (?, ?)",
                [(State.DONE if key in done else State.GONE, now, key in done, key, *_BEFORE_WORK) for key in keys],
            )
        return done

    def mark_missing(self, keys: Sequence[bytes]) -> None:
        """Save that a person took away the files of recordings that are done or failed."""
        with self._database.transaction() as db:
            db.executemany("UPDATE recordings SET missing = 1 WHERE key = ?", [(key,) for key in keys])

    # Work

    def set_priorities(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Save the priorities of recordings, given as number and priority."""
        with self._database.transaction() as db:
            db.executemany("UPDATE recordings SET priority = ? WHERE id = ?", [(p, number) for number, p in wanted])

    def take(self, recording: int | None, fingerprint: str, now: float, settings: str) -> Recording | None:
        """Take a queued recording, or the first of the queue, for `Journal.claim`."""
        with self._database.transaction() as db:
            row = db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts + 1,"  # noqa: S608 (ours)
                " started = ?, changed = ?, done_s = 0, result = sha256 || ':' || ?, settings = ?"
                " WHERE id = (SELECT id FROM recordings WHERE state = ? AND coalesce(id = ?, TRUE)"
                f" ORDER BY {_TURN} LIMIT 1) RETURNING *",
                (State.RUNNING, now, now, fingerprint, settings, State.QUEUED, recording),
            ).fetchone()
        return Recording.from_row(row) if row else None

    def release(self, recording: int, code: str = "", reason: str = "", *, at_end: float | None = None) -> None:
        """Put a running recording back into the queue.

        It goes to its old place and the attempt does not count: it was interrupted. With `at_end`
        (the time now) the attempt counts as a failed one and the recording goes behind the others.
        """
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts - ?, code = ?, reason = ?,"
                " changed = coalesce(?, seen), started = NULL WHERE id = ? AND state = ?",
                (State.QUEUED, at_end is None, code, encode_text(reason), at_end, recording, State.RUNNING),
            )

    def release_all(self) -> int:
        """Queue again, uncounted, what is marked as running though nobody works on it; returns how
        many.
        """
        with self._database.transaction() as db:
            return db.execute(
                "UPDATE recordings SET state = ?, attempts = attempts - 1, changed = seen, started = NULL"
                " WHERE state = ?",
                (State.QUEUED, State.RUNNING),
            ).rowcount

    def save_progress(self, recording: int, done_s: float, audio_s: float) -> None:
        """Save how far the work has come."""
        with self._database.transaction() as db:
            db.execute("UPDATE recordings SET done_s = ?, audio_s = ? WHERE id = ?", (done_s, audio_s, recording))

    def mark_transcribed(self, recording: int, speed: float, now: float) -> None:
        """Save that the transcript is there: the recording is being published now."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, speed = ?, code = '', reason = '', changed = ? WHERE id = ?",
                (State.PUBLISHING, speed, now, recording),
            )

    def reuse_result(self, recording: int, now: float, code: str = "") -> None:
        """Publish a recording from a stored result; `code` says why, where that is not a new recording."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, changed = ?, code = ? WHERE id = ?",
                (State.PUBLISHING, now, code, recording),
            )

    def mark_done(self, recording: int, now: float, code: str = "", reason: str = "") -> None:
        """Save that all files of a recording are in the outbox, for `Journal.finish`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, code = ?, reason = ?, changed = ?, redo = '', anew = 0,"
                " other = 0 WHERE id = ?",
                (State.DONE, code, encode_text(reason), now, recording),
            )

    def mark_failed(self, recording: int, code: str, reason: str, now: float) -> None:
        """Save that a recording is quarantined, for `Journal.fail`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, code = ?, reason = ?, changed = ? WHERE id = ?",
                (State.FAILED, code, encode_text(reason), now, recording),
            )

    # Not at all, and once more

    def skip(self, key: bytes, now: float) -> State | None:
        """Take a recording out of the queue; returns its state then, None when it was not there.

        One that was to be transcribed again is as done as before, unless its content is, or may be,
        another one.
        """
        with self._database.transaction() as db:
            row = db.execute(
                "UPDATE recordings SET changed = ?, attempts = 0, code = '', reason = '', anew = 0,"
                " state = iif(redo != '' AND NOT other AND sha256 IS NOT NULL, ?, ?),"
                " redo = iif(redo != '' AND NOT other AND sha256 IS NOT NULL, '', redo)"
                " WHERE key = ? AND state IN (?, ?, ?) RETURNING state",
                (now, State.DONE, State.SKIPPED, key, *_BEFORE_WORK, State.PUBLISHING),
            ).fetchone()
        return None if row is None else State(row["state"])

    def retry(self, recording: int, now: float) -> None:
        """Queue a recording again as if it were new."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE recordings SET state = ?, attempts = 0, code = '', reason = '', changed = ? WHERE id = ?",
                (State.QUEUED, now, recording),
            )

    def redo(self, wanted: Sequence[tuple[int, str]], now: float, *, discard_results: bool) -> None:
        """Queue recordings that are done or failed again.

        They come with the mark under which the older outputs are kept. With `discard_results` a
        stored result will not do. A recording in any other state is left as it is; one that failed
        keeps the mark it has.
        """
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE recordings SET redo = iif(state = ?, ?, redo), state = ?, attempts = 0, code = '',"
                " reason = '', changed = ?, anew = ? WHERE id = ? AND state IN (?, ?)",
                [
                    (State.DONE, mark, State.QUEUED, now, discard_results, number, State.DONE, State.FAILED)
                    for number, mark in wanted
                ],
            )

"""The table `hooks`: those that are to be run, and those that failed for good. One that succeeded
has no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.supervisor.journal.records import Hook, HookWay, NewHook, encode_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dropscribe.supervisor.journal.database import Database


class HookQueue:
    """The hooks of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_due(self, *ways: HookWay, limit: int = -1) -> list[Hook]:
        """Return the hooks of these settings that are to be run, the oldest first."""
        marks = ", ".join("?" * len(ways))
        query = f"SELECT * FROM hooks WHERE NOT given_up AND way IN ({marks}) ORDER BY id LIMIT ?"  # noqa: S608 (marks)
        return [Hook.from_row(row) for row in self._database.read(query, (*ways, limit))]

    def list_failed(self, limit: int = -1) -> list[Hook]:
        """Return the hooks that have failed: for good, or so far. The newest first."""
        query = "SELECT * FROM hooks WHERE tries > 0 ORDER BY id DESC LIMIT ?"
        return [Hook.from_row(row) for row in self._database.read(query, (limit,))]

    def count_failed(self) -> int:
        """Return how many hooks have failed, for good or so far."""
        return int(self._database.read("SELECT count(*) FROM hooks WHERE tries > 0").fetchone()[0])

    def list_given_up(self, limit: int = -1) -> list[Hook]:
        """Return the hooks that failed for good, the newest first."""
        query = "SELECT * FROM hooks WHERE given_up ORDER BY id DESC LIMIT ?"
        return [Hook.from_row(row) for row in self._database.read(query, (limit,))]

    def list_of(self, recording: int) -> list[Hook]:
        """Return the hooks of one recording that have not succeeded."""
        query = "SELECT * FROM hooks WHERE recording = ? ORDER BY id"
        return [Hook.from_row(row) for row in self._database.read(query, (recording,))]

    def add(self, recording: int, hooks: Sequence[NewHook]) -> None:
        """Save hooks that are to be run. Those of an earlier event that failed for good are
        dropped.
        """
        with self._database.transaction() as db:
            db.execute("DELETE FROM hooks WHERE recording = ? AND given_up", (recording,))
            rows = [(recording, hook.way, hook.facts) for hook in hooks]
            db.executemany("INSERT INTO hooks (recording, way, facts) VALUES (?, ?, ?)", rows)

    def mark_succeeded(self, hook: int) -> None:
        """Save that a hook has succeeded: nothing is left to do."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM hooks WHERE id = ?", (hook,))

    def mark_failed(self, hook: int, problem: str, *, give_up: bool) -> None:
        """Save that a hook has failed, perhaps for good."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE hooks SET tries = tries + 1, problem = ?, given_up = ? WHERE id = ?",
                (encode_text(problem), give_up, hook),
            )

    def retry(self, recording: int | None) -> int:
        """Let hooks that failed for good be tried again: a recording's, or all; returns how many."""
        with self._database.transaction() as db:
            return db.execute(
                "UPDATE hooks SET given_up = 0, tries = 0 WHERE given_up AND recording = coalesce(?, recording)",
                (recording,),
            ).rowcount

    def drop_all_but(self, ways: Collection[HookWay]) -> int:
        """Drop the hooks of settings other than these; returns how many."""
        with self._database.transaction() as db:
            marks = ", ".join("?" * len(ways))
            return db.execute(f"DELETE FROM hooks WHERE way NOT IN ({marks})", tuple(ways)).rowcount  # noqa: S608

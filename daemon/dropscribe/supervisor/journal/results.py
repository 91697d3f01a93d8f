"""The tables `results` and `checkpoints`: finished transcripts, and the finished parts of those
that are not.

Both have the same key, `SHA-256:FINGERPRINT`: the content of a recording and the settings that
change its result.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropscribe.supervisor.journal.database import Database


class Results:
    """The transcripts of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str) -> str | None:
        """Return a stored transcript as JSON."""
        row = self._database.read("SELECT transcript FROM results WHERE key = ?", (key,)).fetchone()
        return zlib.decompress(row["transcript"]).decode() if row else None

    def store(self, key: str, transcript: str, now: float, sound: str = "") -> None:
        """Store a transcript, given as JSON, in place of one that is there.

        `sound` is what `find_by_sound` finds it by.
        """
        packed = zlib.compress(transcript.encode())
        with self._database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", (key, packed, now, sound))

    def store_if_new(self, key: str, transcript: str, now: float) -> None:
        """Store a transcript, given as JSON, unless one is there."""
        packed = zlib.compress(transcript.encode())
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, '')", (key, packed, now))

    def find_by_sound(self, sound: str) -> str | None:
        """Return a stored transcript as JSON by `SOUND:FINGERPRINT`: see `protocol.Decoded.sound`."""
        query = "SELECT transcript FROM results WHERE sound = ? ORDER BY made DESC LIMIT 1"
        row = self._database.read(query, (sound,)).fetchone()
        return zlib.decompress(row["transcript"]).decode() if row else None

    def drop(self, key: str) -> None:
        """Drop a stored transcript."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM results WHERE key = ?", (key,))

    def list_checkpoints(self, key: str) -> list[dict[str, Any]]:
        """Return what is saved of the work on a result, in order: first the plan, then one part
        for each window.
        """
        rows = self._database.read("SELECT payload FROM checkpoints WHERE result = ? ORDER BY part", (key,))
        return [json.loads(zlib.decompress(row["payload"])) for row in rows]

    def store_checkpoint(self, key: str, part: int, payload: dict[str, Any]) -> None:
        """Store one part of the work on a result; 0 is the plan."""
        packed = zlib.compress(json.dumps(payload, allow_nan=False).encode())
        with self._database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (key, part, packed))

    def drop_checkpoints(self, key: str, *, after: int = 0) -> None:
        """Drop the checkpoints of a result: all of them, or those `after` so many windows, from
        which on it is planned anew.
        """
        with self._database.transaction() as db:
            db.execute("DELETE FROM checkpoints WHERE result = ? AND (part > ? OR ? = 0)", (key, after, after))

    def drop_unused_checkpoints(self, sha256: str) -> None:
        """Drop the checkpoints of a content, of any settings, unless a recording has it."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM checkpoints WHERE result >= ? || ':' AND result < ? || ';'"
                " AND NOT EXISTS (SELECT 1 FROM recordings WHERE sha256 = ?)",
                (sha256, sha256, sha256),
            )

"""The table `sources`: recordings whose files leave the inbox, or have left it, because the
settings say so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dropscribe.supervisor.journal.records import (
    DisposalWay,
    Leaving,
    LeavingState,
    Recording,
    State,
    encode_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.supervisor.journal.database import Database
    from dropscribe.supervisor.journal.recordings import Recordings


class Sources:
    """The sources of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database, recordings: Recordings) -> None:
        self._database = database
        self._recordings = recordings

    # Reading

    def find(self, recording: int) -> Leaving | None:
        """Return what is to become, or has become, of a recording's source."""
        row = self._database.read("SELECT * FROM sources WHERE recording = ?", (recording,)).fetchone()
        return Leaving.from_row(row) if row else None

    def has_moved(self, recording: int) -> bool:
        """Return whether a recording's source has left the inbox."""
        found = self.find(recording)
        return found is not None and found.state == LeavingState.MOVED

    def find_archived(self, recording: int) -> Path | None:
        """Return where we archived a recording's source, or None when it is in the inbox, in the
        trash or deleted.
        """
        found = self.find(recording)
        archived = found is not None and (found.way, found.state) == (DisposalWay.ARCHIVE, LeavingState.MOVED)
        return found.place if found is not None and archived else None

    def list_archived(self) -> dict[int, Path]:
        """Return where we archived sources, by recording."""
        query = "SELECT * FROM sources WHERE way = ? AND state = ?"
        rows = self._database.read(query, (DisposalWay.ARCHIVE, LeavingState.MOVED))
        found = map(Leaving.from_row, rows)
        return {leaving.recording: leaving.place for leaving in found if leaving.place is not None}

    def is_leaving(self, key: bytes) -> bool:
        """Return whether the source of this key is just leaving: nothing new may take its place
        here.
        """
        recording = self._recordings.find(key)
        found = None if recording is None else self.find(recording.id)
        return found is not None and found.state == LeavingState.BEGUN

    def is_away(self, key: bytes) -> bool:
        """Return whether a recording is not in the inbox because we archived it, or let it leave
        at this moment.
        """
        recording = self._recordings.find(key)
        return recording is not None and (self.find_archived(recording.id) is not None or self.is_leaving(key))

    def list_due(self, limit: int = -1) -> list[Leaving]:
        """Return the sources that may leave now: those that were about to first; never before a
        recording's hooks.
        """
        rows = self._database.read(
            "SELECT sources.* FROM sources JOIN recordings ON recordings.id = recording"
            " WHERE sources.state = 'begun' OR (sources.state = 'due' AND recordings.state = ? AND NOT EXISTS"
            " (SELECT 1 FROM hooks WHERE hooks.recording = sources.recording))"
            " ORDER BY sources.state, recording LIMIT ?",
            (State.DONE, limit),
        )
        return list(map(Leaving.from_row, rows))

    def list_staying(self, limit: int = -1) -> list[tuple[Recording, str]]:
        """Return the recordings that were to leave the inbox and have not, with the reason, the
        newest first.
        """
        rows = self._database.read(
            "SELECT recordings.*, sources.reason AS why FROM sources JOIN recordings ON recordings.id = recording"
            " WHERE sources.reason != '' ORDER BY changed DESC LIMIT ?",
            (limit,),
        )
        found = [dict(row) for row in rows]
        return [(Recording.from_row({k: v for k, v in row.items() if k != "why"}), row["why"]) for row in found]

    # Writing

    def plan(self, recording: int, way: DisposalWay) -> None:
        """Let a source leave when its turn comes; one that has left stays where it is."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO sources (recording, way, state) VALUES (?, ?, 'due') ON CONFLICT (recording)"
                " DO UPDATE SET way = excluded.way, state = excluded.state, reason = '' WHERE state != 'moved'",
                (recording, way),
            )

    def update(self, recording: int, state: LeavingState, target: Path | None, reason: str = "") -> None:
        """Save how far a source is on its way."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE sources SET state = ?, target = ?, reason = ? WHERE recording = ?",
                (state, None if target is None else os.fsencode(target), encode_text(reason), recording),
            )

    def drop(self, recording: int) -> None:
        """Drop what was to become of a source: another file has its name."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM sources WHERE recording = ?", (recording,))

"""The table `corrections`: what people corrected in the transcripts of recordings.

A correction belongs to a recording and to its content: under a file that has another content it is kept and not made.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from dropscribe.transcript import correction_from_dict, to_dict

if TYPE_CHECKING:
    from dropscribe.supervisor.journal.database import Database
    from dropscribe.supervisor.journal.records import Recording
    from dropscribe.transcript import Correction


class Corrections:
    """The corrections of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_for(self, recording: Recording) -> list[Correction]:
        """Return the corrections of what a recording holds now, the first first, with those that were taken back."""
        rows = self._database.read(
            "SELECT correction FROM corrections WHERE recording = ? AND sha256 = ? ORDER BY id",
            (recording.id, recording.sha256),
        )
        return [correction_from_dict(json.loads(row["correction"])) for row in rows]

    def add(self, recording: int, sha256: str, correction: Correction) -> None:
        """Save a correction of a content of a recording, once: a request is acted on again after a kill."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO corrections (recording, sha256, correction) SELECT :recording, :sha256, :made"
                " WHERE NOT EXISTS (SELECT 1 FROM corrections"
                " WHERE recording = :recording AND sha256 = :sha256 AND correction = :made)",
                {"recording": recording, "sha256": sha256, "made": json.dumps(to_dict(correction))},
            )

    def undo(self, recording: Recording, when: str, made: str = "") -> Correction | None:
        """Take back a correction that holds, and return it; None where there is none.

        `made` says which one; empty: the last.
        """
        rows = self._database.read(
            "SELECT id, correction FROM corrections WHERE recording = ? AND sha256 = ? ORDER BY id DESC",
            (recording.id, recording.sha256),
        )
        for row in rows.fetchall():
            correction = correction_from_dict(json.loads(row["correction"]))
            if correction.undone is None and made in {"", correction.made}:
                undone = dataclasses.replace(correction, undone=when)
                with self._database.transaction() as db:
                    values = (json.dumps(to_dict(undone)), row["id"])
                    db.execute("UPDATE corrections SET correction = ? WHERE id = ?", values)
                return undone
        return None

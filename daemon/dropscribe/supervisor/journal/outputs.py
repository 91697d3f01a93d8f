"""The tables `outputs` and `bases`: the files in the outbox, and the names that are taken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dropscribe.supervisor import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.supervisor.journal.database import Database
    from dropscribe.supervisor.journal.records import Recording
    from dropscribe.supervisor.outbox import Published


class Outputs:
    """The outputs of a journal. Each method that writes is a transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_digests(self, recording: int) -> dict[str, str]:
        """Return the digest by path of every file that was written for a recording."""
        rows = self._database.read("SELECT path, sha256 FROM outputs WHERE recording = ?", (recording,))
        return {os.fsdecode(row["path"]): row["sha256"] for row in rows}

    def find_recording(self, path: str) -> int | None:
        """Return the recording that a file was written for, or whose file it keeps from its name."""
        name = os.fsencode(path)
        row = self._database.read(
            "SELECT recording FROM outputs WHERE path = ? OR beside = ? ORDER BY path != ? LIMIT 1",
            (name, name, name),
        ).fetchone()
        return None if row is None else int(row["recording"])

    def list_displaced(self, recording: int) -> dict[str, str]:
        """Return, for each output that has another name than it should have, the file of a
        person's that has it.
        """
        rows = self._database.read(
            "SELECT path, beside FROM outputs WHERE recording = ? AND beside IS NOT NULL", (recording,)
        )
        return {os.fsdecode(row["path"]): os.fsdecode(row["beside"]) for row in rows}

    def replace(self, recording: int, published: Sequence[Published]) -> None:
        """Save the files of a recording in place of those it had."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM outputs WHERE recording = ?", (recording,))
        self.add(recording, published)

    def add(self, recording: int, published: Sequence[Published]) -> None:
        """Save files of a recording next to those it has."""
        rows = [
            (
                os.fsencode(file.path),
                recording,
                file.sha256,
                None if file.displaced_by is None else os.fsencode(file.displaced_by),
            )
            for file in published
        ]
        with self._database.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", rows)

    def choose_base(self, recording: Recording, template: str = "{stem}", language: str = "") -> str:
        """Return the recording's output name without suffix, deciding it the first time. See
        `names.list_bases`.

        Raises: FileExistsError when every name is taken.
        """
        if recording.base is not None:
            return recording.base
        with self._database.transaction() as db:
            for base in names.list_bases(recording.name, template, language):
                if self.take_base(base, recording.id):
                    db.execute("UPDATE recordings SET base = ? WHERE id = ?", (os.fsencode(base), recording.id))
                    return base
        msg = f"no free output name for {recording.name}"
        raise FileExistsError(msg)

    def holds_base(self, base: str, recording: int) -> bool:
        """Return whether an output name is a recording's."""
        found = self._database.read(
            "SELECT 1 FROM bases WHERE base = ? AND recording = ?", (os.fsencode(names.fold_case(base)), recording)
        )
        return found.fetchone() is not None

    def take_base(self, base: str, recording: int) -> bool:
        """Let an output name be one recording's alone. Returns False when another one has it."""
        with self._database.transaction() as db:
            values = (os.fsencode(names.fold_case(base)), recording)
            return bool(db.execute("INSERT OR IGNORE INTO bases VALUES (?, ?)", values).rowcount)

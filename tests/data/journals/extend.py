"""Writes `version-N.sqlite3` with the journal of this program, from version 6 on: see README.md in this folder.

The file of the version before it is brought up to date, and what the new version can say is added.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path, PurePath

from dropscribe.supervisor.journal import VERSION, InboxFile, Journal
from dropscribe.transcript import Correction, Edit


def main(folder: Path) -> None:
    """Extend the newest file by what this version brought."""
    path = folder / f"version-{VERSION}.sqlite3"
    shutil.copy(folder / f"version-{VERSION - 1}.sqlite3", path)
    with Journal(path) as journal:
        if VERSION == 6:
            add_priorities_and_sounds(journal)
        if VERSION == 7:
            add_corrections(journal)


def add_priorities_and_sounds(journal: Journal) -> None:
    """Queue a recording of high priority, and finish one whose sound is known."""
    known = InboxFile(b"known.wav", PurePath("known.wav"), 9, 1_795_600_000 * 10**9)
    journal.enqueue(known, "k1", 1_795_690_000.0)
    row = journal.recordings.find(b"known.wav")
    assert row is not None
    claimed = journal.claim("0123456789abcdef", 1_795_690_060.0, "", recording=row.id)
    assert claimed is not None
    journal.store_result(claimed, '{"text": "Words of k1."}', 20.0, 1_795_690_120.0, sound="5042d")
    journal.finish(claimed.id, [], 1_795_690_180.0)
    urgent = InboxFile(b"urgent.wav", PurePath("urgent.wav"), 9, 1_795_600_000 * 10**9)
    journal.enqueue(urgent, "u1", 1_795_690_240.0)
    row = journal.recordings.find(b"urgent.wav")
    assert row is not None
    journal.recordings.set_priorities([(row.id, 10)])


def add_corrections(journal: Journal) -> None:
    """Correct a recording that is done, and take another correction of it back."""
    row = journal.recordings.find(b"known.wav")
    assert row is not None
    assert row.sha256 is not None
    for made, after in (("2026-11-29T09:00:00+01:00", "Words of Ada."), ("2026-11-29T09:01:00+01:00", "No words.")):
        edit = Edit("words", 0.0, 1.0, "Words of k1.", after)
        journal.corrections.add(row.id, row.sha256, Correction(made, "ada", (edit,)))
    journal.corrections.undo(row, "2026-11-29T09:02:00+01:00")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

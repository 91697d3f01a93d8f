"""Journals of earlier programs, as those programs wrote them: opened, brought up to date, or read as they are.

The files, and how they were made, are in data/journals.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dropscribe.supervisor.journal import (
    VERSION,
    DisposalWay,
    HookWay,
    Journal,
    JournalError,
    LeavingState,
    NewHook,
    Recording,
    State,
)

JOURNALS = Path(__file__).parent / "data" / "journals"
EARLIER = range(1, VERSION)
SETTINGS = '{"model": "base", "language": "auto", "formats": ["json", "txt"]}'
STATES = {
    "done.wav": State.DONE,
    "edited.wav": State.DONE,
    "caf\udce9/name.wav": State.DONE,
    "failed.wav": State.FAILED,
    "publishing.wav": State.PUBLISHING,
    "running.wav": State.RUNNING,
    "gone.wav": State.GONE,
    "queued.wav": State.QUEUED,
    "waiting.wav": State.WAITING,
}
"""In every file."""
LEAVING = {"due.wav": "due", "begun.wav": "begun", "moved.wav": "moved", "kept.wav": "kept"}
"""From version 3 on."""


def copy(version: int, folder: Path) -> Path:
    """Return a copy of a stored journal, which may be written."""
    return Path(shutil.copy(JOURNALS / f"version-{version}.sqlite3", folder / "journal.sqlite3"))


def read_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, by table."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        tables = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in tables}  # noqa: S608


def read_version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        return found


def find(journal: Journal, name: str) -> Recording:
    recording = journal.recordings.find(os.fsencode(name))
    assert recording is not None
    return recording


def migrate(version: int, folder: Path) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    """Open a stored journal, so that it is brought up to date; return all of its rows before and after."""
    path = copy(version, folder)
    before = read_rows(path)
    with Journal(path) as journal:
        journal.check_integrity()
    return before, read_rows(path)


def added(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each row has more than before, when nothing else in it has changed."""
    assert [{name: new[name] for name in old} for old, new in zip(before, after, strict=True)] == before
    return [{k: v for k, v in new.items() if k not in old} for old, new in zip(before, after, strict=True)]


def test_there_is_a_stored_journal_of_every_version() -> None:
    versions = {path: read_version(path) for path in JOURNALS.glob("*.sqlite3")}
    assert versions == {JOURNALS / f"version-{number}.sqlite3": number for number in range(1, VERSION + 1)}


def test_version_2_brings_settings_that_are_not_known_and_nothing_that_is_asked_for_again(tmp_path: Path) -> None:
    before, after = migrate(1, tmp_path)
    more = added(before["recordings"], after["recordings"])
    assert {(row["settings"], row["redo"], row["anew"]) for row in more} == {("", "", 0)}


def test_version_3_brings_no_hooks_and_no_sources_that_leave(tmp_path: Path) -> None:
    before, after = migrate(2, tmp_path)
    assert {"hooks", "sources"} <= after.keys() - before.keys()
    assert (after["hooks"], after["sources"]) == ([], [])


def test_version_4_takes_every_content_for_the_one_that_its_outputs_were_made_of(tmp_path: Path) -> None:
    before, after = migrate(3, tmp_path)
    assert {row["other"] for row in added(before["recordings"], after["recordings"])} == {0}


def test_version_5_takes_every_file_for_one_that_nobody_took_away(tmp_path: Path) -> None:
    before, after = migrate(4, tmp_path)
    assert {row["missing"] for row in added(before["recordings"], after["recordings"])} == {0}
    assert [row["path"] for row in after["recordings"] if row["other"]] == [b"changed.wav"]


def test_version_6_brings_equal_priorities_and_no_known_sound(tmp_path: Path) -> None:
    before, after = migrate(5, tmp_path)
    assert {row["priority"] for row in added(before["recordings"], after["recordings"])} == {0}
    assert {row["sound"] for row in added(before["results"], after["results"])} == {""}
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert journal.find_by_sound(find(journal, "done.wav"), "") is None


def test_version_7_brings_no_corrections(tmp_path: Path) -> None:
    before, after = migrate(6, tmp_path)
    assert (after.keys() - before.keys(), after["corrections"]) == ({"corrections"}, [])


@pytest.mark.parametrize("version", EARLIER)
def test_every_row_of_an_older_journal_is_kept(tmp_path: Path, version: int) -> None:
    before, after = migrate(version, tmp_path)
    assert read_version(tmp_path / "journal.sqlite3") == VERSION
    for table, rows in before.items():
        added(rows, after[table])
    assert len(before["recordings"]) >= len(STATES)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_an_older_journal_says_what_it_said(tmp_path: Path, version: int) -> None:
    with Journal(copy(version, tmp_path)) as journal:
        assert {name: find(journal, name).state for name in STATES} == STATES
        assert {find(journal, name).settings for name in ("done.wav", "failed.wav")} == {
            SETTINGS if version >= 2 else ""
        }
        edited = find(journal, "edited.wav")
        assert journal.outputs.list_digests(edited.id) == {
            "edited.json": "e1-json",
            "edited (2).txt": "e1-txt",
        }
        assert journal.outputs.list_displaced(edited.id) == {"edited (2).txt": "edited.txt"}
        assert find(journal, "caf\udce9/name.wav").base == "caf\udce9/name"
        assert journal.results.find("p1:0123456789abcdef") == '{"text": "Words of p1."}'
        plan, window = journal.results.list_checkpoints("r1:0123456789abcdef")
        assert (plan["samples"], window) == (960000, {"index": 0, "end_s": 30.0})
        assert journal.get_meta("outbox") == "/home/ada/Outbox"
        if version >= 2:
            again = find(journal, "again.wav")
            assert (again.state, again.redo, again.discard_result) == (State.QUEUED, "2026-11-25 10.00.00", True)
        if version >= 3:
            found = {name: journal.sources.find(find(journal, name).id) for name in LEAVING}
            assert {name: leaving and leaving.state for name, leaving in found.items()} == LEAVING
            assert journal.sources.list_archived() == {
                find(journal, "moved.wav").id: Path("/home/ada/Archive/caf\udce9.wav")
            }
            assert [(hook.way, hook.tries, hook.given_up) for hook in journal.hooks.list_given_up()] == [
                (HookWay.WEBHOOK, 1, True)
            ]
            assert [(hook.way, hook.facts) for hook in journal.hooks.list_due(*HookWay)] == [
                (HookWay.ON_DONE, '{"event": "done"}')
            ]
        if version >= 4:
            assert find(journal, "changed.wav").content_changed
        if version >= 5:
            assert journal.recordings.list_missing() == {b"gone.wav", b"missing.wav"}
        if version >= 6:
            queue = [recording.path for recording in journal.recordings.list_queue()]
            assert (queue[0], find(journal, "urgent.wav").priority) == (b"urgent.wav", 10)
            assert journal.find_by_sound(find(journal, "known.wav"), "5042d") == '{"text": "Words of k1."}'
        if version >= 7:
            held = [(c.edits[0].after, c.undone) for c in journal.corrections.list_for(find(journal, "known.wav"))]
            assert held == [("Words of Ada.", None), ("No words.", "2026-11-29T09:02:00+01:00")]


@pytest.mark.parametrize("version", EARLIER)
def test_the_work_of_an_older_program_is_resumed(tmp_path: Path, version: int) -> None:
    """In a journal that is opened twice: what the first opening did is there."""
    path = copy(version, tmp_path)
    with Journal(path) as journal:
        assert journal.recordings.release_all() == 1
        waiting = find(journal, "publishing.wav").id
        hooks = [NewHook(HookWay.ON_DONE, "{}")]
        journal.finish(waiting, [], 2e9, hooks=hooks, after="archive")
    with Journal(path) as journal:
        assert find(journal, "running.wav").state == State.QUEUED
        leaving = journal.sources.find(waiting)
        assert leaving is not None
        assert (leaving.way, leaving.state) == (DisposalWay.ARCHIVE, LeavingState.DUE)
        assert [hook.recording for hook in journal.hooks.list_due(HookWay.ON_DONE)][-1] == waiting


@pytest.mark.parametrize("version", EARLIER)
def test_an_older_journal_can_be_read_as_it_is(tmp_path: Path, version: int) -> None:
    """While its daemon, of an older program, still runs, or before this one has started."""
    path = copy(version, tmp_path)
    before = path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as daemon, Journal(path, readonly=True) as reader:
        daemon.execute("PRAGMA user_version")  # the file is open
        assert {name: find(reader, name).state for name in STATES} == STATES
        assert find(reader, "done.wav").settings == (SETTINGS if version >= 2 else "")
        queue = [recording.path for recording in reader.recordings.list_queue()]
        urgent = [b"urgent.wav"] if version >= 6 else []
        assert queue == [*urgent, b"queued.wav", *([b"again.wav"] if version >= 2 else [])]
        assert reader.recordings.count_ahead(find(reader, "queued.wav")) == 2 + len(
            urgent
        )  # one runs, one is published
        if version < 3:
            assert reader.sources.find(find(reader, "done.wav").id) is None
            assert reader.hooks.list_given_up() == []
            assert (reader.sources.list_staying(), reader.sources.list_archived()) == ([], {})
        else:
            assert [recording.name.name for recording, _ in reader.sources.list_staying()] == ["kept.wav"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_journal_of_a_newer_program_is_refused_and_left_as_it_is(tmp_path: Path, readonly: bool) -> None:
    path = copy(VERSION, tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="newer version"):
        Journal(path, readonly=readonly)
    assert path.read_bytes() == before

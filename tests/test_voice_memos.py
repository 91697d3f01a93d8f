"""Voice Memos: a folder that is only read, titles from its database, and copies in the inbox."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from dropscribe.library.voice_memos import DATABASE, list_memos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from house import House

NAMED, UNNAMED, OLD = "20260901 080000-AAAA1111.m4a", "20260902 090000-BBBB2222.qta", "20190101 101010.m4a"


@pytest.fixture
def memos(tmp_path: Path) -> Iterator[Path]:
    """A folder as Voice Memos has it while it runs: the newest titles are in the database's log."""
    folder = tmp_path / "Recordings"
    folder.mkdir()
    for name in (NAMED, UNNAMED, OLD):
        (folder / name).write_bytes(name.encode())
    (folder / "20260901 080000-AAAA1111.composition").mkdir()
    with contextlib.closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE ZCLOUDRECORDING (ZPATH, ZENCRYPTEDTITLE, ZCUSTOMLABEL, ZDATE)")
        rows = [
            (NAMED, "Prices: an idea / two", "2026-09-01T08:00:00Z", 1),
            (UNNAMED, None, "2026-09-02T09:00:00Z", 2),
            (OLD, None, "Old one", 3),
            (None, "Placeholder", None, 4),
        ]
        database.executemany("INSERT INTO ZCLOUDRECORDING VALUES (?, ?, ?, ?)", rows)
        yield folder


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_titles_are_read_from_the_database_and_nothing_is_written_there(memos: Path) -> None:
    before = snapshot(memos)
    os.utime(memos, ns=(1, 1))
    assert {memo.path.name: memo.title for memo in list_memos(memos)} == {
        NAMED: "Prices: an idea / two",
        UNNAMED: "",
        OLD: "Old one",
    }
    assert snapshot(memos) == before
    assert memos.stat().st_mtime_ns == 1  # no file came or went


@pytest.mark.parametrize("damage", ["gone", "garbage", "another table"])
def test_without_a_database_that_can_be_read_memos_keep_their_names(memos: Path, damage: str) -> None:
    for name in (DATABASE, f"{DATABASE}-wal"):
        (memos / name).unlink()
    if damage == "garbage":
        (memos / DATABASE).write_bytes(b"no database" * 500)
    elif damage == "another table":
        with contextlib.closing(sqlite3.connect(memos / DATABASE)) as database:
            database.execute("CREATE TABLE ZCLOUDRECORDING (ZPATH)")
    assert [memo.name for memo in list_memos(memos)] == sorted([NAMED, UNNAMED, OLD])


def test_memos_are_copied_once_with_their_titles_and_again_when_they_change(house: House, memos: Path) -> None:
    target = house.inbox / "Voice Memos"
    first = house.call("memos", "--folder", str(memos))
    copies = {path.name for path in target.iterdir()}
    assert copies == {"2026-09-01 08.00.00 Prices an idea two.m4a", UNNAMED, "2019-01-01 10.10.10 Old one.m4a"}
    assert sorted(first.stdout.splitlines()) == sorted(str(target / name) for name in copies)
    (target / UNNAMED).unlink()  # a person does not want it
    (memos / OLD).write_bytes(b"trimmed")
    (memos / "20270101 000000-CCCC.m4a").write_bytes(b"new")
    again = house.call("memos", "--folder", str(memos))
    assert again.stdout.splitlines() == [
        str(target / "2019-01-01 10.10.10 Old one.m4a"),
        str(target / "20270101 000000-CCCC.m4a"),
    ]
    assert (target / "2019-01-01 10.10.10 Old one.m4a").read_bytes() == b"trimmed"
    assert not (target / UNNAMED).exists()
    assert house.call("memos", "--folder", str(memos)).stdout == ""


def test_a_copy_takes_no_other_files_place_and_its_date_is_found(house: House, memos: Path) -> None:
    target = house.inbox / "Voice Memos"
    target.mkdir()
    mine = target / "2026-09-01 08.00.00 Prices an idea two.m4a"
    mine.write_bytes(b"Mine.")
    house.call("memos", "--folder", str(memos))
    assert mine.read_bytes() == b"Mine."
    assert (target / "2026-09-01 08.00.00 Prices an idea two (2).m4a").read_bytes() == NAMED.encode()
    house.run()
    made = json.loads((house.outbox / "Voice Memos/2019-01-01 10.10.10 Old one.json").read_text())
    assert made["source"]["recorded_at"] == "2019-01-01T10:10:10"


def test_a_folder_that_is_not_there_is_said(house: House, tmp_path: Path) -> None:
    assert "Full Disk Access" in house.call("memos", "--folder", str(tmp_path / "none")).stderr
    assert house.call("memos").returncode == 1

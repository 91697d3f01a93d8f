"""A file is there whole or not at all, and on the disk when the call returns."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from dropscribe import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_has_its_content_and_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    for content in (b"first", b"", b"third, longer"):
        files.write_atomically(tmp_path / "note", content)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"note": content}


def test_a_file_is_only_as_open_as_asked(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "note", b"secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "note").stat().st_mode) == 0o600


def test_between_the_two_points_the_name_changes_from_the_old_content_to_the_new(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_bytes(b"old")
    seen = {}

    def reach(point: str) -> None:
        seen[point] = sorted((path.name.startswith(".mine-"), path.read_bytes()) for path in tmp_path.iterdir())

    files.write_atomically(note, b"new", prefix=".mine-", reach=reach)
    assert seen == {"written": [(False, b"old"), (True, b"new")], "renamed": [(False, b"new")]}


def test_an_error_before_the_rename_leaves_the_old_file_alone(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_bytes(b"old")

    def reach(point: str) -> None:
        raise KeyboardInterrupt(point)

    with pytest.raises(KeyboardInterrupt, match="written"):
        files.write_atomically(note, b"new", reach=reach)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"note": b"old"}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write_atomically(tmp_path / "gone" / "note", b"")
    assert list(tmp_path.iterdir()) == []


def test_where_a_full_sync_is_refused_an_ordinary_one_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on network file systems of a Mac: the number of its call is none that this system knows."""
    done: list[int] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 9999, raising=False)
    monkeypatch.setattr(os, "fsync", done.append)
    with (tmp_path / "note").open("wb") as file:
        files.sync_descriptor(file.fileno())
        assert done == [file.fileno()]


def test_files_folders_and_open_files_can_be_synchronised(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_bytes(b"words")
    files.sync_file(note)
    files.sync_folder(tmp_path)
    with note.open("ab") as file:
        files.sync_descriptor(file.fileno())
    for gone in (files.sync_file, files.sync_folder):
        with pytest.raises(FileNotFoundError):
            gone(tmp_path / "gone")
    assert os.listdir(tmp_path) == ["note"]  # noqa: PTH208

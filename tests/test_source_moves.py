"""Moving a source out of the inbox: names, the place in the trash, a file that takes its place at the last moment."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.supervisor import source_moves, trash
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import DisposalWay
from dropscribe.supervisor.source_moves import Left, Order, Outcome, carry_out
from faults.world import mount, unmount

OLD, NEW = b"what was transcribed", b"what came in its place"


def order(folder: Path, way: str = "archive", *, resumed: bool = False) -> Order:
    """Make a source with one output, and the order to let it leave."""
    source, output = folder / "in/one.wav", folder / "out/one.json"
    for path, data in ((source, OLD), (output, b"{}")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    found = source.stat()
    target = None if way == "delete" else folder / "archive/one.wav"
    return Order(
        recording=7,
        way=DisposalWay(way),
        source=source,
        found=Stat(found.st_size, found.st_mtime_ns),
        sha256=hashlib.sha256(OLD).hexdigest(),
        target=target,
        resumed=resumed,
        outputs=((output, hashlib.sha256(b"{}").hexdigest()),),
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def swapped(made: Order) -> None:
    """Put another file in the source's place."""
    other = made.source.with_name("new")
    other.write_bytes(NEW)
    other.replace(made.source)


@pytest.mark.parametrize("way", ["archive", "delete"])
def test_what_takes_its_place_at_the_last_moment_is_put_back(tmp_path: Path, way: str) -> None:
    made = order(tmp_path, way)
    with made.source.open("rb") as source:  # it was looked at, and found to be the one
        swapped(made)
        with pytest.raises(source_moves.KeptError, match="at the last moment"):
            source_moves.move_out(made, source)
    assert files(tmp_path) == {"in/one.wav": NEW, "out/one.json": b"{}"}


def test_what_cannot_be_put_back_is_not_lost_either(tmp_path: Path) -> None:
    made = order(tmp_path, "delete")
    made.source.rename(made.hidden)
    made.source.write_bytes(NEW)
    with pytest.raises(source_moves.KeptError, match="A new file has its name"):
        source_moves.put_back(made.hidden, made.source)
    assert sorted(files(tmp_path).values()) == sorted([OLD, NEW, b"{}"])


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    made = order(tmp_path, "delete")
    made.source.rename(tmp_path / "elsewhere.wav")
    made.source.symlink_to(tmp_path / "elsewhere.wav")
    assert carry_out(made).outcome == "kept"
    assert (tmp_path / "elsewhere.wav").read_bytes() == OLD


def test_the_same_size_and_time_with_another_content_stays(tmp_path: Path) -> None:
    made = order(tmp_path, "delete")
    stamp = made.source.stat().st_mtime_ns
    made.source.write_bytes(OLD.upper())
    os.utime(made.source, ns=(stamp, stamp))
    assert carry_out(made).outcome == "kept"
    assert made.source.read_bytes() == OLD.upper()


def test_a_target_that_was_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    made = order(tmp_path)
    assert made.target is not None
    made.target.parent.mkdir()
    made.target.write_bytes(b"")
    assert carry_out(made) == Left(made, Outcome.TAKEN)
    assert files(tmp_path) == {"in/one.wav": OLD, "out/one.json": b"{}", "archive/one.wav": b""}


def test_an_order_carried_out_twice_is_carried_out_once(tmp_path: Path) -> None:
    made = order(tmp_path, resumed=True)
    assert carry_out(made) == carry_out(made) == Left(made, Outcome.MOVED)
    swapped(made)
    assert carry_out(made) == Left(made, Outcome.MOVED)
    assert files(tmp_path) == {"in/one.wav": NEW, "out/one.json": b"{}", "archive/one.wav": OLD}


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=300))
def test_no_name_is_too_long(stem: str) -> None:
    found = source_moves.list_names(Path("/archive") / f"{stem}.wav")
    for _ in range(3):
        assert len(os.fsencode(trash.note_path(next(found)).name)) <= 255


@pytest.mark.parametrize(
    ("mode", "name"), [(0o1777, ".Trash/{user}"), (0o777, ".Trash-{user}"), (None, ".Trash-{user}")]
)
def test_the_trash_of_a_disk_is_chosen_as_the_specification_says(tmp_path: Path, mode: int | None, name: str) -> None:
    if not mount(tmp_path, 1 << 20):
        pytest.skip("this process may not mount a disk")
    try:
        source = tmp_path / "sub/one.wav"
        source.parent.mkdir()
        source.write_bytes(OLD)
        if mode is not None:
            (tmp_path / ".Trash").mkdir()
            (tmp_path / ".Trash").chmod(mode)
        home = {"XDG_DATA_HOME": "/nowhere/data"}
        assert trash.find_trash(source, home) == tmp_path / name.format(user=os.getuid())
        own = {"XDG_DATA_HOME": str(tmp_path / "home")}
        assert trash.find_trash(source, own) == tmp_path / "home/Trash"
    finally:
        unmount(tmp_path)

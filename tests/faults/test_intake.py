"""What is in an inbox and is no recording, names nobody would choose, and files that change under the hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.journal import State
from faults.world import SUFFIXES, World, four, mount

if TYPE_CHECKING:
    from pathlib import Path


# What is no file


def test_links_pipes_sockets_and_devices_are_passed_over(world: World) -> None:
    outside = world.folder / "outside"
    (outside / "tree").mkdir(parents=True)
    for path in (outside / "secret.wav", outside / "tree" / "deep.wav"):
        path.write_text("Not yours.")
    world.drop("real.wav", "Mine.")
    world.start()
    (world.inbox / "link.wav").symlink_to(outside / "secret.wav")
    (world.inbox / "near.wav").symlink_to("real.wav")
    (world.inbox / "nowhere.wav").symlink_to("nothing")
    (world.inbox / "itself.wav").symlink_to("itself.wav")
    (world.inbox / "folder").symlink_to(outside / "tree")
    (world.inbox / "around").symlink_to(world.inbox)
    (world.inbox / "folder.wav").mkdir()
    os.mkfifo(world.inbox / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(world.inbox, os.O_RDONLY)
        if sys.platform == "linux":  # the way around the 108 bytes a socket's name may have
            listener.bind(f"/proc/self/fd/{folder}/socket.wav")
        os.close(folder)
        if os.geteuid() == 0:
            os.mknod(world.inbox / "zero.wav", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        world.drop("last.wav", "Last.")
        world.until(lambda: (world.outbox / "last.json").exists() and (world.outbox / "real.json").exists())
        # Also what is looked for by scans alone: two have come and gone when these are there.
        for number in range(2):
            world.drop(f"more {number}.wav", f"{number}.")
            world.until((world.outbox / f"more {number}.json").exists)
    assert world.outputs() == four("last", "more 0", "more 1", "real")
    assert {os.path.basename(p) for p, _, _ in world.work()} == {"last.wav", "more 0.wav", "more 1.wav", "real.wav"}  # noqa: PTH119


def test_a_hard_link_is_a_recording_of_its_own_and_no_new_work(world: World) -> None:
    world.start()
    path = world.drop("one.wav", "One.")
    world.settle()
    (world.inbox / "two.wav").hardlink_to(path)
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("one", "two")
    assert len(world.work()) == 1


def test_a_sparse_file_of_terabytes_is_refused_unread_and_stops_nobody(world: World) -> None:
    huge = world.inbox / "a huge.wav"
    huge.touch()
    os.truncate(huge, 4 << 40)
    world.drop("one.wav", "One.")
    world.start()
    world.settle()
    assert world.row("a huge.wav").code == "too-large"
    assert world.outputs() == sorted(["_failed/a huge.wav.error.txt", *four("one")])
    # When it has shrunk, it is as any other.
    huge.write_text("Small now.")
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("a huge", "one")


def test_a_file_refused_for_its_size_is_read_when_the_limit_is_raised(world: World) -> None:
    world.drop("one.wav", "x" * 5000)
    world.start(DROPSCRIBE_MAX_GIGABYTES="4e-6")
    world.settle()
    assert world.row("one.wav").code == "too-large"
    world.signal(signal.SIGTERM)
    world.start()
    world.command("retry", "--all")
    world.until((world.outbox / "one.json").exists)
    world.settle()
    assert world.broken() == []


# Names

NAMES = [
    "new\nline.wav",
    "caf\udce9.wav",
    "n" * 251 + ".wav",
    "\N{MICROPHONE}" * 62 + ".wav",
    "-rf.wav",
    "--help.wav",
    "  spaces  .wav",
    "'quotes\" `and` $(more);|&.wav",
    "%s %n {x}.wav",
    "*.wav",
    "a..wav",
    "back\\slash.wav",
    "tab\t.wav",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.wav",
    "x.json.wav",
    "x.wav",
    "x.wav.wav",
    "x (2).wav",
    "x.mp3",
    "Caf\u00e9 nfc.wav",
    "Cafe\u0301 nfd.wav",
    "_failed/x.wav",
    "sub/x.wav",
    "sub /x.wav",
    "..sub.wav",
    "...wav",
    "..wav",
    ".wav",
    "~x.wav",
]


def test_no_name_is_too_strange(world: World) -> None:
    dropped = []
    for number, name in enumerate(NAMES):
        try:
            world.drop(name, f"Text {number}.")
        except OSError:  # not on this file system
            continue
        dropped.append(name)
    world.start()
    world.drop("bad \udce9\n.wav", "!fail-by-name recording no-audio")
    world.settle()
    assert world.broken() == []
    hidden = [n for n in dropped if os.path.basename(n).startswith((".", "~"))]  # noqa: PTH119
    assert len(list(world.outbox.rglob("*.json"))) == len(dropped) - len(hidden)
    assert len(list(world.outbox.rglob("*.error.txt"))) == 1
    for name in hidden:
        assert "hidden or temporary" in world.command("why", "--", str(world.inbox / name)).stdout
    said = world.command("why", "--", str(world.inbox / "-rf.wav"))
    assert said.stdout.startswith("Done on "), said
    # Nothing is done again for any of them.
    world.signal(signal.SIGTERM)
    world.start()
    world.drop("last.wav", "Last.")
    world.until((world.outbox / "last.json").exists)
    world.settle()
    assert len(world.work()) == len(dropped) - len(hidden) + 1


def test_twins_in_nfc_and_nfd_stay_two_recordings_when_one_leaves(world: World) -> None:
    nfc, nfd = "Caf\u00e9.wav", "Cafe\u0301.wav"
    world.drop(nfc, "Composed.")
    world.drop(nfd, "Decomposed.")
    if len(list(world.inbox.iterdir())) == 1:
        pytest.skip("this file system takes them for one")
    world.start()
    world.settle()
    assert world.broken() == []
    (world.inbox / nfc).unlink()
    for folder in ("x", "y"):  # a new folder has all be looked through again
        world.drop(f"{folder}/one.wav", f"One in {folder}.")
        world.until((world.outbox / folder / "one.json").exists)
    world.settle()
    assert world.broken() == []
    assert len(world.work()) == 4


# Files that change while they are worked on


@pytest.fixture
def busy(world: World) -> World:
    """A daemon in the middle of `one.wav`, before its second window, until the gate `go` opens."""
    world.start()
    world.drop("one.wav", "One.", "!gate go", "Three.")
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))
    return world


def test_replaced_while_it_is_transcribed(busy: World) -> None:
    new = busy.folder / "new"
    new.write_text("Another recording.\nAltogether.")
    new.replace(busy.inbox / "one.wav")
    busy.open_gate("go")
    busy.settle()
    assert busy.broken() == []
    assert busy.outputs() == four("one")


def test_replaced_again_and_again_while_it_is_transcribed(busy: World) -> None:
    for number in range(5):
        new = busy.folder / "new"
        new.write_text(f"Recording {number}.\n!gate go")
        new.replace(busy.inbox / "one.wav")
        busy.until(lambda: busy.rows()[0].sha256 is not None and busy.rows()[0].done_s == 1.0)
    busy.open_gate("go")
    busy.settle()
    assert busy.broken() == []
    assert busy.outputs() == four("one")


def test_appended_to_while_it_is_transcribed(busy: World) -> None:
    with (busy.inbox / "one.wav").open("a") as file:
        file.write("\nFour.")
    busy.open_gate("go")
    busy.settle()
    assert busy.broken() == []
    assert busy.outputs() == four("one")


def test_only_its_date_changes_while_it_is_transcribed(busy: World) -> None:
    (busy.inbox / "one.wav").touch()
    busy.until(lambda: busy.row("one.wav").mtime_ns == (busy.inbox / "one.wav").stat().st_mtime_ns)
    busy.open_gate("go")
    busy.settle()
    assert busy.broken() == []
    assert busy.claimed("one.wav") == 1
    assert len(busy.work()) == 3


def test_renamed_while_it_is_transcribed(busy: World) -> None:
    (busy.inbox / "sub").mkdir()
    (busy.inbox / "one.wav").rename(busy.inbox / "sub" / "two.wav")
    busy.open_gate("go")
    busy.until((busy.outbox / "sub" / "two.json").exists)
    busy.settle()
    assert busy.broken() == []
    assert len(busy.work()) == 3


def test_removed_while_it_is_transcribed(busy: World) -> None:
    (busy.inbox / "one.wav").unlink()
    busy.open_gate("go")
    busy.drop("two.wav", "Two.")
    busy.until((busy.outbox / "two.json").exists)
    busy.settle()
    assert busy.broken() == []


def test_replaced_and_removed_while_transcribed_together_with_others(world: World) -> None:
    world.drop("a.wav", "A.")
    world.drop("b.wav", "B.", "!gate go")
    for name in ("c", "d", "e"):
        world.drop(f"{name}.wav", f"{name}.")
    world.command("pause")  # so that all are in the queue before the first is taken
    world.start()
    world.until(lambda: len(world.rows()) == 5)
    world.command("resume")
    world.until(lambda: any(r.done_s == 1.0 and r.path == b"b.wav" for r in world.rows()))
    assert {e["packed"] for e in world.events("job.claimed")} == {5}
    world.drop("c.wav", "Another recording.", "Altogether.")
    (world.inbox / "d.wav").unlink()
    world.until(lambda: world.events("job.superseded"))
    world.open_gate("go")
    world.settle()
    assert world.broken() == []
    assert world.outputs() == sorted(f for name in "abce" for f in four(name))
    assert {r.path.decode(): r.attempts for r in world.rows() if r.state == State.DONE} == {
        f"{name}.wav": 1 for name in "abce"
    }


def test_it_fails_because_it_is_being_replaced_and_gets_no_record(world: World) -> None:
    world.start()
    path = world.drop("one.wav", "One.", "!gate go", "!fail recording no-audio")
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))
    path.write_text("Whole now.")
    world.open_gate("go")
    world.settle()
    assert world.broken() == []
    assert world.events("job.failed") == []


# The inbox itself


def test_an_inbox_removed_and_made_again(world: World) -> None:
    world.start_with_one_done()
    shutil.rmtree(world.inbox)
    world.until(lambda: world.events("inbox.missing"))
    assert world.command("status").returncode == 4
    world.inbox.mkdir()
    world.drop("two.wav", "Two.")
    world.drop("one.wav", "One.")
    world.until(lambda: world.events("inbox.back"))
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("one", "two")
    assert len(world.work()) == 2
    assert len(world.events("inbox.missing")) == 1


def test_an_inbox_renamed_with_a_full_queue_and_brought_back(world: World) -> None:
    world.start()
    world.drop("0.wav", "First.", "!gate go")
    for number in range(1, 10):
        world.drop(f"{number}.wav", f"{number}.")
    world.until(lambda: len(world.rows()) == 10 and any(r.done_s == 1.0 for r in world.rows()))
    away = world.inbox.with_name("away")
    world.inbox.rename(away)
    world.open_gate("go")
    world.until(lambda: world.events("inbox.missing"))
    away.rename(world.inbox)
    world.settle()
    assert world.broken() == []
    assert len(world.work()) == 11
    assert len(world.events("inbox.missing")) == 1
    assert world.events("inbox.gone") == []


def test_an_inbox_renamed_and_another_made_in_its_place(world: World) -> None:
    world.start_with_one_done()
    away = world.inbox.with_name("away")
    world.inbox.rename(away)
    world.inbox.mkdir()
    (away / "not here.wav").write_text("Not in the inbox.")
    world.drop("two.wav", "Two.")
    world.until(lambda: len(world.events("inbox.watched")) == 2)
    world.drop("three.wav", "Three.")
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("one", "three", "two")


def test_an_inbox_that_is_unmounted_and_mounted_again(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    if not mount(world.inbox, 1 << 20):
        pytest.skip("this process may not mount a disk")
    try:
        world.start_with_one_done()
        subprocess.run(["umount", str(world.inbox)], check=True)
        world.until(lambda: len(world.events("inbox.watched")) == 2)
        mount(world.inbox, 1 << 20)
        world.drop("one.wav", "One.")
        world.drop("two.wav", "Two.")
        world.settle()
        assert world.broken() == []
        assert len(world.work()) == 2
    finally:
        world.close()
        subprocess.run(["umount", "--lazy", str(world.inbox)], check=False)


# What is in the outbox


def test_what_others_put_into_the_outbox_stays_theirs(world: World) -> None:
    for suffix in SUFFIXES:
        (world.outbox / f"text.{suffix}").write_text("mine")
        (world.outbox / f"folder.{suffix}").mkdir()
        os.mkfifo(world.outbox / f"pipe.{suffix}")
        (world.outbox / f"link.{suffix}").symlink_to(f"text.{suffix}")
        (world.outbox / f"nowhere.{suffix}").symlink_to("nothing")
    names = ["text", "folder", "pipe", "link", "nowhere"]
    for name in names:
        world.drop(f"{name}.wav", f"{name.title()}.")
    (world.outbox / "_failed" / "text.wav.error.txt").mkdir(parents=True)
    (world.outbox / "_failed" / "bad.wav.error.txt").mkdir()
    (world.outbox / "_failed" / "sub").write_text("mine")
    world.drop("sub/text.wav", "In a folder.")
    world.drop("bad.wav", "!fail recording no-audio")
    world.start()
    world.settle()
    assert world.row("bad.wav").state == State.FAILED
    assert world.row("text.wav").state == world.row("sub/text.wav").state == State.DONE
    assert len([p for p in (world.outbox / "_failed").glob("*.error.txt") if p.is_file()]) == 1
    for name in names:
        assert sorted(p.name for p in world.outbox.glob(f"{name} (2).*")) == four(f"{name} (2)")
    for suffix in SUFFIXES:
        assert (world.outbox / f"text.{suffix}").read_text() == "mine"
        assert (world.outbox / f"folder.{suffix}").is_dir()
        assert stat.S_ISFIFO((world.outbox / f"pipe.{suffix}").lstat().st_mode)
        assert (world.outbox / f"nowhere.{suffix}").is_symlink()
    assert not (world.outbox / "nothing").exists()

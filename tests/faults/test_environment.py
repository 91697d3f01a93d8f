"""What is wrong around the daemon: it waits, says so once, loses nothing, and goes on by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.journal import State
from faults.world import PATIENCE, SUFFIXES, World, fill, four, mount

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = "A sentence that takes room. " * 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[World]:
    """A world whose outbox is on a disk of 1 MB."""
    made = World(tmp_path / "world", disk_bytes=1 << 20)
    if not made.mounted:
        pytest.skip("this process may not mount a disk")
    yield made
    made.close()


@pytest.fixture
def full_state(world: World) -> Iterator[Path]:
    """A disk of 1 MB on which the world's state is to lie."""
    folder = world.folder / "small"
    folder.mkdir()
    if not mount(folder, 1 << 20):
        pytest.skip("this process may not mount a disk")
    world.state = folder / "state"
    world.environ["DROPSCRIBE_STATE"] = str(world.state)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def waiting(world: World) -> list[str]:
    """Return what was waited for, each time it was said."""
    return [e["code"] for e in world.events("daemon.waiting")]


def went_on(world: World) -> list[str]:
    return [e["code"] for e in world.events("daemon.goes_on")]


# The outbox


def test_a_full_disk_is_waited_out_and_nothing_is_transcribed_twice(small: World) -> None:
    small.fill()
    small.start()
    for number in range(3):
        small.drop(f"{number}.wav", f"{number}. {LONG}")
    small.until(lambda: waiting(small))
    # Those that were given to the engine together with the first are transcribed, and wait as it does.
    small.until(lambda: {r.path: r.state for r in small.rows()}.get(b"2.wav") in {State.QUEUED, State.PUBLISHING})
    assert small.row("0.wav").state == State.PUBLISHING
    assert "disk of the outbox is full" in small.command("status").stdout
    assert small.command("status").returncode == 4
    assert not list(small.outbox.rglob(".dropscribe-*"))
    small.free()
    small.settle()
    assert small.broken() == []
    assert [waiting(small), went_on(small)] == [["disk-full"], ["disk-full"]]
    assert len(small.work()) == 3
    assert small.command("status").returncode == 0


def test_a_disk_that_is_too_small_for_all_of_them_gets_the_rest_later(small: World) -> None:
    """A dozen transcripts of 100 KB do not fit into 1 MB: what fits is whole, the rest comes when there is room."""
    small.start()
    for number in range(12):
        small.drop(f"{number:02}.wav", *(f"{number} {line} {LONG * 5}" for line in range(8)))
    small.until(lambda: waiting(small))
    for made in small.outbox.glob("*.json"):
        assert all(made.with_suffix(f".{suffix}").exists() for suffix in SUFFIXES)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small.disk)], check=True)
    small.settle()
    assert small.broken() == []
    assert len(small.outputs()) == 48
    assert len(small.work()) == 96


def test_replaced_while_half_of_its_files_are_out_it_leaves_one_set(small: World) -> None:
    """The disk is full after the first files of a set; the old files are replaced, not kept next to them."""
    long = [f"{line} {LONG}" for line in range(60)]
    with (small.disk / "filler").open("wb") as file:
        file.truncate(0)
        while shutil.disk_usage(small.disk).free > 120_000:
            file.write(b"\0" * 4096)
            file.flush()
    small.start()
    path = small.drop("one.wav", *long)
    small.until(lambda: waiting(small))
    assert 0 < len(small.outputs()) < 4
    path.write_text("After, and shorter.")
    # It is looked at and passed over: the daemon has scanned twice since.
    other = small.drop("two.wav", "Two.")
    small.until(lambda: any(r.path == b"two.wav" for r in small.rows()))
    small.free()
    small.settle()
    assert small.broken() == []
    assert small.outputs() == four("one", "two")
    assert other.exists()


def test_an_outbox_that_is_taken_away_and_brought_back(world: World) -> None:
    world.start_with_one_done()
    away = world.outbox.with_name("away")
    world.outbox.rename(away)
    world.drop("two.wav", "Two.")
    world.until(lambda: waiting(world) and any(r.path == b"two.wav" for r in world.rows()))
    assert not world.outbox.exists()
    away.rename(world.outbox)
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("one", "two")
    assert [waiting(world), went_on(world)] == [["outbox-missing"], ["outbox-missing"]]


def test_it_is_back_and_work_goes_on_at_once_however_long_the_wait_was_to_be(world: World) -> None:
    world.start("--backoff", "100000", "100000")
    away = world.outbox.with_name("away")
    world.outbox.rename(away)
    world.until(lambda: waiting(world))
    world.drop("one.wav", "One.")
    away.rename(world.outbox)
    world.settle()
    assert world.broken() == []


def test_killed_and_started_while_folders_are_away_it_makes_no_others_in_their_place(world: World) -> None:
    world.start_with_one_done()
    world.signal(signal.SIGKILL)
    for folder in (world.inbox, world.outbox):
        folder.rename(folder.with_name(f"{folder.name} away"))
    world.start()
    world.until(lambda: waiting(world) and world.events("inbox.missing"))
    assert not world.inbox.exists()
    assert not world.outbox.exists()
    for folder in (world.inbox, world.outbox):
        folder.with_name(f"{folder.name} away").rename(folder)
    world.drop("two.wav", "Two.")
    world.settle()
    assert world.broken() == []
    assert world.outputs() == four("one", "two")
    assert len(world.work()) == 2


def test_a_volume_that_is_gone_is_not_taken_for_its_mount_point(tmp_path: Path) -> None:
    """The outbox is the volume itself: without it, an empty folder of the same name is left."""
    world = World(tmp_path / "world")
    if not mount(world.outbox, 1 << 20):
        pytest.skip("this process may not mount a disk")
    try:
        world.start_with_one_done()
        kept = {p.name: p.read_bytes() for p in world.outbox.iterdir()}
        subprocess.run(["umount", str(world.outbox)], check=True)
        world.drop("two.wav", "Two.")
        world.until(lambda: waiting(world))
        world.signal(signal.SIGKILL)
        world.start()
        world.until(lambda: len(waiting(world)) == 2)
        assert list(world.outbox.iterdir()) == []
        mount(world.outbox, 1 << 20)
        for name, data in kept.items():
            (world.outbox / name).write_bytes(data)
        world.settle()
        assert world.broken() == []
    finally:
        world.close()
        subprocess.run(["umount", "--lazy", str(world.outbox)], check=False)


def test_a_read_only_outbox_is_waited_out(small: World) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small.disk)], check=True)
    small.start()
    small.drop("one.wav", "One.")
    small.drop("bad.wav", "!fail recording no-audio")
    small.until(lambda: waiting(small))
    subprocess.run(["mount", "-o", "remount,rw", str(small.disk)], check=True)
    small.settle()
    assert small.broken() == []
    assert set(waiting(small)) == {"outbox-readonly"}
    assert len(waiting(small)) == 1


def test_a_name_the_outbox_cannot_hold_stops_nobody_else(world: World) -> None:
    """A folder of the inbox is called as a file of the outbox: no waiting cures that."""
    world.drop("talk.wav", "One.")
    world.start()
    world.settle()
    world.drop("talk.txt/two.wav", "Two.")
    world.until(lambda: any(r.path == b"talk.txt/two.wav" and r.state == State.FAILED for r in world.rows()))
    world.drop("three.wav", "Three.")
    world.until((world.outbox / "three.json").exists)
    world.until(world.quiet)
    assert world.row("talk.txt/two.wav").code == "name-refused"
    assert (world.outbox / "_failed/talk.txt/two.wav.error.txt").exists()
    # The text is kept: under another name it comes without the work being done again.
    (world.inbox / "talk.txt").rename(world.inbox / "talks")
    world.until((world.outbox / "talks/two.json").exists)
    world.settle()
    assert world.broken() == []
    assert len(world.work()) == 3


def test_a_path_too_long_for_the_outbox_stops_nobody_else(world: World) -> None:
    """The outbox's own path is longer than the inbox's: what fits there does not fit here."""
    deep = Path(*["d" * 200] * ((4000 - len(str(world.inbox))) // 201))
    (world.inbox / deep).mkdir(parents=True)
    room = 4090 - len(os.fsencode(world.inbox / deep)) - 5
    name = "n" * min(room, 200) + ".wav"
    world.drop(str(deep / name), "Deep.")
    world.drop("one.wav", "One.")
    world.start()
    world.settle()
    assert world.row("one.wav").state == State.DONE
    assert world.row(str(deep / name)).state in {State.DONE, State.FAILED}
    failed = world.row(str(deep / name)).state == State.FAILED
    assert len(list((world.outbox / "_failed").rglob("*.error.txt"))) == int(failed)


# The state


def test_a_full_disk_of_the_journal_is_waited_out(world: World, full_state: Path) -> None:
    world.start_with_one_done()
    fill(full_state)
    for number in range(5):
        world.drop(f"{number}.wav", f"{number}. {LONG}")
    world.until(lambda: waiting(world))
    assert set(waiting(world)) == {"journal-unwritable"}
    (full_state / "filler").unlink()
    world.settle()
    assert world.broken() == []
    assert len(waiting(world)) == 1


def test_a_full_disk_of_the_journal_in_the_middle_of_a_recording(world: World, full_state: Path) -> None:
    world.start(FAKE_PACE=str(world.state / "journal.sqlite3"))
    world.drop("one.wav", "One.", "!gate full", "Three.", "Four.")
    world.until(lambda: world.rows() and world.rows()[0].done_s == 1.0)
    fill(full_state)
    world.open_gate("full")
    world.until(lambda: waiting(world))
    world.disturbances += 1
    (full_state / "filler").unlink()
    world.settle()
    assert world.broken() == []
    assert world.row("one.wav").attempts == 1


def test_started_with_the_disk_of_the_journal_full_it_waits(world: World, full_state: Path) -> None:
    world.start_with_one_done()
    world.signal(signal.SIGKILL)
    fill(full_state)
    world.drop("two.wav", "Two.")
    world.spawn()
    world.until(lambda: waiting(world))
    (full_state / "filler").unlink()
    world.settle()
    assert world.broken() == []


def test_a_state_folder_without_room_for_a_new_journal_is_said_in_two_lines(world: World, full_state: Path) -> None:
    world.state.mkdir()
    fill(full_state)
    assert world.spawn().wait() == 1
    said = (world.folder / "stderr").read_text()
    assert "Traceback" not in said
    assert str(world.state) in said


def test_a_state_folder_that_is_removed_ends_it_and_the_next_start_knows_what_is_done(world: World) -> None:
    """A service manager starts it again, as after a crash."""
    world.start_with_one_done()
    shutil.rmtree(world.state)
    world.drop("two.wav", "Two.")
    assert world.process is not None
    assert world.process.wait(PATIENCE) == 1
    assert "Traceback" not in (world.folder / "stderr").read_text()
    world.start()
    world.settle()
    assert world.broken() == []
    assert len(world.work()) == 2


def test_what_was_wrong_before_a_restart_is_not_said_after_it(world: World) -> None:
    world.start()
    away = world.inbox.with_name("away")
    world.inbox.rename(away)
    world.until(lambda: world.events("inbox.missing"))
    world.signal(signal.SIGKILL)
    away.rename(world.inbox)
    world.start()
    assert world.command("status").returncode == 0


# The engine's process


def test_an_engine_that_cannot_be_started_fails_no_recording(world: World) -> None:
    engine = world.folder / "engine"
    world.start("--worker", str(engine))
    world.drop("one.wav", "One.")
    world.until(lambda: waiting(world))
    assert waiting(world) == ["worker-refused"]
    fake = Path(__file__).parent / "fake_worker.py"
    engine.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}"\n')
    engine.chmod(0o700)
    world.settle()
    assert world.broken() == []


def test_an_engine_that_ends_at_its_start_fails_no_recording(world: World) -> None:
    """A broken installation must not quarantine every recording there is."""
    world.start(FAKE_START="!exit 3")
    for number in range(5):
        world.drop(f"{number}.wav", f"{number}.")
    world.until(lambda: waiting(world))
    world.until(lambda: len(world.events("worker.started")) >= 5)
    assert waiting(world) == ["worker-broken"]
    assert {r.state for r in world.rows()} <= {State.QUEUED, State.RUNNING}
    world.signal(signal.SIGTERM)
    world.start()
    world.settle()
    assert world.broken() == []


# The clock

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t offset(void) {
    long days = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &days) != 1) days = 0; fclose(file); }
    return days * 86400;
}
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    if (!code && id == CLOCK_REALTIME) now->tv_sec += offset();
    return code;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int code = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return code;
}
time_t time(time_t *stored) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (stored) *stored = exact.tv_sec;
    return exact.tv_sec;
}
"""
"""Stands before the C library: the wall clock is off by as many days as a file says. Time that passes is as it is."""


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_jumps_a_day_changes_nothing(world: World, days: int) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    (world.folder / "clock.c").write_text(CLOCK)
    library, offset = world.folder / "clock.so", world.folder / "offset"
    made = [compiler, "-shared", "-fPIC", "-o", str(library), str(world.folder / "clock.c"), "-ldl"]
    subprocess.run(made, check=True)
    offset.write_text("0")
    # Packed with others, the one that crashes would do so once alone.
    world.start(LD_PRELOAD=str(library), CLOCK_OFFSET=str(offset), DROPSCRIBE_PACK="false")
    world.drop("one.wav", "One.")
    world.settle()
    world.drop("two.wav", "Two.", "!gate jump", "Four.")
    world.until(lambda: world.events("job.planned")[1:])
    world.drop("crash.wav", "!until 2 !crash", "Fine.")
    world.until(lambda: any(r.path == b"crash.wav" for r in world.rows()))
    offset.write_text(str(days))
    world.open_gate("jump")
    for number in range(5):
        world.drop(f"{number}.wav", f"{number}.")
    world.settle()
    offset.write_text("0")
    world.drop("last.wav", "Last.")
    os.utime(world.drop("old.wav", "Old."), (0, 0))
    os.utime(world.drop("future.wav", "Future."), (time.time() + 86400 * 365,) * 2)
    world.settle()
    assert world.broken() == []
    off = {abs(r.changed - time.time()) > 80_000 for r in world.rows()}
    assert off == {True, False}  # the jump did reach the daemon
    assert [e["code"] for e in world.events("job.engine_failed")] == ["worker-died"] * 2

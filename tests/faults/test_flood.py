"""Thousands of recordings at once, beside a busy process: none is missed, and the daemon stays as small as it was.

DROPSCRIBE_FLOOD says how many (1,500; the long form is 10,000), DROPSCRIBE_MANY how many go through one daemon in the
test of its memory (400; the long form is 1,000).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.world import World

FLOOD = int(os.environ.get("DROPSCRIBE_FLOOD", "1500"))
MANY = int(os.environ.get("DROPSCRIBE_MANY", "400"))
MEGABYTES = 1 << 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.fixture
def world(fast_world: World) -> World:
    return fast_world


@pytest.fixture
def busy() -> Iterator[None]:
    """A process that takes all of one processor, as a game or a compiler does."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    other.kill()
    other.wait()


def check_all(world: World, number: int) -> None:
    """Hold each output to its recording: every one has its set, none was worked on twice."""
    world.settle()
    assert world.broken() == []
    assert len(world.outputs()) == 4 * number
    assert len(world.work()) == number


@pytest.mark.usefixtures("busy")
def test_a_flood_is_taken_in_whole_and_memory_stays(world: World) -> None:
    world.start(DROPSCRIBE_SCAN_SECONDS="60")
    world.drop("first.wav", "First.")
    world.until_done(1)
    before = world.resident()
    for number in range(FLOOD - 1):
        (world.inbox / f"{number:05}.wav").write_text(f"Number {number}.")
    most = world.until_done(FLOOD)
    print(json.dumps({"flood": FLOOD, "MB_before": before // MEGABYTES, "MB_most": most // MEGABYTES}))
    check_all(world, FLOOD)
    # A hundred bytes of name, state and settling a file, and what the allocator keeps: 10 KB each is generous.
    assert most - before < 30 * MEGABYTES + FLOOD * 10_000, f"{before} grew to {most}"


def test_the_first_output_of_a_flood_is_there_long_before_its_last_file_is_taken_in(world: World) -> None:
    """The order in the log counts, not seconds: the worker's events come before the digests."""
    world.start(DROPSCRIBE_PACK="false")
    world.drop("first.wav", "First.")
    world.until_done(1)  # the worker is hot
    for number in range(FLOOD - 1):
        (world.inbox / f"{number:05}.wav").write_text(f"Number {number}.")
    world.until_done(FLOOD)
    steps = [(event["event"], event["file"]) for event in world.events("inbox.settled", "job.done")]
    done = [place for place, (step, _) in enumerate(steps) if step == "job.done"]
    taken_in = [place for place, (step, _) in enumerate(steps) if step == "inbox.settled"]
    between = sum(place < done[1] for place in taken_in)  # done[0] is the one before the flood
    print(json.dumps({"flood": FLOOD, "taken_in_before_the_first_output": between}))
    assert between < FLOOD // 2
    check_all(world, FLOOD)


def test_events_that_the_system_drops_cost_nothing(world: World) -> None:
    """The daemon stands still while more happens than the kernel's queue of events holds: a scan finds all."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the queue holds {limit} events")
    world.start()
    world.drop("first.wav", "First.")
    world.settle()
    assert world.process is not None
    world.process.send_signal(signal.SIGSTOP)
    noise = world.inbox / "noise.txt"
    for _ in range(limit // 2 + 1000):  # each is an event of opening, changing and closing
        with noise.open("a") as file:
            file.write("x")
    for number in range(300):  # these have no event any more
        (world.inbox / f"{number:05}.wav").write_text(f"Number {number}.")
    world.process.send_signal(signal.SIGCONT)
    world.until_done(301)
    check_all(world, 301)


def test_a_tree_that_is_moved_in_is_taken_in_whole(world: World) -> None:
    world.start(DROPSCRIBE_SCAN_SECONDS="60")
    tree = world.folder / "tree"
    for number in range(200):
        path = tree / f"{number % 7}" / f"{number % 5}" / f"{number:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Number {number}.")
    tree.rename(world.inbox / "tree")
    world.until_done(200)
    check_all(world, 200)


def test_memory_is_flat_over_many_recordings(world: World) -> None:
    """One after another through one daemon: between a fifth of them and all it does not grow."""
    world.start(DROPSCRIBE_SCAN_SECONDS="60")
    sizes = {}
    for number in range(MANY):
        world.drop(f"{number % 10}/{number:04}.wav", f"Number {number}.", "More.")
        if number % 25 == 24:
            world.until_done(number + 1)
            sizes[number + 1] = world.resident()
    print(json.dumps({"recordings": MANY, "MB_after": {n: round(s / MEGABYTES, 1) for n, s in sizes.items()}}))
    early, late = sizes[MANY // 5 // 25 * 25], sizes[MANY]
    assert late - early < 8 * MEGABYTES, json.dumps(sizes)


def test_a_scan_of_ten_thousand_names_finds_each_once(world: World) -> None:
    for number in range(10_000):
        os.mknod(world.inbox / f"{number:05}.wav")
    found = [name for name, _ in Inbox(world.inbox, recursive=True, exclude=world.outbox).scan()]
    assert sorted(found) == [f"{number:05}.wav" for number in range(10_000)]

"""Told to end at any moment, the daemon is gone within 5 seconds, with exit code 0, and no process of its is left."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.journal import State
from faults.world import alive

if TYPE_CHECKING:
    from faults.world import World

SECONDS = 5.0
"""What launchd gives a service before it kills it, and the promise."""


def ends(world: World, number: int = signal.SIGTERM) -> None:
    """Send a signal and hold the daemon to its promise."""
    assert world.process is not None
    workers = [e["pid"] for e in world.events("worker.started")]
    begun = time.monotonic()
    assert world.signal(number) == 0, world.evidence()
    assert time.monotonic() - begun < SECONDS
    assert not any(map(alive, workers))


def test_sigterm_at_random_moments(world: World) -> None:
    """Recordings of every kind are under way; each moment is as good as another."""
    chance = random.Random(20261123)
    for number in range(30):
        world.drop(f"{number}.wav", *(f"Number {number}, sentence {line}." for line in range(20)))
    world.drop("crash.wav", "!crash")
    world.drop("bad.wav", "!fail recording no-audio")
    for _ in range(8):
        world.start()
        seen = len(world.events())
        wanted = seen + chance.randrange(60)  # so many more lines of the log
        world.until(lambda: len(world.events()) >= wanted or world.quiet())  # noqa: B023
        ends(world)
    world.start()
    world.settle()
    assert world.broken() == []
    assert world.row("crash.wav").attempts == 3
    ends(world)


@pytest.mark.parametrize("order", ["!hang", "!gate never"])
def test_sigterm_while_the_engine_hangs(world: World, order: str) -> None:
    world.start()
    world.drop("one.wav", "One.", order)
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))
    ends(world)
    assert world.row("one.wav").state == State.QUEUED
    assert world.row("one.wav").attempts == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_closed_terminal_ends_it_as_well(world: World, number: int) -> None:
    world.start()
    world.drop("one.wav", "One.", "!gate never")
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))
    ends(world, number)


def test_sigterm_while_something_is_waited_for(world: World) -> None:
    world.start()
    world.outbox.rename(world.disk / "away")
    world.drop("one.wav", "One.")
    world.until(lambda: world.events("daemon.waiting"))
    ends(world)


def test_sigterm_in_the_middle_of_a_flood(world: World) -> None:
    world.start()
    for number in range(500):
        world.drop(f"{number}.wav", f"Number {number}.")
    world.until(lambda: world.events("job.done"))
    ends(world)


def test_killed_it_leaves_no_engine_behind(world: World) -> None:
    world.start()
    world.drop("one.wav", "One.", "!hang")
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))
    workers = [e["pid"] for e in world.events("worker.started")]
    world.signal(signal.SIGKILL)
    world.until(lambda: not any(map(alive, workers)))

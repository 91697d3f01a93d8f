"""Killed at each named point, twice in a row, it ends as if nothing had happened.

The points are in dropscribe.crash. Most kill the daemon, two kill the worker, which fails on demand but is a process.
"""

from __future__ import annotations

import collections
import signal
from typing import TYPE_CHECKING

import pytest

from dropscribe import crash
from dropscribe.journal import State
from faults.world import PATIENCE

if TYPE_CHECKING:
    from faults.world import World

IN_WORKER = {"decoded", "segment"}
AFTER_WORK = {"kept", "rendered", "written", "renamed", "published", "committed"}
"""Points that are reached when the text is already in the journal: no window may be done again."""
AFTER_FAILURE = {"quarantined"}
AFTER_DAMAGE = {"adopted"}
"""Reached only while a journal is made anew from the outbox."""
AFTERWARDS = {"hooked", "leaving", "reserved", "moved", "copied", "withdrawn", "removed"}
"""Reached only with hooks, or when sources leave: test_hooks.py and test_leaving.py."""


def armed(world: World, point: str, count: int = 2) -> None:
    """Have whoever reaches a point killed there, the first `count` times."""
    world.environ[crash.VARIABLE] = f"{point} {count} {world.folder}"
    world.disturbances += count
    world.environ["FAKE_PACE"] = str(world.state / "journal.sqlite3")


def live(world: World, kills: int = 0) -> None:
    """Start the daemon again and again until it has been killed so often, then wait until all is done."""
    for _ in range(kills):
        assert world.spawn().wait(PATIENCE) == -signal.SIGKILL, world.evidence()
    world.spawn()
    world.settle()
    assert world.rows()
    assert world.broken() == []


@pytest.mark.parametrize("point", sorted(crash.POINTS.keys() - AFTER_FAILURE - AFTER_DAMAGE - AFTERWARDS))
def test_killed_twice_at_any_point_everything_is_there_once(world: World, point: str) -> None:
    armed(world, point)
    world.drop("one.wav", *(f"One {n}." for n in range(5)))
    world.drop("sub/two.mp3", "Two 0.", "Two 1.", "Two 2.")
    live(world, kills=0 if point in IN_WORKER else 2)
    assert len(list(world.folder.glob(f"{point}.*"))) == 2
    assert world.outputs() == sorted(
        f"{base}.{suffix}" for base in ("one", "sub/two") for suffix in ("json", "srt", "txt", "vtt")
    )

    done = collections.Counter(f"{path.rpartition('/')[2]} {index}" for path, index, _ in world.work())
    assert set(done) == {*(f"one.wav {n}" for n in range(5)), *(f"two.mp3 {n}" for n in range(3))}
    again = done.total() - len(done)
    assert again <= (2 if point in {"segment", "checkpointed", "queued"} else 0), done
    claims = world.claimed("one.wav") + world.claimed("sub/two.mp3")
    assert claims <= 2 + (0 if point in AFTER_WORK | {"seen"} else 2)
    attempts = {r.path: r.attempts for r in world.rows()}
    assert sum(attempts.values()) == 2 + (2 if point in IN_WORKER else 0)


def test_a_killed_daemon_uses_up_no_attempt(world: World) -> None:
    """More kills than attempts, in the middle of one recording."""
    armed(world, "checkpointed", 5)
    world.drop("one.wav", *(f"One {n}." for n in range(8)))
    live(world, kills=5)
    assert world.row("one.wav").attempts == 1


def test_killed_after_a_record_of_failure_it_leaves_one_record(world: World) -> None:
    armed(world, "quarantined")
    world.drop("bad.wav", "!fail recording no-audio")
    world.drop("good.wav", "Fine.")
    live(world, kills=2)
    assert world.row("bad.wav").state == State.FAILED
    assert world.row("bad.wav").attempts == 1


def test_a_record_the_journal_never_heard_of_goes_when_the_recording_succeeds(world: World) -> None:
    armed(world, "quarantined", 1)
    world.drop("bad.wav", "!fail recording no-audio")
    assert world.spawn().wait() == -signal.SIGKILL
    assert (world.outbox / "_failed/bad.wav.error.txt").exists()
    world.drop("bad.wav", "Fine now.")
    live(world)


def test_half_published_and_then_replaced_it_leaves_one_set(world: World) -> None:
    """The files of the old content that were there before the kill are the daemon's own, and are replaced."""
    armed(world, "renamed", 2)
    world.drop("one.wav", "Before.")
    assert world.spawn().wait() == -signal.SIGKILL
    assert world.spawn().wait() == -signal.SIGKILL
    assert 0 < len(world.outputs()) < 4
    world.drop("one.wav", "After, and longer.")
    live(world)
    assert world.outputs() == ["one.json", "one.srt", "one.txt", "one.vtt"]


def test_half_published_over_an_older_set_and_then_replaced_it_leaves_one_set(world: World) -> None:
    world.drop("one.wav", "First.")
    live(world)
    world.signal(signal.SIGTERM)
    armed(world, "renamed", 1)
    world.drop("one.wav", "Second, longer.")
    assert world.spawn().wait() == -signal.SIGKILL
    world.drop("one.wav", "Third, longer still.")
    live(world)
    assert world.outputs() == ["one.json", "one.srt", "one.txt", "one.vtt"]


def test_killed_while_the_journal_is_made_anew_nothing_is_transcribed_twice(world: World) -> None:
    for number in range(6):
        world.drop(f"{number}.wav", f"Number {number}.")
    live(world)
    world.signal(signal.SIGKILL)
    (world.state / "journal.sqlite3").write_bytes(b"no journal at all" * 1000)
    armed(world, "adopted")
    world.disturbances = 0
    live(world, kills=2)
    assert [e["file"] for e in world.events("job.claimed")] == [f"{n}.wav" for n in range(6)]
    assert len([p for p in world.state.glob("*.damaged-*") if not p.name.endswith("-journal")]) == 1


def test_a_text_of_another_content_is_never_kept_for_this_one(world: World) -> None:
    """The file is replaced just before the worker opens it, and the daemon killed before it learns of that."""
    old = [f"Old {n}." for n in range(3)]
    path = world.drop("one.wav", *old)
    world.environ |= {"FAKE_READ": "read"}
    world.start(DROPSCRIBE_SETTLE_SECONDS="2")
    world.until(lambda: world.events("job.claimed"))
    # As many windows as before: nothing but the text tells them apart.
    path.write_text("New 0.\nNew 1.\n!gate never")
    world.open_gate("read")
    world.until(lambda: world.row("one.wav").done_s == 2.0 or world.events("job.superseded"))
    world.signal(signal.SIGKILL)
    path.write_text("\n".join(old))
    live(world)

"""Short work between the windows of a long recording, and the same sound in another file."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.world import World

LONG = [f"Window {number}." for number in range(300)]
"""A recording of 300 s, whose 20th window waits at a gate."""
LONG[20] = "!gate memo"


def start_with_a_long_one(world: World) -> None:
    """Start the daemon; `long.wav` waits in the middle of its 20th window.

    The worker begins a window when the one before is in the journal, as if windows took long.
    """
    world.environ["FAKE_PACE"] = str(world.state / "journal.sqlite3")
    world.start()
    world.drop("long.wav", *LONG)
    world.until(lambda: len(world.work()) == 20)


def queue_behind(world: World, name: str, *lines: str) -> None:
    """Drop a recording and wait until it is queued."""
    world.drop(name, *lines)
    world.until(lambda: name in [event["file"] for event in world.events("inbox.settled")])


def outcomes(world: World) -> list[str]:
    return [event["file"] for event in world.events("job.done", "job.failed")]


def test_a_memo_and_a_bad_file_behind_a_long_recording_do_not_wait_for_its_end(world: World) -> None:
    start_with_a_long_one(world)
    queue_behind(world, "bad.wav", "!fail recording no-audio")
    queue_behind(world, "memo.wav", "Buy milk.")
    world.until(lambda: len(world.events("job.claimed")) > 1)  # while the long one stands at its gate
    world.open_gate("memo")
    world.settle()
    assert outcomes(world)[-1] == "long.wav"
    assert sorted(outcomes(world)) == ["bad.wav", "long.wav", "memo.wav"]
    assert world.broken() == []
    decoded = [event["file"] for event in world.events("job.decoded")]
    assert (len(world.events("worker.started")), decoded.count("long.wav")) == (1, 1)


def test_the_long_one_goes_on_after_each_that_went_between(world: World) -> None:
    """Whatever is behind it, the long one has its turn: here after each, for none may be packed."""
    world.environ["DROPSCRIBE_PACK"] = "false"
    start_with_a_long_one(world)
    for number in range(3):
        queue_behind(world, f"{number}.wav", f"Memo {number}.")
    world.open_gate("memo")
    world.settle()
    windows = [path.rpartition("/")[2] for path, _, _ in world.work()]
    turns = [name for name, before in zip(windows, ["", *windows], strict=False) if name != before]
    assert turns == ["long.wav", "0.wav", "long.wav", "1.wav", "long.wav", "2.wav", "long.wav"]
    assert windows.count("long.wav") == 300  # none is done twice
    assert world.broken() == []


def test_one_that_is_long_itself_waits_for_its_turn(world: World) -> None:
    start_with_a_long_one(world)
    queue_behind(world, "other.wav", *[f"Other {number}." for number in range(200)])
    world.until(lambda: len(world.events("job.claimed")) == 2)
    world.open_gate("memo")
    world.settle()
    assert outcomes(world) == ["long.wav", "other.wav"]
    assert [event["file"] for event in world.events("job.long")] == ["other.wav"]
    assert world.broken() == []


def test_a_memo_that_breaks_the_engine_costs_the_long_one_no_window_and_no_attempt(world: World) -> None:
    start_with_a_long_one(world)
    queue_behind(world, "memo.wav", "!until 1 !crash", "Buy milk.")
    world.until(lambda: len(world.events("job.claimed")) == 2)
    world.open_gate("memo")
    world.settle()
    claims = [(event["file"], event["attempt"]) for event in world.events("job.claimed")]
    assert claims.count(("long.wav", 1)) == 2
    assert ("memo.wav", 2) in claims
    assert [event["file"] for event in world.events("job.engine_failed")] == ["memo.wav"]
    world.disturbances += 1
    assert world.broken() == []


def test_killed_while_a_memo_goes_between_both_are_done(world: World) -> None:
    start_with_a_long_one(world)
    queue_behind(world, "memo.wav", "Buy milk.", "!gate bread", "And bread.")
    world.until(lambda: len(world.events("job.claimed")) == 2)
    world.open_gate("memo")
    world.until(lambda: any(path.endswith("memo.wav") for path, _, _ in world.work()))
    world.signal(signal.SIGKILL)
    world.open_gate("bread")
    world.start()
    world.settle()
    assert sorted(outcomes(world)) == ["long.wav", "memo.wav"]
    assert world.broken() == []


def test_status_tells_what_goes_between_and_the_queue_in_its_order(world: World) -> None:
    start_with_a_long_one(world)
    (world.inbox / "urgent").mkdir()
    (world.inbox / "urgent" / "dropscribe.toml").write_text('priority = "high"\n')
    for name in ("first.wav", "second.wav", "urgent/third.wav"):
        queue_behind(world, name, name, *["More."] * 99)
    world.until(lambda: len(world.events("job.claimed")) == 2)
    report = json.loads(world.command("status", "--json").stdout)
    assert report["interrupted"]["file"] == "long.wav"
    assert [queued["file"] for queued in report["queue"]] in (
        ["urgent/third.wav", "second.wav"],
        ["second.wav", "urgent/third.wav"],
        ["first.wav", "second.wav"],
    )
    text = world.command("status").stdout
    assert "Between   the windows of long.wav" in text
    assert "Next      " in text
    world.open_gate("memo")
    world.settle()
    assert world.broken() == []


def test_a_priority_of_a_profile_is_served_first(world: World) -> None:
    world.start()
    assert world.command("pause").returncode == 0
    for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
        queue_behind(world, name, f"In {name}.")
    (world.inbox / "c.wav.toml").write_text('priority = "high"\n')
    (world.inbox / "a.wav.toml").write_text("priority = -5\n")
    assert world.command("resume").returncode == 0
    world.settle()
    assert [event["file"] for event in world.events("job.claimed")] == ["c.wav", "b.wav", "d.wav", "a.wav"]


def test_another_tag_republishes_the_same_sound_at_once(world: World) -> None:
    world.start(DROPSCRIBE_PACK="false")
    world.drop("talk.wav", "# title: one", *LONG[:20])
    world.settle()
    before = len(world.work())
    world.drop("talk.wav", "# title: another", *LONG[:20])
    world.until(lambda: len(world.events("job.done")) == 2)
    world.drop("copy.wav", "# cover: one", *LONG[:20])
    world.until(lambda: len(world.events("job.done")) == 3)
    assert [(event["file"], event["by"]) for event in world.events("job.known")] == [
        ("talk.wav", "sound"),
        ("copy.wav", "sound"),
    ]
    made = json.loads((world.outbox / "copy.json").read_text())
    assert made["source"]["name"] == "copy.wav"
    assert made["source"]["bytes"] == (world.inbox / "copy.wav").stat().st_size
    # The engine was at its next window at most when it was told.
    assert len(world.work()) <= before + 2 * 20
    world.settle()


def test_other_settings_make_another_result_of_the_same_sound(world: World) -> None:
    world.start()
    world.drop("talk.wav", "# title: one", "Hello.")
    world.settle()
    world.drop("copy.wav.toml", 'prompt = "Aalto"')
    world.drop("copy.wav", "# title: two", "Hello.")
    world.until(lambda: len(world.events("job.done")) == 2)
    assert world.events("job.known") == []
    assert os.path.exists(world.outbox / "copy.json")  # noqa: PTH110 (a path of this test)

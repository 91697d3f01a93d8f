"""Killed at each named point, twice in a row, it ends as if nothing had happened.

The points are in dropscribe.crash. Most kill the daemon, two kill the worker, which fails on demand but is a process.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from dropscribe import crash
from dropscribe.supervisor import requests
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Correction, Edit
from faults.world import PATIENCE

if TYPE_CHECKING:
    from faults.world import World

IN_WORKER = {"decoded", "segment"}
AFTER_WORK = {"kept", "rendered", "written", "renamed", "published", "committed"}
"""Points that are reached when the text is already in the journal: no window may be done again."""
AFTER_FAILURE = {"quarantined"}
AFTER_DAMAGE = {"adopted"}
"""Reached only while a journal is made again from the outbox."""
AFTERWARDS = {"hooked", "leaving", "reserved", "moved", "copied", "withdrawn", "removed"}
"""Reached only with hooks, or when sources leave: test_hooks.py and test_disposal.py."""
TOGETHER = {"joining", "joined"}
"""Reached only where the recordings of a folder belong together."""
AFTER_REQUEST = {"asked", "retired"}
"""Reached only when recordings are to be done again."""


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


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    "point", sorted(crash.POINTS.keys() - AFTER_FAILURE - AFTER_DAMAGE - AFTER_REQUEST - AFTERWARDS - TOGETHER)
)
def test_killed_twice_at_any_point_everything_is_there_once(world: World, point: str, pack: bool) -> None:
    world.environ["DROPSCRIBE_PACK"] = str(pack)
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
    attempts = {r.path: r.attempts for r in world.rows()}
    if pack:  # what the worker had not reported of both may be done again; the pack's failure is nobody's
        # A kill counts against what the worker had alone: the first may be begun before the second is there.
        assert 2 <= sum(attempts.values()) <= 2 + (2 if point in IN_WORKER else 0)
        return
    again = done.total() - len(done)
    assert again <= (2 if point in {"segment", "checkpointed", "queued"} else 0), done
    claims = world.claimed("one.wav") + world.claimed("sub/two.mp3")
    assert claims <= 2 + (0 if point in AFTER_WORK | {"seen"} else 2)
    assert sum(attempts.values()) == 2 + (2 if point in IN_WORKER else 0)


def test_a_killed_daemon_uses_up_no_attempt(world: World) -> None:
    """More kills than attempts, in the middle of one recording."""
    armed(world, "checkpointed", 5)
    world.drop("one.wav", *(f"One {n}." for n in range(8)))
    live(world, kills=5)
    assert world.row("one.wav").attempts == 1


@pytest.mark.parametrize("point", sorted(TOGETHER))
def test_killed_before_a_folder_is_joined_it_has_its_one_transcript(world: World, point: str) -> None:
    armed(world, point)
    (world.inbox / "show").mkdir()
    (world.inbox / "show/dropscribe.toml").write_text("together = true\n")
    world.drop("show/1-anna.wav", "Hello.")
    world.drop("show/2-ben.wav", "Good day.", "Fine.")
    for _ in range(2):
        assert world.spawn().wait(PATIENCE) == -signal.SIGKILL, world.evidence()
    world.spawn()
    expected = [
        "show/1-anna.json",
        "show/2-ben.json",
        *(f"show/show.{each}" for each in ("json", "srt", "txt", "vtt")),
    ]
    world.until(lambda: world.outputs() == expected and world.events("folder.joined"))
    joined = json.loads((world.outbox / "show/show.json").read_text())
    assert {segment["speaker"] for segment in joined["segments"]} == {"anna", "ben"}


def test_killed_after_a_record_of_failure_it_leaves_one_record(world: World) -> None:
    armed(world, "quarantined")
    world.drop("bad.wav", "!fail recording no-audio")
    world.drop("good.wav", "Fine.")
    live(world, kills=2)
    assert world.row("bad.wav").state == State.FAILED
    assert world.row("bad.wav").attempts == 1


def test_a_record_that_the_journal_does_not_know_is_removed_when_the_recording_succeeds(world: World) -> None:
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


def test_killed_while_the_journal_is_rebuilt_nothing_is_transcribed_twice(world: World) -> None:
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


@pytest.mark.parametrize(
    ("point", "stale"),
    [
        *((point, False) for point in sorted(AFTER_REQUEST | AFTER_WORK | {"claimed", "segment", "checkpointed"})),
        *((point, True) for point in ("asked", "kept", "renamed")),
    ],
)
def test_killed_twice_while_recordings_are_done_again_both_versions_are_there(
    world: World, point: str, *, stale: bool
) -> None:
    for name in ("one.wav", "sub/two.wav"):
        world.drop(name, *(f"{name} {n}." for n in range(3)))
    live(world)
    world.signal(signal.SIGTERM)
    (world.outbox / "sub/two.srt").write_text("Corrected by hand.")
    before = {p: p.read_bytes() for p in world.outbox.rglob("*") if p.is_file()}
    if stale:
        (world.inbox / "dropscribe.toml").write_text('language = "fi"\nformats = ["txt", "srt", "md"]\n')
    else:
        (world.inbox / "dropscribe.toml").write_text('formats = ["txt", "srt", "md"]\n')
    done = world.command(
        "redo", *(["--stale"] if stale else [str(world.inbox / n) for n in ("one.wav", "sub/two.wav")])
    )
    assert "2 recordings will be transcribed again" in done.stderr

    armed(world, point)
    for _ in range(0 if point in IN_WORKER else 2):
        assert world.spawn().wait(PATIENCE) == -signal.SIGKILL, world.evidence()
    world.spawn()
    world.until(lambda: world.quiet() and not list((world.state / "requests").iterdir()))
    assert len(list(world.folder.glob(f"{point}.*"))) == 2
    assert world.claimed("one.wav") >= 2
    assert {(r.state, r.redo, r.discard_result) for r in world.rows()} == {(State.DONE, "", False)}
    # Of the older version everything of ours once, and what was edited where it was.
    kept = {p: p.read_bytes() for p in (world.outbox / "_old").rglob("*") if p.is_file()}
    edited = world.outbox / "sub/two.srt"
    assert sorted(kept.values()) == sorted(data for path, data in before.items() if path != edited)
    new = [f"{base}.{suffix}" for base in ("one", "sub/two") for suffix in ("json", "md", "srt", "txt")]
    assert [name for name in world.outputs() if not name.startswith("_old")] == sorted([*new, "sub/two (2).srt"])
    assert edited.read_text() == "Corrected by hand."
    made = json.loads((world.outbox / "sub/two.json").read_text())
    assert made["engine"]["options"]["language"] == ("fi" if stale else "auto")
    assert made["text"] == "sub/two.wav 0. sub/two.wav 1. sub/two.wav 2."


def test_a_text_of_another_content_is_never_kept_for_this_one(world: World) -> None:
    """The file is replaced just before the worker opens it, and the daemon killed before it learns of that."""
    old = [f"Old {n}." for n in range(3)]
    path = world.drop("one.wav", *old)
    world.environ |= {"FAKE_READ": "read"}
    world.start(DROPSCRIBE_SETTLE_SECONDS="2")
    world.until(lambda: world.events("job.claimed"))
    # As many windows as before: nothing but the text distinguishes them.
    path.write_text("New 0.\nNew 1.\n!gate never")
    world.open_gate("read")
    world.until(lambda: world.row("one.wav").done_s == 2.0 or world.events("job.superseded"))
    world.signal(signal.SIGKILL)
    path.write_text("\n".join(old))
    live(world)


@pytest.mark.parametrize("point", ["asked", "renamed", "published"])
def test_killed_twice_while_a_correction_is_published_it_is_there_once(world: World, point: str) -> None:
    world.drop("one.wav", "The drop scribe office.")
    live(world)
    world.signal(signal.SIGTERM)
    (world.outbox / "one.txt").write_text("Mine.")
    edit = Edit("words", 0.0, 1.0, "The drop scribe office.", "The Dropscribe office.")
    for after in ("office", "house"):
        correction = Correction(
            f"2026-11-29T10:00:00+01:00 {after}", "ada", (dataclasses.replace(edit, after=after),)
        )
        requests.write_request(world.state, requests.Correct("one.wav", correction))
        edit = dataclasses.replace(edit, before=after)
    armed(world, point)
    for _ in range(2):
        assert world.spawn().wait(PATIENCE) == -signal.SIGKILL, world.evidence()
    world.spawn()
    world.settle()
    while any((world.state / requests.FOLDER).iterdir()):
        time.sleep(0.05)
    world.settle()
    made = json.loads((world.outbox / "one.json").read_text())
    assert (made["text"], [c["edits"][0]["after"] for c in made["corrections"]]) == ("house", ["office", "house"])
    assert "house" in (world.outbox / "one.srt").read_text()
    assert (world.outbox / "one.txt").read_text() == "Mine."
    assert world.outputs() == ["one.json", "one.original.json", "one.srt", "one.txt", "one.vtt"]

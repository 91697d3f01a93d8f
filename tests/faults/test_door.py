"""What comes in at the door: files still being written, half downloads, names, and recordings that are called off."""

from __future__ import annotations

import json
import os
import struct
import time
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.journal import Journal, State
from faults.world import World, four

if TYPE_CHECKING:
    from pathlib import Path

LINES = ("One.", "Two.", "Three.")


def states(world: World) -> dict[str, tuple[str, str]]:
    return {os.fsdecode(r.path): (str(r.state), r.code) for r in world.rows()}


def why(world: World, name: str) -> str:
    return world.command("why", str(world.inbox / name)).stdout


def status(world: World) -> dict[str, object]:
    found: dict[str, object] = json.loads(world.command("status", "--json").stdout)
    return found


def windows(world: World, name: str) -> list[int]:
    """Return the numbers of the windows that were done of a recording, in order."""
    return [number for path, number, _ in world.work() if path.endswith(f"/{name}")]


# Still being written


def test_a_copy_that_pauses_is_transcribed_whole_once_it_is_closed(world: World) -> None:
    world.start()
    with (world.inbox / "one.wav").open("w") as file:
        file.write("One.\n")
        file.flush()
        world.until(lambda: states(world).get("one.wav") == ("waiting", "open"))
        assert f"(process {os.getpid()}) has it open for writing" in why(world, "one.wav")
        world.drop("two.wav", "Others go on.")
        world.until((world.outbox / "two.json").exists)
        assert world.claimed("one.wav") == 0
        file.write("Two.")
    world.settle()
    assert world.broken() == []
    assert len(world.events("inbox.held")) == 1
    assert world.claimed("one.wav") == 1


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_nothing_leaves_while_somebody_has_it_open(world: World, after: str) -> None:
    """It is opened again by the hook, after it was transcribed."""
    hook = world.folder / "hook.sh"
    hook.write_text(
        f'#!/bin/sh\ntouch "{world.folder}/hooked"; while [ ! -e "{world.folder}/go" ]; do sleep 0.1; done\n'
    )
    hook.chmod(0o755)
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER=after, DROPSCRIBE_ON_DONE=str(hook))
    world.until((world.folder / "hooked").exists)
    with path.open("r+b"):
        (world.folder / "go").touch()
        world.until(lambda: [e for e in world.events("source.waits") if "open for writing" in e["reason"]])
        assert path.exists()
        assert "has it open for writing" in why(world, "one.wav")
    world.until(lambda: not path.exists())


def test_nothing_leaves_within_a_moment_of_its_last_change(world: World) -> None:
    old, new = world.drop("old.wav", "Old."), world.drop("new.wav", "New.")
    os.utime(old, (time.time() - 3600,) * 2)
    ahead = world.drop("ahead.wav", "Ahead.")
    os.utime(ahead, (time.time() + 86400,) * 2)
    world.start(DROPSCRIBE_AFTER="delete", DROPSCRIBE_AFTER_MINUTES="0.2")
    world.until(lambda: not old.exists())
    world.until(lambda: len(world.events("job.done")) == 3)
    assert time.time() - new.stat().st_mtime < 12
    world.until(lambda: not new.exists() and not ahead.exists())
    world.until(lambda: len(world.events("source.moved")) == 3)
    left = {e["file"]: e["timestamp"] for e in world.events("source.moved")}
    assert set(left) == {"old.wav", "new.wav", "ahead.wav"}
    assert world.outputs() == four("ahead", "new", "old")


def test_what_a_writer_adds_after_the_archiving_is_transcribed_too(world: World) -> None:
    archived = world.folder / "Archive/one.wav"
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive", DROPSCRIBE_AFTER_MINUTES="0.05")
    world.until(archived.exists)
    with archived.open("a") as file:  # as one would who had it open under its old name
        file.write("\nFour.")
    world.until(lambda: world.events("source.changed"))
    (told,) = world.events("source.changed")
    assert (told["file"], told["bytes"] - told["bytes_before"], told["again"]) == ("one.wav", 6, True)
    world.until(lambda: len(world.events("job.done")) == 2)
    assert json.loads((world.outbox / "one.json").read_text())["text"] == "One. Two. Three. Four."
    assert world.outputs() == four("one")
    assert not path.exists()
    assert world.row("one.wav").state == State.DONE


def test_what_was_added_while_no_daemon_ran_is_seen_after_the_start(world: World) -> None:
    archived = world.folder / "Archive/one.wav"
    world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive", DROPSCRIBE_AFTER_MINUTES="0.01")
    world.until(lambda: world.events("source.moved"))
    world.signal(15)
    with archived.open("a") as file:
        file.write("\nFour.")
    world.start(DROPSCRIBE_AFTER="archive", DROPSCRIBE_AFTER_MINUTES="0.01")
    world.until(lambda: len(world.events("job.done")) == 2)
    assert json.loads((world.outbox / "one.json").read_text())["text"] == "One. Two. Three. Four."


def short_wave(path: Path, text: str) -> None:
    """Write a file that says it is longer; its text are the windows of the worker that fails on demand."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 9036, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", 9000
    )
    path.write_bytes(header + text.encode())


def test_what_is_short_of_its_own_length_waits_and_is_taken_in_the_end(world: World) -> None:
    world.start(DROPSCRIBE_INCOMPLETE_MINUTES="0.1", DROPSCRIBE_AFTER="delete")
    path = world.inbox / "one.wav"
    short_wave(path, "\nOne.")
    world.until(lambda: states(world).get("one.wav") == ("waiting", "incomplete"))
    assert "bytes that its header says" in why(world, "one.wav")
    world.until((world.outbox / "one.json").exists)
    # A copy may have broken off, so it is not deleted.
    world.until(lambda: world.events("source.kept"))
    assert path.exists()
    assert "A copy may have broken off" in why(world, "one.wav")


def test_what_is_short_is_taken_at_once_when_the_rest_comes(world: World) -> None:
    world.start(DROPSCRIBE_INCOMPLETE_MINUTES="60")
    path = world.inbox / "one.wav"
    short_wave(path, "\nOne.")
    world.until(lambda: states(world).get("one.wav") == ("waiting", "incomplete"))
    with path.open("ab") as file:
        file.write(b"\nTwo." + bytes(9000))
    world.until(lambda: world.row("one.wav").state == State.DONE)
    assert world.claimed("one.wav") == 1


# Half downloads


def test_a_download_is_taken_when_the_file_beside_it_is_gone(world: World) -> None:
    for name in ("one.wav.part", "two.f137.wav", "three.temp.wav", "four.wav.aria2"):
        (world.inbox / name).touch()
    world.drop("four.wav", "Four.")
    world.drop("one.wav", "One.")
    world.start()
    world.until(lambda: states(world) == dict.fromkeys(("one.wav", "four.wav"), ("waiting", "downloading")))
    assert "one.wav.part is beside it" in why(world, "one.wav")
    assert "part of a download" in why(world, "two.f137.wav")
    (world.inbox / "one.wav.part").unlink()
    (world.inbox / "two.f137.wav").rename(world.inbox / "two.wav")
    world.until(lambda: {"one.json", "two.json"} <= set(world.outputs()))
    assert "four.json" not in world.outputs()
    (world.inbox / "four.wav.aria2").unlink()
    world.until(lambda: states(world)["four.wav"] == ("done", ""))
    assert world.outputs() == four("four", "one", "two")


def test_the_record_of_a_failure_goes_with_its_recording(world: World) -> None:
    world.start()
    path = world.drop("sub/bad.wav", "!fail recording no-audio")
    other = world.drop("other.wav", "!fail recording no-audio")
    world.until(lambda: len(world.events("job.failed")) == 2)
    record = world.outbox / "_failed/sub/bad.wav.error.txt"
    assert record.exists()
    path.unlink()
    world.until(lambda: not record.exists())
    assert (world.outbox / "_failed/other.wav.error.txt").exists()
    # It is one more try when it comes back.
    world.drop("sub/bad.wav", "!fail recording no-audio")
    world.until(record.exists)
    # And while no daemon runs.
    world.signal(15)
    other.unlink()
    world.start()
    world.until(lambda: not (world.outbox / "_failed/other.wav.error.txt").exists())
    world.settle()
    assert world.broken() == []


# Names


def test_files_without_a_suffix_are_taken_when_they_begin_as_recordings_do(world: World) -> None:
    talk = b"OggS\n" + b"\n".join(line.encode() for line in LINES)
    for name in ("talk", "Meeting 2026.08.19", "sub/Talk with Dr. Meyer"):
        (world.inbox / name).parent.mkdir(exist_ok=True)
        (world.inbox / name).write_bytes(talk)
    (world.inbox / "README").write_text("No recording.")
    (world.inbox / "notes.txt").write_text("No recording.")
    (world.inbox / "link.wav").symlink_to("talk")
    (world.inbox / "folder").symlink_to(world.folder)
    os.mkfifo(world.inbox / "pipe.wav")
    (world.inbox / "more.wav.part").touch()
    (world.inbox / ".DS_Store").touch()
    world.start()
    world.until(lambda: len(world.events("job.done")) == 3)
    counts = {"content": 1, "link": 2, "name": 1, "special": 1, "unfinished": 1}
    world.until(lambda: status(world)["passed_over"] == counts)
    assert "1 by name" in world.command("status").stdout
    assert "has no suffix" in why(world, "README")
    assert "`suffixes`" in why(world, "notes.txt")
    seen = len(world.events("inbox.watched"))
    world.drop("x/one.wav", "One.")  # a new folder: all is looked through again
    world.until(lambda: len(world.events("job.done")) == 4)
    told = {(e["file"], e["why"]) for e in world.events("inbox.passed_over")}
    assert told == {
        ("README", "content"),
        ("notes.txt", "name"),
        ("link.wav", "link"),
        ("folder", "link"),
        ("pipe.wav", "special"),
        ("more.wav.part", "unfinished"),
    }
    assert len(world.events("inbox.passed_over")) == len(told)
    assert seen == 1
    # What is a recording later is taken then.
    (world.inbox / "README").write_bytes(talk + b"\nFour.")
    world.until(lambda: len(world.events("job.done")) == 5)


def test_a_setting_says_what_is_a_recording_by_name(world: World) -> None:
    world.drop("one.dat", "One.")
    world.drop("two.mp4", "Two.")
    world.start(DROPSCRIBE_SUFFIXES="+dat, -.MP4")
    world.until((world.outbox / "one.json").exists)
    world.until(lambda: [e["file"] for e in world.events("inbox.passed_over")] == ["two.mp4"])
    assert world.outputs() == four("one")


@pytest.mark.parametrize("wrong", ["dat", "+", "+a b", "*.dat"])
def test_a_suffix_that_is_neither_added_nor_removed_is_refused(world: World, wrong: str) -> None:
    world.environ["DROPSCRIBE_SUFFIXES"] = wrong
    done = world.command("config", "check")
    assert done.returncode == 2
    assert "each with + or -" in done.stderr


def test_why_names_the_link_that_a_file_is_behind(world: World) -> None:
    outside = world.folder / "outside/deep"
    outside.mkdir(parents=True)
    (outside / "talk.wav").write_text("Not here.")
    (world.inbox / "sub").mkdir()
    (world.inbox / "sub/way").symlink_to(world.folder / "outside")
    said = world.command("why", str(world.inbox / "sub/way/deep/talk.wav"), "--json")
    found = json.loads(said.stdout)
    assert found["state"] == "ignored"
    assert f"behind {world.inbox / 'sub/way'}, which is a symbolic link" in found["reason"]
    assert "does not lie in the inbox" in world.command("why", str(outside / "talk.wav")).stdout


# Calling off


def begin(world: World, *lines: str) -> None:
    """Have the daemon in the middle of `one.wav`, before its second window."""
    world.start()
    world.drop("one.wav", *lines)
    world.until(lambda: any(r.done_s == 1.0 for r in world.rows()))


def test_what_is_removed_while_it_is_transcribed_is_given_up_and_goes_on_when_it_returns(world: World) -> None:
    begin(world, "One.", "!gate go", "Three.")
    path = world.inbox / "one.wav"
    away = path.rename(world.folder / "away.wav")
    world.until(lambda: world.events("job.called_off"))
    world.until(lambda: states(world)["one.wav"] == ("gone", ""))
    assert world.outputs() == []
    world.drop("two.wav", "Others go on.")
    world.until((world.outbox / "two.json").exists)
    away.rename(path)
    world.until(lambda: world.claimed("one.wav") == 2)
    world.open_gate("go")
    world.settle()
    assert world.broken() == []
    assert windows(world, "one.wav") == [0, 1, 2]
    assert world.outputs() == four("one", "two")


def test_what_is_removed_at_the_last_moment_is_not_published(world: World) -> None:
    begin(world, "One.", "!gate go")
    # No scan and no event comes before it is finished.
    (world.inbox / "one.wav").unlink()
    world.open_gate("go")
    world.until(lambda: states(world)["one.wav"][0] == "gone")
    assert world.outputs() == []


def test_a_recording_that_is_replaced_at_one_stroke_is_not_called_off(world: World) -> None:
    begin(world, "One.", "!gate go")
    new = world.folder / "new"
    new.write_text("Another.")
    (world.inbox / "one.wav").unlink()
    new.rename(world.inbox / "one.wav")
    world.settle()
    assert world.events("job.called_off") == []
    assert world.broken() == []


def test_a_recording_is_skipped_while_it_is_transcribed_and_taken_back(world: World) -> None:
    begin(world, "One.", "!gate go", "Three.")
    path = world.inbox / "one.wav"
    before = path.stat()
    assert world.command("skip", str(path)).returncode == 0
    world.until(lambda: states(world)["one.wav"][0] == "skipped")
    world.drop("two.wav", "Others go on.")
    world.until((world.outbox / "two.json").exists)
    assert world.outputs() == four("two")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "It was skipped on" in why(world, "one.wav")
    counts = status(world)["counts"]
    assert isinstance(counts, dict)
    assert counts["skipped"] == 1
    # It stays so across a restart, and `retry --all` is not meant.
    world.signal(15)
    world.start()
    world.command("retry", "--all")
    world.drop("three.wav", "Three.")
    world.until((world.outbox / "three.json").exists)
    assert states(world)["one.wav"][0] == "skipped"
    world.open_gate("go")
    assert world.command("retry", str(path)).returncode == 0
    world.until((world.outbox / "one.json").exists)
    world.settle()
    assert world.broken() == []
    assert windows(world, "one.wav") == [0, 1, 2]


def test_a_queued_one_is_skipped_and_what_changes_is_another(world: World) -> None:
    begin(world, "One.", "!gate go")
    path = world.drop("queued.wav", "Queued.")
    world.until(lambda: states(world).get("queued.wav") == ("queued", ""))
    assert world.command("skip", str(path)).returncode == 0
    world.until(lambda: states(world)["queued.wav"][0] == "skipped")
    world.open_gate("go")
    world.until((world.outbox / "one.json").exists)
    assert world.claimed("queued.wav") == 0
    path.touch()  # only its date
    world.until(lambda: world.row("queued.wav").mtime_ns == path.stat().st_mtime_ns)
    assert states(world)["queued.wav"][0] == "skipped"
    path.write_text("Another recording.")
    world.until((world.outbox / "queued.json").exists)


def test_one_that_is_not_finished_can_be_skipped(world: World) -> None:
    world.start()
    path = world.inbox / "one.wav"
    with path.open("w") as file:
        file.write("One.")
        file.flush()
        world.until(lambda: states(world).get("one.wav") == ("waiting", "open"))
        assert world.command("skip", str(path)).returncode == 0
        world.until(lambda: states(world)["one.wav"][0] == "skipped")
    world.drop("two.wav", "Others go on.")
    world.until((world.outbox / "two.json").exists)
    assert states(world)["one.wav"][0] == "skipped"
    world.command("retry", str(path))
    world.until((world.outbox / "one.json").exists)


def test_one_that_is_asked_for_again_is_as_done_as_before_when_it_is_skipped(world: World) -> None:
    world.start()
    path = world.drop("one.wav", "One.", "!until 1 !babble", "!gate go")
    world.open_gate("go")
    world.settle()
    (world.gates / "go").unlink()
    world.command("redo", str(path))
    world.until(lambda: world.claimed("one.wav") == 2)
    world.command("skip", str(path))
    world.until(lambda: states(world)["one.wav"][0] == "done")
    assert world.outputs() == four("one")


def test_only_what_waits_can_be_skipped(world: World) -> None:
    world.drop("bad.wav", "!fail recording no-audio")
    world.start()
    world.drop("one.wav", "One.")
    world.settle()
    (world.inbox / "notes.txt").touch()
    for name in ("one.wav", "bad.wav", "notes.txt", "nowhere.wav"):
        done = world.command("skip", str(world.inbox / name))
        assert done.returncode == 2, name
        assert "is not waiting to be transcribed" in done.stderr


def test_the_windows_of_what_was_called_off_stay_in_the_journal(world: World) -> None:
    begin(world, "One.", "!gate go")
    (world.inbox / "one.wav").unlink()
    world.until(lambda: states(world)["one.wav"][0] == "gone")
    with Journal(world.state / "journal.sqlite3", readonly=True) as journal:
        result = world.row("one.wav").result
        assert result is not None
        assert len(journal.results.list_checkpoints(result)) == 2

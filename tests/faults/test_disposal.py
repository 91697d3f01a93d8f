"""Sources that leave the inbox: when they may, where they go; killed at any moment, none is lost or doubled."""

from __future__ import annotations

import configparser
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from dropscribe import crash
from dropscribe.supervisor.journal import Journal, Leaving, State
from faults.world import FAST, World, mount, unmount

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = ("One.", "Two.", "Three.")
TEXT = "\n".join(LINES)
FOUR = ["json", "srt", "txt", "vtt"]

linux = pytest.mark.skipif(sys.platform == "darwin", reason="the trash of a Mac is the system's own")


def leaving(world: World, name: str) -> Leaving | None:
    with Journal(world.state / "journal.sqlite3", readonly=True) as journal:
        found = journal.recordings.find(os.fsencode(name))
        return None if found is None else journal.sources.find(found.id)


def gone(world: World, name: str) -> bool:
    found = leaving(world, name)
    return found is not None and found.state == "moved"


def copies(world: World, *roots: Path) -> list[Path]:
    """Return every file that holds the recording, or a part of it, or that stands for it."""
    outputs = {world.outbox / path for path in world.outputs()}
    found = []
    for root in roots or (world.folder,):
        for path in root.rglob("*"):
            known = path.is_relative_to(world.state) or path.is_relative_to(world.logs) or path in outputs
            if path.is_file() and not known and (path.suffix in {".wav", ".tmp"} or path.read_text() == TEXT):
                found.append(path)
    return found


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another disk."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="dropscribe-", dir=FAST))
    if folder.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no other disk")
    yield folder
    shutil.rmtree(folder)


def test_archived_it_is_next_to_the_inbox_in_the_same_subfolder(world: World) -> None:
    path = world.drop("sub/one.wav", *LINES)
    before = path.stat()
    world.drop("bad.wav", "!fail recording no-audio")
    world.start(DROPSCRIBE_AFTER="archive")
    world.until(lambda: gone(world, "sub/one.wav") and world.events("job.failed"))
    (found,) = copies(world, world.inbox / "sub", world.folder / "Archive")
    assert found == world.folder / "Archive/sub/one.wav"
    assert (found.read_text(), found.stat().st_mtime_ns) == (TEXT, before.st_mtime_ns)
    assert world.outputs() == ["_failed/bad.wav.error.txt", *(f"sub/one.{suffix}" for suffix in FOUR)]
    assert (world.inbox / "bad.wav").exists(), "what failed stays"
    assert leaving(world, "bad.wav") is None

    why = world.command("why", str(path)).stdout
    assert why.startswith("Done on ")
    assert f"Then the recording was archived as {found}, as set." in why
    world.signal(signal.SIGTERM)
    world.start(DROPSCRIBE_AFTER="archive")
    world.settle()
    assert world.events("inbox.gone") == []
    assert [r.state for r in world.rows()] == [State.DONE, State.FAILED]


@pytest.mark.parametrize("same_time", [True, False])
def test_what_comes_under_the_same_name_is_a_new_recording(world: World, *, same_time: bool) -> None:
    path = world.drop("one.wav", *LINES)
    stamp = path.stat().st_mtime_ns
    world.start(DROPSCRIBE_AFTER="archive")
    archive = world.folder / "Archive"
    for number in (1, 2, 3):
        world.until(lambda count=number: len(world.events("source.moved")) == count)  # type: ignore[misc]
        assert len(copies(world)) == number
        if number == 1:
            new = world.folder / "new"
            new.write_text(TEXT)
            if same_time:
                os.utime(new, ns=(stamp, stamp))
            new.rename(path)
        elif number == 2:
            world.drop("one.wav", "Something else.")
    assert sorted(p.name for p in archive.iterdir()) == ["one (2).wav", "one (3).wav", "one.wav"]
    assert (archive / "one (3).wav").read_text() == "Something else."
    # One set of outputs for each content: where sources are deleted, nothing else is left of them.
    assert [name for name in world.outputs() if not name.startswith("_old")] == [f"one.{suffix}" for suffix in FOUR]
    (kept,) = (world.outbox / "_old").glob("one *.json")
    assert json.loads(kept.read_text())["text"] == " ".join(LINES)
    assert world.claimed("one.wav") == 2


def test_what_is_in_the_archive_is_never_overwritten(world: World) -> None:
    archive = world.folder / "Archive"
    archive.mkdir()
    (archive / "one.wav").write_bytes(b"")
    (archive / "one (2).wav").symlink_to("nowhere")
    world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive")
    world.until(lambda: gone(world, "one.wav"))
    assert (archive / "one.wav").read_bytes() == b""
    assert (archive / "one (2).wav").is_symlink()
    assert (archive / "one (3).wav").read_text() == TEXT


@linux
def test_trashed_it_can_be_restored_by_the_system(world: World) -> None:
    path = world.drop("sub/on e%.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="trash", XDG_DATA_HOME=str(world.folder / "data"))
    world.until(lambda: gone(world, "sub/on e%.wav"))
    trash = world.folder / "data/Trash"
    assert (trash / "files/on e%.wav").read_text() == TEXT
    assert copies(world) == [trash / "files/on e%.wav"]
    note = configparser.RawConfigParser()
    note.read(trash / "info/on e%.wav.trashinfo")
    assert unquote(note["Trash Info"]["Path"]) == str(path)
    time.strptime(note["Trash Info"]["DeletionDate"], "%Y-%m-%dT%H:%M:%S")
    assert "put into the trash" in world.command("why", str(path)).stdout


@linux
def test_the_trash_of_another_disk_is_on_that_disk(world: World) -> None:
    if not mount(world.inbox, 1 << 20):
        pytest.skip("this process may not mount a disk")
    try:
        world.drop("sub/one.wav", *LINES)
        world.start(DROPSCRIBE_AFTER="trash")
        world.until(lambda: gone(world, "sub/one.wav"))
        trash = world.inbox / f".Trash-{os.getuid()}"
        assert (trash / "files/one.wav").read_text() == TEXT
        assert "Path=sub/one.wav\n" in (trash / "info/one.wav.trashinfo").read_text()
        world.signal(signal.SIGTERM)
    finally:
        unmount(world.inbox)


def test_deleted_it_is_gone_and_its_outputs_are_there(world: World) -> None:
    world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="delete")
    world.until(lambda: gone(world, "one.wav"))
    assert copies(world) == []
    assert world.outputs() == [f"one.{suffix}" for suffix in FOUR]
    assert "Then the recording was deleted, as set." in world.command("why", str(world.inbox / "one.wav")).stdout


def test_nothing_leaves_before_its_hooks_have_run(world: World) -> None:
    hook = world.folder / "hook.sh"
    hook.write_text(f'#!/bin/sh\ncat "$1" >> "{world.folder}/heard"; test -e "{world.folder}/go"\n')
    hook.chmod(0o755)
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="delete", DROPSCRIBE_ON_DONE=str(hook), DROPSCRIBE_HOOK_TRIES="2")
    world.until(lambda: [e for e in world.events("hook.failed") if e["given_up"]])
    world.drop("two.wav", "!gate never")  # the loop turns
    world.until(lambda: world.claimed("two.wav"))
    assert path.read_text() == TEXT
    assert "is to be deleted and waits: its hooks come first." in world.command("why", str(path)).stdout
    (world.folder / "go").touch()
    world.command("retry", "--all")
    world.until(lambda: gone(world, "one.wav"))
    assert not path.exists()
    assert (world.folder / "heard").read_text() == TEXT * 3


@pytest.mark.parametrize("harm", ["changed", "removed"])
def test_a_source_stays_when_an_output_is_not_what_was_written(world: World, harm: str) -> None:
    hook = world.folder / "hook.sh"
    done = {"changed": 'echo more >> "$4"', "removed": 'rm "$4"'}[harm]
    hook.write_text(f"#!/bin/sh\n{done}\n")
    hook.chmod(0o755)
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="delete", DROPSCRIBE_ON_DONE=str(hook))
    world.until(lambda: world.events("source.kept"))
    assert path.read_text() == TEXT
    why = world.command("why", str(path)).stdout
    assert "The recording stays in the inbox: Its output" in why
    status = json.loads(world.command("status", "--json").stdout)
    assert [row["file"] for row in status["staying"]] == ["one.wav"]


@pytest.mark.parametrize("change", ["replaced", "grown", "removed"])
def test_a_source_that_is_another_by_then_stays(world: World, change: str) -> None:
    """It is changed by the hook, which is the last thing before it leaves."""
    hook = world.folder / "hook.sh"
    done = {
        "replaced": 'test -e "$1.once" || { touch "$1.once"; printf "Else." > "$1.new"; mv "$1.new" "$1"; }',
        "grown": 'test -e "$1.once" || { touch "$1.once"; printf "\\nMore." >> "$1"; }',
        "removed": 'rm -f "$1"',
    }[change]
    hook.write_text(f"#!/bin/sh\n{done}\n")
    hook.chmod(0o755)
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive", DROPSCRIBE_ON_DONE=str(hook), DROPSCRIBE_SETTLE_SECONDS="1")
    if change == "removed":
        world.until(lambda: world.events("source.kept"))
        assert copies(world) == []
        return
    # What it is now is transcribed, and then leaves as it is now.
    world.until(lambda: world.events("source.moved"))
    assert len(world.events("job.done")) == 2
    assert not path.exists()
    expected = "Else." if change == "replaced" else TEXT + "\nMore."
    assert (world.folder / "Archive/one.wav").read_text() == expected
    assert json.loads((world.outbox / "one.json").read_text())["text"] == " ".join(expected.splitlines())


def test_an_archive_that_cannot_be_written_is_waited_for(world: World) -> None:
    blocked = world.folder / "Archive"
    blocked.write_text("no folder")
    path = world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive")
    world.until(lambda: world.events("source.waits"))
    assert path.read_text() == TEXT
    assert "is to be archived and waits:" in world.command("why", str(path)).stdout
    blocked.unlink()
    world.until(lambda: gone(world, "one.wav"))
    assert copies(world) == [blocked / "one.wav"]


def test_an_archive_that_is_away_is_waited_for_and_not_made_again(world: World) -> None:
    """Its volume may not be there now."""
    archive = world.folder / "Archive"
    world.drop("one.wav", *LINES)
    world.start(DROPSCRIBE_AFTER="archive")
    world.until(lambda: gone(world, "one.wav"))
    archive.rename(world.folder / "away")
    two = world.drop("sub/two.wav", "Another.")
    world.until(lambda: [e for e in world.events("source.waits") if "is not there" in e["reason"]])
    assert two.exists()
    assert not archive.exists()
    (world.folder / "away").rename(archive)
    world.until(lambda: gone(world, "sub/two.wav"))
    assert sorted(copies(world)) == [archive / "one.wav", archive / "sub/two.wav"]


def test_to_another_disk_it_is_copied_and_a_full_one_is_waited_for(world: World, elsewhere: Path) -> None:
    archive = elsewhere / "Archive"
    path = world.drop("sub/one.wav", *LINES)
    stamp = path.stat().st_mtime_ns
    world.start(DROPSCRIBE_AFTER="archive", DROPSCRIBE_ARCHIVE=str(archive))
    world.until(lambda: gone(world, "sub/one.wav"))
    assert copies(world) == []
    assert copies(world, elsewhere) == [archive / "sub/one.wav"]
    assert (archive / "sub/one.wav").read_text() == TEXT
    assert (archive / "sub/one.wav").stat().st_mtime_ns == stamp
    if not mount(archive, 1 << 16):
        return
    try:
        big = world.inbox / "big.wav"
        big.write_text("Big. " * 40_000)
        world.until(lambda: [e for e in world.events("source.waits") if "No space" in e["reason"]])
        assert big.exists()
        assert [p for p in archive.rglob("*") if p.is_file()] == []
        world.signal(signal.SIGTERM)
    finally:
        unmount(archive)


POINTS = {
    "archive": ["leaving", "reserved", "moved"],
    "trash": ["leaving", "reserved", "moved"],
    "delete": ["leaving", "withdrawn", "removed"],
    "elsewhere": ["leaving", "reserved", "copied", "withdrawn", "removed"],
}


@linux
@pytest.mark.parametrize(("way", "point"), [(way, point) for way, points in POINTS.items() for point in points])
@pytest.mark.parametrize("dropped_again", [False, True])
def test_killed_twice_at_any_point_one_copy_is_left_and_the_outputs(
    world: World, request: pytest.FixtureRequest, way: str, point: str, *, dropped_again: bool
) -> None:
    after = "archive" if way == "elsewhere" else way
    roots = [world.folder]
    world.environ |= {"DROPSCRIBE_AFTER": after, crash.VARIABLE: f"{point} 2 {world.folder}"}
    if way == "elsewhere":
        roots.append(request.getfixturevalue("elsewhere"))
        world.environ["DROPSCRIBE_ARCHIVE"] = str(roots[1] / "Archive")
    path = world.drop("one.wav", *LINES)
    # Where nothing but the journal's note is left to do, the second kill is at the next one that leaves.
    last = point in {"moved", "removed"}
    for number in range(2):
        assert world.spawn().wait() == -signal.SIGKILL
        whole = [p for p in copies(world, *roots) if p.read_text() == TEXT]
        assert whole or (way, point) == ("delete", "removed"), "a whole copy at any moment"
        assert [p for p in world.outputs() if p.startswith("one.")] == [f"one.{suffix}" for suffix in FOUR]
        if dropped_again and (number == 0) == last:
            path.unlink(missing_ok=True)
            path.write_text("New words.")
        elif last and number == 0:
            world.drop("two.wav", "Another.")
    world.start()
    world.until(lambda: gone(world, "one.wav") and not list(world.inbox.rglob("*.wav")))
    world.settle()
    left = copies(world, *roots)
    assert all(not p.is_relative_to(world.inbox) for p in left), left
    texts = sorted(p.read_text() for p in left)
    assert "" not in texts, left
    if way == "delete":
        assert left == []
    else:
        assert texts.count(TEXT) <= 1
        if not dropped_again:
            assert texts.count(TEXT) == 1
        else:
            assert "New words." in texts
    expected = "New words." if dropped_again else " ".join(LINES)
    assert json.loads((world.outbox / "one.json").read_text())["text"] == expected
    assert world.events("job.failed") == []


def settled(world: World, redone: int) -> bool:
    """Return whether so many were done again, or the first time, and nothing is left to do."""
    with Journal(world.state / "journal.sqlite3", readonly=True) as journal:
        hooks = any(journal.hooks.list_of(row.id) for row in journal.recordings.list_in(*State))
    return len(world.events("job.done")) >= redone and not hooks and all(r.state == State.DONE for r in world.rows())


def old(world: World) -> list[str]:
    """Return the suffixes of the outputs of older versions."""
    return sorted(p.suffix[1:] for p in (world.outbox / "_old").rglob("*") if p.is_file())


def test_what_is_redone_is_found_in_the_archive(world: World) -> None:
    hook = world.folder / "hook.sh"
    hook.write_text(f'#!/bin/sh\necho "$DROPSCRIBE_FACT_ID $1" >> "{world.folder}/heard"\n')
    hook.chmod(0o755)
    world.environ |= {"DROPSCRIBE_AFTER": "archive", "DROPSCRIBE_ON_DONE": str(hook)}
    path = world.drop("sub/one.wav", *LINES)
    place = world.folder / "Archive/sub/one.wav"
    world.start()
    world.until(lambda: gone(world, "sub/one.wav"))
    before = (world.outbox / "sub/one.json").read_bytes()
    assert world.command("redo", str(path)).returncode == 0
    world.until(lambda: settled(world, 2))
    assert world.claimed("sub/one.wav") == 2
    assert (copies(world, world.inbox, world.folder / "Archive"), gone(world, "sub/one.wav")) == ([place], True)
    (kept,) = (world.outbox / "_old/sub").glob("*.json")
    assert kept.read_bytes() == before
    assert old(world) == FOUR
    runs = [line.split(" ", 1) for line in (world.folder / "heard").read_text().splitlines()]
    assert [source for _, source in runs] == [str(path), str(place)]
    assert len({number for number, _ in runs}) == 2

    # A folder's profile holds for what was archived from it, and shows that it is stale.
    (path.parent / "dropscribe.toml").write_text('replacements = {"two" = "2"}\nformats = ["txt"]\n')
    status = json.loads(world.command("status", "--json").stdout)
    assert [row["file"] for row in status["stale"]] == ["sub/one.wav"]
    assert "`dropscribe redo` makes it anew" in world.command("why", str(path)).stdout
    assert "1 recording will be" in world.command("redo", "--stale").stderr
    world.until(lambda: settled(world, 3))
    assert (world.outbox / "sub/one.txt").read_text().split() == ["One.", "2.", "Three."]
    assert world.claimed("sub/one.wav") == 2, "replacements need no engine"
    assert json.loads(world.command("status", "--json").stdout)["stale"] == []

    # What comes under its name is another one, though it looks the same; the archived one stays.
    path.write_text(TEXT)
    os.utime(path, ns=(place.stat().st_mtime_ns, place.stat().st_mtime_ns))
    world.until(lambda: settled(world, 4) and not path.exists() and gone(world, "sub/one.wav"))
    assert sorted(p.name for p in place.parent.iterdir()) == ["one (2).wav", "one.wav"]


def test_what_is_neither_in_the_inbox_nor_in_the_archive_cannot_be_redone(world: World) -> None:
    path = world.drop("one.wav", *LINES)
    world.environ["DROPSCRIBE_AFTER"] = "delete"
    world.start()
    world.until(lambda: gone(world, "one.wav"))
    answer = world.command("redo", str(path))
    assert answer.returncode == 2
    assert f"{path} was deleted, as set, and is not there now." in answer.stderr
    assert "Put it back to have it transcribed again." in answer.stderr
    two = world.drop("two.wav", "Two.")
    world.until(lambda: gone(world, "two.wav"))
    world.signal(signal.SIGTERM)

    world.environ |= {"DROPSCRIBE_AFTER": "archive", "DROPSCRIBE_LANGUAGE": "de"}
    three = world.drop("three.wav", "Three.")
    world.start()
    world.until(lambda: gone(world, "three.wav"))
    assert json.loads(world.command("status", "--json").stdout)["stale"] == []
    assert "language; put back into the inbox it is made anew." in world.command("why", str(two)).stdout
    answer = world.command("redo", "--stale")
    assert "0 recordings will be" in answer.stderr
    assert "2 more would be, but the recording is neither in the inbox nor in the archive." in answer.stderr
    place = world.folder / "Archive/three.wav"
    place.unlink()
    assert (
        f"{three} was archived as {place}, as set, and is not there now" in world.command("redo", str(three)).stderr
    )
    # As if it had gone just after it was asked for.
    world.signal(signal.SIGTERM)
    with Journal(world.state / "journal.sqlite3") as journal:
        journal.recordings.redo([(world.row("three.wav").id, "mark")], time.time(), discard_results=True)
    world.start()
    world.until(lambda: world.events("job.failed"))
    assert world.row("three.wav").code == "archive-missing"
    place.write_text("Three.")
    os.utime(place, ns=(0, world.row("three.wav").mtime_ns))
    world.command("retry", str(three))
    world.until(lambda: world.row("three.wav").state == State.DONE)
    assert old(world) == FOUR
    assert not list(world.outbox.glob("_failed/*"))


REDONE = ["asked", "claimed", "checkpointed", "kept", "retired", "published", "committed", "hooked"]


@pytest.mark.parametrize("point", REDONE)
def test_killed_twice_while_an_archived_one_is_redone_all_is_there_once(world: World, point: str) -> None:
    hook = world.folder / "hook.sh"
    hook.write_text(f'#!/bin/sh\necho "$DROPSCRIBE_FACT_ID" >> "{world.folder}/heard"\n')
    hook.chmod(0o755)
    world.environ |= {"DROPSCRIBE_AFTER": "archive", "DROPSCRIBE_ON_DONE": str(hook)}
    for name in ("one.wav", "two.wav"):
        world.drop(name, *LINES, name)
    world.start()
    world.until(lambda: gone(world, "one.wav") and gone(world, "two.wav"))
    world.signal(signal.SIGTERM)
    # The journal keeps pace, so that what is killed in the engine's midst has been noted.
    world.environ["FAKE_PACE"] = str(world.state / "journal.sqlite3")
    assert world.command("redo", *(str(world.inbox / name) for name in ("one.wav", "two.wav"))).returncode == 0
    for _ in range(2):
        armed = {crash.VARIABLE: f"{point} 2 {world.folder}"}
        assert world.spawn(**armed).wait() == -signal.SIGKILL, world.evidence()
    world.start()
    world.until(lambda: settled(world, 2))
    archive = world.folder / "Archive"
    assert sorted(copies(world, world.inbox, archive)) == [archive / "one.wav", archive / "two.wav"]
    assert gone(world, "one.wav")
    assert gone(world, "two.wav")
    assert old(world) == sorted(FOUR * 2)
    assert [p for p in world.outputs() if not p.startswith("_old")] == sorted(
        f"{base}.{suffix}" for base in ("one", "two") for suffix in FOUR
    )
    # The hook of the last one may be on its way still.
    world.until(lambda: len(set((world.folder / "heard").read_text().splitlines())) == 4)
    runs = (world.folder / "heard").read_text().splitlines()
    assert len(set(runs)) == 4
    assert len(runs) == (6 if point == "hooked" else 4)

"""What waits is not failed: an inbox or a model that is not there, a second daemon, settings that cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.journal import State
from faults.world import HERE, PATIENCE, World, four, mount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def real_worker(world: World) -> tuple[str, ...]:
    """Return the arguments that have the daemon take the real worker."""
    script = world.folder / "worker.py"
    script.write_text("import runpy\nrunpy.run_module('dropscribe.worker', run_name='__main__')\n")
    return "--worker", sys.executable, str(script)


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(os.urandom(32000))
    return path


def codes(world: World, event: str) -> list[str]:
    return [e["code"] for e in world.events(event)]


@pytest.fixture
def stick(world: World) -> Iterator[Path]:
    """A volume whose content outlives that it is unmounted; the inbox is its mount point."""
    disk = world.folder / "stick"
    disk.mkdir()
    if not mount(disk, 1 << 20):
        pytest.skip("this process may not mount a disk")
    plug(world)
    yield disk
    for place in (world.inbox, disk):
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def plug(world: World) -> None:
    subprocess.run(["mount", "--bind", str(world.folder / "stick"), str(world.inbox)], check=True)


def unplug(world: World) -> None:
    subprocess.run(["umount", "--lazy", str(world.inbox)], check=True)


# The inbox


def test_an_inbox_that_was_chosen_is_waited_for_and_not_made(world: World) -> None:
    world.inbox.rmdir()
    world.start()
    world.until(lambda: codes(world, "inbox.missing") == ["inbox-missing"])
    assert not world.inbox.exists()
    shown = world.command("status")
    assert shown.returncode == 4
    assert f"The inbox {world.inbox} is not there" in shown.stdout
    world.inbox.mkdir()
    world.drop("one.wav", "One.")
    world.until(lambda: world.events("inbox.back"))
    world.settle()
    assert world.outputs() == four("one")


def test_the_inbox_of_the_defaults_is_made(world: World) -> None:
    home = world.folder / "home"
    home.mkdir()
    world.environ |= {"HOME": str(home), "DROPSCRIBE_INBOX": "~/Dropscribe/Inbox"}
    world.start()
    assert (home / "Dropscribe/Inbox").is_dir()
    assert world.events("inbox.missing") == []


def test_a_service_that_is_installed_makes_no_inbox_that_was_chosen(world: World) -> None:
    world.inbox.rmdir()
    world.command("service", "install")
    assert not world.inbox.exists()


def test_a_run_that_finds_no_inbox_says_so(world: World) -> None:
    world.inbox.rmdir()
    done = world.command("run", "--once", "--model", "tiny")
    assert done.returncode == 1
    assert "is not there" in done.stderr


def test_nothing_counts_as_removed_while_the_volume_of_the_inbox_is_away(world: World, stick: Path) -> None:
    world.drop("done.wav", "Done.")
    world.start()
    world.settle()
    world.drop("busy.wav", "One.", "!gate go", "Three.")
    world.until(lambda: any(r.done_s == 1.0 and r.path == b"busy.wav" for r in world.rows()))
    world.drop("queued.wav", "Queued.")
    world.until(lambda: len(world.rows()) == 3)
    unplug(world)
    world.until(lambda: codes(world, "inbox.missing") == ["inbox-unmounted"])
    world.drop("bare.wav", "On the bare mount point.")
    world.open_gate("go")
    world.until((world.outbox / "busy.json").exists)
    shown = world.command("status")
    assert shown.returncode == 4
    assert "is not mounted" in shown.stdout
    assert {r.path: r.state for r in world.rows()} == {
        b"done.wav": State.DONE,
        b"busy.wav": State.DONE,
        b"queued.wav": State.QUEUED,
    }
    (world.inbox / "bare.wav").unlink()
    plug(world)
    world.until(lambda: world.events("inbox.back"))
    world.settle()
    assert world.broken() == []
    assert world.events("inbox.gone") == []
    assert len(world.work()) == 5


def test_a_volume_that_is_away_when_the_daemon_starts_is_waited_for(world: World, stick: Path) -> None:
    world.start()
    world.drop("one.wav", "One.")
    world.settle()
    world.signal(15)
    unplug(world)
    world.start()
    world.until(lambda: codes(world, "inbox.missing") == ["inbox-unmounted"])
    plug(world)
    world.drop("two.wav", "Two.")
    world.settle()
    assert world.outputs() == four("one", "two")
    assert len(world.work()) == 2


def test_a_volume_that_is_mounted_over_the_inbox_is_the_inbox_from_then_on(world: World) -> None:
    world.start_with_one_done()
    if not mount(world.inbox, 1 << 20):
        pytest.skip("this process may not mount a disk")
    try:
        world.until(lambda: [e["at"] for e in world.events("inbox.mounted")] == [str(world.inbox)])
        world.drop("two.wav", "Two.")
        world.until((world.outbox / "two.json").exists)
        unplug(world)
        world.until(lambda: codes(world, "inbox.missing") == ["inbox-unmounted"])
    finally:
        subprocess.run(["umount", "--lazy", str(world.inbox)], check=False, capture_output=True)


# The model


def test_a_model_that_does_not_exist_makes_the_queue_wait(world: World) -> None:
    sound(world.inbox / "one.wav")
    world.start(*real_worker(world), DROPSCRIBE_MODEL="bse", PYTHONPATH=str(HERE.parents[1] / "daemon"))
    world.until(lambda: codes(world, "daemon.waiting") == ["model-unknown"])
    shown = world.command("status")
    assert shown.returncode == 4
    assert "There is no model bse. Did you mean base?" in shown.stdout
    assert world.row("one.wav").state == State.QUEUED
    assert world.events("job.engine_failed", "job.failed") == []
    assert "Did you mean base?" in (world.folder / "stderr").read_text()
    # With another name it goes on by itself: nothing has to be retried.
    world.signal(15)
    world.start(DROPSCRIBE_MODEL="base")
    world.settle()
    assert world.row("one.wav").state == State.DONE


@pytest.mark.parametrize("model", ["bse", "large-v4", "/nowhere/model"])
def test_settings_with_a_model_that_does_not_exist_are_not_fine(world: World, model: str) -> None:
    for command in (("config", "check"), ("run", "--once")):
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe", *command, "--model", model],
            env=world.environ | {"PYTHONPATH": str(HERE.parents[1] / "daemon")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done
        assert model in done.stderr
    assert world.command("config", "check", "--model", "tiny.en").returncode == 0


# Two daemons, settings that cannot be read


def test_a_second_daemon_ends_with_a_code_of_its_own(world: World) -> None:
    world.start()
    for more in ((), ("--once",)):
        done = world.command("run", *more, "--model", "tiny")
        assert done.returncode == 5
        assert "already running" in done.stderr
    elsewhere = {"DROPSCRIBE_STATE": str(world.folder / "other state")}
    world.environ |= elsewhere
    assert world.command("run", "--once", "--model", "tiny").returncode == 5


def test_a_run_may_wait_for_the_daemon_that_is_there(world: World) -> None:
    world.start()
    world.drop("bad.wav", "!fail recording no-audio")
    world.settle()
    path = world.drop("one.wav", "One.", "!gate go")
    waiter = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run", "--once", "--wait", "--model", "tiny"],
        env=world.environ | {"PYTHONPATH": str(HERE.parents[1] / "daemon")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiter.stderr is not None
    assert "Waiting until" in waiter.stderr.readline()
    world.drop("two.wav", "!fail recording no-audio")
    world.open_gate("go")
    said = waiter.communicate(timeout=60)[1]
    assert "1 done, 1 failed" in said
    assert waiter.returncode == 1
    assert path.exists()


def test_a_run_that_waits_ends_when_the_daemon_cannot_go_on(world: World) -> None:
    world.start()
    world.drop("one.wav", "!gate never")
    world.until(lambda: world.claimed("one.wav"))
    world.command("pause")
    done = world.command("run", "--once", "--wait", "--model", "tiny")
    assert done.returncode == 1
    assert "paused" in done.stderr


def test_a_daemon_that_waits_takes_the_place_of_the_one_that_ends(world: World) -> None:
    """As the service does while somebody runs a daemon in a terminal."""
    world.start_with_one_done()
    first = world.process
    assert first is not None
    second = world.spawn("--wait")
    world.until(lambda: world.events("daemon.waits"))
    assert len(world.events("daemon.started")) == 1
    first.terminate()
    assert first.wait(PATIENCE) == 0
    world.until(lambda: len(world.events("daemon.started")) == 2)
    assert world.events("daemon.started")[1]["pid"] == second.pid
    world.drop("two.wav", "Two.")
    world.settle()


def test_the_status_has_the_folders_of_the_daemon_that_runs_whoever_asks(world: World) -> None:
    world.start()
    path = world.drop("bad.wav", "!fail recording no-audio")
    world.settle()
    theirs = {"DROPSCRIBE_INBOX": str(world.folder / "other"), "DROPSCRIBE_OUTBOX": str(world.folder / "third")}
    world.environ |= theirs
    report = json.loads(world.command("status", "--json").stdout)
    assert (report["inbox"], report["outbox"]) == (str(world.inbox), str(world.outbox))
    assert report["elsewhere"] == {"inbox": theirs["DROPSCRIBE_INBOX"], "outbox": theirs["DROPSCRIBE_OUTBOX"]}
    assert "Failed" in world.command("why", str(path)).stdout
    assert world.command("retry", str(path)).returncode == 0


@pytest.mark.parametrize("link", ["file", "folder"])
def test_settings_that_are_a_link_to_nothing_are_an_error(world: World, link: str) -> None:
    config = world.folder / ".config/dropscribe"
    config.mkdir(parents=True)
    if link == "file":
        (config / "config.toml").symlink_to("dotfiles/config.toml")
    else:
        config.rmdir()
        config.symlink_to("nowhere")
    for command in (("config", "check"), ("status",), ("run", "--once")):
        done = world.command(*command)
        assert done.returncode == 2, done
        assert "is a link to" in done.stderr
    (config / "config.toml" if link == "file" else config).unlink()
    assert world.command("config", "check", "--model", "tiny").returncode == 0


def test_the_status_says_since_when_it_waits_for_the_inbox(world: World) -> None:
    world.inbox.rmdir()
    world.start()
    world.until(lambda: world.events("inbox.missing"))
    shown = json.loads(world.command("status", "--json").stdout)
    assert "is not there" in shown["inbox_trouble"]

"""The loop: what a run of the daemon does from the drop to the outputs, pausing, stopping, and a second daemon."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import TYPE_CHECKING

import pytest

from dropscribe import logs
from dropscribe.supervisor import locks, loop, requests, source_moves
from dropscribe.supervisor.journal import State
from house import FAKE, House, four

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.supervisor.publisher import Progress


def test_recordings_become_outputs_in_the_same_subfolders(house: House) -> None:
    house.drop("one.wav", "Hello there.")
    house.drop("a/b/two.mp3", "First.", "Second.")
    house.drop("notes.txt", "not a recording")
    assert house.run() == loop.Summary(done=2, failed=0, waiting=0, outage=None)
    assert house.outputs() == sorted(four("one") + four("a/b/two"))
    made = json.loads((house.outbox / "a/b/two.json").read_text())
    assert made["text"] == "First. Second."
    assert [s["id"] for s in made["segments"]] == [0, 1]
    assert made["source"]["path"] == "a/b/two.mp3"
    assert made["engine"]["options"]["model"] == "fake"
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)


def test_the_log_has_each_step_and_never_what_was_said(house: House) -> None:
    house.drop("one.wav", "Unmistakable words.")
    house.run()
    steps = [e["event"] for e in house.events() if e.get("file") == "one.wav"]
    assert steps == [
        "inbox.seen",
        "inbox.settled",
        "job.claimed",
        "job.decoded",
        "job.planned",
        "job.transcribed",
        "job.done",
    ]
    assert "Unmistakable" not in (house.settings.logs / logs.NAME).read_text()


def test_once_it_runs_the_hooks_and_lets_the_sources_leave_before_it_ends(house: House, tmp_path: Path) -> None:
    house.drop("one.wav", "Same.")
    house.drop("copy.wav", "Same.")
    touch = ("/bin/sh", "-c", 'touch "$1.heard"', "hook")
    assert house.run(on_done=touch, after="archive", archive=tmp_path / "old").done == 2
    assert sorted(p.name for p in house.inbox.iterdir()) == ["copy.wav.heard", "one.wav.heard"]
    assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["copy.wav", "one.wav"]


def test_once_it_does_not_wait_for_a_hook_that_failed(house: House) -> None:
    house.drop("one.wav", "Same.")
    assert house.run(on_done=("/bin/false",), after="delete").done == 1
    assert len(house.events("hook.failed")) == 1
    assert house.run(on_done=("/bin/true",), after="delete").done == 0
    assert len(house.events("hook.done")) == 1
    assert list(house.inbox.iterdir()) == []


def test_once_it_ends_when_the_outbox_is_not_there_for_what_is_to_leave(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run(on_done=("/bin/false",), after="delete")
    house.outbox.rename(house.outbox.with_name("away"))
    summary = house.run(on_done=("/bin/true",), after="delete")
    assert summary.outage is not None
    assert len(list(house.inbox.iterdir())) == 1
    house.outbox.with_name("away").rename(house.outbox)
    house.run(on_done=("/bin/true",), after="delete")
    assert list(house.inbox.iterdir()) == []


def test_a_source_whose_every_name_in_the_archive_is_taken_waits_and_stops_nobody(
    house: House, tmp_path: Path
) -> None:
    archive = tmp_path / "old"
    archive.mkdir()
    house.drop("one.wav", "Same.")
    house.drop("two.wav", "Other.")
    for place in source_moves.list_names(archive / "one.wav"):
        place.touch()
    assert house.run(after="archive", archive=archive).done == 2
    assert [p.name for p in house.inbox.iterdir()] == ["one.wav"]
    assert "Every name it could have is taken" in house.events("source.waits")[0]["reason"]


def test_retry_tries_again(house: House) -> None:
    house.drop("bad.wav", "!until 1 !fail recording no-audio", "Fine.")
    house.drop("worse.wav", "!fail recording no-audio")
    assert house.run(pack=False).failed == 2
    folder = house.settings.state / requests.FOLDER
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps({"retry": "bad.wav"}))
    (folder / "2.json").write_text("broken")
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    assert house.row("worse.wav").state == State.FAILED
    assert list(folder.iterdir()) == []


def test_the_queue_stands_still_while_paused(house: House) -> None:
    house.drop("one.wav", "Fine.")
    house.settings.state.mkdir()
    paused = house.settings.state / requests.PAUSED
    paused.touch()
    assert (house.run().done, house.run().waiting) == (0, 1)
    paused.unlink()
    assert house.run().done == 1


def test_a_second_daemon_is_refused(house: House, tmp_path: Path) -> None:
    daemon = loop.Supervisor(house.settings, command=FAKE)
    assert locks.is_running(house.settings.state)
    with pytest.raises(locks.AlreadyRunningError, match="already running"):
        loop.Supervisor(house.settings, command=FAKE)
    elsewhere = dataclasses.replace(house.settings, state=tmp_path / "state2")
    with pytest.raises(locks.AlreadyRunningError, match=str(house.inbox)):
        loop.Supervisor(elsewhere, command=FAKE)
    daemon.close()
    assert not locks.is_running(house.settings.state)


def test_stop_ends_it_in_the_middle_and_the_work_goes_on_later(house: House) -> None:
    house.drop("one.wav", "One.", "!until 1 !hang", "Three.")
    logs.configure(house.settings)

    def stop(progress: Progress) -> None:
        if progress.done_s >= 1:
            threading.Thread(target=daemon.stop, args=["SIGTERM"]).start()

    daemon = loop.Supervisor(house.settings, command=FAKE, progress=stop)
    daemon.run()
    row = house.row("one.wav")
    daemon.close()
    assert (row.state, row.attempts) == (State.QUEUED, 0)
    assert house.run().done == 1
    assert [e["resumed_at"] for e in house.events("job.planned")] == [0, 1]

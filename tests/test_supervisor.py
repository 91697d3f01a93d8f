"""The daemon's decisions, with a worker that fails on demand (a real process; see faults/fake_worker.py).

The real engines are in test_backends.py and test_daemon.py.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe import logs, settings
from dropscribe.supervisor import disposal, intake, loop, scheduler
from dropscribe.supervisor.inbox import digest
from dropscribe.supervisor.journal import Journal, Recording, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Stat
    from dropscribe.supervisor.publisher import Progress

FAKE = [sys.executable, str(Path(__file__).parent / "faults" / "fake_worker.py")]


class House:
    """An inbox, an outbox and a daemon that is run until nothing is left to do."""

    def __init__(self, folder: Path) -> None:
        flags = {
            "inbox": folder / "in",
            "outbox": folder / "out",
            "state": folder / "state",
            "logs": folder / "logs",
            "settle_seconds": 0,
            "model": "fake",
        }
        self.settings: Settings = settings.load(flags, {"HOME": str(folder)}).settings
        self.inbox, self.outbox = folder / "in", folder / "out"
        self.inbox.mkdir()

    def drop(self, name: str, *lines: str) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        return path

    def run(self, **changes: Any) -> loop.Summary:
        chosen = dataclasses.replace(self.settings, **changes)
        logs.configure(chosen)
        daemon = loop.Supervisor(chosen, once=True, command=FAKE)
        try:
            return daemon.run()
        finally:
            daemon.close()

    def queue(self) -> None:
        """Queue all that is in the inbox before the first is taken: who is packed with whom is certain then."""
        paused = self.settings.state / loop.PAUSED
        paused.parent.mkdir(exist_ok=True)
        paused.touch()
        self.run()
        paused.unlink()

    def row(self, name: str) -> Recording:
        journal = Journal(self.settings.state / "journal.sqlite3", readonly=True)
        found = journal.find(name.encode())
        journal.close()
        assert found is not None
        return found

    def outputs(self) -> list[str]:
        return sorted(str(p.relative_to(self.outbox)) for p in self.outbox.rglob("*") if p.is_file())

    def events(self, *names: str) -> list[dict[str, Any]]:
        lines = (self.settings.logs / logs.NAME).read_text().splitlines()
        return [e for e in map(json.loads, lines) if not names or e["event"] in names]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("FAKE_COUNTS", str(tmp_path / "counts"))
    yield House(tmp_path)
    for handler in logging.getLogger("dropscribe").handlers[:]:
        handler.close()
        logging.getLogger("dropscribe").removeHandler(handler)


def four(stem: str) -> list[str]:
    return [f"{stem}.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]


def test_recordings_become_outputs_in_the_same_subfolders(house: House) -> None:
    house.drop("one.wav", "Hello there.")
    house.drop("a/b/two.mp3", "First.", "Second.")
    house.drop("notes.txt", "not a recording")
    assert house.run() == loop.Summary(done=2, failed=0, waiting=0, trouble=None)
    assert house.outputs() == sorted(four("one") + four("a/b/two"))
    made = json.loads((house.outbox / "a/b/two.json").read_text())
    assert made["text"] == "First. Second."
    assert [s["id"] for s in made["segments"]] == [0, 1]
    assert made["source"]["path"] == "a/b/two.mp3"
    assert made["engine"]["options"]["model"] == "fake"
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)


def test_the_log_tells_each_step_and_never_what_was_said(house: House) -> None:
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


def test_a_copy_is_published_from_the_result_that_is_there(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run()
    house.drop("copy/of one.wav", "Same.")
    (house.inbox / "one.wav").rename(house.inbox / "renamed.wav")
    assert house.run().done == 2
    assert house.outputs() == sorted(four("one") + four("copy/of one") + four("renamed"))
    assert len(house.events("job.claimed")) == 1
    assert [e["file"] for e in house.events("job.known")] in (
        ["copy/of one.wav", "renamed.wav"],
        ["renamed.wav", "copy/of one.wav"],
    )
    assert json.loads((house.outbox / "renamed.json").read_text())["source"]["name"] == "renamed.wav"


def test_when_it_was_recorded_is_told_by_the_name_or_by_the_file_also_for_a_copy(house: House) -> None:
    path = house.drop("Voice 240131_093000.wav", "Same.")
    house.run()
    made = json.loads((house.outbox / "Voice 240131_093000.json").read_text())
    assert (made["source"]["recorded_at"], made["source"]["recorded_from"]) == ("2024-01-31T09:30:00", "name")

    path.rename(house.inbox / "renamed.wav")
    os.utime(house.inbox / "renamed.wav", (1_700_000_000, 1_700_000_000))
    house.run()
    source = json.loads((house.outbox / "renamed.json").read_text())["source"]
    assert source["recorded_from"] == "mtime"
    assert datetime.fromisoformat(source["recorded_at"]).timestamp() == 1_700_000_000
    assert len(house.events("job.claimed")) == 1


def test_once_it_runs_the_hooks_and_lets_the_sources_leave_before_it_ends(house: House, tmp_path: Path) -> None:
    house.drop("one.wav", "Same.")
    house.drop("copy.wav", "Same.")
    touch = ("/bin/sh", "-c", 'touch "$1.heard"', "hook")
    assert house.run(on_done=touch, after="archive", archive=tmp_path / "old").done == 2
    assert sorted(p.name for p in house.inbox.iterdir()) == ["copy.wav.heard", "one.wav.heard"]
    assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["copy.wav", "one.wav"]


def test_outputs_of_what_left_are_kept_when_another_recording_comes_under_its_name(house: House) -> None:
    """A recorder begins again with REC001: what was deleted is left in its outputs alone."""
    for text in ("First.", "Second."):
        house.drop("one.wav", text)
        assert house.run(after="delete").done == 1
    assert (house.outbox / "one.txt").read_text() == "Second.\n"
    assert old(house) == [f"one DATE.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]
    (kept,) = (house.outbox / "_old").glob("*.txt")
    assert kept.read_text() == "First.\n"
    # One that leaves before it is done makes no difference to that.
    house.drop("one.wav", "Third.")
    house.queue()
    (house.inbox / "one.wav").unlink()
    house.run(after="delete")
    assert house.row("one.wav").state == State.GONE
    house.drop("one.wav", "Third.")
    assert house.run(after="delete").done == 1
    assert sorted(p.read_text() for p in (house.outbox / "_old").glob("*.txt")) == ["First.\n", "Second.\n"]
    assert (house.outbox / "one.txt").read_text() == "Third.\n"


def test_outputs_of_what_a_person_took_away_are_kept_when_another_recording_comes_under_its_name(
    house: House,
) -> None:
    path = house.drop("one.wav", "First.")
    house.run()
    path.unlink()
    house.run()
    # The same one put back is known, and changed where it lies it is still the same one.
    house.drop("one.wav", "First.")
    assert house.run().done == 0
    path.write_text("First, and longer.")
    assert house.run().done == 1
    assert not (house.outbox / "_old").exists()
    path.unlink()
    house.run()
    house.drop("one.wav", "Second.")
    assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "Second.\n"
    assert old(house) == [f"one DATE.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]
    (kept,) = (house.outbox / "_old").glob("*.txt")
    assert kept.read_text() == "First, and longer.\n"


def test_it_is_seen_that_a_file_was_replaced_by_another_at_once(house: House) -> None:
    path = house.drop("one.wav", "First.")
    logs.configure(house.settings)
    count = 0

    def replace(progress: Progress) -> None:
        nonlocal count
        if progress.outcome:
            count += 1
            path.unlink()
            house.drop("one.wav", "Second.")
        if count == 2:
            daemon.stop("the test")

    # A scan comes once an hour: only the events can tell.
    chosen = dataclasses.replace(house.settings, scan_seconds=3600.0, observer="native")
    daemon = loop.Supervisor(chosen, command=FAKE, progress=replace)
    assert daemon.run().done == 2
    daemon.close()
    (kept,) = (house.outbox / "_old").glob("*.txt")
    assert (kept.read_text(), (house.outbox / "one.txt").read_text()) == ("First.\n", "Second.\n")


def test_windows_of_a_recording_that_was_replaced_are_dropped(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_GATES", str(tmp_path))
    path = house.drop("one.wav", "One.", "!gate never", "Three.")
    logs.configure(house.settings)

    def replace(progress: Progress) -> None:
        if progress.done_s == 1 and not progress.outcome and "!gate" in path.read_text():
            path.write_text("Another.")

    daemon = loop.Supervisor(house.settings, once=True, command=FAKE, progress=replace)
    assert daemon.run().done == 1
    daemon.close()
    assert [e["file"] for e in house.events("job.superseded")] == ["one.wav"]
    with sqlite3.connect(house.settings.state / "journal.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
    db.close()


def test_a_source_whose_every_name_in_the_archive_is_taken_waits_and_stops_nobody(
    house: House, tmp_path: Path
) -> None:
    archive = tmp_path / "old"
    archive.mkdir()
    house.drop("one.wav", "Same.")
    house.drop("two.wav", "Other.")
    for place in disposal.names(archive / "one.wav"):
        place.touch()
    assert house.run(after="archive", archive=archive).done == 2
    assert [p.name for p in house.inbox.iterdir()] == ["one.wav"]
    assert "Every name it could have is taken" in house.events("source.waits")[0]["reason"]


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
    assert summary.trouble is not None
    assert len(list(house.inbox.iterdir())) == 1
    house.outbox.with_name("away").rename(house.outbox)
    house.run(on_done=("/bin/true",), after="delete")
    assert list(house.inbox.iterdir()) == []


def test_other_settings_make_another_result(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run()
    house.drop("two.wav", "Same.")
    house.run(language="de")
    assert len(house.events("job.claimed")) == 2


def test_what_whisperx_was_told_makes_another_result_where_it_is_the_engine(house: House) -> None:
    there = {"backend": "whisperx", "whisperx_python": sys.executable}
    house.drop("one.wav", "Same.")
    house.run(**there)
    house.drop("two.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner")
    house.drop("three.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner", whisperx_diarizer="/a/diarizer")
    assert [e["file"] for e in house.events("job.claimed")] == ["one.wav", "two.wav", "three.wav"]
    told = [made(house, name)["engine"]["options"] for name in ("one", "two", "three")]
    assert [(o["whisperx_aligner"], o["whisperx_diarizer"]) for o in told] == [
        ("", ""),
        ("/an/aligner", ""),
        ("/an/aligner", "/a/diarizer"),
    ]
    house.drop("four.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner")
    assert [e["file"] for e in house.events("job.known")] == ["four.wav"]


def test_what_whisperx_was_told_is_nothing_to_another_engine(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run(backend="faster-whisper")
    house.drop("two.wav", "Same.")
    house.run(backend="faster-whisper", whisperx_aligner="/an/aligner", whisperx_diarizer="/a/diarizer")
    assert [e["file"] for e in house.events("job.known")] == ["two.wav"]


def test_a_changed_recording_is_transcribed_again_into_its_own_files(house: House) -> None:
    path = house.drop("one.wav", "Before.")
    house.run()
    path.write_text("After, and longer.")
    assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "After, and longer.\n"
    assert house.outputs() == four("one")


def test_an_edited_output_is_left_alone(house: House) -> None:
    path = house.drop("one.wav", "Before.")
    house.run()
    (house.outbox / "one.txt").write_text("Corrected by hand.")
    path.write_text("After, and longer.")
    house.run()
    assert (house.outbox / "one.txt").read_text() == "Corrected by hand."
    assert (house.outbox / "one (2).txt").read_text() == "After, and longer.\n"


def test_two_recordings_of_one_stem_get_their_own_names(house: House) -> None:
    house.drop("talk.m4a", "Apple.")
    house.run()
    house.drop("talk.mp3", "Pear.")
    house.run()
    assert house.outputs() == sorted(four("talk") + four("talk.mp3"))
    assert (house.outbox / "talk.mp3.txt").read_text() == "Pear.\n"


def test_a_bad_recording_is_quarantined_and_the_next_goes_on(house: House) -> None:
    house.drop("a/bad.wav", "!fail recording no-audio")
    house.drop("good.wav", "Fine.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, trouble=None)
    assert house.outputs() == sorted([*four("good"), "_failed/a/bad.wav.error.txt"])
    record = (house.outbox / "_failed/a/bad.wav.error.txt").read_text()
    assert "It failed: no-audio. Do something." in record
    assert str(house.inbox / "a/bad.wav") in record
    assert house.row("a/bad.wav").attempts == 1


def test_a_bad_recording_that_changes_is_tried_again_and_its_record_goes(house: House) -> None:
    path = house.drop("bad.wav", "!fail recording no-audio")
    house.run()
    path.write_text("Fine now.")
    assert house.run().done == 1
    assert house.outputs() == four("bad")


def test_retry_tries_again(house: House) -> None:
    house.drop("bad.wav", "!until 1 !fail recording no-audio", "Fine.")
    house.drop("worse.wav", "!fail recording no-audio")
    assert house.run(pack=False).failed == 2
    requests = house.settings.state / loop.REQUESTS
    requests.mkdir()
    (requests / "1.json").write_text(json.dumps({"retry": "bad.wav"}))
    (requests / "2.json").write_text("broken")
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    assert house.row("worse.wav").state == State.FAILED
    assert list(requests.iterdir()) == []


@pytest.mark.parametrize("order", ["!crash", "!exit 3", "!fail engine out-of-memory"])
def test_an_engine_that_fails_twice_gets_a_third_try_in_a_fresh_process(house: House, order: str) -> None:
    house.drop("one.wav", "Begin.", f"!until 2 {order}", "End.")
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    assert len(house.events("worker.started")) == 3
    assert [e["device"] for e in house.events("model.loaded")] == ["cpu int8", "cpu int8", "safe"]
    text = (house.outbox / "one.txt").read_text()
    assert text.startswith("Begin.")
    assert text.endswith("End.\n")


def test_an_engine_that_always_fails_ends_in_quarantine_and_the_next_goes_on(house: House) -> None:
    house.drop("one.wav", "!crash")
    house.drop("two.wav", "Fine.")
    assert house.run(pack=False) == loop.Summary(done=1, failed=1, waiting=0, trouble=None)
    assert house.row("one.wav").code == "worker-died"
    assert "SIGSEGV" in (house.outbox / "_failed/one.wav.error.txt").read_text()
    # The one that failed went behind the other each time.
    assert [e["file"] for e in house.events("job.claimed")] == ["one.wav", "two.wav", "one.wav", "one.wav"]


def test_sound_that_a_dead_worker_left_is_removed_before_the_next_one_works(house: House) -> None:
    house.drop("one.wav", "!until 2 !crash", "Said.")
    logs.configure(house.settings)
    left = house.settings.state / "spool" / "1-1.f32"
    seen = []

    def look(progress: Progress) -> None:
        if progress.done_s == 0:  # it is planned
            seen.append(left.exists())
            left.touch()

    daemon = loop.Supervisor(house.settings, once=True, command=FAKE, progress=look)
    assert daemon.run().done == 1
    daemon.close()
    assert seen == [False] * 3


def test_an_engine_that_hangs_is_replaced(house: House) -> None:
    house.drop("one.wav", "!until 1 !hang", "Fine.")
    assert house.run(stall_minutes=0.01).done == 1
    assert [e["code"] for e in house.events("job.engine_failed")] == ["stalled"]


def test_finished_windows_are_not_done_again(house: House) -> None:
    house.drop("one.wav", "One.", "Two.", "!until 1 !crash", "Four.")
    house.run()
    assert [e["resumed_at"] for e in house.events("job.planned")] == [0, 2]
    made = json.loads((house.outbox / "one.json").read_text())
    assert [s["text"] for s in made["segments"]] == ["One.", "Two.", "!until 1 !crash", "Four."]


def test_noise_on_the_pipes_changes_nothing(house: House) -> None:
    house.drop("one.wav", "!babble", "Fine.")
    assert house.run().done == 1


def test_a_missing_model_makes_recordings_wait_and_fails_none(house: House) -> None:
    house.drop("one.wav", "!until 1 !fail environment model-missing", "Fine.")
    first = house.run()
    assert (first.done, first.failed, first.waiting) == (0, 0, 1)
    assert "model-missing" in str(first.trouble)
    assert house.row("one.wav").attempts == 0
    assert house.run().done == 1


def test_a_recording_that_may_not_be_read_waits_and_the_others_go_on(house: House) -> None:
    house.drop("one.wav", "!fail environment permission-denied")
    house.drop("two.wav", "Fine.")
    summary = house.run()
    assert (summary.done, summary.failed, summary.waiting) == (1, 0, 1)
    assert house.row("one.wav").state == State.WAITING


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_outbox_that_may_not_be_written_makes_recordings_wait(house: House) -> None:
    house.drop("one.wav", "Fine.")
    house.outbox.mkdir(mode=0o500)
    assert house.run().waiting == 1
    house.outbox.chmod(0o700)
    assert house.run().done == 1


def test_an_outbox_that_vanishes_is_waited_for_and_nothing_is_done_twice(house: House) -> None:
    house.drop("one.wav", "Fine.")
    away = house.outbox.with_name("away")
    chosen = house.settings
    logs.configure(chosen)
    house.outbox.mkdir()
    daemon = loop.Supervisor(chosen, once=True, command=FAKE)
    house.outbox.rename(away)
    summary = daemon.run()
    daemon.close()
    assert (summary.done, summary.waiting) == (0, 1)
    assert "outbox" in str(summary.trouble)
    assert not house.outbox.exists()
    away.rename(house.outbox)
    assert house.run().done == 1


def test_the_queue_stands_still_while_paused(house: House) -> None:
    house.drop("one.wav", "Fine.")
    house.settings.state.mkdir()
    paused = house.settings.state / loop.PAUSED
    paused.touch()
    assert (house.run().done, house.run().waiting) == (0, 1)
    paused.unlink()
    assert house.run().done == 1


def test_a_recording_that_leaves_is_forgotten(house: House) -> None:
    path = house.drop("one.wav", "Fine.")
    house.settings.state.mkdir()
    paused = house.settings.state / loop.PAUSED
    paused.touch()
    house.run()
    path.unlink()
    paused.unlink()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)
    assert house.row("one.wav").state == State.GONE
    house.drop("one.wav", "Fine.")
    assert house.run().done == 1


def test_a_name_that_is_not_utf8(house: House) -> None:
    try:
        house.drop("caf\udce9.wav", "Fine.")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert house.run().done == 1
    made = [p for p in os.listdir(os.fsencode(house.outbox)) if p.endswith(b".json")]  # noqa: PTH208
    assert made == [b"caf\xe9.json"]


def test_a_second_daemon_is_told_so(house: House, tmp_path: Path) -> None:
    daemon = loop.Supervisor(house.settings, command=FAKE)
    assert loop.running(house.settings.state)
    with pytest.raises(loop.AlreadyRunningError, match="already running"):
        loop.Supervisor(house.settings, command=FAKE)
    elsewhere = dataclasses.replace(house.settings, state=tmp_path / "state2")
    with pytest.raises(loop.AlreadyRunningError, match=str(house.inbox)):
        loop.Supervisor(elsewhere, command=FAKE)
    daemon.close()
    assert not loop.running(house.settings.state)


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


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise"])
def test_a_damaged_journal_is_set_aside_and_made_anew_from_the_outbox(house: House, damage: str) -> None:
    house.drop("one.wav", "First.")
    house.drop("a/two.wav", "Second.")
    house.run()
    (house.outbox / "one.txt").write_text("Corrected by hand.")
    path = house.settings.state / "journal.sqlite3"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": os.urandom(len(whole))}[damage])
    house.drop("copy.wav", "Second.")
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    assert len(house.events("job.claimed")) == 2
    assert house.events("journal.rebuilt")[0]["recordings"] == 2
    kept = [p for p in house.settings.state.glob("*.damaged-*") if not p.name.endswith("-journal")]
    assert len(kept) == (1 if damage in {"cut", "noise"} else 0)
    assert house.outputs() == sorted(four("one") + four("a/two") + four("copy"))
    # What a person edited is still a person's.
    house.drop("one.wav", "First, said again.")
    house.run()
    assert (house.outbox / "one.txt").read_text() == "Corrected by hand."
    assert (house.outbox / "one (2).txt").read_text() == "First, said again.\n"
    assert json.loads((house.outbox / "one.json").read_text())["text"] == "First, said again."


def test_a_foreign_json_in_the_outbox_is_not_taken_for_ours(house: House) -> None:
    house.outbox.mkdir()
    (house.outbox / "one.json").write_text('{"text": "mine"}')
    (house.outbox / "list.json").write_text("[1, 2]")
    house.drop("one.wav", "First.")
    assert house.run().done == 1
    assert (house.outbox / "one.json").read_text() == '{"text": "mine"}'
    assert (house.outbox / "one (2).json").exists()


def test_a_composed_and_a_decomposed_name_are_two_files_where_the_disk_says_so(house: House) -> None:
    house.drop("Cafe\u0301.wav", "Decomposed.")
    if (house.inbox / "Caf\u00e9.wav").exists():
        pytest.skip("this file system takes them for one")
    house.run()
    house.drop("Caf\u00e9.wav", "Composed.")
    assert house.run().failed == 0
    said = {json.loads(p.read_text())["text"] for p in house.outbox.glob("*.json")}
    assert said == {"Decomposed.", "Composed."}
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)


def test_a_file_too_large_is_refused_before_it_is_begun(house: House) -> None:
    house.drop("one.wav", "x" * 5000)
    assert house.run(max_gigabytes=4e-6).failed == 1
    assert house.row("one.wav").code == "too-large"
    assert house.events("worker.started") == []


def test_a_worker_that_has_grown_is_replaced_between_recordings(house: House) -> None:
    house.drop("one.wav", "One.")
    house.drop("two.wav", "Two.")
    assert house.run(memory_gigabytes=1e-6, pack=False).done == 2
    assert [e["reason"] for e in house.events("worker.stopped")] == ["memory", "memory"]


# Profiles


def profile(house: House, name: str, text: str) -> Path:
    path = house.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ask(house: House, names: list[str] | None, *, stale: bool) -> None:
    """Put a request to transcribe again, as `dropscribe redo` does."""
    folder = house.settings.state / loop.REQUESTS
    folder.mkdir(exist_ok=True)
    (folder / "redo.json").write_text(json.dumps({"redo": names, "stale": stale}))


def made(house: House, base: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.outbox / f"{base}.json").read_text())
    return found


def old(house: House) -> list[str]:
    """Return the outputs of older versions, without the time in their names."""
    names = [str(p.relative_to(house.outbox / "_old")) for p in (house.outbox / "_old").rglob("*") if p.is_file()]
    return sorted(re.sub(r" \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d", " DATE", name) for name in names)


def test_each_recording_is_made_with_the_settings_of_its_folder(house: House) -> None:
    profile(house, "dropscribe.toml", 'glossary = ["Aalto"]\n')
    profile(house, "a/dropscribe.toml", 'language = "fi"\nformats = ["txt"]\nchannels = ["Host"]\n')
    profile(house, "a/two.wav.toml", 'replacements = {"drop scribe" = "Dropscribe"}\n')
    for name in ("one.wav", "a/one.wav", "a/two.wav"):
        house.drop(name, "We use drop scribe.")
    assert house.run().done == 3
    assert house.outputs() == sorted([*four("one"), "a/one.json", "a/one.txt", "a/two.json", "a/two.txt"])
    options = {base: made(house, base)["engine"]["options"] for base in ("one", "a/one", "a/two")}
    assert [options[base]["language"] for base in options] == ["auto", "fi", "fi"]
    assert [options[base]["channels"] for base in options] == [[], ["Host"], ["Host"]]
    assert [options[base]["glossary"] for base in options] == [["Aalto"]] * 3
    assert options["a/two"]["replacements"] == {"drop scribe": "Dropscribe"}
    assert (house.outbox / "a/one.txt").read_text() == "We use drop scribe.\n"
    assert (house.outbox / "a/two.txt").read_text() == "We use Dropscribe.\n"
    # The two of folder a differ in what is done with the text alone: one transcription served both.
    assert len(house.events("job.claimed")) == 2
    assert json.loads(house.row("a/two.wav").settings)["formats"] == ["txt", "json"]


def test_where_to_listen_again_is_told_of_what_is_written(house: House) -> None:
    """Replacements may make words alike, which is then a loop; what is stored stays as the engine gave it."""
    words = [f"word{n}" for n in range(20)]
    profile(house, "a/dropscribe.toml", f"replacements = {settings.to_toml(settings.Table.fromkeys(words, 'yes'))}\n")
    house.drop("a/one.wav", *words)
    house.drop("one.wav", *words)
    assert house.run().done == 2
    assert [passage["kind"] for passage in made(house, "a/one")["review"]] == ["loop"]
    assert made(house, "one")["review"] == []
    journal = Journal(house.settings.state / "journal.sqlite3", readonly=True)
    stored = json.loads(journal.result(house.row("a/one.wav").result or "") or "")
    journal.close()
    assert stored["text"] == " ".join(words)
    assert "review" not in stored


def test_a_wrong_profile_fails_its_recordings_until_it_is_corrected(house: House) -> None:
    path = profile(house, "a/dropscribe.toml", 'langage = "fi"\n')
    house.drop("a/one.wav", "Fine.")
    house.drop("two.wav", "Fine, too.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, trouble=None)
    record = house.outbox / "_failed/a/one.wav.error.txt"
    assert f"{path}: there is no setting `langage`. Did you mean `language`?" in record.read_text()
    assert "taken up again by itself" in record.read_text()
    assert (house.row("a/one.wav").code, house.row("a/one.wav").attempts) == ("profile-wrong", 0)
    # Nothing is done while it is as it was; another fault is told; corrected, it is forgotten.
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)
    path.write_text('language = "finnish"\n')
    assert house.run().failed == 1
    assert "no language `finnish`" in record.read_text()
    path.write_text('language = "fi"\n')
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    assert not record.exists()
    assert made(house, "a/one")["engine"]["options"]["language"] == "fi"


def test_a_profile_that_is_removed_frees_its_recordings(house: House) -> None:
    path = profile(house, "one.wav.toml", "nonsense")
    house.drop("one.wav", "Fine.")
    assert house.run().failed == 1
    path.unlink()
    assert house.run().done == 1


def test_a_running_daemon_sees_that_a_profile_was_corrected(house: House) -> None:
    path = profile(house, "dropscribe.toml", "nonsense")
    house.drop("one.wav", "Fine.")
    logs.configure(house.settings)

    def correct(progress: Progress) -> None:
        if progress.outcome.startswith("failed"):
            path.write_text('language = "fi"\n')
        elif progress.outcome:
            daemon.stop("the test")

    # A scan comes once an hour: only the event can tell.
    chosen = dataclasses.replace(house.settings, scan_seconds=3600.0, observer="native")
    daemon = loop.Supervisor(chosen, command=FAKE, progress=correct)
    assert daemon.run().done == 1
    daemon.close()


def test_a_model_that_only_a_profile_asks_for_stops_nobody_else(house: House) -> None:
    path = profile(house, "a/dropscribe.toml", 'model = "base"\n')
    house.drop("a/one.wav", "!until 1 !fail environment model-missing", "Fine.")
    house.drop("two.wav", "Fine, too.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, trouble=None)
    assert "a profile makes nobody download" in (house.outbox / "_failed/a/one.wav.error.txt").read_text()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)
    path.unlink()
    assert house.run().done == 1


def test_the_profile_that_holds_is_the_one_at_the_time_of_the_claim(house: House) -> None:
    """What is being published is written with what it was claimed with, whatever the profile says by then."""
    path = profile(house, "dropscribe.toml", 'formats = ["txt"]\nreplacements = {"a" = "b"}\n')
    house.drop("one.wav", "a")
    house.outbox.mkdir()
    away = house.outbox.with_name("away")
    logs.configure(house.settings)

    def vanish(progress: Progress) -> None:
        if not progress.outcome and progress.done_s == 1.0:
            house.outbox.rename(away)

    daemon = loop.Supervisor(house.settings, once=True, command=FAKE, progress=vanish)
    assert daemon.run().waiting == 1
    daemon.close()
    assert house.row("one.wav").state == State.PUBLISHING
    path.write_text('formats = ["srt"]\n')
    away.rename(house.outbox)
    assert house.run().done == 1
    assert house.outputs() == ["one.json", "one.txt"]
    assert (house.outbox / "one.txt").read_text() == "b\n"


# Redo


def test_redo_transcribes_again_and_keeps_the_older_outputs(house: House) -> None:
    house.drop("a/one.wav", "Said.")
    house.drop("two.wav", "Not asked for.")
    house.run()
    before = (house.outbox / "a/one.json").read_bytes()
    ask(house, ["a/one.wav"], stale=False)
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    assert [e["file"] for e in house.events("job.claimed")].count("a/one.wav") == 2
    assert old(house) == [f"a/one DATE.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]
    assert next((house.outbox / "_old/a").glob("*.json")).read_bytes() == before
    assert [name for name in house.outputs() if not name.startswith("_old")] == sorted(four("a/one") + four("two"))
    assert (house.row("a/one.wav").redo, house.row("a/one.wav").anew) == ("", 0)
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)


def test_what_is_stale_is_made_again_with_no_more_work_than_it_needs(house: House) -> None:
    for name in ("a/one.wav", "b/one.wav", "c/one.wav"):
        house.drop(name, f"This is {name}.")
    house.run()
    profile(house, "a/dropscribe.toml", 'replacements = {"is" = "was"}\nformats = ["txt"]\n')
    profile(house, "b/dropscribe.toml", 'language = "fi"\n')
    ask(house, None, stale=True)
    assert house.run().done == 2
    assert (house.outbox / "a/one.txt").read_text() == "This was a/one.wav.\n"
    claims = [e["file"] for e in house.events("job.claimed")]
    assert (claims.count("a/one.wav"), claims.count("b/one.wav")) == (1, 2)  # one text was there already
    assert old(house) == sorted(f"{f}/one DATE.{s}" for f in "ab" for s in ("json", "srt", "txt", "vtt"))
    # Formats that are no longer wanted are with the older version alone.
    assert sorted(p.name for p in (house.outbox / "a").iterdir()) == ["one.json", "one.txt"]
    ask(house, None, stale=True)
    assert house.run().done == 0
    # And back.
    (house.inbox / "a/dropscribe.toml").unlink()
    ask(house, ["a/one.wav"], stale=True)
    assert house.run().done == 1
    assert (house.outbox / "a/one.txt").read_text() == "This is a/one.wav.\n"
    assert len(house.events("job.claimed")) == 4


def test_redo_leaves_an_edited_output_where_it_is(house: House) -> None:
    house.drop("one.wav", "Said.")
    house.run()
    (house.outbox / "one.txt").write_text("Corrected by hand.")
    for _ in range(2):
        ask(house, ["one.wav"], stale=False)
        assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "Corrected by hand."
    assert (house.outbox / "one (2).txt").read_text() == "Said.\n"
    assert [n for n in house.outputs() if not n.startswith("_old")] == sorted([*four("one"), "one (2).txt"])
    assert not any("one DATE.txt" in name for name in old(house))  # it is no older version of ours


def test_redo_of_what_left_the_inbox_changes_nothing(house: House) -> None:
    path = house.drop("one.wav", "Said.")
    house.run()
    path.unlink()
    ask(house, ["one.wav"], stale=False)
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)
    assert house.row("one.wav").state == State.DONE
    assert house.outputs() == four("one")


def test_what_leaves_while_it_waits_to_be_done_again_is_as_done_as_before(house: House) -> None:
    path = house.drop("one.wav", "Said.")
    house.run()
    ask(house, ["one.wav"], stale=False)
    paused = house.settings.state / loop.PAUSED
    paused.touch()
    house.run()
    assert house.row("one.wav").state == State.QUEUED
    path.unlink()
    paused.unlink()
    house.run()
    assert (house.row("one.wav").state, house.row("one.wav").redo) == (State.DONE, "")
    assert house.outputs() == four("one")


def test_a_redo_that_fails_keeps_the_older_outputs_and_its_place_in_the_record(house: House) -> None:
    house.drop("one.wav", "!until 0 !hang", "Said.")
    house.run()
    path = profile(house, "dropscribe.toml", "nonsense")
    ask(house, ["one.wav"], stale=False)
    assert house.run().failed == 1
    assert [n for n in house.outputs() if not n.startswith("_failed")] == four("one")
    path.unlink()
    assert house.run().done == 1
    assert old(house) == [f"one DATE.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]


def test_older_versions_are_not_taken_for_the_present_ones_when_the_journal_is_lost(house: House) -> None:
    house.drop("one.wav", "Said.")
    house.drop("_old/two.wav", "A folder of a person's.")
    house.run()
    profile(house, "dropscribe.toml", 'replacements = {"said" = "meant"}\n')
    ask(house, None, stale=True)
    assert house.run().done == 2
    (house.settings.state / "journal.sqlite3").unlink()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, trouble=None)
    assert house.events("journal.rebuilt")[-1]["recordings"] == 2
    assert house.row("one.wav").base == "one"
    assert house.row("_old/two.wav").base == "_old/two"
    # What was read there holds the replacements: it is no text to begin from when they change.
    (house.inbox / "dropscribe.toml").unlink()
    ask(house, None, stale=True)
    assert house.run().done == 2
    assert (house.outbox / "one.txt").read_text() == "Said.\n"


def test_a_recording_that_was_archived_before_it_was_opened_is_no_failure(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was asked for again while it was leaving: the worker was told where it had been."""
    monkeypatch.setenv("FAKE_GATES", str(tmp_path))
    path = house.drop("one.wav", "Said.")
    house.run()
    ask(house, ["one.wav"], stale=False)
    monkeypatch.setenv("FAKE_READ", "go")
    found: list[loop.Summary] = []
    thread = threading.Thread(target=lambda: found.append(house.run()))
    thread.start()
    while len(house.events("job.claimed")) < 2:
        time.sleep(0.02)
    place = tmp_path / "archived.wav"
    path.rename(place)
    row = (house.row("one.wav").id, "archive", "moved", os.fsencode(place))
    journal = Journal(house.settings.state / "journal.sqlite3")
    with journal._transaction() as db:
        db.execute("INSERT INTO sources (recording, way, state, target) VALUES (?, ?, ?, ?)", row)
    journal.close()
    (tmp_path / "go").touch()
    thread.join()
    assert found == [loop.Summary(done=1, failed=0, waiting=0, trouble=None)]
    assert (house.row("one.wav").state, house.row("one.wav").attempts) == (State.DONE, 1)


# Several at once


def packs(house: House) -> list[tuple[str, int | None]]:
    """Return every claim: the recording, and how many were given to the worker with it."""
    return [(e["file"], e["packed"]) for e in house.events("job.claimed")]


def test_short_recordings_go_to_the_worker_together_and_each_has_its_own_of_everything(house: House) -> None:
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        house.drop(name, f"In {name}.")
    house.queue()
    assert house.run() == loop.Summary(done=3, failed=0, waiting=0, trouble=None)
    assert packs(house) == [("a.wav", 3), ("b.wav", 3), ("sub/c.wav", 3)]
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        made = json.loads((house.outbox / name).with_suffix(".json").read_text())
        assert (made["text"], made["source"]["path"]) == (f"In {name}.", name)
        row = house.row(name)
        assert (row.state, row.attempts, row.code) == (State.DONE, 1, "")
        steps = [e["event"] for e in house.events() if e.get("file") == name]
        assert steps[-5:] == ["job.claimed", "job.decoded", "job.planned", "job.transcribed", "job.done"]


def test_the_first_of_many_waits_for_those_that_are_still_digested(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, found: Stat) -> str | None:  # as from a slow disk
        time.sleep(0.05)
        return digest(path, found)

    monkeypatch.setattr(intake, "digest", slowly)
    names = [f"{number}.wav" for number in range(6)]
    for name in names:
        house.drop(name, name)
    assert house.run().done == 6
    assert packs(house) == [(name, 6) for name in names]


def test_with_packing_off_each_goes_alone(house: House) -> None:
    house.drop("a.wav", "A.")
    house.drop("b.wav", "B.")
    assert house.run(pack=False).done == 2
    assert packs(house) == [("a.wav", None), ("b.wav", None)]


def test_where_speakers_are_told_apart_each_goes_alone(house: House) -> None:
    house.drop("a.wav", "A.")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run(whisperx_diarizer="/a/pipeline").done == 2
    assert packs(house) == [("a.wav", None), ("b.wav", None)]


@pytest.mark.parametrize("order", ["!crash", "!exit 3", "!hang"])
def test_one_that_breaks_the_engine_takes_none_of_its_neighbours_with_it(house: House, order: str) -> None:
    house.drop("a.wav", "A.")
    house.drop("b.wav", order)
    house.drop("c.wav", "C.")
    house.queue()
    assert house.run(stall_minutes=0.01) == loop.Summary(done=2, failed=1, waiting=0, trouble=None)
    assert packs(house)[:3] == [("a.wav", 3), ("b.wav", 3), ("c.wav", 3)]
    assert sorted(packs(house)[3:], key=str) == [("b.wav", None)] * 3 + [("c.wav", None)]
    assert {name: house.row(name).attempts for name in ("a.wav", "b.wav", "c.wav")} == {
        "a.wav": 1,
        "b.wav": 3,
        "c.wav": 1,
    }
    assert [e["files"] for e in house.events("pack.failed")] == [["b.wav", "c.wav"]]


@pytest.mark.parametrize("order", ["!apart", "!fail engine out-of-memory", "!fail environment permission-denied"])
def test_a_doubtful_one_goes_alone_and_it_costs_no_attempt(house: House, order: str) -> None:
    house.drop("a.wav", f"!until 1 {order}", "A.")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run() == loop.Summary(done=2, failed=0, waiting=0, trouble=None)
    assert packs(house) == [("a.wav", 2), ("b.wav", 2), ("a.wav", None)]
    assert house.row("a.wav").attempts == 1
    assert (house.outbox / "b.txt").read_text() == "B.\n"


def test_one_that_is_no_recording_is_told_apart_and_fails_alone(house: House) -> None:
    house.drop("a.wav", "!fail recording no-audio")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, trouble=None)
    assert house.outputs() == sorted([*four("b"), "_failed/a.wav.error.txt"])


def test_nobody_is_overtaken_a_large_recording_ends_the_pack(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "PACK_LIMITS", scheduler.PackLimits(bytes=50))
    names = ["a.wav", "b.wav", "c large.wav", "d.wav", "e.wav"]
    for number, name in enumerate(names):
        path = house.drop(name, "word " * (20 if "large" in name else 1) + name)
        os.utime(path, ns=(number * 10**9, number * 10**9))
    house.queue()
    assert house.run().done == 5
    assert packs(house) == [("a.wav", 2), ("b.wav", 2), ("c large.wav", None), ("d.wav", 2), ("e.wav", 2)]
    assert [e["file"] for e in house.events("job.done")] == names


def test_a_copy_of_a_packed_one_waits_for_its_result(house: House) -> None:
    house.drop("a.wav", "Same.")
    house.drop("b.wav", "Same.")
    house.drop("c.wav", "Other.")
    house.queue()
    assert house.run().done == 3
    assert packs(house) == [("a.wav", None), ("c.wav", None)]
    assert [e["file"] for e in house.events("job.known")] == ["b.wav"]


def test_begun_work_is_gone_on_with_and_not_packed(house: House) -> None:
    house.drop("a.wav", "One.", "!until 1 !hang", "Three.")
    logs.configure(house.settings)

    def stop(progress: Progress) -> None:
        if progress.done_s >= 1:
            threading.Thread(target=daemon.stop, args=["SIGTERM"]).start()

    daemon = loop.Supervisor(house.settings, command=FAKE, progress=stop)
    daemon.run()
    daemon.close()
    for name in ("b.wav", "c.wav"):
        house.drop(name, name)
    house.queue()
    assert house.run().done == 3
    assert packs(house)[1:] == [("a.wav", None), ("b.wav", 2), ("c.wav", 2)]
    assert [e["resumed_at"] for e in house.events("job.planned")] == [0, 1, 0, 0]


def test_a_model_missing_for_all_makes_all_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PACK", "!until 1 !fail environment model-missing")
    house.drop("a.wav", "A.")
    house.drop("b.wav", "B.")
    house.queue()
    first = house.run()
    assert (first.done, first.failed, first.waiting) == (0, 0, 2)
    assert [house.row(name).attempts for name in ("a.wav", "b.wav")] == [0, 0]
    assert house.run().done == 2
    assert packs(house) == [("a.wav", 2), ("b.wav", 2)] * 2


def test_an_engine_that_fails_on_a_pack_gets_each_alone_in_a_fresh_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PACK", "!fail engine out-of-memory")
    house.drop("a.wav", "A.")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run().done == 2
    assert packs(house) == [("a.wav", 2), ("b.wav", 2), ("a.wav", None), ("b.wav", None)]
    assert len(house.events("worker.started")) == 2
    assert [house.row(name).attempts for name in ("a.wav", "b.wav")] == [1, 1]

"""Taking recordings in: files that are replaced, taken away, put back, unreadable, oddly named or too large."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from dropscribe import logs
from dropscribe.supervisor import loop, requests
from dropscribe.supervisor.journal import State
from house import FAKE, House, four, old

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.supervisor.publisher import Progress


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
    # The same one put back is known, and changed in place it is still the same one.
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


def test_a_changed_recording_is_transcribed_again_into_its_own_files(house: House) -> None:
    path = house.drop("one.wav", "Before.")
    house.run()
    path.write_text("After, and longer.")
    assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "After, and longer.\n"
    assert house.outputs() == four("one")


def test_a_recording_that_may_not_be_read_waits_and_the_others_go_on(house: House) -> None:
    house.drop("one.wav", "!fail environment permission-denied")
    house.drop("two.wav", "Fine.")
    summary = house.run()
    assert (summary.done, summary.failed, summary.waiting) == (1, 0, 1)
    assert house.row("one.wav").state == State.WAITING


def test_a_recording_that_leaves_is_forgotten(house: House) -> None:
    path = house.drop("one.wav", "Fine.")
    house.settings.state.mkdir()
    paused = house.settings.state / requests.PAUSED
    paused.touch()
    house.run()
    path.unlink()
    paused.unlink()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
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


def test_a_composed_and_a_decomposed_name_are_two_files_where_the_disk_says_so(house: House) -> None:
    house.drop("Cafe\u0301.wav", "Decomposed.")
    if (house.inbox / "Caf\u00e9.wav").exists():
        pytest.skip("this file system takes them for one")
    house.run()
    house.drop("Caf\u00e9.wav", "Composed.")
    assert house.run().failed == 0
    said = {json.loads(p.read_text())["text"] for p in house.outbox.glob("*.json")}
    assert said == {"Decomposed.", "Composed."}
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)


def test_a_file_too_large_is_refused_before_it_is_begun(house: House) -> None:
    house.drop("one.wav", "x" * 5000)
    assert house.run(max_gigabytes=4e-6).failed == 1
    assert house.row("one.wav").code == "too-large"
    assert house.events("worker.started") == []

"""Transcribing again what is done: older outputs are kept, and no more work is done than is needed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from dropscribe.supervisor import loop, requests
from dropscribe.supervisor.journal import Journal, State
from house import House, ask, four, old, profile

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_redo_transcribes_again_and_keeps_the_older_outputs(house: House) -> None:
    house.drop("a/one.wav", "Said.")
    house.drop("two.wav", "Not asked for.")
    house.run()
    before = (house.outbox / "a/one.json").read_bytes()
    ask(house, ["a/one.wav"], stale=False)
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    assert [e["file"] for e in house.events("job.claimed")].count("a/one.wav") == 2
    assert old(house) == [f"a/one DATE.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]
    assert next((house.outbox / "_old/a").glob("*.json")).read_bytes() == before
    assert [name for name in house.outputs() if not name.startswith("_old")] == sorted(four("a/one") + four("two"))
    assert (house.row("a/one.wav").redo, house.row("a/one.wav").discard_result) == ("", False)
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)


def test_what_is_stale_is_transcribed_again_with_no_more_work_than_it_needs(house: House) -> None:
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
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
    assert house.row("one.wav").state == State.DONE
    assert house.outputs() == four("one")


def test_what_leaves_while_it_waits_to_be_done_again_is_as_done_as_before(house: House) -> None:
    path = house.drop("one.wav", "Said.")
    house.run()
    ask(house, ["one.wav"], stale=False)
    paused = house.settings.state / requests.PAUSED
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


def test_a_recording_that_was_archived_before_it_was_opened_is_no_failure(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was asked for again while it was leaving: the worker was given its former path."""
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
    with journal.transaction() as db:
        db.execute("INSERT INTO sources (recording, way, state, target) VALUES (?, ?, ?, ?)", row)
    journal.close()
    (tmp_path / "go").touch()
    thread.join()
    assert found == [loop.Summary(done=1, failed=0, waiting=0, outage=None)]
    assert (house.row("one.wav").state, house.row("one.wav").attempts) == (State.DONE, 1)

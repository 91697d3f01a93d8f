"""A journal that is damaged or gone: a new one is made from the outbox, and nothing is transcribed twice."""

from __future__ import annotations

import json
import os

import pytest

from dropscribe.supervisor import loop
from house import House, ask, four, profile


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise"])
def test_a_damaged_journal_is_set_aside_and_rebuilt_from_the_outbox(house: House, damage: str) -> None:
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
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
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


def test_older_versions_are_not_taken_for_the_present_ones_when_the_journal_is_lost(house: House) -> None:
    house.drop("one.wav", "Said.")
    house.drop("_old/two.wav", "A folder of a person's.")
    house.run()
    profile(house, "dropscribe.toml", 'replacements = {"said" = "meant"}\n')
    ask(house, None, stale=True)
    assert house.run().done == 2
    (house.settings.state / "journal.sqlite3").unlink()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
    assert house.events("journal.rebuilt")[-1]["recordings"] == 2
    assert house.row("one.wav").base == "one"
    assert house.row("_old/two.wav").base == "_old/two"
    # What was read there holds the replacements: it is no text to begin from when they change.
    (house.inbox / "dropscribe.toml").unlink()
    ask(house, None, stale=True)
    assert house.run().done == 2
    assert (house.outbox / "one.txt").read_text() == "Said.\n"

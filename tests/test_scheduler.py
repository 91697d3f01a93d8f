"""Who is next: short recordings that are given to the worker together, and those that go alone."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from dropscribe import logs
from dropscribe.supervisor import digesting, loop, scheduler
from dropscribe.supervisor.inbox import Stat, digest_file
from dropscribe.supervisor.journal import State
from house import FAKE, House, four

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.supervisor.publisher import Progress


def packs(house: House) -> list[tuple[str, int | None]]:
    """Return every claim: the recording, and how many were given to the worker with it."""
    return [(e["file"], e["packed"]) for e in house.events("job.claimed")]


def test_short_recordings_go_to_the_worker_together_and_each_has_its_own_of_everything(house: House) -> None:
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        house.drop(name, f"In {name}.")
    house.queue()
    assert house.run() == loop.Summary(done=3, failed=0, waiting=0, outage=None)
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
        return digest_file(path, found)

    monkeypatch.setattr(digesting, "digest_file", slowly)
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


def test_with_speaker_labels_each_goes_alone(house: House) -> None:
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
    assert house.run(stall_minutes=0.01) == loop.Summary(done=2, failed=1, waiting=0, outage=None)
    assert packs(house)[:3] == [("a.wav", 3), ("b.wav", 3), ("c.wav", 3)]
    assert sorted(packs(house)[3:], key=str) == [("b.wav", None)] * 3 + [("c.wav", None)]
    assert {name: house.row(name).attempts for name in ("a.wav", "b.wav", "c.wav")} == {
        "a.wav": 1,
        "b.wav": 3,
        "c.wav": 1,
    }
    assert [e["files"] for e in house.events("pack.failed")] == [["b.wav", "c.wav"]]


@pytest.mark.parametrize("order", ["!apart", "!fail engine out-of-memory", "!fail environment permission-denied"])
def test_one_that_is_excluded_from_its_pack_goes_alone_and_it_costs_no_attempt(house: House, order: str) -> None:
    house.drop("a.wav", f"!until 1 {order}", "A.")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run() == loop.Summary(done=2, failed=0, waiting=0, outage=None)
    assert packs(house) == [("a.wav", 2), ("b.wav", 2), ("a.wav", None)]
    assert house.row("a.wav").attempts == 1
    assert (house.outbox / "b.txt").read_text() == "B.\n"


def test_one_that_is_no_recording_is_separated_and_fails_alone(house: House) -> None:
    house.drop("a.wav", "!fail recording no-audio")
    house.drop("b.wav", "B.")
    house.queue()
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, outage=None)
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


def test_interrupted_work_is_resumed_and_not_packed(house: House) -> None:
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

"""The work in progress: engines that fail, hang or grow, and windows that are not done again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dropscribe import logs
from dropscribe.supervisor import loop
from house import FAKE, House

if TYPE_CHECKING:
    from dropscribe.supervisor.publisher import Progress


@pytest.mark.parametrize("order", ["!crash", "!exit 3", "!fail engine out-of-memory"])
def test_an_engine_that_fails_twice_gets_a_third_try_in_a_fresh_process(house: House, order: str) -> None:
    house.drop("one.wav", "Begin.", f"!until 2 {order}", "End.")
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    assert len(house.events("worker.started")) == 3
    assert [e["device"] for e in house.events("model.loaded")] == ["cpu int8", "cpu int8", "safe"]
    text = (house.outbox / "one.txt").read_text()
    assert text.startswith("Begin.")
    assert text.endswith("End.\n")


def test_an_engine_that_always_fails_ends_in_quarantine_and_the_next_goes_on(house: House) -> None:
    house.drop("one.wav", "!crash")
    house.drop("two.wav", "Fine.")
    assert house.run(pack=False) == loop.Summary(done=1, failed=1, waiting=0, outage=None)
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
    assert "model-missing" in str(first.outage)
    assert house.row("one.wav").attempts == 0
    assert house.run().done == 1


def test_a_worker_that_has_grown_is_replaced_between_recordings(house: House) -> None:
    house.drop("one.wav", "One.")
    house.drop("two.wav", "Two.")
    assert house.run(memory_gigabytes=1e-6, pack=False).done == 2
    assert [e["reason"] for e in house.events("worker.stopped")] == ["memory", "memory"]

"""The work in progress: engines that fail, hang or grow, and windows that are not done again."""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe import logs
from dropscribe.supervisor import loop
from dropscribe.supervisor.result_options import fingerprint, read_options
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


# Work that was interrupted, in a journal that another version has written

PLAN = {
    "samples": 48000,
    "windows": [[0, 16000], [16000, 32000], [32000, 48000]],
    "backend": "faster-whisper",
    "device": "cpu int8",
    "revision": None,
    "folder": "/fake",
    "language": "en",
    "language_probability": 1.0,
}
"""As version 0.1.0 has written it; the fake worker makes the same."""
WINDOW = {
    "index": 0,
    "start_s": 0.0,
    "end_s": 1.0,
    "seconds": 0.1,
    "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": "Was first.", "words": []}],
}
"""As it was before windows had warnings."""


def resume(house: House, *checkpoints: dict[str, Any]) -> tuple[int, str]:
    """Return at which window work on a recording with these checkpoints goes on, and its text."""
    house.drop("one.wav", "First.", "Second.", "Third.")
    house.queue()
    key = f"{house.row('one.wav').sha256}:{fingerprint(read_options(house.settings))}"
    rows = [(key, part, zlib.compress(json.dumps(each).encode())) for part, each in enumerate(checkpoints)]
    with sqlite3.connect(house.settings.state / "journal.sqlite3") as db:
        db.executemany("INSERT INTO checkpoints VALUES (?, ?, ?)", rows)
    db.close()
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    (planned,) = house.events("job.planned")
    return planned["resumed_at"], json.loads((house.outbox / "one.json").read_text())["text"]


def test_work_goes_on_from_the_checkpoints_of_an_older_version(house: House) -> None:
    assert resume(house, PLAN, WINDOW) == (1, "Was first. Second. Third.")


@pytest.mark.parametrize(
    "checkpoints",
    [
        [PLAN | {"device": "gpu float16"}, WINDOW],
        [{"windows": 3}, WINDOW],
        [{}],
        [PLAN, {"index": 0}],
        [{name: PLAN[name] for name in PLAN if name != "language"}, WINDOW],
        [PLAN | {"versions": {"fake": "0"}, "samples": 7, "a key of the next version": 1}, WINDOW],
    ],
)
def test_work_begins_again_where_the_checkpoints_do_not_fit(house: House, checkpoints: list[dict[str, Any]]) -> None:
    assert resume(house, *checkpoints) == (0, "First. Second. Third.")

"""Work that was interrupted, in a journal that another version has written."""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe.supervisor import loop, requests, result_options

if TYPE_CHECKING:
    from house import House

LINES = ["First.", "Second.", "Third."]

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


def resume(house: House, checkpoints: list[Any]) -> tuple[int, str]:
    """Return at which window work on a recording with these checkpoints goes on, and its text."""
    house.drop("talk.wav", *LINES)
    requests.pause(house.settings.state)
    house.run()
    requests.resume(house.settings.state)
    with sqlite3.connect(house.settings.state / "journal.sqlite3") as db:
        (sha256,) = db.execute("SELECT sha256 FROM recordings").fetchone()
        key = f"{sha256}:{result_options.fingerprint(result_options.read_options(house.settings))}"
        packed = [zlib.compress(json.dumps(each).encode()) for each in checkpoints]
        rows = [(key, part, payload) for part, payload in enumerate(packed)]
        db.executemany("INSERT INTO checkpoints VALUES (?, ?, ?)", rows)
    db.close()
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    (planned,) = house.events("job.planned")
    made = json.loads((house.outbox / "talk.json").read_text())
    return planned["resumed_at"], made["text"]


def test_work_goes_on_from_the_checkpoints_of_an_older_version(house: House) -> None:
    assert resume(house, [PLAN, WINDOW]) == (1, "Was first. Second. Third.")


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
def test_work_begins_again_where_the_checkpoints_do_not_fit(house: House, checkpoints: list[Any]) -> None:
    assert resume(house, checkpoints) == (0, "First. Second. Third.")

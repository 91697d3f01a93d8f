"""Work that was interrupted, in a journal that another version has written."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe import logs, settings
from dropscribe.supervisor import loop, recovery
from dropscribe.supervisor.result_options import read_options

if TYPE_CHECKING:
    from collections.abc import Iterator

FAKE = [sys.executable, str(Path(__file__).parent / "faults" / "fake_worker.py")]
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


@pytest.fixture
def logging_restored() -> Iterator[None]:
    yield
    for handler in logging.getLogger("dropscribe").handlers[:]:
        handler.close()
        logging.getLogger("dropscribe").removeHandler(handler)


def run(chosen: settings.Settings) -> loop.Summary:
    logs.configure(chosen)
    daemon = loop.Supervisor(chosen, once=True, command=FAKE)
    try:
        return daemon.run()
    finally:
        daemon.close()


def resumed(folder: Path, checkpoints: list[Any]) -> tuple[int, str]:
    """Return at which window work on a recording with these checkpoints goes on, and its text."""
    places = {name: folder / name for name in ("inbox", "outbox", "state", "logs")}
    flags = places | {"settle_seconds": 0, "model": "fake"}
    chosen = settings.load(flags, {"HOME": str(folder)}).settings
    (folder / "inbox").mkdir()
    (folder / "inbox" / "talk.wav").write_text("\n".join(LINES))
    chosen.state.mkdir()
    (chosen.state / loop.PAUSED).touch()
    run(chosen)
    (chosen.state / loop.PAUSED).unlink()
    with sqlite3.connect(chosen.state / "journal.sqlite3") as db:
        (sha256,) = db.execute("SELECT sha256 FROM recordings").fetchone()
        key = f"{sha256}:{recovery.fingerprint(read_options(chosen))}"
        packed = [zlib.compress(json.dumps(each).encode()) for each in checkpoints]
        rows = [(key, part, payload) for part, payload in enumerate(packed)]
        db.executemany("INSERT INTO checkpoints VALUES (?, ?, ?)", rows)
    db.close()
    assert run(chosen) == loop.Summary(done=1, failed=0, waiting=0, trouble=None)
    events = [json.loads(line) for line in (chosen.logs / logs.NAME).read_text().splitlines()]
    (planned,) = [event for event in events if event["event"] == "job.planned"]
    made = json.loads((chosen.outbox / "talk.json").read_text())
    return planned["resumed_at"], made["text"]


@pytest.mark.usefixtures("logging_restored")
def test_work_goes_on_from_the_checkpoints_of_an_older_version(tmp_path: Path) -> None:
    assert resumed(tmp_path, [PLAN, WINDOW]) == (1, "Was first. Second. Third.")


@pytest.mark.usefixtures("logging_restored")
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
def test_work_begins_again_where_the_checkpoints_do_not_fit(tmp_path: Path, checkpoints: list[Any]) -> None:
    assert resumed(tmp_path, checkpoints) == (0, "First. Second. Third.")

"""Writes `version-N.sqlite3` with the journal of an earlier program: see README.md in this folder."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path, PurePath
from typing import Any

# Those of the earlier program, on PYTHONPATH: today's has no such modules.
old: Any = importlib.import_module("dropscribe.journal")
outbox: Any = importlib.import_module("dropscribe.outbox")

VERSION: int = old.VERSION
SETTINGS = json.dumps({"model": "base", "language": "auto", "formats": ["json", "txt"]})
PLAN = {"windows": [[0, 480000], [480000, 960000]], "samples": 960000, "language": "en"}
CLOCK = iter(range(1_795_600_000, 1_795_700_000, 60))


def main(folder: Path) -> None:
    """Live through a day with recordings in every state."""
    path = folder / f"version-{VERSION}.sqlite3"
    path.unlink(missing_ok=True)
    journal = old.Journal(path)
    journal.note(inbox="/home/ada/Inbox", outbox="/home/ada/Outbox", model="base", adopted="1795600000.0")
    finish(journal, "done.wav", "d1", files=("json", "txt"))
    finish(journal, "edited.wav", "e1", files=("json",), beside="edited.txt")
    finish(journal, "caf\udce9/name.wav", "n1", files=("json", "txt"))
    fail(journal, "failed.wav", "f1")
    if VERSION >= 2:
        finish(journal, "again.wav", "a1", files=("json", "txt"))
    if VERSION >= 3:
        for name, state, target in (
            ("due.wav", "due", None),
            ("begun.wav", "begun", Path("/home/ada/Archive/begun.wav")),
            ("moved.wav", "moved", Path("/home/ada/Archive/caf\udce9.wav")),
            ("kept.wav", "kept", None),
        ):
            finish(journal, name, f"s-{state}", files=("json",), after="archive")
            journal.leave(number(journal, name), state, target, "It was changed." if state == "kept" else "")
        finish(
            journal, "hooks.wav", "h1", files=("json",), hooks=[("on_done", '{"event": "done"}'), ("webhook", "{}")]
        )
        waiting, given_up = journal.hooks_of(number(journal, "hooks.wav"))
        journal.hook_failed(waiting.id, "It ended with exit code 1.", give_up=False)
        journal.hook_failed(given_up.id, "It took longer than 5 s and was ended.", give_up=True)
    if VERSION >= 4:
        finish(journal, "changed.wav", "c1", files=("json",))
        queue(journal, "changed.wav", "c2")  # other content, not transcribed yet
        fail(journal, "changed.wav", "c2", queued=True)
    if VERSION >= 5:
        finish(journal, "missing.wav", "m1", files=("json",))
        journal.miss([b"missing.wav"])
    publish(journal)
    run(journal)
    queue(journal, "gone.wav", "g1")
    journal.gone([b"gone.wav"], float(next(CLOCK)))
    queue(journal, "queued.wav", "q1")
    journal.wait(b"waiting.wav", PurePath("waiting.wav"), 7, 8, "permission-denied", "No.", float(next(CLOCK)))
    if VERSION >= 2:  # last, for it would be first in the queue
        journal.redo([(number(journal, "again.wav"), "2026-11-25 10.00.00")], float(next(CLOCK)), anew=True)
    journal.close()


def queue(journal: Any, name: str, sha256: str) -> None:
    journal.queue(os.fsencode(name), PurePath(name), len(name), 1_795_600_000 * 10**9, sha256, float(next(CLOCK)))


def number(journal: Any, name: str) -> int:
    found: int = journal.find(os.fsencode(name)).id
    return found


def claim(journal: Any) -> Any:
    settings = (SETTINGS,) if VERSION >= 2 else ()
    return journal.claim("0123456789abcdef", float(next(CLOCK)), *settings)


def finish(
    journal: Any, name: str, sha256: str, *, files: tuple[str, ...], beside: str | None = None, **more: Any
) -> None:
    """Take a recording all the way to `done`."""
    queue(journal, name, sha256)
    recording = claim(journal)
    journal.checkpoint(recording, 0, PLAN, 0.0, 60.0)
    journal.keep_result(recording, json.dumps({"text": f"Words of {sha256}."}), 21.5, float(next(CLOCK)))
    base = journal.base(recording)
    published = [outbox.Published(f"{base}.{suffix}", f"{sha256}-{suffix}") for suffix in files]
    if beside is not None:
        published.append(outbox.Published(f"{base} (2).txt", f"{sha256}-txt", beside))
    journal.done(recording.id, published, float(next(CLOCK)), **more)


def fail(journal: Any, name: str, sha256: str, *, queued: bool = False) -> None:
    if not queued:
        queue(journal, name, sha256)
    record = outbox.Published(f"_failed/{name}.error.txt", f"{sha256}-record")
    journal.fail(claim(journal).id, "no-audio", "It has no sound.", record, float(next(CLOCK)))


def publish(journal: Any) -> None:
    queue(journal, "publishing.wav", "p1")
    journal.keep_result(claim(journal), json.dumps({"text": "Words of p1."}), 20.0, float(next(CLOCK)))


def run(journal: Any) -> None:
    """Leave a recording as a killed daemon leaves it: running, with one finished window."""
    queue(journal, "running.wav", "r1")
    recording = claim(journal)
    journal.checkpoint(recording, 0, PLAN, 0.0, 60.0)
    journal.checkpoint(recording, 1, {"index": 0, "end_s": 30.0}, 30.0, 60.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

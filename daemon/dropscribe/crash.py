"""Named points at which a test has the process killed, to prove that every moment is a safe one.

`DROPSCRIBE_CRASH="POINT COUNT FOLDER"` kills the process with SIGKILL the first COUNT times that
any process reaches POINT; FOLDER keeps the count across processes. Not set, a point is an empty
function.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = {
    "seen": "a file was seen and begins to settle",
    "queued": "a settled recording is in the journal",
    "claimed": "a recording is marked as running",
    "decoded": "the worker has the sound on disk",
    "segment": "the worker has the first window's text and has not reported it",
    "checkpointed": "a finished window is in the journal",
    "kept": "the transcript is in the journal",
    "asked": "what was asked for is in the journal, recordings are queued or published again; the request is there",
    "retired": "copies of the older outputs are on the disk, and no newer one",
    "rendered": "every format is made, no file is written",
    "written": "a file is on the disk under its temporary name",
    "renamed": "a file has its name, its folder may not be on the disk",
    "published": "every file is there, the journal does not know it",
    "committed": "the journal says done",
    "hooked": "a hook has ended, the journal does not know it",
    "leaving": "the journal says that a source is about to leave the inbox",
    "reserved": "its place in the archive or the trash is taken by an empty file",
    "moved": "the source is in its new place, the journal does not know it",
    "copied": "a whole copy of the source is on another disk, the source is still in the inbox",
    "withdrawn": "the source has a hidden name, about to be removed",
    "removed": "the source is removed, the journal does not know it",
    "quarantined": "the record of a failure is written, the journal does not know it",
    "joining": "the recordings of a folder are done, their one transcript is not written",
    "joined": "it is written, the journal does not know it",
    "adopted": "a journal that is rebuilt knows one more transcript of the outbox",
}
"""Every point, and what is true there."""

VARIABLE = "DROPSCRIBE_CRASH"


def _parse_order(order: str) -> tuple[str, int, Path] | None:
    if not order:
        return None
    point, count, folder = order.split(" ", 2)
    if point not in POINTS:
        msg = f"{VARIABLE}: no point {point}; there are {', '.join(POINTS)}"
        raise ValueError(msg)
    return point, int(count), Path(folder)


_ORDER = _parse_order(os.environ.get(VARIABLE, ""))


def reach(point: str) -> None:
    """Kill the process here if a test wants it."""
    if _ORDER is None or _ORDER[0] != point:
        return
    for number in range(_ORDER[1]):
        try:
            (_ORDER[2] / f"{point}.{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)

"""What goes on at this moment, told to the browser as it changes (server-sent events)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from dropscribe.errors import DropscribeError
from dropscribe.supervisor import lookup, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dropscribe.settings import Settings
    from dropscribe.supervisor.status import CurrentRecording

EVERY_SECONDS = 1.0
"""Between two looks, while a browser listens. The daemon writes its progress as often."""
ALIVE_SECONDS = 15.0
"""After so long without news something is sent all the same, so that a dead connection is noticed."""
_SHOWN = 20
"""Recordings of the queue that are named."""


def read_news(settings: Settings) -> dict[str, Any]:
    """Return what the daemon does, for the browser."""
    try:
        report = status.read_status(settings, stale=False)
    except DropscribeError as error:
        return {"running": False, "paused": False, "trouble": str(error), "counts": {}, "now": [], "queue": []}
    now = [each for each in (report.current, report.interrupted) if each is not None]
    return {
        "running": report.running,
        "paused": report.paused,
        "trouble": (report.trouble.reason if report.trouble else "") or report.inbox_trouble,
        "counts": {state: count for state, count in report.counts.items() if count},
        "now": [_describe(each, between=i > 0) for i, each in enumerate(now)],
        "queue": [{"file": each.file, "reason": each.reason} for each in report.queue[:_SHOWN]],
        "queued": report.counts.get("queued", 0),
        "changed": _read_last_change(settings),
    }


def _describe(current: CurrentRecording, *, between: bool) -> dict[str, Any]:
    return {
        "file": current.file,
        "others": current.together - 1,
        "phase": "waits for a short one" if between else current.phase,
        "percent": current.percent,
        "left_s": current.eta_s,
    }


def _read_last_change(settings: Settings) -> float:
    """Return when a recording last came into another state: then a list that is shown is old."""
    with lookup.read_journal(settings) as journal:
        if journal is None:
            return 0.0
        found: float | None = journal.read("SELECT max(changed) FROM recordings").fetchone()[0]
        return found or 0.0


async def follow(settings: Settings) -> AsyncIterator[str]:
    """Yield events without end: what the daemon does, whenever that changes."""
    told, when = "", 0.0
    while True:
        news = await anyio.to_thread.run_sync(read_news, settings)
        text, now = json.dumps(news), time.monotonic()
        if text != told:
            told, when = text, now
            yield f"data: {text}\n\n"
        elif now - when > ALIVE_SECONDS:
            when = now
            yield ": nothing new\n\n"
        await anyio.sleep(EVERY_SECONDS)

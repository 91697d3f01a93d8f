"""Talking to a real worker, as its parent does."""

from __future__ import annotations

import dataclasses
import json
import queue
from typing import TYPE_CHECKING, Any

from dropscribe import protocol
from dropscribe.protocol import values
from dropscribe.settings import Settings
from dropscribe.supervisor import worker_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KENNEDY = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
"""What is said in `data/jfk.opus`."""
PATIENCE = 180.0
"""Seconds after which a test gives up; far more than a noisy machine needs."""


def event_to_json(event: protocol.Event) -> dict[str, Any]:
    """Return the fields of an event as JSON has them."""
    return dict(values.write_value(event))


class Talk:
    """A real worker, and what it says."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
        self.worker = worker_process.Worker(self.messages.put, command)
        self.number = 0

    def ask(self, model: Path, *line: dict[str, Any], operation: str = "check", **more: Any) -> None:
        """Give it a job with these backends; `more` are fields of the job and of its request."""
        self.number += 1
        asked = Settings(language="en", backend="faster-whisper", model=str(model))
        request = dataclasses.asdict(worker_process.make_request(asked, download=False))
        job = {"job": self.number, "op": operation, **request, "backends": line, **more}
        self.worker.send(protocol.decode_job(json.dumps(job)))

    def until(self, *last: str) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        while not found or found[-1][0] not in last:
            event = self.messages.get(timeout=PATIENCE).event
            found.append((event.event, event_to_json(event)))
        return found


def whisperx(python: str, **options: str) -> dict[str, Any]:
    return {"name": "whisperx", "reason": "a test", "python": python, "options": options}


FASTER = {"name": "faster-whisper", "reason": "a test"}


def of(found: list[tuple[str, dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    return [facts for name, facts in found if name == event]


def said(words: Iterable[dict[str, Any]]) -> str:
    return "".join(c for c in "".join(w["word"] for w in words).lower() if c.isalnum() or c == " ").strip()

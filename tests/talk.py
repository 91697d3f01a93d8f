"""Talking to a real worker, as its parent does."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from dropscribe.settings import Settings
from dropscribe.supervisor import worker_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KENNEDY = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
"""What is said in `data/jfk.opus`."""
PATIENCE = 180.0
"""Seconds after which a test gives up; far more than a noisy machine needs."""


class Talk:
    """A real worker, and what it says."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
        self.worker = worker_process.Worker(self.messages.put)
        self.number = 0

    def ask(self, model: Path, *line: dict[str, Any], operation: str = "check", **more: Any) -> None:
        self.number += 1
        asked = Settings(language="en", backend="faster-whisper", model=str(model))
        job = {**worker_process.request(asked, download=False), "backends": line, **more}
        self.worker.send(self.number, operation, **job)

    def until(self, *last: str) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        while not found or found[-1][0] not in last:
            message = self.messages.get(timeout=PATIENCE)
            found.append((message.event, message.facts))
        return found


def whisperx(python: str, **options: str) -> dict[str, Any]:
    return {"name": "whisperx", "reason": "a test", "python": python, "options": options}


FASTER = {"name": "faster-whisper", "reason": "a test"}


def of(found: list[tuple[str, dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    return [facts for name, facts in found if name == event]


def said(words: Iterable[dict[str, Any]]) -> str:
    return "".join(c for c in "".join(w["word"] for w in words).lower() if c.isalnum() or c == " ").strip()

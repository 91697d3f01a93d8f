"""A daemon with a worker that fails on demand (a real process; see faults/fake_worker.py), run in the test's process.

Its decisions are tested so: the real engines are in test_backends.py and test_daemon.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import logs, settings
from dropscribe.supervisor import loop, requests
from dropscribe.supervisor.journal import Journal, Recording

if TYPE_CHECKING:
    from dropscribe.settings import Settings

FAKE = [sys.executable, str(Path(__file__).parent / "faults" / "fake_worker.py")]


class House:
    """An inbox, an outbox and a daemon that is run until nothing is left to do."""

    def __init__(self, folder: Path) -> None:
        flags = {
            "inbox": folder / "in",
            "outbox": folder / "out",
            "state": folder / "state",
            "logs": folder / "logs",
            "settle_seconds": 0,
            "after_minutes": 0,
            "model": "fake",
        }
        self.settings: Settings = settings.load(flags, {"HOME": str(folder)}).settings
        self.inbox, self.outbox = folder / "in", folder / "out"
        self.inbox.mkdir()

    def drop(self, name: str, *lines: str) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        return path

    def run(self, **changes: Any) -> loop.Summary:
        chosen = dataclasses.replace(self.settings, **changes)
        logs.configure(chosen)
        daemon = loop.Supervisor(chosen, once=True, command=FAKE)
        try:
            return daemon.run()
        finally:
            daemon.close()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on these folders, as a process of its own."""
        command = [sys.executable, "-m", "dropscribe", *arguments]
        return subprocess.run(command, env=self.environ(), capture_output=True, text=True, check=False)

    def environ(self) -> dict[str, str]:
        """Return the variables under which a command has these folders."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DROPSCRIBE_")}
        for name in ("inbox", "outbox", "state", "logs"):
            environ[f"DROPSCRIBE_{name.upper()}"] = str(getattr(self.settings, name))
        return environ | {"HOME": str(self.inbox.parent)}

    def queue(self) -> None:
        """Queue all that is in the inbox before the first is taken: who is packed with whom is certain then."""
        paused = self.settings.state / requests.PAUSED
        paused.parent.mkdir(exist_ok=True)
        paused.touch()
        self.run()
        paused.unlink()

    def row(self, name: str) -> Recording:
        journal = Journal(self.settings.state / "journal.sqlite3", readonly=True)
        found = journal.recordings.find(name.encode())
        journal.close()
        assert found is not None
        return found

    def outputs(self) -> list[str]:
        return sorted(str(p.relative_to(self.outbox)) for p in self.outbox.rglob("*") if p.is_file())

    def events(self, *names: str) -> list[dict[str, Any]]:
        lines = (self.settings.logs / logs.NAME).read_text().splitlines()
        return [e for e in map(json.loads, lines) if not names or e["event"] in names]


def four(stem: str) -> list[str]:
    return [f"{stem}.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]


def profile(house: House, name: str, text: str) -> Path:
    path = house.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ask(house: House, names: list[str] | None, *, stale: bool) -> None:
    """Put a request to transcribe again, as `dropscribe redo` does."""
    folder = house.settings.state / requests.FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "redo.json").write_text(json.dumps({"redo": names, "stale": stale}))


def made(house: House, base: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.outbox / f"{base}.json").read_text())
    return found


def old(house: House) -> list[str]:
    """Return the outputs of older versions, without the time in their names."""
    names = [str(p.relative_to(house.outbox / "_old")) for p in (house.outbox / "_old").rglob("*") if p.is_file()]
    return sorted(re.sub(r" \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d", " DATE", name) for name in names)

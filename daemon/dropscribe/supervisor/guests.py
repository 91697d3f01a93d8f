"""Recordings of other programs, which ask `dropscribe serve`: transcribed before the others, answered, and forgotten.

A guest is a folder in the state folder: the sound, a profile next to it with what was asked for, and `guest.json`. It
is made under a hidden name and renamed when it is whole. It goes through the queue like every recording: it may share
windows, go between the windows of a long one, be resumed after a kill, fail. What comes of it is `answer.json` in its
folder. Who asked removes the folder, then or before; that calls the work off.

Guarantees: nothing of a guest comes into inbox or outbox, no hook runs for it, and its sound is never disposed of;
when it is answered the journal has neither its row nor its transcript, unless a recording has the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe import files
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import GUEST, InboxFile, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.transcript import Transcript

FOLDER = "guests"
"""In the state folder."""
NOTE, ANSWER = "guest.json", "answer.json"
PRIORITY = 1000
"""The highest that the setting allows: somebody waits for it at this moment."""
LEFT_SECONDS = 3600.0
"""An answer that nobody has fetched for so long is nobody's."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What a program sent, as its folder says."""

    sound: str
    """Name of the file in the folder."""
    name: str
    """What the program calls it."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: one of both."""

    transcript: dict[str, Any] | None = None
    code: str = ""
    reason: str = ""


def invite(state: Path, number: str, folder: Path, guest: Guest, profile: str) -> Path:
    """Leave a guest for the daemon; return its folder.

    Args:
        state: the state folder.
        number: names it.
        folder: where its sound is already; beside the final place.
        guest: the facts.
        profile: settings, as TOML.

    Raises: OSError.
    """
    files.write_atomically(folder / f"{guest.sound}.toml", profile.encode())
    files.write_atomically(folder / NOTE, json.dumps(dataclasses.asdict(guest)).encode())
    return folder.rename(state / FOLDER / number)


def read_answer(folder: Path) -> Answer | None:
    """Return what came of a guest; None while it is not known."""
    try:
        return Answer(**json.loads((folder / ANSWER).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def find_key(number: str) -> bytes:
    """Return the key that a guest has in the journal."""
    return GUEST + number.encode()


class Guests:
    """The guests of one daemon. Every method is called by the thread that owns the journal."""

    def __init__(self, settings: Settings, journal: Journal, call_off: Callable[[bytes, str], None]) -> None:
        """`call_off` gives up the work on the recording of a key, for a reason."""
        import structlog  # 4 MB that the server, which needs this module too, can do without

        self._folder = settings.state / FOLDER
        self._journal = journal
        self._call_off = call_off
        self._any = True  # a daemon that was killed may have left rows
        self._log = structlog.get_logger()

    def tick(self) -> None:
        """Take in who has come, and give up who has left."""
        present = {find_key(name): self._folder / name for name in self._list_names()}
        if not present and not self._any:
            return
        self._any = bool(present)
        rows = {row.key: row for row in self._journal.recordings.list_guests()}
        for key in rows.keys() - present.keys():
            self._call_off(key, "who asked for it has left")
            self._forget(rows[key])
        for key in rows.keys() & present.keys():
            if rows[key].state == State.WAITING:  # nobody looks at it again, as the inbox would
                answer_failure(self._journal, rows[key], rows[key].code, rows[key].reason)
        for key in present.keys() - rows.keys():
            self._take_in(present[key])

    def _list_names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []

    def _take_in(self, folder: Path) -> None:
        if (folder / ANSWER).exists():
            with contextlib.suppress(OSError):
                if (folder / ANSWER).stat().st_mtime < time.time() - LEFT_SECONDS:
                    shutil.rmtree(folder)
            return
        try:
            guest = Guest(**json.loads((folder / NOTE).read_bytes()))
            path = folder / PurePath(guest.sound).name
            found = Stat.at(path)
        except (OSError, ValueError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)
            return
        file = InboxFile(find_key(folder.name), path, found.size, found.mtime_ns)
        self._journal.recordings.put_in_queue(file, guest.sha256, time.time())
        row = self._journal.recordings.find(file.key)
        assert row is not None  # noqa: S101 (just put there)
        self._journal.recordings.set_priorities([(row.id, PRIORITY)])
        self._log.info("guest.came", job_id=row.id, bytes=found.size)

    def _forget(self, recording: Recording) -> None:
        self._journal.forget_guest(recording.id)
        self._log.info("guest.left", job_id=recording.id)


def stat(recording: Recording) -> Stat | None:
    """Return the size and time of a guest's sound, or None when who sent it has left."""
    try:
        return Stat.at(Path(recording.name))
    except OSError:
        return None


def answer(journal: Journal, recording: Recording, transcript: Transcript) -> None:
    """Give a transcript to who asked for it, and forget it. Raises: OSError."""
    folder = Path(recording.name).parent
    with contextlib.suppress(OSError, ValueError, KeyError):
        name = json.loads((folder / NOTE).read_bytes())["name"]
        transcript = dataclasses.replace(
            transcript, source=dataclasses.replace(transcript.source, name=name, path=name)
        )
    _write(folder, Answer(transcript=json.loads(transcript.to_json())))
    journal.forget_guest(recording.id)


def answer_failure(journal: Journal, recording: Recording, code: str, reason: str) -> None:
    """Say to who asked why there is no transcript, and forget it. Raises: OSError."""
    _write(Path(recording.name).parent, Answer(code=code, reason=reason))
    journal.forget_guest(recording.id)


def _write(folder: Path, made: Answer) -> None:
    with contextlib.suppress(FileNotFoundError):  # who asked has left meanwhile
        files.write_atomically(folder / ANSWER, json.dumps(dataclasses.asdict(made)).encode(), mode=0o600)

"""Reading the journal and the inbox from outside the daemon, for the command line.

Guarantees: the journal is opened read-only and always closed; nothing here imports what only a daemon needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor import locks, profiles, result_options
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.journal import FILE_NAME, Journal
from dropscribe.supervisor.names import decode_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Recording


@contextlib.contextmanager
def read_journal(settings: Settings) -> Iterator[Journal | None]:
    """Open the journal read-only for the length of the context; None when there is none yet.

    Raises: DropscribeError when it cannot be opened.
    """
    path = settings.state / FILE_NAME
    try:
        journal = Journal(path, readonly=True) if path.exists() else None
    except sqlite3.Error as error:
        msg = f"The journal {path} cannot be read: {error}."
        raise DropscribeError(msg, "`dropscribe doctor` looks closer.") from None
    if journal is None:
        yield None
        return
    with journal:
        yield journal


def adopt_folders(settings: Settings, journal: Journal | None) -> Settings:
    """Return the settings with the inbox and the outbox of the daemon that runs on this state, if one does.

    It may have been started with other variables than whoever asks.
    """
    if journal is None or not locks.is_running(settings.state):
        return settings
    folders = {
        name: Path(found)
        for name in ("inbox", "outbox")
        if (found := journal.get_meta(name)) and found != decode_name(getattr(settings, name))
    }
    return dataclasses.replace(settings, **folders)  # type: ignore[arg-type]


def find_recording(settings: Settings, journal: Journal | None, path: Path) -> Recording | None:
    """Return what the journal has under a path, which may be a name as `status` shows it."""
    if journal is None:
        return None
    settings = adopt_folders(settings, journal)
    return journal.recordings.find(open_inbox(settings).key(locate_in_inbox(settings, path) or str(path)))


def find_by_output(settings: Settings, journal: Journal | None, path: Path) -> Recording | None:
    """Return the recording that an output belongs to, also one that was edited since."""
    folder = os.path.realpath(settings.outbox)
    place = os.path.join(os.path.realpath(path.absolute().parent), path.name)  # noqa: PTH118
    if journal is None or not place.startswith(folder + os.sep):
        return None
    number = journal.outputs.find_recording(os.path.relpath(place, folder))
    return None if number is None else journal.recordings.get(number)


def locate_in_inbox(settings: Settings, path: Path) -> str | None:
    """Return a path relative to the inbox, as the journal has it, or None when it is outside."""
    inbox = os.path.realpath(settings.inbox)
    parent = os.path.realpath(path.absolute().parent)
    if parent != inbox and not parent.startswith(inbox + os.sep):
        return None
    return str(PurePath(parent, path.name).relative_to(inbox))


def open_inbox(settings: Settings) -> Inbox:
    """Return the inbox of these settings."""
    return Inbox.of(settings)


def read_profiles_in_force(settings: Settings, journal: Journal) -> profiles.Profiles:
    """Return the profiles over the settings of the running daemon, or over those it would start with."""
    running = locks.is_running(settings.state)
    return profiles.Profiles(
        result_options.restore_options(journal.get_meta("settings"), settings) if running else settings
    )


def format_name(recording: Recording) -> str:
    """Return a recording's path relative to the inbox; bytes that are not UTF-8 become U+FFFD."""
    if recording.is_guest:
        return "(sent by another program)"
    return recording.path.decode("utf-8", "replace")


def format_minute(stamp: float) -> str:
    """Return a time in seconds since the epoch as local date, hour and minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp))


def format_times(count: int) -> str:
    """Return `once`, `2 times`, `3 times`."""
    return "once" if count == 1 else f"{count} times"

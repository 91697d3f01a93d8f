"""Waiting until a daemon that runs already has worked off the inbox, for `dropscribe run --once --wait`.

Guarantees: the journal and the inbox are only read; it ends when the daemon does, or when something keeps it from
working.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError, NotRunningError
from dropscribe.supervisor import locks, lookup, requests
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.loop import Summary

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal

_LOOK_SECONDS = 0.5
"""Between two looks: each reads the inbox and the journal."""
_AHEAD = (State.QUEUED, State.RUNNING, State.PUBLISHING)


def wait_for_daemon(settings: Settings) -> Summary:
    """Return what the daemon of these settings did until nothing was left in the inbox.

    Raises:
        NotRunningError: it ended meanwhile.
        DropscribeError: it is paused, the inbox is not there, or something else keeps it from working.
    """
    began = time.time()
    while True:
        if not locks.is_running(settings.state):
            raise NotRunningError("The daemon that was running has ended.", "Run it again.")
        try:
            with lookup.read_journal(settings) as journal:
                if journal is not None and (found := _look(settings, journal, began)) is not None:
                    return found
        except sqlite3.OperationalError:  # it is writing
            pass
        time.sleep(_LOOK_SECONDS)


def _look(settings: Settings, journal: Journal, began: float) -> Summary | None:
    """Return what was done since `began` when nothing is left to do; None before that."""
    _require_work(settings, journal)
    known = {file.key: file for file in journal.recordings.list_files()}
    inbox = lookup.open_inbox(settings)
    for relative, found in inbox.scan():
        file = known.get(os.fsencode(relative)) or known.get(inbox.key(relative))
        if file is None or (file.size, file.mtime_ns) != (found.size, found.mtime_ns) or file.state in _AHEAD:
            return None
    counts = journal.recordings.count_by_state()
    if any(counts[state] for state in _AHEAD):
        return None
    ended = [r for r in journal.recordings.list_in(State.DONE, State.FAILED) if r.changed >= began]
    states = [recording.state for recording in ended]
    hooks = tuple(
        f"`{hook.way}` for {lookup.format_name(recording)}: {hook.problem}"
        for recording in ended
        for hook in journal.hooks.list_of(recording.id)
        if hook.problem
    )
    return Summary(states.count(State.DONE), states.count(State.FAILED), counts[State.WAITING], None, hooks)


def _require_work(settings: Settings, journal: Journal) -> None:
    if requests.is_paused(settings.state):
        raise DropscribeError("The daemon is paused.", "`dropscribe resume` lets it go on.")
    trouble = journal.get_meta("trouble")
    why = journal.get_meta("inbox_trouble") or (json.loads(trouble)["reason"] if trouble else "")
    if why:
        raise DropscribeError(f"The daemon waits: {why}")

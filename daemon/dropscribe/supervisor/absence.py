"""Files that left the inbox: those that are being transcribed, and those that failed.

Guarantees: a file that is only replaced (programs that save remove it first) is not taken for one
that left; each recording is returned once. Every method is called by the thread that owns the
journal, and may raise what that raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.supervisor.journal import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dropscribe.supervisor.inbox import Stat
    from dropscribe.supervisor.journal import Journal, Recording

REPLACED_SECONDS = 1.0
"""For which a file may be absent while another one takes its name."""


class AbsentRecordings:
    """What must be called off, or withdrawn, because its file left the inbox."""

    def __init__(self, journal: Journal, stat: Callable[[Recording], Stat | None], failed: Iterable[bytes]) -> None:
        """`stat` looks at a recording's file; `failed` are the keys of failed recordings that are absent already."""
        self._journal = journal
        self._stat = stat
        self._running: dict[bytes, float] = {}
        """Keys of files that left while they are transcribed, with the time.monotonic() of that."""
        self._failed = set(failed)
        """Keys of recordings that left and may have a record of their failure in the outbox."""

    def watch_running(self, keys: Iterable[bytes], now: float) -> None:
        """Save when each of these files, which are being transcribed, was first seen to be absent."""
        for key in keys:
            if not self._journal.sources.is_away(key):
                self._running.setdefault(key, now)

    def watch_failed(self, keys: Iterable[bytes]) -> None:
        """Save that these recordings left: a record of their failure may go."""
        self._failed.update(keys)

    def take_running(self, now: float) -> list[bytes]:
        """Return, and forget, the keys of recordings whose files left while they were transcribed."""
        gone = []
        for key, since in list(self._running.items()):
            recording = self._journal.recordings.find(key)
            if recording is None or recording.state != State.RUNNING or self._stat(recording) is not None:
                del self._running[key]
            elif now - since >= REPLACED_SECONDS:
                del self._running[key]
                gone.append(key)
        return gone

    def take_failed(self) -> list[Recording]:
        """Return, and forget, failed recordings that left the inbox."""
        found = map(self._journal.recordings.find, self._failed)
        self._failed = set()
        return [
            recording
            for recording in found
            if recording is not None
            and recording.state in {State.FAILED, State.GONE}
            and self._stat(recording) is None
        ]

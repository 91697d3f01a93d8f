"""What the daemon does, and which recordings a person should know of: the report of `dropscribe status`.

Guarantees: reads only; works whether a daemon runs or not; a volume that does not answer delays a report by
`STALE_SECONDS` at most.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dropscribe.supervisor import locks, lookup, progress, requests
from dropscribe.supervisor.journal import State
from dropscribe.transcript import LANGUAGE_UNCERTAIN

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Hook, Journal, Recording

STALE_SECONDS = 20
"""How long `find_stale` looks at files; 10,000 on a local disk take less than one second."""
_NEWEST = 5
"""How many recordings of each kind a report names."""
_QUEUED = 100
"""How many recordings of the queue a report names."""


@dataclass(frozen=True, slots=True)
class RecordingNote:
    """A recording, and why a person should know of it."""

    file: str
    """Path relative to the inbox."""
    code: str
    """Stable and kebab-case; for a hook the setting it comes from; empty when there is none."""
    reason: str
    when: str
    """Of its last change: local date, hour and minute."""


@dataclass(frozen=True, slots=True)
class StaleRecording:
    """A finished recording whose settings have changed since."""

    file: str
    changed: tuple[str, ...]
    """Names of the settings."""
    when: str


@dataclass(frozen=True, slots=True)
class StaleRecordings:
    """All of them, the newest first."""

    recordings: tuple[StaleRecording, ...] = ()
    away: int = 0
    """How many more there are whose file is neither in the inbox nor in the archive."""


@dataclass(frozen=True, slots=True)
class CurrentRecording:
    """A recording in progress, or several that are transcribed together."""

    file: str
    """Of several the first."""
    phase: str
    """`decoding`, `loading the model`, `detecting speech`, `transcribing`, ..."""
    percent: float | None
    """Of the phase; of several recordings the share that is finished. None while nothing can be said."""
    eta_s: int | None
    """Seconds left at the speed of this attempt; None while nothing can be said."""
    elapsed_s: float
    """Since this attempt began."""
    audio_s: float | None
    attempt: int
    together: int = 1
    """How many recordings are transcribed together."""


@dataclass(frozen=True, slots=True)
class QueuedRecording:
    """A recording in the queue."""

    file: str
    priority: int
    reason: str
    """Why the last try failed; empty where there was none."""


@dataclass(frozen=True, slots=True)
class OutageNote:
    """What keeps the daemon from working on any recording."""

    code: str
    reason: str
    since: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What `dropscribe status` shows. The fields in this order are the keys of its JSON."""

    running: bool
    pid: int | None = None
    paused: bool
    inbox: str
    outbox: str
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Folders that the settings of whoever asks name instead of those that the running daemon has."""
    backend: str = ""
    backend_reason: str = ""
    model: str
    engine: str = ""
    """The model in memory and where it runs; empty when none is loaded."""
    counts: dict[str, int] = field(default_factory=dict)
    """Recordings by state; empty before the first daemon ran."""
    current: CurrentRecording | None = None
    """What the engine works on."""
    interrupted: CurrentRecording | None = None
    """The long recording between whose windows `current` goes."""
    queue: tuple[QueuedRecording, ...] = ()
    """What comes next, in its order; of a long queue the beginning."""
    trouble: OutageNote | None = None
    inbox_trouble: str = ""
    """Why the inbox cannot be read; empty when it can."""
    waiting: tuple[RecordingNote, ...] = ()
    """Recordings that cannot be read at present."""
    failures: tuple[RecordingNote, ...] = ()
    hooks: tuple[RecordingNote, ...] = ()
    """Hooks that failed, for good or so far; of many the newest."""
    hooks_failed: int = 0
    """How many hooks failed, for good or so far."""
    staying: tuple[RecordingNote, ...] = ()
    """Recordings that were to leave the inbox and have not."""
    stale: tuple[StaleRecording, ...] = ()
    language_uncertain: int = 0
    """Transcripts whose language may be another: `why` tells of each."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """Files in the inbox that are no recordings though somebody may have meant them, by `PassedOver`."""


def read_status(settings: Settings, *, stale: bool = True) -> StatusReport:
    """Return what the daemon of these settings does.

    Args:
        settings: whose daemon.
        stale: whether to look for outputs whose settings have changed, which compares every finished recording.

    Raises: DropscribeError when the journal cannot be opened; sqlite3.Error when it cannot be read.
    """
    alive = locks.is_running(settings.state)
    paused = requests.is_paused(settings.state)
    inbox, outbox = str(settings.inbox), str(settings.outbox)
    with lookup.read_journal(settings) as journal:
        if journal is None:
            return StatusReport(running=alive, paused=paused, inbox=inbox, outbox=outbox, model=settings.model)
        asked, settings = settings, lookup.adopt_folders(settings, journal)
        now = time.time()
        current, interrupted = _read_current(journal, settings.state, now) if alive else (None, None)
        return StatusReport(
            running=alive,
            pid=int(journal.get_meta("pid") or 0) or None if alive else None,
            paused=paused,
            inbox=str(settings.inbox),
            outbox=str(settings.outbox),
            elsewhere={
                name: str(getattr(asked, name))
                for name in ("inbox", "outbox")
                if getattr(asked, name) != getattr(settings, name)
            },
            backend=journal.get_meta("backend"),
            backend_reason=journal.get_meta("backend_reason"),
            model=journal.get_meta("model") or settings.model,
            engine=journal.get_meta("engine") if alive else "",
            counts=_count(journal, alive=alive),
            current=current,
            interrupted=interrupted,
            queue=tuple(
                QueuedRecording(lookup.format_name(r), r.priority, r.reason)
                for r in journal.recordings.list_queue(limit=_QUEUED)
            ),
            trouble=_read_outage(journal) if alive else None,
            inbox_trouble=journal.get_meta("inbox_trouble") if alive else "",
            waiting=tuple(_note(r) for r in journal.recordings.list_in(State.WAITING, limit=_NEWEST, newest=True)),
            failures=tuple(_note(r) for r in journal.recordings.list_in(State.FAILED, limit=_NEWEST, newest=True)),
            hooks=tuple(_note_hook(journal, h) for h in journal.hooks.list_failed(limit=_NEWEST)),
            hooks_failed=journal.hooks.count_failed(),
            staying=tuple(
                RecordingNote(lookup.format_name(r), "", why, lookup.format_minute(r.changed))
                for r, why in journal.sources.list_staying(limit=_NEWEST)
            ),
            stale=find_stale(settings, journal).recordings if stale else (),
            language_uncertain=journal.recordings.count_done(LANGUAGE_UNCERTAIN),
            passed_over=json.loads(journal.get_meta("passed_over", "{}")),
        )


def find_stale(settings: Settings, journal: Journal) -> StaleRecordings:
    """Return the finished recordings whose settings have changed since.

    A look at a file on a volume that is gone may never return. So another thread looks, for `STALE_SECONDS` at most.
    """
    current, inbox = lookup.read_profiles_in_force(settings, journal), lookup.open_inbox(settings)
    finished = journal.recordings.list_in(State.DONE, newest=True)
    places = journal.sources.list_archived()  # read here: the connection belongs to this thread
    stale: list[StaleRecording] = []
    away: list[Recording] = []

    def compare() -> None:
        for recording in finished:
            names = current.list_changes(recording.name, recording.settings)
            if names and _is_there(inbox, recording, places.get(recording.id)):
                stale.append(
                    StaleRecording(
                        lookup.format_name(recording), tuple(names), lookup.format_minute(recording.changed)
                    )
                )
            elif names:
                away.append(recording)

    thread = threading.Thread(target=compare, daemon=True)
    thread.start()
    thread.join(STALE_SECONDS)
    return StaleRecordings(tuple(stale), len(away))


def _is_there(inbox: Inbox, recording: Recording, archived: Path | None) -> bool:
    from dropscribe.supervisor import disposal  # which loads structlog, and few reports need it

    return disposal.stat_source(inbox, recording, archived) is not None


def _count(journal: Journal, *, alive: bool) -> dict[str, int]:
    counts = journal.recordings.count_by_state()
    if not alive:  # it was killed: the next start takes what it was working on from the queue
        counts[State.QUEUED] += counts[State.RUNNING]
        counts[State.RUNNING] = 0
    return {str(state): count for state, count in counts.items()}


def _read_current(
    journal: Journal, state: Path, now: float
) -> tuple[CurrentRecording | None, CurrentRecording | None]:
    """Return what is in progress: what the engine works on, and what waits for that."""
    running = {recording.id: recording for recording in journal.recordings.list_in(State.RUNNING)}
    found = [
        _describe_reading(running[reading.recording], reading, now)
        for reading in progress.read_readings(state)
        if reading.recording in running
    ]
    if found:
        return found[0], found[1] if len(found) > 1 else None
    first = next(iter(running.values()), None)
    return None if first is None else _describe_recording(first, journal.get_meta("phase"), now), None


def _describe_reading(recording: Recording, reading: progress.Reading, now: float) -> CurrentRecording:
    return CurrentRecording(
        file=lookup.format_name(recording),
        phase=reading.phase,
        percent=reading.percent,
        eta_s=reading.read_eta(now),
        elapsed_s=round(now - reading.started, 1),
        audio_s=reading.audio_s,
        attempt=recording.attempts,
        together=reading.together,
    )


def _describe_recording(recording: Recording, phase: str, now: float) -> CurrentRecording:
    """Describe what is in progress by the journal alone: a daemon of an older program writes no readings."""
    elapsed = now - (recording.started or now)
    percent = eta = None
    if recording.audio_s and phase == progress.TRANSCRIBING:
        percent = round(100 * recording.done_s / recording.audio_s, 1)
        if recording.done_s > 0:
            eta = round(elapsed * (recording.audio_s - recording.done_s) / recording.done_s)
    return CurrentRecording(
        file=lookup.format_name(recording),
        phase=phase or "beginning",
        percent=percent,
        eta_s=eta,
        elapsed_s=round(elapsed, 1),
        audio_s=recording.audio_s,
        attempt=recording.attempts,
    )


def _read_outage(journal: Journal) -> OutageNote | None:
    noted = journal.get_meta("trouble")
    if not noted:
        return None
    found = json.loads(noted)
    return OutageNote(found["code"], found["reason"], found["since"])


def _note(recording: Recording) -> RecordingNote:
    return RecordingNote(
        lookup.format_name(recording), recording.code, recording.reason, lookup.format_minute(recording.changed)
    )


def _note_hook(journal: Journal, hook: Hook) -> RecordingNote:
    recording = journal.recordings.get(hook.recording)
    reason = f"`{hook.way}` failed {lookup.format_times(hook.tries)}: {hook.problem}"
    if not hook.given_up:
        reason += " It is tried again."
    return RecordingNote(lookup.format_name(recording), hook.way, reason, lookup.format_minute(recording.changed))

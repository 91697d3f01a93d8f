"""`dropscribe retry`, `skip`, `redo`, `pause` and `resume`: what a person asks of the daemon.

Guarantees: the journal is only read; each request is a file in the state folder that is there whole or not at all,
so that the daemon, its only writer, acts on it now or when it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import count_recordings, say
from dropscribe.errors import Exit, NotRunningError, UsageError
from dropscribe.supervisor import disposal, locks, lookup, requests, status
from dropscribe.supervisor.explanation import describe_disposal, explain
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import LeavingState, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal


def retry(arguments: commands.Retry) -> int:
    """Ask the daemon to try failed recordings and hooks again."""
    chosen = settings.load().settings
    with lookup.read_journal(chosen) as journal:
        chosen = lookup.adopt_folders(chosen, journal)
        failed = _read_failed(journal)
        skipped = set() if journal is None else {r.id for r in journal.recordings.list_in(State.SKIPPED)}
        names = [_check_failed(chosen, journal, path, failed | skipped) for path in arguments.files]
    later = _leave_requests(chosen, *map(requests.Retry, [None] if arguments.all else names))
    count = len(failed) if arguments.all else len(names)
    say(f"{count_recordings(count)} will be tried again.{later}")
    return Exit.OK


def skip(arguments: commands.Skip) -> int:
    """Ask the daemon not to transcribe recordings that wait or are being transcribed."""
    chosen = settings.load().settings
    with lookup.read_journal(chosen) as journal:
        chosen = lookup.adopt_folders(chosen, journal)
        names = [_check_unfinished(chosen, journal, path) for path in arguments.files]
    later = _leave_requests(chosen, *map(requests.Skip, names))
    say(f"{count_recordings(len(names))} will be skipped.{later}")
    return Exit.OK


def redo(arguments: commands.Redo) -> int:
    """Ask the daemon to transcribe finished recordings again: those named, or those whose settings have changed."""
    if not arguments.files and not arguments.stale:
        raise UsageError("Nothing to transcribe again was named.", "Give files, or --stale.")
    chosen = settings.load().settings
    with lookup.read_journal(chosen) as journal:
        chosen = lookup.adopt_folders(chosen, journal)
        found = status.StaleRecordings()
        if journal is not None and arguments.stale:
            found = status.find_stale(chosen, journal)
        stale = {recording.file for recording in found.recordings}
        wanted = stale if arguments.stale else None
        names = list(_check_finished(chosen, journal, arguments.files, wanted))
    count = len(names) if arguments.files else len(stale)
    request = requests.Redo(tuple(names) if arguments.files else None, arguments.stale)
    later = _leave_requests(chosen, request) if count else ""
    say(f"{count_recordings(count)} will be transcribed again.{later}")
    if found.away and not arguments.files:
        say(f"{found.away} more would be, but the recording is neither in the inbox nor in the archive.")
    return Exit.OK


def pause() -> int:
    """Stop the daemon from giving out work, across restarts."""
    requests.pause(settings.load().settings.state)
    say("Paused. Nothing is transcribed until `dropscribe resume`.")
    return Exit.OK


def resume() -> int:
    """Let the daemon give out work again."""
    chosen = settings.load().settings
    requests.resume(chosen.state)
    if not locks.is_running(chosen.state):
        message = "No longer paused, but the daemon is not running."
        raise NotRunningError(message, "Start it: `dropscribe service start`.")
    say("No longer paused.")
    return Exit.OK


def _read_failed(journal: Journal | None) -> set[int]:
    """Return the ids of the recordings that failed, or of which a hook failed for good."""
    if journal is None:
        return set()
    recordings = {recording.id for recording in journal.recordings.list_in(State.FAILED)}
    return recordings | {hook.recording for hook in journal.hooks.list_given_up()}


def _check_failed(chosen: Settings, journal: Journal | None, path: Path, failed: set[int]) -> str:
    """Return the path as the daemon knows it. Raises: UsageError when it did not fail, and was not skipped."""
    recording = lookup.find_recording(chosen, journal, path)
    if recording is None or recording.id not in failed:
        raise UsageError(f"{path} did not fail.", explain(chosen, path).reason)
    return lookup.locate_in_inbox(chosen, path) or str(path)


def _check_unfinished(chosen: Settings, journal: Journal | None, path: Path) -> str:
    """Return the path as the daemon knows it. Raises: UsageError when there is nothing to skip."""
    explained = explain(chosen, path)
    if explained.state in {"outside", "ignored", "unknown", State.GONE}:
        raise UsageError(f"{path} is not waiting to be transcribed.", explained.reason)
    if explained.state in {State.DONE, State.FAILED}:
        recording = lookup.find_recording(chosen, journal, path)
        found = lookup.open_inbox(chosen).stat(lookup.locate_in_inbox(chosen, path) or str(path))
        if recording is None or found is None or found == Stat.of(recording):  # else there is another content now
            raise UsageError(f"{path} is not waiting to be transcribed.", explained.reason)
    return lookup.locate_in_inbox(chosen, path) or str(path)


def _check_finished(
    chosen: Settings, journal: Journal | None, paths: list[Path], wanted: set[str] | None
) -> Iterator[str]:
    """Yield those of the paths that are `wanted` (None: all) as the daemon knows them.

    Raises: UsageError when one is not finished, or its file is gone.
    """
    for path in paths:
        recording = lookup.find_recording(chosen, journal, path)
        if journal is None or recording is None or recording.state not in {State.DONE, State.FAILED}:
            raise UsageError(f"{path} is not done yet.", explain(chosen, path).reason)
        archived = journal.sources.find_archived(recording.id)
        if disposal.stat_source(lookup.open_inbox(chosen), recording, archived) is None:
            leaving = journal.sources.find(recording.id)
            why = "is no longer in the inbox"
            if leaving is not None and leaving.state is LeavingState.MOVED:
                why = f"was {describe_disposal(leaving)}, as set, and is not there now"
            raise UsageError(f"{path} {why}.", "Put it back to have it transcribed again.")
        if wanted is None or lookup.format_name(recording) in wanted:
            yield lookup.locate_in_inbox(chosen, path) or str(path)


def _leave_requests(chosen: Settings, *wanted: requests.Request) -> str:
    """Write requests for the daemon; return what to add to the message, empty when it acts on them now."""
    for request in wanted:
        requests.write_request(chosen.state, request)
    return "" if locks.is_running(chosen.state) else " The daemon is not running: it does so when it starts."

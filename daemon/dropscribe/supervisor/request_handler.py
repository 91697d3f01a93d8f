"""Acting on the requests of the command line: recordings and hooks that are to be tried or
transcribed again, and transcripts that were corrected.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.supervisor.correcting import CORRECTED, make_correction, read_transcript
from dropscribe.supervisor.journal import State, format_mark
from dropscribe.supervisor.profiles import Profiles
from dropscribe.supervisor.requests import Correct, Redo, Rename, Retry, Skip, Undo, write_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.hooks import Hooks
    from dropscribe.supervisor.intake import Intake
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Outage
    from dropscribe.supervisor.requests import Request
    from dropscribe.transcript import Correction


class RequestHandler:
    """The requests of one daemon. Every method is called by the thread that owns the journal."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        intake: Intake,
        hooks: Hooks,
        outage: Outage,
        call_off: Callable[[bytes, str], None],
    ) -> None:
        """`intake`, `hooks` and `outage` go on with what is asked for; `call_off` gives up the work on
        the recording of a key, for a reason.
        """
        self._call_off = call_off
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._hooks = hooks
        self._outage = outage
        self._log = structlog.get_logger()

    def act_on(self, request: Request) -> None:
        """Do what is asked for. Raises: ValueError, OSError for a name that no file can have."""
        match request:
            case Retry():
                self._retry(request)
            case Skip():
                self._skip(request)
            case Rename():
                self._rename(request)
            case Redo():
                self._redo(request)
            case Correct():
                self._correct(request)
            case Undo():
                self._undo(request)

    def _retry(self, request: Retry) -> None:
        """Queue a failed recording again, or all of them, and let failed hooks be run again."""
        key = None if request.file is None else self._intake.key(request.file)
        for recording in self._journal.recordings.list_in(State.FAILED):
            if key in {None, recording.key}:
                self._journal.recordings.retry(recording.id, time.time())
                self._intake.set_state(recording, State.QUEUED)
                self._log.info("job.retried", **recording.log_facts)
        named = None if key is None else self._journal.recordings.find(key)
        if named is not None and named.state == State.SKIPPED:
            self._intake.take_back(named)
            self._log.info("job.retried", **named.log_facts)
        if (key is None or named) and self._journal.hooks.retry(named.id if named else None):
            self._hooks.look_soon()
        self._outage.retry_now()

    def _skip(self, request: Skip) -> None:
        """Give up a recording that waits or is being transcribed, until it is asked for again."""
        self._call_off(self._intake.key(request.file), "a person skipped it")
        self._intake.skip(request.file)

    def _redo(self, request: Redo) -> None:
        """Queue recordings that are done or failed again: those that are named, or all."""
        keys = None if request.files is None else set(map(self._intake.key, request.files))
        profiles = Profiles(self._settings)
        wanted = [
            recording
            for recording in self._journal.recordings.list_in(State.DONE, State.FAILED)
            if (keys is None or recording.key in keys)
            and (not request.stale or _is_stale(recording, profiles))
            and self._intake.stat(recording) is not None
        ]
        marks = [(recording.id, format_mark(recording.changed)) for recording in wanted]
        self._journal.recordings.redo(marks, time.time(), discard_results=not request.stale)
        crash.reach("asked")
        for recording in wanted:
            self._intake.set_state(recording, State.QUEUED)
            self._log.info("job.redone", **recording.log_facts, stale=request.stale)

    def _rename(self, request: Rename) -> None:
        """Give the speakers of a finished recording other names, as a correction."""
        from dropscribe.library.corrections import list_names, rename_speaker

        recording = self._find_published(request)
        transcript = None if recording is None else read_transcript(self._journal, recording, self._settings)
        if recording is None or transcript is None:
            return
        known = list_names(transcript)
        edits = [rename_speaker(transcript, old, new) for old, new in request.names.items() if old in known]
        if edits:
            self._save_correction(recording, make_correction(edits))

    def _correct(self, request: Correct) -> None:
        """Save a correction, and publish its recording again where that is done."""
        recording = self._find_published(request)
        if recording is not None:
            self._save_correction(recording, request.correction)

    def _save_correction(self, recording: Recording, correction: Correction) -> None:
        """Save a correction. A recording that is being transcribed again is published with it later."""
        assert recording.sha256 is not None  # noqa: S101 (it has a transcript)
        self._journal.corrections.add(recording.id, recording.sha256, correction)
        self._log.info("correction.saved", **recording.log_facts, edits=len(correction.edits))
        self._publish_again(recording)

    def _undo(self, request: Undo) -> None:
        """Take back a correction of a recording, and publish it again."""
        recording = self._find_published(request)
        if recording is None:
            return
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        undone = self._journal.corrections.undo(recording, now, request.made)
        if undone is not None:
            self._log.info("correction.undone", **recording.log_facts, edits=len(undone.edits))
            self._publish_again(recording)

    def _find_published(self, request: Correct | Undo | Rename) -> Recording | None:
        """Return the recording that a request is about, or None where it has no transcript.

        While it is being published the request is left for the next look: files that a kill left half written are
        those of its last state, and would pass for files that a person edited.
        """
        recording = self._journal.recordings.find(self._intake.key(request.file))
        if recording is None or recording.sha256 is None or recording.result is None:
            self._log.warning("correction.refused", file=request.file, reason="it has no transcript")
            return None
        if recording.state == State.PUBLISHING:
            write_request(self._settings.state, request)
            return None
        return recording

    def _publish_again(self, recording: Recording) -> None:
        if recording.state != State.DONE or recording.result is None:
            return
        if self._journal.results.find(recording.result) is not None:
            self._journal.recordings.reuse_result(recording.id, time.time(), CORRECTED)
            crash.reach("asked")
            self._intake.set_state(recording, State.PUBLISHING)


def _is_stale(recording: Recording, profiles: Profiles) -> bool:
    return recording.state == State.DONE and bool(profiles.list_changes(recording.name, recording.settings))

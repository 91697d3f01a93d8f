"""Publishing a recording: its outputs go into the outbox, or the record of its failure does.

Guarantees: the files come first, then the journal says `done` or `failed`, so that a crash between
the two repeats the files and nothing else; an outbox that is gone, full or refuses leaves the
recording to be published later; a name that no waiting makes possible is a failure of the
recording.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash, formats
from dropscribe.errors import EnvironmentFaultError
from dropscribe.supervisor import hook_facts, names, outbox, result_options
from dropscribe.supervisor.assembly import find_text_language, finish_transcript
from dropscribe.supervisor.failure_record import format_failure, is_failure_record
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.outbox_faults import outbox_fault, outbox_missing, refuses_name
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dropscribe.settings import Settings
    from dropscribe.supervisor.disposal import Disposal
    from dropscribe.supervisor.hooks import Hooks
    from dropscribe.supervisor.intake import Intake
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Outage
    from dropscribe.supervisor.outbox import Published
    from dropscribe.supervisor.together import Together


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is."""

    file: str
    done_s: float
    """Seconds of its sound; NaN where the report is about a phase."""
    audio_s: float
    outcome: str = ""
    """`done`, `failed: why`, or empty while it runs."""
    phase: str = ""
    """What is done at present; empty in a report about a step."""
    percent: float | None = None
    """Of the phase; None while nothing can be said."""
    left_s: float | None = None
    """Seconds that are left; None while nothing can be said."""
    together: int = 1
    """How many recordings are transcribed together, of which `file` is one."""


class Publisher:
    """The outbox of one daemon. Every method is called by the thread that owns the journal.

    Every one that writes raises EnvironmentFaultError when the outbox cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        intake: Intake,
        hooks: Hooks,
        disposal: Disposal,
        outage: Outage,
        together: Together,
        progress: Callable[[Progress], None],
    ) -> None:
        """`intake`, `hooks`, `disposal` and `together` are notified of each recording that is
        published; `progress` is called with what came of it.
        """
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._hooks = hooks
        self._disposal = disposal
        self._outage = outage
        self._together = together
        self._progress = progress
        self._permissions = settings.permissions
        self._log = structlog.get_logger()
        self._is_volume = journal.get_meta("outbox_volume") == decode_name(settings.outbox)
        self.results = {"done": 0, "failed": 0}

    def publish(self, recording: Recording) -> None:
        """Write a recording's files. A full disk or a lost outbox leaves it to be published later."""
        self.check_outbox()
        started = time.monotonic()
        assert recording.result is not None  # noqa: S101
        stored = self._journal.results.find(recording.result)
        if stored is None:  # only damage from outside can do this
            self._journal.recordings.retry(recording.id, time.time())
            return
        in_force = result_options.restore_options(recording.settings, self._settings)
        transcript = finish_stored(Transcript.from_json(stored), recording, in_force)
        wanted = ("json",) if in_force.together else in_force.formats
        try:
            contents: dict[str, str | bytes] = {name: formats.render(name, transcript) for name in wanted}
        except ImportError as error:  # its library was there when the settings were read
            msg = f"A format cannot be written: {error}."
            raise EnvironmentFaultError("format-missing", msg, "Install Dropscribe again, with its extras.") from None
        crash.reach("rendered")
        try:
            published = self._write_outputs(recording, contents, find_text_language(transcript))
        except OSError as error:
            if refuses_name(error):
                why = f"The outbox cannot hold files of this name: {error.strerror or error}."
                self.quarantine(recording, "name-refused", f"{why} Give the recording another name.")
                return
            raise outbox_fault(self._settings.outbox, error) from None
        crash.reach("published")
        files, place = [p.path for p in published], self._intake.locate(recording)
        hooks = hook_facts.list_hooks_when_done(self._settings, recording, place, files, transcript)
        self._journal.finish(recording.id, published, time.time(), hooks=hooks, after=self._settings.after)
        crash.reach("committed")
        self._outage.end()
        self._intake.set_state(recording, State.DONE)
        self._intake.forget_moved(recording)
        self._hooks.look_soon()
        self._disposal.look_soon()
        self._together.mark(recording)
        self.results["done"] += 1
        self._log.info(
            "job.done",
            **recording.log_facts,
            files=[decode_name(p.path) for p in published],
            beside=[p.displaced_by for p in published if p.displaced_by] or None,
            seconds=round(time.monotonic() - started, 3),
        )
        self._progress(Progress(str(recording.name), transcript.duration, transcript.duration, outcome="done"))

    def _write_outputs(
        self, recording: Recording, contents: Mapping[str, str | bytes], language: str
    ) -> list[Published]:
        """Write the files, given by suffix, after the older ones were copied if they are
        to be kept.
        """
        folder, known = self._settings.outbox, self._journal.outputs.list_digests(recording.id)
        base = self._journal.outputs.choose_base(recording, self._settings.names, language)
        older = (
            outbox.keep_old_versions(folder, base, known, recording.redo, self._permissions) if recording.redo else []
        )
        if older:
            crash.reach("retired")
        published = outbox.publish(folder, base, contents, known, self._permissions)
        self._remove_failure(recording)
        for left in set(older) - {file.path for file in published}:  # a format that is no longer wanted
            outbox.remove_unchanged(folder, {left: known[left]})
        return published

    def quarantine(self, recording: Recording, code: str, reason: str) -> None:
        """Write the record of a failure into the outbox, then save the failure in the journal."""
        name = names.failure_path(recording.name)
        source = decode_name(self._settings.inbox / recording.name)
        when = time.strftime("%Y-%m-%d %H:%M:%S %z")
        data = format_failure(source, code, reason, when).encode("utf-8", "replace")
        try:
            self.check_outbox()
            try:
                outbox.write(self._settings.outbox, name, data, self._permissions)
            except OSError as error:
                if not refuses_name(error):
                    raise
                name = names.failure_path(PurePath(hashlib.sha256(recording.key).hexdigest()[:16]))
                outbox.write(self._settings.outbox, name, data, self._permissions)
        except OSError as error:
            self._journal.recordings.release(recording.id, code, reason)
            raise outbox_fault(self._settings.outbox, error) from None
        except EnvironmentFaultError:
            self._journal.recordings.release(recording.id, code, reason)
            raise
        crash.reach("quarantined")
        record = outbox.Published(name, hashlib.sha256(data).hexdigest())
        place = self._intake.locate(recording)
        hooks = hook_facts.list_hooks_when_failed(self._settings, recording, place, name, code, reason)
        self._journal.fail(recording.id, code, reason, record, time.time(), hooks=hooks)
        self._hooks.look_soon()
        self._intake.set_state(recording, State.FAILED)
        self._intake.forget_moved(recording)
        self.results["failed"] += 1
        self._log.error("job.failed", **recording.log_facts, code=code, reason=reason, record=decode_name(name))
        self._progress(Progress(str(recording.name), 0.0, 0.0, outcome=f"failed: {reason}"))

    def _remove_failure(self, recording: Recording) -> None:
        """Remove the record of an earlier failure if it is as we write it; the journal may not
        know of it.
        """
        path = self._settings.outbox / names.failure_path(recording.name)
        source = decode_name(self._settings.inbox / recording.name)
        try:
            if is_failure_record(source, path.read_text(encoding="utf-8", errors="replace")):
                path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and not refuses_name(error):
                raise

    def withdraw_failure(self, recording: Recording) -> None:
        """Remove the record of the failure of a recording that is not there any more."""
        written = self._journal.outputs.list_digests(recording.id)
        records = {path: digest for path, digest in written.items() if path.startswith(f"{names.FAILED}/")}
        try:
            outbox.remove_unchanged(self._settings.outbox, records)
            self._remove_failure(recording)
        except OSError as error:
            raise outbox_fault(self._settings.outbox, error) from None
        if records:
            self._log.info("failure.withdrawn", **recording.log_facts)

    def is_outbox_available(self) -> bool:
        """Return whether the outbox can be used. Where a volume was mounted, its bare mount point
        is no outbox.
        """
        if os.path.ismount(self._settings.outbox):
            if not self._is_volume:
                self._journal.set_meta(outbox_volume=decode_name(self._settings.outbox))
                self._is_volume = True
            return True
        return os.path.isdir(self._settings.outbox) and not self._is_volume  # noqa: PTH112 (it never raises)

    def check_outbox(self) -> None:
        """Raise EnvironmentFaultError `outbox-missing` when the outbox cannot be used."""
        if not self.is_outbox_available():
            raise outbox_missing(self._settings.outbox)


def finish_stored(transcript: Transcript, recording: Recording, in_force: Settings) -> Transcript:
    """Return a stored transcript as it is published under the name of a recording.

    It may have been made from the same recording under another name.
    """
    name, path = decode_name(recording.name.name), decode_name(recording.name)
    transcript = dataclasses.replace(transcript, source=dataclasses.replace(transcript.source, name=name, path=path))
    now = datetime.now().astimezone()
    return finish_transcript(transcript, recording.name, recording.mtime_ns, in_force, now)

"""Publishing a recording: its outputs go into the outbox, or the record of its failure does.

Guarantees: the files come first, then the journal says `done` or `failed`, so that a crash between
the two repeats the files and nothing else; an outbox that is gone, full or refuses leaves the
recording to be published later; a name that no waiting makes possible is a failure of the
recording.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash, formats
from dropscribe.errors import EnvironmentFaultError
from dropscribe.supervisor import correcting, guests, hook_facts, names, outbox, result_options
from dropscribe.supervisor.assembly import find_text_language
from dropscribe.supervisor.failure_record import format_failure, is_failure_record
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.outbox_faults import outbox_fault, outbox_missing, refuses_name
from dropscribe.transcript import LANGUAGE_UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dropscribe.settings import Settings
    from dropscribe.supervisor.disposal import Disposal
    from dropscribe.supervisor.hooks import Hooks
    from dropscribe.supervisor.indexing import Indexer
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
        indexer: Indexer,
        together: Together,
        progress: Callable[[Progress], None],
    ) -> None:
        """`intake`, `hooks`, `disposal`, `indexer` and `together` are notified of each recording that is
        published; `progress` is called with what came of it.
        """
        self._indexer = indexer
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
        if not recording.is_guest:
            self.check_outbox()
        started = time.monotonic()
        assert recording.result is not None  # noqa: S101
        stored = self._journal.results.find(recording.result)
        if stored is None:  # only damage from outside can do this
            self._journal.recordings.retry(recording.id, time.time())
            return
        in_force = result_options.restore_options(recording.settings, self._settings)
        original = correcting.finish_recording(recording, stored, self._settings)
        if recording.is_guest:
            guests.answer(self._journal, recording, original)
            self._log.info("guest.answered", job_id=recording.id, seconds=round(time.monotonic() - started, 3))
            return
        corrected = correcting.correct_recording(self._journal, recording, original)
        transcript = original if corrected is None else corrected.transcript
        wanted = ("json",) if in_force.together else in_force.formats
        try:
            contents: dict[str, str | bytes] = {
                name: formats.render(name, transcript, srt_speakers=in_force.srt_speakers) for name in wanted
            }
        except ImportError as error:  # its library was there when the settings were read
            msg = f"A format cannot be written: {error}."
            raise EnvironmentFaultError("format-missing", msg, "Install Dropscribe again, with its extras.") from None
        if corrected is not None:
            contents[correcting.ORIGINAL] = original.to_json()
            if corrected.unfit:
                self._log.warning("correction.unfit", **recording.log_facts, edits=len(corrected.unfit))
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
        doubts = [(each.code, each.detail) for each in transcript.warnings if each.code == LANGUAGE_UNCERTAIN]
        self._journal.finish(
            recording.id,
            published,
            time.time(),
            hooks=hooks,
            after=self._settings.after,
            doubt=doubts[0] if doubts else ("", ""),
        )
        crash.reach("committed")
        self._outage.end()
        self._indexer.add(published)
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
        edited: list[Published] = []
        if recording.code == correcting.CORRECTED:
            edited = self._find_edited(recording.id, base, known, contents)
            contents = {
                s: text for s, text in contents.items() if s not in {_find_suffix(base, e.path) for e in edited}
            }
        published = [
            *edited,
            *outbox.publish(folder, base, contents, known, self._permissions),
        ]  # the JSON is the last
        self._remove_failure(recording)
        for left in set(older) - {file.path for file in published}:  # a format that is no longer wanted
            outbox.remove_unchanged(folder, {left: known[left]})
        return published

    def _find_edited(
        self, recording: int, base: str, known: Mapping[str, str], contents: Mapping[str, str | bytes]
    ) -> list[Published]:
        """Return the outputs, but for the JSON, that a person edited and of which nothing unedited is there.

        One that is as it is to be written, of `contents`, was written before a kill.
        """
        beside = self._journal.outputs.list_displaced(recording)
        changed = set()
        for path, digest in known.items():
            new = contents.get(_find_suffix(base, path), b"")
            new = new.encode("utf-8", "replace") if isinstance(new, str) else new
            if outbox.is_changed(self._settings.outbox / path, digest, hashlib.sha256(new).hexdigest()):
                changed.add(path)
        kept = {_find_suffix(base, path) for path in known if path not in changed} | {"json"}
        return [
            outbox.Published(path, known[path], beside.get(path))
            for path in sorted(changed)
            if path.startswith(base) and _find_suffix(base, path) not in kept
        ]

    def quarantine(self, recording: Recording, code: str, reason: str) -> None:
        """Write the record of a failure into the outbox, then save the failure in the journal."""
        if recording.is_guest:
            guests.answer_failure(self._journal, recording, code, reason)
            self._log.info("guest.refused", job_id=recording.id, code=code)
            return
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


def _find_suffix(base: str, path: str) -> str:
    """Return the suffix of an output, whose name may have a number behind the base."""
    return path.removeprefix(base).partition(".")[2]

"""What comes out of a recording: its outputs in the outbox, or the record of its failure.

Guarantees: the files come first, then the journal says `done` or `failed`, so that a crash between the two repeats
the files and nothing else; an outbox that is gone, full or refuses leaves the recording to be delivered later; a name
that no waiting makes possible is a failure of the recording.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash, formats, recording_date
from dropscribe.errors import EnvironmentFaultError
from dropscribe.formats import replacements, review
from dropscribe.supervisor import hooks, outbox, profiles
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.outbox import readable
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.disposal import Afterwards
    from dropscribe.supervisor.intake import Intake
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Trouble


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is."""

    file: str
    done_s: float
    audio_s: float
    outcome: str = ""
    """`done`, `failed: why`, or empty while it runs."""


class Delivery:
    """The outbox of one daemon. Every method is called by the thread that owns the journal.

    Every one that writes raises EnvironmentFaultError when the outbox cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        intake: Intake,
        hooks: hooks.Hooks,
        afterwards: Afterwards,
        trouble: Trouble,
        progress: Callable[[Progress], None],
    ) -> None:
        """What is delivered is told to `intake`, `hooks`, `afterwards`, which go on from there, and to `progress`."""
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._hooks = hooks
        self._afterwards = afterwards
        self._trouble = trouble
        self._progress = progress
        self._log = structlog.get_logger()
        self._is_volume = journal.meta("outbox_volume") == readable(settings.outbox)
        self.results = {"done": 0, "failed": 0}

    def publish(self, recording: Recording) -> None:
        """Write a recording's files. A full disk or a lost outbox leaves it to be published later."""
        self.check_outbox()
        started = time.monotonic()
        assert recording.result is not None  # noqa: S101
        stored = self._journal.result(recording.result)
        if stored is None:  # only damage from outside can do this
            self._journal.retry(recording.id, time.time())
            return
        transcript = Transcript.from_json(stored)
        # It may have been made from the same recording under another name.
        now = datetime.now().astimezone()
        recorded_at, recorded_from = recording_date.find_date(
            transcript.source, recording.name, recording.mtime_ns, now
        )
        source = dataclasses.replace(
            transcript.source,
            name=readable(recording.name.name),
            path=readable(recording.name),
            recorded_at=recorded_at,
            recorded_from=recorded_from,
        )
        used = profiles.restored(recording.settings, self._settings)
        transcript = replacements.replace(dataclasses.replace(transcript, source=source), used.replacements)
        transcript = dataclasses.replace(transcript, review=review.review(transcript))
        contents = {name: formats.RENDERERS[name](transcript) for name in used.formats}
        known = self._journal.outputs(recording.id)
        crash.reach("rendered")
        try:
            base = self._journal.base(recording)
            older = outbox.keep(self._settings.outbox, base, known, recording.redo) if recording.redo else []
            if older:
                crash.reach("retired")
            published = outbox.publish(self._settings.outbox, base, contents, known)
            self._remove_failure(recording)
            for left in set(older) - {p.path for p in published}:  # a format that is no longer wanted
                outbox.remove(self._settings.outbox, {left: known[left]})
        except OSError as error:
            if _refuses_name(error):
                why = f"The outbox cannot hold files of this name: {error.strerror or error}."
                self.quarantine(recording, "name-refused", f"{why} Give the recording another name.")
                return
            raise _outbox_fault(self._settings.outbox, error) from None
        crash.reach("published")
        files, place = [p.path for p in published], self._intake.place(recording)
        run = hooks.about(self._settings, recording, place, "done", files, transcript)
        self._journal.done(recording.id, published, time.time(), hooks=run, after=self._settings.after)
        crash.reach("committed")
        self._trouble.over()
        self._intake.note(recording, State.DONE)
        self._intake.forget_moved(recording)
        self._hooks.added()
        self._afterwards.added()
        self.results["done"] += 1
        self._log.info(
            "job.done",
            **recording.told,
            files=[readable(p.path) for p in published],
            beside=[p.beside for p in published if p.beside] or None,
            seconds=round(time.monotonic() - started, 3),
        )
        self._progress(Progress(str(recording.name), transcript.duration, transcript.duration, outcome="done"))

    def quarantine(self, recording: Recording, code: str, reason: str) -> None:
        """Write the record of a failure into the outbox, then note it."""
        name = outbox.failure_path(recording.name)
        source = readable(self._settings.inbox / recording.name)
        when = time.strftime("%Y-%m-%d %H:%M:%S %z")
        data = outbox.failure_record(source, code, reason, when).encode("utf-8", "replace")
        try:
            self.check_outbox()
            try:
                outbox.write(self._settings.outbox, name, data)
            except OSError as error:
                if not _refuses_name(error):
                    raise
                name = outbox.failure_path(PurePath(hashlib.sha256(recording.key).hexdigest()[:16]))
                outbox.write(self._settings.outbox, name, data)
        except OSError as error:
            self._journal.release(recording.id, code, reason)
            raise _outbox_fault(self._settings.outbox, error) from None
        except EnvironmentFaultError:
            self._journal.release(recording.id, code, reason)
            raise
        crash.reach("quarantined")
        record = outbox.Published(name, hashlib.sha256(data).hexdigest())
        place = self._intake.place(recording)
        run = hooks.about(self._settings, recording, place, "failed", [name], code=code, reason=reason)
        self._journal.fail(recording.id, code, reason, record, time.time(), hooks=run)
        self._hooks.added()
        self._intake.note(recording, State.FAILED)
        self._intake.forget_moved(recording)
        self.results["failed"] += 1
        self._log.error("job.failed", **recording.told, code=code, reason=reason, record=readable(name))
        self._progress(Progress(str(recording.name), 0.0, 0.0, outcome=f"failed: {reason}"))

    def _remove_failure(self, recording: Recording) -> None:
        """Remove the record of an earlier failure if it is as we write it; the journal may not know of it."""
        path = self._settings.outbox / outbox.failure_path(recording.name)
        source = readable(self._settings.inbox / recording.name)
        try:
            if outbox.is_failure_record(source, path.read_text(encoding="utf-8", errors="replace")):
                path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and not _refuses_name(error):
                raise

    def outbox_is_there(self) -> bool:
        """Return whether the outbox can be used. Where a volume was mounted, its bare mount point is no outbox."""
        if os.path.ismount(self._settings.outbox):
            if not self._is_volume:
                self._journal.note(outbox_volume=readable(self._settings.outbox))
                self._is_volume = True
            return True
        return os.path.isdir(self._settings.outbox) and not self._is_volume  # noqa: PTH112 (it never raises)

    def check_outbox(self) -> None:
        """Raise EnvironmentFaultError `outbox-missing` when the outbox cannot be used."""
        if not self.outbox_is_there():
            raise EnvironmentFaultError(
                "outbox-missing",
                f"The outbox {self._settings.outbox} is not there.",
                "Make it again or bring its volume back; the work goes on by itself.",
            )


def _refuses_name(error: OSError) -> bool:
    """Return whether a folder refused a name, which no waiting cures: too long, not its characters, a file's name."""
    return isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError) or error.errno in {
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ELOOP,
    }


def _outbox_fault(folder: Path, error: OSError) -> EnvironmentFaultError:
    cures = {
        errno.ENOSPC: (
            "disk-full",
            "The disk of the outbox is full.",
            "Free some space; the work goes on by itself.",
        ),
        errno.EDQUOT: (
            "disk-full",
            "The disk quota is used up.",
            "Free some space; the work goes on by itself.",
        ),
        errno.EROFS: (
            "outbox-readonly",
            "The outbox is on a read-only disk.",
            "Make it writable or choose another.",
        ),
        errno.EACCES: ("outbox-refused", "The outbox may not be written.", "Grant access or choose another."),
        errno.EPERM: ("outbox-refused", "The outbox may not be written.", "Grant access or choose another."),
    }
    found = cures.get(error.errno or 0)
    if found is None:
        return EnvironmentFaultError("outbox-unwritable", f"The outbox {folder} cannot be written: {error}.")
    return EnvironmentFaultError(*found)

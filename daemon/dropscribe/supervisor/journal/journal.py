"""The open journal, and the steps of a recording that concern several tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dropscribe.supervisor.journal.corrections import Corrections
from dropscribe.supervisor.journal.database import Database
from dropscribe.supervisor.journal.hooks import HookQueue
from dropscribe.supervisor.journal.outputs import Outputs
from dropscribe.supervisor.journal.recordings import Recordings
from dropscribe.supervisor.journal.records import (
    AdoptedSet,
    DisposalWay,
    InboxFile,
    NewHook,
    Recording,
    State,
    encode_text,
    format_mark,
)
from dropscribe.supervisor.journal.results import Results
from dropscribe.supervisor.journal.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropscribe.supervisor.outbox import Published


class Journal(Database):
    """The open journal: a context manager that closes it.

    Every method may raise sqlite3.OperationalError (disk full, read-only, gone).
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open `path`, making it if need be.

        Raises: JournalError when it is of a newer program; sqlite3.DatabaseError when it is
        damaged.
        """
        super().__init__(path, readonly=readonly)
        self.recordings = Recordings(self)
        self.results = Results(self)
        self.outputs = Outputs(self)
        self.hooks = HookQueue(self)
        self.sources = Sources(self, self.recordings)
        self.corrections = Corrections(self)

    # Facts about the daemon itself

    def get_meta(self, name: str, default: str = "") -> str:
        """Return a fact that the daemon keeps about itself."""
        row = self.read("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else default

    def set_meta(self, **values: str) -> None:
        """Save facts that the daemon keeps about itself."""
        with self.transaction() as db:
            rows = [(name, encode_text(value)) for name, value in values.items()]
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    # The steps of a recording

    def enqueue(self, file: InboxFile, sha256: str, now: float) -> bool:
        """Take in a settled file. Returns False for a known one that only has a new date, which is
        saved.

        What comes under the name of a recording that left is a new one, whether we moved it away
        or a person did: the outputs of the old one are kept next to its own, for nothing else may
        be left of it. Finished windows of the old content are dropped when no other recording has
        it.
        """
        with self.transaction():
            old = self.recordings.find(file.key)
            moved = old is not None and self.sources.has_moved(old.id)
            if old is not None and old.state == State.SKIPPED and old.sha256 is None and not moved:
                self.recordings.save_digest(file, sha256)  # it was skipped before it was digested
                return False
            lost = old is not None and old.state == State.FAILED and old.missing  # with it, the record of its failure
            if old is not None and old.sha256 == sha256 and old.state != State.GONE and not moved and not lost:
                self.recordings.update_file(file)
                return False
            self.recordings.put_in_queue(file, sha256, now)
            if old is None:
                return True
            another = old.sha256 != sha256 or old.content_changed  # than the outputs, if any, were made of
            if (moved or old.missing) and another and not old.redo:
                self.recordings.keep_outputs_under(format_mark(old.changed), file.key)
            self.sources.drop(old.id)  # what was to become of the old file does not concern the new one
            old_contents = {old.sha256, (old.result or "").partition(":")[0]}
            for content in old_contents - {None, "", sha256}:
                self.results.drop_unused_checkpoints(str(content))
        return True

    def requeue_archived(self, recording: Recording, found: InboxFile, sha256: str, now: float) -> None:
        """Queue a recording again whose file was changed where we archived it."""
        with self.transaction():
            self.recordings.put_in_queue(found, sha256, now)
            if recording.sha256 is not None:
                self.results.drop_unused_checkpoints(recording.sha256)

    def claim(
        self, fingerprint: str, now: float, settings: str = "", *, recording: int | None = None
    ) -> Recording | None:
        """Take the first of the queue: it is running now and the attempt is counted.

        A stored result is dropped when the recording was asked for without it.

        Args:
            fingerprint: stands for the settings that change a result; with the digest it names the
                result.
            now: the time.
            settings: JSON of the settings in force, to be saved.
            recording: take this one instead.
        """
        with self.transaction():
            claimed = self.recordings.take(recording, fingerprint, now, settings)
            if claimed is not None and claimed.discard_result and claimed.result is not None:
                self.results.drop(claimed.result)
        return claimed

    def save_checkpoint(
        self, recording: Recording, part: int, payload: dict[str, Any], done_s: float, audio_s: float
    ) -> None:
        """Save a finished part of the work (0 is the plan) and how far it has come."""
        with self.transaction():
            self.results.store_checkpoint(_result_key(recording), part, payload)
            self.recordings.save_progress(recording.id, done_s, audio_s)

    def store_result(
        self, recording: Recording, transcript: str, speed: float, now: float, *, sound: str = ""
    ) -> None:
        """Store a finished transcript; the recording is being published now and its checkpoints
        are gone.

        `sound` is the digest of its decoded samples: under the same settings another file with the
        same sound has the same result.
        """
        key = _result_key(recording)
        with self.transaction():
            self.results.store(key, transcript, now, _sound_key(recording, sound))
            self.results.drop_checkpoints(key)
            self.recordings.mark_transcribed(recording.id, speed, now)

    def find_by_sound(self, recording: Recording, sound: str) -> str | None:
        """Return the transcript, as JSON, that a claimed recording has in common with another file.

        `sound` is the digest of its decoded samples. None where a stored result will not do.
        """
        if recording.discard_result or not sound:
            return None
        return self.results.find_by_sound(_sound_key(recording, sound))

    def finish(
        self,
        recording: int,
        published: Sequence[Published],
        now: float,
        *,
        hooks: Sequence[NewHook] = (),
        after: str = "keep",
        doubt: tuple[str, str] = ("", ""),
    ) -> None:
        """Save that all files are in the outbox.

        Args:
            recording: whose files.
            published: the files.
            now: the time.
            hooks: those that are to be run.
            after: the setting that says what becomes of the source.
            doubt: code and reason, where a person should look at the transcript.
        """
        with self.transaction():
            self.hooks.add(recording, hooks)
            if after != "keep":
                self.sources.plan(recording, DisposalWay(after))
            self.outputs.replace(recording, published)
            self.recordings.mark_done(recording, now, *doubt)

    def fail(
        self,
        recording: int,
        code: str,
        reason: str,
        record: Published,
        now: float,
        *,
        hooks: Sequence[NewHook] = (),
    ) -> None:
        """Quarantine a recording; `record` is the file that says so, `hooks` are as for `finish`."""
        with self.transaction():
            self.hooks.add(recording, hooks)
            self.outputs.add(recording, [record])
            self.recordings.mark_failed(recording, code, reason, now)

    def forget_guest(self, recording: int) -> None:
        """Drop all that is known of a recording that another program sent, but what others have as well."""
        with self.transaction() as db:
            row = db.execute("DELETE FROM recordings WHERE id = ? RETURNING sha256, result", (recording,)).fetchone()
            if row is None:
                return
            db.execute(
                "DELETE FROM results WHERE key = ?"
                " AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.result = results.key)",
                (row["result"],),
            )
            self.results.drop_unused_checkpoints(row["sha256"])

    def adopt(self, found: AdoptedSet, now: float) -> bool:
        """Take in, as done, a recording whose outputs were found in the outbox; False if it is
        known already.

        Its time is not known: the next scan digests it and finds it unchanged.
        """
        result = f"{found.sha256}:{found.fingerprint}"
        with self.transaction() as db:
            self.results.store_if_new(result, found.transcript, now)
            row = db.execute(
                "INSERT OR IGNORE INTO recordings"
                " (key, path, size, mtime_ns, sha256, result, state, base, settings, seen, changed)"
                " VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    found.key,
                    os.fsencode(found.path),
                    found.size,
                    found.sha256,
                    result,
                    State.DONE,
                    os.fsencode(found.base),
                    found.settings,
                    now,
                    now,
                ),
            ).fetchone()
            if row is None:
                return False
            self.outputs.take_base(found.base, row["id"])
            self.outputs.add(row["id"], found.published)
            for correction in found.corrections:
                self.corrections.add(row["id"], found.sha256, correction)
        return True


def _sound_key(recording: Recording, sound: str) -> str:
    return f"{sound}:{_result_key(recording).partition(':')[2]}" if sound else ""


def _result_key(recording: Recording) -> str:
    assert recording.result is not None  # noqa: S101 (claim sets it)
    return recording.result

"""What is worked on next: recordings are claimed from the queue, alone or as a pack, and put back.

Guarantees: first come, first served; nothing is transcribed that is no longer the file that was
digested, that the settings forbid, or whose result is known already; the settings in force for a
recording are those of this moment.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.supervisor import profiles, result_options
from dropscribe.supervisor.digesting import UNREAD
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.result_options import read_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.intake import Intake
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.publisher import Publisher

ALONE = "alone"
"""The journal's code of a recording that was packed once and must be transcribed alone now."""


@dataclass(frozen=True, slots=True)
class PackLimits:
    """Which recordings the worker is given at once."""

    recordings: int = 128
    """With clips of a few seconds these make some full batches of windows. The worker holds at
    most an hour of sound (250 MB) for them; each is published as soon as its window is done."""
    bytes: int = 8_000_000
    """A larger file is not packed: it would hardly be short. 30 s of stereo in 24 bits have as
    many."""
    gather_s: float = 2.0
    """Seconds that the first of many short recordings waits while others are digested."""


PACK_LIMITS = PackLimits()


class Scheduler:
    """The queue of one daemon. Every method is called by the thread that owns the journal."""

    def __init__(self, settings: Settings, journal: Journal, intake: Intake, publisher: Publisher) -> None:
        """A file that left goes back to `intake`; a known result, or a failure before any work, to
        `publisher`.
        """
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._publisher = publisher
        self._log = structlog.get_logger()

    def claim(self, first: Recording) -> list[tuple[Recording, Settings]]:
        """Claim the first of the queue; if it is short, also those right behind it that may share
        its windows.

        Only what waits already, and nobody is overtaken: one that is large or has other settings
        ends the pack.

        Returns:
            Each recording with the settings in force for it; none when no work of the engine is
            needed or possible.
        """
        chosen = self._read_settings(first)
        if chosen is None:
            return []
        short = self._may_pack(first, chosen)
        if short and self._intake.is_busy and abs(time.time() - first.changed) < PACK_LIMITS.gather_s:
            return []  # those that were dropped with it come in a moment
        taken = self._claim_one(chosen)
        pack = [] if taken is None else [(taken, chosen)]
        known = profiles.Profiles(self._settings)
        while pack and short and len(pack) < PACK_LIMITS.recordings:
            found = self._journal.recordings.peek_queue()
            # A copy of one of them waits for its result.
            if found is None or any(found.sha256 == recording.sha256 for recording, _ in pack):
                break
            try:
                own = known.resolve(found.name).settings
            except profiles.ProfileError:
                break
            if read_options(own) != read_options(chosen) or not self._may_pack(found, own):
                break
            if (taken := self._claim_one(own)) is None:
                break  # it may be first in the queue again: the inbox left, or it is just being archived
            pack.append((taken, own))
        return pack

    def _may_pack(self, queued: Recording, chosen: Settings) -> bool:
        """Return whether a recording may share windows: it seems short, and nothing was done for
        it yet.
        """
        if not chosen.pack or chosen.channels or queued.attempts or queued.code == ALONE:
            return False
        if chosen.whisperx_diarizer and chosen.backend in {"auto", "whisperx"}:
            return False  # it would number the speakers of all recordings together
        if not 0 < queued.size <= PACK_LIMITS.bytes or self._intake.is_too_large(queued.size):
            return False
        key = f"{queued.sha256}:{result_options.fingerprint(read_options(chosen))}"
        return self._journal.results.find(key) is None and not self._journal.results.list_checkpoints(key)

    def _claim_one(self, chosen: Settings) -> Recording | None:
        """Take the first of the queue; None when it needs no work of the engine."""
        fingerprint, used = (
            result_options.fingerprint(read_options(chosen)),
            json.dumps(result_options.read_output_options(chosen)),
        )
        recording = self._journal.claim(fingerprint, time.time(), used)
        assert recording is not None  # noqa: S101 (nobody else takes from the queue)
        assert recording.result is not None  # noqa: S101 (claim sets it)
        crash.reach("claimed")
        claimed = Stat.of(recording)
        self._intake.set_state(recording, State.RUNNING)
        found = self._intake.stat(recording)
        if found != claimed or (recording.sha256 == UNREAD and not self._intake.is_too_large(recording.size)):
            self.release_changed(recording, found)
            return None
        if self._intake.is_too_large(recording.size):
            reason = f"It has {recording.size / 1e9:.1f} GB, more than the setting `max_gigabytes` allows."
            self._publisher.quarantine(recording, "too-large", f"{reason} Set it higher, then retry.")
            return None
        if self._journal.results.find(recording.result) is not None:
            self._log.info("job.known", **recording.log_facts)
            self._journal.recordings.reuse_result(recording.id, time.time())
            self._intake.set_state(recording, State.PUBLISHING)
            self._publisher.publish(self._journal.recordings.get(recording.id))
            return None
        return recording

    def _read_settings(self, recording: Recording) -> Settings | None:
        """Return the settings in force for a recording; None when they are unknown.

        A wrong profile is a failure of the recording.
        """
        if self._intake.stat(recording) is None:  # it left, and maybe the whole inbox did
            return self._settings
        if not self._intake.is_there:  # it is archived, but its profiles are away
            self._intake.scan_soon()
            return None
        try:
            return profiles.Profiles(self._settings).resolve(recording.name).settings
        except profiles.ProfileError as error:
            self._publisher.quarantine(recording, profiles.WRONG, f"{error} {profiles.CORRECT_IT}")
            return None

    def put_back(self, recordings: Iterable[Recording], code: str = "", reason: str = "") -> None:
        """Put claimed recordings back where they were in the queue; the attempt does not count."""
        for recording in recordings:
            self._journal.recordings.release(recording.id, code, reason)
            self._intake.set_state(recording, State.QUEUED)

    def release_changed(self, recording: Recording, found: Stat | None) -> None:
        """Release a claimed recording whose file is not the digested one any more, but `found`
        (`Intake.stat`).
        """
        if (place := self._journal.sources.find_archived(recording.id)) is None:
            self._intake.give_back(recording, found)
            return
        reason = f"Its file was archived as {decode_name(place)} and is not there any more, or was changed."
        self._publisher.quarantine(recording, "archive-missing", f"{reason} Bring it back, then retry.")

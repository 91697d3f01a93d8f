"""What is worked on next: recordings are claimed from the queue, alone or as a pack, and put back.

Guarantees: of equal priority, first come, first served, but that short ones may go between the
windows of a long one; nothing is transcribed that is no longer the file that was digested, that the
settings forbid, or whose result is known already; the settings in force for a recording are those
of this moment.
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

LONG = "long"
"""The journal's code of a recording that was found too long to go between the windows of another."""


@dataclass(frozen=True, slots=True)
class BetweenLimits:
    """What may go between the windows of a long recording, and when."""

    least_left_s: float = 60.0
    """Seconds of sound. The end of a recording that has less left is near: with any engine that is fit
    for use, what waits has less to wait than it would itself disturb."""
    seconds: float = 30.0
    """Seconds of sound that may go between in any case: one window, as the clips of a pack have."""
    share_of_left: float = 0.1
    """Of what the long one has left, this may go between at once: it delays its end by so much."""
    most_seconds: float = 600.0
    """Nothing can go between what goes between, so that itself must be short."""
    urgent_seconds: float = 3600.0
    """The same for a recording of a higher priority, which is meant to delay the others."""
    recordings: int = 32
    """A pack between windows: 16 minutes of sound at most, as above."""
    looked_at: int = 200
    """Recordings of the queue, from its start, that are looked at."""


BETWEEN_LIMITS = BetweenLimits()
_RANKED = 20
"""Recordings whose priority is looked up again, at most, before one of them is taken."""


@dataclass(frozen=True, slots=True)
class Room:
    """Room for others between the windows of a recording that is being transcribed."""

    recording: Recording
    settings: Settings
    """Those in force for it."""
    left_s: float
    """Seconds of its sound that are not transcribed yet."""

    def limit_seconds(self, recording: Recording) -> float:
        """Return how long a recording may be to go between."""
        limits = BETWEEN_LIMITS
        if recording.priority > self.recording.priority:
            return limits.urgent_seconds
        return min(max(limits.seconds, limits.share_of_left * self.left_s), limits.most_seconds)


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
        if short and self._is_gathering(first):
            return []
        taken = self._claim_one(first, chosen)
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
            if (taken := self._claim_one(found, own)) is None:
                break  # it may be first in the queue again: the inbox left, or it is just being archived
            pack.append((taken, own))
        return pack

    def claim_between(self, room: Room) -> list[tuple[Recording, Settings]]:
        """Claim what may go between the windows of a long recording: the first that may, alone or with
        others in its windows.

        Long ones are passed over. How long a file is shows only when it is decoded: the worker
        gives back what is longer than `Room.limit_seconds`, and it is not tried again.

        Returns:
            As `claim`.
        """
        known = profiles.Profiles(self._settings)
        pack: list[tuple[Recording, Settings]] = []
        contents = {room.recording.sha256}  # a copy waits for the result
        for queued in self._journal.recordings.list_queue(limit=BETWEEN_LIMITS.looked_at):
            if len(pack) >= BETWEEN_LIMITS.recordings:
                break
            if queued.attempts or queued.code == LONG or queued.reason or queued.sha256 in contents:
                continue
            try:
                own = known.resolve(queued.name).settings
            except profiles.ProfileError:
                if not pack and self._read_settings(queued) is None:
                    return []  # that is its failure, and needs no engine
                continue
            if own.model != room.settings.model:
                continue
            short = self._may_pack(queued, own)
            if pack and not (short and read_options(own) == read_options(pack[0][1])):
                continue
            if not pack and short and self._is_gathering(queued):
                return []
            if (taken := self._claim_one(queued, own)) is None:
                return pack
            pack.append((taken, own))
            contents.add(taken.sha256)
            if not short:
                break
        return pack

    def peek(self) -> Recording | None:
        """Return the first of the queue, its priority as the profiles have it now."""
        first = None
        for _ in range(_RANKED):
            first = self._journal.recordings.peek_queue()
            if first is None or not self._rank([first]):
                break
        return first

    def foresee(self) -> tuple[Recording, Settings] | None:
        """Return the recording that is likely to be claimed next, alone, with the settings in force for
        it; None when it needs no sound, may share windows, or was tried before.

        Nothing is claimed, and another one may be.
        """
        first = self.peek()
        if first is None or first.attempts or first.reason or self._intake.is_too_large(first.size):
            return None
        try:
            own = profiles.Profiles(self._settings).resolve(first.name).settings
        except profiles.ProfileError:
            return None
        keys = {result_options.result_key(first.sha256, own, speakers=named) for named in (True, False)}
        if any(self._journal.results.find(key) for key in keys) or self._may_pack(first, own):
            return None
        return (first, own) if self._intake.stat(first) == Stat.of(first) else None

    def rank_new(self, key: bytes) -> None:
        """Save the priority of a recording that was just taken in."""
        recording = self._journal.recordings.find(key)
        if recording is not None:
            self._rank([recording])

    def rank_queue(self) -> None:
        """Save the priorities of all that is queued: a profile has changed."""
        self._rank(self._journal.recordings.list_queue())

    def _rank(self, recordings: Iterable[Recording]) -> int:
        """Save the priorities of recordings where they are not right; return of how many."""
        known, wrong = profiles.Profiles(self._settings), []
        for recording in recordings:
            try:
                priority = known.resolve(recording.name).settings.priority
            except profiles.ProfileError:  # it fails for that when its turn comes
                continue
            if priority != recording.priority:
                wrong.append((recording.id, priority))
        if wrong:
            self._journal.recordings.set_priorities(wrong)
        return len(wrong)

    def _is_gathering(self, first: Recording) -> bool:
        """Return whether the first of many short recordings waits for those that were dropped with it."""
        return self._intake.is_busy and abs(time.time() - first.changed) < PACK_LIMITS.gather_s

    def _may_pack(self, queued: Recording, chosen: Settings) -> bool:
        """Return whether a recording may share windows: it seems short, and nothing was done for
        it yet.
        """
        if not chosen.pack or chosen.channels or queued.attempts or queued.code in {ALONE, LONG}:
            return False
        if chosen.whisperx_diarizer and chosen.backend in {"auto", "whisperx"}:
            return False  # it would number the speakers of all recordings together
        if not 0 < queued.size <= PACK_LIMITS.bytes or self._intake.is_too_large(queued.size):
            return False
        key = result_options.result_key(queued.sha256, chosen)
        results = self._journal.results
        if chosen.speakers and results.find(result_options.result_key(queued.sha256, chosen, speakers=False)):
            return False  # only its speakers are to be found
        return results.find(key) is None and not results.list_checkpoints(key)

    def _claim_one(self, queued: Recording, chosen: Settings) -> Recording | None:
        """Take a recording from the queue; None when it needs no work of the engine."""
        fingerprint, used = (
            result_options.fingerprint(read_options(chosen)),
            json.dumps(result_options.read_output_options(chosen)),
        )
        recording = self._journal.claim(fingerprint, time.time(), used, recording=queued.id)
        assert recording is not None  # noqa: S101 (nobody else takes from the queue)
        assert recording.result is not None  # noqa: S101 (claim sets it)
        if recording.discard_result and chosen.speakers:  # nor will the words alone do
            self._journal.results.drop(result_options.result_key(recording.sha256, chosen, speakers=False))
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

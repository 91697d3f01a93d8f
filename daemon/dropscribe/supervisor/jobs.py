"""The work in progress: recordings that are with the worker, and the process that does it.

Guarantees: no model library is imported here; every finished window is in the journal before the next one is heard
of; a worker that crashes, hangs or grows too large is replaced; a recording on which it failed is tried `ATTEMPTS`
times, behind the others, the last time alone in a fresh process. What fails is told apart by its fault: of the
recording, of the engine, or of what is around us, which is raised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from dropscribe import backends, crash
from dropscribe.errors import EnvironmentFaultError, Fault
from dropscribe.supervisor import profiles, worker_process
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.publisher import Progress
from dropscribe.transcript import Source
from dropscribe.worker import packing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings
    from dropscribe.supervisor.intake import Intake, Taken
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Outage
    from dropscribe.supervisor.publisher import Publisher
    from dropscribe.supervisor.scheduler import Claims

ATTEMPTS = 3
"""How often a recording is tried when the engine fails on it."""
PACK = 0
"""Stands for several recordings in what the worker is told and tells; no row of the journal has this number."""
_READ_AGAIN = frozenset({"permission-denied", "unreadable", "read-failed", "in-icloud"})
"""Faults of the environment that concern one file: the others go on."""


@dataclass
class _Job:
    """What is known of the work in progress on one recording."""

    recording: Recording
    settings: Settings
    """Those in force for it when it was claimed."""
    packed: bool
    """Whether it was given to the worker together with others."""
    begun: float
    """time.monotonic() when it was given to the worker."""
    facts: dict[str, Any] = field(default_factory=dict)
    window: int = 0
    tenth: int = -1
    """Tenths of a model's download that were told."""


class Jobs:
    """The worker of one daemon and what it has in hand. Every method is called by the thread that owns the journal.

    Each may raise EnvironmentFaultError for what is wrong around us.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        intake: Intake,
        claims: Claims,
        publisher: Publisher,
        outage: Outage,
        post: Callable[[worker_process.Message], None],
        *,
        command: Sequence[str] | None,
        progress: Callable[[Progress], None],
    ) -> None:
        """`post` takes the worker's events, from other threads; `command` and `progress` as for the supervisor."""
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._claims = claims
        self._publisher = publisher
        self._outage = outage
        self._post = post
        self._command = command
        self._progress = progress
        self._log = structlog.get_logger()
        self._spool = settings.state / "spool"
        self._worker: worker_process.Worker | None = None
        self._worker_ready = False
        self._jobs: dict[int, _Job] = {}
        self._pack = False  # whether the worker is given several recordings and has not told the end of that
        self._heard = 0.0  # time.monotonic() of the last sign of life of the worker
        self._idle_since = time.monotonic()

    def tidy(self) -> None:
        """Remove the sound that an earlier daemon's worker left behind."""
        self._spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._spool.iterdir():
            left.unlink(missing_ok=True)

    def close(self, reason: str) -> None:
        """Put back what is in progress and end the worker, for the daemon ends."""
        for job in self._jobs.values():
            with contextlib.suppress(sqlite3.Error):
                self._journal.recordings.release(job.recording.id)
            self._log.info("job.interrupted", **job.recording.log_facts, reason=reason)
        self._stop_worker("daemon ends")

    @property
    def busy(self) -> bool:
        """Whether the worker has anything in hand."""
        return bool(self._jobs) or self._pack

    def begin(self, claimed: Sequence[tuple[Recording, Settings]]) -> None:
        """Give claimed recordings, with the settings in force for each, to the worker: one, or several together."""
        recordings, chosen = [recording for recording, _ in claimed], claimed[0][1]
        try:
            # A file that was dropped into the inbox makes nobody open a connection.
            request = worker_process.request(chosen, download=chosen.model == self._settings.model)
        except EnvironmentFaultError:
            self._claims.put_back(recordings)
            raise
        last = recordings[0].attempts >= ATTEMPTS
        if last:  # alone in a fresh process, with the options that can go least wrong
            self._stop_worker("a last attempt begins")
        if self._worker is None:
            try:
                self._worker = worker_process.Worker(self._post, self._command)
            except OSError as error:
                self._claims.put_back(recordings)
                why = f"The engine's process cannot be started: {error.strerror}."
                raise EnvironmentFaultError("worker-refused", why, "`dropscribe doctor` looks closer.") from None
            self._worker_ready = False
            self._log.info("worker.started", pid=self._worker.pid)
        self._heard, self._pack = time.monotonic(), len(recordings) > 1
        self._jobs = {r.id: _Job(r, own, self._pack, begun=self._heard) for r, own in claimed}
        for recording in recordings:
            self._log.info(
                "job.claimed",
                **recording.log_facts,
                attempt=recording.attempts,
                bytes=recording.size,
                packed=len(recordings) if self._pack else None,
            )
        self._journal.set_meta(phase="decoding")
        work = [
            {"path": str(self._intake.locate(r)), "spool": str(self._spool / f"{r.id}-{self._worker.pid}.f32")}
            for r in recordings  # named after the process, too: the last one may not have ended yet
        ]
        if self._pack:
            numbered = [{"job": r.id, **paths} for r, paths in zip(recordings, work, strict=True)]
            self._worker.send(PACK, "pack", recordings=numbered, safe=False, **request)
            return
        assert recordings[0].result is not None  # noqa: S101 (claim sets it)
        saved = self._journal.results.list_checkpoints(recordings[0].result)
        resume = saved[0] | {"done": len(saved) - 1} if saved else None
        self._worker.send(recordings[0].id, "transcribe", **work[0], resume=resume, safe=last, **request)

    def replaced(self, taken: Taken) -> None:
        """A file was taken in: work on what it was before is given up, unless only its date is new."""
        for job in [job for job in self._jobs.values() if job.recording.key == taken.key]:
            if taken.new:
                self._log.info("job.superseded", **job.recording.log_facts)
                self._give_up(job, "its recording was replaced")
            else:
                size, mtime_ns = taken.found.size, taken.found.mtime_ns
                job.recording = dataclasses.replace(job.recording, size=size, mtime_ns=mtime_ns)

    def drop(self, reason: str = "") -> None:
        """Put what is in progress back; finished windows are kept. With a reason the worker ends in any case."""
        busy, jobs = self.busy, self._take_jobs()
        if busy:
            self._stop_worker("its job was dropped")
        for job in jobs:
            with contextlib.suppress(sqlite3.Error):
                self._journal.recordings.release(job.recording.id)
        if reason:
            self._stop_worker(reason)

    def watch(self) -> None:
        """Replace a worker that shows no life; end one that has had no work for long."""
        now = time.monotonic()
        stall, idle = self._settings.stall_minutes * 60, self._settings.idle_minutes * 60
        if self.busy and stall and now - self._heard > stall:
            jobs = self._take_jobs()
            self._stop_worker("stalled")
            message = f"The engine showed no progress for {self._settings.stall_minutes:g} minutes."
            self._broke(jobs, "stalled", message)
        elif not self.busy and self._worker is not None and idle and now - self._idle_since > idle:
            self._stop_worker("idle")

    def hear(self, message: worker_process.Message) -> None:
        """Act on one event of a worker; one that was replaced has no say."""
        if message.worker is not self._worker:
            return
        facts = message.facts
        if message.event == "log":
            getattr(self._log, facts["level"], self._log.info)(facts["name"], **facts["facts"])
            return
        if message.event == "ready":
            self._worker_ready = True
            return
        if message.event == "exit":
            self._worker = None
            self._sweep()
            self._log.warning("worker.died", pid=message.worker.pid, how=facts["how"], stderr=facts["stderr"][-2000:])
            jobs = self._take_jobs()
            if jobs and not self._worker_ready:  # no recording can have done that
                self._claims.put_back([job.recording for job in jobs])
                why = f"The engine's process ended at its start with {facts['how']}."
                raise EnvironmentFaultError("worker-broken", why, "`dropscribe doctor` looks closer.")
            self._broke(jobs, "worker-died", f"The engine's process ended with {facts['how']}.")
            return
        self._heard = time.monotonic()
        if message.job == PACK:
            self._hear_of_pack(message)
        elif message.job in self._jobs:
            self._hear_of(self._jobs[message.job], message)

    def _hear_of_pack(self, message: worker_process.Message) -> None:
        """Act on an event of work on several recordings that is about all of them."""
        job, facts = next(iter(self._jobs.values()), None), message.facts
        match message.event:
            case "model" | "fallback" | "loaded":
                if job is not None:
                    self._hear_of(job, message)
            case "finished":
                self._claims.put_back([job.recording for job in self._take_jobs()], packing.ALONE)
                self._idle_since = time.monotonic()
                self._weigh(message.worker)
            case "failed":
                jobs = self._take_jobs()
                self._idle_since = time.monotonic()
                if facts["fault"] == Fault.ENGINE:
                    self._stop_worker("engine failed")
                    self._broke(jobs, facts["code"], facts["message"], facts.get("detail", ""))
                    return
                if jobs and jobs[0].settings.model != self._settings.model:  # a profile's: nobody else waits for it
                    self._claims.put_back([job.recording for job in jobs], packing.ALONE)
                    return
                self._claims.put_back([job.recording for job in jobs], facts["code"], facts["message"])
                raise EnvironmentFaultError(facts["code"], facts["message"], facts["cure"])

    def _hear_of(self, job: _Job, message: worker_process.Message) -> None:
        """Act on an event of the work on one recording."""
        facts = message.facts
        match message.event:
            case "decoded":
                found = self._intake.stat(job.recording)
                if found != Stat.of(job.recording):
                    # What was decoded may be another content: nothing made of it may be kept under this digest.
                    self._give_up(job, "its recording changed")
                    self._claims.lost(job.recording, found)
                    return
                job.facts |= facts
                self._log.info(
                    "job.decoded",
                    **job.recording.log_facts,
                    audio_s=facts["audio_s"],
                    seconds=facts["decode_s"],
                    channels=facts["channels"],
                    codec=facts["codec"],
                    warnings=[w["code"] for w in facts["warnings"]],
                )
                if not job.packed:
                    self._journal.set_meta(phase="loading the model")
            case "model":
                self._tell_download(job, facts)
            case "fallback":
                self._log.warning(
                    "backend.fallback", backend=facts["backend"], code=facts["code"], reason=facts["reason"]
                )
            case "loaded":
                job.facts |= facts
                if job.packed and message.job != PACK:
                    return  # it was told of all of them
                if facts["load_s"]:
                    self._log.info(
                        "model.loaded",
                        **{k: facts[k] for k in ("backend", "reason", "device", "model", "revision")},
                        seconds=facts["load_s"],
                    )
                self._outage.end()
                self._journal.set_meta(
                    phase=f"one of {len(self._jobs)} transcribed together" if job.packed else "listening for speech",
                    backend=facts["backend"],
                    backend_reason=facts["reason"],
                    engine=f"{facts['model']} on {facts['device']}, process {message.worker.pid}",
                )
            case "planned":
                self._plan(job, facts)
            case "window":
                job.window += 1
                self._journal.save_checkpoint(job.recording, job.window, facts, facts["end_s"], job.facts["audio_s"])
                crash.reach("checkpointed")
                self._tell(job, facts["end_s"])
            case "finished":
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                if not job.packed:
                    self._weigh(message.worker)
                self._conclude(job)
            case "failed" if not job.packed:
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                self._failed(job, facts)
            case "apart" | "failed":  # alone it fails as it deserves
                del self._jobs[job.recording.id]
                self._log.info("job.apart", **job.recording.log_facts, why=facts["code"])
                self._claims.put_back([job.recording], packing.ALONE)

    def _tell_download(self, job: _Job, facts: dict[str, Any]) -> None:
        """Log a download of a model at its start and every tenth of the way."""
        tenth = 10 * facts["done"] // max(1, facts["total"])
        if tenth != job.tenth:
            job.tenth = tenth
            self._log.info(
                "model.downloading",
                **{k: facts[k] for k in ("model", "repo")},
                percent=10 * tenth,
                bytes=facts["total"],
            )
            self._journal.set_meta(phase=f"downloading the model {facts['model']}: {10 * tenth} %")

    def _plan(self, job: _Job, facts: dict[str, Any]) -> None:
        job.facts |= facts
        job.window = facts["done"]
        recording, windows = job.recording, facts["plan"]["windows"]
        if not facts["done"]:
            assert recording.result is not None  # noqa: S101
            self._journal.results.drop_checkpoints(recording.result)
        plan = facts["plan"] | {k: facts[k] for k in ("language", "language_probability")}
        done_s = windows[facts["done"] - 1][-1] / backends.SAMPLE_RATE if facts["done"] else 0.0
        self._journal.save_checkpoint(recording, 0, plan, done_s, job.facts["audio_s"])
        self._log.info(
            "job.planned",
            **recording.log_facts,
            windows=len(windows),
            resumed_at=facts["done"],
            speech_s=facts["speech_s"],
            language=facts["language"],
            language_probability=facts["language_probability"],
            seconds=facts["plan_s"],
        )
        if not job.packed:
            self._journal.set_meta(phase="transcribing")
        self._tell(job, done_s)

    def _tell(self, job: _Job, done_s: float) -> None:
        self._progress(Progress(str(job.recording.name), done_s, job.facts["audio_s"]))

    def _conclude(self, job: _Job) -> None:
        """Every window is there: make the transcript, keep it, publish it."""
        recording = job.recording
        found = self._intake.stat(recording)
        if found not in {None, Stat.of(recording)}:
            self._claims.lost(recording, found)
            return
        assert recording.result is not None  # noqa: S101
        assert recording.sha256 is not None  # noqa: S101
        source = Source(
            name=decode_name(recording.name.name),
            path=decode_name(recording.name),
            sha256=recording.sha256,
            bytes=recording.size,
        )
        windows = self._journal.results.list_checkpoints(recording.result)[1:]
        transcript = worker_process.assemble(source, job.facts, windows, job.settings)
        self._journal.store_result(recording, transcript.to_json(), transcript.timing.speed, time.time())
        crash.reach("kept")
        self._intake.set_state(recording, State.PUBLISHING)
        self._log.info(
            "job.transcribed",
            **recording.log_facts,
            audio_s=transcript.timing.audio_s,
            seconds=round(time.monotonic() - job.begun, 3),
            speed=transcript.timing.speed,
            segments=len(transcript.segments),
            language=transcript.language,
        )
        self._publisher.publish(self._journal.recordings.get(recording.id))

    def _failed(self, job: _Job, facts: dict[str, Any]) -> None:
        recording, code = job.recording, facts["code"]
        reason = f"{facts['message']} {facts['cure']}".strip()
        if facts["fault"] == Fault.ENGINE:
            # What failed once may have left the process in a bad state: the next try gets a new one.
            self._stop_worker("engine failed")
        found = self._intake.stat(recording)
        if found != Stat.of(recording):  # it failed because it was being changed, or left
            self._claims.lost(recording, found)
            return
        if code == "gone" and self._journal.sources.find_archived(recording.id) is not None:
            self._claims.put_back([recording])  # it was archived before it was opened, and is read there
            return
        match Fault(facts["fault"]):
            case Fault.RECORDING:
                self._publisher.quarantine(recording, code, reason)
            case Fault.ENVIRONMENT if code in _READ_AGAIN:
                self._intake.mark_waiting(recording, code, reason)
                self._log.warning("inbox.unreadable", file=str(recording.name), code=code, reason=reason)
            case Fault.ENVIRONMENT if code in profiles.FAULTS and job.settings.model != self._settings.model:
                why = "A profile asks for it, and a profile makes nobody download. Then `dropscribe retry` goes on."
                self._publisher.quarantine(recording, code, f"{reason} {why}")
            case Fault.ENVIRONMENT:
                self._claims.put_back([recording], code, reason)
                raise EnvironmentFaultError(code, facts["message"], facts["cure"])
            case Fault.ENGINE:
                self._engine_failed(recording, code, reason, facts.get("detail", ""))

    def _broke(self, jobs: Sequence[_Job], code: str, reason: str, detail: str = "") -> None:
        """The engine failed. Of several recordings nobody knows which was to blame: each goes alone, uncounted."""
        if not any(job.packed for job in jobs):
            for job in jobs:
                self._engine_failed(job.recording, code, reason, detail)
            return
        files = [decode_name(job.recording.name) for job in jobs]
        self._log.warning("pack.failed", files=files, code=code, reason=reason, detail=detail[-2000:] or None)
        why = f"{reason} Others were transcribed with it; now each is on its own."
        self._claims.put_back([job.recording for job in jobs], packing.ALONE, why)

    def _engine_failed(self, recording: Recording, code: str, reason: str, detail: str = "") -> None:
        """Try again, up to `ATTEMPTS` times, then quarantine. `detail` is the engine's traceback, for the log."""
        self._log.warning(
            "job.engine_failed",
            **recording.log_facts,
            attempt=recording.attempts,
            code=code,
            reason=reason,
            detail=detail[-2000:] or None,
        )
        if recording.attempts < ATTEMPTS:
            self._journal.recordings.release(recording.id, code, reason, at_end=time.time())
            self._intake.set_state(recording, State.QUEUED)
        else:
            cure = "`dropscribe retry` tries it again; another model or backend may do better."
            self._publisher.quarantine(recording, code, f"{reason} It was tried {recording.attempts} times. {cure}")

    def _take_jobs(self) -> list[_Job]:
        """Return the work in progress; nothing is in progress any more."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        self._pack = False
        return jobs

    def _give_up(self, job: _Job, reason: str) -> None:
        """Stop work on a recording that is another now. What was packed with it is soon packed again."""
        others = [other for other in self._take_jobs() if other is not job]
        self._stop_worker(reason)
        self._claims.put_back([other.recording for other in others])

    def _stop_worker(self, reason: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            self._log.info("worker.stopped", pid=worker.pid, reason=reason)
            with contextlib.suppress(sqlite3.Error):
                self._journal.set_meta(engine="", phase="")
            self._sweep()

    def _sweep(self) -> None:
        """Remove the sound that a worker left behind which has ended."""
        with contextlib.suppress(OSError):  # the folder may have been removed
            for left in self._spool.iterdir():
                left.unlink()

    def _weigh(self, worker: worker_process.Worker) -> None:
        """Replace a worker that has grown too large: between recordings it costs one load of the model."""
        most = self._settings.memory_gigabytes * 1e9
        if most and (worker.memory() or 0) > most:
            self._stop_worker("memory")

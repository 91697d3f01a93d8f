"""The work in progress: recordings that are with the worker, and the process that does it.

Guarantees: no model library is imported here; every finished window is in the journal before the
next event is read; a worker that crashes, hangs or grows too large is replaced; the last attempt
of a recording is made in a fresh process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from dropscribe import backends, crash, protocol
from dropscribe.errors import EnvironmentFaultError, Fault
from dropscribe.supervisor import assembly, worker_process
from dropscribe.supervisor.failures import ATTEMPTS, Failures
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.publisher import Progress
from dropscribe.supervisor.scheduler import ALONE
from dropscribe.transcript import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings
    from dropscribe.supervisor.intake import Intake, Taken
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Outage
    from dropscribe.supervisor.publisher import Publisher
    from dropscribe.supervisor.scheduler import Scheduler


@dataclass
class _Job:
    """The work in progress on one recording, and what the worker has reported of it."""

    recording: Recording
    settings: Settings
    """Those in force for it when it was claimed."""
    packed: bool
    """Whether it was given to the worker together with others."""
    begun: float
    """time.monotonic() when it was given to the worker."""
    decoded: protocol.Decoded | None = None
    loaded: protocol.Loaded | None = None
    planned: protocol.Planned | None = None
    windows: int = 0
    """Windows that are done."""
    tenths: int = -1
    """Tenths of a model's download that were logged."""

    @property
    def audio_s(self) -> float:
        """Seconds of sound; 0 before it is decoded."""
        return self.decoded.audio_s if self.decoded else 0.0


class Jobs:
    """The worker of one daemon and its work in progress.

    Every method is called by the thread that owns the journal, and may raise
    EnvironmentFaultError.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        intake: Intake,
        scheduler: Scheduler,
        publisher: Publisher,
        outage: Outage,
        post: Callable[[worker_process.Message], None],
        *,
        command: Sequence[str] | None,
        progress: Callable[[Progress], None],
    ) -> None:
        """`post` takes the worker's events, from other threads; `command` and `progress` as for
        the supervisor.
        """
        self._settings = settings
        self._journal = journal
        self._intake = intake
        self._scheduler = scheduler
        self._publisher = publisher
        self._outage = outage
        self._failures = Failures(settings, journal, intake, scheduler, publisher)
        self._post = post
        self._command = command
        self._progress = progress
        self._log = structlog.get_logger()
        self._spool = settings.state / "spool"
        self._worker: worker_process.Worker | None = None
        self._worker_ready = False
        self._jobs: dict[int, _Job] = {}
        self._pack = False  # whether the worker is given several recordings and has not reported the end of that
        self._last_event = 0.0  # time.monotonic() of the last event of the worker
        self._idle_since = time.monotonic()

    def prepare_spool(self) -> None:
        """Make the folder for decoded sound, and remove the sound that an earlier daemon's worker left behind."""
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
        """Give claimed recordings to the worker, each with the settings in force for it."""
        recordings, chosen = [recording for recording, _ in claimed], claimed[0][1]
        try:
            # A file that was dropped into the inbox makes nobody open a connection.
            request = worker_process.make_request(chosen, download=chosen.model == self._settings.model)
        except EnvironmentFaultError:
            self._scheduler.put_back(recordings)
            raise
        last = recordings[0].attempts >= ATTEMPTS
        if last:  # alone in a fresh process, with the options that can go least wrong
            self._stop_worker("a last attempt begins")
        if self._worker is None:
            try:
                self._worker = worker_process.Worker(self._post, self._command)
            except OSError as error:
                self._scheduler.put_back(recordings)
                why = f"The engine's process cannot be started: {error.strerror}."
                raise EnvironmentFaultError("worker-refused", why, "`dropscribe doctor` looks closer.") from None
            self._worker_ready = False
            self._log.info("worker.started", pid=self._worker.pid)
        self._last_event, self._pack = time.monotonic(), len(recordings) > 1
        self._jobs = {r.id: _Job(r, own, self._pack, begun=self._last_event) for r, own in claimed}
        for recording in recordings:
            self._log.info(
                "job.claimed",
                **recording.log_facts,
                attempt=recording.attempts,
                bytes=recording.size,
                packed=len(recordings) if self._pack else None,
            )
        self._journal.set_meta(phase="decoding")
        files = tuple(
            # Its name has the process as well: the last one may not have ended yet.
            protocol.RecordingFile(
                r.id, str(self._intake.locate(r)), str(self._spool / f"{r.id}-{self._worker.pid}.f32")
            )
            for r in recordings
        )
        if self._pack:
            self._worker.send(protocol.PackJob(recordings=files, request=request))
            return
        assert recordings[0].result is not None  # noqa: S101 (claim sets it)
        resume = _resume(self._journal.results.list_checkpoints(recordings[0].result))
        self._worker.send(protocol.TranscribeJob(recording=files[0], request=request, resume=resume, safe=last))

    def handle_taken_in(self, taken: Taken) -> None:
        """Act on a file that was taken in. If its content is new, work on the older content is given
        up.
        """
        for job in [job for job in self._jobs.values() if job.recording.key == taken.key]:
            if taken.new:
                self._log.info("job.superseded", **job.recording.log_facts)
                self._give_up(job, "its recording was replaced")
            else:
                size, mtime_ns = taken.found.size, taken.found.mtime_ns
                job.recording = dataclasses.replace(job.recording, size=size, mtime_ns=mtime_ns)

    def drop(self, reason: str = "") -> None:
        """Put back what is in progress; finished windows are kept.

        With a reason the worker ends in any case.
        """
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
        if self.busy and stall and now - self._last_event > stall:
            jobs = self._take_jobs()
            self._stop_worker("stalled")
            message = f"The engine showed no progress for {self._settings.stall_minutes:g} minutes."
            self._handle_engine_fault(jobs, "stalled", message)
        elif not self.busy and self._worker is not None and idle and now - self._idle_since > idle:
            self._stop_worker("idle")

    def handle_message(self, message: worker_process.Message) -> None:
        """Act on one event of the worker. Those of a worker that was replaced are ignored."""
        if message.worker is not self._worker:
            return
        match message.event:
            case protocol.LogLine(level=level, name=name, facts=facts):
                getattr(self._log, level, self._log.info)(name, **facts)
            case protocol.Ready():
                self._worker_ready = True
            case protocol.Exited() as exited:
                self._handle_exit(message.worker, exited)
            case event:
                self._last_event = time.monotonic()
                if message.job == protocol.PACK:
                    self._handle_pack_event(event, message.worker)
                elif message.job in self._jobs:
                    self._handle_event(self._jobs[message.job], event, message.worker)

    def _handle_exit(self, worker: worker_process.Worker, exited: protocol.Exited) -> None:
        self._worker = None
        self._sweep()
        self._log.warning("worker.died", pid=worker.pid, how=exited.how, stderr=exited.stderr[-2000:])
        jobs = self._take_jobs()
        if jobs and not self._worker_ready:  # no recording can have done that
            self._scheduler.put_back([job.recording for job in jobs])
            why = f"The engine's process ended at its start with {exited.how}."
            raise EnvironmentFaultError("worker-broken", why, "`dropscribe doctor` looks closer.")
        self._handle_engine_fault(jobs, "worker-died", f"The engine's process ended with {exited.how}.")

    def _handle_pack_event(self, event: protocol.Event, worker: worker_process.Worker) -> None:
        """Act on an event that is about all recordings of a pack."""
        match event:
            case protocol.Downloading() | protocol.Fallback() | protocol.Loaded():
                for job in [*self._jobs.values()][:1]:
                    self._handle_event(job, event, worker, of_pack=True)
            case protocol.Finished():
                self._scheduler.put_back([job.recording for job in self._take_jobs()], ALONE)
                self._idle_since = time.monotonic()
                self._stop_if_too_large(worker)
            case protocol.Failed() as failed:
                jobs = self._take_jobs()
                recordings = [job.recording for job in jobs]
                self._idle_since = time.monotonic()
                if failed.fault == Fault.ENGINE:
                    self._stop_worker("engine failed")
                    self._handle_engine_fault(jobs, failed.code, failed.message, failed.detail)
                    return
                if jobs and jobs[0].settings.model != self._settings.model:  # a profile's: nobody else waits for it
                    self._scheduler.put_back(recordings, ALONE)
                    return
                self._scheduler.put_back(recordings, failed.code, failed.message)
                raise EnvironmentFaultError(failed.code, failed.message, failed.cure)

    def _handle_event(
        self, job: _Job, event: protocol.Event, worker: worker_process.Worker, *, of_pack: bool = False
    ) -> None:
        """Act on an event about one recording; `of_pack`: about all of its pack."""
        match event:
            case protocol.Decoded():
                self._handle_decoded(job, event)
            case protocol.Downloading():
                self._log_download(job, event)
            case protocol.Fallback():
                self._log.warning("backend.fallback", backend=event.backend, code=event.code, reason=event.reason)
            case protocol.Loaded():
                job.loaded = event
                if of_pack or not job.packed:
                    self._handle_loaded(job, event, worker)
            case protocol.Planned():
                self._handle_planned(job, event)
            case protocol.WindowDone():
                job.windows += 1
                self._journal.save_checkpoint(job.recording, job.windows, event.to_json(), event.end_s, job.audio_s)
                crash.reach("checkpointed")
                self._report_progress(job, event.end_s)
            case protocol.Finished():
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                if not job.packed:
                    self._stop_if_too_large(worker)
                self._conclude(job)
            case protocol.Failed() if not job.packed:
                del self._jobs[job.recording.id]
                self._idle_since = time.monotonic()
                self._handle_failure(job, event)
            case protocol.Excluded(code=code) | protocol.Failed(code=code):  # alone it fails with its own reason
                del self._jobs[job.recording.id]
                self._log.info("job.apart", **job.recording.log_facts, why=code)
                self._scheduler.put_back([job.recording], ALONE)

    def _handle_decoded(self, job: _Job, decoded: protocol.Decoded) -> None:
        found = self._intake.stat(job.recording)
        if found != Stat.of(job.recording):
            # What was decoded may be another content: nothing made of it may be kept under this
            # digest.
            self._give_up(job, "its recording changed")
            self._scheduler.release_changed(job.recording, found)
            return
        job.decoded = decoded
        self._log.info(
            "job.decoded",
            **job.recording.log_facts,
            audio_s=decoded.audio_s,
            seconds=decoded.decode_s,
            channels=decoded.channels,
            codec=decoded.codec,
            warnings=[notice.code for notice in decoded.warnings],
        )
        if not job.packed:
            self._journal.set_meta(phase="loading the model")

    def _handle_loaded(self, job: _Job, loaded: protocol.Loaded, worker: worker_process.Worker) -> None:
        if loaded.load_s:
            self._log.info(
                "model.loaded",
                backend=loaded.backend,
                reason=loaded.reason,
                device=loaded.device,
                model=loaded.model,
                revision=loaded.revision,
                seconds=loaded.load_s,
            )
        self._outage.end()
        self._journal.set_meta(
            phase=f"one of {len(self._jobs)} transcribed together" if job.packed else "listening for speech",
            backend=loaded.backend,
            backend_reason=loaded.reason,
            engine=f"{loaded.model} on {loaded.device}, process {worker.pid}",
        )

    def _log_download(self, job: _Job, download: protocol.Downloading) -> None:
        """Log a download of a model at its start and every tenth of the way."""
        tenths = 10 * download.done // max(1, download.total)
        if tenths != job.tenths:
            job.tenths = tenths
            self._log.info(
                "model.downloading",
                model=download.model,
                repo=download.repo,
                percent=10 * tenths,
                bytes=download.total,
            )
            self._journal.set_meta(phase=f"downloading the model {download.model}: {10 * tenths} %")

    def _handle_planned(self, job: _Job, planned: protocol.Planned) -> None:
        job.planned = planned
        job.windows = planned.done
        recording, windows = job.recording, planned.plan.windows
        if not planned.done:
            assert recording.result is not None  # noqa: S101
            self._journal.results.drop_checkpoints(recording.result)
        done_s = windows[planned.done - 1][-1] / backends.SAMPLE_RATE if planned.done else 0.0
        self._journal.save_checkpoint(recording, 0, planned.to_checkpoint(), done_s, job.audio_s)
        self._log.info(
            "job.planned",
            **recording.log_facts,
            windows=len(windows),
            resumed_at=planned.done,
            speech_s=planned.speech_s,
            language=planned.language,
            language_probability=planned.language_probability,
            seconds=planned.plan_s,
        )
        if not job.packed:
            self._journal.set_meta(phase="transcribing")
        self._report_progress(job, done_s)

    def _report_progress(self, job: _Job, done_s: float) -> None:
        self._progress(Progress(str(job.recording.name), done_s, job.audio_s))

    def _conclude(self, job: _Job) -> None:
        """Every window is there: make the transcript, keep it, publish it."""
        recording = job.recording
        found = self._intake.stat(recording)
        if found not in {None, Stat.of(recording)}:
            self._scheduler.release_changed(recording, found)
            return
        assert recording.result is not None  # noqa: S101
        assert recording.sha256 is not None  # noqa: S101
        source = Source(
            name=decode_name(recording.name.name),
            path=decode_name(recording.name),
            sha256=recording.sha256,
            bytes=recording.size,
        )
        assert job.decoded is not None  # noqa: S101 (the worker reports all three before it is finished)
        assert job.loaded is not None  # noqa: S101
        assert job.planned is not None  # noqa: S101
        windows = map(protocol.WindowDone.from_json, self._journal.results.list_checkpoints(recording.result)[1:])
        transcript = assembly.assemble_transcript(source, job.decoded, job.loaded, job.planned, windows, job.settings)
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

    def _handle_failure(self, job: _Job, failed: protocol.Failed) -> None:
        if failed.fault == Fault.ENGINE:
            # It may have left the process in a bad state: the next try gets a new one.
            self._stop_worker("engine failed")
        self._failures.handle(job.recording, job.settings, failed)

    def _handle_engine_fault(self, jobs: Sequence[_Job], code: str, reason: str, detail: str = "") -> None:
        recordings, packed = [job.recording for job in jobs], any(job.packed for job in jobs)
        self._failures.handle_engine_fault(recordings, code, reason, detail, packed=packed)

    def _take_jobs(self) -> list[_Job]:
        """Return the work in progress; nothing is in progress any more."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        self._pack = False
        return jobs

    def _give_up(self, job: _Job, reason: str) -> None:
        """Stop work on a recording that changed. What was packed with it is soon packed again."""
        others = [other for other in self._take_jobs() if other is not job]
        self._stop_worker(reason)
        self._scheduler.put_back([other.recording for other in others])

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

    def _stop_if_too_large(self, worker: worker_process.Worker) -> None:
        """Stop a worker that has grown too large: that costs one load of the model."""
        most = self._settings.memory_gigabytes * 1e9
        if most and (worker.measure_memory() or 0) > most:
            self._stop_worker("memory")


def _resume(checkpoints: Sequence[protocol.JSON]) -> protocol.Resume | None:
    """Return where work goes on; None to begin it.

    The checkpoints of another version may not be readable.
    """
    if not checkpoints:
        return None
    plan, *windows = checkpoints
    with contextlib.suppress(protocol.ProtocolError):
        for window in windows:
            protocol.WindowDone.from_json(window)
        return protocol.Resume.from_json(plan | {"done": len(windows)})
    return None

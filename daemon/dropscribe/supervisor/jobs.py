"""The work in progress: recordings that are with the worker, and the process that does it.

Guarantees: no model library is imported here; every finished window is in the journal before the
next event is read; a worker that crashes, hangs or grows too large is replaced; the last attempt
of a recording is made in a fresh process; work that goes between the windows of a long recording
takes half of the worker's time at most, unless its priority is higher.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from typing import TYPE_CHECKING

import structlog

from dropscribe import backends, crash, protocol
from dropscribe.errors import EnvironmentFaultError, Fault
from dropscribe.supervisor import assembly, conclusion, worker_process
from dropscribe.supervisor.failures import ATTEMPTS, Failures
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.job import Job, read_resume
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.publisher import Progress
from dropscribe.supervisor.scheduler import ALONE, BETWEEN_LIMITS, LONG, Room
from dropscribe.supervisor.spool import Spool
from dropscribe.supervisor.workload import Workload
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings
    from dropscribe.supervisor.intake import Intake, Taken
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.supervisor.outage import Outage
    from dropscribe.supervisor.publisher import Publisher
    from dropscribe.supervisor.scheduler import Scheduler


_CALL_OFF_SECONDS = 60.0
"""A worker that has not given up a job for so long after it was asked to is replaced: the step that it
is at takes too long."""


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
        self.spool = Spool(settings.state)
        self._worker: worker_process.Worker | None = None
        self._worker_ready = False
        self._loaded = ""  # the setting `model` of what is in the worker's memory
        self._jobs: dict[int, Job] = {}
        self._workload = Workload(settings.state, progress)
        self._ahead = False  # whether a recording was named for preparation since the one in progress began
        self._last_event = 0.0  # time.monotonic() of the last event of the worker
        self._idle_since = time.monotonic()

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
        return bool(self._workload.units)

    @property
    def room(self) -> Room | None:
        """What may go between the windows of the recording in progress; None for nothing."""
        unit = self._workload.find_interruptible()
        job = None if unit is None else self._jobs.get(unit.number)
        if unit is None or job is None or self._loaded != job.settings.model:
            return None
        left = unit.meter.work_left_s
        left = (job.audio_s or unit.meter.decoded_s) if left is None else left
        return Room(job.recording, job.settings, left) if left >= BETWEEN_LIMITS.least_left_s else None

    def begin(self, claimed: Sequence[tuple[Recording, Settings]], room: Room | None = None) -> None:
        """Give claimed recordings to the worker, each with the settings in force for it.

        With `room` they go between the windows of the recording that is in progress.
        """
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
        worker = self._worker or self._start_worker(recordings)
        now, packed = time.monotonic(), len(recordings) > 1
        names = {recording.id: recording.name for recording in recordings}
        self._ahead = self._ahead and room is not None
        self._workload.add(names, now, is_ready=self._worker_ready, safe=last)
        self._jobs |= {r.id: Job(r, own, packed, begun=now) for r, own in claimed}
        self._last_event = now
        for recording in recordings:
            self._log.info(
                "job.claimed",
                **recording.log_facts,
                attempt=recording.attempts,
                bytes=recording.size,
                packed=len(recordings) if packed else None,
                between=None if room is None else decode_name(room.recording.name),
            )
        files = tuple(self.spool.assign(r.id, self._intake.locate(r), worker.pid) for r in recordings)
        if packed:
            worker.send(protocol.PackJob(recordings=files, request=request))
            return
        most = None if room is None else room.limit_seconds(recordings[0])
        if (words := conclusion.find_words(self._journal, recordings[0], chosen)) is not None:
            self._jobs[recordings[0].id].transcribed = words
            worker.send(protocol.SpeakersJob(recording=files[0], request=request, most_seconds=most))
            return
        assert recordings[0].result is not None  # noqa: S101 (claim sets it)
        resume = read_resume(self._journal.results.list_checkpoints(recordings[0].result))
        worker.send(
            protocol.TranscribeJob(recording=files[0], request=request, resume=resume, safe=last, most_seconds=most)
        )

    def prepare(self) -> None:
        """Have the next recording decoded while the worker transcribes the one in progress."""
        job = self._jobs.get(self._workload.units[0].number) if len(self._workload.units) == 1 else None
        # In the company of another, one on which the engine failed before would not be alone to blame.
        if self._worker is None or self._ahead or job is None or job.planned is None or job.recording.attempts > 1:
            return
        if (found := self._scheduler.foresee()) is not None:
            self._ahead = True
            with contextlib.suppress(EnvironmentFaultError):  # its own job says so
                request = worker_process.make_request(found[1], download=found[1].model == self._settings.model)
                file = self.spool.assign(found[0].id, self._intake.locate(found[0]), self._worker.pid, ahead=True)
                self._worker.send(protocol.PrepareJob(recording=file, request=request))

    def _start_worker(self, recordings: Sequence[Recording]) -> worker_process.Worker:
        try:
            self._worker = worker_process.Worker(self._post, self._command)
        except OSError as error:
            self._scheduler.put_back(recordings)
            why = f"The engine's process cannot be started: {error.strerror}."
            raise EnvironmentFaultError("worker-refused", why, "`dropscribe doctor` looks closer.") from None
        self._worker_ready = False
        self._log.info("worker.started", pid=self._worker.pid)
        return self._worker

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

    def call_off(self, key: bytes, reason: str) -> None:
        """Give up work on a recording that is not wanted any more: it is queued again, with its
        finished windows.
        """
        for job in [job for job in self._jobs.values() if job.recording.key == key]:
            self._log.info("job.called_off", **job.recording.log_facts, reason=reason)
            self._give_up(job, reason)
            self._scheduler.put_back([job.recording])

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
        self._workload.report(now)
        if self.busy and stall and now - self._last_event > stall:
            jobs = self._take_jobs()
            self._stop_worker("stalled")
            message = f"The engine showed no progress for {self._settings.stall_minutes:g} minutes."
            self._handle_engine_fault(jobs, "stalled", message)
        elif not self.busy and self._worker is not None and idle and now - self._idle_since > idle:
            self._stop_worker("idle")
        elif any(now - unit.called_off > _CALL_OFF_SECONDS for unit in self._workload.units if unit.called_off):
            jobs = self._take_jobs()  # without the one that was called off
            self._stop_worker("it does not give up its job")
            self._scheduler.put_back([job.recording for job in jobs])

    def handle_message(self, message: worker_process.Message) -> None:
        """Act on one event of the worker. Those of a worker that was replaced are ignored."""
        if message.worker is not self._worker:
            return
        match message.event:
            case protocol.LogLine(level=level, name=name, facts=facts):
                getattr(self._log, level, self._log.info)(name, **facts)
            case protocol.Ready():
                self._worker_ready = True
                for begun in self._workload.units:
                    begun.meter.observe(message.event)
            case protocol.Exited() as exited:
                self._handle_exit(message.worker, exited)
            case event:
                self._last_event = time.monotonic()
                unit = self._workload.observe(message.job, event)
                if unit is None:
                    self._idle_since = self._last_event
                elif unit.called_off and isinstance(event, protocol.Decoded):
                    # It has become another process, which has not read what was asked for.
                    message.worker.send(protocol.CallOffJob(job=unit.number))
                if message.job == protocol.PACK:
                    self._handle_pack_event(event, message.worker)
                elif message.job in self._jobs:
                    self._handle_event(self._jobs[message.job], event, message.worker)

    def _handle_exit(self, worker: worker_process.Worker, exited: protocol.Exited) -> None:
        self._worker = None
        self.spool.sweep()
        self._log.warning("worker.died", pid=worker.pid, how=exited.how, stderr=exited.stderr[-2000:])
        jobs = self._take_jobs()
        self._loaded = ""
        if jobs and not self._worker_ready:  # no recording can have done that
            self._scheduler.put_back([job.recording for job in jobs])
            why = f"The engine's process ended at its start with {exited.how}."
            raise EnvironmentFaultError("worker-broken", why, "`dropscribe doctor` looks closer.")
        self._handle_engine_fault(jobs, "worker-died", f"The engine's process ended with {exited.how}.")

    def _handle_pack_event(self, event: protocol.Event, worker: worker_process.Worker) -> None:
        """Act on an event that is about all recordings of a pack."""
        match event:
            case protocol.Downloading() | protocol.Fallback() | protocol.Loaded():
                for job in [job for job in self._jobs.values() if job.packed][:1]:
                    self._handle_event(job, event, worker, of_pack=True)
            case protocol.Finished() | protocol.Excluded():
                self._scheduler.put_back([job.recording for job in self._take_packed()], ALONE)
                self._stop_if_too_large(worker)
            case protocol.Failed() as failed:
                jobs = self._take_packed()
                recordings = [job.recording for job in jobs]
                if failed.fault == Fault.ENGINE:
                    others = self._take_jobs()
                    self._stop_worker("engine failed")
                    self._scheduler.put_back([job.recording for job in others])
                    self._handle_engine_fault(jobs, failed.code, failed.message, failed.detail)
                    return
                own = [(job.settings.model, job.settings.speakers) for job in jobs[:1]]  # maybe a profile's alone
                if own and own[0] != (self._settings.model, self._settings.speakers):
                    self._scheduler.put_back(recordings, ALONE)
                    return
                self._scheduler.put_back(recordings, failed.code, failed.message)
                raise EnvironmentFaultError(failed.code, failed.message, failed.cure)

    def _handle_event(
        self, job: Job, event: protocol.Event, worker: worker_process.Worker, *, of_pack: bool = False
    ) -> None:
        """Act on an event about one recording; `of_pack`: about all of its pack."""
        match event:
            case protocol.Decoded():
                self._handle_decoded(job, event)
            case protocol.Downloading():
                self._workload.log_download(event)
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
                self._show_progress(job, event.end_s)
            case protocol.SpeakersFound():
                job.speakers = event
                self._log.info("job.speakers", **job.recording.log_facts, **conclusion.describe_speakers(event))
            case protocol.Finished():
                del self._jobs[job.recording.id]
                if not job.packed:
                    self._stop_if_too_large(worker)
                self._conclude(job)
            case protocol.Failed() if not job.packed:
                del self._jobs[job.recording.id]
                self._handle_failure(job, event)
            case protocol.Excluded(code=code) if not job.packed:
                del self._jobs[job.recording.id]
                self._log.info("job.long", **job.recording.log_facts, why=code)
                self._scheduler.put_back([job.recording], LONG)
            case protocol.Excluded(code=code) | protocol.Failed(code=code):  # alone it fails with its own reason
                del self._jobs[job.recording.id]
                self._log.info("job.apart", **job.recording.log_facts, why=code)
                self._scheduler.put_back([job.recording], ALONE)

    def _handle_decoded(self, job: Job, decoded: protocol.Decoded) -> None:
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
            ahead=decoded.ahead or None,
            warnings=[notice.code for notice in decoded.warnings],
        )
        if (known := self._journal.find_by_sound(job.recording, decoded.sound)) is not None:
            self._reuse_result(job, decoded, known)

    def _handle_loaded(self, job: Job, loaded: protocol.Loaded, worker: worker_process.Worker) -> None:
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
        self._loaded = "" if any(unit.safe for unit in self._workload.units) else job.settings.model
        self._journal.set_meta(
            backend=loaded.backend,
            backend_reason=loaded.reason,
            engine=f"{loaded.model} on {loaded.device}, process {worker.pid}",
        )

    def _handle_planned(self, job: Job, planned: protocol.Planned) -> None:
        job.planned = planned
        job.windows = planned.done
        recording, windows = job.recording, planned.plan.windows
        assert recording.result is not None  # noqa: S101
        self._journal.results.drop_checkpoints(recording.result, after=planned.done)
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
        self._show_progress(job, done_s)

    def _show_progress(self, job: Job, done_s: float) -> None:
        """Show that a step is done."""
        self._progress(Progress(str(job.recording.name), done_s, job.audio_s))

    def _reuse_result(self, job: Job, decoded: protocol.Decoded, known: str) -> None:
        """Publish a recording whose sound was transcribed before, in another file."""
        recording = job.recording
        del self._jobs[recording.id]
        self._call_off(recording.id)
        transcript = assembly.adapt_transcript(Transcript.from_json(known), job.make_source(), decoded)
        self._log.info("job.known", **recording.log_facts, by="sound")
        self._journal.store_result(
            recording, transcript.to_json(), transcript.timing.speed, time.time(), sound=decoded.sound
        )
        crash.reach("kept")
        self._intake.set_state(recording, State.PUBLISHING)
        self._publisher.publish(self._journal.recordings.get(recording.id))

    def _call_off(self, number: int) -> None:
        """Ask the worker to give up a job; of a pack it goes on, and what it reports is not wanted."""
        for unit in self._workload.units:
            if unit.number == number and self._worker is not None:
                unit.called_off = time.monotonic()
                self._worker.send(protocol.CallOffJob(job=number))

    def _conclude(self, job: Job) -> None:
        """All is there: make the transcript, keep it, publish it."""
        recording = job.recording
        found = self._intake.stat(recording)
        # Of one that was archived, and of an inbox that is away, the transcript is what there is.
        absent = found is None and self._intake.is_there and not self._journal.sources.has_moved(recording.id)
        if absent or found not in {None, Stat.of(recording)}:
            self._scheduler.release_changed(recording, found)
            return
        transcript = conclusion.store_transcript(self._journal, job)
        crash.reach("kept")
        self._intake.set_state(recording, State.PUBLISHING)
        self._log.info(
            "job.transcribed",
            **recording.log_facts,
            seconds=round(time.monotonic() - job.begun, 3),
            **conclusion.describe_transcript(transcript),
        )
        self._publisher.publish(self._journal.recordings.get(recording.id))

    def _handle_failure(self, job: Job, failed: protocol.Failed) -> None:
        if failed.fault == Fault.ENGINE:
            # It may have left the process in a bad state: the next try gets a new one.
            others = self._take_jobs()
            self._stop_worker("engine failed")
            self._scheduler.put_back([other.recording for other in others])
        self._failures.handle(job.recording, job.settings, failed)

    def _handle_engine_fault(self, jobs: Sequence[Job], code: str, reason: str, detail: str = "") -> None:
        """The engine failed. Where something went between the windows of a long recording, it was that."""
        guests = [job for job in jobs if job.begun > jobs[0].begun]
        if guests:
            self._scheduler.put_back([job.recording for job in jobs if job not in guests])
        jobs = guests or jobs
        recordings, packed = [job.recording for job in jobs], any(job.packed for job in jobs)
        self._failures.handle_engine_fault(recordings, code, reason, detail, packed=packed)

    def _take_jobs(self) -> list[Job]:
        """Return the work in progress, what was begun first first; nothing is in progress any more."""
        jobs, self._jobs = list(self._jobs.values()), {}
        self._workload.clear()
        return jobs

    def _take_packed(self) -> list[Job]:
        """Return what is left of the recordings that were given to the worker together."""
        jobs = [job for job in self._jobs.values() if job.packed]
        for job in jobs:
            del self._jobs[job.recording.id]
        return jobs

    def _give_up(self, job: Job, reason: str) -> None:
        """Stop work on a recording that changed. What was packed with it is soon packed again."""
        others = [other for other in self._take_jobs() if other is not job]
        self._stop_worker(reason)
        self._scheduler.put_back([other.recording for other in others])

    def _stop_worker(self, reason: str) -> None:
        worker, self._worker, self._loaded = self._worker, None, ""
        if worker is not None:
            worker.kill()
            self._log.info("worker.stopped", pid=worker.pid, reason=reason)
            with contextlib.suppress(sqlite3.Error):
                self._journal.set_meta(engine="")
            self.spool.sweep()

    def _stop_if_too_large(self, worker: worker_process.Worker) -> None:
        """Stop a worker that has grown too large: that costs one load of the model."""
        most = self._settings.memory_gigabytes * 1e9
        if most and not self.busy and (worker.measure_memory() or 0) > most:
            self._stop_worker("memory")

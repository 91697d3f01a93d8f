"""The pipeline: every stage from a sound file to reported windows, called one after the other.

    decode -> detect speech -> plan windows -> decide languages      of the whole recording
           -> transcribe -> place words -> recheck -> divide         of each window, which is then
           reported
           -> find speakers                                          of the whole recording, where
           they are wanted

This is the order for one recording; `packs` has that for several in shared windows. A stage of the
whole recording goes into `transcribe_recording` and into `packs`; a stage of one window goes into
`complete_window`, which both call. A stage is one function that takes one value and returns the
next. Words are placed before the recheck, which compares their times with the speech.

Guarantees: each window is reported before the next one is waited for; work that was interrupted
goes through the same stages and leaves out the windows that are done; the spool files are gone
afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import backends, crash, protocol
from dropscribe.errors import RecordingFaultError
from dropscribe.worker import channels, decoding, languages, plans, recheck, sound_identity, window_text
from dropscribe.worker.language_evidence import RULES
from dropscribe.worker.languages import LanguageWatch
from dropscribe.worker.plans import WorkPlan
from dropscribe.worker.speakers import stage as speakers
from dropscribe.worker.speech import Speech
from dropscribe.worker.window_text import WindowContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from dropscribe.backends import Backend, Hearing, Window
    from dropscribe.protocol import RecordingFile, Request
    from dropscribe.worker.decoding import Decoded
    from dropscribe.worker.engine import Engine, Task
    from dropscribe.worker.events import Reporter
    from dropscribe.worker.languages import SpokenLanguages
    from dropscribe.worker.window_text import WindowText


# The order of the stages


def transcribe_recording(job: protocol.TranscribeJob, task: Task, engine: Engine, reporter: Reporter) -> None:
    """Run every stage on one recording and report what each gives."""
    file, request = job.recording, job.request
    networks = speakers.require_networks(request)
    with remove_spool_files(file):
        # One that goes between the windows of another may have to be refused for its length.
        prepared = None if job.most_seconds else reporter.take_prepared(file, request)
        decoded = None
        if prepared is not None:
            crash.reach("decoded")
            reporter.report(dataclasses.replace(prepared.decoded, ahead=True))
        else:
            decoded = decode_within(job, reporter)
            if decoded is None:
                return
        backend = engine.load(task, reporter)
        started = reporter.read_clock()
        if decoded is not None:
            speech = detect_speech(decoded, file, request, reporter.watch_phase("detecting speech", decoded.seconds))
        elif prepared is not None:
            speech = Speech.from_protocol(prepared.speech, Path(file.spool))
        del decoded  # the file that it maps may be removed
        windows = plan_windows(speech)
        basis = plans.make_basis(speech, windows, engine.loaded)
        plan = plans.resume_plan(job.resume, speech, basis)
        if plan is None:
            spoken = decide_languages(backend, speech, windows, request, reporter)
            plan = WorkPlan(speech, basis, spoken)
        report_plan(plan, reporter.read_clock() - started, reporter)
        watch = watch_languages(plan, job.resume, backend, request, reporter, loaded=engine.loaded)
        while (changed := transcribe_planned(plan, watch, backend, request, reporter)) is not None:
            plan = changed
        report_speakers(plan.speech, request, networks, reporter)
    reporter.report(protocol.Finished())


def prepare_recording(job: protocol.PrepareJob, reporter: Reporter, *, most_seconds: float) -> None:
    """Run the stages of a recording that need no engine. Raises: as they do; and `too-long` for one of
    more than `most_seconds`.
    """
    file, cores = job.recording, os.cpu_count() or 1
    decoded = decode(file, job.request, reporter, max_seconds=most_seconds)
    request = dataclasses.replace(job.request, threads=max(1, (job.request.threads or cores) // 2))
    speech = detect_speech(decoded, file, request, reporter.watch_phase("detecting speech", decoded.seconds))
    reporter.report(speech.to_protocol())


def find_speakers(job: protocol.SpeakersJob, reporter: Reporter) -> None:
    """Run the stages that tell who speaks when on a recording that is transcribed already."""
    file, request = job.recording, job.request
    networks = speakers.require_networks(request)
    with remove_spool_files(file):
        decoded = decode_within(job, reporter)
        if decoded is None:
            return
        speech = detect_speech(decoded, file, request, reporter.watch_phase("detecting speech", decoded.seconds))
        del decoded  # the file that it maps may be removed
        report_speakers(speech, request, networks, reporter)
    reporter.report(protocol.Finished())


def transcribe_planned(
    plan: WorkPlan, watch: LanguageWatch | None, backend: Backend, request: Request, reporter: Reporter
) -> WorkPlan | None:
    """Transcribe and report the windows that are not done yet; or return another plan, reported as
    well, as soon as windows are heard that contradict this one.
    """
    started = reporter.read_clock()
    done = plan.done
    hearing = watch.hearing if watch is not None else None
    with contextlib.closing(transcribe_windows(plan, backend, request, hearing)) as texts:
        while True:
            spoken = watch.reconsider(done) if watch is not None else None
            if spoken is not None:
                break
            text = next(texts, None)
            if text is None:
                return None
            heard = watch.read(text.window.index) if watch is not None else ()
            report_window(plan, text, reporter.read_clock() - started, reporter, heard)
            reporter.attend()
            started, done = reporter.read_clock(), text.window.index + 1
    changed = dataclasses.replace(plan, spoken=spoken, done=min(done, count_common(plan.spoken, spoken)))
    report_plan(changed, reporter.read_clock() - started, reporter)
    return changed


def transcribe_windows(
    plan: WorkPlan, backend: Backend, request: Request, hearing: Hearing | None = None
) -> Generator[WindowText, None, None]:
    """Yield each window that is not done yet, complete: those in one language after the other."""
    for language, first, last in plan.spoken.group():
        if plan.done < last:
            context = make_context(plan.speech, backend, request, language)
            windows = plan.spoken.windows[first:last]
            yield from process_windows(context, windows, done=max(0, plan.done - first), hearing=hearing)


def process_windows(
    context: WindowContext, windows: Sequence[Window], *, done: int = 0, hearing: Hearing | None = None
) -> Iterator[WindowText]:
    """Transcribe and complete all windows but the first `done`, one by one."""
    with contextlib.closing(window_text.transcribe(context, windows, done=done, hearing=hearing)) as texts:
        for text in texts:
            yield complete_window(text, context)


def complete_window(text: WindowText, context: WindowContext) -> WindowText:
    """Run the stages between the engine and the report on one window, also on a clip that shared
    its window.
    """
    text = window_text.place_words(text)
    text = recheck.recheck(text, context)
    return window_text.split_sentences(text)


# The stages of a recording, as the settings want them


def decode_within(job: protocol.TranscribeJob | protocol.SpeakersJob, reporter: Reporter) -> Decoded | None:
    """Decode the recording of a job; None, reported, where it is too long to go between the windows of another."""
    most, general = job.most_seconds, job.request.max_seconds or math.inf
    try:
        return decode(job.recording, job.request, reporter, max_seconds=most)
    except RecordingFaultError as error:
        if error.code != "too-long" or not most or most > general:
            raise
        reporter.report(protocol.Excluded(code=error.code))
        return None


def decode(file: RecordingFile, request: Request, reporter: Reporter, *, max_seconds: float | None = None) -> Decoded:
    """Decode a recording into its spool file and report what it is.

    `max_seconds` is one more limit, next to that of the settings.
    """
    started = reporter.read_clock()
    limits = [limit for limit in (request.max_seconds, max_seconds) if limit]
    phase = reporter.watch_phase("decoding")
    decoded = decoding.decode(
        Path(file.path),
        Path(file.spool),
        heartbeat=phase,
        on_share=phase.set_share,
        max_seconds=min(limits, default=None),
        keep_channels=request.split_channels != "never",
        track=request.audio_track,
        languages=decoding.list_set_languages(request.language, request.languages),
    )
    decode_s = reporter.read_clock() - started
    crash.reach("decoded")
    reporter.report(
        protocol.Decoded(
            audio_s=round(decoded.seconds, 3),
            decode_s=round(decode_s, 3),
            channels=decoded.channels,
            codec=decoded.codec,
            recorded_at=decoded.recorded_at,
            warnings=decoded.warnings,
            sound=sound_identity.digest_sound(decoded),
        )
    )
    return decoded


def detect_speech(
    decoded: Decoded, file: RecordingFile, request: Request, heartbeat: Callable[[float], None] | None = None
) -> Speech:
    """Find where somebody speaks, on each channel or in all together."""
    return channels.detect_speech(
        decoded,
        Path(file.spool),
        request.channels,
        request.split_channels,
        threshold=request.speech_threshold,
        threads=request.threads,
        heartbeat=heartbeat,
    )


def plan_windows(speech: Speech) -> list[Window]:
    """Cut a recording into windows, as if it were in one language."""
    return speech.cut_windows()


def decide_languages(
    backend: Backend, speech: Speech, windows: Sequence[Window], request: Request, reporter: Reporter
) -> SpokenLanguages:
    """Decide what is spoken, and in which windows that is transcribed."""
    return languages.decide_languages(
        backend,
        speech,
        windows,
        language=request.language,
        candidates=request.languages,
        mixed=request.mixed_languages,
        heartbeat=reporter.watch_phase("deciding languages", speech.length / backends.SAMPLE_RATE),
    )


def watch_languages(
    plan: WorkPlan,
    resume: protocol.Resume | None,
    backend: Backend,
    request: Request,
    reporter: Reporter,
    *,
    loaded: protocol.Loaded,
) -> LanguageWatch | None:
    """Return what hears the languages while windows are transcribed; None where nothing is left
    to hear.
    """
    spoken = plan.spoken
    several = request.mixed_languages != "never" and request.language == "auto" and len(request.languages) != 1
    if not (several and loaded.multilingual) or spoken.mixed or len(spoken.windows) <= RULES.most:
        return None
    heartbeat = reporter.watch_phase("deciding languages", plan.speech.length / backends.SAMPLE_RATE)
    listener = languages.Listener(backend, plan.speech, spoken.windows, request.languages, heartbeat)
    heard = resume.heard[: plan.done] if resume is not None and plan.done else ()
    return LanguageWatch(listener, spoken, heard)


def count_common(before: SpokenLanguages, after: SpokenLanguages) -> int:
    """Return how many windows two plans begin with in common."""
    pairs = zip(
        zip(before.windows, before.languages, strict=True),
        zip(after.windows, after.languages, strict=True),
        strict=False,
    )
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def make_context(speech: Speech, backend: Backend, request: Request, language: str) -> WindowContext:
    """Return what the stages of a window in this language need."""
    options = backends.Options(
        language=language, task=request.task, prompt=request.prompt or None, hotwords=request.hotwords
    )
    return WindowContext(backend, speech.samples, speech.spans, options)


def report_plan(plan: WorkPlan, seconds: float, reporter: Reporter) -> None:
    """Report how a recording is transcribed; `seconds` is what it took to plan."""
    reporter.report(
        protocol.Planned(
            plan=plan.to_protocol(),
            done=plan.done,
            language=plan.spoken.language,
            language_probability=plan.spoken.probability,
            runner_up=plan.spoken.runner_up,
            speech_s=round(plan.speech.seconds, 3),
            plan_s=round(seconds, 3),
            notices=plan.speech.notices,
        )
    )


def report_window(
    plan: WorkPlan,
    text: WindowText,
    seconds: float,
    reporter: Reporter,
    heard: Sequence[dict[str, float]] = (),
) -> None:
    """Report a complete window, in times of the recording; `seconds` is what it took, `heard` the
    languages in its parts.
    """
    crash.reach("segment")
    window = text.window
    start, end = plan.speech.find_bounds(window)
    segments, notices = plan.speech.to_recording(window, text.segments, text.notices)
    if plan.spoken.mixed:
        language = plan.spoken.languages[window.index]
        segments = [dataclasses.replace(segment, language=language) for segment in segments]
    reporter.report(
        protocol.WindowDone(
            index=window.index,
            start_s=round(start / backends.SAMPLE_RATE, 3),
            end_s=round(end / backends.SAMPLE_RATE, 3),
            seconds=round(seconds, 3),
            segments=tuple(segments),
            warnings=tuple(notices),
            heard=tuple(heard),
        )
    )


def report_speakers(speech: Speech, request: Request, networks: Path | None, reporter: Reporter) -> None:
    """Report who speaks when, where it is wanted and somebody does. `networks` is their folder."""
    if networks is not None and speech.seconds:
        heartbeat = reporter.watch_phase(protocol.SPEAKERS_PHASE, speech.length / backends.SAMPLE_RATE)
        found = speakers.find_speakers(speech, request, networks, heartbeat)
        crash.reach("speakers")
        reporter.report(found)


@contextlib.contextmanager
def remove_spool_files(*files: RecordingFile) -> Iterator[None]:
    """Remove the spool files of recordings when the work on them ends, however it ends."""
    try:
        yield
    finally:
        for file in files:
            spool = Path(file.spool)
            for path in (spool, decoding.channels_path(spool)):
                with contextlib.suppress(OSError):
                    path.unlink()

"""Several short recordings ("clips") in shared windows.

Every event but the pack's own carries the number of its recording. `Excluded` with a reason leaves
a recording to be transcribed alone: whatever is wrong with it shows there.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe import protocol
from dropscribe.errors import JobError
from dropscribe.worker import packing, pipeline, plans, window_text
from dropscribe.worker.plans import WorkPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.backends import Backend, Options, Window
    from dropscribe.protocol import RecordingFile, Request
    from dropscribe.transcript import Segment
    from dropscribe.worker.decoding import Decoded
    from dropscribe.worker.engine import Engine, Task
    from dropscribe.worker.events import Reporter
    from dropscribe.worker.packing import Piece
    from dropscribe.worker.speech import Speech

_MOST_SECONDS = 30.0
"""A longer recording is transcribed alone."""
_ROUNDS = 2
"""How often a clip shares a window before it gets one of its own."""
_DETECTORS = 4
"""Clips in which speech is detected at once."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A short recording of a pack."""

    plan: WorkPlan
    plan_s: float
    """Seconds it took to plan."""
    reporter: Reporter

    @property
    def window(self) -> Window:
        """All of it that is transcribed."""
        (window,) = self.plan.spoken.windows
        return window


def transcribe_pack(job: protocol.PackJob, task: Task, engine: Engine, reporter: Reporter) -> None:
    """Run the stages on all recordings of a pack: those of `dropscribe.worker.pipeline`, but for
    shared windows.
    """
    request = job.request
    with pipeline.remove_spool_files(*job.recordings):
        decoded = list(_decode(job, reporter))
        backend = engine.load(task, reporter)
        by_language: dict[str, list[Clip]] = {}
        for clip in _plan(decoded, request, engine, reporter):
            if clip.plan.spoken.windows:
                by_language.setdefault(clip.plan.spoken.language, []).append(clip)
            else:  # nobody speaks
                _report_head(clip, engine)
                clip.reporter.report(protocol.Finished())
        for language, clips in by_language.items():
            contexts = [pipeline.make_context(clip.plan.speech, backend, request, language) for clip in clips]
            for number, segments, seconds in _transcribe(backend, clips, contexts[0].options):
                clip, context = clips[number], contexts[number]
                text = window_text.make_window_text(context, clip.window, segments)
                text = pipeline.complete_window(text, context)
                _report_head(clip, engine)
                pipeline.report_window(clip.plan, text, seconds, clip.reporter)
                clip.reporter.report(protocol.Finished())
    reporter.report(protocol.Finished())


def _decode(job: protocol.PackJob, reporter: Reporter) -> Iterator[tuple[RecordingFile, Decoded]]:
    """Yield the recordings that are short and can be decoded."""
    for file in job.recordings:
        own = reporter.of(file.job)
        try:
            yield file, pipeline.decode(file, job.request, own, max_seconds=_MOST_SECONDS)
        except JobError as error:
            own.report(protocol.Excluded(code=error.code))


def _plan(
    decoded: list[tuple[RecordingFile, Decoded]], request: Request, engine: Engine, reporter: Reporter
) -> Iterator[Clip]:
    """Yield the recordings that have one window, or none. Takes what is `decoded` out of the
    list.
    """
    for file, speech in _detect_speech(decoded, request, reporter):
        own = reporter.of(file.job)
        started = time.monotonic()
        windows = pipeline.plan_windows(speech)
        if speech.speakers:
            own.report(protocol.Excluded(code="speakers-on-channels"))
            continue
        if len(windows) > 1:
            own.report(protocol.Excluded(code="long-pauses"))
            continue
        basis = plans.make_basis(speech, windows, engine.loaded)
        spoken = pipeline.decide_languages(engine.backend, speech, windows, request, own)
        if len(spoken.windows) > 1:
            own.report(protocol.Excluded(code="several-languages"))
            continue
        yield Clip(WorkPlan(speech, basis, spoken), time.monotonic() - started, own)


def _detect_speech(
    decoded: list[tuple[RecordingFile, Decoded]], request: Request, reporter: Reporter
) -> Iterator[tuple[RecordingFile, Speech]]:
    """Yield the speech of each recording; it is detected in several at once, for the engine has
    nothing to do yet.
    """

    def detect(each: tuple[RecordingFile, Decoded]) -> Speech:
        file, found = each
        return pipeline.detect_speech(found, file, request)

    with ThreadPoolExecutor(min(_DETECTORS, request.threads or os.cpu_count() or 1)) as pool:
        files = [file for file, _ in decoded]
        speeches = pool.map(detect, decoded)
        decoded.clear()  # the files that they map may be removed
        for file, speech in zip(files, speeches, strict=True):
            yield file, speech
            reporter.heartbeat(0.0)


# Sharing windows


def _transcribe(
    backend: Backend, clips: Sequence[Clip], options: Options
) -> Iterator[tuple[int, list[Segment], float]]:
    """Yield the number of each clip with its segments and the seconds they took.

    Clips that a shared window gives no sure text share another one, with other neighbours; then
    they go alone.
    """
    spent = dict.fromkeys(range(len(clips)), 0.0)  # of the clips that have no text yet
    options = dataclasses.replace(
        options, normalise_numbers=False
    )  # numbers are spelled as if the other clips were not there
    # A translation has no times that could be trusted to divide it.
    rounds = _ROUNDS if options.task == "transcribe" else 0
    for left in reversed(range(rounds)):
        yield from _transcribe_shared(backend, clips, spent, options, last=not left)
    yield from _transcribe_alone(backend, clips, spent, options)


def _transcribe_shared(
    backend: Backend, clips: Sequence[Clip], spent: dict[int, float], options: Options, *, last: bool
) -> Iterator[tuple[int, list[Segment], float]]:
    """Transcribe the clips of `spent` in shared windows; yield those that get their text, and take
    them out.
    """
    waiting = list(spent)
    groups = packing.group_clips([clips[n].window.end - clips[n].window.start for n in waiting])
    groups = [[waiting[place] for place in group] for group in groups if len(group) > 1]
    if not last and len(groups) > 1:
        groups.pop()  # they share windows with those that get no text in this round
    sound, pieces = _join([clips[n] for group in groups for n in group])
    edges = [0, *itertools.accumulate(map(len, groups))]
    shared = [packing.cover(pieces[a:b], index) for index, (a, b) in enumerate(itertools.pairwise(edges))]
    started = time.monotonic()
    # A shared window that trips a guard is not decoded again: its clips are transcribed in another
    # way anyway.
    found = backend.transcribe(sound, shared, dataclasses.replace(options, retry=False))
    for group, (window, segments), (a, b) in zip(groups, found, itertools.pairwise(edges), strict=True):
        seconds, started = time.monotonic() - started, time.monotonic()
        own = pieces[a:b]
        for number, piece, text in zip(group, own, packing.divide_segments(own, segments), strict=True):
            spent[number] += seconds * (piece.end - piece.start) / (window.end - window.start)
            if text is not None:
                yield number, text, spent.pop(number)


def _transcribe_alone(
    backend: Backend, clips: Sequence[Clip], spent: dict[int, float], options: Options
) -> Iterator[tuple[int, list[Segment], float]]:
    """Transcribe the clips of `spent`, each in a window of its own."""
    sound, pieces = _join([clips[number] for number in spent])
    windows = [packing.cover([piece], 0) for piece in pieces]  # the seed it has alone
    started = time.monotonic()
    for number, piece, (_, segments) in zip(spent, pieces, backend.transcribe(sound, windows, options), strict=True):
        seconds, started = time.monotonic() - started, time.monotonic()
        yield number, packing.to_clip_time(piece, segments), spent[number] + seconds


def _join(clips: Sequence[Clip]) -> tuple[Any, list[Piece]]:
    return packing.join_clips([(clip.plan.speech.samples, clip.window, clip.plan.speech.spans) for clip in clips])


def _report_head(clip: Clip, engine: Engine) -> None:
    """Report of a clip what is reported of every recording before its windows."""
    clip.reporter.report(engine.loaded)
    pipeline.report_plan(clip.plan, clip.plan_s, clip.reporter)

"""The process that holds the model: reads one job a line on stdin, writes events as JSON lines on stdout.

Guarantees: it touches no state but the spool file named in the job; it can be killed at any time; it ends when its
parent does (stdin closes), also in the middle of a job; nothing a library prints can reach the protocol (the real
stdout is kept aside and descriptor 1 points to stderr). Model libraries are imported when the first job needs them.

It may run under another interpreter, which has none of our dependencies but what its own backend brings (see
`dropscribe.backends.environments`): this module and what it imports at its top are standard library only. A backend
that lives elsewhere is reached by becoming that interpreter (exec): same process, same pipes, so that the parent sees
one worker whose line of backends simply went on. Parents give one job at a time, so nothing is on its way meanwhile.

Events, each with the job's number: `decoding` `decoded` `model` (download progress) `fallback` `loaded` `planned`
`window` (one a finished window) and at last `finished` or `failed`; of a pack, `apart` where a recording must go
alone. `log` carries a log line of a library of ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import os
import queue
import resource
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dropscribe import __version__, backends, crash, log_bridge
from dropscribe.backends import environments
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError
from dropscribe.transcript import to_dict
from dropscribe.worker import packing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.models import ModelFolder, Progress
    from dropscribe.transcript import Notice, Segment
    from dropscribe.worker.channels import Sound
    from dropscribe.worker.decoding import Decoded
    from dropscribe.worker.languages import Spoken

_FILES = 1024
"""Files that may be open at once."""
_LISTENERS = 4
"""Short recordings that are listened to at once."""


class _Channel:
    """The protocol's end of stdout. Writes come from the main thread alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._beat = time.monotonic()
        self.job = 0

    def send(self, event: str, **facts: Any) -> None:
        """Write one event; a parent that is gone ends this process."""
        try:
            self._stream.write(json.dumps({"event": event, "job": self.job, **facts}) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            os._exit(0)

    def hand_over(self, command: list[str]) -> None:
        """Become `command`, with this stream as its stdout. Returns only by raising OSError."""
        os.dup2(self._stream.fileno(), 1)
        try:
            os.execv(command[0], command)  # noqa: S606 (no shell is wanted)
        finally:
            os.dup2(2, 1)

    def heartbeat(self, seconds: float) -> None:
        """Tell, at most once a second, how much of a recording is decoded or listened to."""
        if time.monotonic() - self._beat >= 1:
            self._beat = time.monotonic()
            self.send("decoding", done_s=round(seconds, 1))


class _Elsewhere(Exception):  # noqa: N818  # no error: the next backend lives under another interpreter
    def __init__(self, choice: dict[str, Any]) -> None:
        super().__init__(choice["name"])
        self.choice = choice


class _Model:
    """The model in memory and what was asked for to get it; the next job may need another."""

    def __init__(self, python: str, home: str) -> None:
        self.python, self.home = python, home
        """The interpreter that this is, empty for the daemon's own; and the daemon's own."""
        self.asked: tuple[Any, ...] | None = None
        self.backend: backends.Backend | None = None
        self.facts: dict[str, Any] = {}

    def get(self, job: dict[str, Any], channel: _Channel) -> backends.Backend:
        """Return the backend with its model loaded, trying the job's line of backends in order.

        `job["tried"]` remembers who failed. Raises: what `next` raises.
        """
        if self.backend is not None and self.asked == _asked(job):
            channel.send("loaded", **self.facts, load_s=0.0)
            return self.backend
        self.close()
        while (choice := self.next(job)) is not None:
            name, reason = choice["name"], choice["reason"]
            if tried := job.get("tried"):
                reason = f"{reason}: {tried[-1]['message']}"
            try:
                self.backend = self._load(choice, reason, job, channel)
                self.asked = _asked(job)
            except (JobError, ImportError) as error:
                pass_over(job, name, error if isinstance(error, JobError) else _broken(name, error), channel)
        assert self.backend is not None  # noqa: S101 (`next` says so)
        return self.backend

    def next(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Return the next backend to try; None when what the job asks for is loaded.

        Raises: _Elsewhere when that is to be tried under another interpreter; JobError of the first one that was
        tried when none is left.
        """
        if self.backend is not None and self.asked == _asked(job):
            return None
        tried = job.get("tried", [])
        names = {found["backend"] for found in tried}
        choice: dict[str, Any] | None = next((c for c in job["backends"] if c["name"] not in names), None)
        if choice is None:
            first = tried[0]  # the backend that should have run
            kind = EnvironmentFaultError if first["fault"] == EnvironmentFaultError.fault else EngineFaultError
            raise kind(first["code"], first["message"], first["cure"])
        if choice.get("python", "") != self.python:
            raise _Elsewhere(choice)
        return choice

    def _load(self, choice: dict[str, Any], reason: str, job: dict[str, Any], channel: _Channel) -> backends.Backend:
        from dropscribe import models

        last = 0.0

        def progress(p: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= 0.5 or p.done_bytes >= p.total_bytes:
                last = time.monotonic()
                channel.send("model", model=p.model, repo=p.repo, done=p.done_bytes, total=p.total_bytes)

        name = choice["name"]
        folder: ModelFolder = models.resolve(job["model"], name, download=job["download"], progress=progress)
        started = time.monotonic()
        backend = backends.create(name, **choice.get("options", {}))
        loaded = backend.load(folder.path, threads=job["threads"], safe=job.get("safe", False), batch=job["batch"])
        self.facts = {
            "backend": name,
            "reason": reason,
            "options": choice.get("options", {}),
            "device": loaded.device,
            "multilingual": loaded.multilingual,
            "model": folder.name,
            "revision": folder.revision,
            "folder": str(folder.path),
            "versions": {"dropscribe": __version__, **loaded.versions, **_versions()},
        }
        models.used(folder)
        channel.send("loaded", **self.facts, load_s=round(time.monotonic() - started, 3))
        return backend

    def close(self) -> None:
        """Give the memory back."""
        backend, self.backend, self.asked = self.backend, None, None
        if backend is not None:
            backend.close()


def _asked(job: dict[str, Any]) -> tuple[Any, ...]:
    return job["model"], json.dumps(job["backends"]), job["threads"], job["batch"], job.get("safe", False)


def pass_over(job: dict[str, Any], backend: str, error: JobError, channel: _Channel) -> None:
    """Note in the job that `backend` cannot be used, and tell the parent."""
    found = {"backend": backend, "code": error.code, "message": error.message, "cure": error.cure}
    job.setdefault("tried", []).append({**found, "fault": error.fault})
    channel.send("fallback", backend=backend, code=error.code, reason=error.message)


def _broken(name: str, error: ImportError) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "backend-broken",
        f"The backend {name} cannot be imported: {error}.",
        f"`dropscribe backends install {name}`." if name == environments.NAME else "Install Dropscribe again.",
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("av", "onnxruntime", "numpy")}


def _transcribe(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    from dropscribe.worker import languages, recheck

    try:
        decoded = _decode(job, channel, job["max_seconds"])
        backend = model.get(job, channel)
        started = time.monotonic()
        sound = _heard(job, job, decoded, channel.heartbeat)
        del decoded  # what it maps may be gone from the disk
        windows = sound.windows()
        basis = _basis(sound, windows, model)
        done, spoken = _resumed(job, sound, basis) or (0, _languages(job, backend, sound, windows, channel))
        _planned(channel, sound, basis, spoken, done, time.monotonic() - started)
        spans = sound.spans
        for language, first, last in languages.runs(spoken):
            if done >= last:
                continue
            run, options = spoken.windows[first:last], _options(job, language)
            started = time.monotonic()
            for window, segments, notices in recheck.transcribe(
                backend, sound.samples, run, spans, options, done=max(0, done - first)
            ):
                seconds, started = time.monotonic() - started, time.monotonic()
                _done(channel, sound, spoken, window, segments, notices, seconds)
    finally:
        _sweep(job)
    channel.send("finished")


def _heard(
    job: dict[str, Any], entry: dict[str, Any], decoded: Decoded, heartbeat: Callable[[float], None] | None = None
) -> Sound:
    """Listen for speech in a recording, on each channel or in all together."""
    from dropscribe.worker import channels

    return channels.heard(
        decoded,
        Path(entry["spool"]),
        job["channels"],
        job["split_channels"],
        threshold=job.get("speech_threshold", 0.5),
        heartbeat=heartbeat,
    )


def _sweep(entry: dict[str, Any]) -> None:
    """Remove the spool files of a recording."""
    from dropscribe.worker import decoding

    spool = Path(entry["spool"])
    for path in (spool, decoding.beside(spool)):
        with contextlib.suppress(OSError):
            path.unlink()


def _options(job: dict[str, Any], language: str) -> backends.Options:
    prompt, hotwords = job["prompt"] or None, job["hotwords"]
    return backends.Options(language=language, task=job["task"], prompt=prompt, hotwords=hotwords)


def _decode(entry: dict[str, Any], channel: _Channel, max_seconds: float | None) -> Decoded:
    """Decode the recording of a job into its spool file and tell what was found."""
    from dropscribe.worker import decoding

    started = time.monotonic()
    path, spool = Path(entry["path"]), Path(entry["spool"])
    apart = entry["split_channels"] != "never"
    decoded = decoding.decode(
        path,
        spool,
        heartbeat=channel.heartbeat,
        max_seconds=max_seconds,
        apart=apart,
        track=entry.get("audio_track", 0),
        languages=decoding.spoken_languages(entry.get("language", "auto"), entry.get("languages", ())),
    )
    decode_s = time.monotonic() - started
    crash.reach("decoded")
    channel.send(
        "decoded",
        audio_s=round(decoded.seconds, 3),
        decode_s=round(decode_s, 3),
        channels=decoded.channels,
        codec=decoded.codec,
        recorded_at=decoded.recorded_at,
        warnings=[to_dict(w) for w in decoded.warnings],
    )
    return decoded


def _basis(sound: Sound, windows: list[backends.Window], model: _Model) -> dict[str, Any]:
    """Return what finished windows must have in common to be joined."""
    facts = {name: model.facts[name] for name in ("backend", "device", "folder", "revision", "options", "versions")}
    cut = [sound.edges(window) for window in windows]
    return {"samples": sound.length, "speakers": list(sound.speakers), "cut": cut, **facts}


def _resumed(job: dict[str, Any], sound: Sound, basis: dict[str, Any]) -> tuple[int, Spoken] | None:
    """Return how many windows are done, and what was decided on the languages, if work goes on from its own plan.

    Only from checkpoints of exactly this plan: else the parts would not fit together.
    """
    from dropscribe.worker import languages

    resume = job.get("resume") or {}
    if {name: resume.get(name) for name in basis} != basis:
        return None
    windows = [
        backends.Window.of(index, [edge + voice * sound.stride for edge in edges])
        for index, (edges, voice) in enumerate(zip(resume["windows"], resume["voices"], strict=True))
    ]
    spoken = languages.Spoken(
        resume["language"], resume["language_probability"], tuple(windows), tuple(resume["languages"])
    )
    return resume["done"], spoken


def _languages(
    job: dict[str, Any], backend: backends.Backend, sound: Sound, windows: list[backends.Window], channel: _Channel
) -> Spoken:
    """Decide what is spoken, and in which windows that is transcribed."""
    from dropscribe.worker import languages

    return languages.decide(
        backend,
        sound,
        windows,
        language=job["language"],
        candidates=job["languages"],
        mixed=job["mixed_languages"],
        heartbeat=channel.heartbeat,
    )


def _planned(
    channel: _Channel, sound: Sound, basis: dict[str, Any], spoken: Spoken, done: int, plan_s: float
) -> None:
    plan = basis | {
        "windows": [sound.edges(window) for window in spoken.windows],
        "voices": [sound.channel(window.start) for window in spoken.windows],
        "languages": list(spoken.languages),
    }
    channel.send(
        "planned",
        plan=plan,
        done=done,
        language=spoken.language,
        language_probability=spoken.probability,
        speech_s=round(sound.speech_s, 3),
        plan_s=round(plan_s, 3),
        notices=[to_dict(n) for n in sound.notices],
    )


def _done(
    channel: _Channel,
    sound: Sound,
    spoken: Spoken,
    window: backends.Window,
    segments: list[Segment],
    notices: list[Notice],
    seconds: float,
) -> None:
    """Tell of a finished window."""
    crash.reach("segment")
    start, end = sound.times(window)
    segments, notices = sound.told(window, segments, notices)
    if len(set(spoken.languages)) > 1:
        language = spoken.languages[window.index]
        segments = [dataclasses.replace(segment, language=language) for segment in segments]
    channel.send(
        "window",
        index=window.index,
        start_s=round(start / backends.SAMPLE_RATE, 3),
        end_s=round(end / backends.SAMPLE_RATE, 3),
        seconds=round(seconds, 3),
        segments=[to_dict(s) for s in segments],
        warnings=[to_dict(n) for n in notices],
    )


@dataclasses.dataclass
class _Memo:
    """A short recording among others."""

    job: int
    sound: Sound
    basis: dict[str, Any]
    spoken: Spoken
    plan_s: float

    @property
    def window(self) -> backends.Window:
        """All of it that is transcribed."""
        (window,) = self.spoken.windows
        return window


def _pack(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    """Transcribe several short recordings together; each event but the pack's own bears its recording's number.

    `apart` with a reason leaves a recording to be transcribed alone: whatever is wrong with it shows there.
    """
    from dropscribe.worker import recheck

    number = channel.job
    try:
        waiting: list[tuple[dict[str, Any], Decoded]] = []
        for entry in job["recordings"]:
            channel.job = entry["job"]
            try:
                seconds = min(packing.MOST_SECONDS, job["max_seconds"] or math.inf)
                shared = ("split_channels", "audio_track", "language", "languages")
                told = entry | {name: job[name] for name in shared if name in job}
                waiting.append((entry, _decode(told, channel, seconds)))
            except JobError as error:
                channel.send("apart", code=error.code)
        channel.job = number
        backend = model.get(job, channel)
        together: dict[str, list[_Memo]] = {}
        for memo in _memos(waiting, job, model, channel):
            together.setdefault(memo.spoken.language, []).append(memo)
        for language, memos in together.items():
            options = _options(job, language)
            for memo, found, seconds in _heard_together(backend, memos, options):
                channel.job = memo.job
                sound = memo.sound
                checked = recheck.checked(backend, sound.samples, memo.window, found, sound.spans, options)
                _tell(memo, *checked, seconds, model, channel)
    finally:
        channel.job = number
        for entry in job["recordings"]:
            _sweep(entry)
    channel.send("finished")


def _memos(
    waiting: list[tuple[dict[str, Any], Decoded]], job: dict[str, Any], model: _Model, channel: _Channel
) -> Iterator[_Memo]:
    """Yield the recordings that are one window each; finish those in which nobody speaks."""
    assert model.backend is not None  # noqa: S101
    for entry, sound in _all_heard(waiting, job, channel):
        channel.job = entry["job"]
        started = time.monotonic()
        windows = sound.windows()
        if sound.speakers:
            channel.send("apart", code="speakers-on-channels")
            continue
        if len(windows) > 1:
            channel.send("apart", code="long-pauses")
            continue
        spoken = _languages(job, model.backend, sound, windows, channel)
        if len(spoken.windows) > 1:
            channel.send("apart", code="several-languages")
            continue
        memo = _Memo(entry["job"], sound, _basis(sound, windows, model), spoken, time.monotonic() - started)
        if windows:
            yield memo
        else:
            _tell(memo, [], [], 0.0, model, channel)


def _all_heard(
    waiting: list[tuple[dict[str, Any], Decoded]], job: dict[str, Any], channel: _Channel
) -> Iterator[tuple[dict[str, Any], Sound]]:
    """Listen for speech in short recordings, several at once: the engine has nothing to do before."""
    number = channel.job
    with ThreadPoolExecutor(min(_LISTENERS, job["threads"] or os.cpu_count() or 1)) as pool:
        entries = [entry for entry, _ in waiting]
        sounds = pool.map(functools.partial(_heard, job), entries, [decoded for _, decoded in waiting])
        waiting.clear()  # what they map may be gone from the disk
        for heard in zip(entries, sounds, strict=True):
            yield heard
            channel.job = number
            channel.heartbeat(0.0)


def _heard_together(
    backend: backends.Backend, memos: list[_Memo], options: backends.Options
) -> Iterator[tuple[_Memo, list[Segment], float]]:
    """Yield each recording with its segments and the seconds they took.

    Those that a shared window leaves in doubt share another one, with other neighbours; then they are heard alone.
    """
    spent = dict.fromkeys(range(len(memos)), 0.0)
    options = dataclasses.replace(options, alike=False)  # one recording is spelled as if the others were not there
    # A translation has no times that could be trusted to divide it.
    turns = packing.TURNS if options.task == "transcribe" else 0
    for turn in range(turns):
        waiting = list(spent)
        groups = packing.grouped([memos[n].window.end - memos[n].window.start for n in waiting])
        groups = [[waiting[place] for place in group] for group in groups if len(group) > 1]
        if turn + 1 < turns and len(groups) > 1:
            groups.pop()  # they share windows with those that this turn leaves in doubt
        sound, pieces = _laid_out([memos[n] for group in groups for n in group])
        edges = [0, *itertools.accumulate(map(len, groups))]
        shared = [packing.covering(pieces[a:b], index) for index, (a, b) in enumerate(itertools.pairwise(edges))]
        started = time.monotonic()
        # A shared window that trips a guard is not decoded again: its recordings are heard in another way anyway.
        found = backend.transcribe(sound, shared, dataclasses.replace(options, again=False))
        for group, (window, segments), (first, last) in zip(groups, found, itertools.pairwise(edges), strict=True):
            seconds, started = time.monotonic() - started, time.monotonic()
            own = pieces[first:last]
            for number, piece, heard in zip(group, own, packing.divided(own, segments), strict=True):
                spent[number] += seconds * (piece.end - piece.start) / (window.end - window.start)
                if heard is not None:
                    yield memos[number], heard, spent.pop(number)
    sound, pieces = _laid_out([memos[number] for number in spent])
    windows = [packing.covering([piece], 0) for piece in pieces]  # the seed it has alone
    started = time.monotonic()
    for number, piece, (_, segments) in zip(spent, pieces, backend.transcribe(sound, windows, options), strict=True):
        seconds, started = time.monotonic() - started, time.monotonic()
        yield memos[number], packing.returned(piece, segments), spent[number] + seconds


def _laid_out(memos: list[_Memo]) -> tuple[Any, list[packing.Piece]]:
    return packing.laid_out([(memo.sound.samples, memo.window, memo.sound.spans) for memo in memos])


def _tell(
    memo: _Memo, segments: list[Segment], notices: list[Notice], seconds: float, model: _Model, channel: _Channel
) -> None:
    """Say of one recording of several what is said of one alone."""
    channel.send("loaded", **model.facts, load_s=0.0)
    _planned(channel, memo.sound, memo.basis, memo.spoken, 0, memo.plan_s)
    for window in memo.spoken.windows:
        _done(channel, memo.sound, memo.spoken, window, segments, notices, seconds)
    channel.send("finished")


def _check(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    """Load the model and send one second of a soft tone through it: shows that the engine works on this machine."""
    import numpy as np

    backend = model.get(job, channel)
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(backends.SAMPLE_RATE, dtype=np.float32) / backends.SAMPLE_RATE)
    started = time.monotonic()
    options = backends.Options(language="en")
    list(backend.transcribe(tone.astype(np.float32), [backends.Window(0, 0, len(tone))], options))
    channel.send("finished", seconds=round(time.monotonic() - started, 3))


def _usage(_job: dict[str, Any], _model: _Model, channel: _Channel) -> None:
    """Tell the most memory this process has held."""
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024  # getrusage(2) there counts bytes
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo
    mlx = sys.modules.get("mlx.core")
    channel.send("finished", memory_bytes=memory, device_bytes=int(mlx.get_peak_memory()) if mlx else None)


_OPERATIONS = {"transcribe": _transcribe, "pack": _pack, "check": _check, "usage": _usage}


def _run(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    channel.job = job["job"]
    detail = ""
    try:
        while True:
            try:
                if "backends" in job:
                    model.next(job)  # before the recording is decoded for nothing
                _OPERATIONS[job["op"]](job, model, channel)
                break
            except _Elsewhere as there:
                _go(there.choice, job, model, channel)
            except ImportError as error:  # of what the work before the model needs: another interpreter may lack it
                choice = model.next(job)
                if choice is None or not model.python:
                    raise
                pass_over(job, choice["name"], _broken(choice["name"], error), channel)
    except MemoryError:
        failure: JobError = EngineFaultError(
            "out-of-memory", "The engine ran out of memory.", "Choose a smaller model."
        )
    except JobError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 (the one place: whatever a library raises is told and work goes on)
        detail = traceback.format_exc()
        failure = EngineFaultError("engine-error", f"{type(error).__name__}: {error}.")
    else:
        return
    facts = {"code": failure.code, "message": failure.message, "cure": failure.cure}
    channel.send("failed", fault=failure.fault, detail=detail, **facts)


def _go(choice: dict[str, Any], job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    """Become the interpreter of `choice` and go on with `job` there. Returns when that cannot be."""
    model.close()
    python = choice.get("python", "")
    try:
        if python:
            environments.probe(python)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            json.dump({"python": python, "home": model.home, "job": job}, file)
            file.seek(0)
            os.set_inheritable(file.fileno(), True)
            program, number = "worker.main(int(sys.argv[2]))", str(file.fileno())
            channel.hand_over(environments.command(python or model.home, program, number, alone=bool(python)))
    except EnvironmentFaultError as error:
        pass_over(job, choice["name"], error, channel)
    except OSError as error:
        why = EnvironmentFaultError("backend-broken", f"{python} cannot be started: {error.strerror}.")
        pass_over(job, choice["name"], why, channel)


def main(handed: int | None = None) -> None:
    """Serve jobs until stdin closes.

    `handed` is the descriptor of a file that says which interpreter this is and what job it was begun for.
    """
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = _Channel(stream)
    _configure_logs(channel)
    _allow_files()
    # numpy's threads wait busily for their next product of matrices, and there is always a small one for the next
    # window's spectrogram: with many short recordings they took a tenth of all time. Read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    model = _Model("", sys.executable)
    if handed is not None:
        with os.fdopen(handed, encoding="utf-8") as file:
            found = json.load(file)
        model = _Model(found["python"], found["home"])
        jobs.put(found["job"])

    def read() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
        # The parent closed our stdin or is gone. Work in progress is worth nothing without it.
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="stdin").start()
    channel.send("ready", pid=os.getpid())
    while True:
        _run(jobs.get(), model, channel)


def _allow_files() -> None:
    """Have room for a whole pack: of each recording one or two files stay open. A Mac begins with 256 in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (_FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard), hard)
        )


def _configure_logs(channel: _Channel) -> None:
    """Send what our own modules log here through the parent, which is the only writer of the log."""

    def forward(level: str, name: str, facts: dict[str, Any]) -> None:
        channel.send("log", level=level, name=name, facts={k: _plain(v) for k, v in facts.items()})

    log_bridge.sink = forward


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)

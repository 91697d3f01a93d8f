"""The process that holds the model: reads one job a line on stdin, writes events as JSON lines on stdout.

Guarantees: it touches no state but the spool file named in the job; it can be killed at any time; it ends when its
parent does (stdin closes), also in the middle of a job; nothing a library prints can reach the protocol (the real
stdout is kept aside and descriptor 1 points to stderr). Model libraries are imported when the first job needs them.

Events, each with the job's number: `decoding` `decoded` `model` (download progress) `fallback` `loaded` `planned`
`window` (one a finished window) and at last `finished` or `failed`. `log` carries a log line of a library of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dropscribe import __version__, backends, crash
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError
from dropscribe.transcript import to_dict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.models import ModelFolder, Progress
    from dropscribe.speech import Span

_DETECTION_SECONDS = 30
"""Whisper looks at no more than 30 s to tell the language."""


class _Channel:
    """The protocol's end of stdout. Writes come from the main thread alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.job = 0

    def send(self, event: str, **facts: Any) -> None:
        """Write one event; a parent that is gone ends this process."""
        try:
            self._stream.write(json.dumps({"event": event, "job": self.job, **facts}) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            os._exit(0)


class _Model:
    """The model in memory and what was asked for to get it; the next job may need another."""

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] | None = None
        self.backend: backends.Backend | None = None
        self.facts: dict[str, Any] = {}

    def get(self, job: dict[str, Any], channel: _Channel) -> backends.Backend:
        """Return the backend with its model loaded, trying the job's line of backends in order.

        Raises: JobError of the last backend tried when none can be loaded.
        """
        asked = (
            job["model"],
            tuple(c["name"] for c in job["backends"]),
            job["threads"],
            job["batch"],
            job.get("safe", False),
        )
        if self.backend is not None and self.asked == asked:
            channel.send("loaded", **self.facts, load_s=0.0)
            return self.backend
        self.close()
        failures: list[JobError] = []
        for choice in job["backends"]:
            name, reason = choice["name"], choice["reason"]
            if failures:
                reason = f"{reason}: {failures[-1].message}"
            try:
                self.backend = self._load(name, reason, job, channel)
            except (JobError, ImportError) as error:
                failures.append(error if isinstance(error, JobError) else _broken(name, error))
                channel.send("fallback", backend=name, code=failures[-1].code, reason=failures[-1].message)
                continue
            self.asked = asked
            return self.backend
        raise failures[0]  # the backend that should have run

    def _load(self, name: str, reason: str, job: dict[str, Any], channel: _Channel) -> backends.Backend:
        from dropscribe import models

        last = 0.0

        def progress(p: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= 0.5 or p.done_bytes >= p.total_bytes:
                last = time.monotonic()
                channel.send("model", model=p.model, repo=p.repo, done=p.done_bytes, total=p.total_bytes)

        folder: ModelFolder = models.resolve(job["model"], name, download=job["download"], progress=progress)
        started = time.monotonic()
        backend = backends.create(name)
        loaded = backend.load(folder.path, threads=job["threads"], safe=job.get("safe", False), batch=job["batch"])
        self.facts = {
            "backend": name,
            "reason": reason,
            "device": loaded.device,
            "multilingual": loaded.multilingual,
            "model": folder.name,
            "revision": folder.revision,
            "folder": str(folder.path),
            "versions": {"dropscribe": __version__, **loaded.versions, **_versions()},
        }
        channel.send("loaded", **self.facts, load_s=round(time.monotonic() - started, 3))
        return backend

    def close(self) -> None:
        """Give the memory back."""
        backend, self.backend, self.asked = self.backend, None, None
        if backend is not None:
            backend.close()


def _broken(name: str, error: ImportError) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "backend-broken", f"The backend {name} cannot be imported: {error}.", "Install Dropscribe again."
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("av", "onnxruntime", "numpy")}


def _transcribe(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    from dropscribe import audio, doubt, speech

    spool = Path(job["spool"])
    last = time.monotonic()

    def heartbeat(seconds: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            channel.send("decoding", done_s=round(seconds, 1))

    started = time.monotonic()
    try:
        decoded = audio.decode(Path(job["path"]), spool, heartbeat=heartbeat, max_seconds=job["max_seconds"])
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
        backend = model.get(job, channel)
        started = time.monotonic()
        spans = speech.spans(decoded.samples, heartbeat=heartbeat)
        windows = speech.windows(decoded.samples, spans)
        resume = job.get("resume") or {}
        plan = {
            "samples": len(decoded.samples),
            "windows": [[w.start, w.end] for w in windows],
            "backend": model.facts["backend"],
            "device": model.facts["device"],
            "folder": model.facts["folder"],
            "revision": model.facts["revision"],
        }
        # Work goes on only from checkpoints of exactly this plan: else the parts would not fit together.
        same = {k: v for k, v in resume.items() if k in plan} == plan
        done = resume["done"] if same else 0
        if same:
            language, probability = resume["language"], resume["language_probability"]
        else:
            language, probability = _language(job, backend, decoded.samples, spans)
        speech_s = sum(s.end - s.start for s in spans) / backends.SAMPLE_RATE
        channel.send(
            "planned",
            plan=plan,
            done=done,
            language=language,
            language_probability=probability,
            speech_s=round(speech_s, 3),
            plan_s=round(time.monotonic() - started, 3),
        )
        prompt, hotwords = job["prompt"] or None, job["hotwords"]
        options = backends.Options(language=language, task=job["task"], prompt=prompt, hotwords=hotwords)
        started = time.monotonic()
        for window, segments, notices in doubt.transcribe(
            backend, decoded.samples, windows, spans, options, done=done
        ):
            seconds, started = time.monotonic() - started, time.monotonic()
            crash.reach("segment")
            channel.send(
                "window",
                index=window.index,
                start_s=round(window.start / backends.SAMPLE_RATE, 3),
                end_s=round(window.end / backends.SAMPLE_RATE, 3),
                seconds=round(seconds, 3),
                segments=[to_dict(s) for s in segments],
                warnings=[to_dict(n) for n in notices],
            )
        channel.send("finished")
    finally:
        with contextlib.suppress(OSError):
            spool.unlink()


def _language(
    job: dict[str, Any], backend: backends.Backend, samples: NDArray[np.float32], spans: list[Span]
) -> tuple[str, float | None]:
    """Return the language set, or the one that the first 30 s of speech are in; `und` when nobody speaks."""
    import numpy as np

    if job["language"] != "auto":
        return job["language"], None
    heard: list[NDArray[np.float32]] = []
    room = _DETECTION_SECONDS * backends.SAMPLE_RATE
    for span in spans:
        heard.append(np.asarray(samples[span.start : min(span.end, span.start + room)]))
        room -= len(heard[-1])
        if room <= 0:
            break
    if not heard:
        return "und", None
    language, probability = backend.detect_language(np.concatenate(heard))
    return language, round(probability, 4)


def _check(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    """Load the model and send one second of a soft tone through it: shows that the engine works on this machine."""
    import numpy as np

    backend = model.get(job, channel)
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(backends.SAMPLE_RATE, dtype=np.float32) / backends.SAMPLE_RATE)
    started = time.monotonic()
    options = backends.Options(language="en")
    list(backend.transcribe(tone.astype(np.float32), [backends.Window(0, 0, len(tone))], options))
    channel.send("finished", seconds=round(time.monotonic() - started, 3))


_OPERATIONS = {"transcribe": _transcribe, "check": _check}


def _run(job: dict[str, Any], model: _Model, channel: _Channel) -> None:
    channel.job = job["job"]
    detail = ""
    try:
        _OPERATIONS[job["op"]](job, model, channel)
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


def main() -> None:
    """Serve jobs until stdin closes."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = _Channel(stream)
    _configure_logs(channel)
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
        # The parent closed our stdin or is gone. Work in progress is worth nothing without it.
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="stdin").start()
    channel.send("ready", pid=os.getpid())
    model = _Model()
    while True:
        _run(jobs.get(), model, channel)


def _configure_logs(channel: _Channel) -> None:
    """Send what our own modules log here through the parent, which is the only writer of the log."""
    import structlog

    def forward(_logger: Any, level: str, facts: Any) -> Any:
        name = facts.pop("event")
        channel.send("log", level=level, name=name, facts={k: _plain(v) for k, v in facts.items()})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, forward])


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


if __name__ == "__main__":
    main()

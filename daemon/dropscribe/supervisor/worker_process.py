"""The worker as its parent sees it: start it, give it jobs, hear its events, end it.

Guarantees: imports no model library; the child is spawned, never forked; its stdin is a pipe from us alone, so it
ends when we do, however we end; every event of a worker, its end included, reaches `post` exactly once, from
another thread, marked with the worker it came from.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import backends, transcript
from dropscribe.backends import environments
from dropscribe.errors import EnvironmentFaultError
from dropscribe.formats import turns
from dropscribe.settings import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dropscribe.settings import Settings

WHISPERX_OPTIONS = ("whisperx_aligner", "whisperx_diarizer")
"""Those of `RESULT_OPTIONS` that only WhisperX knows."""
NUMBER_OPTIONS = ("audio_track", "speech_threshold")
"""Those of `RESULT_OPTIONS` that are numbers. They are noted as text, and as nothing at their defaults."""
RESULT_OPTIONS = (
    "backend",
    "model",
    "language",
    "languages",
    "mixed_languages",
    "task",
    "prompt",
    "glossary",
    "channels",
    "split_channels",
    *NUMBER_OPTIONS,
    *WHISPERX_OPTIONS,
)
"""The settings that change what the engine says. Replacements and formats come after it."""


def options(settings: Settings) -> dict[str, transcript.Option]:
    """Return the values of `RESULT_OPTIONS` as JSON has them.

    Those of WhisperX are empty at their defaults, and where the setting `backend` comes to another engine.
    """
    values = {name: getattr(settings, name) for name in RESULT_OPTIONS}
    changed = [name for name in WHISPERX_OPTIONS if values[name] != FIELDS[name].default]
    if not changed or [choice.name for choice in backends.choose_here(settings)][:1] != [environments.NAME]:
        changed = []
    values |= dict.fromkeys(set(WHISPERX_OPTIONS).difference(changed), "")
    values |= {n: "" if values[n] == FIELDS[n].default else f"{values[n]:g}" for n in NUMBER_OPTIONS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a worker. `exit` is the event that is always its last."""

    worker: Worker
    event: str
    job: int
    facts: dict[str, Any]


class Worker:
    """One child process."""

    def __init__(self, post: Callable[[Message], None], command: Sequence[str] | None = None) -> None:
        """Start it. `command` replaces the real worker in tests of faults that cannot be made for real."""
        environment = os.environ | {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        self._post = post
        self._process = subprocess.Popen(
            list(command or (sys.executable, "-m", "dropscribe.worker")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for us, not for it
        )
        self._stderr: collections.deque[str] = collections.deque(maxlen=20)
        self._drain = threading.Thread(target=self._read_stderr, daemon=True, name="worker stderr")
        self._drain.start()
        self._listen = threading.Thread(target=self._read, daemon=True, name="worker stdout")
        self._listen.start()

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def send(self, job: int, operation: str, **facts: Any) -> None:
        """Give it a job. A worker that is gone is told by its `exit` event, not here."""
        stdin = self._process.stdin
        with contextlib.suppress(OSError, ValueError):
            assert stdin is not None  # noqa: S101 (it was opened as a pipe)
            stdin.write(json.dumps({"job": job, "op": operation, **facts}) + "\n")
            stdin.flush()

    def memory(self) -> int | None:
        """Return the bytes of memory it holds now, or None when nobody can tell."""
        command = ["ps", "-o", "rss=", "-p", str(self.pid)]
        try:
            if sys.platform == "linux":  # no process of its own for each recording
                pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
                return int(pages) * os.sysconf("SC_PAGE_SIZE")
            return 1024 * int(subprocess.run(command, capture_output=True, timeout=5, check=False).stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None

    def kill(self) -> None:
        """End it at once; it has no state to save."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._listen.join(timeout=5)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with self._process.stderr as lines:
            for line in lines:
                self._stderr.append(line.rstrip())

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        with self._process.stdout as lines:
            for line in lines:
                try:
                    facts = json.loads(line)
                    event, job = facts.pop("event"), facts.pop("job")
                except (ValueError, KeyError, AttributeError, TypeError):
                    self._stderr.append(line.rstrip())  # a native library that wrote to a descriptor of its own
                    continue
                self._post(Message(self, event, job, facts))
        code = self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._drain.join(timeout=5)
        self._post(Message(self, "exit", 0, {"code": code, "how": how(code), "stderr": "\n".join(self._stderr)}))


def how(code: int) -> str:
    """Return how a process ended, of which subprocess tells this code. Not every signal has a name."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def request(settings: Settings, *, download: bool) -> dict[str, Any]:
    """Return the part of a job that comes from the settings.

    Raises: EnvironmentFaultError `backend-missing` when no backend that fits is installed.
    """
    line = backends.choose_here(settings)
    if not line:
        present = ", ".join(sorted(backends.installed(settings))) or "none"
        how = "`dropscribe backends install whisperx` does it" if settings.backend == "whisperx" else "Install it"
        raise EnvironmentFaultError(
            "backend-missing",
            f"The backend {settings.backend} is not installed (installed: {present}).",
            f"{how}, or set `backend` to auto.",
        )
    return {
        "backends": [{"name": c.name, "reason": c.reason} | environments.job(c.name, settings) for c in line],
        "model": settings.model,
        "language": settings.language,
        "task": settings.task,
        "prompt": settings.prompt,
        "hotwords": ", ".join(settings.glossary) or None,
        "languages": list(settings.languages),
        "mixed_languages": settings.mixed_languages,
        "channels": list(settings.channels),
        "split_channels": settings.split_channels,
        "audio_track": settings.audio_track,
        "speech_threshold": settings.speech_threshold,
        "threads": settings.threads,
        "batch": settings.batch,
        "max_seconds": settings.max_hours * 3600 or None,
        "download": download,
    }


def assemble(
    source: transcript.Source, facts: dict[str, Any], windows: Iterable[dict[str, Any]], settings: Settings
) -> transcript.Transcript:
    """Join the windows of one recording to its transcript.

    Args:
        source: the recording; `recorded_at` and `channels` are filled in from `facts`.
        facts: what the events `decoded`, `loaded` and `planned` said.
        windows: the `window` events in order.
        settings: what was asked for.
    """
    segments: list[transcript.Segment] = []
    notices = [transcript.Notice(**w) for w in (*facts["warnings"], *facts.get("notices", ()))]
    seconds = facts["plan_s"]
    for window in windows:
        seconds += window["seconds"]
        segments += [transcript.segment_from_dict(s) for s in window["segments"]]
        # A window that was noted before there were warnings has none.
        notices += [transcript.Notice(**w) for w in window.get("warnings", ())]
    numbered = tuple(dataclasses.replace(s, id=i) for i, s in enumerate(turns.ordered(segments)))
    audio_s = facts["audio_s"]
    if not facts["speech_s"]:
        notices.append(transcript.Notice("no-speech", 0.0, audio_s, "Nobody speaks in this recording."))
    filled = [word for segment in numbered for word in segment.words if word.probability is None]
    if filled:
        detail = (
            f"The engine gave no times for {len(filled)} words: theirs are filled in from what stands around them."
        )
        notices.append(transcript.Notice("word-times-filled-in", filled[0].start, filled[-1].end, detail))
    work = facts["decode_s"] + seconds
    return transcript.Transcript(
        text=" ".join(s.text for s in numbered),
        language=facts["language"],
        language_probability=facts["language_probability"],
        duration=audio_s,
        segments=numbered,
        source=dataclasses.replace(
            source,
            recorded_at=facts["recorded_at"],
            recorded_from="container" if facts["recorded_at"] else None,
            channels=facts["channels"],
        ),
        engine=transcript.Engine(
            backend=facts["backend"],
            device=facts["device"],
            model=facts["model"],
            revision=facts["revision"],
            versions=facts["versions"],
            options=options(settings),
        ),
        timing=transcript.Timing(
            audio_s=audio_s,
            decode_s=facts["decode_s"],
            transcribe_s=round(seconds, 3),
            speed=round(audio_s / work, 2) if work else 0.0,
        ),
        warnings=tuple(notices),
    )

"""Files to transcripts with one worker, without the daemon and its journal.

Guarantees: nothing is written but the decoded sound, in a temporary folder that is removed; the worker ends with the
context; a worker that died is replaced for the next file.
"""

from __future__ import annotations

import queue
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import protocol
from dropscribe.cli.console import say
from dropscribe.errors import DropscribeError, Fault, JobError, RecordingFaultError
from dropscribe.supervisor import assembly, worker_process
from dropscribe.supervisor.inbox import Stat, digest_file
from dropscribe.supervisor.meter import Meter
from dropscribe.transcript import Source

if TYPE_CHECKING:
    from typing import Self

    from dropscribe.cli.console import ProgressBar
    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript


@dataclass(slots=True)
class _Reports:
    """What the worker has reported of one file."""

    decoded: protocol.Decoded | None = None
    loaded: protocol.Loaded | None = None
    planned: protocol.Planned | None = None
    windows: list[protocol.WindowDone] = field(default_factory=list)
    speakers: protocol.SpeakersFound | None = None


_REFRESH_SECONDS = 0.5
"""Between two looks at the clock while the worker reports nothing."""


class FileTranscriber:
    """One worker for one file after another. Leaving the context ends it."""

    def __init__(self, settings: Settings, bar: ProgressBar) -> None:
        """Start nothing yet. `bar` shows windows and downloads.

        Raises: EnvironmentFaultError when no backend that fits is installed.
        """
        self._settings = settings
        self._bar = bar
        self._request = worker_process.make_request(settings, download=True)
        self._messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
        self._worker: worker_process.Worker | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="dropscribe-")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.kill()
        self._folder.cleanup()

    def transcribe(self, path: Path) -> Transcript:
        """Return the transcript of one file.

        Raises: JobError when this file cannot be transcribed; DropscribeError when no file can.
        """
        source, mtime_ns = _read_source(path)
        reports = self._send(path)
        if reports.decoded is None or reports.loaded is None or reports.planned is None:
            raise JobError("worker-died", "The engine's process finished without a report.")
        transcript = assembly.assemble_transcript(
            source, reports.decoded, reports.loaded, reports.planned, reports.windows, self._settings
        )
        transcript = assembly.add_speakers(transcript, reports.speakers, self._settings)
        now = datetime.now().astimezone()
        return assembly.finish_transcript(transcript, path, mtime_ns, self._settings, now)

    def _send(self, path: Path) -> _Reports:
        """Give the worker one file and collect what it reports until it is finished."""
        if self._worker is None:
            self._worker = worker_process.Worker(self._messages.put)
        self._count += 1
        spool = Path(self._folder.name) / f"{self._count}.f32"
        recording = protocol.RecordingFile(self._count, str(path.resolve()), str(spool))
        self._worker.send(protocol.TranscribeJob(recording=recording, request=self._request))
        reports, meter = _Reports(), Meter([self._count], "starting the engine")
        while True:
            try:
                event = self._messages.get(timeout=_REFRESH_SECONDS).event
            except queue.Empty:
                event = None
            if event is not None:
                meter.observe(event)
                if self._take(event, reports):
                    return reports
            reading = meter.read()
            self._bar.show_phase(path.name, reading.phase, reading.percent, reading.eta_s)

    def _take(self, event: protocol.Event, reports: _Reports) -> bool:
        """Note one event; return whether it is the last of this file."""
        match event:
            case protocol.Decoded():
                reports.decoded = event
            case protocol.Loaded():
                reports.loaded = event
            case protocol.Planned():
                reports.planned = event
                del reports.windows[event.done :]
            case protocol.WindowDone():
                reports.windows.append(event)
            case protocol.SpeakersFound():
                reports.speakers = event
            case protocol.Fallback():
                say(f"dropscribe: {event.backend} is passed over: {event.reason}")
            case protocol.Failed():
                if event.fault == Fault.ENVIRONMENT and not reports.windows:
                    raise DropscribeError(event.message, event.cure)
                raise JobError(event.code, event.message, event.cure)
            case protocol.Exited():
                self._worker = None
                message = f"The engine's process ended with {event.how}."
                raise JobError("worker-died", message, event.stderr[-500:])
            case protocol.Finished():
                return True
        return False


def _read_source(path: Path) -> tuple[Source, int]:
    """Return a file's entry in its transcript, and when it was changed in nanoseconds since the epoch.

    Raises: RecordingFaultError `unreadable`; EnvironmentFaultError when its content is not on this machine.
    """
    try:
        found = path.stat()
        sha256 = digest_file(path.resolve(), Stat(found.st_size, found.st_mtime_ns)) or ""
    except OSError as error:
        raise RecordingFaultError("unreadable", f"It cannot be read: {error.strerror}.") from None
    return Source(path.name, str(path.absolute()), sha256, found.st_size), found.st_mtime_ns

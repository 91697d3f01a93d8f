"""How fast every engine and model on this machine is, how long it loads and what it holds: to choose one by.

Guarantees: each pair of engine and model runs in a worker process of its own, as under the daemon, and ends with it;
of the daemon's state nothing is read or written; no model is fetched unless asked for. A pair that fails is a row
that says why. How many errors a model makes is not measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import backends, protocol
from dropscribe.errors import DropscribeError, Fault
from dropscribe.models.catalogue import ALIASES, NAMES
from dropscribe.models.store import ModelStore
from dropscribe.supervisor import worker_process
from dropscribe.worker import decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dropscribe.settings import Settings

SAMPLE = Path(__file__).parents[1] / "sample.ogg"
"""19 s of synthesised English, made for Dropscribe (sample.txt)."""
_TIMES = 6
"""How often the sample is heard in a row: two minutes, so that engines that decode several windows at once do."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one engine with one model. Zeros where it failed."""

    backend: str
    model: str
    device: str = ""
    """Where it ran, with the number format."""
    load_s: float = 0.0
    """Seconds from the model's files to a model in memory."""
    audio_s: float = 0.0
    seconds: float = 0.0
    """Seconds for decoding, speech detection and transcription, the engine warm."""
    speed: float = 0.0
    """`audio_s` over `seconds`: times real time."""
    memory_bytes: int = 0
    """The most memory the process held, as the system counts it."""
    device_bytes: int | None = None
    """The most memory that MLX held for arrays, on a GPU beside the former; None for other engines."""
    failure: str = ""


def pairs(chosen: Settings, wanted: Sequence[str] = (), backend: str | None = None) -> list[tuple[str, str]]:
    """Return the engines and models to measure: those named, else every model that is on this machine.

    Raises: DropscribeError when there is none.
    """
    present = [name for name in backends.NAMES if name in backends.installed(chosen) and backend in {None, name}]
    if not present:
        what = "No engine is installed" if backend is None else f"The engine {backend} is not installed"
        raise DropscribeError(f"{what}.", "`dropscribe doctor` looks closer.")
    if wanted:
        return [(name, model) for name in present for model in wanted]
    here = [
        (row.backend, row.name)
        for row in ModelStore().list_models()
        if row.origin is not None and row.backend in present
    ]
    if chosen.model not in {"auto", *NAMES, *ALIASES}:  # a folder or a repository
        for name in present:
            with contextlib.suppress(DropscribeError):
                ModelStore().resolve_model(chosen.model, name, download=False)
                here.append((name, chosen.model))
    if not here:
        cure = "`dropscribe models pull` fetches one; so does `dropscribe bench --model small --download`."
        raise DropscribeError("No model is on this machine yet.", cure)
    return here


@contextlib.contextmanager
def sample() -> Iterator[Path]:
    """Give the sample that comes with the package, several times in a row, as a file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        heard = decoding.decode(SAMPLE, Path(folder) / "spool").samples
        path = Path(folder) / "sample.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(backends.SAMPLE_RATE)
            file.writeframes((heard * 32767).astype("<i2").tobytes() * _TIMES)
        yield path


def measure(
    path: Path,
    backend: str,
    model: str,
    chosen: Settings,
    *,
    download: bool = False,
    tell: Callable[[str, float, float], None] = lambda *_: None,
) -> Row:
    """Run one engine with one model over `path` in a process of its own.

    Args:
        path: the recording.
        backend: a name of `backends.NAMES`.
        model: a name, a repository or a folder.
        chosen: language, task, prompt and threads are taken from it.
        download: whether a model that is missing may be fetched.
        tell: called with what is done now (`loading`, `downloading`, `transcribing`), how much, and of how much.

    Raises: DropscribeError when the recording itself cannot be transcribed.
    """
    request = worker_process.make_request(
        dataclasses.replace(chosen, backend=backend, model=model), download=download
    )
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    row = Row(backend, model)
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        worker = worker_process.Worker(messages.put)
        try:
            worker.send(protocol.CheckJob(job=1, request=request))  # compiles and allocates what is made once
            recording = protocol.RecordingFile(2, str(path.resolve()), str(Path(folder) / "spool"))
            worker.send(protocol.TranscribeJob(recording=recording, request=request))
            worker.send(protocol.UsageJob(job=3))
            seconds = 0.0
            tell("loading", 0.0, 1.0)
            while True:
                message = messages.get()
                match message.event, message.job:
                    case protocol.Exited(how=how), _:
                        return dataclasses.replace(row, failure=f"Its process ended with {how}.")
                    case protocol.Failed() as failed, job:
                        error = DropscribeError(failed.message, failed.cure)
                        if job != 1 and failed.fault == Fault.RECORDING:
                            raise error
                        return dataclasses.replace(row, failure=str(error))
                    case protocol.Downloading(done=done, total=total), _:
                        tell("downloading", done, total)
                    case protocol.Loaded() as loaded, 1:
                        row = dataclasses.replace(row, device=loaded.device, load_s=loaded.load_s)
                    case protocol.Decoded() as decoded, 2:
                        seconds += decoded.decode_s
                    case protocol.Planned() as planned, 2:
                        seconds += planned.plan_s
                    case protocol.WindowDone() as window, 2:
                        seconds += window.seconds
                        tell("transcribing", window.end_s, decoded.audio_s)
                    case protocol.Finished(), 2:
                        row = dataclasses.replace(
                            row,
                            audio_s=decoded.audio_s,
                            seconds=round(seconds, 3),
                            speed=round(decoded.audio_s / seconds, 2),
                        )
                    case protocol.Finished() as usage, 3:
                        return dataclasses.replace(
                            row, memory_bytes=usage.memory_bytes or 0, device_bytes=usage.device_bytes
                        )
        finally:
            worker.kill()

"""`dropscribe bench`: speed, load time and memory of every engine and model on this machine, to choose one by.

Guarantees: each pair of engine and model runs in its own worker process, as under the daemon; the daemon's state is
neither read nor written; no model is downloaded unless asked for. A pair that fails is a row that says why. How many
errors a model makes is not measured.
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

from dropscribe import protocol, settings
from dropscribe.backends import SAMPLE_RATE, choice
from dropscribe.cli.console import ProgressBar, print_json, say
from dropscribe.errors import DropscribeError, Exit, Fault, UsageError
from dropscribe.models.catalogue import ALIASES, NAMES
from dropscribe.models.store import ModelStore
from dropscribe.supervisor import locks, worker_process
from dropscribe.worker import decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dropscribe.cli import commands
    from dropscribe.settings import Settings

SAMPLE = Path(__file__).parents[1] / "sample.ogg"
"""19 s of synthesised English, made for Dropscribe (sample.txt)."""
_REPEATS = 6
"""How often the sample is repeated: two minutes, so that engines that decode several windows at once do so."""
_WARM_UP, _TRANSCRIBE, _USAGE = 1, 2, 3
"""The jobs of a measurement, in this order. The first compiles and allocates what is made once."""
_MODEL_WIDTH = 20
"""Columns for the model in the table; of a longer name the end is shown."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One engine with one model. Zeros where it failed. The fields are the keys of the JSON."""

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
    """The most memory that MLX held for arrays, on a GPU in addition; None for other engines."""
    failure: str = ""
    """Why there is no measurement."""


def show_measurements(arguments: commands.Bench) -> int:
    """Measure each pair of engine and model and print a line each; the exit code says whether any worked."""
    chosen = settings.load().settings
    if arguments.file is None:
        # The sample is English, whatever the settings say of other recordings.
        chosen = dataclasses.replace(chosen, language="en", task="transcribe", prompt="", glossary=(), channels=())
    elif not arguments.file.is_file():
        raise UsageError(f"There is no recording {arguments.file}.")
    pairs = choose_pairs(chosen, arguments.models, arguments.backend)
    if locks.is_running(chosen.state):
        say("The daemon is running. What it transcribes meanwhile makes these figures worse.")
    rows = []
    with open_sample() if arguments.file is None else contextlib.nullcontext(arguments.file) as path:
        for number, (backend, model) in enumerate(pairs, 1):
            say(f"{number} of {len(pairs)}: {backend} {model}")
            with ProgressBar() as bar:
                row = measure(
                    path, backend, model, chosen, download=arguments.download, report_progress=bar.show_seconds
                )
            rows.append(row)
            if not arguments.json:
                if number == 1:
                    print(f"{'engine':<15} {'model':<20} {'device':<14} {'load':>8} {'speed':>10} {'memory':>10}")
                print(_format_row(row), flush=True)
    if arguments.json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        say("Speed is in times real time. How many errors a model makes is not measured: larger ones make fewer.")
    return Exit.FAILED if all(row.failure for row in rows) else Exit.OK


def _format_row(row: Measurement) -> str:
    name = row.model if len(row.model) <= _MODEL_WIDTH else "…" + row.model[1 - _MODEL_WIDTH :]
    start = f"{row.backend:<15} {name:<{_MODEL_WIDTH}} "
    if row.failure:
        return start + row.failure
    memory = f"{row.memory_bytes / 1e6:.0f} MB"
    if row.device_bytes is not None:
        memory += f", arrays {row.device_bytes / 1e6:.0f} MB"
    return start + f"{row.device:<14} {row.load_s:>6.1f} s {row.speed:>8.1f} x {memory:>10}"


def choose_pairs(chosen: Settings, wanted: Sequence[str] = (), backend: str | None = None) -> list[tuple[str, str]]:
    """Return the engines and models to measure: the models named, else every model that is on this machine.

    Raises: DropscribeError when there is none.
    """
    present = [
        name for name in settings.BACKENDS if name in choice.find_installed(chosen) and backend in {None, name}
    ]
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
def open_sample() -> Iterator[Path]:
    """Write the sample of this package, repeated, to a file that exists for the length of the context."""
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        samples = decoding.decode(SAMPLE, Path(folder) / "spool").samples
        path = Path(folder) / "sample.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes((samples * 32767).astype("<i2").tobytes() * _REPEATS)
        yield path


def measure(
    path: Path,
    backend: str,
    model: str,
    chosen: Settings,
    *,
    download: bool = False,
    report_progress: Callable[[str, float, float], None] = lambda *_: None,
) -> Measurement:
    """Run one engine with one model over `path` in its own process.

    Args:
        path: the recording.
        backend: a name of `settings.BACKENDS`.
        model: a name, a repository or a folder.
        chosen: language, task, prompt and threads are taken from it.
        download: whether a model that is missing may be downloaded.
        report_progress: called with the phase (`loading`, `downloading`, `transcribing`), how much of it is done,
            and of how much.

    Raises: DropscribeError when the recording itself cannot be transcribed.
    """
    asked = dataclasses.replace(chosen, backend=backend, model=model)
    request = worker_process.make_request(asked, download=download)
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    row = Measurement(backend, model)
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        worker = worker_process.Worker(messages.put)
        try:
            recording = protocol.RecordingFile(_TRANSCRIBE, str(path.resolve()), str(Path(folder) / "spool"))
            worker.send(protocol.CheckJob(job=_WARM_UP, request=request))
            worker.send(protocol.TranscribeJob(recording=recording, request=request))
            seconds = audio_s = 0.0
            report_progress("loading", 0.0, 1.0)
            while True:
                message = messages.get()
                match message.event, message.job:
                    case protocol.Exited(how=how), _:
                        return dataclasses.replace(row, failure=f"Its process ended with {how}.")
                    case protocol.Failed() as failed, job:
                        error = DropscribeError(failed.message, failed.cure)
                        if job != _WARM_UP and failed.fault == Fault.RECORDING:
                            raise error
                        return dataclasses.replace(row, failure=str(error))
                    case protocol.Downloading(done=done, total=total), _:
                        report_progress("downloading", done, total)
                    case protocol.Loaded() as loaded, job if job == _WARM_UP:
                        row = dataclasses.replace(row, device=loaded.device, load_s=loaded.load_s)
                    case protocol.Decoded() as decoded, _:
                        audio_s = decoded.audio_s
                        seconds += decoded.decode_s
                    case protocol.Planned() as planned, _:
                        seconds += planned.plan_s
                    case protocol.WindowDone() as window, _:
                        seconds += window.seconds
                        report_progress("transcribing", window.end_s, audio_s)
                    case protocol.Finished(), job if job == _TRANSCRIBE:
                        speed = round(audio_s / seconds, 2)
                        row = dataclasses.replace(row, audio_s=audio_s, seconds=round(seconds, 3), speed=speed)
                        worker.send(protocol.UsageJob(job=_USAGE))  # sent before, it would go between the windows
                    case protocol.Finished() as usage, job if job == _USAGE:
                        return dataclasses.replace(
                            row, memory_bytes=usage.memory_bytes or 0, device_bytes=usage.device_bytes
                        )
        finally:
            worker.kill()

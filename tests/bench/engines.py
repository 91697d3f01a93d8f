"""The engines compared, as the daemon runs them: load time, speed, memory and word error rate.

usage: engines.py --speech DIR --model FOLDER [--sets en digits] [--seconds 180] [--rounds 2]
                  [--whisperx PYTHON] [--mlx FOLDER] [--score FILE]

DIR holds `NAME.flac` with `NAME.json` and `score.py` (see accuracy.py). Each engine is a worker
process of its own, a new one in each round, and the rounds take turns, so that a busy machine is
busy for all of them. Printed is the median of the rounds: seconds for loading (imports counted),
times real time and CPU seconds for the recording (decoding and speech detection counted), the most
memory the process held (Linux: VmHWM), the word error rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe import backends, protocol
from dropscribe.settings import Settings
from dropscribe.supervisor import worker_process
from dropscribe.worker import decoding

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Run:
    """One recording with one engine, once."""

    load_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    audio_s: float


@dataclass(slots=True)
class Engine:
    """One engine with a model in its layout."""

    name: str
    folder: Path
    extra: dict[str, Any] = field(default_factory=dict)


def cut(source: Path, truth: dict[str, Any], seconds: float, folder: Path) -> Path:
    """Write the recording up to the last prompt of the first `seconds`; shortens `truth` to
    that.
    """
    truth["segments"] = [s for s in truth["segments"] if s["end"] <= seconds]
    samples = decoding.decode(source, folder / "cut.spool").samples
    samples = samples[: int((truth["segments"][-1]["end"] + 0.3) * backends.SAMPLE_RATE)]
    target = folder / f"{source.stem}.wav"
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(backends.SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return target


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def once(one: Engine, recording: Path, language: str, threads: int) -> tuple[Run, dict[str, Any]]:
    """Load in a new worker, transcribe once; returns what it took and the transcript."""
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    worker = worker_process.Worker(messages.put)
    chosen = Settings(language=language, backend="faster-whisper", model=str(one.folder), threads=threads)
    asked = dataclasses.replace(
        worker_process.make_request(chosen, download=False),
        backends=(protocol.BackendChoice(one.name, "a bench", **one.extra),),
    )

    def until_finished() -> Iterator[protocol.Event]:
        while not isinstance(event := messages.get(timeout=600).event, protocol.Finished):
            if isinstance(event, protocol.Failed | protocol.Exited):
                raise SystemExit(f"{one.name}: {event}")
            yield event

    try:
        worker.send(protocol.CheckJob(job=1, request=asked))
        load_s = sum(event.load_s for event in until_finished() if isinstance(event, protocol.Loaded))
        wall, cpu = time.perf_counter(), cpu_seconds(worker.pid)
        file = protocol.RecordingFile(2, str(recording), f"{recording}.spool")
        worker.send(protocol.TranscribeJob(recording=file, request=asked))
        segments: list[dict[str, Any]] = []
        audio_s = 0.0
        for event in until_finished():
            match event:
                case protocol.Decoded():
                    audio_s = event.audio_s
                case protocol.WindowDone():
                    segments += event.to_json()["segments"]
        wall, cpu = time.perf_counter() - wall, cpu_seconds(worker.pid) - cpu
        made = {"text": " ".join(s["text"] for s in segments), "segments": segments}
        return Run(load_s, wall, cpu, peak_mb(worker.pid), audio_s), made
    finally:
        worker.kill()


def main() -> None:
    """Measure what the arguments say and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="CTranslate2 folder")
    parser.add_argument("--mlx", type=Path, help="MLX folder of the same model")
    parser.add_argument("--whisperx", help="interpreter that has WhisperX")
    parser.add_argument("--aligner", default="auto", help="for WhisperX: a folder")
    parser.add_argument("--sets", nargs="+", default=["en", "digits"])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--score", type=Path)
    given = parser.parse_args()
    engines = [Engine("faster-whisper", given.model)]
    if given.mlx:
        engines.append(Engine("mlx", given.mlx))
    if given.whisperx:
        options = {"aligner": given.aligner, "diarizer": ""}
        engines.append(Engine("whisperx", given.model, {"python": given.whisperx, "options": options}))
    print("| set | engine | load s | x real time | CPU s | peak MB | WER % | onset ms (p95) |")
    print("|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in given.sets:
            truth = json.loads((given.speech / f"{name}.json").read_text(encoding="utf-8"))
            recording = cut(given.speech / f"{name}.flac", truth, given.seconds, folder)
            (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
            runs: dict[str, list[Run]] = {one.name: [] for one in engines}
            for _ in range(given.rounds):
                for one in engines:
                    run, made = once(one, recording, truth["language"], given.threads)
                    runs[one.name].append(run)
                    (folder / f"{one.name}.json").write_text(json.dumps(made), encoding="utf-8")
                    print(f"{name} {one.name} {run}", file=sys.stderr, flush=True)
            for one in engines:
                script = [sys.executable, str(given.score or given.speech / "score.py")]
                files = [str(folder / "truth.json"), str(folder / f"{one.name}.json")]
                score = json.loads(subprocess.run([*script, *files], check=True, capture_output=True).stdout)
                load, speed, cpu, peak = (
                    statistics.median(numbers)
                    for numbers in zip(
                        *((r.load_s, r.audio_s / r.wall_s, r.cpu_s, r.peak_mb) for r in runs[one.name]), strict=True
                    )
                )
                cells = [name, one.name, f"{load:.1f}", f"{speed:.1f}", f"{cpu:.1f}", f"{peak:.0f}"]
                cells += [f"{100 * score['wer']:.1f}", f"{score['onset_ms']} ({score['onset_p95']})"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

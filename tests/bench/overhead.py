"""The daemon against the library it calls, from file to result: a long recording, and how soon a short one is there.

usage: PYTHONPATH=tests python tests/bench/overhead.py --model FOLDER --long FILE --short FILE [--rounds 3]
           [--peer NAME] [--language auto] [--out DIR]

Each round times, in turn, in this one run: the library called directly on the file (its own decoding, its own VAD
where it has one, word times, the language found by itself or given), and the daemon on the same file from the claim
to the finished set of files, its model hot. A direct call runs in a process of its own with a hot model too. The
ratio is what counts: absolute times are this machine's.

`--peer` is `faster-whisper` (one window after another), `faster-whisper-batched` (BatchedInferencePipeline, 8 windows
at once, on all cores) or `mlx` (mlx_whisper.transcribe; the daemon uses MLX, too). OUT gets the transcripts of the
last round as `long.ours.json`, `long.theirs.json`, and the same for the short one: score.py has their error rates.

The ratio holds our windows against the library's, too. `share_not_in_the_engine` is what the daemon adds to decoding,
speech detection and transcription (pipes, journal, files), as a share of them. `gpu_busy` is the mean of what
nvidia-smi reports each 0.1 s between claim and end, where there is one. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dropscribe.worker import decoding

PEERS = {
    "faster-whisper": """
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
def transcribe(path):
    return model.transcribe(path, vad_filter=True, word_timestamps=True, language=language)[0]
""",
    "faster-whisper-batched": """
from faster_whisper import BatchedInferencePipeline, WhisperModel
model = BatchedInferencePipeline(WhisperModel(sys.argv[1], device="cpu", compute_type="int8"))
def transcribe(path):
    return model.transcribe(path, batch_size=8, word_timestamps=True, language=language)[0]
""",
    "mlx": """
import mlx_whisper
from faster_whisper.audio import decode_audio  # PyAV; mlx_whisper's own way needs the program ffmpeg
def transcribe(path):
    return mlx_whisper.transcribe(
        decode_audio(path), path_or_hf_repo=sys.argv[1], word_timestamps=True, language=language, verbose=None
    )["segments"]
""",
}
DIRECT = """
import dataclasses, json, sys, time
language = None if sys.argv[2] == "auto" else sys.argv[2]
%s
for line in sys.stdin:
    path, out = json.loads(line)
    started = time.perf_counter()
    segments = list(transcribe(path))
    seconds = time.perf_counter() - started
    segments = [s if isinstance(s, dict) else dataclasses.asdict(s) for s in segments]
    with open(out, "w") as file:
        json.dump({"segments": segments}, file, default=float)
    print(json.dumps({"seconds": seconds}), flush=True)
"""


def vary(source: Path, target: Path, number: int) -> None:
    """Write a recording as a 16 kHz WAV that differs from others of it in its first sample.

    The daemon publishes a recording whose sound it knows without transcribing it.
    """
    with tempfile.TemporaryDirectory() as spool:
        samples = np.array(decoding.decode(source, Path(spool) / "spool").samples)
    whole = np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2")
    whole[0] = number
    temporary = target.with_name(f".{target.name}")
    with wave.open(str(temporary), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(whole.tobytes())
    temporary.rename(target)


class Gpu:
    """How busy the GPU is, by nvidia-smi, between two moments."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        if shutil.which("nvidia-smi"):
            command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self._samples.append((time.time(), float(line)))

    def measure_busy(self, start: float, end: float) -> float | None:
        """Return the share of the time in which it worked, 0 to 1; None where it is not known."""
        found = [share for when, share in self._samples if start <= when <= end]
        return round(statistics.mean(found) / 100, 2) if found else None

    def stop(self) -> None:
        """End nvidia-smi."""
        if shutil.which("nvidia-smi"):
            self._process.terminate()
            self._process.wait()


class Daemon:
    """`dropscribe run` on fresh folders."""

    def __init__(self, folder: Path, model: Path, backend: str, language: str) -> None:
        self.folder = folder
        environ = os.environ | {
            "HOME": str(folder),
            "DROPSCRIBE_MODEL": str(model),
            "DROPSCRIBE_BACKEND": backend,
            "DROPSCRIBE_LANGUAGE": language,
        }
        for name in ("inbox", "outbox", "state", "logs"):
            (folder / name).mkdir()
            environ[f"DROPSCRIBE_{name.upper()}"] = str(folder / name)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "run"], env=environ, stderr=subprocess.DEVNULL
        )

    def drop(self, source: Path, name: str, number: int) -> dict[str, dict[str, Any]]:
        """Drop a copy whose sound is not known; return its log events when it is done."""
        vary(source, self.folder / "inbox" / name, number)
        while True:
            time.sleep(0.05)
            log = self.folder / "logs" / "dropscribe.jsonl"
            lines = log.read_text().splitlines() if log.exists() else []
            events = {e["event"]: e for e in map(json.loads, lines) if e.get("file") == name}
            if "job.failed" in events or self.process.poll() is not None:
                sys.exit(f"the daemon failed: {lines[-3:]}")
            if "job.done" in events:
                return events

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def clock(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "long", "short"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default="faster-whisper", choices=PEERS)
    parser.add_argument("--language", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    figures: dict[str, dict[str, list[Any]]] = {
        kind: {"direct_s": [], "daemon_s": [], "ratio": [], "gpu_busy": [], "share_not_in_the_engine": []}
        for kind in ("long", "short")
    }
    gpu = Gpu()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        out = given.out or folder
        out.mkdir(exist_ok=True)
        backend = "mlx" if given.peer == "mlx" else "faster-whisper"
        (folder / "daemon").mkdir()
        daemon = Daemon(folder / "daemon", given.model.absolute(), backend, given.language)
        direct = subprocess.Popen(
            [sys.executable, "-c", DIRECT % PEERS[given.peer], str(given.model), given.language],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert direct.stdin is not None
        assert direct.stdout is not None
        try:
            for number in range(given.rounds + 1):  # the first is not counted: models load, a GPU compiles
                for kind, source in (("short", given.short), ("long", given.long)):
                    vary(source, folder / f"{kind}.wav", number)
                    direct.stdin.write(
                        json.dumps([str(folder / f"{kind}.wav"), str(out / f"{kind}.theirs.json")]) + "\n"
                    )
                    direct.stdin.flush()
                    direct_s = json.loads(direct.stdout.readline())["seconds"]
                    events = daemon.drop(source, f"{kind}{number}.wav", number)
                    start = clock(events["job.claimed" if kind == "long" else "inbox.settled"])
                    daemon_s = clock(events["job.done"]) - start
                    transcript = daemon.folder / "outbox" / f"{kind}{number}.json"
                    shutil.copyfile(transcript, out / f"{kind}.ours.json")
                    if number == 0:
                        continue
                    timing = json.loads(transcript.read_text())["timing"]
                    own = daemon_s / (timing["decode_s"] + timing["transcribe_s"]) - 1
                    rows = figures[kind]
                    rows["direct_s"].append(round(direct_s, 3))
                    rows["daemon_s"].append(round(daemon_s, 3))
                    rows["ratio"].append(round(direct_s / daemon_s, 2))
                    rows["gpu_busy"].append(gpu.measure_busy(start, start + daemon_s))
                    rows["share_not_in_the_engine"].append(round(own, 3))
                    print(
                        kind,
                        number,
                        {name: row[-1] for name, row in rows.items()},
                        timing,
                        file=sys.stderr,
                        flush=True,
                    )
        finally:
            daemon.stop()
            direct.stdin.close()
            direct.wait()
            direct.stdout.close()
            gpu.stop()
    medians = {f"{kind}_times_as_fast": statistics.median(rows["ratio"]) for kind, rows in figures.items()}
    about = {"peer": given.peer, "language": given.language, "cores": os.cpu_count()}
    print(json.dumps(about | medians | figures))


if __name__ == "__main__":
    main()

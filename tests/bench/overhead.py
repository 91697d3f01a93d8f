"""The daemon against the library it calls: time on a long recording, and how soon a short one is there.

usage: python tests/bench/overhead.py --model FOLDER --long FILE --short FILE [--rounds 3]

Each round times, in turn, in this one run: faster-whisper called directly on the file (its own decoding, its own VAD,
word times), and the daemon on the same bytes from the claim to the finished set of files, its model hot. A direct
call runs in a process of its own with a hot model too. The ratio is what counts: absolute times are this machine's.

The ratio holds our windows against the library's, too. `share_not_in_the_engine` is what the daemon adds to decoding,
speech detection and transcription (pipes, journal, files), as a share of them. Prints one line of JSON.
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
import time
from datetime import datetime
from pathlib import Path
from typing import Any

DIRECT = """
import sys, time, json
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
for line in sys.stdin:
    started = time.perf_counter()
    segments, info = model.transcribe(
        line.rstrip("\\n"), vad_filter=True, word_timestamps=True, condition_on_previous_text=False
    )
    words = sum(len(s.words) for s in segments)
    print(json.dumps({"seconds": time.perf_counter() - started, "words": words}), flush=True)
"""


class Daemon:
    """`dropscribe run` on fresh folders."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        environ = os.environ | {
            "HOME": str(folder),
            "DROPSCRIBE_MODEL": str(model),
            "DROPSCRIBE_BACKEND": "faster-whisper",
        }
        for name in ("inbox", "outbox", "state", "logs"):
            (folder / name).mkdir()
            environ[f"DROPSCRIBE_{name.upper()}"] = str(folder / name)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "run"], env=environ, stderr=subprocess.DEVNULL
        )

    def drop(self, source: Path, name: str, salt: bytes) -> dict[str, dict[str, Any]]:
        """Drop a copy that is not the same bytes (a known one would not be transcribed); return its log events."""
        target = self.folder / "inbox" / name
        temporary = target.with_name(f".{name}")
        shutil.copyfile(source, temporary)
        with temporary.open("ab") as file:
            file.write(salt)
        temporary.rename(target)
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
    arguments = parser.parse_args()
    ratios, daemon_s, direct_s, first, own = [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        daemon = Daemon(Path(name), arguments.model.absolute())
        direct = subprocess.Popen(
            [sys.executable, "-c", DIRECT, str(arguments.model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert direct.stdin is not None
        assert direct.stdout is not None
        daemon.drop(arguments.short, f"warm{arguments.short.suffix}", b"warm")
        for number in range(arguments.rounds):
            direct.stdin.write(f"{arguments.long}\n")
            direct.stdin.flush()
            direct_s.append(json.loads(direct.stdout.readline())["seconds"])
            events = daemon.drop(arguments.long, f"long{number}{arguments.long.suffix}", str(number).encode())
            daemon_s.append(clock(events["job.done"]) - clock(events["job.claimed"]))
            ratios.append(daemon_s[-1] / direct_s[-1])
            timing = json.loads((daemon.folder / "outbox" / f"long{number}.json").read_text())["timing"]
            own.append(daemon_s[-1] / (timing["decode_s"] + timing["transcribe_s"]) - 1)
            events = daemon.drop(arguments.short, f"short{number}{arguments.short.suffix}", str(number).encode())
            first.append(clock(events["job.done"]) - clock(events["inbox.settled"]))
        daemon.stop()
        direct.stdin.close()
        direct.wait()
        direct.stdout.close()
    figures = {
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "ratio_daemon_to_direct": [round(r, 3) for r in ratios],
        "share_not_in_the_engine": [round(share, 4) for share in own],
        "median_ratio": round(statistics.median(ratios), 3),
        "direct_s": [round(s, 2) for s in direct_s],
        "daemon_s": [round(s, 2) for s in daemon_s],
        "settled_to_done_short_s": [round(s, 3) for s in first],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

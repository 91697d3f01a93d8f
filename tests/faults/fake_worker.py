"""A worker that does what an engine cannot be made to do on demand: crash, hang, run out of memory, babble.

It speaks the worker's protocol as a real process. What it does is written in the recording: each line of the file is
one window, and a line beginning with `!` is an order: `!crash`, `!hang`, `!exit 3`, `!fail FAULT CODE`, `!babble`,
`!until COUNT ORDER` (obeys the order the first COUNT times it meets it, counted in the file named by FAKE_COUNTS).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def send(job: int, event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, "job": job, **facts}), flush=True)


def obey(job: int, order: str) -> bool:
    """Do what a line says; returns whether the job has ended by it."""
    match order.split():
        case ["!crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["!hang"]:
            threading.Event().wait()
        case ["!exit", code]:
            sys.exit(int(code))
        case ["!fail", fault, code]:
            send(job, "failed", fault=fault, code=code, message=f"It failed: {code}.", cure="Do something.")
            return True
        case ["!babble"]:
            print("this is no JSON", flush=True)
            print('{"event": 1}', file=sys.stderr, flush=True)
        case ["!until", count, *rest]:
            counts = Path(os.environ["FAKE_COUNTS"])
            seen = len(counts.read_text().splitlines()) if counts.exists() else 0
            if seen < int(count):
                with counts.open("a") as file:
                    file.write("x\n")
                return obey(job, " ".join(rest))
    return False


def transcribe(job: int, request: dict[str, Any]) -> None:
    lines = Path(request["path"]).read_text().splitlines()
    send(
        job,
        "decoded",
        audio_s=float(len(lines)),
        decode_s=0.001,
        channels=1,
        codec="fake",
        recorded_at=None,
        warnings=[],
    )
    facts = {"backend": "faster-whisper", "device": "cpu int8", "revision": None, "folder": "/fake"}
    more = {"reason": "a fake", "multilingual": True, "model": "fake", "versions": {"fake": "1"}, "load_s": 0.01}
    send(job, "loaded", **facts, **more)
    plan = {
        "samples": 16000 * len(lines),
        "windows": [[16000 * i, 16000 * (i + 1)] for i in range(len(lines))],
        **facts,
    }
    resume = request["resume"] or {}
    done = resume["done"] if {k: v for k, v in resume.items() if k in plan} == plan else 0
    spoken = {"language": "en", "language_probability": 1.0, "speech_s": float(len(lines)), "plan_s": 0.001}
    send(job, "planned", plan=plan, done=done, **spoken)
    for index, line in enumerate(lines[done:], done):
        if line.startswith("!") and obey(job, line):
            return
        text = {"id": 0, "start": float(index), "end": index + 1.0, "text": line, "words": []}
        send(job, "window", index=index, start_s=float(index), end_s=index + 1.0, seconds=0.001, segments=[text])
    send(job, "finished")


def main() -> None:
    send(0, "ready", pid=os.getpid())
    for line in sys.stdin:
        request = json.loads(line)
        transcribe(request["job"], request)


if __name__ == "__main__":
    main()

"""A worker that does what an engine cannot be made to do on demand: crash, hang, run out of memory, babble.

It speaks the worker's protocol as a real process. What it does is written in the recording: each line of the file is
one window, and a line beginning with `!` is an order: `!crash`, `!hang`, `!exit 3`, `!fail FAULT CODE`, `!babble`,
`!apart` (of several: to be done alone), `!gate NAME` (goes on when FAKE_GATES/NAME is there), `!until COUNT ORDER`
(obeys the order the first COUNT times this recording meets it, counted in the file named by FAKE_COUNTS). A recording
that begins with `Stereo` has two speakers, line by line, and is done alone, as the real worker does it. Its sound is
its lines, without those that begin with `#`, which are its tags. As the real worker it does what is asked for between
two windows, and gives up a job that is called off. Where speakers are asked for, Anna says the first line and Ben
the others.

More variables: FAKE_WORK names a file that gets a line for each window that is done; FAKE_PACE the journal: a window
is begun only when the one before it is written there, as if it took long; FAKE_READ a gate to wait at before a
recording is opened; FAKE_AHEAD a file that gets the path of each recording to prepare; FAKE_START is an order obeyed
at the start, before anything is said; FAKE_PACK one obeyed about several recordings at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "daemon"))

from dropscribe import crash


def send(job: int, event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, "job": job, **facts}), flush=True)


def obey(job: int, path: str, order: str) -> bool:
    """Do what a line says; returns whether the job has ended by it."""
    match order.split():
        case ["!crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["!hang"]:
            threading.Event().wait()
        case ["!exit", code]:
            sys.exit(int(code))
        case ["!gate", name]:
            while not (Path(os.environ["FAKE_GATES"]) / name).exists():
                time.sleep(0.02)
        case ["!fail", fault, code]:
            send(
                job, "failed", fault=fault, code=code, message=f"It failed: {code}.", cure="Do something.", detail=""
            )
            return True
        case ["!fail-by-name", fault, code]:
            send(job, "failed", fault=fault, code=code, message=f"{path} failed.", cure="Do something.")
            return True
        case ["!apart"]:
            send(job, "apart", code="for a reason")
            return True
        case ["!babble"]:
            print("this is no JSON", flush=True)
            print("[1, 2]", flush=True)
            print('{"event": 1}', file=sys.stderr, flush=True)
        case ["!until", count, *rest]:
            counts, mark = Path(os.environ["FAKE_COUNTS"]), json.dumps([path, order])
            seen = counts.read_text().splitlines().count(mark) if counts.exists() else 0
            if seen < int(count):
                with counts.open("a") as file:
                    file.write(mark + "\n")
                return obey(job, path, " ".join(rest))
    return False


def written_down(journal: str, job: int, window: int) -> bool:
    """Return whether the journal knows that the first `window` windows of a job are done."""
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            row = db.execute("SELECT done_s FROM recordings WHERE id = ?", (job,)).fetchone()
        db.close()
    except sqlite3.OperationalError:
        return False
    return row is not None and row[0] >= window


def note_work(path: str, index: int, lines: list[str]) -> None:
    if work := os.environ.get("FAKE_WORK"):
        with open(work, "a", encoding="utf-8") as file:  # noqa: PTH123 (one write, appended)
            digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
            file.write(json.dumps([path, index, digest]) + "\n")


def note_ahead(path: str) -> None:
    if file := os.environ.get("FAKE_AHEAD"):
        with open(file, "a", encoding="utf-8") as asked:  # noqa: PTH123 (one write, appended)
            asked.write(f"{path}\n")


JOBS: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
CALLED_OFF: set[int] = set()


def attend(job: int) -> bool:
    """Do what was asked for in the middle of a job; returns whether that is called off."""
    while not JOBS.empty():
        asked = JOBS.get()
        if asked["op"] == "prepare":
            note_ahead(asked["path"])
        elif asked["op"] == "call-off":
            CALLED_OFF.add(asked["job"])
        else:
            serve(asked)
    if job in CALLED_OFF:
        CALLED_OFF.discard(job)
        send(job, "called-off")
        return True
    return False


def transcribe(job: int, request: dict[str, Any]) -> None:
    path = request["path"]
    if gate := os.environ.get("FAKE_READ"):
        obey(job, path, f"!gate {gate}")
    try:
        lines = [line for line in Path(path).read_text(errors="replace").splitlines() if line[:1] != "#"]
    except FileNotFoundError:
        send(job, "failed", fault="recording", code="gone", message="It is not there any more.", cure="")
        return
    stereo = bool(lines) and lines[0].startswith("Stereo")
    if stereo and "resume" not in request:
        send(job, "apart", code="speakers-on-channels")
        return
    if request.get("most_seconds") and len(lines) > request["most_seconds"]:
        send(job, "apart", code="too-long")
        return
    crash.reach("decoded")
    send(
        job,
        "decoded",
        sound=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        audio_s=float(len(lines)),
        decode_s=0.001,
        channels=1 + stereo,
        codec="fake",
        recorded_at=None,
        warnings=[],
    )
    device = "safe" if request.get("safe") else "cpu int8"
    facts = {"backend": "faster-whisper", "device": device, "revision": None, "folder": "/fake"}
    more = {"reason": "a fake", "multilingual": True, "model": "fake", "versions": {"fake": "1"}, "load_s": 0.01}
    send(job, "loaded", **facts, **more)
    plan = {
        "samples": 16000 * len(lines),
        "windows": [[16000 * i, 16000 * (i + 1)] for i in range(len(lines))],
        **facts,
    }
    resume = request.get("resume") or {}
    done = resume["done"] if {k: v for k, v in resume.items() if k in plan} == plan else 0
    spoken = {"language": "en", "language_probability": 1.0, "speech_s": float(len(lines)), "plan_s": 0.001}
    send(job, "planned", plan=plan, done=done, **spoken)
    journal = os.environ.get("FAKE_PACE")
    for index, line in enumerate(lines[done:], done):
        while journal and not written_down(journal, job, index):
            time.sleep(0.01)
        if line.startswith("!") and obey(job, path, line):
            return
        note_work(path, index, lines)
        crash.reach("segment")
        text: dict[str, Any] = {"id": 0, "start": float(index), "end": index + 1.0, "text": line, "words": []}
        if stereo:
            text["speaker"] = (request["channels"] or ["Speaker 1", "Speaker 2"])[index % 2]
        send(job, "window", index=index, start_s=float(index), end_s=index + 1.0, seconds=0.001, segments=[text])
        if request["op"] == "transcribe" and attend(job):
            return
    find_speakers(job, request)
    send(job, "finished")


def find_speakers(job: int, request: dict[str, Any]) -> None:
    if not request.get("speakers"):
        return
    lines = Path(request["path"]).read_text(errors="replace").splitlines()
    edges = {"Anna": (0.0, 1.0), "Ben": (1.0, float(len(lines)))}
    speakers = [
        {
            "name": name,
            "seconds": end - start,
            "share": (end - start) / len(lines),
            "confidence": 0.9,
            "turns": [{"start": start, "end": end, "confidence": 0.9}],
        }
        for name, (start, end) in edges.items()
    ]
    send(job, "speakers", speakers=speakers, channels=[], labelled=True, seconds=0.5, notices=[])


def tell_speakers(job: int, request: dict[str, Any]) -> None:
    """Do the job that is about the speakers alone."""
    lines = Path(request["path"]).read_text(errors="replace").splitlines()
    if request.get("most_seconds") and len(lines) > request["most_seconds"]:
        send(job, "apart", code="too-long")
        return
    send(job, "decoded", audio_s=float(len(lines)), decode_s=0.001, channels=1, codec="fake", warnings=[])
    find_speakers(job, request)
    send(job, "finished")


def serve(request: dict[str, Any]) -> None:
    """Do one job."""
    if request["op"] == "transcribe":
        transcribe(request["job"], request)
        return
    if request["op"] == "speakers":
        tell_speakers(request["job"], request)
        return
    if (order := os.environ.get("FAKE_PACK")) and obey(request["job"], "pack", order):
        return
    for recording in request["recordings"]:
        transcribe(recording["job"], request | recording)
    send(request["job"], "finished")


def main() -> None:
    if order := os.environ.get("FAKE_START"):
        obey(0, "start", order)

    def read() -> None:
        for line in sys.stdin:
            JOBS.put(json.loads(line))
        os._exit(0)  # as the real one: without a parent, work in progress is worth nothing

    threading.Thread(target=read, daemon=True).start()
    send(0, "ready", pid=os.getpid())
    while True:
        request = JOBS.get()
        if request["op"] == "prepare":
            note_ahead(request["path"])
        elif request["op"] != "call-off":
            serve(request)


if __name__ == "__main__":
    main()

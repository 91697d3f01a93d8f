"""What the daemon itself costs: memory and processor time while idle, and a scan of a large inbox of done files.

usage: python tests/bench/daemon.py [--files 10000] [--seconds 60]

Linux only (reads /proc). No model is needed: the recordings are marked as done in the journal beforehand.
Prints one line of JSON. An absolute time says something of this machine only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path, PurePath

from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.journal import Journal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    figures = {"files": arguments.files, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures |= idle(folder / "empty", 0, arguments.seconds)
        figures |= {f"full_{k}": v for k, v in idle(folder / "full", arguments.files, arguments.seconds).items()}
        inbox = Inbox(folder / "full" / "in", recursive=True, exclude=folder / "full" / "out")
        times = []
        for _ in range(5):
            started = time.perf_counter()
            found = sum(1 for _ in inbox.scan())
            times.append(time.perf_counter() - started)
        assert found == arguments.files
        figures["scan_s"] = round(sorted(times)[2], 3)
    print(json.dumps(figures))


def idle(folder: Path, files: int, seconds: float) -> dict[str, float]:
    """Start a daemon on an inbox of done files and measure it after it has come to rest."""
    prepare(folder, files)
    environ = os.environ | {
        "HOME": str(folder),
        **{f"DROPSCRIBE_{n.upper()}": str(folder / d) for n, d in (("inbox", "in"), ("outbox", "out"))},
        **{f"DROPSCRIBE_{n.upper()}": str(folder / n) for n in ("state", "logs")},
    }
    process = subprocess.Popen([sys.executable, "-m", "dropscribe", "run"], env=environ, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        before, started = cpu(process.pid), time.monotonic()
        time.sleep(seconds)
        used = (cpu(process.pid) - before) / (time.monotonic() - started)
        return {"memory_mb": memory(process.pid), "cpu_percent": round(100 * used, 3)}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def prepare(folder: Path, files: int) -> None:
    (folder / "in").mkdir(parents=True)
    (folder / "state").mkdir()
    journal = Journal(folder / "state" / "journal.sqlite3")
    rows = []
    for number in range(files):
        relative = PurePath(f"{number // 100:04}/recording {number:06}.m4a")
        path = folder / "in" / relative
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        rows.append((os.fsencode(relative), os.fsencode(relative), 1, path.stat().st_mtime_ns, str(number)))
    with journal.transaction() as db:
        db.executemany(
            "INSERT INTO recordings (key, path, size, mtime_ns, sha256, state, seen, changed)"
            " VALUES (?, ?, ?, ?, ?, 'done', 1, 1)",
            rows,
        )
    journal.close()


def cpu(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


if __name__ == "__main__":
    main()

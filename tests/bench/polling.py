"""What an idle daemon costs that polls an inbox of many files, and one that has native events.

usage: python tests/bench/polling.py [--files 10000] [--seconds 120] [--observer polling]

The files are settled before the measurement begins, and known to the daemon: they have no sound and
have failed. What counts is processor time of the daemon as a share of one core. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def read_processor(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--observer", default="polling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = os.environ | {"HOME": name, "DROPSCRIBE_OBSERVER": arguments.observer}
        for part in ("inbox", "outbox", "state", "logs"):
            (folder / part).mkdir()
            environ[f"DROPSCRIBE_{part.upper()}"] = str(folder / part)
        (folder / "state" / "paused").touch()  # all of them stay in the queue
        for number in range(arguments.files):
            (folder / "inbox" / f"recording {number:05}.wav").write_bytes(b"%d" % number)
        daemon = subprocess.Popen([sys.executable, "-m", "dropscribe", "run"], env=environ, stderr=subprocess.DEVNULL)
        queued = 0
        while queued < arguments.files:
            time.sleep(5)
            try:
                with sqlite3.connect(f"file:{folder}/state/journal.sqlite3?mode=ro", uri=True) as db:
                    (queued,) = db.execute("SELECT count(*) FROM recordings WHERE state = 'queued'").fetchone()
            except sqlite3.OperationalError:
                continue
        time.sleep(10)
        before, started = read_processor(daemon.pid), time.monotonic()
        time.sleep(arguments.seconds)
        share = (read_processor(daemon.pid) - before) / (time.monotonic() - started)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    print(json.dumps({"files": arguments.files, "observer": arguments.observer, "percent_of_a_core": 100 * share}))


if __name__ == "__main__":
    main()

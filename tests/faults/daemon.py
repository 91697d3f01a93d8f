"""`dropscribe run`, as a process of its own, with the worker that fails on demand in place of the real one.

Everything else is the command itself: its settings, logs, signals, messages and exit codes. `--backoff FIRST LAST`
sets the seconds between two tries while something of the environment is wrong: a test cannot wait for minutes.
`--worker COMMAND…` names another worker; `--once` and `--wait` are those of the command.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAKE = [sys.executable, str(HERE / "fake_worker.py")]
sys.path.insert(0, str(HERE.parents[1] / "daemon"))

from dropscribe.cli import main as command_line  # noqa: E402 (found by the line above)
from dropscribe.supervisor import loop  # noqa: E402 (found by the line above)


def main() -> int:
    """Run the daemon until it is asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backoff", nargs=2, type=float, default=loop.BACKOFF)
    parser.add_argument("--worker", nargs="+", default=FAKE)
    parser.add_argument("--once", dest="more", action="append_const", const="--once", default=[])
    parser.add_argument("--wait", dest="more", action="append_const", const="--wait")
    given = parser.parse_args()
    first, last = given.backoff
    loop.BACKOFF = (first, last)
    loop.Supervisor = functools.partial(loop.Supervisor, command=given.worker)  # type: ignore[assignment, misc]
    return command_line.main(["run", *given.more])


if __name__ == "__main__":
    sys.exit(main())

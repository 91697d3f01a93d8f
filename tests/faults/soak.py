"""The soak: a daemon lives for minutes or days while anything happens to it and its folders, and keeps its promise.

usage (from the repository's root): python -m tests.faults.soak --minutes N [--seed N] [--folder DIR]

Random operations of `faults.life`, and every so often a look at the promise. Progress goes to stderr; the last line,
on stdout, is JSON. Exit code 1 when the promise was broken: then the folder with all the evidence is kept.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "daemon"))
sys.path.insert(0, str(ROOT / "tests"))

from dropscribe.supervisor.journal import State  # noqa: E402 (found by the lines above)
from faults.life import KINDS, NAMES, PROFILES, WAYS, Life  # noqa: E402

RARE = dict.fromkeys(["pause", "fill_disk", "take_inbox", "take_outbox", "lose_journal", "kill", "stop"], 0.5)
"""Operations that stop all work are drawn less often than those that make some."""


def act(life: Life, chance: random.Random) -> str:
    """Let one thing happen; return its name."""
    may = life.may()
    name = chance.choices(list(may), [3.0 if n == "create" else RARE.get(n, 1.0) for n in may])[0]
    files = life.files() or NAMES  # what was there may have left since
    match name:
        case "create":
            may[name](chance.choice(NAMES), chance.choice(KINDS))
        case "replace":
            may[name](chance.choice(files), chance.choice(KINDS))
        case "rename" | "duplicate":
            may[name](chance.choice(files), chance.choice(NAMES))
        case "append" | "delete" | "touch":
            may[name](chance.choice(files))
        case "edit":
            may[name](chance.choice(life.texts()))
        case "lose_journal":
            may[name](chance.choice(["gone", "cut", "noise"]))
        case "write_profile":
            may[name](chance.choice(PROFILES))
        case "redo":
            may[name](stale=chance.random() < 0.5)
        case _:
            may[name]()
    return name


def soak(life: Life, chance: random.Random, until: float, done: collections.Counter[str]) -> None:
    """Live until the time is over; raises AssertionError when the promise is broken."""
    reported = time.monotonic()
    while time.monotonic() < until:
        for _ in range(chance.randrange(1, 30)):
            done[act(life, chance)] += 1
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.3)  # the moments at which things happen are what is drawn here
        life.check()
        done["check"] += 1
        if time.monotonic() - reported > 20:
            reported = time.monotonic()
            left = (until - reported) / 60
            print(f"{sum(done.values())} operations, {done['check']} checks, {left:.1f} min left", file=sys.stderr)


def main() -> int:
    """Soak as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None, help="draw the same operations as another run")
    parser.add_argument("--folder", type=Path, help="where the world is made (default: a temporary folder)")
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="dropscribe-soak-", dir=given.folder))
    life = Life(folder / "world", random.Random(seed).choice(WAYS), hooks=True)
    done: collections.Counter[str] = collections.Counter()
    begun = time.monotonic()
    broken = ""
    try:
        life.live()
        soak(life, random.Random(seed), begun + given.minutes * 60, done)
    except AssertionError as error:
        broken = str(error)
    finally:
        rows = collections.Counter(row.state for row in life.rows())
        windows = len(life.work())
        life.close()
    if broken:
        print(broken, file=sys.stderr)
    else:
        shutil.rmtree(folder)
    facts = {
        "minutes": round((time.monotonic() - begun) / 60, 2),
        "seed": seed,
        "operations": sum(done.values()),
        "by_name": dict(sorted(done.items())),
        "windows": windows,
        "recordings": {str(state): rows[state] for state in State if rows[state]},
        "kept": str(folder) if broken else None,
        "broken": broken.splitlines()[:5],
    }
    print(json.dumps(facts))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

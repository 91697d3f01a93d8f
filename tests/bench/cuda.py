"""faster-whisper on a CUDA machine, through the whole daemon: libraries there and not, attempts counted.

usage: cuda.py unpack PIECES SITE        on the CUDA machine: join pieces of wheels and of the model, install them
       cuda.py run SITE MODEL OUT [--rounds N] [RECORDING ...]

PIECES holds `NAME.whl.NN` and `model.tar.NN`. `unpack` needs pip and no network. It installs ctranslate2 4.6.x, which
wants cuDNN, into SITE-older, everything else into SITE, and the model as PIECES/model. `run` drops recordings (by
default `shared/speech/*.flac`, else the sample) into an inbox and lets `dropscribe run --once` work them off: with
cuBLAS, without it, and with the older ctranslate2, each without cuDNN. OUT/cuda.json has, for each, what was done,
attempts, device, seconds and what the log says of the GPU. A second round shows whether the trial is remembered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def unpack(pieces: Path, site: Path) -> None:
    """Join the pieces, install the wheels and unpack the model."""
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(pieces.iterdir()):
        if path.suffix[1:].isdigit():
            parts[path.stem].append(path)
    for name, found in parts.items():
        with (pieces / name).open("wb") as whole:
            for path in found:
                whole.write(path.read_bytes())
    with tarfile.open(pieces / "model.tar") as tar:
        tar.extractall(pieces, filter="data")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target"]
    wheels = sorted(map(str, pieces.glob("*.whl")))
    older = [wheel for wheel in wheels if "/ctranslate2-4.6." in wheel]
    subprocess.run([*pip, str(site), *(wheel for wheel in wheels if wheel not in older)], check=True)
    if older:
        subprocess.run([*pip, str(find_older(site)), *older], check=True)


def find_older(site: Path) -> Path:
    """Return where the older ctranslate2 is."""
    return site.with_name(f"{site.name}-older")


def run(site: Path, model: Path, out: Path, rounds: int, recordings: list[Path]) -> None:
    """Run the daemon with each set of libraries, and write what came of it."""
    recordings = recordings or sorted((ROOT / "shared/speech").glob("*.flac"))[:5]
    recordings = recordings or [ROOT / "daemon/dropscribe/sample.ogg"]
    cublas, older = site / "nvidia/cublas/lib", find_older(site)
    ways = {"with cuBLAS": ([site], [cublas]), "without cuBLAS": ([site], [])}
    if older.is_dir():
        ways["older, with cuBLAS, without cuDNN"] = ([older, site], [cublas])
    rows: list[dict[str, Any]] = []
    for name, (sites, folders) in ways.items():
        with tempfile.TemporaryDirectory() as cache:
            for number in range(rounds):
                row = {"libraries": name, "round": number} | run_once(sites, model, recordings, folders, Path(cache))
                rows.append(row)
                print(json.dumps(row), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "cuda.json").write_text(json.dumps(rows, indent=1) + "\n")


def run_once(
    sites: list[Path], model: Path, recordings: list[Path], folders: list[Path], cache: Path
) -> dict[str, Any]:
    """Work off an inbox with these libraries; return what came of it."""
    with tempfile.TemporaryDirectory() as home:
        inbox, state = Path(home) / "in", Path(home) / "state"
        inbox.mkdir()
        for recording in recordings:
            shutil.copy(recording, inbox)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DROPSCRIBE_")},
            "HOME": home,
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "daemon", *sites])),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, folders)),
            "DROPSCRIBE_INBOX": str(inbox),
            "DROPSCRIBE_OUTBOX": f"{home}/out",
            "DROPSCRIBE_STATE": str(state),
            "DROPSCRIBE_LOGS": f"{home}/logs",
            "DROPSCRIBE_MODEL": str(model),
            "DROPSCRIBE_BACKEND": "faster-whisper",
            "DROPSCRIBE_SETTLE_SECONDS": "0",
        }
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe", "run", "--once"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        with sqlite3.connect(state / "journal.sqlite3") as journal:
            found = journal.execute("SELECT state, attempts, audio_s FROM recordings").fetchall()
        made = [json.loads(path.read_text()) for path in Path(home, "out").rglob("*.json")]
        log = [json.loads(line) for line in Path(home, "logs/dropscribe.jsonl").read_text().splitlines()]
    audio, work = sum(row[2] or 0 for row in found), sum(each["timing"]["transcribe_s"] for each in made)
    return {
        "exit": done.returncode,
        "states": sorted(row[0] for row in found),
        "attempts": [row[1] for row in found],
        "devices": sorted({each["engine"]["device"] for each in made}),
        "audio_s": round(audio, 1),
        "wall_s": round(seconds, 1),
        "transcribe_s": round(work, 2),
        "speed": round(audio / work, 1) if work else None,
        "gpu": [event.get("reason") for event in log if event["event"] == "gpu.unusable"],
        "workers": sum(event["event"] == "worker.started" for event in log),
    }


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    action = actions.add_parser("unpack")
    action.add_argument("pieces", type=Path)
    action.add_argument("site", type=Path)
    action = actions.add_parser("run")
    action.add_argument("site", type=Path)
    action.add_argument("model", type=Path)
    action.add_argument("out", type=Path)
    action.add_argument("recordings", type=Path, nargs="*")
    action.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    if given.action == "unpack":
        unpack(given.pieces, given.site)
    else:
        run(given.site.resolve(), given.model.resolve(), given.out, given.rounds, given.recordings)


if __name__ == "__main__":
    main()

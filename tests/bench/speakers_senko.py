"""The same recordings told apart by senko, for `speakers.py --peer senko=OUT`.

    PEER/bin/python tests/bench/speakers_senko.py MATERIAL/report OUT

In an environment of its own, which has PyTorch: senko 0.2.2 with what it asks for. On Python 3.11 its wheel can be
unpacked and put on PYTHONPATH instead of installed. On a CPU it takes Silero for speech. Two forms are written: `raw`
segments and `merged` ones.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import senko  # type: ignore[import-not-found]


def main(material: Path, out: Path, threads: int = 2) -> None:
    """Write a JSON file for each recording."""
    import torch

    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    diarizer = senko.Diarizer(device="cpu", vad="silero", warmup=False, quiet=True)
    for path in sorted(material.glob("*.wav")):
        started = time.process_time()
        found = diarizer.diarize(str(path), generate_colors=False) or {}
        spent = time.process_time() - started
        made = {
            way: [[each["start"], each["end"], each["speaker"]] for each in found.get(f"{way}_segments", [])]
            for way in ("raw", "merged")
        }
        (out / f"{path.stem}.json").write_text(json.dumps({**made, "cpu_s": spent}))
        print(f"{path.stem}: {spent:.1f} s of CPU time", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

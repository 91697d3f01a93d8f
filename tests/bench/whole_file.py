"""From a file to its JSON, each side a process of its own: Dropscribe's command against faster-whisper's batches.

usage: whole_file.py --speech DIR --model FOLDER [--sets en fr] [--rounds 1] [--batch 4]

DIR holds `NAME.flac`, `NAME.json` and `score.py`. Both find the language by themselves, time words, take five
beams and load the model; the pipeline decodes `--batch` windows at once. Sides take turns. Prints, of each set:
seconds and processor seconds of the best round, how many times as fast, and the word error rates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIPELINE = """
import json, sys
from faster_whisper import BatchedInferencePipeline, WhisperModel
model = BatchedInferencePipeline(WhisperModel(sys.argv[1], device="cpu", compute_type="int8"))
found, info = model.transcribe(sys.argv[2], batch_size=int(sys.argv[4]), beam_size=5, word_timestamps=True)
segments = [
    {"start": s.start, "end": s.end, "text": s.text,
     "words": [{"word": w.word, "start": w.start, "end": w.end} for w in s.words]}
    for s in found
]
text = "".join(s["text"] for s in segments).strip()
open(sys.argv[3], "w").write(json.dumps({"text": text, "language": info.language, "segments": segments}))
"""


def measure(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environ)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["en"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    model = str(given.model.absolute())
    print("| set | WER ours / pipeline | seconds | processor seconds | as fast |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {"HOME": name, "DROPSCRIBE_STATE": str(folder / "state")}
        for each in given.sets:
            recording, ours, theirs = (
                given.speech / f"{each}.flac",
                folder / f"{each}.json",
                folder / f"{each}.b.json",
            )
            own = [sys.executable, "-m", "dropscribe", "transcribe", "--backend", "faster-whisper", "--model", model]
            own += ["--formats", "json", "-o", name]
            other = [sys.executable, "-c", PIPELINE, model, str(recording), str(theirs), str(given.batch)]
            if each == given.sets[0]:  # what is made of a model once is there then
                measure([*own, str(min((given.speech / "clips").iterdir()))], environ)
            taken: list[list[tuple[float, float]]] = [[], []]
            for _ in range(given.rounds):
                ours.unlink(missing_ok=True)
                for times, command in zip(taken, ([*own, str(recording)], other), strict=True):
                    times.append(measure(command, environ))
            rates = []
            for made in (ours, theirs):
                score = [
                    sys.executable,
                    str(given.speech / "score.py"),
                    str(given.speech / f"{each}.json"),
                    str(made),
                ]
                rates.append(100 * json.loads(subprocess.run(score, check=True, capture_output=True).stdout)["wer"])
            (a, ca), (b, cb) = (min(times) for times in taken)
            pairs = (rates, (a, b), (ca, cb))
            cells = " | ".join(f"{first:.1f} / {second:.1f}" for first, second in pairs)
            print(f"| {each} | {cells} | {b / a:.2f} x |", flush=True)


if __name__ == "__main__":
    main()

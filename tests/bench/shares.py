"""How faster-whisper's work is best shared between threads: batches at once, threads of each, windows in each.

usage: shares.py DATA MODEL [--set en] [--windows 16] WORKERSxTHREADSxWINDOWS ...      such as 1x4x4 2x2x2

DATA is of `gpu.py prepare`, MODEL a CTranslate2 folder; `tests` and `daemon` in PYTHONPATH. Every way encodes and
decodes the same windows (beam search, no word times), two rounds in turn; the better counts. `taskset` bounds cores.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
from faster_whisper.tokenizer import Tokenizer

from bench import gpu
from dropscribe.worker.windows import cut_windows


def main() -> None:
    """Read the command line and print seconds for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("ways", nargs="+")
    parser.add_argument("--set", default="en")
    parser.add_argument("--windows", type=int, default=16)
    given = parser.parse_args()
    samples, spans, language = gpu.read(given.data / f"{given.set}.npz")
    windows = cut_windows(samples, spans)[: given.windows]
    least = dict.fromkeys(given.ways, float("inf"))
    for _ in range(2):
        for way in given.ways:
            workers, threads, rows = map(int, way.split("x"))
            model: Any = faster_whisper.WhisperModel(
                str(given.model), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=workers
            )
            tokenizer = Tokenizer(
                model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
            )
            prompt = model.get_prompt(tokenizer, [], without_timestamps=True)
            extract, full = model.feature_extractor, model.feature_extractor.n_samples
            mels = [extract(samples[w.start : w.end], padding=full - (w.end - w.start)) for w in windows]

            def one(first: int, model: Any = model, mels: Any = mels, prompt: Any = prompt, rows: int = rows) -> None:
                part = mels[first : first + rows]
                encoded = model.encode(np.stack(part))
                model.model.generate(encoded, [prompt] * len(part), max_length=model.max_length, beam_size=5)

            started = time.perf_counter()
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(one, range(0, len(mels), rows)))
            least[way] = min(least[way], time.perf_counter() - started)
    for way, seconds in least.items():
        print(f"{way}: {seconds:.2f} s, {seconds / least[given.ways[0]]:.2f} of {given.ways[0]}")


if __name__ == "__main__":
    main()

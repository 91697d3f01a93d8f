"""What a model costs in each of its sizes: disk, load time, peak memory, speed, and how much it gets wrong.

usage: models.py make FOLDER NAME=CT2_OR_MLX_FOLDER ...    float16, 8- and 4-bit MLX folders of each (needs MLX)
       models.py run DATA OUT FOLDER ... [--sets en fr ...] [--rounds N] [--seconds N]     OUT/models.json
       models.py shape OUT                                  large-v3-turbo's shape, random weights: OUT/shapes.json
       models.py score OUT SPEECH                           tables (needs jiwer, whisper-normalizer)

DATA is of `gpu.py prepare`; SPEECH as there. `run` takes MLX and CTranslate2 folders alike, each in a process of its
own, which loads it (twice: the second time its files are in the system's cache), then transcribes every set; rounds
alternate the folders. It needs NumPy and the engine: MLX and mlx-whisper, or faster-whisper for CTranslate2.
Memory is the process's highest (`ru_maxrss`) and, with MLX, the highest that MLX held on its device. Load time is
from the first import of the engine to a model that answers; `import_s` of it is the libraries'.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "daemon")]

from bench import gpu  # noqa: E402 (it lies beside this file)

SIZES = {"fp16": None, "8bit": 8, "4bit": 4}


def make(folder: Path, sources: list[str]) -> None:
    """Write FOLDER/NAME-fp16, NAME-8bit and NAME-4bit."""
    from dropscribe import convert
    from dropscribe.backends._mlx import quantise

    for given in sources:
        name, _, path = given.partition("=")
        source, whole = Path(path), folder / f"{name}-fp16"
        if (source / "model.bin").exists():
            convert.convert(source, whole)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            whole.symlink_to(source.resolve())
        for size, bits in SIZES.items():
            if bits:
                started = time.perf_counter()
                target = folder / f"{name}-{size}"
                target.mkdir(parents=True, exist_ok=True)
                quantise(whole, target, bits)
                print(target, round(time.perf_counter() - started, 1), "s", flush=True)


def peak_mb() -> float:
    """Return the most memory that this process held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def device_peak_mb() -> float | None:
    """Return the most that MLX held since the last look, in MB; None without MLX."""
    if "mlx.core" not in sys.modules:
        return None
    import mlx.core as mx

    peak = mx.get_peak_memory() / 1e6
    mx.reset_peak_memory()
    return peak


def worker(model: Path, data: Path, sets: list[str], seconds: float) -> None:
    """Load one model, transcribe every set, print one JSON."""
    from dropscribe import backends

    before_mb, started = peak_mb(), time.perf_counter()
    name = "faster-whisper" if (model / "model.bin").exists() else "mlx"
    engine = backends.create(name)
    import_s, imported_mb = time.perf_counter() - started, peak_mb()
    loaded = engine.load(model)
    first_s = time.perf_counter() - started
    load_peak, load_device = peak_mb(), device_peak_mb()
    engine.close()
    started = time.perf_counter()
    engine.load(model)
    again_s = time.perf_counter() - started
    found: dict[str, Any] = {
        "model": model.name,
        "backend": name,
        "device": loaded.device,
        "versions": loaded.versions,
        "disk_mb": sum(file.stat().st_size for file in model.resolve().iterdir()) / 1e6,
        "import_s": import_s,
        "load_s": first_s,
        "again_s": again_s,
        "python_mb": before_mb,
        "imported_mb": imported_mb,
        "load_mb": load_peak,
        "load_device_mb": load_device,
        "rows": [],
    }
    device_peak_mb()
    for which in sets:
        samples, spans, language = gpu.read(data / f"{which}.npz")
        if seconds:
            samples = samples[: int(seconds * 16000)]
            spans = [span for span in spans if span.end <= len(samples)]
        if not loaded.multilingual and language != "en":
            continue
        started = time.perf_counter()
        segments = gpu.ours(engine, samples, spans, language)
        took = time.perf_counter() - started
        row = {"set": which, "audio_s": len(samples) / 16000, "seconds": took, "device_mb": device_peak_mb()}
        found["rows"].append(row | {"peak_mb": peak_mb(), "segments": segments})
    print(json.dumps(found, default=float))


def run(data: Path, out: Path, folders: list[Path], sets: list[str], *, rounds: int, seconds: float) -> None:
    """Run `worker` for every folder, `rounds` times in turn; keep every number and the last texts."""
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for folder in folders:
            command = [sys.executable, __file__, "worker", str(folder), str(data), "--seconds", str(seconds)]
            done = subprocess.run([*command, "--sets", *sets], stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                print(f"{folder}: failed ({done.returncode})", flush=True)
                continue
            one = json.loads(done.stdout.splitlines()[-1])
            found.setdefault(str(folder), []).append(one)
            speed = sum(r["audio_s"] for r in one["rows"]) / sum(r["seconds"] for r in one["rows"])
            print(
                f"{one['model']} {one['device']}: load {one['load_s']:.2f} s (imports {one['import_s']:.2f}, again "
                f"{one['again_s']:.2f}), {speed:.1f}x, process {one['rows'][-1]['peak_mb']:.0f} MB, device "
                f"{[r['device_mb'] and round(r['device_mb']) for r in one['rows']]}",
                flush=True,
            )
            (out / "models.json").write_text(json.dumps({"seconds": seconds, "runs": found}))


def shape_worker(size: str) -> None:
    """Load a model of large-v3-turbo's shape and decode a batch of noise (one window on a CPU); print one JSON."""
    import mlx.core as mx
    import numpy as np

    from dropscribe import backends

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = [sys.executable, __file__, "random", str(folder), size]
        subprocess.run(command, check=True)  # its memory is not to count here
        engine: Any = backends.create("mlx")
        before, started = peak_mb(), time.perf_counter()
        loaded = engine.load(folder)
        load_s, load_mb, load_device = time.perf_counter() - started, peak_mb(), device_peak_mb()
        noise = np.random.default_rng(0).normal(0, 0.1, 480000).astype(np.float32)
        rows = engine._batch if loaded.device.startswith("gpu") else 1  # a CPU would take an hour
        decoder, tokens = engine._decoder, engine._tokenizer("en", "transcribe")
        from dropscribe.backends._mlx import _rules

        started = time.perf_counter()
        memory = decoder.memory(decoder.features([noise] * rows))
        prefix = np.tile(np.array(tokens.sot_sequence_including_notimestamps, np.int32), (rows, 1))
        texts = decoder.search(memory, prefix, _rules(tokens, gpu.TURBO["n_vocab"], 0))
        mx.synchronize()
        took = time.perf_counter() - started
        disk = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    row = {"size": size, "device": loaded.device, "rows": rows, "tokens": sum(len(t.tokens) for t in texts)}
    row |= {"disk_mb": disk, "load_s": load_s, "before_mb": before, "load_mb": load_mb, "load_device_mb": load_device}
    print(json.dumps(row | {"seconds": took, "peak_mb": peak_mb(), "device_mb": device_peak_mb()}))


def random_model(folder: Path, size: str) -> None:
    """Write an MLX folder of large-v3-turbo's shape with random weights."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_whisper.whisper import ModelDimensions, Whisper

    from dropscribe.backends._mlx import quantise
    from dropscribe.convert import CONFIG, WEIGHTS

    mx.random.seed(0)
    mx.set_default_device(mx.Device(mx.cpu))
    model = Whisper(ModelDimensions(**gpu.TURBO), mx.float16)
    flat: Any = tree_flatten(model.parameters())
    weights = {
        name: array if name == "alignment_heads" else (0.02 * mx.random.normal(array.shape)).astype(mx.float16)
        for name, array in flat
    }
    weights["alignment_heads"] = weights["alignment_heads"][:6]  # as many as the real model has
    with tempfile.TemporaryDirectory() as scratch:
        whole = folder if SIZES[size] is None else Path(scratch)
        mx.save_safetensors(str(whole / WEIGHTS), weights, {"format": "mlx"})
        (whole / CONFIG).write_text(json.dumps(gpu.TURBO))
        if bits := SIZES[size]:
            quantise(whole, folder, bits)


def shape(out: Path) -> None:
    """Run `shape_worker` for every size, each in a process of its own."""
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for size in SIZES:
        done = subprocess.run(
            [sys.executable, __file__, "one-shape", size], stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(found[-1], flush=True)
    (out / "shapes.json").write_text(json.dumps(found))


def score(out: Path, speech: Path) -> None:
    """Print one table of sizes, and one of errors by set."""
    found = json.loads((out / "models.json").read_text())
    runs: dict[str, list[dict[str, Any]]] = found["runs"]
    print("| model | device | disk MB | load s, imports in it, again | x real time | process MB | device MB |")
    print("|---|---|---|---|---|---|---|")
    for each in runs.values():
        speed = statistics.median(
            sum(r["audio_s"] for r in one["rows"]) / sum(r["seconds"] for r in one["rows"]) for one in each
        )
        load, imports, again = (
            statistics.median(one[name] for one in each) for name in ("load_s", "import_s", "again_s")
        )
        process = max(r["peak_mb"] for one in each for r in one["rows"])
        device = max((r["device_mb"] or 0 for one in each for r in one["rows"]), default=0)
        first = each[0]
        print(
            f"| {first['model']} | {first['backend']}, {first['device']} | {first['disk_mb']:.0f} "
            f"| {load:.2f}, {imports:.2f}, {again:.2f} | {speed:.1f} | {process:.0f} | {device:.0f} |"
        )
    sets = [row["set"] for row in next(iter(runs.values()))[0]["rows"]]
    print("\nword errors, %\n\n| model |", " | ".join(sets), "|")
    print("|---" * (len(sets) + 1) + "|")
    for each in runs.values():
        errors = {row["set"]: wer(row, speech, found["seconds"]) for row in each[-1]["rows"]}
        print(f"| {each[0]['model']} |", " | ".join(f"{errors[s]:.1f}" if s in errors else "-" for s in sets), "|")


def wer(row: dict[str, Any], speech: Path, seconds: float) -> float:
    """Return the word error rate in percent of one set, of what is said in the first `seconds` of it."""
    truth = json.loads((speech / f"{row['set']}.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        told, heard = Path(scratch) / "truth.json", Path(scratch) / "heard.json"
        if seconds:
            truth["segments"] = [s for s in truth["segments"] if s["end"] <= seconds]
        told.write_text(json.dumps(truth))
        heard.write_text(json.dumps({"segments": row["segments"]}))
        command = [sys.executable, str(speech / "score.py"), str(told), str(heard)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return 100 * float(json.loads(done.stdout)["wer"])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "run", "shape", "score", "worker", "one-shape", "random"))
    parser.add_argument("given", nargs="+")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sets", nargs="+", default=list(gpu.SETS))
    parser.add_argument("--seconds", type=float, default=0.0, help="only the first of each recording")
    told = parser.parse_args()
    first, *rest = told.given
    match told.action:
        case "make":
            make(Path(first), rest)
        case "run":
            out, *folders = map(Path, rest)
            run(Path(first), out, folders, told.sets, rounds=told.rounds, seconds=told.seconds)
        case "shape":
            shape(Path(first))
        case "score":
            score(Path(first), Path(rest[0]))
        case "worker":
            worker(Path(first), Path(rest[0]), told.sets, told.seconds)
        case "one-shape":
            shape_worker(first)
        case _:
            random_model(Path(first), rest[0])


if __name__ == "__main__":
    main()

"""What a model costs in each of its sizes: disk, load time, peak memory, speed, and how much it gets wrong.

usage: models.py make FOLDER NAME=CT2_OR_MLX_FOLDER ...    float16, 8- and 4-bit MLX folders of each (needs MLX)
       models.py run DATA OUT FOLDER ... [--sets en fr ...] [--rounds N] [--seconds N]     OUT/models.json
       models.py shape OUT                                  large-v3-turbo's shape, random weights: OUT/shapes.json
       models.py turbo FOLDER BASE        FOLDER/ct2, FOLDER/mlx: the same, made to say one text (needs CTranslate2)
       models.py memory DATA BASE [--whisperx PYTHON] [--sets en] [--seconds N]       a table (Linux)
       models.py score OUT SPEECH                           tables (needs jiwer, whisper-normalizer)

DATA is of `gpu.py prepare`; SPEECH as there. `run` takes MLX and CTranslate2 folders alike, each in a process of its
own, which loads it (twice: the second time its files are in the system's cache), then transcribes every set; rounds
alternate the folders. It needs NumPy and the engine: MLX and mlx-whisper, or faster-whisper for CTranslate2.
Memory is the process's highest (`ru_maxrss`) and, with MLX, the highest that MLX held on its device; `memory` tells
in MB what a process holds when loaded and at most until then, then at most over some `windows` (VmRSS, VmHWM).
Load time is from the first import of the engine to a model that answers; `import_s` of it is the libraries'.
"""

from __future__ import annotations

import argparse
import json
import re
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

from bench import gpu  # noqa: E402 (it is next to this file)

SIZES = {"fp16": None, "8bit": 8, "4bit": 4}
MOST = 16
"""Windows that an engine decodes at once at most: MLX."""


def make(folder: Path, sources: list[str]) -> None:
    """Write FOLDER/NAME-fp16, NAME-8bit and NAME-4bit."""
    from dropscribe.backends.mlx_weights import quantise_model
    from dropscribe.models import convert

    for given in sources:
        name, _, path = given.partition("=")
        source, whole = Path(path), folder / f"{name}-fp16"
        if (source / "model.bin").exists():
            convert.convert_to_mlx(source, whole)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            whole.symlink_to(source.resolve())
        for size, bits in SIZES.items():
            if bits:
                started = time.perf_counter()
                target = folder / f"{name}-{size}"
                target.mkdir(parents=True, exist_ok=True)
                quantise_model(whole, target, bits)
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
    from dropscribe.backends.factory import create_backend

    before_mb, started = peak_mb(), time.perf_counter()
    name = "faster-whisper" if (model / "model.bin").exists() else "mlx"
    engine = create_backend(name)
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

    from dropscribe.backends.factory import create_backend

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = [sys.executable, __file__, "random", str(folder), size]
        subprocess.run(command, check=True)  # its memory is not to count here
        engine: Any = create_backend("mlx")
        before, started = peak_mb(), time.perf_counter()
        loaded = engine.load(folder)
        load_s, load_mb, load_device = time.perf_counter() - started, peak_mb(), device_peak_mb()
        noise = np.random.default_rng(0).normal(0, 0.1, 480000).astype(np.float32)
        rows = engine._batch if loaded.device.startswith("gpu") else 1  # a CPU would take an hour
        decoder, tokens = engine._decoder, engine._make_tokenizer("en", "transcribe")
        from dropscribe.backends.mlx import build_rules

        started = time.perf_counter()
        memory = decoder.compute_memory(engine._encoder.encode([noise] * rows))
        prefix = np.tile(np.array(tokens.sot_sequence_including_notimestamps, np.int32), (rows, 1))
        texts = decoder.search(memory, prefix, build_rules(tokens, gpu.TURBO["n_vocab"], 0))
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

    from dropscribe.backends.mlx_weights import quantise_model
    from dropscribe.models.convert import CONFIG, WEIGHTS

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
            quantise_model(whole, folder, bits)


def turbo(folder: Path, base: Path) -> None:
    """Write FOLDER/ct2 and FOLDER/mlx: a model of large-v3-turbo's shape that hears one text in every window.

    Weights are random, normal with a deviation of 0.02. But each position of the decoder is a thousandfold of the
    embedding of the token that is to come there, so that the model says the sample's text, is sure of it, and ends:
    a window is then decoded once, to a common length, as with true weights. `base` is Whisper base in CTranslate2's
    layout: names of weights and tokens are taken from there, shapes by its sizes.
    """
    import numpy as np
    from ctranslate2.specs import model_spec, whisper_spec
    from tokenizers import Tokenizer

    from dropscribe.models import convert, model_file

    target = folder / "ct2"
    target.mkdir(parents=True)
    tokens = json.loads((base / "tokenizer.json").read_text())
    at = next(one["id"] for one in tokens["added_tokens"] if one["content"] == "<|translate|>")
    after = [one for one in tokens["added_tokens"] if one["id"] >= at]
    for one in after:
        one["id"] += 1
    tokens["added_tokens"].insert(-len(after), {**after[0], "id": at, "content": "<|yue|>"})  # v3's one more language
    for special in tokens["post_processor"]["special_tokens"].values():
        special["ids"] = [token + (token >= at) for token in special["ids"]]
    (target / "tokenizer.json").write_text(json.dumps(tokens))
    (target / "preprocessor_config.json").write_text(json.dumps({"feature_size": gpu.TURBO["n_mels"]}))
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    text = re.findall(r"^  ([^(].*)", (HERE.parents[1] / "daemon/dropscribe/sample.txt").read_text(), re.MULTILINE)
    said = [tokenizer.token_to_id(f"<|{name}|>") for name in ("en", "transcribe", "notimestamps")]
    said += tokenizer.encode(" " + " ".join(text), add_special_tokens=False).ids
    said += [tokenizer.token_to_id("<|endoftext|>")] * (gpu.TURBO["n_text_ctx"] - len(said))

    known = model_file.read_variables(base / "model.bin")
    state = gpu.TURBO["n_text_state"]
    sizes: dict[int, int] = {512 * many: state * many for many in (1, 2, 3, 4)} | {
        80: gpu.TURBO["n_mels"],
        51865: gpu.TURBO["n_vocab"],
    }
    random = np.random.default_rng(0)
    spec = whisper_spec.WhisperSpec(
        *(gpu.TURBO[f"n_{of}_{n}"] for of in ("audio", "text") for n in ("layer", "head"))
    )

    def fill(layer: Any, name: str, _: Any) -> None:
        like = known.get(re.sub(r"/layer_\d+/", "/layer_0/", name))
        if like is None or not like.ndim:  # not used by Whisper; a number that the specification knows
            return
        shape = [sizes.get(size, int(size)) for size in like.shape]
        scale = name.endswith("/gamma")
        weights = np.ones(shape) if scale else random.standard_normal(shape, np.float32) * np.float32(0.02)
        setattr(layer, name.rpartition("/")[2], weights.astype(np.float16))

    model_spec.visit_spec(spec, fill)
    embeddings = spec.decoder.embeddings.weight
    spec.decoder.projection.weight = embeddings
    spec.decoder.position_encodings.encodings = 1000 * embeddings[said]
    words = (base / "vocabulary.txt").read_text().split("\n")[:at]
    names = [tokenizer.id_to_token(token) for token in range(at, tokenizer.get_vocab_size())]
    names += [f"<|{0.02 * i:.2f}|>" for i in range(gpu.TURBO["n_vocab"] - len(words) - len(names))]
    spec.register_vocabulary(words + names)
    settings = json.loads((base / "config.json").read_text())
    for name in ("suppress_ids", "suppress_ids_begin"):
        setattr(spec.config, name, [token + (token >= at) for token in settings[name]])
    spec.config.lang_ids = [*settings["lang_ids"], at]
    spec.config.alignment_heads = [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]]  # the real model's
    spec.validate()
    spec.optimize(quantization="float16")
    spec.save(str(target))
    convert.convert_to_mlx(target, folder / "mlx")


def status_mb(what: str) -> float:
    """Return VmRSS, the MB that this process holds, or VmHWM, the most that it held. Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024 / 1e6


def memory_worker(name: str, model: Path, recording: Path, seconds: float) -> None:
    """Load one model with one engine, transcribe up to `MOST` windows, print one JSON: MB."""
    from dropscribe import backends, log_bridge
    from dropscribe.backends.factory import create_backend
    from dropscribe.worker.windows import cut_windows

    log_bridge.sink = lambda *told: print(*told, file=sys.stderr)  # WhisperX's environment has no structlog
    engine = create_backend(name)
    loaded = engine.load(model)
    found: dict[str, float] = {"loaded": status_mb("VmRSS"), "loading": status_mb("VmHWM")}
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM starts again
    device_peak_mb()
    samples, spans, language = gpu.read(recording)
    windows = cut_windows(samples, spans)
    windows = [w for w in windows[:MOST] if not seconds or w.end <= seconds * backends.SAMPLE_RATE]
    list(engine.transcribe(samples, windows, backends.Options(language=language)))
    found |= {"windows": len(windows), "transcribing": status_mb("VmHWM"), "device": device_peak_mb() or 0.0}
    print(json.dumps({"runs on": loaded.device, **found}))


def memory(data: Path, base: Path, whisperx: str | None, which: str, seconds: float) -> None:
    """Run `memory_worker` for every engine with base and with the shape of large-v3-turbo; print a table.

    Batches are as large as in the daemon. What an engine holds grows with them, and not with the recording: no engine
    takes more than `MOST` windows at once.
    """
    from dropscribe.models import convert

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        turbo(folder / "turbo", base)
        convert.convert_to_mlx(base, folder / "base")
        engines = [("faster-whisper", sys.executable), *([("whisperx", whisperx)] if whisperx else [])]
        both = (("base", base, folder / "base"), ("turbo", folder / "turbo/ct2", folder / "turbo/mlx"))
        columns = ("loaded", "loading", "windows", "transcribing", "device")
        print("| model | engine | runs on |", " | ".join(columns), "|")
        print("|---" * 8 + "|")
        for size, ctranslate2, mlx in both:
            for name, python in (*engines, ("mlx", sys.executable)):
                model = mlx if name == "mlx" else ctranslate2
                command = [python, __file__, "one-memory", name, str(model), str(data / f"{which}.npz")]
                done = subprocess.run(
                    [*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True, check=True
                )
                row = json.loads(done.stdout.splitlines()[-1])
                cells = [f"{row[column]:,.0f}" for column in columns]
                print(f"| {size} | {name} | {row['runs on']} |", " | ".join(cells), "|", flush=True)


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
    parser.add_argument(
        "action",
        choices=("make", "run", "shape", "turbo", "memory", "score", "worker", "one-shape", "one-memory", "random"),
    )
    parser.add_argument("given", nargs="+")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sets", nargs="+", default=list(gpu.SETS))
    parser.add_argument("--seconds", type=float, default=0.0, help="only the first of each recording")
    parser.add_argument("--whisperx", help="interpreter that has WhisperX")
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
        case "turbo":
            turbo(Path(first), Path(rest[0]))
        case "score":
            score(Path(first), Path(rest[0]))
        case "worker":
            worker(Path(first), Path(rest[0]), told.sets, told.seconds)
        case "memory":
            memory(Path(first), Path(rest[0]), told.whisperx, told.sets[0], told.seconds)
        case "one-memory":
            memory_worker(first, Path(rest[0]), Path(rest[1]), told.seconds)
        case "one-shape":
            shape_worker(first)
        case _:
            random_model(Path(first), rest[0])


if __name__ == "__main__":
    main()

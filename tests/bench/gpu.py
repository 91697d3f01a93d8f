"""How fast and how well the MLX engine works next to mlx-whisper's own `transcribe`, on a GPU.

usage: gpu.py prepare SPEECH DATA          on any machine: recordings as arrays, and their speech
       (needs PyAV) gpu.py run DATA MODEL OUT [--rounds N] [--sets en fr ...] [--batch N] [--ours]
       on the GPU: OUT/run.json gpu.py shape OUT                    on the GPU: large-v3-turbo's
       shape with random weights: OUT/shape.json gpu.py score OUT SPEECH             on any
       machine: a table (jiwer, whisper-normalizer, `tests` in PYTHONPATH)

SPEECH holds `NAME.flac` with `NAME.json` and `score.py`; MODEL is an MLX folder. The GPU machine
needs MLX, mlx-whisper and NumPy only. Rounds alternate the engines; the median counts. Every
engine gets samples and the language. Ours is timed from samples to aligned words; speech detection
is not included: `run` times it separately where onnxruntime is. The peer is
`mlx_whisper.transcribe` with its defaults, with and without word times.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe import backends
from dropscribe.transcript import to_dict
from dropscribe.worker import pipeline, vad
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SETS = ("en", "fr", "es", "it", "ru", "digits")
TURBO = {
    "n_mels": 128,
    "n_audio_ctx": 1500,
    "n_audio_state": 1280,
    "n_audio_head": 20,
    "n_audio_layer": 32,
    "n_vocab": 51866,
    "n_text_ctx": 448,
    "n_text_state": 1280,
    "n_text_head": 20,
    "n_text_layer": 4,
}


def prepare(folder: Path, data: Path) -> None:
    """Write NAME.npz: `samples` (int16, 16 kHz), `spans` (first and one past the last sample),
    `language`.
    """
    from dropscribe.worker import decoding

    data.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        with tempfile.TemporaryDirectory() as spool:
            samples = np.array(decoding.decode(folder / f"{name}.flac", Path(spool) / "spool").samples)
        spans = [[span.start, span.end] for span in vad.detect_speech(samples)]
        whole = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        language = json.loads((folder / f"{name}.json").read_text())["language"]
        np.savez_compressed(data / f"{name}.npz", samples=whole, spans=spans, language=language)
        print(name, len(samples) / backends.SAMPLE_RATE, "s", len(spans), "spans")


def read(path: Path) -> tuple[NDArray[np.float32], list[vad.Span], str]:
    """Return samples, spans of speech and language."""
    with np.load(path) as found:
        samples = found["samples"].astype(np.float32) / 32768
        return samples, [vad.Span(int(a), int(b)) for a, b in found["spans"]], str(found["language"])


def ours(engine: backends.Backend, samples: Any, spans: list[vad.Span], language: str) -> list[dict[str, Any]]:
    """Transcribe as the worker does after it has found the speech."""
    found = []
    context = WindowContext(engine, samples, spans, backends.Options(language=language))
    for text in pipeline.process_windows(context, cut_windows(samples, spans)):
        found += [to_dict(s) for s in text.segments]
    return found


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    import mlx.core as mx

    mx.synchronize()
    started = time.perf_counter()
    result = work()
    mx.synchronize()
    return time.perf_counter() - started, result


def run(data: Path, model: Path, out: Path, *, rounds: int, sets: list[str], batch: int, alone: bool) -> None:
    """Time both engines, or with `alone` ours, on every set and keep what they wrote."""
    import mlx.core as mx
    import mlx_whisper

    from dropscribe.backends.mlx import MLX

    engine = MLX()
    load_s, loaded = timed(lambda: engine.load(model, batch=batch))
    model_mb = mx.get_active_memory() / 1e6
    print("loaded", loaded, round(load_s, 2), "s", model_mb, "MB, device:", mx.device_info(), flush=True)
    rows: list[dict[str, Any]] = []
    for name in sets:
        samples, spans, language = read(data / f"{name}.npz")
        seconds = len(samples) / backends.SAMPLE_RATE

        def peer(*, words: bool, samples: Any = samples, language: str = language) -> Any:
            result = mlx_whisper.transcribe(
                samples, path_or_hf_repo=str(model), language=language, word_timestamps=words, verbose=None
            )
            return result["segments"]

        ways: dict[str, Callable[[], Any]] = {
            "dropscribe": functools.partial(ours, engine, samples, spans, language),
            "mlx-whisper, words": functools.partial(peer, words=True),
            "mlx-whisper": functools.partial(peer, words=False),
        }
        if alone:
            ways = {"dropscribe": ways["dropscribe"]}
        times: dict[str, list[float]] = {way: [] for way in ways}
        peaks: dict[str, int] = {}
        results: dict[str, Any] = {}
        for turn in range(rounds + (name == sets[0])):
            for way, work in ways.items():
                if way != "dropscribe" and turn > 0 and name != sets[0]:
                    continue  # for the words one run is enough
                mx.reset_peak_memory()
                took, result = timed(work)
                if turn > 0 or name != sets[0]:  # the first of all compiles and loads
                    times[way].append(took)
                    peaks[way] = mx.get_peak_memory()
                    results[way] = result
        for way, each in times.items():
            took = statistics.median(each)
            row = {"set": name, "way": way, "audio_s": seconds, "seconds": each, "peak_mb": peaks[way] / 1e6}
            print(name, way, [round(t, 3) for t in each], f"{seconds / took:.0f}x", row["peak_mb"], flush=True)
            rows.append(row | {"segments": results[way]})
        head = {"device": str(mx.device_info()), "model": model.name, "load_s": load_s, "model_mb": model_mb}
        (out / "run.json").write_text(json.dumps(head | {"batch": engine._batch, "rows": rows}, default=float))


def shape(out: Path) -> None:
    """Encode 16 windows and decode 224 tokens of each, at once and one at a time, and with
    mlx-whisper's decoder.
    """
    import mlx.core as mx
    import mlx_whisper.audio
    import mlx_whisper.decoding
    import mlx_whisper.whisper
    from mlx.utils import tree_map

    from dropscribe.backends.mlx_aligner import Aligner
    from dropscribe.backends.mlx_decoder import Decoder
    from dropscribe.backends.mlx_encoder import Encoder
    from dropscribe.backends.mlx_search import Rules

    mx.random.seed(0)
    model: Any = mlx_whisper.whisper.Whisper(mlx_whisper.whisper.ModelDimensions(**TURBO), mx.float16)
    heads = model.alignment_heads
    model.update(tree_map(lambda a: (0.02 * mx.random.normal(a.shape)).astype(mx.float16), model.parameters()))
    model.alignment_heads = heads[:6]  # as many as the real model has
    mx.eval(model.parameters())
    encoder = Encoder(model, mlx_whisper.audio.mel_filters(128), mx.float16)
    decoder, aligner = Decoder(model, mx.float16), Aligner(model, mx.float16)
    never = np.zeros(TURBO["n_vocab"], np.float32)
    never[50257:] = -np.inf
    rules = Rules(mx.array(never), mx.array(never), 0, 50363, 50257)
    prefix = np.array([[50258, 50259, 50360, 50364]], np.int32)
    noise = np.random.default_rng(0).normal(0, 0.1, 480000).astype(np.float32)
    suppressed = list(range(50257, TURBO["n_vocab"]))
    options = mlx_whisper.decoding.DecodingOptions(
        language="en", without_timestamps=True, sample_len=224, suppress_tokens=suppressed
    )

    def batched(rows: int, beams: int) -> dict[str, float]:
        mx.reset_peak_memory()
        encode_s, memory = timed(lambda: evaluated(decoder.compute_memory(encoder.encode([noise] * rows))))
        decode_s, found = timed(lambda: decoder.search(memory, np.tile(prefix, (rows, 1)), rules, beams))
        texts = [each.tokens[:100] for each in found]
        times_s, _ = timed(
            lambda: aligner.time_tokens(memory, np.tile(prefix, (rows, 1)), texts, 50257, [3000] * rows)
        )
        assert all(len(each.tokens) == 224 for each in found)
        return {
            "rows": rows,
            "beams": beams,
            "encode_s": encode_s,
            "decode_s": decode_s,
            "times_s": times_s,
            "peak_mb": mx.get_peak_memory() / 1e6,
        }

    def evaluated(value: Any) -> Any:
        mx.eval(value)
        return value

    def single() -> dict[str, float]:
        mx.reset_peak_memory()
        mel = encoder.compute_spectrogram([noise])
        encode_s, features = timed(lambda: evaluated(model.encoder(mel)))
        decode_s, _ = timed(lambda: mlx_whisper.decoding.decode(model, features[0], options))
        return {"rows": 1, "encode_s": encode_s, "decode_s": decode_s, "peak_mb": mx.get_peak_memory() / 1e6}

    found: dict[str, Any] = {"device": str(mx.device_info())}
    for turn in range(2):  # the first compiles
        for name, work in {
            "dropscribe, 16 at once, 5 beams": lambda: batched(16, 5),
            "dropscribe, 16 at once, greedy": lambda: batched(16, 1),
            "dropscribe, 1, greedy": lambda: batched(1, 1),
            "mlx-whisper, 1": single,
        }.items():
            found[name] = work()
            print(turn, name, found[name], flush=True)
    (out / "shape.json").write_text(json.dumps(found))


def score(out: Path, folder: Path) -> None:
    """Print a table of what `run` wrote."""
    from bench.accuracy import chance, numbers_alike

    found = json.loads((out / "run.json").read_text())
    print(f"{found['model']}, {found['model_mb']:.0f} MB, loaded in {found['load_s']:.2f} s, batch {found['batch']}")
    print(f"{found['device']}\n")
    print(
        "| set | engine | x real time | WER | numbers alike | onset ms (median/p95) | offset ms | outside | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in found["rows"]:
        if row["way"] == "mlx-whisper":
            print(f"| {row['set']} | {row['way']} | {row['audio_s'] / statistics.median(row['seconds']):.0f} |")
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"segments": row["segments"]}, file)
            file.flush()
            command = [sys.executable, str(folder / "score.py"), str(folder / f"{row['set']}.json"), file.name]
            s = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        alike = numbers_alike(json.loads((folder / f"{row['set']}.json").read_text()), row)
        rates = [f"{100 * rate:.1f} %" if rate is not None else "" for rate in (s["wer"], alike)]
        print(
            f"| {row['set']} | {row['way']} | {row['audio_s'] / statistics.median(row['seconds']):.0f} "
            f"| {rates[0]} | {rates[1]} | {s['onset_ms']}/{s['onset_p95']} | {s['offset_ms']}/{s['offset_p95']} "
            f"| {s['outside']} | {row['peak_mb']:.0f} |"
        )
    made = {(row["set"], row["way"]): row for row in found["rows"]}
    print()
    for name in SETS:
        ours, theirs = made.get((name, "dropscribe")), made.get((name, "mlx-whisper, words"))
        if ours and theirs:
            low, high = chance(json.loads((folder / f"{name}.json").read_text()), ours, theirs)
            print(f"{name}: ours less mlx-whisper's {100 * low:+.1f} to {100 * high:+.1f} points (95 %)")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("prepare", "run", "shape", "score"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--ours", action="store_true", help="leave mlx-whisper out")
    given = parser.parse_args()
    if given.action == "run":
        data, model, out = given.folders
        run(data, model, out, rounds=given.rounds, sets=given.sets, batch=given.batch, alone=given.ours)
    elif given.action == "shape":
        shape(*given.folders)
    else:
        {"prepare": prepare, "score": score}[given.action](*given.folders)


if __name__ == "__main__":
    main()

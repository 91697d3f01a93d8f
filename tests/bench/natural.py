"""Speech of many kinds: words wrong, lost and invented, the language, next to the libraries.

usage: natural.py --material DIR --model FOLDER [--mlx FOLDER] [--kinds KIND ...] [--only SIDE ...] [--out FILE]

`natural_material.py` makes DIR. Sides: `ours` (the worker's stages, and its decision of the language), `library`
(faster-whisper called directly, one window after the other, with its speech detection and word times), `batched`
(its `BatchedInferencePipeline`, 8 windows at once), with `--mlx` also `ours-mlx` and `mlx_whisper`; those want a GPU.
All are told the language, but for the column about it. Each side works in a process of its own.

Printed for each kind and language: WER (of letters in Japanese and Chinese), of 100 words those lost and those
invented, and the languages that were right. Of meetings, where the labels say who speaks when: the seconds of speech
without a word near, and the words where nobody speaks. `told` counts recordings with a warning of ours. `--out` keeps
the texts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accuracy  # type: ignore[import-not-found] # it is beside this file
import jiwer
import numpy as np
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from dropscribe import backends
from dropscribe.backends.factory import create_backend
from dropscribe.transcript import to_dict
from dropscribe.worker import languages, pipeline, vad
from dropscribe.worker.speech import Speech
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

LETTERS = ("ja", "zh")
NEAR_S = 0.5
"""Seconds from a word within which labelled speech is not without words."""
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def ours(name: str, folder: Path) -> list[accuracy.Way]:
    """Return the worker's stages; the transcript also says the language and the warnings."""
    backend = create_backend(name)
    backend.load(folder)

    def run(path: Path, seconds: float | None, language: str) -> dict[str, Any]:
        samples = accuracy.read_sound(path, seconds)
        spans = vad.detect_speech(samples)
        context = WindowContext(backend, samples, spans, backends.Options(language=language))
        windows = cut_windows(samples, spans)
        texts = list(pipeline.process_windows(context, windows))
        speech = Speech(samples, len(samples), (tuple(spans),))
        spoken = languages.decide_languages(backend, speech, windows, language="auto", candidates=(), mixed="never")
        return {
            "language": spoken.language,
            "segments": [to_dict(s) for text in texts for s in text.segments],
            "warnings": [n.code for text in texts for n in text.notices],
        }

    return [accuracy.Way("ours" if name == "faster-whisper" else "ours-mlx", run)]


def library(folder: Path, batch: int) -> list[accuracy.Way]:
    """Return a direct call of faster-whisper, with the language that it detects by itself."""
    (way,) = accuracy.libraries(folder, both=False, batch=batch)
    import faster_whisper

    model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="int8")

    def run(path: Path, seconds: float | None, language: str) -> dict[str, Any]:
        samples = np.array(accuracy.read_sound(path, seconds))
        return {**way.run(path, seconds, language), "language": model.detect_language(samples, vad_filter=True)[0]}

    return [accuracy.Way("batched" if batch else "library", run)]


def mlx_whisper(folder: Path) -> list[accuracy.Way]:
    """Return `mlx_whisper.transcribe` with its defaults and word times."""
    import mlx_whisper as package

    def run(path: Path, seconds: float | None, language: str) -> dict[str, Any]:
        samples = np.array(accuracy.read_sound(path, seconds))
        made = package.transcribe(samples, path_or_hf_repo=str(folder), language=language, word_timestamps=True)
        heard = package.transcribe(samples[: 30 * backends.SAMPLE_RATE], path_or_hf_repo=str(folder))["language"]
        return {"segments": made["segments"], "language": heard}

    return [accuracy.Way("mlx_whisper", run)]


def normalise(text: str, language: str) -> str:
    """Return a text as it is compared: no marks, no capitals, single figures apart and as in speech."""
    normal = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer(split_letters=language in LETTERS)
    if language == "en":
        text = re.sub(r"\d(?=\d)", r"\g<0> ", " ".join(normal(text).split()))
        figures = {word: str(number) for number, word in enumerate(DIGITS)}
        return " ".join(figures.get(word, word) for word in text.split())
    groups = accuracy.NUMBERS.get(language, "").split(";")
    digit = {normal(word).strip(): str(number) for number, words in enumerate(groups) for word in words.split()}
    return " ".join(digit.get(word, word) for word in normal(text).split())


def count_errors(item: dict[str, Any], made: dict[str, Any]) -> dict[str, float]:
    """Return what is counted of one recording."""
    counts = {"right": float(made["language"] == item["language"]), "files": 1.0}
    counts["told"] = float(bool(made.get("warnings")))
    if "speech" in item:
        words = [(w["start"], w["end"]) for s in made["segments"] for w in s.get("words", [])]
        step = 0.05
        times = np.arange(0, item["seconds"], step)

        def cover(spans: Sequence[Sequence[float]], margin: float) -> Any:
            return np.logical_or.reduce(
                [np.zeros(len(times), bool)] + [(times > a - margin) & (times < b + margin) for a, b in spans]
            )

        speech = cover(item["speech"], 0.0)
        counts["bare_s"] = float((speech & ~cover(words, NEAR_S)).sum() * step)
        counts["speech_s"] = float(speech.sum() * step)
        near = cover(item["speech"], NEAR_S)
        counts["astray"] = float(sum(not near[min(int((a + b) / 2 / step), len(times) - 1)] for a, b in words))
        return counts
    truth = normalise(item["text"], item["language"])
    said = normalise(" ".join(s["text"] for s in made["segments"]), item["language"])
    found = jiwer.process_words(truth, said or "-")
    counts |= {"lost": found.deletions, "invented": found.insertions, "wrong": found.substitutions}
    return counts | {"words": len(truth.split())}


def print_table(totals: dict[tuple[str, str], dict[str, dict[str, float]]]) -> None:
    """Print a line for each kind and language and side."""
    print("| kind | language | words | side | WER | lost | invented | language right | told |")
    print("|---" * 9 + "|")
    for (kind, language), sides in totals.items():
        for side, sums in sides.items():
            right = f"{sums['right']:.0f} of {sums['files']:.0f}"
            told = f"{sums['told']:.0f} of {sums['files']:.0f}" if side.startswith("ours") else ""
            if "bare_s" in sums:
                cells = ["", f"{sums['bare_s']:.1f} of {sums['speech_s']:.0f} s", f"{sums['astray']:.0f} words"]
            else:
                wrong = sums["lost"] + sums["invented"] + sums["wrong"]
                cells = [f"{100 * count / sums['words']:.1f}" for count in (wrong, sums["lost"], sums["invented"])]
            words = f"{sums['words']:.0f}" if "words" in sums else ""
            print(f"| {kind} | {language} | {words} | {side} | {' | '.join(cells)} | {right} | {told} |")


def main() -> None:
    """Measure what the arguments say and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mlx", type=Path)
    parser.add_argument("--kinds", nargs="+")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made: dict[str, Any] = {}
    makers: dict[str, tuple[Any, ...]] = {
        "ours": (ours, "faster-whisper", options.model),
        "library": (library, options.model, 0),
        "batched": (library, options.model, 8),
    }
    if options.mlx:
        makers |= {"ours-mlx": (ours, "mlx", options.mlx), "mlx_whisper": (mlx_whisper, options.mlx)}
    items = json.loads((options.material / "natural.json").read_text(encoding="utf-8"))
    items = [item for item in items if not options.kinds or item["kind"] in options.kinds]
    totals: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name, (make, *arguments) in makers.items():
        if options.only and name not in options.only:
            continue
        side = accuracy.Side(make, *arguments)
        for item in items:
            path = options.material / f"{item['name']}.wav"
            ((found,), _, cpu) = side.timed(name, [path], None, item["language"])
            sums = totals[item["kind"], item["language"]][name]
            for key, value in count_errors(item, found).items():
                sums[key] += value
            made[f"{name} {item['name']}"] = {**found, "cpu_s": round(cpu, 1)}
            print(f"{name} {item['name']} {cpu:.0f} s CPU", file=sys.stderr, flush=True)
            if options.out:
                options.out.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
        side.close()
    print_table(totals)


if __name__ == "__main__":
    main()

"""How well and how fast recordings with known words and times are transcribed, next to the library called directly.

usage: accuracy.py --speech DIR --model NAME=FOLDER [--model ...] [--backend faster-whisper|mlx] [--sets en fr ...]
                   [--score FILE] [--seconds N] [--plain] [--batch N] [--out DIR]

DIR holds `NAME.flac` with `NAME.json` (`language`, and `segments` with `start`, `end`, `text`), and `clips/*.flac`
with `clips.json`; `score.py` there (or FILE) measures a transcript. Models of English alone (`*.en`) hear English.

Ours is what the worker does: decode, find the speech, cut windows, transcribe them, settle the times of the words.
The library is `WhisperModel.transcribe(vad_filter=True, word_timestamps=True)`: once with its default, which gives
every window the text before it as a prompt (`library`), once without, as ours (`library, windows alone`; left out
with `--plain`). With `--batch N` it is its `BatchedInferencePipeline` instead, N windows at once. Our decoder's work
is counted in all, loading in none. Each side works in a process of its own, one at a time: ours has memory handed out
otherwise to all in its process, and the worker's environment. On a busy machine compare CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jiwer
import numpy as np
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from dropscribe import backends
from dropscribe.backends import choice
from dropscribe.backends.factory import create_backend
from dropscribe.transcript import to_dict
from dropscribe.worker import decoding, pipeline, vad
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from dropscribe.transcript import Segment

SETS = ("en", "digits", "fr", "es", "it", "ru", "clips")
NUMBERS = {
    "es": "cero;uno un una;dos;tres;cuatro;cinco;seis;siete;ocho;nueve;diez",
    "fr": "zéro;un une;deux;trois;quatre;cinq;six;sept;huit;neuf;dix",
    "it": "zero;uno un una;due;tre;quattro;cinque;sei;sette;otto;nove;dieci",
    "ru": "ноль нуль;один одна одну;два две;три;четыре;пять;шесть;семь;восемь;девять;десять",
}
"""`nueve` or `9` is a matter of taste, which Whisper's normaliser settles for English only."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make a transcript."""

    name: str
    run: Callable[[Path, float | None, str], dict[str, Any]]
    """(recording, seconds to hear or None, language) -> {"text": ..., "segments": [...]}."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    model: str
    set: str
    way: str
    score: dict[str, Any]
    alike: float | None
    audio_s: float
    wall_s: float
    cpu_s: float


def read_sound(path: Path, seconds: float | None) -> NDArray[np.float32]:
    """Decode; the file behind the samples is gone with the process."""
    with tempfile.TemporaryDirectory() as folder:
        samples = decoding.decode(path, Path(folder) / "spool").samples
    return samples if seconds is None else samples[: int(seconds * backends.SAMPLE_RATE)]


def ours(name: str, folder: Path) -> list[Way]:
    backend = create_backend(name)
    backend.load(folder)
    vad.detect_speech(
        np.zeros(backends.SAMPLE_RATE, np.float32)
    )  # loads the detector; the library's own: see `libraries`

    def run(path: Path, seconds: float | None, language: str) -> dict[str, Any]:
        samples = read_sound(path, seconds)
        spans = vad.detect_speech(samples)
        segments: list[Segment] = []
        context = WindowContext(backend, samples, spans, backends.Options(language=language))
        for text in pipeline.process_windows(context, cut_windows(samples, spans)):
            segments += text.segments
        return {"text": " ".join(s.text for s in segments), "segments": [to_dict(s) for s in segments]}

    return [Way("dropscribe", run)]


def libraries(folder: Path, both: bool, batch: int = 0) -> list[Way]:
    """Return the direct calls of faster-whisper; of its batched pipeline if `batch` is given."""
    import faster_whisper
    from faster_whisper.vad import get_vad_model

    get_vad_model()
    model: Any = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="int8")

    if batch:
        model = faster_whisper.BatchedInferencePipeline(model)

    def way(name: str, **options: Any) -> Way:
        def run(path: Path, seconds: float | None, language: str) -> dict[str, Any]:
            samples = np.array(read_sound(path, seconds))
            found, _ = model.transcribe(samples, language=language, vad_filter=True, word_timestamps=True, **options)
            segments = [
                {
                    "text": s.text,
                    "words": [{"word": w.word, "start": float(w.start), "end": float(w.end)} for w in s.words],
                }
                for s in found
            ]
            return {"text": " ".join(s["text"] for s in segments), "segments": segments}

        return Way(name, run)

    if batch:
        return [way("library, batched", batch_size=batch)]
    made = [way("library")]
    if both:
        made.append(way("library, windows alone", condition_on_previous_text=False))
    return made


class Side:
    """The ways that share a model, in a process of its own."""

    def __init__(self, make: Callable[..., list[Way]], *arguments: Any, **environ: str) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (make, arguments))
        before = os.environ.copy()
        os.environ.update(environ)
        self.names = self._pool.submit(_names).result()
        os.environ.clear()
        os.environ.update(before)

    def timed(
        self, name: str, paths: list[Path], seconds: float | None, language: str
    ) -> tuple[list[dict[str, Any]], float, float]:
        """Return what a way makes of recordings, the seconds it took, and the processor's."""
        return self._pool.submit(_timed, name, paths, seconds, language).result()

    def close(self) -> None:
        self._pool.shutdown()


_ways: dict[str, Way] = {}


def _begin(make: Callable[..., list[Way]], arguments: tuple[Any, ...]) -> None:
    _ways.update((way.name, way) for way in make(*arguments))


def _names() -> list[str]:
    return list(_ways)


def _timed(
    name: str, paths: list[Path], seconds: float | None, language: str
) -> tuple[list[dict[str, Any]], float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = [_ways[name].run(path, seconds, language) for path in paths]
    return made, time.perf_counter() - wall, time.process_time() - cpu


def numbers_alike(truth: dict[str, Any], made: dict[str, Any]) -> float | None:
    """Return the word error rate with single numbers written alike; None where Whisper's normaliser does that."""
    if truth["language"] not in NUMBERS:
        return None
    normal = BasicTextNormalizer()
    groups = enumerate(NUMBERS[truth["language"]].split(";"))
    digit = {normal(word).strip(): str(number) for number, words in groups for word in words.split()}

    def plain(segments: Iterable[dict[str, Any]]) -> str:
        return " ".join(digit.get(w, w) for w in normal(" ".join(s["text"] for s in segments)).split())

    return round(float(jiwer.wer(plain(truth["segments"]), plain(made["segments"]))), 4)


def chance(truth: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, float]:
    """Return between what the difference of two word error rates lies, ours less theirs, with 95 % probability.

    A paired bootstrap over the prompts, 4,000 draws (Bisani and Ney, "Bootstrap estimates for confidence intervals in
    ASR performance evaluation", ICASSP 2004). The texts are normalised as `score.py` does, but prompt by prompt.
    """
    normal = EnglishTextNormalizer() if truth["language"] == "en" else BasicTextNormalizer()
    prompts = [normal(segment["text"]).split() for segment in truth["segments"]]
    owner = [number for number, words in enumerate(prompts) for _ in words]

    def errors(made: dict[str, Any]) -> NDArray[np.float64]:
        said = normal(" ".join(segment["text"] for segment in made["segments"]))
        found = np.zeros(len(prompts))
        for chunk in jiwer.process_words(" ".join(itertools.chain.from_iterable(prompts)), said).alignments[0]:
            if chunk.type == "insert":
                place = owner[min(chunk.ref_start_idx, len(owner) - 1)]
                found[place] += chunk.hyp_end_idx - chunk.hyp_start_idx
            elif chunk.type != "equal":
                np.add.at(found, owner[chunk.ref_start_idx : chunk.ref_end_idx], 1)
        return found

    more = errors(ours) - errors(theirs)
    words = np.array([len(prompt) for prompt in prompts])
    drawn = np.random.default_rng(0).integers(0, len(prompts), (4000, len(prompts)))
    low, high = np.percentile(more[drawn].sum(axis=1) / words[drawn].sum(axis=1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def measured(script: Path, *arguments: Path | str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True, check=True
    )
    score: dict[str, Any] = json.loads(done.stdout)
    return score


def one_set(name: str, model: str, side: Side, way: str, options: argparse.Namespace, out: Path) -> Row:
    """Transcribe one recording, or all the clips, and score it."""
    script = options.score or options.speech / "score.py"
    folder = out / f"{model}-{options.backend}-{re.sub(r'[^a-z]+', '-', way)}"
    folder.mkdir(parents=True, exist_ok=True)
    if name == "clips":
        paths = sorted((options.speech / "clips").glob("*.flac"))
        target = folder / "clips"
        target.mkdir(exist_ok=True)
        truth = None
    else:
        paths, target = [options.speech / f"{name}.flac"], folder
        truth = json.loads((options.speech / f"{name}.json").read_text(encoding="utf-8"))
    seconds = None
    if truth and options.seconds:
        truth["segments"] = [s for s in truth["segments"] if s["end"] <= options.seconds]
        seconds = truth["segments"][-1]["end"] + 0.3
    language = truth["language"] if truth else "en"
    made, wall, cpu = side.timed(way, paths, seconds, language)
    for path, transcript in zip(paths, made, strict=True):
        (target / f"{path.stem}.json").write_text(json.dumps(transcript, ensure_ascii=False), encoding="utf-8")
    audio_s = sum(len(read_sound(path, seconds)) for path in paths) / backends.SAMPLE_RATE
    if truth is None:
        score = measured(script, "--clips", options.speech / "clips.json", target)
        return Row(model, name, way, score, None, audio_s, wall, cpu)
    known = folder / f"{name}.truth.json"
    known.write_text(json.dumps(truth), encoding="utf-8")
    score = measured(script, known, target / f"{name}.json")
    return Row(model, name, way, score, numbers_alike(truth, made[0]), audio_s, wall, cpu)


def table(rows: list[Row]) -> str:
    head = ["model", "set", "way", "WER", "numbers alike", "onset ms (p95)", "offset ms (p95)", "outside"]
    head += ["s", "CPU s", "x real time"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        score = row.score
        times = [
            f"{score[k + '_ms']} ({score[k + '_p95']})" if k + "_ms" in score else "" for k in ("onset", "offset")
        ]
        cells = [
            row.model,
            row.set,
            row.way,
            f"{score['wer']:.4f}",
            "" if row.alike is None else f"{row.alike:.4f}",
            *times,
            f"{score['outside']:.4f}" if "outside" in score else "",
            f"{row.wall_s:.1f}",
            f"{row.cpu_s:.1f}",
            f"{row.audio_s / row.wall_s:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios(rows: list[Row]) -> list[str]:
    """Return, for each model and set, our time over the library's of the same run."""
    lines = []
    for row in rows:
        if row.way == "dropscribe":
            for other in rows:
                if (other.model, other.set) == (row.model, row.set) and other.way != row.way:
                    wall, cpu = row.wall_s / other.wall_s, row.cpu_s / other.cpu_s
                    lines.append(
                        f"{row.model} {row.set}: dropscribe / {other.way}: {wall:.2f} of the time, {cpu:.2f} CPU"
                    )
    return lines


def main() -> None:
    """Measure what the arguments say and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--backend", choices=choice.BUNDLED, default="faster-whisper")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--score", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        for model, _, folder in (given.partition("=") for given in options.model):
            sides = [Side(ours, options.backend, Path(folder), OPENBLAS_NUM_THREADS="1")]
            if options.backend == "faster-whisper":
                sides.append(Side(libraries, Path(folder), not options.plain, options.batch))
            for name in options.sets:
                if model.endswith(".en") and name not in {"en", "digits", "clips"}:
                    continue
                for side in sides:
                    for way in side.names:
                        rows.append(one_set(name, model, side, way, options, out))
                        print(rows[-1], file=sys.stderr, flush=True)
            for side in sides:
                side.close()
    print(table(rows))
    print()
    print("\n".join(ratios(rows)))


if __name__ == "__main__":
    main()

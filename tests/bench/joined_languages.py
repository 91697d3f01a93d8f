"""Recordings in two to four languages, joined from prompts: which speech gets its language, and what a change costs.

usage: joined_languages.py --speech DIR --model FOLDER [--backend NAME] [--half a|b] [--seeds 8] [--minutes 3]

DIR holds `NAME.flac` with `NAME.json` for en, fr, es, it and ru. Rules are tuned on half `a` of the prompts, `b`
is for reporting. Printed is, for parts of 8 to 30 s and of 20 to 70 s, the share of the speech whose window has its
language, and for each recording in one language whether it was divided; then, for minutes in two languages, the
processor and wall time from samples to words with the language detected, as a ratio to those with the windows and
their languages given, and with all of it in the first language: interleaved, the sum of three rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dropscribe import backends, settings
from dropscribe.backends import SAMPLE_RATE
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding, languages, pipeline, vad
from dropscribe.worker.languages import SpokenLanguages
from dropscribe.worker.speech import Speech
from dropscribe.worker.window_text import WindowContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Backend

NAMES = ("en", "fr", "es", "it", "ru")
PARTS = ((5, 8.0, 30.0), (4, 20.0, 70.0))
"""How many parts, and the seconds of each."""
Truth = list[tuple[int, int, str]]


def read_prompts(folder: Path, half: str) -> dict[str, list[NDArray[np.float32]]]:
    found = {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as spool:
            samples = np.array(decoding.decode(folder / f"{name}.flac", Path(spool) / "spool").samples)
        segments = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["segments"]
        middle = len(segments) // 2
        chosen = segments[:middle] if half == "a" else segments[middle:]
        found[name] = [
            samples[int(max(0, s["start"] - 0.15) * SAMPLE_RATE) : int((s["end"] + 0.25) * SAMPLE_RATE)]
            for s in chosen
        ]
    return found


def join_prompts(
    prompts: Sequence[NDArray[np.float32]], seconds: float, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    pieces: list[NDArray[np.float32]] = []
    for index in itertools.count(int(rng.integers(len(prompts)))):
        pieces += [prompts[index % len(prompts)], np.zeros(int(rng.uniform(0.05, 0.6) * SAMPLE_RATE), np.float32)]
        if sum(map(len, pieces)) >= seconds * SAMPLE_RATE:
            return pieces
    raise AssertionError


def join_languages(
    prompts: Mapping[str, Sequence[NDArray[np.float32]]], order: Sequence[tuple[str, float]], rng: np.random.Generator
) -> tuple[Speech, Truth]:
    pieces: list[NDArray[np.float32]] = []
    truth: Truth = []
    for name, seconds in order:
        start = sum(map(len, pieces))
        pieces += join_prompts(prompts[name], seconds, rng)
        truth.append((start, sum(map(len, pieces)), name))
    samples = np.concatenate(pieces)
    samples = samples + rng.normal(0, 0.0006, len(samples)).astype(np.float32)
    return Speech(samples, len(samples), (tuple(vad.detect_speech(samples)),)), truth


def count_right(speech: Speech, truth: Truth, found: SpokenLanguages) -> tuple[int, int]:
    right = [
        any(w.start <= at < w.end and each == name for w, each in zip(found.windows, found.languages, strict=True))
        for start, end, name in truth
        for span in speech.spans
        for at in range(max(start, span.start), min(end, span.end), SAMPLE_RATE // 10)
    ]
    return sum(right), len(right)


def transcribe(backend: Backend, speech: Speech, found: SpokenLanguages) -> int:
    words = 0
    for language, first, last in found.group():
        context = WindowContext(backend, speech.samples, speech.spans, backends.Options(language=language))
        for text in pipeline.process_windows(context, found.windows[first:last]):
            words += sum(len(segment.words) for segment in text.segments)
    return words


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="faster-whisper", choices=settings.BACKENDS)
    parser.add_argument("--half", default="b", choices=("a", "b"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--minutes", type=int, default=3)
    given = parser.parse_args()
    backend = create_backend(given.backend)
    backend.load(given.model)
    prompts = read_prompts(given.speech, given.half)
    print("| recordings | speech in its language | worst |\n|---|---|---|")
    for count, low, high in PARTS:
        rows = []
        for seed in range(given.seeds):
            rng = np.random.default_rng(seed)
            several = [str(name) for name in rng.permutation(NAMES)[: int(rng.integers(2, 5))]]
            order: list[tuple[str, float]] = []
            while len(order) < count:
                name = str(rng.choice([each for each in several if not order or each != order[-1][0]]))
                order.append((name, float(rng.uniform(low, high))))
            speech, truth = join_languages(prompts, order, rng)
            found = languages.decide_languages(backend, speech, speech.cut_windows())
            rows.append(count_right(speech, truth, found))
        right, total = map(sum, zip(*rows, strict=True))
        worst = min(r / t for r, t in rows)
        print(
            f"| {given.seeds} with {count} parts of {low:.0f} to {high:.0f} s | {right / total:.1%} | {worst:.1%} |"
        )
    for name in NAMES if given.seeds else ():
        speech, truth = join_languages(prompts, [(name, 140.0)], np.random.default_rng(9))
        found = languages.decide_languages(backend, speech, speech.cut_windows())
        right, total = count_right(speech, truth, found)
        print(f"| {name} alone | {right / total:.1%} | {' '.join(sorted(set(found.languages)))} |")
    print("\n| minute | windows | to the same given | to one language given | by wall time |\n|---|---|---|---|---|")
    for number in range(given.minutes):
        rng = np.random.default_rng(100 + number)
        one, other = (str(name) for name in rng.permutation(NAMES)[:2])
        speech, _ = join_languages(prompts, [(one, 29.0), (other, 29.0)], rng)
        windows = speech.cut_windows()
        known = languages.decide_languages(backend, speech, windows)
        same = SpokenLanguages(one, None, known.windows, known.languages)
        single = SpokenLanguages(one, None, tuple(windows), (one,) * len(windows))
        spent = {"auto": [0.0, 0.0], "same": [0.0, 0.0], "one": [0.0, 0.0]}
        for way in ("same", "one", "auto") * 3:
            begun = time.process_time(), time.perf_counter()
            if way == "auto":
                transcribe(backend, speech, languages.decide_languages(backend, speech, windows))
            else:
                transcribe(backend, speech, same if way == "same" else single)
            now = time.process_time(), time.perf_counter()
            spent[way] = [now[i] - begun[i] + spent[way][i] for i in range(2)]
        cpu, wall = ([spent["auto"][i] / spent[way][i] for way in ("same", "one")] for i in range(2))
        cut = f"{len(windows)} to {len(known.windows)}"
        print(f"| {one}, {other} | {cut} | {cpu[0]:.2f} | {cpu[1]:.2f} | {wall[0]:.2f}, {wall[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()

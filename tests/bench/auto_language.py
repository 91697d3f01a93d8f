"""Whether clips in a pack get the language that each gets alone, and what that costs.

usage: python tests/bench/auto_language.py --speech DIR --model FOLDER [--backend NAME] [--clips 100] [--seed 1]

DIR holds `clips/*.flac` (English) and `NAME.flac` with `NAME.json` for fr, es, it and ru. One clip
in five is a prompt in another language; a third of all clips is cut to 1 to 3 s of speech. Printed
is, by the length of the speech: how many clips the brief detection is sure of, how many get another
language alone, how many are right in the pack and alone, and the processor time of a detection. In
the pack that is the brief one and, for the clips in doubt, the one that they get alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from dropscribe import settings
from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding, languages, packing, vad
from dropscribe.worker.speech import Speech

OTHERS = ("fr", "es", "it", "ru")
LENGTHS = ((0.0, 1.0), (1.0, 3.0), (3.0, 6.0), (6.0, 30.0))


def read(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    with tempfile.TemporaryDirectory() as spool:
        return np.array(decoding.decode(path, Path(spool) / "spool").samples)


def make_clips(folder: Path, count: int, seed: int) -> list[tuple[str, Speech]]:
    """Return the true language of each clip, and its speech."""
    rng = np.random.default_rng(seed)
    others = {name: (read(folder / f"{name}.flac"), folder / f"{name}.json") for name in OTHERS}
    english = [str(path) for path in sorted((folder / "clips").glob("*.flac"))]
    rng.shuffle(english)
    found: list[tuple[str, Speech]] = []
    while len(found) < count:
        language = str(rng.choice(OTHERS)) if len(found) % 5 == 4 else "en"
        if language == "en":
            samples = read(Path(english[len(found) % len(english)]))
        else:
            whole, truth = others[language]
            prompt = rng.choice(json.loads(truth.read_text(encoding="utf-8"))["segments"])
            samples = whole[
                int(max(0, prompt["start"] - 0.3) * SAMPLE_RATE) : int((prompt["end"] + 0.3) * SAMPLE_RATE)
            ]
        spans = vad.detect_speech(samples)
        if len(found) % 3 == 1 and spans:
            samples = samples[: spans[0].start + int(rng.uniform(1, 3) * SAMPLE_RATE)]
            spans = vad.detect_speech(samples)
        speech = Speech(samples, len(samples), (tuple(spans),))
        if len(speech.cut_windows()) == 1:
            found.append((language, speech))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="faster-whisper", choices=settings.BACKENDS)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    backend = create_backend(given.backend)
    backend.load(given.model)
    clips = make_clips(given.speech, given.clips, given.seed)
    windows: list[Window] = [speech.cut_windows()[0] for _, speech in clips]
    sound, pieces = packing.join_clips(
        [(speech.samples, window, speech.spans) for (_, speech), window in zip(clips, windows, strict=True)]
    )
    started = time.process_time()
    brief = languages.decide_briefly(backend, sound, [packing.cover([piece], 0) for piece in pieces])
    brief_s = time.process_time() - started
    started = time.process_time()
    alone = [
        languages.decide_languages(backend, speech, [window]).language
        for (_, speech), window in zip(clips, windows, strict=True)
    ]
    alone_s = time.process_time() - started
    print("| speech | clips | sure briefly | another language alone | right in the pack | right alone |")
    print("|---|---|---|---|---|---|")
    for low, high in LENGTHS:
        rows = [
            (true, (known or (single,))[0], single, known is not None)
            for (true, speech), known, single in zip(clips, brief, alone, strict=True)
            if low <= speech.seconds < high
        ]
        sure = sum(each[3] for each in rows)
        differ = sum(each[1] != each[2] for each in rows)
        packed, single_right = sum(each[1] == each[0] for each in rows), sum(each[2] == each[0] for each in rows)
        print(f"| {low:.0f} to {high:.0f} s | {len(rows)} | {sure} | {differ} | {packed} | {single_right} |")
    doubt = sum(known is None for known in brief) / len(clips)
    packed_s = brief_s + doubt * alone_s
    print(f"\nprocessor seconds a clip: {packed_s / len(clips):.3f} in the pack, {alone_s / len(clips):.3f} alone")


if __name__ == "__main__":
    main()

"""How well speakers on channels of their own, and several languages in one recording, are distinguished.

usage: several.py --speech DIR [--model FOLDER] [--backend faster-whisper|mlx]

DIR holds `NAME.flac` with `NAME.json` (`segments` with `start`, `end`, `text`) for en, fr, it and ru.

Channels (no model): two voices of 60 s take turns, with more and more of each on the other's channel. Printed is how
long speech is found on a channel while only the other one speaks, as it is and as Dropscribe hears it, and what is
lost of a speaker's own; the truth is the speech found in each voice before they are mixed.

Languages (with a multilingual model): prompts in four languages follow each other without a pause but their own.
Printed is the share of the speech that gets its language, and how many runs of the encoder that took; then the same
for each recording in one language, where more than one language would be a mistake.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe import settings
from dropscribe.backends import SAMPLE_RATE
from dropscribe.backends.factory import create_backend
from dropscribe.worker import channel_levels, decoding, languages, vad
from dropscribe.worker.speech import Speech
from dropscribe.worker.vad import FRAME, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Backend, Window

ORDER = ("en", "fr", "en", "it", "en", "ru", "en", "fr", "en")
LENGTH = 60 * SAMPLE_RATE


def read(folder: Path, name: str) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as spool:
        return np.array(decoding.decode(folder / f"{name}.flac", Path(spool) / "spool").samples)


def turns(voices: Sequence[NDArray[np.float32]], overlap: float) -> list[NDArray[np.float32]]:
    """Lay equally loud voices on a channel each, where they take turns of 1 to 7 s."""
    rng = np.random.default_rng(1)
    sides = [np.zeros(LENGTH, np.float32) for _ in voices]
    read_to = [0] * len(voices)
    at = 0
    for who in itertools.cycle(range(len(voices))):
        if at >= LENGTH:
            return sides
        length = min(int(rng.uniform(1, 7) * SAMPLE_RATE), LENGTH - at)
        voice = voices[who] * np.float32(0.1 / np.sqrt(np.square(voices[who]).mean()))
        part = voice[read_to[who] : read_to[who] + length]
        sides[who][at : at + len(part)] += part
        read_to[who] += length
        at += max(length - int(overlap * SAMPLE_RATE), SAMPLE_RATE // 2)
    return sides


def frames(spans: Sequence[Span], count: int) -> NDArray[np.bool_]:
    found = np.zeros(count, np.bool_)
    for span in spans:
        found[span.start // FRAME : -(-span.end // FRAME)] = True
    return found


def on_channels(folder: Path) -> None:
    voices = [read(folder, "en"), read(folder, "it")]
    print("| turns | on the other channel | split | other's speech as it is | as detected | own speech lost |")
    print("|---|---|---|---|---|---|")
    for overlap, decibels in itertools.product((0.0, 2.0), (None, -20, -12)):
        sides = turns(voices, overlap)
        share = np.float32(0 if decibels is None else 10 ** (decibels / 20))
        noise = np.random.default_rng(2).standard_normal((2, LENGTH)) * 0.001
        apart = np.stack([sides[0] + share * sides[1], sides[1] + share * sides[0]], axis=1) + noise.T.astype("f4")
        levels = channel_levels.measure_levels(apart)
        leaks = channel_levels.find_crosstalk(levels)
        total = {"before": 0, "after": 0, "lost": 0, "own": 0}
        for channel in (0, 1):
            own = frames(vad.detect_speech(sides[channel]), len(levels))
            probabilities = vad.estimate_probabilities(apart[:, channel])
            before = frames(vad.find_spans(probabilities, apart[:, channel]), len(levels))
            probabilities[leaks[:, channel]] = 0.0
            after = frames(vad.find_spans(probabilities, apart[:, channel], 0.1), len(levels))
            near = np.convolve(own, np.ones(7), "same") > 0
            total["before"] += int((before & ~near).sum())
            total["after"] += int((after & ~near).sum())
            total["lost"] += int((own & ~after).sum())
            total["own"] += int(own.sum())
        seconds = {name: value * FRAME / SAMPLE_RATE for name, value in total.items()}
        print(
            f"| {f'{overlap:.0f} s at once' if overlap else 'clean'} | {decibels or 'nothing'} |"
            f" {channel_levels.has_speaker_per_channel(apart, levels)} |"
            f" {seconds['before']:.1f} s | {seconds['after']:.1f} s |"
            f" {seconds['lost']:.1f} of {seconds['own']:.0f} s |"
        )


class Counting:
    """A backend that counts the windows it hears the language of."""

    def __init__(self, backend: Backend) -> None:
        self.windows = 0
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def detect_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], *, silence_s: float | None = None
    ) -> Iterator[dict[str, float]]:
        self.windows += len(windows)  # what is heard of parts besides is of the same encoding
        return self._backend.detect_languages(audio, windows, silence_s=silence_s)


def in_languages(folder: Path, backend: Counting) -> None:
    recordings = {name: read(folder, name) for name in dict.fromkeys(ORDER)}
    rng = np.random.default_rng(3)
    at = dict.fromkeys(recordings, 0)
    pieces: list[NDArray[np.float32]] = []
    truth: list[tuple[int, int, str]] = []
    for name in ORDER:
        segments = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["segments"]
        first = last = at[name]
        wanted = float(rng.uniform(6, 25))
        while segments[last]["end"] - segments[first]["start"] < wanted:
            last += 1
        at[name] = last + 1
        start = sum(map(len, pieces))
        edges = (int(segments[first]["start"] * SAMPLE_RATE), int((segments[last]["end"] + 0.3) * SAMPLE_RATE))
        pieces.append(recordings[name][slice(*edges)])
        truth.append((start, start + len(pieces[-1]), name))
    print("\n| recording | languages | speech in its language | windows | encoder runs |\n|---|---|---|---|---|")
    alone = {name: [(0, len(samples), name)] for name, samples in recordings.items()}
    for name, samples, true in [
        ("mixed", np.concatenate(pieces), truth),
        *((name, samples, alone[name]) for name, samples in recordings.items()),
    ]:
        sound = Speech(samples, len(samples), (tuple(vad.detect_speech(samples)),))
        backend.windows = 0
        windows = sound.cut_windows()
        found = languages.decide_languages(backend, sound, windows)
        right = [
            any(
                w.start <= sample < w.end and each == spoken
                for w, each in zip(found.windows, found.languages, strict=True)
            )
            for start, end, spoken in true
            for span in sound.spans
            for sample in range(max(start, span.start), min(end, span.end), SAMPLE_RATE // 10)
        ]
        codes = " ".join(sorted(set(found.languages)))
        print(f"| {name} | {codes} | {100 * np.mean(right):.0f} % | {len(windows)} | {backend.windows} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--backend", default="faster-whisper", choices=settings.BACKENDS)
    given = parser.parse_args()
    on_channels(given.speech)
    if given.model:
        backend = create_backend(given.backend)
        backend.load(given.model)
        in_languages(given.speech, Counting(backend))


if __name__ == "__main__":
    main()

"""Conversations with known turns, made of recordings of real people, and short real meetings.

    python tests/bench/speaker_material.py OUT --librispeech DIR --prompts DIR --meetings DIR

- `--librispeech`: a folder with one folder a reader, each with FLAC files (LibriSpeech test-other, CC BY 4.0: ten
  readers of it are in `audio_data` of the repository resemble-ai/Resemblyzer).
- `--prompts`: `shared/speech` (five voices in five languages).
- `--meetings`: `tests/data` of pyannote/pyannote-audio (AMI, CC BY 4.0: excerpts of 30 s with RTTM).

Readers and voices are parted before anything is made: nobody is heard in both halves. `OUT/tune` is for choosing
constants, `OUT/report` for reporting. Equal arguments give equal files.
"""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

RATE = 16_000
HALVES = {
    "tune": (["1688", "1998", "2033", "2414", "3080"], ["en", "fr"], ["trn0", "dev0", "trñ0"]),
    "report": (["2609", "3005", "3331", "367", "533"], ["es", "it", "ru"], ["tst0", "trn0"]),
}


def read(path: Path) -> np.ndarray:
    """Return the sound of a file, mono, 16 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [b.to_ndarray() for frame in container.decode(audio=0) for b in resampler.resample(frame)]
        blocks += [b.to_ndarray() for b in resampler.resample(None)]
    return np.asarray(np.concatenate(blocks, axis=1)[0], np.float32)


def write(path: Path, samples: np.ndarray) -> None:
    """Write 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def phrases(sound: np.ndarray) -> list[np.ndarray]:
    """Cut a recording of one person into phrases at its pauses; a phrase begins and ends with speech."""
    options = VadOptions(min_silence_duration_ms=250, speech_pad_ms=0, min_speech_duration_ms=200)
    return [sound[s["start"] : s["end"]] for s in get_speech_timestamps(sound, options)]


def voices(librispeech: Path, prompts: Path, readers: list[str], languages: list[str]) -> dict[str, list[np.ndarray]]:
    """Return the phrases of each person."""
    found = {}
    for reader in readers:
        files = sorted((librispeech / reader).glob("*.flac"))
        found[reader] = [phrase for file in files for phrase in phrases(read(file))]
    for language in languages:
        sound = read(prompts / f"{language}.flac")
        truth = json.loads((prompts / f"{language}.json").read_text())["segments"]
        cut = [sound[int(s["start"] * RATE) : int(s["end"] * RATE)] for s in truth]
        found[language] = [phrase for piece in cut for phrase in phrases(piece)]
    return found


def conversation(
    rng: np.random.Generator, people: dict[str, list[np.ndarray]], seconds: float, overlap: float, snr: float | None
) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """Return a conversation and its turns. `overlap` is the share of turns that begin before the last one ended."""
    names = list(people)
    weights = rng.dirichlet(np.full(len(names), 4.0)) if len(names) > 1 else np.ones(1)
    gains = {name: 10 ** (rng.uniform(-4, 4) / 20) for name in names}
    queue = {name: list(rng.permutation(len(people[name]))) for name in names}
    sound = np.zeros(int((seconds + 60) * RATE), np.float32)
    turns: list[tuple[float, float, str]] = []
    at, last = int(0.5 * RATE), ""
    while at < seconds * RATE:
        odds = np.array(
            [0 if name == last and len(names) > 1 else weight for name, weight in zip(names, weights, strict=True)]
        )
        who = str(rng.choice(names, p=odds / odds.sum()))
        # A third of the turns are short replies, the others several phrases long.
        length = rng.uniform(0.6, 2) if rng.random() < 0.33 else rng.uniform(3, 14)
        said = 0.0
        while said < length:
            if not queue[who]:
                queue[who] = list(rng.permutation(len(people[who])))
            phrase = people[who][queue[who].pop()]
            if length < 2 and len(phrase) > 2 * RATE:  # a reply: the start of a phrase, cut at its quietest place
                near = phrase[int(0.6 * RATE) : int(1.8 * RATE)]
                power = np.convolve(np.square(near), np.ones(480), "same")
                phrase = phrase[: int(0.6 * RATE) + int(power.argmin())]
            level = gains[who] * 0.08 / (np.sqrt(np.square(phrase).mean()) + 1e-6)
            sound[at : at + len(phrase)] += phrase * level
            turns.append((at / RATE, (at + len(phrase)) / RATE, who))
            said += len(phrase) / RATE
            at += len(phrase) + int(rng.uniform(0.1, 0.5) * RATE)
        gap = rng.uniform(0.05, 0.9)
        if rng.random() < overlap:
            gap = -rng.uniform(0.3, min(1.5, said / 2))
        at, last = max(0, at + int(gap * RATE)), who
    sound = sound[: int(max(end for _, end, _ in turns) * RATE) + RATE // 2]
    if snr is not None:
        white = np.fft.rfft(rng.normal(size=len(sound)))
        white[1:] /= np.sqrt(np.arange(1, len(white)))  # pink
        white[0] = 0
        noise = np.fft.irfft(white, len(sound)).astype(np.float32)
        sound += noise * np.sqrt(np.square(sound).mean() / np.square(noise).mean()) * 10 ** (-snr / 20)
    else:
        sound += rng.normal(size=len(sound)).astype(np.float32) * 1e-4
    return sound / max(1.0, float(np.abs(sound).max())), sorted(turns)


def merge(turns: list[tuple[float, float, str]], gap: float = 0.3) -> list[tuple[float, float, str]]:
    """Join the phrases of one person with less than `gap` seconds between them."""
    found: list[tuple[float, float, str]] = []
    for start, end, who in sorted(turns, key=lambda turn: (turn[2], turn[0])):
        if found and found[-1][2] == who and start - found[-1][1] < gap:
            found[-1] = (found[-1][0], max(end, found[-1][1]), who)
        else:
            found.append((start, end, who))
    return sorted(found)


def write_truth(path: Path, turns: list[tuple[float, float, str]], more: dict[str, Any]) -> None:
    """Write turns and what else is known as JSON."""
    path.write_text(
        json.dumps({"turns": [[round(s, 3), round(e, 3), w] for s, e, w in turns], **more}, ensure_ascii=False)
    )


def main() -> None:
    """Make both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("librispeech", "prompts", "meetings"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    for half, (readers, languages, _) in HALVES.items():
        folder = args.out / half
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(25 if half == "tune" else 52)
        people = voices(args.librispeech, args.prompts, readers, languages)
        for index, count in enumerate((1, 2, 2, 3, 3, 4, 5, 5)):
            names = [str(name) for name in rng.choice(list(people), count, replace=False)]
            overlap, snr = float(rng.choice([0.0, 0.1, 0.25])), (20.0 if index % 2 else None)
            sound, turns = conversation(rng, {n: people[n] for n in names}, 60 + 30 * count, overlap, snr)
            name = f"talk{index}-{count}"
            write(folder / f"{name}.wav", sound)
            write_truth(folder / f"{name}.json", merge(turns), {"people": count, "overlap": overlap, "snr": snr})
        meetings(args.meetings, folder, half)


def meetings(source: Path, folder: Path, half: str) -> None:
    """Write the meetings of a half: those of the train list with an even number tune, and the development list."""
    turns: dict[str, list[tuple[float, float, str]]] = {}
    for file in sorted(source.glob("debug.*.rttm")):
        for line in file.read_text().splitlines():
            _, name, _, start, length, _, _, who, *_ = line.split()
            turns.setdefault(name, []).append((float(start), float(start) + float(length), who))
    for name, each in sorted(turns.items()):
        tune = name.startswith("dev") or (name.startswith("tr") and int(name[-1]) % 2 == 0)
        path = next((p for p in source.glob("*.wav") if p.stem.replace("ñ", "n") == name), None)
        if tune == (half == "tune") and path is not None:
            write(folder / f"meeting-{name}.wav", read(path)[: 30 * RATE])
            write_truth(folder / f"meeting-{name}.json", each, {"people": len({w for *_, w in each}), "length": 30.0})


if __name__ == "__main__":
    main()

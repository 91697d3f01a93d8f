"""Errors of word times next to pauses, inside speech, in noise and over silence: Whisper's own
times and ours.

usage: times.py --speech DIR --model NAME=FOLDER [--model ...] [--backend faster-whisper|mlx]
                [--sets en digits ...] [--noise clean white:20 ...] [--seconds N] [--keep DIR]

DIR holds `NAME.flac` with `NAME.json` (`language`, and `segments` with `start`, `end`, `text`:
prompts between pauses). The sets `joined-LANGUAGE` are those prompts without the pauses between.
The sets `said-LANGUAGE` are their texts without pauses, spoken by espeak-ng (its library must be
there), whose word and phoneme events are the truth. `silence`, `hiss` and `tones` are 10 minutes
(or N seconds) without a word. Models of English alone (`*.en`) run on English sets only.

Each recording is cut, transcribed and aligned as the worker does it; `Whisper` are the times as
the engine gave them, in the same run. Errors in ms, median / 95th percentile; of prompts the onset
of the first word and the offset of the last, of `said-*` those of every word; only words that were
understood count. `over silence` counts words more than 0.3 s outside all prompts. `aligning` is
our share of the CPU time, the recheck not counted; `again` is the share of the recording that was
re-transcribed. With `--keep` what the engine gave is kept and used again.

Noise is added at a given number of dB under the speech: `white`, `hum` (50 Hz with 11 harmonics),
`babble` (eight voices out of the other recordings).
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import jiwer
import numpy as np

from dropscribe import backends, settings
from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.backends.factory import create_backend
from dropscribe.transcript import segment_from_dict, to_dict
from dropscribe.worker import decoding, pipeline, vad, word_times
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Hearing
    from dropscribe.transcript import Segment, Word

VOICES = {"en": "en-us", "fr": "fr", "es": "es", "it": "it", "ru": "ru"}
PROMPTS = ("en", "fr", "es", "it", "ru", "digits")
EMPTY = ("silence", "hiss", "tones")
SETS = (*PROMPTS, *(f"{way}-{language}" for way in ("joined", "said") for language in VOICES), *EMPTY)
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
NUMBERS += " seventeen eighteen nineteen twenty"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is said in a recording, and when."""

    language: str
    units: list[tuple[str, float, float]]
    """(text, start, end) of each prompt, or of each word."""


# What is heard


def recording(folder: Path, name: str) -> tuple[NDArray[np.float32], Truth]:
    known = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        samples = np.array(decoding.decode(folder / f"{name}.flac", Path(scratch) / "spool").samples)
    return samples, Truth(known["language"], [(s["text"], s["start"], s["end"]) for s in known["segments"]])


def cut(samples: NDArray[np.float32], truth: Truth, seconds: float) -> tuple[NDArray[np.float32], Truth]:
    """Return the prompts of the first `seconds`."""
    units = [unit for unit in truth.units if unit[2] + 0.3 < seconds]
    return samples[: int((units[-1][2] + 0.3) * SAMPLE_RATE)], Truth(truth.language, units)


def spoken(samples: NDArray[np.float32], truth: Truth) -> NDArray[np.float32]:
    """Return the prompts without their pauses."""
    return np.concatenate([samples[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)] for _, a, b in truth.units])


def joined(truth: Truth) -> Truth:
    """Return where in `spoken` each prompt is."""
    ends = np.cumsum([int(b * SAMPLE_RATE) - int(a * SAMPLE_RATE) for _, a, b in truth.units]) / SAMPLE_RATE
    units = zip(truth.units, [0.0, *ends[:-1].tolist()], ends.tolist(), strict=True)
    return Truth(truth.language, [(text, start, end) for (text, _, _), start, end in units])


def noise(kind: str, length: int, folder: Path, name: str) -> NDArray[np.float32]:
    clock = np.arange(length) / SAMPLE_RATE
    if kind == "white":
        return np.random.default_rng(7).normal(0, 1, length).astype(np.float32)
    if kind == "hum":
        tones = [np.sin(2 * np.pi * 50 * k * clock + k) / k for k in range(1, 13)]
        return np.asarray(np.sum(tones, axis=0), dtype=np.float32)
    total = np.zeros(length, np.float32)
    own = name.rpartition("-")[2]
    for number, other in enumerate(o for o in PROMPTS if o not in {own, "digits"}):
        voice = spoken(*recording(folder, other))
        for turn in range(2):
            shifted = np.roll(voice, -(2 * number + turn + 1) * 37 * SAMPLE_RATE)
            total += np.resize(shifted, length) / np.sqrt(np.mean(np.square(voice)))
    return total


def mixed(samples: NDArray[np.float32], truth: Truth, how: str, folder: Path, name: str) -> NDArray[np.float32]:
    """Return the recording with noise: `how` is `clean` or KIND:DECIBELS."""
    kind, _, ratio = how.partition(":")
    if not ratio:
        return samples
    added = noise(kind, len(samples), folder, name)
    power = float(np.mean(np.square(spoken(samples, truth)))) / 10 ** (float(ratio) / 10)
    total = samples + added * np.sqrt(power / np.mean(np.square(added)))
    return np.asarray(total / max(1.0, float(np.abs(total).max())), np.float32)


def empty(name: str, seconds: float) -> NDArray[np.float32]:
    """Return a recording without a word."""
    length = int(seconds * SAMPLE_RATE)
    if name == "silence":
        return np.zeros(length, np.float32)
    random = np.random.default_rng(3)
    if name == "hiss":
        return random.normal(0, 0.02, length).astype(np.float32)
    # Chords of three notes with overtones, struck every half second, dying away: about what a
    # piano does.
    beat = SAMPLE_RATE // 2
    clock = np.arange(beat) / SAMPLE_RATE
    total = np.zeros(length, np.float32)
    for first in range(0, length - beat, beat):
        for semitone in random.choice([0, 2, 4, 5, 7, 9, 11, 12, 14, 16], 3, replace=False):
            tone = sum(np.sin(2 * np.pi * 220 * 2 ** (semitone / 12) * k * clock) / k**2 for k in range(1, 6))
            total[first : first + beat] += 0.08 * tone * np.exp(-4 * clock)
    return total


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng's `speak_lib.h`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_WORD, _PHONEME, _UTF8 = 1, 7, 1


def said(text: str, voice: str) -> tuple[NDArray[np.float32], list[tuple[str, float, float]]]:
    """Let espeak-ng speak; return the sound and each word with its times.

    A word ends where the next begins, or where a pause does.
    """
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate = library.espeak_Initialize(2, 0, None, 1)  # give the sound back in this thread; tell of phonemes
    chunks: list[NDArray[np.int16]] = []
    events: list[tuple[int, int, int, int, bytes]] = []

    def take(wave: Any, count: int, found: Any) -> int:
        if wave and count:
            chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while found[index].type:
            event = found[index]
            name = event.id if event.type == _PHONEME else b""
            events.append((event.type, event.text_position, event.length, event.sample, name))
            index += 1
        return 0

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    called = prototype(take)
    library.espeak_SetSynthCallback(called)
    library.espeak_SetVoiceByName(voice.encode())
    plain = text.encode() + b"\0"
    library.espeak_Synth(plain, len(plain), 0, 0, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    words: list[tuple[str, float, float]] = []
    last: tuple[str, float] | None = None
    total = sum(map(len, chunks))
    for kind, position, length, sample, name in [*events, (_WORD, 1, 1, total, b"")]:
        if not ((kind == _WORD and length) or (kind == _PHONEME and name.startswith(b"_") and name != b"_!")):
            continue
        if last is not None and sample / rate > last[1]:
            words.append((*last, sample / rate))
        last = (text[position - 1 : position - 1 + length], sample / rate) if kind == _WORD else None
    frame = av.AudioFrame.from_ndarray(np.concatenate(chunks)[None], format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts = [f.to_ndarray()[0] for f in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.concatenate(parts).astype(np.float32), words


def sound(name: str, how: str, options: argparse.Namespace) -> tuple[NDArray[np.float32], Truth]:
    if name in EMPTY:
        return empty(name, options.seconds or 600), Truth("en", [])
    way, _, base = name.rpartition("-")
    samples, truth = recording(options.speech, base)
    if way == "said":
        texts = (re.sub(r"[.…]+\s*$|^[.…\s]+", "", text) for text, _, _ in truth.units)
        text, limit = "", 15 * (options.seconds or 100)  # espeak-ng says about 15 letters a second
        for sentence in texts:
            text += f"{sentence}. " if len(text) < limit else ""
        samples, units = said(text, VOICES[base])
        truth = Truth(truth.language, units)
    elif options.seconds:
        samples, truth = cut(samples, truth, options.seconds)
    if way == "joined":
        samples, truth = spoken(samples, truth), joined(truth)
    return mixed(samples, truth, how, options.speech, name), truth


# What comes of it


class Kept:
    """A backend whose answers are kept in files, or read from them: a change of the alignment
    needs no engine.
    """

    def __init__(self, backend: backends.Backend, model: str, folder: Path | None) -> None:
        self.seconds = 0.0
        self.again = 0
        self._backend, self._model, self._folder = backend, model, folder
        self._first = True

    def transcribe(
        self,
        samples: NDArray[np.float32],
        windows: Sequence[Window],
        options: backends.Options,
        *,
        done: int = 0,
        hearing: Hearing | None = None,
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`; counts the CPU seconds of the first call, and the samples of
        all later ones.
        """
        first, self._first = self._first, False
        if not first:
            self.again += sum(end - start for w in windows for start, end in w.kept_spans)
        digest = hashlib.sha256(f"{self._model} {options} {windows}".encode())
        for window in windows:
            digest.update(np.ascontiguousarray(samples[window.start : window.end]).tobytes())
        file = self._folder / f"{digest.hexdigest()[:24]}.json" if self._folder else None
        if file is not None and file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            self.seconds += known["seconds"] if first else 0.0
            for window, found in zip(windows, known["windows"], strict=True):
                yield window, [segment_from_dict(s) for s in found]
            return
        answers, seconds, began = [], 0.0, time.process_time()
        for window, segments in self._backend.transcribe(samples, windows, options, hearing=hearing):
            seconds += time.process_time() - began
            answers.append([to_dict(s) for s in segments])
            yield window, segments
            began = time.process_time()
        seconds += time.process_time() - began
        self.seconds += seconds if first else 0.0
        if file is not None:
            file.write_text(json.dumps({"seconds": seconds, "windows": answers}), encoding="utf-8")


def plain(text: str) -> list[str]:
    numbers = NUMBERS.split()
    words = (re.sub(r"\W", "", part.lower()) for part in re.split(r"[\s\-,]+", text))
    return [str(numbers.index(word)) if word in numbers else word for word in words if word]


def errors(truth: Truth, words: Sequence[Word]) -> tuple[list[float], list[float]]:
    """Return the errors in seconds of the onsets and the offsets of the words that were
    understood.
    """
    known = [
        (token, start if i == 0 else None, end if i == len(tokens) - 1 else None)
        for text, start, end in truth.units
        if (tokens := plain(text))
        for i, token in enumerate(tokens)
    ]
    recognised = [(token, word) for word in words for token in plain(word.word)]
    onsets, offsets = [], []
    aligned = jiwer.process_words(" ".join(k[0] for k in known), " ".join(h[0] for h in recognised) or "-")
    for chunk in aligned.alignments[0]:
        if chunk.type == "equal":
            pairs = zip(
                known[chunk.ref_start_idx : chunk.ref_end_idx],
                recognised[chunk.hyp_start_idx : chunk.hyp_end_idx],
                strict=True,
            )
            for (_, start, end), (_, word) in pairs:
                if start is not None:
                    onsets.append(abs(word.start - start))
                if end is not None:
                    offsets.append(abs(word.end - end))
    return onsets, offsets


def outside(truth: Truth, words: Sequence[Word]) -> int:
    middles = [(word.start + word.end) / 2 for word in words]
    return sum(not any(a - 0.3 <= middle <= b + 0.3 for _, a, b in truth.units) for middle in middles)


def both(values: list[float]) -> str:
    if not values:
        return ""
    at = sorted(values)
    return f"{1000 * at[len(at) // 2]:.0f} / {1000 * at[min(len(at) - 1, int(0.95 * len(at)))]:.0f}"


def measure(kept: Kept, name: str, how: str, options: argparse.Namespace) -> list[list[str]]:
    """Return the two rows of one recording."""
    samples, truth = sound(name, how, options)
    spans = vad.detect_speech(samples)
    windows = cut_windows(samples, spans)
    asked = backends.Options(language=truth.language)
    raw: list[Word] = []
    aligning = 0.0

    class Watched:
        """Yields what the engine gives, and records it."""

        def transcribe(self, *arguments: Any, **named: Any) -> Iterator[tuple[Window, list[Segment]]]:
            nonlocal aligning
            first = kept._first
            for window, segments in kept.transcribe(*arguments, **named):
                if first:
                    raw.extend(word for segment in segments for word in segment.words)
                    began = time.process_time()
                    word_times.align_window(samples, window, segments, spans)
                    aligning += time.process_time() - began
                yield window, segments

    kept._first, kept.seconds, kept.again = True, 0.0, 0
    ours: list[Word] = []
    notices = 0
    context = WindowContext(Watched(), samples, spans, asked)  # type: ignore[arg-type]
    for text in pipeline.process_windows(context, windows):
        ours += [word for segment in text.segments for word in segment.words]
        notices += len(text.notices)
    rows = []
    for source, words in (("Whisper", raw), ("ours", ours)):
        onsets, offsets = errors(truth, words) if truth.units else ([], [])
        is_ours = source == "ours"
        rows.append(
            [
                name,
                how,
                source,
                str(len(words)),
                str(len(onsets)),
                both(onsets),
                both(offsets),
                str(outside(truth, words)),
                f"{100 * aligning / max(kept.seconds, 1e-9):.1f} %" if is_ours and kept.seconds else "",
                f"{100 * kept.again / len(samples):.0f} %" if is_ours else "",
                str(notices) if is_ours else "",
            ]
        )
    return rows


HEAD = ["model", "set", "noise", "way", "words", "matched", "onset", "offset", "over silence", "aligning", "again"]


def main() -> None:
    """Measure what the arguments say and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--backend", choices=settings.BACKENDS, default="faster-whisper")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--noise", nargs="+", default=["clean"], metavar="KIND:DB")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    head = [*HEAD, "notices"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for model, _, folder in (given.partition("=") for given in options.model):
        backend = create_backend(options.backend)
        loaded = backend.load(Path(folder))
        kept = Kept(backend, f"{options.backend} {model} {loaded.versions}", options.keep)
        for name in options.sets:
            if not loaded.multilingual and name.rpartition("-")[2] not in {"en", "digits", *EMPTY}:
                continue
            for how in options.noise if name not in EMPTY else ["clean"]:
                for row in measure(kept, name, how, options):
                    print(f"| {' | '.join([model, *row])} |", flush=True)
        backend.close()


if __name__ == "__main__":
    main()

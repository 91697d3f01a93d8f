"""Times of words in real speech with something between the words or around them, end to end with real
weights.

The recording is one sentence of a public speech, which says itself where its words are when nothing is
added; the truth is that, moved by what was put in.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE, Options
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding, pipeline, vad
from dropscribe.worker.window_text import WindowContext
from dropscribe.worker.windows import cut_windows
from talk import KENNEDY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dropscribe.transcript import Segment, Word

    Sound = NDArray[np.float32]

SPOKEN = f"{KENNEDY} you are currently the only person in this conference"
SPOKEN += " please enter your password followed by the pound key"
DATA = Path(__file__).parent / "data"
NEAR = 0.2
"""Seconds that a word may be from where it is without anything added."""


@dataclass(frozen=True)
class Speech:
    """A recording, what is said in it and when, and how to transcribe others."""

    samples: Sound
    words: list[Word]
    transcribe: Callable[[Sound], list[Segment]]


def plain(text: str) -> str:
    return re.sub(r"\W", "", text.lower())


@pytest.fixture(scope="module")
def speech(tiny_en: Path) -> Iterator[Speech]:
    backend = create_backend("faster-whisper")
    backend.load(tiny_en)

    def transcribe(samples: Sound) -> list[Segment]:
        spans = vad.detect_speech(samples)
        context = WindowContext(backend, samples, spans, Options(language="en"))
        texts = pipeline.process_windows(context, cut_windows(samples, spans))
        return [segment for text in texts for segment in text.segments]

    samples = read("jfk.opus")
    yield Speech(samples, [word for segment in transcribe(samples) for word in segment.words], transcribe)
    backend.close()


def read(name: str) -> Sound:
    with tempfile.TemporaryDirectory() as folder:
        return np.array(decoding.decode(DATA / name, Path(folder) / "spool").samples)


def cut_out(samples: Sound, words: list[Word]) -> Sound:
    """Return the sound from the first word to the last."""
    return samples[int(words[0].start * SAMPLE_RATE) : int(words[-1].end * SAMPLE_RATE)]


def make_music(seconds: float) -> Sound:
    """Return chords of three notes, struck every half second."""
    clock = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    beats = []
    for root in itertools.islice(itertools.cycle((220.0, 174.6, 261.6, 196.0)), int(2 * seconds)):
        notes = [root * ratio * k for ratio in (1.0, 1.25, 1.5) for k in range(1, 6)]
        beats.append(np.sum([np.sin(2 * np.pi * f * clock) for f in notes], axis=0) * np.exp(-4 * clock))
    return np.asarray(0.01 * np.concatenate(beats), np.float32)


def find_pause(speech: Speech) -> int:
    """Return the word behind the longest pause."""
    words = speech.words
    return max(range(1, len(words)), key=lambda i: words[i].start - words[i - 1].end)


def insert(speech: Speech, at: float, what: Sound) -> Sound:
    place = int(at * SAMPLE_RATE)
    return np.concatenate([speech.samples[:place], what, speech.samples[place:]])


def measure_errors(speech: Speech, found: list[Segment], moved: list[float]) -> list[float]:
    """Return by how many seconds each word is wrong, whichever edge is worse; `moved` says how far each
    was moved.
    """
    words = [word for segment in found for word in segment.words]
    assert [plain(w.word) for w in words] == [plain(w.word) for w in speech.words]
    return [
        max(abs(now.start - old.start - by), abs(now.end - old.end - by))
        for now, old, by in zip(words, speech.words, moved, strict=True)
    ]


def test_music_before_the_speech_does_not_stretch_the_first_word(speech: Speech) -> None:
    music = make_music(10.0)
    found = speech.transcribe(np.concatenate([music, speech.samples]))
    errors = measure_errors(speech, found, [len(music) / SAMPLE_RATE] * len(speech.words))
    assert errors[0] < 0.5
    assert np.quantile(errors, 0.9) < NEAR


def test_no_word_changes_sides_of_a_pause_of_two_seconds(speech: Speech) -> None:
    behind = find_pause(speech)
    at = (speech.words[behind - 1].end + speech.words[behind].start) / 2
    found = speech.transcribe(insert(speech, at, np.zeros(int(1.9 * SAMPLE_RATE), np.float32)))
    errors = measure_errors(speech, found, [1.9 * (i >= behind) for i in range(len(speech.words))])
    assert np.quantile(errors, 0.9) < 2 * NEAR
    assert max(errors) < 0.9  # nothing is as far off as half of the pause


def test_a_breath_behind_a_word_is_not_given_to_it(speech: Speech) -> None:
    behind = find_pause(speech)
    before = speech.words[behind - 1].end
    at = (before + speech.words[behind].start) / 2
    clock = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    level = float(np.sqrt(np.mean(np.square(speech.samples)))) / 4
    breath = np.random.default_rng(2).normal(0, level, len(clock)) * np.sin(2 * np.pi * clock)
    found = speech.transcribe(insert(speech, at, breath.astype(np.float32)))
    errors = measure_errors(speech, found, [0.5 * (i >= behind) for i in range(len(speech.words))])
    assert max(errors[behind - 1 : behind + 1]) < NEAR


@pytest.mark.parametrize("music", [0.0, 0.1], ids=["speech alone", "music under it"])
def test_no_word_is_lost_or_doubled_where_windows_meet_in_speech_without_pauses(speech: Speech, music: float) -> None:
    parts = [cut_out(speech.samples, speech.words)]
    for name in ("conference.flac", "password.flac"):
        prompt = read(name)
        parts.append(cut_out(prompt, [word for segment in speech.transcribe(prompt) for word in segment.words]))
    samples = np.concatenate(parts * 3)
    under = make_music(len(samples) / SAMPLE_RATE + 1)[: len(samples)]
    level = float(np.sqrt(np.mean(np.square(samples)) / np.mean(np.square(under))))
    words = [w for segment in speech.transcribe(samples + music * level * under) for w in segment.words]
    assert [plain(word.word) for word in words] == SPOKEN.split() * 3
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))


def test_words_of_real_speech_know_how_sure_their_times_are(speech: Speech) -> None:
    assert all(word.time_confidence is not None and 0 < word.time_confidence <= 1 for word in speech.words)

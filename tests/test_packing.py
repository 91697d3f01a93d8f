"""Which recordings share a window, and whose each word is; then the worker on real recordings with
real weights.
"""

from __future__ import annotations

import dataclasses
import queue
import random
import resource
import wave
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import protocol, settings
from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.supervisor import scheduler, worker_process
from dropscribe.transcript import Segment, Word
from dropscribe.worker import decoding, packing
from dropscribe.worker.packing import Piece
from dropscribe.worker.vad import Span
from talk import event_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "data"
SECOND = SAMPLE_RATE
WINDOW = 30 * SECOND

lengths = st.lists(st.integers(1, WINDOW), max_size=40)


@given(lengths)
def test_every_recording_is_in_one_window_that_whisper_takes(lengths: list[int]) -> None:
    groups = packing.group_clips(lengths)
    assert sorted(number for group in groups for number in group) == list(range(len(lengths)))
    for group in groups:
        assert group
        assert sum(lengths[n] for n in group) + SECOND // 2 * (len(group) - 1) <= WINDOW


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400), st.integers(0, 400)), min_size=1, max_size=8))
def test_the_shared_sound_is_the_windows_with_silence_between(cuts: list[tuple[int, int, int]]) -> None:
    rng = np.random.default_rng(0)
    given = []
    for before, length, behind in cuts:
        samples = rng.normal(size=before + length + behind).astype(np.float32)
        given.append((samples, Window(0, before, before + length), [Span(before, before + length)]))
    sound, pieces = packing.join_clips(given)
    expected = []
    for (samples, window, _), piece in zip(given, pieces, strict=True):
        np.testing.assert_array_equal(sound[piece.start : piece.end], samples[window.start : window.end])
        expected += [samples[window.start : window.end], np.zeros(SECOND // 2, np.float32)]
    np.testing.assert_array_equal(sound, np.concatenate(expected[:-1]))
    assert packing.cover(pieces, 3) == Window(3, 0, len(sound))


# Two recordings: 4 s with speech from 0.5 to 3.5, 5 s with speech from 0.2 to 4.8, which begins at
# 6.0 of the whole. Both windows begin 0.1 s into their recordings, so the second recording's 0.2
# is the whole's 5.1.
FIRST = Piece(Window(0, SECOND // 10, 4 * SECOND), [Span(SECOND // 2, 7 * SECOND // 2)], 0)
SECOND_START = 4 * SECOND - SECOND // 10 + SECOND
OTHER = Piece(Window(0, SECOND // 10, 5 * SECOND), [Span(SECOND // 5, 24 * SECOND // 5)], SECOND_START)
PIECES = [FIRST, OTHER]
GOOD = [
    Word(" Please", 0.4, 1.4, 0.9),
    Word(" try", 1.4, 2.2, 0.9),
    Word(" again.", 2.2, 3.4, 0.9),
    Word(" Press", 5.0, 6.2, 0.9),
    Word(" five", 6.2, 7.4, 0.9),
    Word(" now,", 7.4, 8.4, 0.9),
    Word(" please.", 8.4, 9.6, 0.9),
]


def segment(words: list[Word]) -> Segment:
    text = "".join(w.word for w in words).strip()
    return Segment(0, words[0].start, words[-1].end, text, tuple(words), -0.2, 1.2, 0.01, 0.0)


def moved(number: int, **changes: Any) -> list[Word]:
    return [dataclasses.replace(w, **changes) if n == number else w for n, w in enumerate(GOOD)]


def texts(words: list[Word]) -> list[str | None]:
    found = packing.divide_segments(PIECES, [segment(words)])
    return [None if own is None else " ".join(s.text for s in own) for own in found]


def test_words_go_back_to_their_recordings_in_their_own_time() -> None:
    first, second = packing.divide_segments(PIECES, [segment(GOOD)])
    assert first is not None
    assert second is not None
    assert [s.text for s in first + second] == ["Please try again.", "Press five now, please."]
    assert [(w.start, w.end) for w in first[0].words] == [(0.5, 1.5), (1.5, 2.3), (2.3, 3.5)]
    assert (second[0].start, second[0].end) == (0.2, 4.8)
    assert (second[0].avg_logprob, second[0].temperature) == (-0.2, 0.0)


def test_segments_of_the_engine_stay_segments() -> None:
    parts = [segment(GOOD[:2]), segment(GOOD[2:5]), segment(GOOD[5:])]
    first, second = packing.divide_segments(PIECES, parts)
    assert [s.text for s in first or []] == ["Please try", "again."]
    assert [s.text for s in second or []] == ["Press five", "now, please."]


@pytest.mark.parametrize(
    "tripped", [{"temperature": 0.2}, {"avg_logprob": -1.1}, {"text": "no, no, " * 30}, {"words": ()}]
)
def test_a_guard_of_the_engine_sends_all_through_alone(tripped: dict[str, Any]) -> None:
    assert packing.divide_segments(PIECES, [dataclasses.replace(segment(GOOD), **tripped)]) == [None, None]


@pytest.mark.parametrize(
    ("what", "words", "expected"),
    [
        ("a word from one speech into the other", moved(2, end=5.2), [None, None]),
        ("the same, from the other side", moved(3, start=3.3, end=6.9), [None, None]),
        (
            "no pause and no end of a sentence at the border",
            [*GOOD[:2], Word(" again", 2.2, 5.0, 0.9), Word(" press", 5.0, 6.2, 0.9), *GOOD[4:]],
            [None, None],
        ),
        (
            "a word that slipped over the pause",
            [*GOOD[:2], Word(" again.", 5.0, 5.4, 0.9), Word(" Press", 5.4, 6.2, 0.9), *GOOD[4:]],
            [None, None],
        ),
        ("speech without words", GOOD[3:], [None, None]),
        (
            "most of the speech without words",
            [GOOD[0], Word(" end.", 1.4, 1.5, 0.9), *GOOD[3:]],
            [None, "Press five now, please."],
        ),
        (
            "too few letters for so much speech",
            [Word(" I.", 0.4, 3.4, 0.9), *GOOD[3:]],
            [None, "Press five now, please."],
        ),
        (
            "too many letters",
            moved(1, word=" " + "".join(random.Random(0).choices(ascii_lowercase, k=120))),
            [None, "Press five now, please."],
        ),
        (
            "words that the model does not believe in",
            [*(dataclasses.replace(w, probability=0.1) for w in GOOD[:3]), *GOOD[3:]],
            [None, "Press five now, please."],
        ),
        ("a word over the silence at the end", [*GOOD, Word(" Bye.", 10.2, 10.4, 0.9)], ["Please try again.", None]),
    ],
)
def test_what_is_suspicious_goes_alone(what: str, words: list[Word], expected: list[str | None]) -> None:
    assert texts(words) == expected, what


def test_a_word_drawn_over_the_pause_is_believed_where_a_sentence_ends() -> None:
    assert texts(moved(2, end=5.0)) == ["Please try again.", "Press five now, please."]


@given(
    st.lists(
        st.tuples(st.floats(0, 9.8), st.floats(0, 3), st.sampled_from([" a", " B.", " word", " I", " Press"])),
        min_size=1,
        max_size=12,
    )
)
def test_a_word_is_given_to_one_recording_at_most_and_is_in_its_window(
    drawn: list[tuple[float, float, str]],
) -> None:
    edge, words = 0.0, []
    for drawn_start, length, text in sorted(drawn):
        start = max(drawn_start, edge)
        edge = max(start, min(start + length, 9.8))
        words.append(Word(text, start, edge, 0.9))
    found = packing.divide_segments(PIECES, [segment(words)])
    given_back = [w.word for own in found if own for s in own for w in s.words]
    rest = iter(words)
    assert all(any(w.word == text for w in rest) for text in given_back)
    for piece, own in zip(PIECES, found, strict=True):
        for word in [w for s in own or [] for w in s.words]:
            assert piece.window.start / SECOND <= word.start <= word.end <= piece.window.end / SECOND


# The worker


CUTS = [
    ("password.flac", 0.0),
    ("conference.flac", 0.0),
    ("jfk.opus", 0.0),
    ("password.flac", 0.4),
    ("conference.flac", 0.4),
]


class Worker:
    """The real worker process on the short recordings of tests/data."""

    def __init__(self, folder: Path, model: Path) -> None:
        flags = {"model": str(model), "backend": "faster-whisper", "language": "en"}
        self.request = worker_process.make_request(
            settings.load(flags, {"HOME": str(folder)}).settings, download=False
        )
        self.messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
        self.worker = worker_process.Worker(self.messages.put)
        self.folder = folder
        self.paths: list[Path] = []

    def recording(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> int:
        path = self.folder / f"{len(self.paths)}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(samples.shape[1] if samples.ndim > 1 else 1)
            file.setsampwidth(2)
            file.setframerate(SECOND)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        self.paths.append(path)
        return len(self.paths)  # its job

    def spoken(self, name: str, silence: float) -> int:
        decoded = decoding.decode(DATA / name, self.folder / "spool")
        return self.recording(np.concatenate([np.zeros(int(silence * SECOND), np.float32), decoded.samples]))

    def file(self, job: int) -> protocol.RecordingFile:
        return protocol.RecordingFile(job, str(self.paths[job - 1]), str(self.folder / f"{job}.f32"))

    def events(self, number: int) -> dict[int, list[protocol.Event]]:
        """Return what is reported until the job `number` is over, by recording."""
        found: dict[int, list[protocol.Event]] = {}
        while True:
            message = self.messages.get(timeout=300)
            assert not isinstance(message.event, protocol.Exited), message.event
            found.setdefault(message.job, []).append(message.event)
            if message.job == number and isinstance(message.event, protocol.Finished | protocol.Failed):
                return found

    def together(self, jobs: list[int], **changes: Any) -> dict[int, list[protocol.Event]]:
        recordings = tuple(self.file(job) for job in jobs)
        request = dataclasses.replace(self.request, **changes)
        self.worker.send(protocol.PackJob(recordings=recordings, request=request))
        return self.events(0)

    def alone(self, job: int, **changes: Any) -> list[protocol.Event]:
        request = dataclasses.replace(self.request, **changes)
        self.worker.send(protocol.TranscribeJob(recording=self.file(job), request=request))
        return self.events(job)[job]


@pytest.fixture
def worker(tmp_path: Path, tiny_en: Path) -> Iterator[Worker]:
    made = Worker(tmp_path, tiny_en)
    yield made
    made.worker.kill()


def steps(events: list[protocol.Event]) -> list[str]:
    return [e.event for e in events if e.event not in {"decoding", "log", "ready"}]


def facts(events: list[protocol.Event], name: str) -> dict[str, Any]:
    return next(event_to_json(e) for e in events if e.event == name)


def plain(messages: list[protocol.Event]) -> list[str]:
    """Return the words of a recording without case and marks."""
    spoken = " ".join(s["text"] for s in facts(messages, "window")["segments"])
    return "".join(c for c in spoken.lower() if c.isalnum() or c == " ").split()


def test_recordings_in_one_window_get_what_each_gets_alone(worker: Worker) -> None:
    jobs = [worker.spoken(name, silence) for name, silence in CUTS]
    events = worker.together(jobs)
    assert list(worker.folder.glob("*.f32")) == []
    for job in jobs:
        alone = worker.alone(job)
        assert steps(events[job]) == steps(alone) == ["decoded", "loaded", "planned", "window", "finished"]
        for event in ("decoded", "planned", "loaded"):
            timeless = {k: v for k, v in facts(alone, event).items() if not k.endswith("_s") or k == "audio_s"}
            assert {k: v for k, v in facts(events[job], event).items() if k in timeless} == timeless
        # Neighbours may change a mark or a spelling, never whose the words are.
        assert len(set(plain(events[job])) ^ set(plain(alone))) <= 2, (plain(events[job]), plain(alone))
        audio_s = facts(alone, "decoded")["audio_s"]
        for s in facts(events[job], "window")["segments"]:
            assert all(0 <= w["start"] <= w["end"] <= audio_s for w in s["words"])


def test_what_cannot_be_packed_is_excluded_and_silence_is_done(worker: Worker) -> None:
    rng = np.random.default_rng(1)
    spoken = worker.spoken("password.flac", 0)
    silent = worker.recording(rng.normal(0, 1e-4, 3 * SECOND).astype(np.float32))
    long = worker.recording(np.zeros(31 * SECOND, np.float32))
    broken = worker.recording(np.zeros(0, np.float32))
    other = worker.spoken("conference.flac", 0)
    events = worker.together([spoken, silent, long, broken, other])
    assert steps(events[silent]) == ["decoded", "loaded", "planned", "finished"]
    assert facts(events[silent], "planned")["speech_s"] == 0.0
    assert {job: facts(events[job], "apart") for job in (long, broken)} == {
        long: {"code": "too-long"},
        broken: {"code": "no-samples"},
    }
    assert "password" in plain(events[spoken])
    assert "conference" in plain(events[other])


def test_a_full_pack_in_stereo_needs_no_more_open_files_than_a_mac_allows(tmp_path: Path, tiny_en: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # as launchd and a Mac's terminal have it
    try:
        worker = Worker(tmp_path, tiny_en)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        rng = np.random.default_rng(2)
        sounds = rng.normal(0, 1e-4, (scheduler.PACK_LIMITS.recordings, SECOND // 4, 2)).astype(np.float32)
        events = worker.together([worker.recording(sound) for sound in sounds])
    finally:
        worker.worker.kill()
    every = {
        tuple(steps(messages)) for job, messages in events.items() if 0 < job <= scheduler.PACK_LIMITS.recordings
    }
    assert every == {("decoded", "loaded", "planned", "finished")}


def test_recordings_that_are_transcribed_one_by_one_are_spelled_as_if_alone(worker: Worker, tmp_path: Path) -> None:
    """The second has `press one`; as a window behind the first it would have `press 1`."""
    sound = decoding.decode(DATA / "numbers.opus", tmp_path / "spool").samples
    border = int(2.9 * SECOND)
    jobs = [worker.recording(np.array(part)) for part in (sound[:border], sound[border:])]
    events = worker.together(jobs, task="translate")
    nine, one = (" ".join(plain(events[job])) for job in jobs)
    assert nine == "press 9 for more entries"
    assert "press one now" in one


def test_a_translation_is_never_divided_by_its_times(worker: Worker) -> None:
    jobs = [worker.spoken(name, 0) for name in ("password.flac", "conference.flac")]
    together, alone = worker.together(jobs, task="translate"), [worker.alone(job, task="translate") for job in jobs]
    for job, messages in zip(jobs, alone, strict=True):
        own, single = (facts(m, "window")["segments"] for m in (together[job], messages))
        assert [s["text"] for s in own] == [s["text"] for s in single]
        times = [[w[k] for s in found for w in s["words"] for k in ("start", "end")] for found in (own, single)]
        assert times[0] == pytest.approx(times[1], abs=0.002)  # each is rounded to a millisecond

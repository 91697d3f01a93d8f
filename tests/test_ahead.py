"""The next recording is prepared while this one is transcribed."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe import protocol
from dropscribe.settings import Settings
from dropscribe.supervisor import worker_process
from dropscribe.worker import pipeline
from dropscribe.worker.ahead import Ahead
from dropscribe.worker.events import EventWriter, Reporter
from dropscribe.worker.speech import Speech
from talk import FASTER, Talk, of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from house import House

DATA = Path(__file__).parent / "data"
EAGER = "import functools; from dropscribe.worker import ahead, main; "
EAGER += "main.Ahead = functools.partial(ahead.Ahead, least_cores=1); main.main()"
"""A worker that prepares recordings on any machine."""


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    made = Ahead(least_cores=1)
    yield made
    made.discard()


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    with (tmp_path / "events").open("w") as stream:
        yield Reporter(EventWriter(stream), 1)


def two_channels(folder: Path) -> Path:
    """Return a recording of two who take turns, each on a channel."""
    from dropscribe.worker import decoding

    one = np.array(decoding.decode(DATA / "jfk.opus", folder / "one").samples)
    both = np.zeros((2 * len(one), 2), np.float32)
    both[: len(one), 0] = both[len(one) :, 1] = one
    path = folder / "both.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes((both * 32767).astype("<i2").tobytes())
    return path


def job(folder: Path, path: Path, **changes: Any) -> tuple[protocol.PrepareJob, protocol.RecordingFile]:
    """Return the job that prepares a recording, and the recording as its own job has it."""
    request = worker_process.make_request(Settings(model="x", backend="faster-whisper", **changes), download=False)
    recording = protocol.RecordingFile(1, str(path), str(folder / "ahead.f32"))
    return protocol.PrepareJob(recording=recording, request=request), protocol.RecordingFile(
        1, str(path), str(folder / "own.f32")
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_prepared_is_what_the_recordings_own_job_would_find(
    ahead: Ahead, reporter: Reporter, tmp_path: Path, channels: int
) -> None:
    path = two_channels(tmp_path) if channels == 2 else DATA / "numbers.opus"
    asked, file = job(tmp_path, path)
    ahead.begin(asked)
    prepared = ahead.take(file, asked.request, reporter)
    assert prepared is not None
    found = Speech.from_protocol(prepared.speech, Path(file.spool))
    other = dataclasses.replace(file, spool=str(tmp_path / "again.f32"))
    decoded = pipeline.decode(other, asked.request, reporter)
    expected = pipeline.detect_speech(decoded, other, asked.request)
    assert np.array_equal(found.samples, expected.samples)
    assert dataclasses.replace(found, samples=expected.samples) == expected
    assert len(found.channel_spans) == channels
    assert prepared.decoded.sound
    assert not list(tmp_path.glob("ahead*"))


def test_a_recording_that_changed_since_is_not_taken_from_what_was_prepared(
    ahead: Ahead, reporter: Reporter, tmp_path: Path
) -> None:
    path = tmp_path / "talk.opus"
    path.write_bytes((DATA / "jfk.opus").read_bytes())
    asked, file = job(tmp_path, path)
    ahead.begin(asked)
    new = tmp_path / "new.opus"
    new.write_bytes((DATA / "numbers.opus").read_bytes())
    os.replace(new, path)  # noqa: PTH105 (as a program does that saves a file)
    assert ahead.take(file, asked.request, reporter) is None
    assert not list(tmp_path.glob("*.f32*"))


def test_what_was_prepared_under_other_settings_is_not_taken(
    ahead: Ahead, reporter: Reporter, tmp_path: Path
) -> None:
    asked, file = job(tmp_path, DATA / "jfk.opus")
    ahead.begin(asked)
    assert ahead.take(file, job(tmp_path, DATA / "jfk.opus", speech_threshold=0.3)[0].request, reporter) is None


def test_a_recording_that_cannot_be_prepared_is_left_to_its_own_job(
    ahead: Ahead, reporter: Reporter, tmp_path: Path
) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(b"\n" * 5000)
    asked, file = job(tmp_path, path)
    ahead.begin(asked)
    assert ahead.take(file, asked.request, reporter) is None
    assert not list(tmp_path.glob("*.f32*"))


def test_a_preparation_that_is_killed_is_done_again_by_the_recordings_own_job(
    ahead: Ahead, reporter: Reporter, tmp_path: Path
) -> None:
    asked, file = job(tmp_path, DATA / "jfk.opus")
    ahead.begin(asked)
    assert ahead._held is not None
    ahead._held.process.send_signal(signal.SIGKILL)
    assert ahead.take(file, asked.request, reporter) is None


def test_on_few_processors_nothing_is_prepared(reporter: Reporter, tmp_path: Path) -> None:
    asked, file = job(tmp_path, DATA / "jfk.opus")
    idle = Ahead(least_cores=100_000)
    idle.begin(asked)
    assert idle.take(file, asked.request, reporter) is None


def test_a_worker_transcribes_a_prepared_recording_as_any_other(tiny_en: Path, tmp_path: Path) -> None:
    talk = Talk([sys.executable, "-c", EAGER])
    found = []
    for name in ("one", "two", "three", "four"):
        where = {"path": str(DATA / ("numbers.opus" if name in {"two", "four"} else "jfk.opus"))}
        talk.ask(tiny_en, FASTER, operation="transcribe", **where, spool=str(tmp_path / name))
        if name == "three":
            talk.ask(tiny_en, FASTER, operation="prepare", path=str(DATA / "numbers.opus"), spool=str(tmp_path / "x"))
            talk.number -= 1
        found.append(talk.until("finished", "failed", "exit"))
        assert found[-1][-1][0] == "finished"
    talk.worker.kill()
    assert [of(each, "decoded")[0]["ahead"] for each in found] == [False, False, False, True]
    assert of(found[3], "window")[0]["segments"] == of(found[1], "window")[0]["segments"]
    assert of(found[3], "planned")[0]["plan"] == of(found[1], "planned")[0]["plan"]
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_the_next_recording_is_named_while_one_is_transcribed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AHEAD", str(tmp_path / "ahead"))
    monkeypatch.setenv("FAKE_PACE", str(house.settings.state / "journal.sqlite3"))
    for name in ("one", "two", "three"):
        house.drop(f"{name}.wav", *["Said."] * 30, name)
    house.queue()
    assert house.run(pack=False).done == 3
    claimed = [e["file"] for e in house.events("job.claimed")]
    asked = [Path(line).name for line in (tmp_path / "ahead").read_text().splitlines()]
    assert asked == claimed[1:]


def test_a_recording_on_which_the_engine_failed_is_not_prepared(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AHEAD", str(tmp_path / "ahead"))
    monkeypatch.setenv("FAKE_PACE", str(house.settings.state / "journal.sqlite3"))
    monkeypatch.setenv("FAKE_COUNTS", str(tmp_path / "counts"))
    house.drop("one.wav", *["Said."] * 30, "!until 1 !crash")
    house.drop("two.wav", *["Said."] * 30, "Two.")
    house.queue()
    assert house.run(pack=False).done == 2
    assert [e["file"] for e in house.events("job.claimed")] == ["one.wav", "two.wav", "one.wav"]
    assert [Path(line).name for line in (tmp_path / "ahead").read_text().splitlines()] == ["two.wav"]

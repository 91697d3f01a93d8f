"""How far the work is: the time left, and the phases, by the events of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropscribe import protocol
from dropscribe.supervisor.meter import Meter
from dropscribe.supervisor.progress import Reading, read_readings, write_readings

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plan(windows: int, done: int = 0) -> protocol.Planned:
    """Return the plan of windows of 30 s each."""
    edges = tuple((480_000 * number, 480_000 * (number + 1)) for number in range(windows))
    return protocol.Planned(
        plan=protocol.Plan(samples=480_000 * windows, windows=edges),
        done=done,
        language="en",
        language_probability=1.0,
        speech_s=30.0 * windows,
        plan_s=1.0,
    )


def window(index: int) -> protocol.WindowDone:
    return protocol.WindowDone(index=index, start_s=30.0 * index, end_s=30.0 * (index + 1), seconds=1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_telling_speakers_apart_is_work_that_is_left() -> None:
    meter = Meter([1], "decoding")
    meter.observe(protocol.Decoded(audio_s=3600.0, decode_s=1.0, channels=1, codec="x"))
    meter.observe(protocol.Heartbeat(done_s=0.0, phase=protocol.SPEAKERS_PHASE, share=0.25))
    assert meter.work_left_s == pytest.approx(900)


def test_the_time_left_follows_from_what_this_attempt_has_done(clock: Clock) -> None:
    meter = Meter([7], "decoding", clock)
    meter.observe(plan(10, done=8))
    assert (meter.read().percent, meter.read().eta_s) == (80.0, None)
    clock.now += 25
    meter.observe(window(8))
    assert (meter.read().percent, meter.read().eta_s) == (90.0, 25.0)


def test_between_two_steps_the_time_left_falls_and_never_climbs(clock: Clock) -> None:
    meter = Meter([7], "decoding", clock)
    meter.observe(plan(10))
    clock.now += 10
    meter.observe(window(0))
    seen = []
    for _ in range(12):
        seen.append(meter.read().eta_s)
        clock.now += 10
    assert seen == [90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0, 10.0, 1.0, 1.0, 1.0]


def test_while_something_goes_between_the_time_left_stands_still(clock: Clock) -> None:
    meter = Meter([7], "decoding", clock)
    meter.observe(plan(4))
    clock.now += 10
    meter.observe(window(0))
    meter.pause()
    clock.now += 20
    assert (meter.read().eta_s, meter.read().paused) == (30.0, True)
    meter.resume()
    clock.now += 10
    assert meter.read().eta_s == 20.0
    meter.observe(window(1))
    assert meter.read().eta_s == 40.0  # two windows took 40 s with what went between


def test_every_phase_has_a_name_and_its_own_percent(clock: Clock) -> None:
    meter = Meter([7], "starting the engine", clock)
    seen = [(meter.read().phase, meter.read().percent)]
    for event in (
        protocol.Ready(),
        protocol.Heartbeat(done_s=60.0, phase="decoding", share=0.25),
        protocol.Decoded(audio_s=240.0, decode_s=1.0, channels=1, codec="flac"),
        protocol.Downloading(model="base", repo="a/b", done=50, total=100),
        protocol.Loaded(
            backend="mlx", reason="", device="gpu", multilingual=True, model="base", revision=None, folder="/"
        ),
        protocol.Heartbeat(done_s=120.0, phase="detecting speech", share=0.5),
        plan(8),
        window(0),
    ):
        meter.observe(event)
        seen.append((meter.read().phase, meter.read().percent))
    assert seen == [
        ("starting the engine", None),
        ("decoding", None),
        ("decoding", 25.0),
        ("loading the model", None),
        ("downloading the model base", 50.0),
        ("detecting speech", None),
        ("detecting speech", 50.0),
        ("transcribing", 0.0),
        ("transcribing", 12.5),
    ]


def test_a_pack_tells_how_many_of_its_recordings_are_decoded_and_finished(clock: Clock) -> None:
    meter = Meter([7, 8, 9, 10], "decoding", clock)
    meter.observe_part(protocol.Decoded(audio_s=2.0, decode_s=0.1, channels=1, codec="flac"))
    assert (meter.read().phase, meter.read().percent) == ("decoding", 25.0)
    meter.observe(
        protocol.Loaded(
            backend="mlx", reason="", device="gpu", multilingual=True, model="base", revision=None, folder="/"
        )
    )
    meter.observe_part(protocol.Finished())
    meter.observe_part(protocol.Excluded(code="long-pauses"))
    assert (meter.read().phase, meter.read().percent, meter.read().together) == ("transcribing", 50.0, 4)


def test_a_reading_that_was_saved_counts_down_until_it_is_paused(tmp_path: Path) -> None:
    saved = Reading(
        recording=7, phase="transcribing", percent=10.0, eta_s=90.0, as_of=100.0, started=0.0, audio_s=600.0
    )
    write_readings(tmp_path, [saved])
    (read,) = read_readings(tmp_path)
    assert read == saved
    assert [read.read_eta(now) for now in (100.0, 130.0, 500.0)] == [90, 60, 1]
    (tmp_path / "progress.json").write_text("[{]")
    assert read_readings(tmp_path) == []

"""The decoder and time: a word stands where the container's clock puts it, whatever became of
packets and clocks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.errors import RecordingFaultError
from dropscribe.worker import decoding
from dropscribe.worker.decoding.clock import (
    Clock,
    ClockKind,
    ClockLimits,
    Cut,
    Evidence,
    Silence,
    Sound,
    clock_kind,
)
from odd_recordings import RATE, Track, beeps, found_beeps, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SECONDS = 40
EVERY = np.arange(SECONDS, dtype=float)
PRIMING = 1024 / RATE
"""Seconds that an AAC encoder puts before the sound, which only some containers know of."""

KINDS = [
    ("matroska", "aac", "mpeg4", RATE),
    ("webm", "libopus", "libvpx", 48000),
    ("mp4", "aac", "mpeg4", RATE),
    ("mpegts", "aac", "mpeg4", RATE),
    ("mpeg", "mp2", "mpeg1video", 44100),
    ("flv", "aac", "flv", 44100),
]


def decode(path: Path, **options: Any) -> decoding.Decoded:
    return decoding.decode(path, path.parent / "spool", **options)


def codes(found: decoding.Decoded) -> list[str]:
    return [notice.code for notice in found.warnings]


def make(
    path: Path,
    kind: tuple[str, str, str, int],
    place: Callable[[float], float | None] | None,
    picture: Callable[[float], float | None] | None = None,
    *,
    seconds: float = SECONDS,
) -> Path:
    """Write beeps into a container of `kind`, their times moved by `place`; with `seconds` of
    pictures.
    """
    name, codec, video, rate = kind
    track = Track(beeps(SECONDS, rate), codec, rate=rate, place=place)
    return write(path / f"recording.{name}", [track], name, picture=picture, seconds=seconds, codec=video)


def worst(samples: NDArray[np.float32], expected: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the seconds by which the beep that is farthest from its place is away from it."""
    found = found_beeps(samples)
    return max(float(np.abs(found - place).min()) for place in expected)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
class TestEachContainer:
    def test_a_plain_file_is_left_as_it_is(self, tmp_path: Path, kind: tuple[str, str, str, int]) -> None:
        found = decode(make(tmp_path, kind, None))
        assert found.seconds == pytest.approx(SECONDS, abs=0.1)
        assert worst(found.samples, EVERY) <= PRIMING + 0.01
        assert found.warnings == ()

    def test_many_small_losses_add_up(self, tmp_path: Path, kind: tuple[str, str, str, int]) -> None:
        found = decode(make(tmp_path, kind, lambda t: None if t > 1 and 0.5 <= t % 1 < 0.58 else t))
        assert found.seconds == pytest.approx(SECONDS, abs=0.1)
        assert worst(found.samples, EVERY) <= PRIMING + 0.01
        assert codes(found) == ["lost-sound"]

    @pytest.mark.parametrize("rate", [1.005, 0.995])
    def test_a_clock_that_is_slow_or_fast_is_followed(
        self, tmp_path: Path, kind: tuple[str, str, str, int], rate: float
    ) -> None:
        found = decode(make(tmp_path, kind, lambda t: t * rate, lambda t: t * rate))
        assert found.seconds == pytest.approx(SECONDS * rate, abs=0.1)
        assert worst(found.samples, EVERY * rate) <= PRIMING + 0.07  # until it is known that it drifts
        assert worst(found.samples, EVERY[20:] * rate) <= PRIMING + 0.02
        assert codes(found) == ["clock-drift"]

    def test_jitter_that_evens_out_adds_nothing(self, tmp_path: Path, kind: tuple[str, str, str, int]) -> None:
        plain = np.array(decode(make(tmp_path, kind, None)).samples)

        def late(t: float) -> float:
            return t + 0.03 * math.sin(7 * t) + 0.1 * max(0.0, 1 - (t % 6))  # and a stall every six seconds

        found = decode(make(tmp_path, kind, late))
        assert len(found.samples) == pytest.approx(len(plain), abs=0.05 * RATE)
        assert found.warnings == ()
        assert worst(found.samples, EVERY) <= PRIMING + 0.03

    def test_a_pause_of_the_microphone_lasts_as_long_as_the_pictures_do(
        self, tmp_path: Path, kind: tuple[str, str, str, int]
    ) -> None:
        found = decode(make(tmp_path, kind, lambda t: t if t < 20 else t + 120, seconds=SECONDS + 120))
        assert found.seconds == pytest.approx(SECONDS + 120, abs=0.1)
        assert worst(found.samples, [*EVERY[:20], *(EVERY[21:] + 120)]) <= PRIMING + 0.01
        (hole,) = found.warnings
        assert hole.code == "hole"
        assert [hole.start, hole.end] == pytest.approx([20, 140], abs=0.1)

    def test_sound_that_begins_late_keeps_its_place(self, tmp_path: Path, kind: tuple[str, str, str, int]) -> None:
        found = decode(make(tmp_path, kind, lambda t: t + 90, seconds=SECONDS + 100))
        assert found.offset == pytest.approx(90, abs=0.1)
        assert worst(found.samples, EVERY + 90) <= 0.01
        assert found.warnings == ()

    def test_pictures_that_go_on_longer_are_no_sign_of_a_cut(
        self, tmp_path: Path, kind: tuple[str, str, str, int]
    ) -> None:
        found = decode(make(tmp_path, kind, None, seconds=3 * SECONDS))
        assert found.seconds == pytest.approx(SECONDS, abs=0.1)
        assert found.warnings == ()

    def test_a_clock_that_no_clock_can_be_is_not_followed(
        self, tmp_path: Path, kind: tuple[str, str, str, int]
    ) -> None:
        found = decode(make(tmp_path, kind, lambda t: t * 48 / 44.1, lambda t: t * 48 / 44.1))
        assert worst(found.samples, EVERY) <= PRIMING + 0.01
        assert codes(found) == ["clock-wrong"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] in {"mpegts", "mpeg", "flv"}], ids=lambda k: k[0])
@pytest.mark.parametrize("hours", [0.1, 5, 25])
@pytest.mark.parametrize("pictures", [0, SECONDS])
def test_a_jump_that_nothing_supports_makes_no_silence(
    tmp_path: Path, kind: tuple[str, str, str, int], hours: float, pictures: float
) -> None:
    def jump(t: float) -> float:
        return t if t < 20 else t + hours * 3600

    found = decode(make(tmp_path, kind, jump, jump, seconds=pictures), max_seconds=24 * 3600)
    assert found.seconds == pytest.approx(SECONDS, abs=0.1)
    assert worst(found.samples, EVERY) <= PRIMING + 0.01
    (notice,) = found.warnings
    assert notice.code == "clock-jump"
    assert notice.start == pytest.approx(20, abs=0.1)


def test_a_jump_in_time_that_the_file_declares_is_refused_before_it_is_written(tmp_path: Path) -> None:
    def jump(t: float) -> float:
        return t if t < 20 else t + 25 * 3600

    path = make(tmp_path, KINDS[0], jump, jump)
    with pytest.raises(RecordingFaultError) as caught:
        decode(path, max_seconds=24 * 3600)
    assert caught.value.code == "too-long"
    assert not (tmp_path / "spool").exists()


def test_a_long_silence_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    found = decode(make(tmp_path, KINDS[0], lambda t: t if t < 20 else t + 1800, seconds=1800 + SECONDS))
    assert found.seconds == pytest.approx(1800 + SECONDS, abs=0.1)
    assert (tmp_path / "spool").stat().st_blocks * 512 < 20_000_000  # of 118 MB


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_sound_alone_that_begins_late_keeps_its_place(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, (kind, "aac", "", RATE), lambda t: t + 300, seconds=0)
    found = decode(path)
    assert found.offset == pytest.approx(300, abs=0.1)
    assert worst(found.samples, EVERY + 300) <= 0.01
    assert found.warnings == ()


@pytest.mark.parametrize("kind", KINDS[3:], ids=lambda kind: kind[0])
def test_recordings_joined_end_to_end_are_all_there(tmp_path: Path, kind: tuple[str, str, str, int]) -> None:
    path = make(tmp_path, kind, None)
    path.write_bytes(path.read_bytes() * 2)
    found = decode(path)
    assert found.seconds == pytest.approx(2 * SECONDS, abs=0.2)
    assert len(found_beeps(found.samples)) == 2 * SECONDS
    assert set(codes(found)) <= {"clock-jump"}


def test_a_clock_that_begins_anew_is_no_jump(tmp_path: Path) -> None:
    """MPEG's clock has 33 bits: every 26.5 hours it begins at 0."""
    found = decode(make(tmp_path, KINDS[3], lambda t: t + 2**33 / 90000 - 20, seconds=0))
    assert worst(found.samples, EVERY) <= PRIMING + 0.01
    assert found.warnings == ()


# The clock alone, with frames that need no decoder


class Frame:
    """What the clock looks at in a frame."""

    def __init__(self, time: float | None, seconds: float = 0.02) -> None:
        self.time, self.sample_rate = time, 48000
        self.samples = round(seconds * 48000)


def run(
    times: Sequence[float | None],
    kind: ClockKind = ClockKind.STEADY,
    *,
    declared: float | None = 1e6,
    wraps: bool = False,
) -> tuple[Clock, list[Any]]:
    """Send frames of 20 ms at these times through a clock; return it and its actions without the
    sound.
    """
    limits = ClockLimits()
    clock = Clock(kind, 0.0, Evidence(kind, 0.0, declared, limits), limits, wraps=wraps)
    actions = [action for time in times for action in clock.add(Frame(time), 0)]
    actions += clock.finish()
    assert sum(isinstance(action, Sound) for action in actions) == len(times)
    return clock, [action for action in actions if not isinstance(action, Sound)]


def test_times_that_the_samples_give_are_not_looked_at() -> None:
    assert clock_kind("wav") is clock_kind("mp3") is clock_kind("avi") is ClockKind.NONE
    clock, actions = run([n * 0.03 for n in range(1000)], ClockKind.NONE)
    assert (actions, clock.notices()) == ([], [])


def test_frames_without_a_time_stand_behind_the_one_before() -> None:
    times: list[float | None] = [n * 0.02 for n in range(500)]
    times[100:200] = [None] * 100
    assert run(times)[1] == []


def test_a_second_copy_of_packets_is_cut() -> None:
    times = [n * 0.02 for n in range(300)]
    _, actions = run([*times[:150], *times[140:]])
    (cut,) = actions
    assert isinstance(cut, Cut)
    assert cut.until == pytest.approx(140 * 0.02)


def test_sound_that_lies_far_back_is_kept() -> None:
    times = [n * 0.02 for n in range(500)]
    clock, actions = run([*times, *times])
    assert actions == []
    assert [notice.code for notice in clock.notices()] == ["clock-jump"]


def test_one_frame_with_a_wild_time_changes_nothing() -> None:
    times = [n * 0.02 for n in range(500)]
    times[250] += 3000
    assert run(times)[1] == []


@pytest.mark.parametrize("period", [2**33 / 90000, 2**32 / 1000, 2**24 / 1000])
@pytest.mark.parametrize("lost", [0.0, 0.4])
def test_a_wrap_is_told_from_a_hole_beside_it(period: float, lost: float) -> None:
    times = [n * 0.02 for n in range(500)]
    moved = [time + (lost - period if n >= 250 else 0.0) for n, time in enumerate(times)]
    clock, actions = run(moved, ClockKind.JUMPING, declared=None, wraps=True)
    assert [type(action) for action in actions] == ([Silence] if lost else [])
    assert [action.until for action in actions] == pytest.approx([5 + lost] if lost else [], abs=0.001)
    assert clock.notices() == []


def test_damaged_bytes_in_place_of_sound_show_that_time_passed() -> None:
    evidence = Evidence(ClockKind.JUMPING, 0.0, None, ClockLimits())
    assert evidence.supports(100, 160, bytes_between=900_000, byte_rate=16_000)
    assert not evidence.supports(100, 160, bytes_between=2_000, byte_rate=16_000)


def test_a_picture_that_jumps_along_shows_nothing() -> None:
    evidence = Evidence(ClockKind.JUMPING, 0.0, None, ClockLimits())
    for number in range(1000):
        evidence.note(0, number * 0.1 + (3600 if number >= 500 else 0), 0.1)
    assert not evidence.supports(50, 3650, 0, 0)
    assert evidence.supports(0, 50, 0, 0)

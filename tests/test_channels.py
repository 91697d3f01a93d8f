"""One speaker a channel: which recordings are made so, and what is transcribed of each channel.

The voices are real; how they come to lie on channels is made here.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE
from dropscribe.transcript import Notice, Segment, Word
from dropscribe.worker import channel_levels, channels, decoding, vad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropscribe.worker.speech import Speech

    Sides = tuple[NDArray[np.float32], NDArray[np.float32]]

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Two voices that take turns, 22 s, equally loud: nothing on one side while the other
    speaks.
    """
    folder = tmp_path_factory.mktemp("spool")

    def voice(name: str) -> NDArray[np.float32]:
        samples = np.array(decoding.decode(DATA / name, folder / name).samples)
        return samples * np.float32(0.1 / np.sqrt(np.square(samples).mean()))

    host, guest = [voice("conference.flac"), voice("password.flac")], voice("jfk.opus")
    left, right = np.zeros((2, 22 * SAMPLE_RATE), np.float32)
    at = SAMPLE_RATE // 2
    for mine, theirs in zip(host, np.array_split(guest, 2), strict=True):
        left[at : at + len(mine)] = mine
        at += len(mine) + 4000
        right[at : at + len(theirs)] = theirs
        at += len(theirs) + 4000
    return left, right


def noise(decibels: float) -> NDArray[np.float32]:
    made = np.random.default_rng(7).standard_normal(22 * SAMPLE_RATE)
    return (made * 10 ** (decibels / 20)).astype(np.float32)


def bleed(sides: Sides, decibels: float) -> Sides:
    share = np.float32(10 ** (decibels / 20))
    return sides[0] + share * sides[1], sides[1] + share * sides[0]


def room(sides: Sides, decibels: float) -> Sides:
    """Two microphones in one room: each hears both, the nearer one louder and sooner, and both the
    walls.
    """
    rng = np.random.default_rng(7)
    length = 4800
    size = 1 << (len(sides[0]) + length).bit_length()

    def way(sound: NDArray[np.float32], delay: int, level: float) -> NDArray[np.float32]:
        walls = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length) * 0.05
        walls[:delay], walls[delay] = 0, 1
        made = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(walls * level, size), size)
        return made[: len(sound)].astype(np.float32)

    far = 10 ** (decibels / 20)
    left, right = sides
    return way(left, 10, 1) + way(right, 25, far), way(left, 25, far) + way(right, 10, 1)


def panned_band() -> Sides:
    """Two plucked tones on each side, all the time."""
    t = np.arange(22 * SAMPLE_RATE) / SAMPLE_RATE

    def plucked(pitch: float, beat: float, late: float) -> NDArray[np.float32]:
        return (0.1 * np.sin(2 * np.pi * pitch * t) * np.exp(-6 * ((t + late) % beat) / beat)).astype(np.float32)

    return plucked(220, 0.5, 0) + plucked(330, 1, 0.2), plucked(440, 0.75, 0.1) + plucked(550, 0.33, 0)


def file(folder: Path, *sides: NDArray[np.float32]) -> Path:
    path = folder / "talk.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(len(sides))
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((np.clip(np.stack(sides, axis=1), -1, 1) * 32767).astype("<i2").tobytes())
    return path


def detect(
    folder: Path, sides: tuple[NDArray[np.float32], ...], names: tuple[str, ...] = (), split: str = "auto"
) -> Speech:
    decoded = decoding.decode(file(folder, *sides), folder / "spool", keep_channels=True)
    found = channels.detect_speech(decoded, folder / "spool", names, split)
    assert {path.name for path in folder.iterdir()} == {"talk.wav", "spool"}
    return found


@pytest.mark.parametrize("decibels", [-np.inf, -20.0, -12.0])
def test_what_comes_across_from_the_other_side_is_not_detect(tmp_path: Path, sides: Sides, decibels: float) -> None:
    left, right = bleed(sides, decibels)
    sound = detect(tmp_path, (left + noise(-60), right + noise(-60)))
    assert sound.speakers == ("Speaker 1", "Speaker 2")
    for channel, (own, other) in enumerate((sides, sides[::-1])):
        spoken = {False: 0, True: 0}
        for span in sound.channel_spans[channel]:
            start, end = span.start - channel * sound.stride, span.end - channel * sound.stride
            power = [float(np.square(side[start:end]).sum()) for side in (own, other)]
            spoken[power[0] > power[1]] += end - start
        truth = sum(span.end - span.start for span in vad.detect_speech(own))
        assert spoken[False] < 0.02 * truth
        assert spoken[True] == pytest.approx(truth, rel=0.08)
        # Where only the other one speaks there is nothing left to transcribe.
        mine = np.asarray(sound.samples[channel * sound.stride :][: sound.length])
        theirs = [s for s in vad.detect_speech(other) if s.end - s.start > SAMPLE_RATE]
        assert theirs
        for span in theirs:
            middle = mine[span.start + SAMPLE_RATE // 3 : span.end - SAMPLE_RATE // 3]
            assert not middle.any()


def test_loudness_does_not_matter_and_both_may_speak_at_once(tmp_path: Path, sides: Sides) -> None:
    left, right = bleed(sides, -20)
    assert detect(tmp_path, (left, right * np.float32(0.18))).speakers
    early = np.roll(sides[1], -3 * SAMPLE_RATE)  # the guest begins before the host has ended
    at_once = detect(tmp_path, bleed((sides[0], early), -20))
    truth = [sum(s.end - s.start for s in vad.detect_speech(side)) / SAMPLE_RATE for side in (sides[0], early)]
    assert at_once.seconds == pytest.approx(sum(truth), rel=0.1)


def test_a_guest_who_says_little_is_detect(tmp_path: Path, sides: Sides) -> None:
    little = np.zeros_like(sides[1])
    little[9 * SAMPLE_RATE : 11 * SAMPLE_RATE] = sides[1][np.flatnonzero(sides[1])[0] :][: 2 * SAMPLE_RATE]
    sound = detect(tmp_path, bleed((sides[0], little), -20))
    assert len(sound.speakers) == 2
    assert 0.5 < sum(s.end - s.start for s in sound.channel_spans[1]) / SAMPLE_RATE < 2.5


@pytest.mark.parametrize(
    "kind", ["both alike", "one louder", "one silent", "one humming", "room", "near mics", "band", "song", "mono"]
)
def test_other_recordings_are_not_split(tmp_path: Path, sides: Sides, kind: str) -> None:
    mix = sides[0] + sides[1]
    hum = (0.02 * np.sin(2 * np.pi * 50 * np.arange(len(mix)) / SAMPLE_RATE)).astype(np.float32)
    band = panned_band()
    made: dict[str, tuple[NDArray[np.float32], ...]] = {
        "both alike": (mix, mix),
        "one louder": (mix + noise(-60), mix * np.float32(0.3)),
        "one silent": (mix, np.zeros_like(mix)),
        "one humming": (mix, hum),
        "room": room(sides, -2),
        "near mics": room(sides, -5),
        "band": band,
        "song": (band[0] + mix, band[1] + np.float32(0.02) * mix),
        "mono": (mix,),
    }
    sound = detect(tmp_path, made[kind])
    assert (sound.speakers, sound.stride, len(sound.channel_spans)) == ((), 0, 1)
    plain = decoding.decode(tmp_path / "talk.wav", tmp_path / "again")
    assert np.array_equal(sound.samples, plain.samples)
    assert sound.spans == vad.detect_speech(plain.samples)


def test_what_is_set_counts_unless_the_channels_are_alike(tmp_path: Path, sides: Sides) -> None:
    mix = sides[0] + sides[1]
    near = room(sides, -7)
    assert detect(tmp_path, near).speakers == ()
    assert detect(tmp_path, near, ("Host", "Guest")).speakers == ("Host", "Guest")
    assert detect(tmp_path, near, ("Host",), "always").speakers == ("Host", "Speaker 2")
    assert detect(tmp_path, near, ("", "Guest")).speakers == ("Speaker 1", "Guest")
    assert detect(tmp_path, sides, ("Host", "Guest"), "never").speakers == ()
    one = detect(tmp_path, (mix, np.zeros_like(mix)), ("Host", "Guest"))
    assert (one.speakers, len(one.channel_spans[1])) == (("Host", "Guest"), 0)
    alike = detect(tmp_path, (mix, mix), ("Host", "Guest"))
    assert (alike.speakers, [n.code for n in alike.notices]) == ((), ["channels-alike"])


@pytest.mark.parametrize("alone", [0.7, 0.3])
def test_most_of_the_time_one_side_must_be_ahead(alone: float) -> None:
    """Noise on one side or the other for a share of the time, the same on both for the rest."""
    sound = np.stack([noise(-20)] * 2, axis=1)
    half = int(len(sound) * alone / 2)
    sound[:half, 0] *= 0.001
    sound[half : 2 * half, 1] *= 0.001
    assert channel_levels.has_speaker_per_channel(sound, channel_levels.measure_levels(sound)) == (alone > 0.5)


@pytest.mark.parametrize("together", [True, False])
def test_sides_that_rise_and_fall_together_record_the_same(together: bool) -> None:
    """Two noises, of which either may be ahead, each with its own swell or both with one."""
    rng = np.random.default_rng(3)
    stretches = 22 * SAMPLE_RATE // 2048
    swell = rng.uniform(-30, 0, (stretches, 2))
    if together:
        swell = swell[:, :1] + rng.uniform(-8, 8, (stretches, 2))
    power = np.repeat(10 ** (swell / 20), 2048, axis=0)
    sound = (0.1 * power * rng.standard_normal(power.shape)).astype(np.float32)
    assert channel_levels.has_speaker_per_channel(sound, channel_levels.measure_levels(sound)) != together


def test_four_channels_have_four_speakers(tmp_path: Path, sides: Sides) -> None:
    half = len(sides[0]) // 2
    four = [np.where(np.arange(2 * half) < half, side, 0).astype(np.float32) for side in sides]
    four += [side - first for side, first in zip(sides, four, strict=True)]
    assert len(detect(tmp_path, tuple(four)).speakers) == 4
    assert [len(spans) > 0 for spans in detect(tmp_path, tuple(four)).channel_spans] == [True] * 4


def test_windows_are_in_order_of_time_and_lead_back_to_the_recording(tmp_path: Path, sides: Sides) -> None:
    sound = detect(tmp_path, sides, ("Host", "Guest"))
    windows = sound.cut_windows()
    assert [w.index for w in windows] == list(range(len(windows)))
    times = [sound.find_bounds(w) for w in windows]
    assert times == sorted(times)
    assert {sound.find_channel(w.start) for w in windows} == {0, 1}
    assert all(0 <= start < end <= sound.length for start, end in times)
    window = next(w for w in windows if sound.find_channel(w.start) == 1)
    shift = sound.stride / SAMPLE_RATE
    word = Word(" Ask", shift + 5.1239, shift + 5.5, 0.9)
    segment = Segment(0, word.start, word.end, "Ask", (word,))
    (moved,), (notice,) = sound.to_recording(window, [segment], [Notice("x", shift + 5.0, shift + 6.0, "")])
    assert notice == Notice("x", 5.0, 6.0, "")
    assert (moved.start, moved.end, moved.speaker) == (5.124, 5.5, "Guest")
    assert moved.words == (Word(" Ask", 5.124, 5.5, 0.9, "Guest"),)


def test_a_recording_of_a_moment_is_left_alone(tmp_path: Path, sides: Sides) -> None:
    moment = tuple(side[:800] for side in sides)
    for split in ("auto", "always"):
        assert detect(tmp_path, moment, (), split).spans == []

"""The decoder and levels: quiet and hot recordings come to an ordinary one, and nothing else
changes.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from dropscribe.worker import decoding, vad
from odd_recordings import RATE, Track, speechlike, wave_bytes, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float32]:
    """Return real speech with pauses."""
    resampler, parts = av.AudioResampler(format="flt", layout="mono", rate=RATE), []
    with av.open(str(DATA / "conference.flac")) as file:
        for frame in file.decode(audio=0):
            frame.pts = None
            parts += [made.to_ndarray().reshape(-1) for made in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float32)


def decode(folder: Path, sound: NDArray[Any], bits: int = 32) -> decoding.Decoded:
    path = folder / "a.wav"
    path.write_bytes(wave_bytes(sound.astype(np.float32), bits=bits))
    return decoding.decode(path, folder / "spool")


def speech(found: decoding.Decoded) -> float:
    """Return the seconds of speech that are detected."""
    return sum(span.end - span.start for span in vad.detect_speech(found.samples)) / RATE


def codes(found: decoding.Decoded) -> list[str]:
    return [notice.code for notice in found.warnings]


@pytest.mark.parametrize("decibels", [0, -6, -12, -18, -24])
def test_an_ordinary_level_is_not_touched(tmp_path: Path, voice: NDArray[np.float32], decibels: int) -> None:
    sound = (voice * 10 ** (decibels / 20)).astype(np.float32)
    found = decode(tmp_path, sound)
    assert (found.gain, found.warnings) == (1.0, ())
    assert np.array_equal(found.samples, (np.rint(sound.astype(np.float64) * 2**31) / 2**31).astype(np.float32))


@pytest.mark.parametrize(("bits", "decibels"), [(32, -40), (32, -60), (32, -90), (24, -60), (24, -80), (16, -50)])
def test_quiet_speech_is_detected_as_if_it_were_not(
    tmp_path: Path, voice: NDArray[np.float32], bits: int, decibels: int
) -> None:
    usual = speech(decode(tmp_path, voice))
    found = decode(tmp_path, voice * 10 ** (decibels / 20), bits)
    assert speech(found) == pytest.approx(usual, rel=0.03)
    assert codes(found) == ["very-quiet"]
    assert float(np.abs(found.samples).max()) <= 0.9


@pytest.mark.parametrize("decibels", [-40, -60, -80])
def test_noise_alone_is_not_amplified(tmp_path: Path, decibels: int) -> None:
    noise = np.random.default_rng(0).standard_normal(20 * RATE) * 10 ** (decibels / 20)
    found = decode(tmp_path, noise)
    assert (found.gain, found.warnings, speech(found)) == (1.0, (), 0.0)


def test_a_quiet_voice_in_noise_is_detected(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    usual = speech(decode(tmp_path, voice))
    noise = np.random.default_rng(0).standard_normal(len(voice)) * np.sqrt(np.square(voice).mean()) / 10
    assert speech(decode(tmp_path, 0.001 * (voice + noise))) == pytest.approx(usual, rel=0.15)


def test_clicks_and_a_slammed_door_do_not_hide_a_quiet_voice(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    voice = np.tile(voice, 4)
    usual = speech(decode(tmp_path, voice))
    sound = 0.001 * voice
    rng = np.random.default_rng(0)
    for start in range(RATE, len(sound) - RATE, 3 * RATE):
        sound[start : start + 160] = rng.uniform(-0.9, 0.9, 160)
    middle = len(sound) // 2
    sound[middle : middle + RATE // 4] = rng.uniform(-0.5, 0.5, RATE // 4)
    found = decode(tmp_path, sound)
    assert codes(found) == ["very-quiet"]
    assert speech(found) == pytest.approx(usual, rel=0.25)
    assert float(np.abs(found.samples).max()) <= 0.91  # the click is what it was


def test_a_short_word_in_long_faint_noise_keeps_its_level(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    sound = np.random.default_rng(0).standard_normal(60 * RATE) * 1e-5
    word = voice[: 4 * RATE]
    sound[30 * RATE : 30 * RATE + len(word)] += word
    assert decode(tmp_path, sound).gain == 1.0
    sound[30 * RATE : 30 * RATE + len(word)] *= 0.001
    assert decode(tmp_path, sound).gain > 100


def test_silence_and_holes_stay_silent(tmp_path: Path) -> None:
    assert decode(tmp_path, np.zeros(5 * RATE, np.float32)).gain == 1.0
    sound = speechlike(20, level=0.0005)
    sound[5 * RATE : 10 * RATE] = 0
    found = decode(tmp_path, sound)
    assert found.gain > 10
    assert not np.any(found.samples[5 * RATE + 1000 : 10 * RATE - 1000])


@pytest.mark.parametrize("factor", [1.5, 4, 30, 1000])
def test_above_full_scale_is_turned_down_and_not_clipped(
    tmp_path: Path, voice: NDArray[np.float32], factor: float
) -> None:
    loudest = voice / np.abs(voice).max()
    found = decode(tmp_path, factor * loudest)
    assert codes(found) == ["above-full-scale"]
    assert np.corrcoef(np.asarray(found.samples), loudest)[0, 1] > 0.9999
    assert 0.85 < float(np.abs(found.samples).max()) <= 1.0


def test_what_is_no_number_does_no_harm(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    sound = voice.copy()
    sound[[1000, 2000, 3000]] = [np.nan, np.inf, 1e30]
    found = decode(tmp_path, sound)
    assert np.isfinite(found.samples).all()
    assert found.gain == 1.0
    assert np.abs(found.samples[5000:] - voice[5000:]).max() < 1e-6


def test_a_lossy_decoder_may_overshoot_a_little(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    for peak, expected in ((1.2, []), (4.0, ["above-full-scale"])):
        sound = voice * np.float32(peak / np.abs(voice).max())
        path = write(tmp_path / "a.m4a", [Track(sound, "aac", bit_rate=96000)], "mp4")
        assert codes(decoding.decode(path, tmp_path / "spool")) == expected


def test_channels_are_amplified_as_their_mix_is(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(np.stack([0.001 * voice, 0.0005 * np.roll(voice, 3 * RATE)]), bits=32))
    found = decoding.decode(path, tmp_path / "spool", keep_channels=True)
    assert found.channel_samples is not None
    assert codes(found) == ["very-quiet"]
    assert np.abs(np.asarray(found.channel_samples).mean(axis=1) - found.samples).max() < 1e-5


def test_the_threshold_of_detection_can_be_set(voice: NDArray[np.float32]) -> None:
    lengths = [sum(s.end - s.start for s in vad.detect_speech(voice, threshold=t)) for t in (0.95, 0.5, 0.05)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    assert vad.detect_speech(voice, threshold=0.5) == vad.detect_speech(voice)
    everything = vad.detect_speech(np.zeros(70 * RATE, np.float32), threshold=0)
    assert (everything[0].start, everything[-1].end) == (0, 70 * RATE)
    assert all(a.end == b.start for a, b in itertools.pairwise(everything))
    assert all(span.end - span.start <= vad.THRESHOLDS.longest * RATE for span in everything)

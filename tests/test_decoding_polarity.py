"""The decoder and channels that cancel each other: what is said is in the mix, and an ordinary mix
is not touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from dropscribe.worker import decoding
from odd_recordings import RATE, wave_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float32]:
    """Return 20 s of real speech."""
    from pathlib import Path

    resampler, parts = av.AudioResampler(format="flt", layout="mono", rate=RATE), []
    with av.open(str(Path(__file__).parent / "data" / "conference.flac")) as file:
        for frame in file.decode(audio=0):
            frame.pts = None
            parts += [made.to_ndarray().reshape(-1) for made in resampler.resample(frame)]
    sound = np.concatenate(parts)
    return np.tile(sound, 1 + 20 * RATE // len(sound))[: 20 * RATE].astype(np.float32)


def noise(seed: int, level: float) -> NDArray[np.float32]:
    return (level * np.random.default_rng(seed).standard_normal(20 * RATE)).astype(np.float32)


def decode(folder: Path, left: NDArray[np.float32], right: NDArray[np.float32]) -> decoding.Decoded:
    path = folder / "a.wav"
    path.write_bytes(wave_bytes(np.stack([left, right])))
    return decoding.decode(path, folder / "spool", keep_channels=True)


def likeness(found: decoding.Decoded, voice: NDArray[np.float32]) -> float:
    """Return the correlation of what was decoded with the voice, whatever its sign: either channel
    will do.
    """
    return abs(float(np.corrcoef(np.asarray(found.samples), voice)[0, 1]))


@pytest.mark.parametrize("level", [1.0, 0.9, 0.6])
@pytest.mark.parametrize("hiss", [0.0, 0.3])
def test_an_inverted_channel_does_not_silence_the_other(
    tmp_path: Path, voice: NDArray[np.float32], level: float, hiss: float
) -> None:
    hiss *= float(np.sqrt(np.square(voice).mean()))
    found = decode(tmp_path, voice + noise(0, hiss), -level * voice + noise(1, hiss))
    assert likeness(found, voice) > (0.99 if not hiss else 0.9)
    (notice,) = found.warnings
    assert notice.code == "opposed-channels"
    assert notice.start < 1.5
    assert notice.end == 20


def test_a_stretch_that_cancels_is_replaced_without_a_click(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    right = voice.copy()
    right[7 * RATE : 12 * RATE] *= -1
    plain = np.array(decode(tmp_path, voice, voice).samples)
    found = decode(tmp_path, voice, right)
    assert np.abs(found.samples - plain).max() < 0.01  # nowhere, not even for a sample
    assert np.array_equal(found.samples[: 5 * RATE], plain[: 5 * RATE])
    (notice,) = found.warnings
    assert notice.code == "opposed-channels"
    assert [notice.start, notice.end] == pytest.approx([7, 12], abs=0.6)


def test_what_both_channels_have_with_the_same_sign_is_kept_as_well(
    tmp_path: Path, voice: NDArray[np.float32]
) -> None:
    """Only the host's microphone is inverted, the music is not."""
    music = (0.1 * np.sin(2 * np.pi * 440 * np.arange(len(voice)) / RATE)).astype(np.float32)
    host = np.where(np.arange(len(voice)) < 10 * RATE, voice, 0)
    guest = np.where(np.arange(len(voice)) >= 10 * RATE, music, 0)
    found = decode(tmp_path, host + guest, guest - host)
    assert np.corrcoef(found.samples[: 9 * RATE], voice[: 9 * RATE])[0, 1] > 0.98
    assert np.corrcoef(found.samples[12 * RATE :], music[12 * RATE :])[0, 1] > 0.98


def reverberant(sound: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    echo = np.random.default_rng(seed).standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    echo[0] = 6
    heard: NDArray[np.float64] = np.convolve(sound, echo)[: len(sound)] / np.sqrt(np.square(echo).sum())
    return heard.astype(np.float32)


@pytest.mark.parametrize("delay", [0, 3, 8, 16, 30, 48])
def test_a_room_is_left_alone(tmp_path: Path, voice: NDArray[np.float32], delay: int) -> None:
    """Two microphones hear a voice one after the other: at some frequencies they cancel."""
    left, right = reverberant(voice, 1), np.roll(reverberant(voice, 2), delay)
    found = decode(tmp_path, left, right)
    assert found.warnings == ()
    assert found.channel_samples is not None
    assert np.abs(found.samples - np.asarray(found.channel_samples).mean(axis=1)).max() < 1e-6


def test_two_voices_and_one_silent_side_are_left_alone(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    assert decode(tmp_path, voice, np.roll(voice, 7 * RATE)).warnings == ()
    assert decode(tmp_path, voice, 0 * voice).warnings == ()
    assert decode(tmp_path, voice, -0.05 * voice).warnings == ()


def test_equal_files_give_equal_mixes(tmp_path: Path, voice: NDArray[np.float32]) -> None:
    first = np.array(decode(tmp_path, voice, -voice).samples)
    assert np.array_equal(first, decode(tmp_path, voice, -voice).samples)

"""One sound has one digest, whatever its tags, its container and its name are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from dropscribe.worker import decoding
from dropscribe.worker.sound_identity import digest_sound

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, samples: np.ndarray[Any, Any], codec: str, title: str = "") -> Path:
    """Write 16-bit samples of shape (channels, samples), 16 kHz."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        stream: Any = container.add_stream(codec, rate=16_000)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout=layout)
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def digest(path: Path) -> str:
    return digest_sound(decoding.decode(path, path.with_suffix(".spool"), keep_channels=True))


@pytest.fixture
def noise() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(-8000, 8000, (2, 48_000), np.int16)


def test_a_title_another_container_and_another_lossless_codec_change_nothing(
    tmp_path: Path, noise: np.ndarray[Any, Any]
) -> None:
    plain = write(tmp_path / "a.wav", noise, "pcm_s16le")
    assert plain.read_bytes() != write(tmp_path / "b.wav", noise, "pcm_s16le", "A title").read_bytes()
    found = {
        digest(plain),
        digest(tmp_path / "b.wav"),
        digest(write(tmp_path / "c.flac", noise, "flac", "Another")),
        digest(write(tmp_path / "d.mka", noise, "pcm_s16le")),
    }
    assert len(found) == 1


def test_another_sample_another_end_or_other_channels_are_another_sound(
    tmp_path: Path, noise: np.ndarray[Any, Any]
) -> None:
    other = noise.copy()
    other[0, 30_000] += 1000
    found = [
        digest(write(tmp_path / f"{number}.wav", samples, "pcm_s16le"))
        for number, samples in enumerate((noise, other, noise[:, :-1600], noise[::-1], noise[:1]))
    ]
    assert len(set(found)) == 5

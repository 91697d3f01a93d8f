"""The power of the sound in frequency bands, frame by frame."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Framing:
    """How the samples are cut into frames."""

    hop: int = 80
    """Samples between two frames: 5 ms."""
    frame: int = 320
    """Samples of a frame: 20 ms."""
    fft: int = 512
    """Samples of the Fourier transform; a frame is filled up with zeros."""
    block: int = 128
    """Frames that are transformed at once. Larger arrays are mapped from the system and given back
    each time, where threads wait for each other: with 1024, two threads took longer than one."""


FRAMING = Framing()
HOP_SECONDS = FRAMING.hop / SAMPLE_RATE


def measure_band_powers(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power in every band of every frame, shape (frames, bands), smoothed over three
    frames.

    Args:
        samples: Shape (samples,), 16 kHz, one frame or more.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAMING.frame)[:: FRAMING.hop]
    taper = np.hanning(FRAMING.frame).astype(np.float32)
    bands = _band_edges()
    powers = np.empty((len(frames), len(bands) - 1), np.float32)
    for first in range(0, len(frames), FRAMING.block):
        block = slice(first, first + FRAMING.block)
        spectrum = np.fft.rfft(frames[block] * taper, FRAMING.fft, axis=1)[:, : bands[-1]]
        # No product of matrices: numpy's threads for it would wait busily, and take the engine's
        # cores.
        powers[block] = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, bands[:-1], axis=1)
    powers[1:-1] = powers[:-2] / 4 + powers[1:-1] / 2 + powers[2:] / 4
    return powers


@functools.cache
def _band_edges() -> NDArray[np.intp]:
    """Return the first frequency bin of each of 21 bands from 80 to 7600 Hz, and the one after the
    last band.
    """
    hertz = np.concatenate([np.arange(80, 1000, 120), np.geomspace(1040, 7600, 14)])
    return np.ceil(hertz * FRAMING.fft / SAMPLE_RATE).astype(np.intp)

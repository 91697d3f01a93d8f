"""Log mel energies as Kaldi computes them: what the voice network was trained on.

25 ms windows every 10 ms without padding, the mean taken off, pre-emphasis 0.97, Povey's window (a Hann window to the
power of 0.85), power spectrum, 80 triangular filters between 20 Hz and 8 kHz that are evenly spaced in mel, natural
logarithm. No dither: equal sound gives equal numbers. Source: Kaldi's `feature-fbank.cc`.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dropscribe.backends import SAMPLE_RATE

Floats = NDArray[np.float32]

WINDOW = 400
"""Samples that a frame is made of."""
SHIFT = 160
"""Samples from one frame to the next."""
BINS = 80

_FFT = 512
_LOW_HZ = 20.0
_EMPHASIS = np.float32(0.97)
_FLOOR = np.float32(np.finfo(np.float32).eps)


def compute_mel_energies(samples: Floats) -> Floats:
    """Return log mel energies, shape (frames, 80), of samples between -1 and 1; none below `WINDOW` samples."""
    if len(samples) < WINDOW:
        return np.zeros((0, BINS), np.float32)
    frames = sliding_window_view(samples, WINDOW)[::SHIFT]
    frames = frames - frames.mean(axis=1, keepdims=True, dtype=np.float32)
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - _EMPHASIS * frames[:, :-1]
    emphasised[:, 0] = frames[:, 0] - _EMPHASIS * frames[:, 0]
    spectrum = np.fft.rfft(emphasised * _povey_window(), _FFT, axis=1)[:, : _FFT // 2]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(np.log(np.maximum(power.astype(np.float32) @ _mel_filters(), _FLOOR)), np.float32)


@functools.cache
def _povey_window() -> Floats:
    return (np.hanning(WINDOW) ** 0.85).astype(np.float32)


@functools.cache
def _mel_filters() -> Floats:
    """Return the filters, shape (256, 80): the frequency of half the sampling rate is in none."""

    def to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    low, high = to_mel(np.array([_LOW_HZ, SAMPLE_RATE / 2]))
    edges = np.linspace(float(low), float(high), BINS + 2)
    mel = to_mel(np.arange(_FFT // 2) * SAMPLE_RATE / _FFT)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)), np.float32)

"""Sound made a little longer or shorter, as a clock that runs slow or fast wants it.

A resampler whose ratio may change from block to block: a windowed sinc of 16 samples. It moves the
pitch by what it stretches, a few per mille.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH = 8
"""Samples on either side that a sample is made from."""


class Stretcher:
    """Blocks of shape (n,) or (n, channels) in, the stretched ones out; it holds eight samples
    back.
    """

    def __init__(self) -> None:
        self._held: NDArray[np.float32] | None = None
        self._at = 0.0  # in `_held`, where the next sample is made

    def add(self, block: NDArray[np.float32], stretch: float) -> NDArray[np.float32]:
        """Return what can be made of the sound so far."""
        if self._held is None:
            self._held = np.zeros((_REACH, *block.shape[1:]), dtype=np.float32)
            self._at = float(_REACH)
        self._held = np.concatenate([self._held, block])
        return self._make(stretch)

    def finish(self) -> NDArray[np.float32]:
        """Return what was held back."""
        if self._held is None:
            return np.zeros(0, dtype=np.float32)
        self._held = np.concatenate([self._held, np.zeros((_REACH, *self._held.shape[1:]), dtype=np.float32)])
        made = self._make(1.0)
        self._held = None
        return made

    def _make(self, stretch: float) -> NDArray[np.float32]:
        held = self._held
        assert held is not None  # noqa: S101  # both callers see to it
        count = max(0, int(np.ceil((len(held) - _REACH - self._at) * stretch - 1e-6)))
        places = self._at + np.arange(count) / stretch
        whole = np.floor(places).astype(np.intp)
        taps = np.arange(1 - _REACH, _REACH + 1)
        distance = taps - (places - whole)[:, None]
        weights = (np.sinc(distance) * np.square(np.cos(np.pi * distance / (2 * _REACH + 1)))).astype(np.float32)
        near = held[np.minimum(whole[:, None] + taps, len(held) - 1)]
        made: NDArray[np.float32] = np.einsum("nt,nt...->n...", weights, near).astype(np.float32)
        self._at += count / stretch
        spent = int(self._at) - _REACH
        if spent > 0:
            self._held, self._at = held[spent:], self._at - spent
        return made

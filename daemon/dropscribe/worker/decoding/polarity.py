"""Channels that cancel each other: where one side is wired or recorded with the opposite sign,
their mix is silence.

In stretches where the mix is far quieter than unrelated channels would give, the louder channel is
taken instead. That is looked at in bands of frequencies: a voice that reaches two microphones one
after the other cancels in some of them and grows in others, but a channel of opposite sign cancels
in all that the voice has.

Guarantees: the mix is untouched, down to the last bit, where channels do not cancel; no clicks;
memory does not grow with the recording; equal recordings give equal results.
"""

from __future__ import annotations

import collections
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PolarityLimits:
    """What counts as cancelling.

    The measure is the power of the mean of the channels over what it would be if they had nothing
    to do with one another: 1 for unrelated channels and for a silent one, 2 for two equal ones, 0
    for two of opposite sign.
    """

    block: int = SAMPLE_RATE // 4
    """Samples that are decided on together."""
    window: tuple[int, int] = (1, 2)
    """Blocks before and after that are looked at as well: 1 s in all, a few syllables."""
    bands: tuple[int, ...] = (80, 300, 1000, 2500, 7000)
    """Hz between which the bands lie: the voice's pitch, its first formants, the next ones, its
    hiss."""
    cancels: float = 0.3
    """Below this a band cancels: a correlation of -0.7."""
    least_bands: int = 2
    """Bands that must cancel: the pitch alone does so in any room, for microphones as far apart as
    half its wave."""
    share: float = 0.6
    """Share of the power that lies in bands that cancel; the rest may be each channel's own noise."""
    agrees: float = 1.4
    """A band above this does not cancel, and channels with such a band are not opposed."""
    nearest: int = SAMPLE_RATE // 1000
    """Samples between the channels up to which one is an inverted copy of the other."""
    farthest: int = SAMPLE_RATE * 12 // 1000
    """Samples (4 m) between two microphones. Channels that are alike at some such distance are no
    inverted copies, even where a voice's tones happen to fall into all the gaps that the distance
    makes."""
    faint: float = 0.01
    """Share of the power below which a band says nothing."""
    together: float = 1.2
    """With all bands together above this, channels that were opposed no longer are. Below it stays
    as it was: pauses, in which each channel has its own noise."""
    reach: int = 3
    """Blocks around a stretch for which the single channel is taken as well: its edges are known
    to within that."""
    depth: float = 35.0
    """Decibels below the loudest second so far down to which a second is judged: noise that
    cancels is no speech."""
    fade: int = SAMPLE_RATE // 100
    """Samples over which one source goes over into the other."""


_NONE = -1  # the mix


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is known of a block."""

    bands: NDArray[np.float64]
    """Shape (bands, 2): the power of the mean of the channels, and what it would be if they were
    unrelated."""
    powers: NDArray[np.float64]
    """Shape (channels,)."""
    spectra: NDArray[Any] | None
    """Shape (channels, frequencies)."""


class PolarityFilter:
    """Mix and channels in, block by block; out what is to be transcribed."""

    def __init__(self, write: Callable[[NDArray[np.float32]], None], limits: PolarityLimits, start: int) -> None:
        """`write` takes the result; `start` is the first sample's place in the recording."""
        self.stretches: list[tuple[int, int]] = []
        """Where one channel was taken: first sample and one past the last."""
        self._write, self._limits = write, limits
        self._start = start
        self._mix = np.zeros(0, dtype=np.float32)
        self._sides: NDArray[np.float32] | None = None
        self._waiting: collections.deque[tuple[NDArray[np.float32], NDArray[np.float32]]] = collections.deque()
        self._measured: collections.deque[_Measure] = collections.deque()
        self._decided: collections.deque[tuple[NDArray[np.float32], NDArray[np.float32], int]] = collections.deque()
        self._written: collections.deque[int] = collections.deque(maxlen=limits.reach)  # what was decided on those
        self._state = _NONE
        self._loudest = 0.0
        self._from = _NONE

    def add(self, mix: NDArray[np.float32], sides: NDArray[np.float32]) -> None:
        """Take in samples: `mix` of shape (n,), `sides` of shape (n, channels)."""
        self._mix = np.concatenate([self._mix, mix])
        self._sides = sides if self._sides is None else np.concatenate([self._sides, sides])
        size = self._limits.block
        whole = len(self._mix) // size * size
        for first in range(0, whole, size):
            self._take(self._mix[first : first + size], self._sides[first : first + size])
        self._mix, self._sides = self._mix[whole:].copy(), self._sides[whole:].copy()

    def finish(self) -> None:
        """Write what still waits."""
        if self._sides is not None and len(self._mix):
            self._take(self._mix, self._sides)
        if self._measured:
            last = self._measured[-1]
            nothing = _Measure(np.zeros_like(last.bands), np.zeros_like(last.powers), None)
            for _ in range(self._limits.window[1]):
                self._decide(nothing)
        while self._decided:
            self._release()
        self._mix, self._sides = self._mix[:0], None

    def _take(self, mix: NDArray[np.float32], sides: NDArray[np.float32]) -> None:
        self._waiting.append((mix, sides))
        count, channels = sides.shape
        spectra = np.fft.rfft(np.ascontiguousarray(sides.T), axis=1)
        edges = [round(hertz * count / SAMPLE_RATE) for hertz in self._limits.bands]
        together = _power(spectra.mean(axis=0))
        unrelated = _power(spectra).sum(axis=0) / channels**2
        bands = [(together[low:high].sum(), unrelated[low:high].sum()) for low, high in itertools.pairwise(edges)]
        powers = np.einsum("nc,nc->c", sides, sides, dtype=np.float64)
        self._decide(_Measure(np.array(bands, dtype=np.float64), powers, spectra))

    def _decide(self, measure: _Measure) -> None:
        """Take in what is known of a block and decide on the one that now has its whole window."""
        before, after = self._limits.window
        self._measured.append(measure)
        if len(self._measured) <= after:
            return
        if len(self._measured) > before + 1 + after:
            self._measured.popleft()
        self._judge(np.sum([each.bands for each in self._measured], axis=0))
        if self._waiting:
            self._decided.append((*self._waiting.popleft(), self._state))
        if len(self._decided) > self._limits.reach:
            self._release()

    def _judge(self, bands: NDArray[np.float64]) -> None:
        """Set the state from what was measured in the window."""
        limits = self._limits
        total = float(bands[:, 1].sum())
        self._loudest = max(self._loudest, total)
        if total <= self._loudest * 10 ** (-limits.depth / 10):
            return
        loud = bands[bands[:, 1] >= limits.faint * total]
        ratios = loud[:, 0] / loud[:, 1]
        if (ratios > limits.agrees).any() or float(bands[:, 0].sum()) > limits.together * total:
            self._state = _NONE
            return
        cancels = ratios < limits.cancels
        enough = int(cancels.sum()) >= limits.least_bands and float(loud[cancels, 1].sum()) >= limits.share * total
        if enough and self._state == _NONE:
            powers = np.sum([measure.powers for measure in self._measured], axis=0)
            if self._is_inverted(*np.argsort(-powers, kind="stable")[:2]):
                self._state = int(np.argmax(powers))

    def _is_inverted(self, one: int, other: int) -> bool:
        """Whether two channels are more alike with opposite sign, at no distance, than with the
        same at some.
        """
        limits = self._limits
        spectra = [measure.spectra for measure in self._measured if measure.spectra is not None]
        spectra = [each for each in spectra if each.shape == spectra[0].shape]  # the last block is a short one
        cross = np.sum([each[one] * each[other].conj() for each in spectra], axis=0)
        likeness = np.fft.irfft(cross / np.sqrt(np.abs(cross) + 1e-30))
        near = np.concatenate([likeness[-limits.nearest :], likeness[: limits.nearest + 1]])
        far = np.concatenate([likeness[-limits.farthest :], likeness[: limits.farthest + 1]])
        return bool(-near.min() >= far.max())

    def _release(self) -> None:
        """Write the first block that is decided on; around a stretch, its channel is taken for a
        while longer.
        """
        mix, sides, own = self._decided.popleft()
        following = [decided for _, _, decided in self._decided]
        source = next((near for near in (own, *following, *reversed(self._written)) if near != _NONE), _NONE)
        self._write(self._pick(mix, sides, source))
        end = self._start + len(mix)
        if own != _NONE:
            if self.stretches and self.stretches[-1][1] == self._start:
                self.stretches[-1] = (self.stretches[-1][0], end)
            else:
                self.stretches.append((self._start, end))
        self._written.append(own)
        self._start = end

    def _pick(self, mix: NDArray[np.float32], sides: NDArray[np.float32], source: int) -> NDArray[np.float32]:
        found = mix if source == _NONE else np.ascontiguousarray(sides[:, source])
        if source != self._from:
            old = mix if self._from == _NONE else sides[:, self._from]
            count = min(self._limits.fade, len(mix))
            found = found.copy()
            new = np.linspace(0.0, 1.0, count, dtype=np.float32)
            found[:count] = old[:count] * (1 - new) + found[:count] * new
            self._from = source
        return found


def _power(spectra: NDArray[Any]) -> NDArray[Any]:
    power: NDArray[Any] = np.square(spectra.real) + np.square(spectra.imag)
    return power

"""Channels that cancel each other: where one side is wired or recorded with the opposite sign, their mix is silence.

In stretches where the mix is far quieter than unrelated channels would give, the louder channel is taken instead. It
is compared after differencing the samples: that takes the low tones down, whose waves are longer than two microphones
are apart and which may therefore cancel in any room.

Guarantees: the mix is untouched, down to the last bit, where channels do not cancel; no clicks; memory does not grow
with the recording; equal recordings give equal results.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PolarityLimits:
    """What counts as cancelling.

    The measure is the power of the mean of the channels over what it would be if they had nothing to do with one
    another: 1 for unrelated channels and for a silent one, 2 for two equal ones, 0 for two of opposite sign.
    """

    block: int = SAMPLE_RATE // 4
    """Samples that are decided on together."""
    window: tuple[int, int] = (1, 2)
    """Blocks before and after that are looked at as well: 1 s in all, a few syllables."""
    cancels: float = 0.4
    """Below this the channels cancel: a correlation of -0.6. Rooms, bands and stereo microphones stay above -0.3 over
    a second."""
    agrees: float = 1.2
    """Above this they do not; between the two, it stays as it was (pauses, in which each channel has its own noise)."""
    reach: int = 2
    """Blocks around a stretch for which the single channel is taken as well: its edges are known to within that."""
    depth: float = 35.0
    """Decibels below the loudest second so far down to which a second is judged: noise that cancels is no speech."""
    fade: int = SAMPLE_RATE // 100
    """Samples over which one source goes over into the other."""


_NONE = -1  # the mix


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
        self._last: NDArray[np.float32] | None = None  # the last sample of each channel, for the difference
        self._waiting: collections.deque[tuple[NDArray[np.float32], NDArray[np.float32]]] = collections.deque()
        self._measured: collections.deque[tuple[float, float, NDArray[np.float64]]] = collections.deque()
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
        for _ in range(self._limits.window[1]):
            self._decide(0.0, 0.0, None)
        while self._decided:
            self._release()
        self._mix, self._sides = self._mix[:0], None

    def _take(self, mix: NDArray[np.float32], sides: NDArray[np.float32]) -> None:
        last = sides[:1] if self._last is None else self._last
        waves = np.diff(sides, axis=0, prepend=last)
        self._last = sides[-1:].copy()
        self._waiting.append((mix, sides))
        together = float(np.square(waves.mean(axis=1)).sum(dtype=np.float64))
        powers = np.square(waves).sum(axis=0, dtype=np.float64)
        self._decide(
            together, float(powers.sum()) / sides.shape[1] ** 2, np.square(sides).sum(axis=0, dtype=np.float64)
        )

    def _decide(self, together: float, unrelated: float, powers: NDArray[np.float64] | None) -> None:
        """Decide on the block that now has its whole window."""
        before, after = self._limits.window
        if powers is None:
            powers = np.zeros_like(self._measured[-1][2]) if self._measured else np.zeros(1)
        self._measured.append((together, unrelated, powers))
        if len(self._measured) <= after:
            return
        if len(self._measured) > before + 1 + after:
            self._measured.popleft()
        together, unrelated = sum(m[0] for m in self._measured), sum(m[1] for m in self._measured)
        self._loudest = max(self._loudest, unrelated)
        if unrelated > self._loudest * 10 ** (-self._limits.depth / 10):
            if together > self._limits.agrees * unrelated:
                self._state = _NONE
            elif together < self._limits.cancels * unrelated and self._state == _NONE:
                self._state = int(np.argmax(sum(m[2] for m in self._measured)))
        if self._waiting:
            self._decided.append((*self._waiting.popleft(), self._state))
        if len(self._decided) > self._limits.reach:
            self._release()

    def _release(self) -> None:
        """Write the first block that is decided on; around a stretch, its channel is taken for a while longer."""
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

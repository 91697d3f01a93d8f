"""Frames of any kind in, 16 kHz mono into the spool, and each channel of several into the one
beside it.

Guarantees: silence and cuts are placed by the number of samples from the start, so that rounding
does not add up; what needs neither stretching nor a choice of channels is what FFmpeg's resampler
gives, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.decoding.levels import LevelLimits, LevelMeter, PeakMeter, is_lossy, scale_frame
from dropscribe.worker.decoding.polarity import PolarityFilter, PolarityLimits
from dropscribe.worker.decoding.stretching import Stretcher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropscribe.worker.decoding.spool import Spool

_BATCH = 1 << 16  # samples given to the resampler at once: a call for each frame costs as much as the decoding
_FLOATS = ("flt", "fltp", "dbl", "dblp")


class Mixer:
    """See the module."""

    def __init__(self, out: Spool, beside: Spool | None, limits: LevelLimits, factor: float = 1.0) -> None:
        """`factor` is what samples in a floating-point format are multiplied with."""
        self.heard = False
        self.channels = 0
        """Channels of the first frame: a header may not know them."""
        self.layout = ""
        """What the channels of the first frame are for."""
        self.rate = 0
        """Hz of the first frame."""
        self.level = LevelMeter(limits)
        self.peaks: PeakMeter | None = None
        """Of a recording in a floating-point format."""
        self.opposed: list[tuple[int, int]] = []
        """Samples in which channels cancel each other and one of them was taken."""
        self._out, self._beside = out, beside
        self._limits, self._factor = limits, factor
        self._kind: tuple[str, str, int] | None = None
        self._resampler: Any = None
        self._splitter: Any = None
        self._pushed = False
        self._fifo: Any = None
        self._sides: NDArray[np.float32] | None = None  # of the channels, what the mix has not got yet
        self._mixed = np.zeros(0, dtype=np.float32)
        self._stretch = 1.0
        self._stretchers: tuple[Stretcher, Stretcher] | None = None
        self._drop = 0  # samples
        self._placed = 0  # samples
        self._sides_count = 0  # channels that `_polarity` looks at
        self._polarity: PolarityFilter | None = None

    @property
    def seconds(self) -> float:
        """Seconds taken in so far."""
        waiting = self._fifo.samples / self._kind[2] if self._fifo is not None and self._kind else 0.0
        return self._placed / SAMPLE_RATE + waiting

    def add(self, frame: Any, codec: str, stretch: float = 1.0) -> None:
        """Take in a frame of the decoder `codec`, at `stretch` times its length."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:  # some streams change in the middle
            self.flush()
            self._begin(frame, kind, codec)
        if stretch != self._stretch:
            self._drain()
            self._stretch = stretch
        frame.pts = None  # the fifo and the resampler would both mind the times; they are minded elsewhere
        self._fifo.write(frame)
        if self._fifo.samples >= _BATCH:
            self._drain()

    def silence(self, until: float) -> None:
        """Add silence up to `until` seconds from the start."""
        self.flush()
        left = round(until * SAMPLE_RATE) - self._placed
        if left > 10 * SAMPLE_RATE:  # no need to write zeros
            self._end_polarity()
            self._out.skip(left)
            self._placed += left
            return
        while left > 0:
            block = min(left, _BATCH)
            zeros = np.zeros(block, dtype=np.float32)
            sides = None if self._polarity is None else np.zeros((block, self._sides_count), np.float32)
            self._place(zeros, sides, silent=True)
            left -= block

    def cut(self, until: float) -> None:
        """Drop the first of the sound that follows, so that it goes on `until` seconds from the
        start.
        """
        self.flush()
        self._drop = max(0, self._placed - round(until * SAMPLE_RATE))

    def flush(self) -> None:
        """Write what still waits in the fifo and in the resampler."""
        if self._resampler is None:
            return
        self._drain()
        if self._pushed:
            self._resample(None)
        if self._stretchers is not None:
            mix, sides = (stretcher.finish() for stretcher in self._stretchers)
            self._place(mix, sides if self._splitter is not None else None)
            self._stretchers = None
        self._stretch = 1.0
        self._mixed, self._sides = self._mixed[:0], None
        self._kind = self._resampler = self._splitter = self._fifo = None

    def finish(self) -> None:
        """Write all that waits."""
        self.flush()
        self._end_polarity()

    def map_mix(self, *, writable: bool = False) -> NDArray[np.float32]:
        """Return the mix, after `finish`."""
        return self._out.map(writable=writable)

    def map_channels(self, *, writable: bool = False) -> NDArray[np.float32] | None:
        """Return the channels, if they were kept."""
        if self._beside is None:
            return None
        self._catch_up(self._beside)
        return self._beside.map(self.channels, writable=writable)

    def _begin(self, frame: Any, kind: tuple[str, str, int], codec: str) -> None:
        # To integers: only then are the channels averaged; to floats they are added, and clip.
        self._resampler = av.AudioResampler(format="s32", layout="mono", rate=SAMPLE_RATE)
        self._fifo = av.AudioFifo()
        self._kind = kind
        self._pushed = False
        channels = len(frame.layout.channels)
        if self._sides_count != channels:
            self._end_polarity()
        self.channels = self.channels or channels
        self.layout = self.layout or str(frame.layout.name)
        self.rate = self.rate or int(frame.sample_rate)
        if kind[0] in _FLOATS and self.peaks is None:
            self.peaks = PeakMeter(self._limits, lossy=is_lossy(codec))
        if channels == 1 or channels != self.channels:
            self._beside = None
        if channels > 1:
            self._splitter = av.AudioResampler(format="s32", layout=frame.layout, rate=SAMPLE_RATE)
            self._sides_count = channels
            if self._polarity is None:
                self._polarity = PolarityFilter(self._write, PolarityLimits(), self._placed)
        if self._beside is not None:
            self._catch_up(self._beside)

    def _catch_up(self, beside: Spool, coming: int = 0) -> None:
        """Put the silence that went into the mix, before the last `coming` samples, into the
        channels as well.
        """
        if missing := self._placed - coming - beside.samples:
            beside.skip(missing, self.channels)

    def _drain(self) -> None:
        """Send what is in the fifo through the resampler."""
        if not self._fifo.samples:
            return
        frame = self._fifo.read()
        if self.peaks is not None and self._kind is not None and self._kind[0] in _FLOATS:
            frame, samples = scale_frame(frame, self._factor)
            self.peaks.add(samples)
            frame.pts = None
        self._resample(frame)

    def _resample(self, frame: Any) -> None:
        self._pushed = True
        mixed = [self._mixed, *(_to_floats(made).reshape(-1) for made in self._resampler.resample(frame))]
        mix = mixed[1] if len(mixed) == 2 and not len(self._mixed) else np.concatenate(mixed)
        if self._splitter is None:
            self._shape(mix, None)
            return
        channels = len(self._splitter.layout.channels)
        split = [_to_floats(made).reshape(-1, channels) for made in self._splitter.resample(frame)]
        split = split if self._sides is None else [self._sides, *split]
        sides = np.concatenate(split) if split else np.zeros((0, channels), np.float32)
        both = min(len(mix), len(sides))
        self._mixed, self._sides = mix[both:], sides[both:]
        self._shape(mix[:both], sides[:both])

    def _shape(self, mix: NDArray[np.float32], sides: NDArray[np.float32] | None) -> None:
        """Stretch what is to be stretched."""
        if self._stretch != 1.0 and self._stretchers is None:
            self._stretchers = (Stretcher(), Stretcher())
        if self._stretchers is not None:
            mix = self._stretchers[0].add(mix, self._stretch)
            sides = None if sides is None else self._stretchers[1].add(sides, self._stretch)
        self._place(mix, sides)

    def _place(self, mix: NDArray[np.float32], sides: NDArray[np.float32] | None, *, silent: bool = False) -> None:
        if self._drop and not silent:
            dropped = min(self._drop, len(mix))
            self._drop -= dropped
            mix = mix[dropped:]
            sides = None if sides is None else sides[dropped:]
        if not len(mix):
            return
        self._placed += len(mix)
        if not silent:
            self.heard = True
        if sides is None or self._polarity is None:
            self._end_polarity()
            self._write(mix)
            return
        self._polarity.add(mix, sides)
        if self._beside is not None and not silent:
            self._catch_up(self._beside, len(mix))
            self._beside.write(np.ascontiguousarray(sides))

    def _end_polarity(self) -> None:
        if self._polarity is not None:
            self._polarity.finish()
            self.opposed += self._polarity.stretches
            self._polarity = None

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._out.write(np.ascontiguousarray(samples))
        self.level.add(samples)


def _to_floats(frame: Any) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = frame.to_ndarray().astype(np.float32)
    samples *= np.float32(2.0**-31)
    return samples

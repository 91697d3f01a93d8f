"""What is transcribed of a recording: its samples, and where somebody speaks in them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from dropscribe import protocol
from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker.vad import Span
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.transcript import Notice, Segment
    from dropscribe.worker.windows import Cutting


@dataclass(frozen=True, slots=True)
class Speech:
    """The mix of all channels, or the channels one after the other with silence between, and the
    speech in it.

    In the second form a recording with one speaker a channel is one long sound: the later stages
    need to know nothing of channels. The methods lead back to the recording.
    """

    samples: NDArray[np.float32]
    """Shape (samples,), 16 kHz: a read-only map of the spool file."""
    length: int
    """Samples of the recording."""
    channel_spans: tuple[tuple[Span, ...], ...]
    """Where somebody speaks in `samples`, in order, for each channel (or the mix)."""
    stride: int = 0
    """Samples, a whole number of seconds, from the start of one channel to that of the next; 0 for
    the mix."""
    speakers: tuple[str, ...] = ()
    """Who speaks on each channel; none for the mix."""
    notices: tuple[Notice, ...] = ()

    @classmethod
    def from_protocol(cls, found: protocol.SpeechFound, spool: Path) -> Self:
        """Return what `to_protocol` gave, the samples mapped from the spool file. Raises: OSError."""
        return cls(
            np.memmap(spool, dtype=np.float32, mode="r", shape=(found.samples,)),
            found.length,
            tuple(tuple(Span(start, end) for start, end in spans) for spans in found.channel_spans),
            found.stride,
            found.speakers,
            found.notices,
        )

    def to_protocol(self) -> protocol.SpeechFound:
        """Return all but the samples, for another process."""
        return protocol.SpeechFound(
            samples=len(self.samples),
            length=self.length,
            channel_spans=tuple(tuple((span.start, span.end) for span in spans) for spans in self.channel_spans),
            stride=self.stride,
            speakers=self.speakers,
            notices=self.notices,
        )

    @property
    def spans(self) -> list[Span]:
        """Where somebody speaks, in all channels."""
        return [span for spans in self.channel_spans for span in spans]

    @property
    def seconds(self) -> float:
        """Seconds in which somebody speaks; of two who speak at once, both count."""
        return sum(span.end - span.start for span in self.spans) / SAMPLE_RATE

    def find_channel(self, sample: int) -> int:
        """Return the channel that a sample belongs to."""
        return sample // self.stride if self.stride else 0

    def cut_windows(self, cutting: Cutting | None = None) -> list[Window]:
        """Return the windows of all channels in order of their time in the recording."""
        found = []
        for channel, spans in enumerate(self.channel_spans):
            low, high = channel * self.stride, channel * self.stride + self.length
            found += [window.cut(0, low, high) for window in cut_windows(self.samples, spans, cutting)]
        found.sort(key=self.sort_key)
        return [dataclasses.replace(window, index=index) for index, window in enumerate(found)]

    def sort_key(self, window: Window) -> tuple[int, int]:
        """Return what windows are ordered by: the first sample in the recording, then the
        channel.
        """
        return self.find_bounds(window)[0], self.find_channel(window.start)

    def find_edges(self, window: Window) -> tuple[int, ...]:
        """Return the edges of a window in samples of the recording."""
        shift = self.find_channel(window.start) * self.stride
        return tuple(edge - shift for edge in window.edges)

    def find_bounds(self, window: Window) -> tuple[int, int]:
        """Return the first sample of a window and the one past its last, in samples of the
        recording.
        """
        edges = self.find_edges(window)
        return edges[0], edges[-1]

    def to_recording(
        self, window: Window, segments: Sequence[Segment], notices: Sequence[Notice] = ()
    ) -> tuple[list[Segment], list[Notice]]:
        """Return the segments and notices of a window with times of the recording, and with who
        speaks.
        """
        if not self.speakers:
            return list(segments), list(notices)
        channel = self.find_channel(window.start)
        shift, speaker = channel * self.stride // SAMPLE_RATE, self.speakers[channel]

        def move(seconds: float) -> float:
            return max(0.0, round(seconds - shift, 3))

        moved = [
            dataclasses.replace(
                segment,
                start=move(segment.start),
                end=move(segment.end),
                speaker=speaker,
                words=tuple(
                    dataclasses.replace(word, start=move(word.start), end=move(word.end), speaker=speaker)
                    for word in segment.words
                ),
            )
            for segment in segments
        ]
        return moved, [dataclasses.replace(n, start=move(n.start), end=move(n.end)) for n in notices]

"""One speaker a channel: whether a recording is made so, and its channels as sounds of their own.

Guarantees: a recording that is not sure to have one speaker a channel is left alone; what came across from another
channel is silent; memory does not grow with the recording beyond some bytes for each 32 ms and channel; equal
recordings give equal sounds, so work goes on where it was.

The channels of a call or an interview, laid one after the other, are one long sound: whoever transcribes it needs to
know nothing of channels. `Sound` leads back from there.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.transcript import Notice
from dropscribe.worker import decoding, vad
from dropscribe.worker.vad import FRAME, Cutting, Span, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.transcript import Segment
    from dropscribe.worker.decoding import Decoded

_STRETCH = 4  # frames that are looked at together to tell what kind of recording it is
_UNLIKE = (
    0.15  # correlation of two waves up to which they are taken for two voices: 0.02 to 0.07 was seen, in rooms 0.45
)
_LOOKS = 200  # stretches whose waves are compared
_DELAY = 192  # samples (12 ms) between two microphones in one room
_BLOCK = 2048  # frames that are worked on at once: 65 s
_GAP = 2  # seconds of silence between two channels laid one after the other
_QUIET = -100.0  # decibels of what is taken for nothing
_DEAD = 45.0  # decibels below the loudest channel from which on one is taken for unused
_ACTIVE = 20.0  # decibels below its speaking level down to which a channel may count as being spoken in
_AHEAD = 8.0  # decibels by which a channel must be louder than every other to be the one spoken in
_SHARE = 0.5  # of the active time, in which some channel is that much ahead
_ALIKE = 0.4  # correlation of two channels' levels, from which on they hear the same room
_LEAST = 1.0  # seconds of speech that at least two channels must have for themselves
_ABOVE = 6.0  # decibels over what comes across from the others that are somebody's own voice
_DECAY = 2.0  # decibels a frame (60 in a second) by which what comes across may die away
_NEAR = 6  # frames (0.2 s) around speech that are left as they are
_FADE = 160  # samples (10 ms) over which sound is faded
_SHORTEST = 0.1  # seconds; what is left of speech after what came across is taken off must last so long


@dataclass(frozen=True, slots=True)
class Sound:
    """What is transcribed: the mix of all channels, or the channels one after the other, with silence between."""

    samples: NDArray[np.float32]
    """Shape (samples,), 16 kHz: a read-only map of the spool file."""
    length: int
    """Samples of the recording."""
    speech: tuple[tuple[Span, ...], ...]
    """Where somebody speaks in `samples`, in order, for each channel (or the mix)."""
    stride: int = 0
    """Samples, a whole number of seconds, from the start of one channel to that of the next; 0 for the mix."""
    speakers: tuple[str, ...] = ()
    """Who speaks on each channel; none for the mix."""
    notices: tuple[Notice, ...] = ()

    @property
    def spans(self) -> list[Span]:
        """Where somebody speaks, in all channels."""
        return [span for spans in self.speech for span in spans]

    @property
    def speech_s(self) -> float:
        """Seconds in which somebody speaks; of two who speak at once, both count."""
        return sum(span.end - span.start for span in self.spans) / SAMPLE_RATE

    def channel(self, position: int) -> int:
        """Return the channel that a sample belongs to."""
        return position // self.stride if self.stride else 0

    def windows(self, cutting: Cutting | None = None) -> list[Window]:
        """Return the windows of all channels in order of their time in the recording."""
        found = []
        for channel, spans in enumerate(self.speech):
            low, high = channel * self.stride, channel * self.stride + self.length
            found += [window.part(0, low, high) for window in windows(self.samples, spans, cutting)]
        found.sort(key=self.place)
        return [dataclasses.replace(window, index=index) for index, window in enumerate(found)]

    def place(self, window: Window) -> tuple[int, int]:
        """Return the first sample of a window in the recording, and its channel: what windows are ordered by."""
        return self.times(window)[0], self.channel(window.start)

    def edges(self, window: Window) -> list[int]:
        """Return the edges of a window as they are counted in the recording."""
        shift = self.channel(window.start) * self.stride
        return [edge - shift for edge in window.edges]

    def times(self, window: Window) -> tuple[int, int]:
        """Return the first sample of a window and the one past its last as they are counted in the recording."""
        edges = self.edges(window)
        return edges[0], edges[-1]

    def told(
        self, window: Window, segments: Sequence[Segment], notices: Sequence[Notice] = ()
    ) -> tuple[list[Segment], list[Notice]]:
        """Return the segments and notices of a window with times of the recording, and with who speaks."""
        if not self.speakers:
            return list(segments), list(notices)
        channel = self.channel(window.start)
        shift, who = channel * self.stride // SAMPLE_RATE, self.speakers[channel]

        def moved(seconds: float) -> float:
            return max(0.0, round(seconds - shift, 3))

        spoken = [
            dataclasses.replace(
                segment,
                start=moved(segment.start),
                end=moved(segment.end),
                speaker=who,
                words=tuple(
                    dataclasses.replace(word, start=moved(word.start), end=moved(word.end), speaker=who)
                    for word in segment.words
                ),
            )
            for segment in segments
        ]
        return spoken, [dataclasses.replace(n, start=moved(n.start), end=moved(n.end)) for n in notices]


def heard(
    decoded: Decoded,
    spool: Path,
    names: Sequence[str] = (),
    split: str = "auto",
    *,
    threshold: float = vad.THRESHOLD,
    heartbeat: Callable[[float], None] | None = None,
) -> Sound:
    """Return what is to be transcribed of a decoded recording, and where somebody speaks in it.

    Args:
        decoded: With `apart`, unless the channels are not wanted.
        spool: The file that `decoded.samples` lies in: the channels take the place of the mix if it is split.
        names: Who speaks on each channel. Two or more say that there is one speaker a channel.
        split: `auto`, `always`, or `never`.
        threshold: The probability from which on sound is speech; 0 for all of it.
        heartbeat: Called now and then with seconds of sound worked on.

    Raises: EnvironmentFaultError `vad-missing`, `disk-full`, `spool-failed`.
    """
    try:
        found = _split(decoded, spool, names, split, threshold, heartbeat) if decoded.apart is not None else None
    finally:
        decoding.beside(spool).unlink(missing_ok=True)
    if isinstance(found, Sound):
        return found
    spans = tuple(vad.spans(decoded.samples, threshold=threshold, heartbeat=heartbeat))
    return Sound(decoded.samples, len(decoded.samples), (spans,), notices=() if found is None else (found,))


def _split(
    decoded: Decoded,
    spool: Path,
    names: Sequence[str],
    split: str,
    threshold: float,
    heartbeat: Callable[[float], None] | None,
) -> Sound | Notice | None:
    apart = decoded.apart
    if split == "never" or apart is None:
        return None
    told = split == "always" or len(names) > 1
    # The channels of 5.1 and the like have a meaning of their own.
    if not told and decoded.channels > 2 and not decoded.layout.endswith("channels"):
        return None
    levels = loudness(apart, heartbeat=heartbeat)
    if told:
        if same(levels):
            detail = "All channels hold the same sound, so it was transcribed as one."
            return Notice("channels-alike", 0.0, round(decoded.seconds, 3), detail)
    elif not separate(apart, levels):
        return None
    leaks = across(levels)
    speech_of = []
    for channel in range(decoded.channels):
        sound = apart[:, channel]
        own = vad.probabilities(sound, heartbeat=heartbeat)
        own[leaks[:, channel]] = -1.0  # below every threshold
        speech_of.append(vad.spans_of(own, sound, _SHORTEST, threshold))
    lengths = [sum(span.end - span.start for span in spans) / SAMPLE_RATE for spans in speech_of]
    if not told and sum(length >= _LEAST for length in lengths) < 2:
        return None
    stride = (math.ceil(len(apart) / SAMPLE_RATE) + _GAP) * SAMPLE_RATE
    samples = decoding.rewritten(spool, _laid(apart, speech_of, stride, heartbeat))
    return Sound(
        samples,
        len(apart),
        tuple(
            tuple(Span(s.start + stride * channel, s.end + stride * channel) for s in spans)
            for channel, spans in enumerate(speech_of)
        ),
        stride,
        tuple((names[c] if c < len(names) else "") or f"Speaker {c + 1}" for c in range(decoded.channels)),
    )


def loudness(apart: NDArray[np.float32], *, heartbeat: Callable[[float], None] | None = None) -> NDArray[np.float32]:
    """Return the level of each frame of `FRAME` samples in each channel, in decibels of full scale.

    Shape (ceil(samples / FRAME), channels). `apart` has shape (samples, channels) and may be a memory map.
    """
    samples, channels = apart.shape
    found = np.empty((math.ceil(samples / FRAME), channels), dtype=np.float32)
    for first in range(0, len(found), _BLOCK):
        block = np.asarray(apart[first * FRAME : (first + _BLOCK) * FRAME], dtype=np.float32)
        frames = math.ceil(len(block) / FRAME)
        padded = np.zeros((frames * FRAME, channels), dtype=np.float32)
        padded[: len(block)] = block
        power = np.square(padded.reshape(frames, FRAME, channels)).mean(axis=1)
        found[first : first + frames] = 10 * np.log10(power + 10 ** (_QUIET / 10))
        if heartbeat is not None:
            heartbeat(min(samples, (first + frames) * FRAME) / SAMPLE_RATE)
    return found


def _relative(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return levels below each channel's speaking level, so that how loud a channel was recorded does not count.

    A channel in which nothing is ever near as loud as in the others is taken for unused, and stays where it is.
    """
    top = np.percentile(levels, 99.5, axis=0)
    live = top > max(top.max() - _DEAD, _QUIET + _ACTIVE)
    reference: NDArray[np.float32] = np.where(live, top, top.max()).astype(np.float32)
    return levels - reference


def _smooth(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the levels of longer stretches, each of `_STRETCH` frames."""
    whole = levels[: len(levels) // _STRETCH * _STRETCH].reshape(-1, _STRETCH, levels.shape[1])
    power = np.power(np.float32(10), whole / 10).mean(axis=1)
    return np.asarray(10 * np.log10(power + 1e-12), dtype=np.float32)


def _active(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the relative levels of the stretches in which a channel may be spoken in, and which ones these are."""
    relative = _smooth(levels)
    relative = _relative(relative) if len(relative) else relative
    which = np.flatnonzero(relative.max(axis=1, initial=-np.inf) > -_ACTIVE)
    return relative[which], which


def separate(apart: NDArray[np.float32], levels: NDArray[np.float32]) -> bool:
    """Whether `apart`, shape (samples, channels), looks like one speaker a channel; `levels` is its `loudness`.

    It does if most of the time one channel is clearly ahead of all others, not always the same one, and the levels of
    no two channels go up and down together. In a room both sides hear everybody; in music both sides play on. Where
    no channel is ahead, two speak at once if the sound of one has nothing to do with that of the other.
    """
    active, which = _active(levels)
    if len(active) * _STRETCH * FRAME < 2 * _LEAST * SAMPLE_RATE or _together(active) >= _ALIKE:
        return False
    order = np.argsort(active, axis=1)
    ahead = np.diff(np.take_along_axis(active, order[:, -2:], axis=1), axis=1)[:, 0] >= _AHEAD
    turns = np.bincount(order[ahead, -1], minlength=active.shape[1])
    at_once = np.flatnonzero(~ahead)
    if at_once.size and _likeness(apart, which[at_once], order[at_once, -2:]) < _UNLIKE:
        turns += np.bincount(order[at_once, -2:].ravel(), minlength=active.shape[1])
        ahead[at_once] = True
    seconds = turns * (_STRETCH * FRAME / SAMPLE_RATE)
    spoken = seconds >= max(_LEAST / 2, 0.01 * seconds.sum())
    return float(ahead.mean()) >= _SHARE and int(spoken.sum()) > 1


def _likeness(apart: NDArray[np.float32], which: NDArray[np.intp], pairs: NDArray[np.intp]) -> float:
    """Return how alike the waves of two channels are in these stretches: 1 for the same, 0 for strangers.

    The median of the highest correlation at any delay up to 12 ms (4 m), of the differences between samples: these
    hold less of the low tones, in which all sounds are alike. Not all of many stretches are looked at.
    """
    size, some = _STRETCH * FRAME, np.linspace(0, len(which) - 1, min(len(which), _LOOKS)).astype(np.intp)
    found = []
    for stretch, pair in zip(which[some], pairs[some], strict=True):
        wave = np.diff(np.asarray(apart[stretch * size : (stretch + 1) * size][:, pair], dtype=np.float32), axis=0)
        spectra = np.fft.rfft(wave, 2 * size, axis=0)
        cross = np.fft.irfft(spectra[:, 0] * spectra[:, 1].conj())
        power = float(np.sqrt(np.square(wave).sum(axis=0).prod()))
        found.append(float(np.abs(np.concatenate([cross[-_DELAY:], cross[:_DELAY]])).max()) / (power + 1e-12))
    return float(np.median(found))


def same(levels: NDArray[np.float32]) -> bool:
    """Whether all channels hold the same sound, be it louder in one of them."""
    active, _ = _active(levels)
    spread = active.max(axis=1, initial=-np.inf) - active.min(axis=1, initial=np.inf)
    return bool(len(active)) and bool((spread < 3.0).mean() > 0.95)


def _together(active: NDArray[np.float32]) -> float:
    """Return the highest correlation between the levels of two channels in use; -1 when there are none."""
    floored = np.maximum(active, -40.0)
    used = floored[:, floored.std(axis=0) > 0.1]
    if used.shape[1] < 2:
        return -1.0
    found = np.corrcoef(used.T)
    return float(found[~np.eye(len(found), dtype=bool)].max())


def across(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return in which frames what a channel holds came across from another one; shape (frames, channels).

    How much comes across is learned from the stretches in which the other channel is spoken in: half of them are
    below that. A frame that is not `_ABOVE` louder than this is not the channel's own voice. What comes across may
    be a little late, and dies away more slowly than the voice itself.
    """
    relative = _relative(levels)
    found = np.zeros(levels.shape, dtype=np.bool_)
    for other in range(levels.shape[1]):
        envelope = _dying(relative[:, other])
        speaks = relative[:, other] > -_ACTIVE
        for channel in range(levels.shape[1]):
            if channel == other:
                continue
            alone = speaks & (relative[:, other] - relative[:, channel] >= _AHEAD)
            if not alone.any():
                continue
            comes = float(np.median(relative[alone, channel] - relative[alone, other]))
            found[:, channel] |= relative[:, channel] < envelope + comes + _ABOVE
    return found


def _dying(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the level with each fall slowed down to `_DECAY` a frame, and two frames early."""
    early = np.maximum(level, np.concatenate([level[1:], level[-1:]]))
    # The highest of all levels before, each lowered by its age.
    age = _DECAY * np.arange(len(level), dtype=np.float64)
    return (np.maximum.accumulate(early + age) - age).astype(np.float32)


def _laid(
    apart: NDArray[np.float32],
    speech_of: Sequence[Sequence[Span]],
    stride: int,
    heartbeat: Callable[[float], None] | None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the channels one after the other, block by block, silent where only others speak."""
    spoken = np.stack([_spoken(spans, math.ceil(len(apart) / FRAME)) for spans in speech_of])
    smooth = np.full(2 * _FADE + 1, 1 / (2 * _FADE + 1), dtype=np.float32)
    for channel in range(len(speech_of)):
        audible = spoken[channel] | ~np.delete(spoken, channel, axis=0).any(axis=0)
        audible = np.pad(audible, 1, mode="edge").astype(np.float32)
        for first in range(0, len(audible) - 2, _BLOCK):
            frames = audible[first : first + _BLOCK + 2]  # and one on both sides, for the fades
            block = np.array(apart[first * FRAME : (first + _BLOCK) * FRAME, channel], dtype=np.float32)
            if not frames.all():
                gain = np.convolve(np.repeat(frames, FRAME), smooth, mode="same")
                block *= gain[FRAME : FRAME + len(block)]
            yield block
            if heartbeat is not None:
                heartbeat((first * FRAME + len(block)) / SAMPLE_RATE)
        yield np.zeros(stride - len(apart), dtype=np.float32)


def _spoken(spans: Sequence[Span], frames: int) -> NDArray[np.bool_]:
    """Return which frames lie in one of `spans` or near it."""
    found = np.zeros(frames, dtype=np.bool_)
    for span in spans:
        found[max(0, span.start // FRAME - _NEAR) : math.ceil(span.end / FRAME) + _NEAR] = True
    return found

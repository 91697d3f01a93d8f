"""The stage "detect speech": of all channels together, or of each where every channel has a
speaker of its own.

Guarantees: the channels of a recording that is not sure to have one speaker a channel are mixed;
what came across from another channel is silent; equal recordings give equal results, so
interrupted work can go on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.transcript import Notice
from dropscribe.worker import channel_levels, decoding, vad
from dropscribe.worker.speech import Speech
from dropscribe.worker.vad import FRAME, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.worker.decoding import Decoded

_GAP_S = 2  # seconds of silence between two channels that follow each other
_NEAR_FRAMES = 6  # frames (0.2 s) around speech that are left as they are
_FADE = 160  # samples (10 ms) over which sound is faded
_SHORTEST_S = 0.1  # seconds; what is left of a span without crosstalk must last longer


def detect_speech(
    decoded: Decoded,
    spool: Path,
    names: Sequence[str] = (),
    split: str = "auto",
    *,
    threshold: float = vad.THRESHOLDS.begin,
    heartbeat: Callable[[float], None] | None = None,
) -> Speech:
    """Return what is to be transcribed of a decoded recording, and where somebody speaks in it.

    Args:
        decoded: With its channels, unless they are not wanted.
        spool: The file that `decoded.samples` maps: the channels take the place of the mix if it
            is split.
        names: Who speaks on each channel. Two or more say that there is one speaker a channel.
        split: `auto`, `always`, or `never`.
        threshold: The probability from which on sound is speech; 0 for all of it.
        heartbeat: Called now and then with seconds of sound worked through.

    Raises: EnvironmentFaultError `vad-missing`, `disk-full`, `spool-failed`.
    """
    try:
        found = None
        if decoded.channel_samples is not None:
            found = _split_channels(decoded, spool, names, split, threshold, heartbeat)
    finally:
        decoding.channels_path(spool).unlink(missing_ok=True)
    if isinstance(found, Speech):
        return found
    spans = tuple(vad.detect_speech(decoded.samples, threshold=threshold, heartbeat=heartbeat))
    return Speech(decoded.samples, len(decoded.samples), (spans,), notices=() if found is None else (found,))


def _split_channels(
    decoded: Decoded,
    spool: Path,
    names: Sequence[str],
    split: str,
    threshold: float,
    heartbeat: Callable[[float], None] | None,
) -> Speech | Notice | None:
    """Return the channels one after the other; a notice or None where they are to be mixed."""
    separate = decoded.channel_samples
    if split == "never" or separate is None:
        return None
    asked = split == "always" or len(names) > 1
    # The channels of 5.1 and the like have a meaning of their own.
    if not asked and decoded.channels > 2 and not decoded.layout.endswith("channels"):
        return None
    levels = channel_levels.measure_levels(separate, heartbeat=heartbeat)
    if asked:
        if channel_levels.are_same(levels):
            detail = "All channels hold the same sound, so it was transcribed as one."
            return Notice("channels-alike", 0.0, round(decoded.seconds, 3), detail)
    elif not channel_levels.has_speaker_per_channel(separate, levels):
        return None
    crosstalk = channel_levels.find_crosstalk(levels)
    channel_spans = []
    for channel in range(decoded.channels):
        sound = separate[:, channel]
        probabilities = vad.estimate_probabilities(sound, heartbeat=heartbeat)
        probabilities[crosstalk[:, channel]] = -1.0  # below every threshold
        channel_spans.append(vad.find_spans(probabilities, sound, _SHORTEST_S, threshold))
    lengths = [sum(span.end - span.start for span in spans) / SAMPLE_RATE for spans in channel_spans]
    if not asked and sum(length >= channel_levels.SPLIT_RULES.least_s for length in lengths) < 2:
        return None
    stride = (math.ceil(len(separate) / SAMPLE_RATE) + _GAP_S) * SAMPLE_RATE
    samples = decoding.rewrite_spool(spool, _render(separate, channel_spans, stride, heartbeat))
    return Speech(
        samples,
        len(separate),
        tuple(
            tuple(Span(s.start + stride * channel, s.end + stride * channel) for s in spans)
            for channel, spans in enumerate(channel_spans)
        ),
        stride,
        tuple((names[c] if c < len(names) else "") or f"Speaker {c + 1}" for c in range(decoded.channels)),
    )


def _render(
    separate: NDArray[np.float32],
    channel_spans: Sequence[Sequence[Span]],
    stride: int,
    heartbeat: Callable[[float], None] | None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the channels one after the other, block by block, silent where only others speak."""
    spoken = np.stack([_find_spoken_frames(spans, math.ceil(len(separate) / FRAME)) for spans in channel_spans])
    smooth = np.full(2 * _FADE + 1, 1 / (2 * _FADE + 1), dtype=np.float32)
    for channel in range(len(channel_spans)):
        audible = spoken[channel] | ~np.delete(spoken, channel, axis=0).any(axis=0)
        audible = np.pad(audible, 1, mode="edge").astype(np.float32)
        for first in range(0, len(audible) - 2, channel_levels.BLOCK):
            frames = audible[first : first + channel_levels.BLOCK + 2]  # and one on both sides, for the fades
            block = np.array(
                separate[first * FRAME : (first + channel_levels.BLOCK) * FRAME, channel], dtype=np.float32
            )
            if not frames.all():
                gain = np.convolve(np.repeat(frames, FRAME), smooth, mode="same")
                block *= gain[FRAME : FRAME + len(block)]
            yield block
            if heartbeat is not None:
                heartbeat((first * FRAME + len(block)) / SAMPLE_RATE)
        yield np.zeros(stride - len(separate), dtype=np.float32)


def _find_spoken_frames(spans: Sequence[Span], frames: int) -> NDArray[np.bool_]:
    """Return which frames are in one of `spans` or near it."""
    found = np.zeros(frames, dtype=np.bool_)
    for span in spans:
        found[max(0, span.start // FRAME - _NEAR_FRAMES) : math.ceil(span.end / FRAME) + _NEAR_FRAMES] = True
    return found

"""Recordings as recorders, networks and mixers leave them, made with PyAV: what the tests of the
decoder are fed with.

The sound is a train of beeps, one a second, of a few pitches: where each beep stands after
decoding tells how its time was kept.
"""

from __future__ import annotations

import fractions
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16000
BEEP = 0.2
"""Seconds of a beep, which begins at each whole second."""


def beeps(seconds: float, rate: int = RATE, level: float = 0.3) -> NDArray[np.float32]:
    """Return a tone of `BEEP` s at each whole second, over a soft one that never pauses; shape
    (samples,).
    """
    time = np.arange(round(seconds * rate)) / rate
    wave = level * np.sin(2 * np.pi * 700 * time) * (time % 1 < BEEP)
    return (wave + 0.001 * np.sin(2 * np.pi * 90 * time)).astype(np.float32)


def speechlike(seconds: float, seed: int = 0, level: float = 0.2) -> NDArray[np.float32]:
    """Return noise in the rhythm of syllables with pauses: 0.25 s on, 0.15 s off, over a floor 50
    dB below.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    envelope = np.where(time % 0.4 < 0.25, 1.0, 0.003)
    noise = np.convolve(rng.standard_normal(len(time)), np.ones(4) / 4, mode="same")
    return (level * envelope * noise).astype(np.float32)


def found_beeps(samples: NDArray[np.float32], level: float = 0.3) -> NDArray[np.float64]:
    """Return the seconds at which beeps begin."""
    block = RATE // 200
    loud = np.abs(np.asarray(samples)[: len(samples) // block * block].reshape(-1, block)).max(axis=1) > level / 3
    starts = np.flatnonzero(loud & ~np.concatenate([[False], loud[:-1]])) * block / RATE
    kept: list[float] = []
    for start in starts.tolist():  # a gap inside a beep begins none
        if not kept or start - kept[-1] > 2 * BEEP:
            kept.append(start)
    return np.array(kept)


@dataclass
class Track:
    """One sound track to write."""

    sound: NDArray[np.float32]
    """Shape (samples,) or (channels, samples)."""
    codec: str = "aac"
    language: str = ""
    title: str = ""
    bit_rate: int = 0
    disposition: str = ""
    rate: int = RATE
    place: Callable[[float], float | None] | None = None
    """From the seconds at which a packet lies in the sound to the container's; None loses the
    packet."""
    options: dict[str, str] = field(default_factory=dict)


def write(
    path: Path,
    tracks: Sequence[Track],
    kind: str,
    *,
    picture: Callable[[float], float | None] | None = None,
    seconds: float = 0.0,
    fps: int = 5,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file of the container `kind`; with `seconds` of pictures, whose times `picture`
    moves.
    """
    with av.open(str(path), "w", format=kind, container_options=options or {}) as file:
        packets: list[tuple[fractions.Fraction, Any]] = []
        video: Any = None
        rate = 25 if codec == "mpeg1video" else fps  # it knows only some
        fps = rate
        if seconds:
            video = file.add_stream(codec, rate=rate)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            video.codec_context.time_base = fractions.Fraction(1, rate)
        streams = [_add_track(file, track) for track in tracks]
        if video is not None:
            for number in range(int(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 200, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, fractions.Fraction(1, rate)
                packets += [_moved(packet, picture) for packet in video.encode(frame)]
            packets += [_moved(packet, picture) for packet in video.encode(None)]
        for stream, track in zip(streams, tracks, strict=True):
            packets += [_moved(packet, track.place) for packet in _encode(stream, track)]
        for _, packet in sorted(((t, p) for t, p in packets if p is not None), key=lambda pair: pair[0]):
            file.mux(packet)
    return path


def _add_track(file: Any, track: Track) -> Any:
    layout = "mono" if track.sound.ndim == 1 else {1: "mono", 2: "stereo"}[len(track.sound)]
    stream = file.add_stream(track.codec, rate=track.rate, layout=layout, options=track.options)
    stream.codec_context.time_base = fractions.Fraction(1, track.rate)
    if track.bit_rate:
        stream.bit_rate = track.bit_rate
    if track.language:
        stream.metadata["language"] = track.language
    if track.title:
        stream.metadata["title"] = track.title
    if track.disposition:
        stream.disposition = getattr(av.stream.Disposition, track.disposition)
    return stream


def _encode(stream: Any, track: Track) -> list[Any]:
    sound = np.atleast_2d(track.sound)
    layout = "mono" if len(sound) == 1 else "stereo"
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 320
    resampler = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=track.rate)
    found = []
    for first in range(0, sound.shape[1] - size + 1, size):
        part = np.ascontiguousarray(sound[:, first : first + size])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = track.rate, first, fractions.Fraction(1, track.rate)
        for made in resampler.resample(frame):
            made.pts = first
            found += stream.encode(made)
    return [*found, *stream.encode(None)]


def _moved(packet: Any, place: Callable[[float], float | None] | None) -> tuple[fractions.Fraction, Any]:
    if place is not None:
        seconds = place(float(packet.pts * packet.time_base))
        if seconds is None:
            return fractions.Fraction(0), None
        packet.duration = round(packet.duration * packet.time_base * 1_000_000)
        packet.time_base = fractions.Fraction(1, 1_000_000)
        packet.pts = packet.dts = round(seconds * 1_000_000)
    return packet.dts * packet.time_base, packet


def wave_bytes(
    sound: NDArray[np.float32],
    *,
    bits: int = 16,
    declared: int | None = None,
    riff: int | None = None,
    tail: bytes = b"",
    rate: int = RATE,
) -> bytes:
    """Return a WAV file of shape (samples,) or (channels, samples); `declared` is what its header
    says in bytes.

    `bits` of 32 are floating-point.
    """
    channels = 1 if sound.ndim == 1 else len(sound)
    flat = sound.T.reshape(-1)
    if bits == 32:
        raw = flat.astype("<f4").tobytes()
    elif bits == 24:
        whole = np.clip(np.rint(flat.astype(np.float64) * 2**23), -(2**23), 2**23 - 1).astype("<i4")
        raw = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        raw = np.clip(np.rint(flat * 32767), -32768, 32767).astype("<i2").tobytes()
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 3 if bits == 32 else 1, channels, rate, rate * block, block, bits)
    size = len(raw) if declared is None else declared
    whole_size = 36 + size if riff is None else riff
    return (
        b"RIFF"
        + struct.pack("<I", whole_size & 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size & 0xFFFFFFFF)
        + raw
        + tail
    )

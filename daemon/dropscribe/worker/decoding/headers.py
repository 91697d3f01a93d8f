"""What the header of an uncompressed recording says about its length, and what the file really
holds.

A recorder that lost power, a size that 32 bits cannot hold, a program that wrote into a pipe, two
files joined: the header says ten seconds and the file holds an hour. FFmpeg believes the header.
Here the chunks of WAV (also RF64, BW64 and W64), AIFF and CAF, the boxes of MP4 and the tags of
FLV are walked from the first to the end of the file. What lies behind the declared sound and is no
chunk is sound, and FFmpeg is given a header that says so.

Guarantees: only headers are read; a file whose header is right is given to FFmpeg untouched.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.transcript import Notice
from dropscribe.worker.decoding.recording_file import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.worker.decoding.recording_file import RecordingFile

_UNKNOWN_32 = ((0x7FFFF000, 0x80000000), (0xFFFFF000, 0xFFFFFFFF))
"""Sizes that programs write which do not know the length (SoX, arecord, FFmpeg into a pipe), from
and to."""
_MOST_CHUNKS = 10_000
_MOST_PARTS = 1000
_SHORTEST = 0.1
"""Seconds of sound; less behind the declared sound is padding or a tag of some kind."""
_TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICS")
_CHUNKS = frozenset(
    b"LIST id3  ID3  bext iXML axml fact cue  JUNK PAD  FLLR smpl inst plst afsp _PMX SAUR levl minf elm1 umid DGDA "
    b"MARK COMT NAME AUTH ANNO (c)  INST APPL AESD chan info pakt free uuid strg midi ovvw peak umix olym".split()
)
"""What stands behind the sound, with trailing spaces left out."""


@dataclass(frozen=True, slots=True)
class Header:
    """What was found out about one part."""

    part: Part
    declared: float | None = None
    """Seconds that the header says, where it says something wrong; None where it is right or says
    nothing."""
    missing_bytes: int = 0
    """Bytes of sound that the header promises beyond the end of the file."""
    left_out: int = 0
    """Bytes behind the sound that do not look like sound."""


def examine(file: RecordingFile) -> list[Header]:
    """Return the parts of a file, in order: one, unless recordings were joined."""
    found: list[Header] = []
    position = 0
    while position < file.size and len(found) < _MOST_PARTS:
        header = _examine_at(file, position)
        if header is None:
            break
        found.append(header)
        position = header.part.end
    return found or [Header(Part(0, file.size))]


def notices(header: Header, start: float, seconds: float) -> list[Notice]:
    """Return what a person should know of a part that was decoded to `seconds` s, from `start` on."""
    end = round(start + seconds, 3)
    found = []
    if header.declared is not None and seconds > header.declared + 1.0:
        detail = (
            f"The header says that the recording lasts {header.declared:.1f} s, but the file holds {seconds:.1f} s "
            "of sound (the recorder may have lost power, or the size was too large for the header). All of it was "
            "taken."
        )
        found.append(Notice("longer-than-declared", round(start + header.declared, 3), end, detail))
    if header.missing_bytes:
        detail = f"The file is {header.missing_bytes} bytes shorter than its header says: its end is missing."
        found.append(Notice("shorter-than-declared", end, end, detail))
    if header.left_out:
        detail = (
            f"Behind the sound the file holds {header.left_out} bytes that are no sound of the kind that the header "
            "names; they were left out."
        )
        found.append(Notice("left-out", end, end, detail))
    return found


def _examine_at(file: RecordingFile, position: int) -> Header | None:
    head = file.read_at(position, 40)
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _examine_wave(file, position)
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return _examine_aiff(file, position)
    if head[:16] == _W64_RIFF and head[24:40] == _W64_WAVE:
        return _examine_w64(file, position)
    if head[:4] == b"caff":
        return _examine_caf(file, position)
    if head[4:8] == b"ftyp":
        return _examine_movie(file, position)
    if head[:4] == b".snd":
        # FFmpeg reads on to the end of the file, but minds a size of 0 and takes another one for
        # the length.
        unknown = _is_unknown(int.from_bytes(head[8:12], "big"))
        patches = ((position + 8, b"\xff" * 4),) if unknown else ()
        return Header(Part(position, file.size, patches))
    if head[:4] == b"FLV\1":
        return _examine_flash(file, position)
    return None


# WAV


@dataclass(slots=True)
class _Format:
    """How much a second of sound takes."""

    byte_rate: float = 0.0
    block: int = 1
    pcm_bytes: int = 0
    """Bytes of a sample of plain integers, little-endian; 0 where it is something else."""

    def seconds(self, size: float) -> float | None:
        return size / self.byte_rate if self.byte_rate > 0 else None


def _examine_wave(file: RecordingFile, start: int) -> Header:
    found = _Format()
    long_size: int | None = None
    long_at = 0
    at = start + 12
    for _ in range(_MOST_CHUNKS):
        head = file.read_at(at, 8)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            long_at = at + 16
            long_size = int.from_bytes(file.read_at(long_at, 8), "little")
        elif name == b"fmt ":
            found = _wave_format(file.read_at(at + 8, min(size, 40)))
        elif name == b"data":
            data = at + 8
            wide = size == 0xFFFFFFFF and long_size is not None and file.read_at(start, 4) != b"RIFF"
            declared = long_size if wide and long_size is not None else size
            unknown = declared == 0 or declared >= 1 << 62 if wide else _is_unknown(declared)
            # FFmpeg reads on to the end where the size is the highest.
            field = _Field(long_at, 8, "little") if wide else _Field(at + 4, 4, "little", endless=0xFFFFFFFF)
            return _judge(file, start, _Declared(data, declared, unknown), field, found, _WAVE_CHUNKS)
        at += 8 + size + size % 2
    return Header(Part(start, file.size))


def _wave_format(data: bytes) -> _Format:
    if len(data) < 16:
        return _Format()
    kind, _, _, byte_rate, block, bits = struct.unpack("<HHIIHH", data[:16])
    if kind == 0xFFFE and len(data) >= 26:
        kind = int.from_bytes(data[24:26], "little")
    return _Format(byte_rate, max(1, block), bits // 8 if kind == 1 and bits in {16, 24, 32} else 0)


# AIFF


def _examine_aiff(file: RecordingFile, start: int) -> Header:
    found = _Format()
    at = start + 12
    for _ in range(_MOST_CHUNKS):
        head = file.read_at(at, 8)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:], "big")
        if name == b"COMM":
            data = file.read_at(at + 8, 18)
            if len(data) == 18:
                channels, _, bits = struct.unpack(">HIH", data[:8])
                exponent, mantissa = struct.unpack(">HQ", data[8:18])
                rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16446)
                block = max(1, channels * -(-bits // 8))
                found = _Format(rate * block if rate < 1e7 else 0.0, block)
        elif name == b"SSND":
            unknown = _is_unknown(size) or size <= 8
            stated = _Declared(at + 8, size, unknown, extra=8)
            return _judge(file, start, stated, _Field(at + 4, 4, "big"), found, _AIFF_CHUNKS)
        at += 8 + size + size % 2
    return Header(Part(start, file.size))


# W64

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_WAVE = b"wave" + _W64_TAIL


def _examine_w64(file: RecordingFile, start: int) -> Header:
    found = _Format()
    at = start + 40
    for _ in range(_MOST_CHUNKS):
        head = file.read_at(at, 24)
        if len(head) < 24:
            break
        size = int.from_bytes(head[16:], "little")
        if head[:4] == b"fmt ":
            found = _wave_format(file.read_at(at + 24, 40))
        elif head[:4] == b"data":
            unknown = size <= 24 or size >= 1 << 62
            stated = _Declared(at + 24, size - 24, unknown)
            return _judge(file, start, stated, _Field(at + 16, 8, "little", extra=24), found, _W64_CHUNKS)
        if size < 24:
            break
        at += -(-size // 8) * 8
    return Header(Part(start, file.size))


# CAF


def _examine_caf(file: RecordingFile, start: int) -> Header:
    found = _Format()
    at = start + 8
    for _ in range(_MOST_CHUNKS):
        head = file.read_at(at, 12)
        if len(head) < 12:
            break
        name, size = head[:4], int.from_bytes(head[4:], "big", signed=True)
        if name == b"desc":
            data = file.read_at(at + 12, 24)
            if len(data) == 24:
                (rate,) = struct.unpack(">d", data[:8])
                packet, frames = struct.unpack(">II", data[16:24])
                constant = packet and frames and 0 < rate < 1e7
                found = _Format(rate * packet / frames if constant else 0.0, max(1, packet))
        elif name == b"data":
            if not found.byte_rate:  # of changing size: the table of packets tells where they are
                break
            unknown = size <= 4
            stated = _Declared(at + 12, size, unknown, extra=4)
            return _judge(file, start, stated, _Field(at + 4, 8, "big"), found, _CAF_CHUNKS)
        if size < 0:
            break
        at += 12 + size
    return Header(Part(start, file.size))


# MP4


def _examine_movie(file: RecordingFile, start: int) -> Header:
    """Find where a second movie begins behind the first."""
    at = start
    seen: set[bytes] = set()
    for _ in range(_MOST_CHUNKS):
        head = file.read_at(at, 16)
        if len(head) < 8:
            break
        name, size = head[4:8], int.from_bytes(head[:4], "big")
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        if name == b"ftyp" and {b"moov", b"mdat"} <= seen:
            return Header(Part(start, at))
        if size < 8:
            break
        seen.add(name)
        at += size
    return Header(Part(start, file.size))


# FLV


def _examine_flash(file: RecordingFile, start: int) -> Header:
    """Find where a second file begins behind the first: FFmpeg stops there."""
    at = start + int.from_bytes(file.read_at(start + 5, 4), "big") + 4
    while len(head := file.read_at(at, 4)) == 4:
        if head == b"FLV\1":
            return Header(Part(start, at))
        if head[0] & 0x1F not in {8, 9, 18}:
            break
        at += 11 + int.from_bytes(head[1:], "big") + 4
    return Header(Part(start, file.size))


# What all of them share


@dataclass(frozen=True, slots=True)
class _ChunkForm:
    """How chunks are laid out."""

    name: int
    """Bytes of the name."""
    size: int
    """Bytes of the size."""
    order: str
    align: int
    inclusive: bool = False
    """Whether the size counts the chunk's own head."""
    tail: bytes = b""
    """What every name ends with."""


_WAVE_CHUNKS = _ChunkForm(4, 4, "little", 2)
_AIFF_CHUNKS = _ChunkForm(4, 4, "big", 2)
_W64_CHUNKS = _ChunkForm(16, 8, "little", 8, inclusive=True)
_CAF_CHUNKS = _ChunkForm(4, 8, "big", 1)
_STARTS = (b"RIFF", b"RF64", b"BW64", b"FORM", b"caff", b"riff")


@dataclass(frozen=True, slots=True)
class _Declared:
    """What a header says of the sound."""

    start: int
    """Its first byte."""
    size: int
    unknown: bool
    """Whether the size is one that programs write which do not know it."""
    extra: int = 0
    """Bytes at the start that are no sound."""


@dataclass(frozen=True, slots=True)
class _Field:
    """Where the size is written."""

    at: int
    width: int
    order: str
    extra: int = 0
    """What it counts beyond the sound."""
    endless: int | None = None
    """What makes FFmpeg read on to the end of the file, where there is such a value."""

    def patch(self, size: int) -> tuple[int, bytes]:
        value = min(size + self.extra, 256**self.width - 1) if self.endless is None else self.endless
        return self.at, value.to_bytes(self.width, "little" if self.order == "little" else "big")


def _judge(
    file: RecordingFile, start: int, declared: _Declared, field: _Field, found: _Format, form: _ChunkForm
) -> Header:
    """Compare what a header says with what the file holds."""
    stated = declared.start + declared.size
    end, left_out = _end_of_sound(file, declared, found, form)
    if end == stated:
        following = _next_recording(file, end, form)
        missing = max(0, stated - file.size)
        return Header(Part(start, following or (end if left_out else file.size)), None, missing, left_out)
    said = None if declared.unknown else found.seconds(max(0, declared.size - declared.extra))
    following = _next_recording(file, end, form)
    part = Part(start, following or end, (field.patch(end - declared.start),))
    if following is not None and field.endless is not None:
        part = Part(start, end, part.patches)
    return Header(part, said, 0, left_out)


def _is_unknown(size: int) -> bool:
    return size == 0 or any(low <= size <= high for low, high in _UNKNOWN_32)


def _next_recording(file: RecordingFile, at: int, form: _ChunkForm) -> int | None:
    """Return where another recording begins behind the sound of this one and its chunks; None
    where none does.
    """
    for _ in range(_MOST_CHUNKS):
        for place in sorted({at, -(-at // form.align) * form.align}):
            if file.read_at(place, 4) in _STARTS and _examine_format(file, place):
                return place
        chunk = _read_chunk(file, at, form)
        if chunk is None:
            return None
        at = chunk[1]
    return None


def _examine_format(file: RecordingFile, at: int) -> bool:
    head = file.read_at(at, 40)
    return (
        (head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE")
        or (head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"})
        or (head[:4] == b"caff" and head[4:6] == b"\0\1")
        or head[:16] == _W64_RIFF
    )


def _read_chunk(file: RecordingFile, at: int, form: _ChunkForm) -> tuple[bytes, int] | None:
    """Return a chunk's name and where it ends; None where there is none. A missing pad byte is
    forgiven.
    """
    for place in sorted({-(-at // form.align) * form.align, at}, reverse=True):
        head = file.read_at(place, form.name + form.size)
        name = head[:4]
        if len(head) < form.name + form.size or not all(32 <= letter < 127 for letter in name):
            continue
        size = int.from_bytes(head[form.name :], "little" if form.order == "little" else "big")
        end = place + size + (0 if form.inclusive else len(head))
        known = name.rstrip() in _CHUNKS
        if size < (len(head) if form.inclusive else 0) or (end > file.size + form.align and not known):
            continue
        if known or end <= file.size + form.align:
            return name, end
    return None


def _end_of_sound(file: RecordingFile, declared: _Declared, found: _Format, form: _ChunkForm) -> tuple[int, int]:
    """Return where the sound ends, and how many bytes behind it are no sound."""
    start, size = declared.start, file.size
    last = size - (size - start - declared.extra) % found.block  # without half a sample
    end = start + declared.size
    if declared.unknown and not (declared.size == 0 and _is_followed_well(file, end, form)):
        return last, 0
    if end >= size or _is_followed_well(file, end, form):
        return end, 0
    if form.size == 4:  # of a size that was too large for the header, what is left of it
        for wrapped in range(end + (1 << 32), size + 1, 1 << 32):
            if _is_followed_well(file, wrapped, form):
                return wrapped, 0
    seconds = found.seconds(size - end)
    if seconds is not None and seconds < _SHORTEST:
        return end, 0
    if size - end < 1 << 20 and file.read_at(end, 8).startswith(_TAGS):
        return end, 0
    if not _is_sound(file, start, end, size, found):
        return end, size - end
    return last, 0


def _is_followed_well(file: RecordingFile, end: int, form: _ChunkForm) -> bool:
    """Whether what stands from `end` on is chunks up to the end of the file, or another recording."""
    at = end
    for _ in range(_MOST_CHUNKS):
        if file.size - at < form.name + form.size:
            return True
        if _examine_format(file, at) or _examine_format(file, -(-at // form.align) * form.align):
            return True
        chunk = _read_chunk(file, at, form)
        if chunk is None:
            return False
        at = chunk[1]
    return True


def _is_sound(file: RecordingFile, data: int, end: int, size: int, found: _Format) -> bool:
    """Whether the bytes behind `end` look like sound in plain integers; what is encoded otherwise
    cannot be told.

    Compressed and encrypted data is noise at full scale: neighbours have nothing to do with one
    another. Noise that was recorded is not that loud. Where the declared sound is such noise
    itself, so may the rest be.
    """
    if not found.pcm_bytes:
        return True
    return not _is_random(file, end, size, found) or _is_random(file, data, end, found)


def _is_random(file: RecordingFile, start: int, end: int, found: _Format) -> bool:
    channels = max(1, found.block // found.pcm_bytes)
    length = min(end - start, 4096 * found.block) // found.block * found.block
    places: Sequence[int] = [
        start + (end - start - length) * part // 4 // found.block * found.block for part in range(5)
    ]
    return length > 0 and all(_is_noise(file.read_at(place, length), found.pcm_bytes, channels) for place in places)


def _is_noise(data: bytes, width: int, channels: int) -> bool:
    import numpy as np

    # The highest byte of each sample alone: signed, -128 to 127.
    high = np.frombuffer(data, dtype=np.int8)[width - 1 :: width].astype(np.float64)
    high = high[: len(high) // channels * channels].reshape(-1, channels)
    if len(high) < 64:
        return False
    power = float(np.square(high).mean())
    alike = float((high[1:] * high[:-1]).mean()) / max(power, 1e-9)
    # Evenly spread bytes have a power of 128 * 128 / 3 = 5461.
    return power > 4000 and abs(alike) < 0.2

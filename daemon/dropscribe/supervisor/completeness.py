"""Whether a file is as long as it says of itself: a cheap look at its header, with the standard library alone.

It is for files that are still being written: what is short of its own length is waited for, and transcribed as it is
when nothing more comes. Nothing is refused here, so only what a header says for certain counts. Sizes that mean
"not known" (a stream that could not be wound back) say nothing.

Sources: RIFF, RF64 (EBU Tech 3306), Wave64, AIFF and CAF specifications; ISO/IEC 14496-12 (MP4 boxes); RFC 8794
(EBML); RFC 3533 (Ogg); the ASF specification; the Xing header of MP3 as LAME writes it.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from dropscribe.supervisor.first_bytes import measure_mpeg_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST_PARTS = 10_000
"""Chunks or boxes that are looked at: a file of nothing but tiny ones is left to the decoder."""
_OGG_TAIL = 1 << 17
"""Bytes at the end of an Ogg file in which its last page begins: a page has 65,307 at most."""
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def describe_missing(path: Path) -> str:
    """Return what a file lacks of its own length, as a sentence; empty when nothing is known to be missing.

    Raises: OSError when it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        head = file.read(12)
        if len(head) < 12:
            return ""
        measure = _choose(head)
        try:
            end = measure(file, size) if measure else None
        except (struct.error, IndexError):  # cut inside a header: the part that says how long it is
            return "Its header is cut off." if measure in {_measure_riff, _measure_mp4} else ""
        if isinstance(end, str):
            return end
        if end is not None and end > size:
            return f"It has {size:,} of the {end:,} bytes that its header says."
        return _describe_hole(descriptor, size)


def _choose(head: bytes) -> Callable[[BinaryIO, int], int | str | None] | None:
    """Return what measures a file that begins so; None where nothing does."""
    if head[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return _measure_riff
    if head[:4] == b"FORM":
        return _measure_form
    if head == _W64_RIFF[:12]:
        return _measure_wave64
    if head[:4] == b"caff":
        return _measure_caf
    if head[:4] == b".snd":
        return _measure_au
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"pnot", b"free", b"skip"}:
        return _measure_mp4
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _measure_matroska
    if head == _ASF_HEADER[:12]:
        return _measure_asf
    if head[:4] == b"OggS":
        return _measure_ogg
    if head[:3] == b"ID3" or head[0] == 0xFF:
        return _measure_mp3
    return None


def _is_unknown(length: int) -> bool:
    """Return whether a length of 32 bits stands for one that was not known when it was written."""
    return length == 0 or length >= 0xFFFFFF00 or 0x7FFFF000 <= length <= 0x80001000


def _measure_riff(file: BinaryIO, size: int) -> int | None:
    """Return where the sound ends by its own chunk; of an AVI, where the file ends."""
    file.seek(0)
    kind, whole, form = struct.unpack("<4sI4s", _read(file, 12))
    if form != b"WAVE":
        return None if _is_unknown(whole) else 8 + whole
    position, long_length = 12, None
    for _ in range(_MOST_PARTS):
        if position + 8 > size:
            return None
        file.seek(position)
        name, length = struct.unpack("<4sI", _read(file, 8))
        if name == b"ds64":
            long_length = struct.unpack("<8xQ", _read(file, 16))[0]
        if name == b"data":
            if kind != b"RIFF" and length == 0xFFFFFFFF:
                return position + 8 + long_length if long_length else None
            return None if _is_unknown(length) else position + 8 + length
        position += 8 + length + length % 2
    return None


def _measure_form(file: BinaryIO, _: int) -> int | None:
    file.seek(4)
    length: int = struct.unpack(">I", _read(file, 4))[0]
    return None if _is_unknown(length) else 8 + length


def _measure_wave64(file: BinaryIO, _: int) -> int | None:
    file.seek(16)
    length: int = struct.unpack("<Q", _read(file, 8))[0]
    return None if not length or length >= 1 << 62 else length


def _measure_caf(file: BinaryIO, size: int) -> int | None:
    position = 8
    for _ in range(_MOST_PARTS):
        if position + 12 > size:
            return None
        file.seek(position)
        name, length = struct.unpack(">4sq", _read(file, 12))
        if length < 0:  # of the sound: up to the end, because it was not known
            return None
        position += 12 + length
        if name == b"data" or position > size:
            return int(position)
    return None


def _measure_au(file: BinaryIO, _: int) -> int | None:
    file.seek(4)
    offset, length = struct.unpack(">II", _read(file, 8))
    return None if _is_unknown(length) else offset + length


def _measure_mp4(file: BinaryIO, size: int) -> int | str | None:
    position, indexed = 0, False
    for _ in range(_MOST_PARTS):
        if position + 8 > size:
            break
        file.seek(position)
        length, name = struct.unpack(">I4s", _read(file, 8))
        if length == 1:
            length = struct.unpack(">Q", _read(file, 8))[0]
        if not name.isascii() or (length and length < 8):
            break
        indexed = indexed or name in {b"moov", b"moof"}
        if length == 0:  # up to the end
            break
        position += length
        if position > size:
            return int(position)
    return None if indexed else "Its index, which is written last, is not there (moov)."


def _measure_matroska(file: BinaryIO, size: int) -> int | None:
    file.seek(0)
    data = _read(file, min(size, 4096))
    header, at = _read_ebml_length(data, 4)
    if header is None:
        return None
    at += header
    if data[at : at + 4] != b"\x18\x53\x80\x67":
        return None
    length, at = _read_ebml_length(data, at + 4)
    return None if length is None else at + length


def _read_ebml_length(data: bytes, at: int) -> tuple[int | None, int]:
    """Return a length and where it ends; None for a length that is not known."""
    width = 9 - data[at].bit_length()
    if width > 8 or at + width > len(data):
        raise IndexError
    value = int.from_bytes(data[at : at + width]) & (1 << 7 * width) - 1
    return None if value == (1 << 7 * width) - 1 else value, at + width


def _measure_asf(file: BinaryIO, _: int) -> int | None:
    file.seek(16)
    length = min(struct.unpack("<Q", _read(file, 8))[0], 1 << 20)
    file.seek(0)
    header = file.read(length)
    at = header.find(_ASF_FILE)
    if at < 0:
        return None
    whole, flags = struct.unpack_from("<Q", header, at + 40)[0], struct.unpack_from("<I", header, at + 88)[0]
    return None if flags & 1 or not whole else whole  # 1: it was broadcast, and the length is not valid


def _measure_ogg(file: BinaryIO, size: int) -> int | None:
    """Return where the last page that begins in the file ends."""
    start = max(0, size - _OGG_TAIL)
    file.seek(start)
    data = file.read(_OGG_TAIL)
    at = data.rfind(b"OggS\0")
    if at < 0:
        return None
    segments = data[at + 26] if at + 26 < len(data) else 255
    lengths = data[at + 27 : at + 27 + segments]
    return start + at + 27 + segments + sum(lengths)


def _measure_mp3(file: BinaryIO, _: int) -> int | None:
    """Return where a file with a Xing header ends by that."""
    file.seek(0)
    head, begin = file.read(10), 0
    if head[:3] == b"ID3":
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        begin += 10 * bool(head[5] & 0x10)
    file.seek(begin)
    frame = file.read(256)
    if not measure_mpeg_frame(frame[:4]):
        return None
    mono, newest = frame[3] >> 6 == 3, frame[1] >> 3 & 3 == 3
    at = 4 + {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[newest, mono]
    if frame[at : at + 4] not in {b"Xing", b"Info"}:
        return None
    flags = struct.unpack_from(">I", frame, at + 4)[0]
    if not flags & 2:
        return None
    length = struct.unpack_from(">I", frame, at + 8 + 4 * (flags & 1))[0]
    return begin + length if length else None


def _describe_hole(descriptor: int, size: int) -> str:
    """Return that a part of a file was never written: who copies may have given it its length beforehand."""
    if not size:
        return ""
    try:
        hole = os.lseek(descriptor, 0, os.SEEK_HOLE)
    except (OSError, AttributeError):
        return ""
    return f"From byte {hole:,} on a part of it was never written." if hole < size else ""


def _read(file: BinaryIO, length: int) -> bytes:
    """Return so many bytes. Raises: struct.error when there are fewer."""
    data = file.read(length)
    if len(data) < length:
        raise struct.error
    return data

"""Whether a file without a suffix is a recording: its first bytes, read with the standard library alone.

The marks are those of the containers and streams that FFmpeg reads; sources are the formats' own specifications. A
file that is taken here and is none fails in the decoder with a reason; one that is not taken is passed over, and
`dropscribe why` says so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ_BYTES = 4096
"""Enough for three packets of a transport stream and for two frames of MP3."""
_MARKS = (
    *(b"RF64", b"BW64", b"caff", b"fLaC", b"OggS", b"ID3", b"#!AMR", b".snd", b".RMF", b".ra\xfd", b"wvpk", b"MAC "),
    *(b"TTA1", b"TTA2", b"MPCK", b"MP+", b"Creative Voice File", b"ajkg", b"\x02dss", b"\x03dss", b"\x0b\x77"),
    *(b"NIST_1A", b"DSD ", b"FRM8", b"tBaK", b"ea3", b"FLV\x01", b"TWIN"),
    b"riff\x2e\x91\xcf\x11",  # Sony Wave64
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x7f\xfe\x80\x01",  # DTS
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01",  # MXF
)
_FORMS = {b"RIFF": (b"WAVE", b"AVI ", b"QLCM", b"RMID"), b"FORM": (b"AIFF", b"AIFC", b"8SVX")}
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")
"""The first boxes that a file of the QuickTime family may have."""
_BITRATES = (
    (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""Of MPEG audio in kbit/s by the header's four bits: MPEG-1 layers I, II, III, then MPEG-2 layer I, then II and III.
ISO/IEC 11172-3, 13818-3."""


def is_recording(path: Path) -> bool:
    """Return whether a file begins as a recording does. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return begins_recording(os.read(descriptor, READ_BYTES))
    finally:
        os.close(descriptor)


def begins_recording(data: bytes) -> bool:
    """Return whether these bytes are how a recording begins."""
    return (
        data.startswith(_MARKS)
        or data[8:12] in _FORMS.get(data[:4], ())
        or data[4:8] in _BOXES
        or _is_transport_stream(data)
        or _is_mpeg_audio(data)
        or _is_adts(data)
    )


def _is_transport_stream(data: bytes) -> bool:
    """Return whether three packets in a row have their mark: of 188 bytes, or 4 more before each (M2TS)."""
    return any(data[start : start + 2 * step + 1 : step] == b"GGG" for start, step in ((0, 188), (4, 192)))


def _is_mpeg_audio(data: bytes) -> bool:
    """Return whether a frame of MPEG audio is there, and another one right behind it."""
    length = measure_mpeg_frame(data[:4])
    return length > 0 and measure_mpeg_frame(data[length : length + 4]) > 0


def measure_mpeg_frame(header: bytes) -> int:
    """Return the length in bytes of the frame of MPEG audio that a header of four bytes begins; 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)  # version: 0 is MPEG-2.5, 2 MPEG-2, 3 MPEG-1
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in {0, 15} or rate == 3:
        return 0
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    table = layer - 1 if version == 3 else (3 if layer == 1 else 4)
    kilobits, padding = _BITRATES[table][bits], header[2] >> 1 & 1
    if layer == 1:
        return (12000 * kilobits // hertz + padding) * 4
    return (72000 if layer == 3 and version != 3 else 144000) * kilobits // hertz + padding


def _is_adts(data: bytes) -> bool:
    """Return whether a frame of AAC is there, and another one right behind it. ISO/IEC 13818-7."""
    for _ in range(2):
        if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
            return False
        length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        if length < 7:
            return False
        data = data[length:]
    return True

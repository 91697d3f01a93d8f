"""The decoder and headers that lie: all that is sound is taken, or a notice says what is not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.errors import RecordingFaultError
from dropscribe.worker import decoding
from dropscribe.worker.decoding import headers
from dropscribe.worker.decoding.recording_file import RecordingFile, open_recording
from odd_recordings import RATE, Track, beeps, found_beeps, wave_bytes, write

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
SOUND = beeps(SECONDS)
SIZE = 2 * RATE * SECONDS
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"
NOISE = np.random.default_rng(0).bytes(400_000)


def decode(path: Path) -> decoding.Decoded:
    return decoding.decode(path, path.parent / "spool")


def check(path: Path, seconds: float, *codes: str) -> decoding.Decoded:
    """See that all beeps of `seconds` are in a recording, and that these are its notices."""
    found = decode(path)
    assert found.seconds == pytest.approx(seconds, abs=0.1)
    assert len(found_beeps(found.samples)) == round(seconds)
    assert [notice.code for notice in found.warnings] == list(codes)
    return found


@pytest.mark.parametrize(
    "tail",
    [b"", LIST, b"id3 " + struct.pack("<I", 999) + bytes(999), b"TAG" + bytes(125), LIST[:6], b"\0" * 100],
    ids=["nothing", "chunk", "odd chunk", "tag", "cut chunk", "padding"],
)
def test_what_follows_the_sound_is_not_sound(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND, tail=tail))
    found = decode(path)
    assert len(found.samples) == SECONDS * RATE
    assert found.warnings == ()


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("tail", [b"", LIST], ids=["", "chunk"])
def test_a_wave_file_that_says_too_little_is_read_to_its_end(tmp_path: Path, bits: int, tail: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND, bits=bits, declared=5 * RATE * bits // 8, tail=tail))
    found = check(path, SECONDS, "longer-than-declared")
    assert [found.warnings[0].start, found.warnings[0].end] == pytest.approx([5, SECONDS], abs=0.01)


@pytest.mark.parametrize(
    "size",
    [0, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36],
    ids=lambda size: f"{size:#x}",
)
def test_a_size_that_says_that_it_is_not_known_is_no_lie(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND, declared=size, riff=size))
    check(path, SECONDS)


def test_a_wave_file_that_was_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND, declared=3 * SIZE))
    check(path, SECONDS, "shorter-than-declared")


def test_what_is_no_sound_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND, tail=NOISE))
    found = check(path, SECONDS, "left-out")
    assert "400000 bytes" in found.warnings[0].detail


def test_a_size_that_32_bits_cannot_hold(tmp_path: Path) -> None:
    """Over 4 GB, what is left of the size is small; the chunks behind the true end tell where that
    is.
    """
    path, size = tmp_path / "a.wav", (1 << 32) + SIZE
    with path.open("wb") as file:
        file.write(wave_bytes(np.zeros(0, np.float32), declared=SIZE))
        file.truncate(44 + size)  # a hole in the file
        file.seek(44 + size)
        file.write(LIST)
    with open_recording(path) as opened:
        (header,) = headers.examine(RecordingFile(opened, path))
    assert (header.part.start, header.part.end, header.declared) == (0, 44 + size, SECONDS)


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize(
    ("said", "codes"), [(SIZE, ()), (SIZE // 4, ("longer-than-declared",)), (0, ()), (2**64 - 1, ())]
)
def test_sizes_of_64_bits(tmp_path: Path, magic: bytes, said: int, codes: tuple[str, ...]) -> None:
    raw = wave_bytes(SOUND)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, min(said + 72, 2**64 - 1), said, said // 2, 0)
    path = tmp_path / "a.wav"
    path.write_bytes(magic + b"\xff" * 4 + b"WAVE" + ds64 + raw[12:36] + b"data" + b"\xff" * 4 + raw[44:] + LIST)
    check(path, SECONDS, *codes)


@pytest.mark.parametrize(
    ("kind", "codec", "mark", "offset", "form", "sizes"),
    [
        ("w64", "pcm_s16le", b"data\xf3\xac", 16, "<Q", (24, 24 + SIZE // 4, 2**63 - 1)),
        ("aiff", "pcm_s16be", b"SSND", 4, ">I", (0, 8 + SIZE // 4, 0x7FFFFFFF)),
        ("caf", "pcm_s16le", b"data", 4, ">q", (-1, 4 + SIZE // 4)),
        ("au", "pcm_s16be", b".snd", 8, ">I", (0, SIZE // 4, 0x7FFFFFFF, 0xFFFFFFFF)),
    ],
)
def test_other_containers_with_a_wrong_size(
    tmp_path: Path, kind: str, codec: str, mark: bytes, offset: int, form: str, sizes: tuple[int, ...]
) -> None:
    path = write(tmp_path / f"a.{kind}", [Track(SOUND, codec)], kind)
    right = path.read_bytes()
    check(path, SECONDS)
    for size in sizes:
        data = bytearray(right)
        struct.pack_into(form, data, data.find(mark) + offset, size)
        path.write_bytes(data)
        stale = SIZE // 4 <= size < SIZE and kind != "au"  # of AU nobody minds the size
        check(path, SECONDS, *(["longer-than-declared"] if stale else []))


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("wav", "pcm_s16le", RATE),
        ("w64", "pcm_s16le", RATE),
        ("aiff", "pcm_s16be", RATE),
        ("caf", "pcm_s16le", RATE),
        ("mp4", "aac", 44100),
        ("mp3", "mp3", 44100),
        ("adts", "aac", 44100),
        ("ogg", "libopus", 48000),
        ("flac", "flac", RATE),
        ("matroska", "aac", 44100),
    ],
)
def test_files_joined_end_to_end_are_all_transcribed(tmp_path: Path, kind: str, codec: str, rate: int) -> None:
    path = write(tmp_path / "a.bin", [Track(beeps(SECONDS, rate), codec, rate=rate)], kind)
    path.write_bytes(path.read_bytes() * 2)
    found = decode(path)
    assert found.seconds == pytest.approx(2 * SECONDS, abs=0.2)
    assert len(found_beeps(found.samples)) == 2 * SECONDS
    assert {notice.code for notice in found.warnings} <= {"clock-jump", "damaged"}


def test_joined_files_may_be_of_different_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND) + wave_bytes(np.stack([beeps(SECONDS, 44100)] * 2), bits=24, rate=44100))
    found = check(path, 2 * SECONDS)
    assert found.channels == 1


def test_a_joined_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    second = bytearray(wave_bytes(SOUND))
    second[20:22] = b"\x99\x99"  # no format that anybody knows
    path = tmp_path / "a.wav"
    path.write_bytes(wave_bytes(SOUND) + second)
    check(path, SECONDS, "left-out")


@pytest.mark.parametrize("frames", [50, 100_000])
def test_an_mp3_header_with_a_wrong_length_loses_and_tells_nothing(tmp_path: Path, frames: int) -> None:
    path = write(tmp_path / "a.mp3", [Track(beeps(SECONDS, 44100), "mp3", rate=44100)], "mp3")
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, max(data.find(b"Xing"), data.find(b"Info")) + 8, frames)
    path.write_bytes(data)
    check(path, SECONDS)


@pytest.mark.parametrize("samples", [0, 5 * RATE])
def test_a_flac_header_with_a_wrong_length_loses_and_tells_nothing(tmp_path: Path, samples: int) -> None:
    path = write(tmp_path / "a.flac", [Track(SOUND, "flac")], "flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    struct.pack_into(">I", data, 22, samples)
    path.write_bytes(data)
    check(path, SECONDS)


def test_a_cut_video_is_told_also_where_no_stream_has_a_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [Track(SOUND)], "matroska", seconds=SECONDS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [notice.code for notice in decode(path).warnings] == ["shorter-than-declared"]


def test_a_movie_without_its_index_is_unfinished(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4a", [Track(SOUND)], "mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(RecordingFaultError) as caught:
        decode(path)
    assert caught.value.code == "unfinished"
    assert "moov" in caught.value.message

"""Whether a file is a recording and finished: its name, its first bytes, its own length, who has it open."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path, PurePath

import av
import numpy as np
import pytest

from dropscribe.supervisor import first_bytes, writers
from dropscribe.supervisor.completeness import describe_missing
from dropscribe.supervisor.mounts import find_file_system
from dropscribe.supervisor.readiness import find_hold
from dropscribe.supervisor.recording_names import (
    SUFFIXES,
    PassedOver,
    choose_suffixes,
    explain_refusal,
    find_refusal,
    is_profile,
)
from dropscribe.supervisor.writers import Writers

RATE = 16000


def encode(path: Path, container: str, codec: str, seconds: float = 2.0, rate: int = RATE, **options: str) -> Path:
    """Write noise with FFmpeg."""
    noise = np.random.default_rng(0).normal(0, 3000, int(seconds * rate)).astype(np.int16)
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono", bit_rate=64000)
        frame = av.AudioFrame.from_ndarray(noise.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate)
        for made in resampler.resample(frame):
            fifo.write(made)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


FILES = {
    "wav": ("wav", "pcm_s16le"),
    "aiff": ("aiff", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "caf": ("caf", "pcm_s16be"),
    "w64": ("w64", "pcm_s16le"),
    "m4a": ("ipod", "aac"),
    "mov": ("mov", "aac"),
    "3gp": ("3gp", "aac"),
    "mkv": ("matroska", "aac"),
    "webm": ("webm", "libopus"),
    "opus": ("opus", "libopus"),
    "wma": ("asf", "wmav2"),
    "avi": ("avi", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "aac": ("adts", "aac"),
    "ts": ("mpegts", "aac"),
    "flv": ("flv", "aac"),
    "voc": ("voc", "pcm_u8"),
    "rm": ("rm", "ac3"),
    "vob": ("vob", "ac3"),
    "ac3": ("ac3", "ac3"),
    "eac3": ("eac3", "eac3"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "mp2": ("mp2", "mp2"),
    "f4v": ("f4v", "aac"),
    "3g2": ("3g2", "aac"),
}
MEASURED = ("wav", "aiff", "au", "caf", "w64", "m4a", "mov", "3gp", "mkv", "webm", "opus", "wma", "avi", "mp3")


@pytest.fixture(scope="module", params=FILES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of each kind."""
    suffix: str = request.param
    container, codec = FILES[suffix]
    rate = 48000 if suffix in {"webm", "opus", "rm", "vob", "ac3", "eac3", "wma"} else RATE
    path = tmp_path_factory.mktemp("made") / f"talk.{suffix}"
    try:
        return encode(path, container, codec, rate=rate)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg writes no {suffix}: {error}")


# Names


@pytest.mark.parametrize(
    "suffix", ["asf", "3g2", "w64", "mxf", "vob", "dss", "gsm", "f4v", "m4r", "dts", "eac3", "voc", "rm"]
)
def test_what_the_decoder_reads_is_a_recording_by_name(suffix: str) -> None:
    assert explain_refusal(PurePath(f"talk.{suffix}")) is None
    assert explain_refusal(PurePath(f"TALK.{suffix.upper()}")) is None


def test_every_known_suffix_is_one_that_ffmpeg_knows() -> None:
    """Most are among the extensions of its demuxers; the others are other names of the same containers."""
    known = {f".{name}" for demuxer in av.formats_available for name in _extensions(demuxer)}
    others = {
        *(".3ga", ".3gp2", ".3gpp", ".aa3", ".act", ".adts", ".awb", ".bwf", ".dff"),
        *(".dsf", ".dtshd", ".dv", ".dvr-ms", ".divx", ".ec3", ".f4a", ".f4v", ".gsm"),
        *(".gxf", ".insv", ".loas", ".m2t", ".m2ts", ".m4b", ".m4r", ".m4v", ".mlp"),
        *(".mmf", ".mp1", ".mpe", ".mpga", ".mts", ".mxf", ".nist", ".nut", ".ogm"),
        *(".ogx", ".qcp", ".qt", ".qta", ".ra", ".rf64", ".rm", ".rmvb", ".shn"),
        *(".sln", ".snd", ".sph", ".tak", ".thd", ".tod", ".vob", ".vqf", ".vro"),
        *(".wave", ".weba", ".wtv", ".ismv", ".mj2"),
    }
    assert SUFFIXES - known <= others


def _extensions(name: str) -> set[str]:
    try:
        return set(av.format.ContainerFormat(name).extensions)
    except ValueError:
        return set()


@pytest.mark.parametrize(
    "name",
    [
        "talk",
        "a/talk",
        "Meeting 2026.08.19",
        "Meeting 2026.08.19-10h",
        "Talk with Dr. Meyer",
        "lens.f1.8.mp4",
        "talk.final2.mp4",
        "f2.mp4",
    ],
)
def test_a_name_without_a_suffix_may_be_a_recording(name: str) -> None:
    assert explain_refusal(PurePath(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        *("talk.f137.mp4", "talk.f251-drc.webm", "talk.fhls-audio-128.mp4", "talk.temp.mp4", "talk.temp.m4a"),
        *("talk.mp4.part", "talk.mp4.part-Frag12", "talk.mp4.part-Frag3.part", "talk.mp4.ytdl", "talk.mp4.aria2"),
        *("talk.mp4.!qB", "talk.mp4.filepart", "talk.mp4.crdownload", "talk.mp3.1a2b3c4d.partial", "talk.mp4.!ut"),
        *("talk.m4a.sb-1234abcd-XyZ123", "talk.mp4.opdownload", "talk.wav.tmp", "talk.ocTransferId12.part"),
    ],
)
def test_a_half_finished_download_waits_by_its_name(name: str) -> None:
    refusal = find_refusal(PurePath(name))
    assert refusal is not None
    assert refusal.kind == PassedOver.UNFINISHED


@pytest.mark.parametrize("name", [".syncthing.talk.mp4.tmp", "~syncthing~talk.mp4.tmp", ".talk.mp4.XYZabc"])
def test_temporary_names_of_syncthing_and_rsync_are_hidden(name: str) -> None:
    assert explain_refusal(PurePath(name)) is not None


def test_a_setting_adds_and_removes_suffixes() -> None:
    suffixes = choose_suffixes(("+.dat", "-.mp4"))
    assert suffixes == (SUFFIXES | {".dat"}) - {".mp4"}
    assert explain_refusal(PurePath("talk.DAT"), suffixes) is None
    refusal = find_refusal(PurePath("talk.mp4"), suffixes)
    assert refusal is not None
    assert refusal.kind == PassedOver.NAME
    assert is_profile("talk.dat.toml", suffixes)
    assert not is_profile("talk.mp4.toml", suffixes)


# First bytes


def test_a_recording_is_known_by_its_first_bytes(made: Path) -> None:
    assert first_bytes.is_recording(made)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0", b"Some text, and nothing else.\n" * 50, b"#!/bin/sh\nexit\n", b"%PDF-1.7\n" + bytes(500)),
        *(b"PK\3\4" + bytes(500), b"\x89PNG\r\n\x1a\n" + bytes(500), b"\xff\xd8\xff\xe0" + bytes(500)),
        *(b"\xff\xfe" + "Unicode text".encode("utf-16-le") * 50, b"GIF89a" + bytes(500), bytes(5000), b"G" * 5),
        *(b"SQLite format 3\0" + bytes(500), b"RIFF\x20\0\0\0WEBPVP8 " + bytes(500), b"\xff" * 5000),
    ],
)
def test_what_is_no_recording_is_known_too(data: bytes) -> None:
    assert not first_bytes.begins_recording(data)


# Own length


def test_a_whole_file_lacks_nothing(made: Path) -> None:
    assert describe_missing(made) == ""


def test_a_part_of_a_file_lacks_the_rest(made: Path, tmp_path: Path) -> None:
    if made.suffix[1:] not in MEASURED:
        pytest.skip("it does not say how long it is")
    data = made.read_bytes()
    part = tmp_path / made.name
    for share in (0.3, 0.5, 0.9):
        part.write_bytes(data[: int(len(data) * share)])
        assert describe_missing(part), share


def test_a_fragmented_file_is_whole_and_its_part_is_not(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.mp4", "mp4", "aac", 10.0, movflags="frag_keyframe+empty_moov+default_base_moof")
    assert describe_missing(path) == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert describe_missing(path)


def wav(data_size: int, data: bytes, whole: int | None = None) -> bytes:
    riff = 36 + data_size if whole is None else whole
    form = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", riff & 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16
    )
    return form + struct.pack("<4sI", b"data", data_size) + data


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFE])
def test_a_length_that_was_not_known_says_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(size, b"\1" * 5000))
    assert describe_missing(path) == ""
    path.write_bytes(b"FORM" + struct.pack(">I", size) + b"AIFF" + b"\1" * 5000)
    assert describe_missing(path) == ""


def test_a_header_that_says_less_than_there_is_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(1000, b"\1" * 5000))
    assert describe_missing(path) == ""


def test_a_long_wave_has_its_length_in_a_chunk_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    for declared, whole in ((5000, True), (50_000, False)):
        ds64 = struct.pack("<4sIQQQI", b"ds64", 28, declared + 72, declared, declared // 2, 0)
        body = wav(0xFFFFFFFF, b"\1" * 5000)
        path.write_bytes(b"RF64" + body[4:12] + ds64 + body[12:])
        assert (describe_missing(path) == "") == whole


def test_a_live_matroska_says_nothing(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.mkv", "matroska", "aac", live="1")
    path.write_bytes(path.read_bytes()[:-500])
    assert describe_missing(path) == ""


def test_a_part_that_was_never_written_is_missing(tmp_path: Path) -> None:
    """Who copies over a network may give the file its length first."""
    path = tmp_path / "talk.flac"
    path.write_bytes(b"fLaC" + os.urandom(1 << 16))
    os.truncate(path, 8 << 20)
    if not path.stat().st_blocks * 512 < path.stat().st_size:
        pytest.skip("this file system has no holes")
    assert "never written" in describe_missing(path)


@pytest.mark.parametrize("length", range(0, 48, 3))
def test_no_header_is_cut_so_that_it_cannot_be_read(tmp_path: Path, length: int, made: Path) -> None:
    path = tmp_path / made.name
    path.write_bytes(made.read_bytes()[:length])
    describe_missing(path)


def test_noise_behind_a_known_mark_is_measured_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "talk"
    heads = [
        b"RIFF....WAVE",
        b"FORM",
        b"caff\0\1\0\0",
        b".snd",
        b"\0\0\0\x20ftyp",
        b"\x1a\x45\xdf\xa3",
        b"OggS\0",
        b"ID3",
    ]
    for seed, head in enumerate(heads * 50):
        path.write_bytes(head + np.random.default_rng(seed).bytes(300))
        describe_missing(path)


# Who has it open


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(5000, b"\1" * 5000))
    return path


def test_a_file_that_is_open_for_writing_has_a_writer_until_it_is_closed(talk: Path) -> None:
    found = Writers()
    assert found.find(talk) is None
    with talk.open("ab"):
        assert f"process {os.getpid()}" in str(found.find(talk))
    assert found.find(talk) is None
    with talk.open("rb"):
        assert found.find(talk) is None


def test_a_writer_in_another_process_is_seen_after_the_file_was_renamed(talk: Path) -> None:
    code = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(talk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        moved = talk.rename(talk.with_name("moved.wav"))
        assert f"process {other.pid}" in str(Writers().find(moved))
        other.communicate()
    assert Writers().find(moved) is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_without_leases_the_open_files_of_all_processes_are_looked_through(
    talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "NETWORK", frozenset({find_file_system(talk)}))
    assert Writers().find(talk) is None
    with talk.open("ab"):
        assert f"process {os.getpid()}" in str(Writers().find(talk))


def test_lsof_says_who_has_a_file_open_for_writing(talk: Path) -> None:
    program = shutil.which("lsof")
    if program is None:
        pytest.skip("there is no lsof")
    with talk.open("ab"), (talk.parent / "read.wav").open("wb") as other:
        other.close()
        with (talk.parent / "read.wav").open("rb"):
            found = [opened for opened in writers.list_by_lsof(program) if opened.path.startswith(str(talk.parent))]
    assert [opened.path for opened in found] == [os.path.realpath(talk)]
    assert f"process {os.getpid()}" in found[0].owner


def test_an_lsof_that_is_not_there_says_nothing() -> None:
    assert list(writers.list_by_lsof("/nowhere/lsof")) == []


# All together


def hold(path: Path, waited_s: float = 0.0, incomplete_s: float = 60.0) -> str:
    found = find_hold(path, Writers(), waited_s=waited_s, incomplete_s=incomplete_s)
    return "" if found is None else found.code


@pytest.mark.parametrize("suffix", ["part", "ytdl", "aria2", "crdownload", "!qB", "filepart", "st", "partial"])
def test_a_file_beside_which_its_download_goes_on_is_not_finished(talk: Path, suffix: str) -> None:
    assert hold(talk) == ""
    beside = talk.with_name(f"talk.wav.{suffix}")
    beside.touch()
    assert hold(talk) == "downloading"
    beside.unlink()
    assert hold(talk) == ""


def test_the_empty_file_that_firefox_begins_with_is_not_finished(talk: Path) -> None:
    talk.write_bytes(b"")
    assert hold(talk) == ""
    (talk.parent / "talk.Ab12Cd34.wav.part").touch()
    assert hold(talk) == "downloading"


def test_what_is_too_short_is_waited_for_and_then_taken(talk: Path) -> None:
    talk.write_bytes(wav(50_000, b"\1" * 5000))
    assert hold(talk) == "incomplete"
    assert hold(talk, waited_s=61.0) == ""
    assert hold(talk, incomplete_s=0.0) == ""
    with wave.open(io.BytesIO(talk.read_bytes())) as file:
        assert file.getnframes() > 0

"""The decoder: what it makes of good, odd, damaged and hostile files, all of them made here with PyAV."""

from __future__ import annotations

import fractions
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import EnvironmentFaultError, Fault, JobError, RecordingFaultError
from dropscribe.worker import decoding
from dropscribe.worker.decoding import recording_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


def tone(seconds: float, rate: int, channels: int = 2) -> NDArray[np.float32]:
    """Return a soft tone; shape (channels, samples)."""
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write(
    path: Path,
    codec: str,
    sound: NDArray[np.float32],
    *,
    rate: int = 44100,
    video: bool = False,
    delay: float = 0.0,
    tags: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode `sound`, shape (1 or 2, samples); with pictures from time 0 on when asked, the sound `delay` later."""
    layout = "stereo" if len(sound) == 2 else "mono"
    with av.open(str(path), "w", container_options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        planar = codec in {"aac", "mp3"}
        stream.codec_context.layout = layout
        stream.codec_context.format = "fltp" if planar else "s16"
        stream.codec_context.time_base = fractions.Fraction(1, rate)
        pictures: Any = file.add_stream("mpeg4", rate=10) if video else None
        file.metadata.update(tags or {})
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
            for number in range(int((sound.shape[1] / rate + delay) * 10)):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, fractions.Fraction(1, 10)
                file.mux(pictures.encode(picture))
        size = stream.codec_context.frame_size or 1024
        for first in range(0, sound.shape[1], size):
            part = sound[:, first : first + size]
            data = part if planar else (part.T.reshape(1, -1) * 32767).astype(np.int16)
            kind = "fltp" if planar else "s16"
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=kind, layout=layout)
            frame.rate, frame.pts = rate, first + int(delay * rate)
            frame.time_base = fractions.Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if pictures is not None:
            file.mux(pictures.encode(None))
    return path


def wave(path: Path, samples: NDArray[np.int16], rate: int = 48000) -> Path:
    """Write a plain WAV file of `samples`, shape (samples, channels), without a channel mask."""
    data, channels = samples.astype("<i2").tobytes(), samples.shape[1]
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return path


def decode(path: Path) -> decoding.Decoded:
    return decoding.decode(path, path.parent / "spool")


def refused(path: Path) -> str:
    """Return the code with which the recording is refused, and see that nothing stays behind."""
    with pytest.raises(RecordingFaultError) as caught:
        decode(path)
    assert caught.value.fault is Fault.RECORDING
    assert caught.value.message
    assert not (path.parent / "spool").exists()
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 44100), ("a.mp3", "mp3", 44100), ("a.flac", "flac", 44100), ("a.wav", "pcm_s16le", 22050),
     ("a.opus", "libopus", 48000), ("a.mkv", "libopus", 48000)],
)  # fmt: skip
def test_every_common_kind_becomes_16_khz_mono_at_its_own_level(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    found = decode(write(tmp_path / name, codec, tone(3, rate), rate=rate))
    assert found.samples.dtype == np.float32
    assert found.samples.shape == (round(found.seconds * SAMPLE_RATE),)
    assert found.seconds == pytest.approx(3, abs=0.05)
    assert (found.channels, found.rate, found.offset, found.warnings) == (2, rate, 0.0, ())
    middle = np.asarray(found.samples[SAMPLE_RATE : 2 * SAMPLE_RATE])
    # Equal channels keep their level: they are averaged, not added. And the tone is still 440 Hz.
    assert np.sqrt(np.square(middle).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert int(np.abs(np.fft.rfft(middle)).argmax()) == 440


def test_the_samples_lie_in_the_spool_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(2, 16000, 1), rate=16000)
    found = decode(path)
    spool = tmp_path / "spool"
    assert isinstance(found.samples, np.memmap)
    assert spool.stat().st_size == found.samples.nbytes
    assert spool.stat().st_mode & 0o777 == 0o600
    spool.unlink()
    assert np.abs(found.samples).max() > 0.2  # a map outlives the name of its file


def test_as_good_as_the_plain_way(tmp_path: Path) -> None:
    resampler, parts = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE), []
    with av.open(str(DATA / "jfk.opus")) as file:
        for frame in [*file.decode(audio=0), None]:
            parts += [made.to_ndarray()[0] for made in resampler.resample(frame)]
    found = decoding.decode(DATA / "jfk.opus", tmp_path / "spool")
    np.testing.assert_allclose(found.samples, np.concatenate(parts), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4, 6, 10])
def test_any_number_of_channels_is_averaged(tmp_path: Path, channels: int) -> None:
    found = decode(wave(tmp_path / "a.wav", np.full((48000, channels), 8192, np.int16)))
    assert found.channels == channels
    assert found.samples[8000] == pytest.approx(0.25, abs=0.01)


def test_sound_that_begins_late_in_a_video_keeps_its_times(tmp_path: Path) -> None:
    for name, codec, rate in (("v.mp4", "aac", 44100), ("v.mkv", "libopus", 48000)):
        found = decode(write(tmp_path / name, codec, tone(2, rate), rate=rate, video=True, delay=1.5))
        loud = np.flatnonzero(np.abs(found.samples) > 0.1)
        assert found.offset == pytest.approx(1.5, abs=0.05)
        assert loud[0] / SAMPLE_RATE == pytest.approx(1.5, abs=0.06)
        assert found.seconds == pytest.approx(3.5, abs=0.1)


def test_a_hole_in_the_sound_is_filled_with_silence_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", "libopus", tone(20, 48000), rate=48000)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    found = decode(path)
    assert found.seconds == pytest.approx(20, abs=0.1)
    (hole,) = (w for w in found.warnings if w.code == "hole")
    assert 0 < hole.start < hole.end < 20
    assert np.abs(found.samples[int((hole.end - 1) * SAMPLE_RATE) : int((hole.end - 0.5) * SAMPLE_RATE)]).max() < 0.01


def test_damaged_packets_are_skipped_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4a", "aac", tone(20, 44100))
    data = bytearray(path.read_bytes())
    data[80_000:83_000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    found = decode(path)
    assert found.seconds == pytest.approx(20, abs=0.1)
    assert {w.code for w in found.warnings} == {"damaged"}
    assert all(0 <= w.start <= w.end <= 20 for w in found.warnings)


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "mp3"), ("a.flac", "flac"), ("a.wav", "pcm_s16le")])
def test_a_file_that_was_cut_gives_what_it_holds_and_a_warning(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec, tone(20, 44100))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found = decode(path)
    assert 3 < found.seconds < 10
    assert "shorter-than-declared" in {w.code for w in found.warnings}


def test_the_time_of_recording_is_taken_only_with_its_zone(tmp_path: Path) -> None:
    sound = tone(1, 44100)
    for tags, expected in (
        ({"creation_time": "2026-08-19T10:20:30Z"}, "2026-08-19T10:20:30+00:00"),
        ({"creation_time": "1970-01-01T00:00:00Z"}, None),
        ({"date": "2026"}, None),
        ({}, None),
    ):
        assert decode(write(tmp_path / "a.m4a", "aac", sound, tags=tags)).recorded_at == expected


def test_tags_in_an_old_encoding_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(1, 44100), tags={"title": "XXXXXX"})
    path.write_bytes(path.read_bytes().replace(b"XXXXXX", b"caf\xe9 \xff"))
    assert decode(path).seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.mp3", b"", "empty"),
        ("a.mp3", b"not a recording at all\n" * 50, "not-audio"),
        ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "not-audio"),
        ("a.mp3", np.random.default_rng(0).bytes(200_000), "no-samples"),
        ("a.mp3", np.random.default_rng(1).bytes(200_000), "no-samples"),  # 26 ms can be decoded
        ("a.mp3", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp3\n#EXT-X-ENDLIST\n", "playlist"),
        ("a.mp3", b"ffconcat version 1.0\nfile other.mp3\n", "playlist"),
        ("a.m4a", b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "playlist"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name) == code


def test_a_playlist_that_is_not_seen_at_once_still_opens_nothing(tmp_path: Path) -> None:
    other = write(tmp_path / "other.mp3", "mp3", tone(1, 44100))
    list_ = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n"
    for name in ("a.m3u8", "a.mp3"):
        (tmp_path / name).write_bytes(b"\n" * 5000 + list_.encode())
        assert refused(tmp_path / name) in {"not-audio", "no-samples"}
    assert not {"hls", "concat", "dash", "image2", "applehttp", "sdp", "rtsp"} & set(decoding.FORMATS.split(","))


def test_pictures_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert refused(path) == "no-audio"


def test_encrypted(tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef"
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    assert refused(write(tmp_path / "a.m4a", "aac", tone(2, 44100), container=options)) == "encrypted"


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").symlink_to(DATA / "jfk.opus")
    (tmp_path / "c.mp3").mkdir()
    assert {refused(tmp_path / f"{name}.mp3") for name in "abc"} == {"not-a-file"}


def test_gone_is_the_recordings_fault_and_a_missing_folder_is_not(tmp_path: Path) -> None:
    assert refused(tmp_path / "a.mp3") == "gone"
    with pytest.raises(EnvironmentFaultError) as caught:
        decoding.decode(tmp_path / "volume" / "a.mp3", tmp_path / "spool")
    assert caught.value.code == "folder-missing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(1, 44100))
    path.chmod(0)
    with pytest.raises(EnvironmentFaultError) as caught:
        decode(path)
    assert caught.value.code == "permission-denied"


def test_too_long_is_told_as_soon_as_it_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(60, 16000, 1), rate=16000)
    beats: list[float] = []
    with pytest.raises(RecordingFaultError) as caught:
        decoding.decode(path, tmp_path / "spool", heartbeat=beats.append, max_seconds=30)
    assert caught.value.code == "too-long"
    assert max(beats) < 40
    assert not (tmp_path / "spool").exists()


def test_it_tells_that_it_lives(tmp_path: Path) -> None:
    beats: list[float] = []
    path = write(tmp_path / "a.flac", "flac", tone(120, 16000, 1), rate=16000)
    decoding.decode(path, tmp_path / "spool", heartbeat=beats.append)
    assert beats == sorted(beats)
    assert len(beats) >= 5


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \xff.fl\xe9c")
    write(tmp_path / "a.flac", "flac", tone(1, 44100)).rename(path)
    assert decode(path).seconds == pytest.approx(1, abs=0.01)


def limited(tmp_path: Path, kind: str, amount: int, path: Path) -> subprocess.CompletedProcess[str]:
    """Decode `path` in a process of its own under a limit of the system."""
    code = f"""
        import resource, signal
        from pathlib import Path
        from dropscribe.worker import decoding as audio
        from dropscribe.errors import JobError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.{kind}, ({amount}, {amount}))
        try:
            found = audio.decode(Path({str(path)!r}), Path({str(tmp_path / "spool")!r}))
        except JobError as error:
            print(type(error).__name__, error.code)
        else:
            print(round(found.seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environ, capture_output=True, text=True, check=True
    )


def test_a_full_disk_is_the_machines_fault_and_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(60, 16000, 1), rate=16000)
    done = limited(tmp_path, "RLIMIT_FSIZE", 1_000_000, path)
    assert done.stdout.split() == ["EnvironmentFaultError", "disk-full"]
    assert done.stderr == ""
    assert not (tmp_path / "spool").exists()


def test_hours_of_silence_in_a_small_file_take_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", np.zeros((1, 3 * 3600 * 8000), np.float32), rate=8000)
    seconds, grown = map(int, limited(tmp_path, "RLIMIT_CORE", 0, path).stdout.split())
    assert seconds == 3 * 3600
    # As float32 samples it would be 690 MB; ru_maxrss counts in KiB on Linux and in bytes on a Mac.
    assert grown < 60 * (1 << 20 if sys.platform == "darwin" else 1 << 10)


def test_a_disk_that_fails_is_not_the_recordings_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.flac", "flac", tone(5, 44100))

    class Failing:
        def __init__(self, file: Any) -> None:
            self.file, self.reads = file, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def read(self, size: int) -> bytes:
            self.reads += 1
            if self.reads > 2:
                raise OSError(5, "Input/output error")
            data: bytes = self.file.read(size)
            return data

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    monkeypatch.setattr(
        "dropscribe.worker.decoding.open_recording", lambda path: Failing(recording_file.open_recording(path))
    )
    with pytest.raises(JobError) as caught:
        decode(path)
    assert (caught.value.fault, caught.value.code) == (Fault.ENVIRONMENT, "read-failed")


def test_channels_are_kept_apart_beside_the_same_mix(tmp_path: Path) -> None:
    left, right = tone(3, 44100, 1)[0], tone(3, 44100, 1)[0] * np.float32(0.25)
    path = write(tmp_path / "late.mov", "aac", np.stack([left, right]), video=True, delay=2.0)
    plain = decode(path)
    assert plain.channel_samples is None
    mix = np.array(plain.samples)
    found = decoding.decode(path, tmp_path / "spool", keep_channels=True)
    assert np.array_equal(found.samples, mix)
    assert found.channel_samples is not None
    assert found.channel_samples.shape == (len(mix), 2)
    assert found.layout == "stereo"
    apart = np.array(found.channel_samples)
    assert np.abs(apart.mean(axis=1) - mix).max() < 1e-6  # also through the silence before the sound
    sound = apart[int(2.5 * SAMPLE_RATE) : int(4.5 * SAMPLE_RATE)]
    assert np.sqrt(np.square(sound[:, 1]).mean() / np.square(sound[:, 0]).mean()) == pytest.approx(0.25, abs=0.01)
    assert decoding.channels_path(tmp_path / "spool").stat().st_size == 2 * mix.nbytes


def test_one_channel_needs_no_second_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mono.flac", "flac", tone(1, 16000, 1), rate=16000)
    assert decoding.decode(path, tmp_path / "spool", keep_channels=True).channel_samples is None
    assert not decoding.channels_path(tmp_path / "spool").exists()
    (tmp_path / "bad.wav").write_bytes(os.urandom(5000))
    with pytest.raises(RecordingFaultError):
        decoding.decode(tmp_path / "bad.wav", tmp_path / "spool", keep_channels=True)
    assert not list(tmp_path.glob("spool*"))

"""Any recording as 16 kHz mono: the one decoder.

Guarantees: memory does not grow with the length of the recording, the samples lie in a spool file (and, if asked
for, those of each channel in a second one beside it); times count
from the start of the file as a player shows them, also when the sound of a video begins late or has holes; the
source is opened once, read only, never through a link, and nothing that it names (playlists, other files,
addresses) is opened; what is not a recording is told by a `RecordingFaultError` with a stable code, what the
machine lacks by an `EnvironmentFaultError`.

Risk accepted: the decoders are FFmpeg's, in this process. The worker that calls this may crash; it holds no state.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
import stat
import struct
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Self

import av
import av.logging
import numpy as np

from dropscribe import recording_date
from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, RecordingFaultError
from dropscribe.transcript import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS = (
    "aa,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,gsm,iff,ircam,latm,loas,"
    "matroska,mlp,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,rso,sln,sox,tak,truehd,tta,voc,"
    "w64,wav,wsd,wtv,wv,xwma"
)
"""The FFmpeg demuxers that may be used: those that hold sound themselves. Playlists, lists, images are not here."""

_PLAYLIST = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:#EXTM3U|ffconcat\s|\[playlist\]|<\?xml[^>]*>\s*<(?:MPD|smil|asx)|<(?:MPD|smil|asx))",
    re.IGNORECASE,
)
_PROTECTED = re.compile(rb"stsd.{12}(?:enca|drms|aavd|p608)", re.DOTALL)
_SECONDS_OF_JITTER = 0.1  # a smaller step between two frames is rounding (WebM counts in ms), not a hole
_SECONDS_OF_HOLE = 2.0  # a larger one is told
_BATCH = 1 << 16  # samples given to the resampler at once: a call for each frame costs as much as the decoding
_MOST_NOTICES = 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded recording."""

    samples: NDArray[np.float32]
    """Shape (samples,), 16 kHz mono, -1 to 1: a read-only map of the spool file."""
    seconds: float
    """Length of `samples` in seconds."""
    channels: int
    """Channels of the audio stream before mixing down to one."""
    layout: str
    """FFmpeg's name of what the channels are for: `stereo`, `5.1`; `4 channels` where the file does not say."""
    apart: NDArray[np.float32] | None
    """Shape (samples, channels), 16 kHz: a read-only map of the file beside the spool. None where there is one
    channel, where their number changes on the way, and where nobody asked."""
    codec: str
    """FFmpeg's name of the decoder: `aac`, `flac`, `mp3float`."""
    container: str
    """FFmpeg's name of the format: `mov,mp4,m4a,3gp,3g2,mj2`, `wav`."""
    rate: int
    """Hz of the audio stream before resampling."""
    offset: float
    """Seconds of silence put before the sound because it begins that much after the file does; part of `samples`."""
    recorded_at: str | None
    """When it was recorded as the container says, ISO 8601; see `recorded.from_tags`."""
    warnings: tuple[Notice, ...]
    """`damaged`, `shorter-than-declared`, `hole`, `other-audio-streams`."""


def decode(
    path: Path,
    spool: Path,
    *,
    heartbeat: Callable[[float], None] | None = None,
    on_share: Callable[[float], None] | None = None,
    max_seconds: float | None = None,
    apart: bool = False,
) -> Decoded:
    """Decode the best audio stream of `path` into the file `spool`, which the caller removes after use.

    Args:
        path: The recording.
        spool: Made, or emptied; mode 0600; 64 kB for each second. Removed when this raises.
        heartbeat: Called with the seconds decoded so far, several times a second of work.
        on_share: Called before each heartbeat with how much of the file is read, 0 to 1.
        max_seconds: The longest recording to accept.
        apart: Keep the channels of a recording that has several, too, in the file `beside(spool)`: 64 kB for each
            second and channel, for the caller to remove as well. What lies in `spool` is the same.

    Raises:
        RecordingFaultError: `gone`, `not-a-file`, `empty`, `playlist`, `not-audio`, `no-audio`, `encrypted`,
            `no-samples`, `too-long`.
        EnvironmentFaultError: `folder-missing`, `permission-denied`, `read-failed`, `disk-full`, `spool-failed`.
        EngineFaultError: `out-of-memory`.
    """
    with _open(path) as file:
        source = _Source(file, path)
        head = source.read(4096)
        source.seek(0)
        if _PLAYLIST.match(head):
            raise RecordingFaultError(
                "playlist",
                "It is a playlist: it names recordings, and holds none.",
                "Put the recording itself into the inbox.",
            )
        with _Spool(spool) as out, _Spool(beside(spool)) if apart else nullcontext() as channels:
            try:

                def beat(seconds: float) -> None:
                    if on_share is not None:
                        on_share(source.tell() / source.size)
                    if heartbeat is not None:
                        heartbeat(seconds)

                found = _decode(source, _Mixer(out, channels), beat, max_seconds)
            except (av.FFmpegError, OSError) as error:
                _refuse(source, error)
        if found.apart is None:
            beside(spool).unlink(missing_ok=True)
        return found


def beside(spool: Path) -> Path:
    """Return the file that takes the samples of each channel."""
    return spool.with_name(f"{spool.name}.channels")


def rewritten(spool: Path, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put other samples into a spool file; return them as `decode` does. Raises as `decode` does for its disk.

    Maps of what was in the file before must not be used any more.
    """
    with _Spool(spool) as out:
        for block in blocks:
            out.write(block)
        return out.map()


def _decode(source: _Source, mixer: _Mixer, heartbeat: Callable[[float], None], max_seconds: float | None) -> Decoded:
    av.logging.set_level(None)  # FFmpeg's own lines on stderr say nothing to a person
    notices: list[Notice] = []
    with _container(source) as container:
        stream = container.streams.best("audio") or next(iter(container.streams.audio), None)
        if stream is None:
            _no_audio(container)
        if "mp4" in container.format.name and _protected(source):
            raise RecordingFaultError(
                "encrypted",
                "The sound is encrypted (bought or rented media).",
                "Only an unprotected copy can be transcribed.",
            )
        codec = stream.codec_context
        declared = _declared(container, stream)
        if len(container.streams.audio) > 1:
            notices.append(
                Notice(
                    "other-audio-streams",
                    0.0,
                    0.0,
                    f"The file holds {len(container.streams.audio)} audio streams; "
                    f"only one of them, number {stream.index}, was transcribed.",
                )
            )
        offset = 0.0
        origin = None if container.start_time is None else container.start_time / 1_000_000
        clock: float | None = None  # where the next frame is expected, in the file's own time
        damage = _Damage(notices)
        good = 0  # packets
        beat = 0.0
        for count, (packet, frames) in enumerate(_frames(container, stream)):
            if mixer.seconds >= beat or count % 1000 == 0:
                heartbeat(mixer.seconds)
                beat = mixer.seconds + 20
            if frames is None:
                damage.hit(mixer.seconds)
                if packet is None:
                    break
                continue
            good += bool(frames)
            for frame in frames:
                now = frame.time
                if now is not None:
                    if clock is None:
                        clock = now if origin is None else min(origin, now)
                        offset = _hole(now - clock, mixer.seconds, declared)
                        mixer.silence(offset)
                    else:
                        hole = _hole(now - clock, mixer.seconds, declared)
                        if hole >= _SECONDS_OF_HOLE and len(notices) < _MOST_NOTICES:
                            start = round(mixer.seconds, 3)
                            notices.append(
                                Notice("hole", start, round(start + hole, 3), "The file holds no sound here.")
                            )
                        mixer.silence(hole)
                    clock = now + frame.samples / frame.sample_rate
                mixer.add(frame)
            if max_seconds is not None and mixer.seconds > max_seconds:
                raise RecordingFaultError(
                    "too-long",
                    f"It is longer than the {max_seconds / 3600:.3g} hours that are allowed.",
                    "Cut it into shorter files.",
                )
        if source.failed is not None:  # FFmpeg took it for the end of the file
            raise _read_failed(source.failed)
        mixer.flush()
        damage.end()
        # In random bytes, MPEG decoders find a frame now and then.
        if not mixer.heard or damage.packets > 10 * good:
            raise RecordingFaultError(
                "no-samples",
                "No sound could be decoded from it: it is damaged, incomplete, or no recording.",
                "Export or copy it again.",
            )
        seconds = mixer.seconds
        shorter = _shorter(seconds, declared, container.format.name) or source.cut_wave(seconds)
        if shorter:
            notices.append(shorter)
        return Decoded(
            samples=mixer.samples(),
            seconds=seconds,
            channels=mixer.channels,
            layout=mixer.layout,
            apart=mixer.apart(),
            codec=str(codec.name),
            container=str(container.format.name),
            rate=mixer.rate,
            offset=round(offset, 3),
            recorded_at=recording_date.read_tags(container.metadata, stream.metadata, now=dt.datetime.now(dt.UTC)),
            warnings=tuple(notices),
        )


class _Source:
    """The opened recording as PyAV wants it. Remembers the error of the disk, which FFmpeg would hide."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        suffix = path.suffix.lower()
        # FFmpeg takes the suffix as a hint; the rest of the name may not even be UTF-8.
        self.name = f"recording{suffix}" if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else "recording"
        self.size = os.fstat(file.fileno()).st_size
        self.failed: OSError | None = None
        self._file = file

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.failed = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # FFmpeg tries positions before the start of a damaged file
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def cut_wave(self, seconds: float) -> Notice | None:
        """FFmpeg takes the length of a WAV file from its size, so only the header tells that it was cut."""
        self.seek(0)
        head = self.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        (riff,) = struct.unpack("<I", head[4:8])
        # 0 and 2^32-1 are what programs write that do not know the length yet.
        if riff == 0 or riff >= 0xFFFFFF00 or riff + 8 <= self.size + 4096:
            return None
        detail = f"The file is {riff + 8 - self.size} bytes shorter than its header says: its end is missing."
        return Notice("shorter-than-declared", round(seconds, 3), round(seconds, 3), detail)


class _Spool:
    """The file on disk that takes the samples; gone again when the work fails."""

    def __init__(self, path: Path) -> None:
        self.samples = 0
        """Of each channel."""
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb", buffering=1 << 20)
        except OSError as error:
            self._fail(error)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written was told by `map` or `write`
                self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def write(self, samples: NDArray[np.float32]) -> None:
        assert self._file is not None  # noqa: S101  # only used inside `with`
        try:
            self._file.write(samples.data)
        except OSError as error:
            self._fail(error)
        self.samples += len(samples)

    def map(self, *channels: int) -> NDArray[np.float32]:
        """Return all that was written as a read-only map of shape (samples, *channels)."""
        assert self._file is not None  # noqa: S101  # only used inside `with`
        try:
            self._file.flush()
        except OSError as error:
            self._fail(error)
        return np.memmap(self._path, dtype=np.float32, mode="r", shape=(self.samples, *channels))

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            raise EnvironmentFaultError(
                "disk-full",
                f"The disk is full: the decoded sound does not fit into {self._path.parent}.",
                "Make room; while it is worked on an hour takes 230 MB, of several channels as much for each.",
            ) from error
        raise EnvironmentFaultError(
            "spool-failed", f"The working file {self._path} cannot be written: {error.strerror}.", "Check the folder."
        ) from error


class _Mixer:
    """Frames of any kind in, 16 kHz mono into the spool, and each channel of several into the one beside it."""

    def __init__(self, out: _Spool, beside: _Spool | None) -> None:
        self.heard = False
        self.channels = 0
        """Channels of the first frame: a header may not know them."""
        self.layout = ""
        """What the channels of the first frame are for."""
        self.rate = 0
        """Hz of the first frame."""
        self._out = out
        self._beside = beside
        self._kind: tuple[str, str, int] | None = None
        self._resampler: Any = None
        self._splitter: Any = None
        self._pushed = False
        self._fifo: Any = None

    @property
    def seconds(self) -> float:
        """Seconds taken in so far."""
        waiting = self._fifo.samples / self._kind[2] if self._fifo is not None and self._kind else 0.0
        return self._out.samples / SAMPLE_RATE + waiting

    def add(self, frame: Any) -> None:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:  # some streams change in the middle
            self.flush()
            # To integers: only then are the channels averaged; to floats they are added, and clip.
            self._resampler = av.AudioResampler(format="s32", layout="mono", rate=SAMPLE_RATE)
            self._fifo = av.AudioFifo()
            self._kind = kind
            self._pushed = False
            channels = len(frame.layout.channels)
            self.channels = self.channels or channels
            if channels == 1 or channels != self.channels:
                self._beside = None
            if self._beside is not None:
                self._splitter = av.AudioResampler(format="s32", layout=frame.layout, rate=SAMPLE_RATE)
                self._catch_up(self._beside)
            self.layout = self.layout or str(frame.layout.name)
            self.rate = self.rate or int(frame.sample_rate)
        frame.pts = None  # the fifo and the resampler would both mind the times; they are minded here
        self._fifo.write(frame)
        if self._fifo.samples >= _BATCH:
            self._resample(self._fifo.read())

    def silence(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self.flush()
        left = round(seconds * SAMPLE_RATE)
        while left:
            block = min(left, _BATCH)
            self._out.write(np.zeros(block, dtype=np.float32))
            left -= block

    def flush(self) -> None:
        """Write what still waits in the fifo and in the resampler."""
        if self._resampler is None:
            return
        if self._fifo.samples:
            self._resample(self._fifo.read())
        if self._pushed:
            self._resample(None)
        self._kind = self._resampler = self._splitter = self._fifo = None

    def samples(self) -> NDArray[np.float32]:
        """Return the mix."""
        return self._out.map()

    def apart(self) -> NDArray[np.float32] | None:
        """Return the channels, if they were kept."""
        if self._beside is None:
            return None
        self._catch_up(self._beside)
        return self._beside.map(self.channels)

    def _catch_up(self, beside: _Spool) -> None:
        """Put the silence that went into the mix into the channels as well."""
        while missing := self._out.samples - beside.samples:
            beside.write(np.zeros((min(missing, _BATCH), self.channels), dtype=np.float32))

    def _resample(self, frame: Any) -> None:
        self._pushed = True
        for made in self._resampler.resample(frame):
            samples = _floats(made).reshape(-1)
            self._out.write(samples)
            self.heard = self.heard or bool(samples.size)
        if self._beside is not None:
            for made in self._splitter.resample(frame):
                self._beside.write(_floats(made).reshape(-1, self.channels))


def _floats(frame: Any) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = frame.to_ndarray().astype(np.float32)
    samples *= np.float32(2.0**-31)
    return samples


class _Damage:
    """Joins failures of neighbouring packets into one notice."""

    def __init__(self, notices: list[Notice]) -> None:
        self._notices = notices
        self.packets = 0
        """Damaged ones in all."""
        self._packets = 0
        self._start = self._last = 0.0

    def hit(self, seconds: float) -> None:
        if self._packets and seconds - self._last > 1.0:
            self.end()
        if not self._packets:
            self._start = seconds
        self._last = seconds
        self._packets += 1
        self.packets += 1

    def end(self) -> None:
        if self._packets and len(self._notices) < _MOST_NOTICES:
            detail = f"The file is damaged here: {self._packets} of its packets could not be decoded."
            self._notices.append(Notice("damaged", round(self._start, 3), round(self._last, 3), detail))
        self._packets = 0


def _open(path: Path) -> BinaryIO:
    """Open a plain file and nothing else: a FIFO would hang, a link may lead anywhere."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            _not_a_file()
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if path.parent.is_dir():
            raise RecordingFaultError("gone", "It is not there any more.") from error
        raise EnvironmentFaultError(
            "folder-missing", f"The folder {path.parent} is not there.", "Connect the volume that holds it."
        ) from error
    except PermissionError as error:
        raise EnvironmentFaultError(
            "permission-denied",
            f"Reading {path.name} is not allowed.",
            "Give the user that runs dropscribe the right to read it (macOS: Full Disk Access).",
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became a link after lstat
            _not_a_file()
        raise _read_failed(error) from error
    file = os.fdopen(descriptor, "rb", buffering=0)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        file.close()
        _not_a_file()
    if not status.st_size:
        file.close()
        raise RecordingFaultError("empty", "The file is empty.", "Copy it again.")
    return file


def _not_a_file() -> NoReturn:
    raise RecordingFaultError(
        "not-a-file", "It is not a plain file.", "Put a copy of the recording there, not a link or a folder."
    )


def _read_failed(error: OSError) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "read-failed", f"The disk could not read it: {error.strerror}.", "Check the volume it lies on."
    )


def _refuse(source: _Source, error: Exception) -> NoReturn:
    """Turn what FFmpeg or the disk says into an error for a person."""
    if source.failed is not None:
        raise _read_failed(source.failed) from source.failed
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        raise EngineFaultError("out-of-memory", "There is not enough memory to decode it.") from error
    raise RecordingFaultError(
        "not-audio",
        "It cannot be read as a recording: it is damaged, incomplete, or another kind of file.",
        "Play it in another program; export or copy it again.",
    ) from error


def _container(source: _Source) -> Any:
    extra: dict[str, Any] = {}
    # Tags in old encodings must not stop the work; since 19 PyAV sees to that itself and the argument is gone.
    if int(av.__version__.split(".")[0]) < 19:
        extra["metadata_errors"] = "ignore"
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": "pipe"}
    return av.open(source, mode="r", options=allowed, **extra)


def _no_audio(container: Any) -> NoReturn:
    if len(container.streams):
        raise RecordingFaultError("no-audio", "There is no sound in it: it holds pictures only.")
    raise RecordingFaultError(
        "not-audio",
        "It cannot be read as a recording: it is damaged, incomplete, or another kind of file.",
        "Play it in another program; export or copy it again.",
    )


def _frames(container: Any, stream: Any) -> Iterator[tuple[Any, list[Any] | None]]:
    """Yield each packet with its frames: None where it is damaged, (None, None) where reading breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, EOFError):
            return
        except av.FFmpegError:
            yield None, None
            return
        try:
            yield packet, packet.decode()
        except EOFError:
            return
        except av.FFmpegError:
            yield packet, None


def _declared(container: Any, stream: Any) -> float | None:
    """Seconds that the file says it lasts; None when it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def _hole(seconds: float, so_far: float, declared: float | None) -> float:
    """Return how much silence to put in for a step of `seconds` in the times of the frames."""
    if seconds < _SECONDS_OF_JITTER:
        return 0.0
    # Times may be nonsense. Believe a step only where the file itself says that it lasts that long.
    most = 60.0 if declared is None else declared + 60.0 - so_far
    return seconds if seconds <= most else 0.0


def _shorter(seconds: float, declared: float | None, container: str) -> Notice | None:
    # For MP3 without a length in its header, FFmpeg guesses from the first bit rates.
    slack = 0.1 if container == "mp3" else 0.01
    if declared is None or seconds >= declared - max(1.0, slack * declared):
        return None
    detail = (
        f"The file says that it lasts {declared:.1f} s, but holds {seconds:.1f} s of sound: its end may be missing."
    )
    return Notice("shorter-than-declared", round(seconds, 3), round(declared, 3), detail)


def _protected(source: _Source) -> bool:
    """Whether the sample descriptions of an MP4 file name an encrypted kind of sound."""
    position = 0
    at = source.tell()
    try:
        while position + 8 <= source.size:
            source.seek(position)
            head = source.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1 and len(head) == 16:
                size = int.from_bytes(head[8:16], "big")
            elif size == 0:
                size = source.size - position
            if head[4:8] == b"moov":
                source.seek(position)
                return _PROTECTED.search(source.read(min(size, 64 << 20))) is not None
            if size < 8:
                return False
            position += size
        return False
    finally:
        source.seek(at)

"""The container as FFmpeg opens it: which are allowed, what they say of themselves, and why one is
refused.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import av.logging

from dropscribe.errors import RecordingFaultError
from dropscribe.worker.decoding.recording_file import make_not_audio_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.worker.decoding.recording_file import Part, RecordingFile

FORMATS = (
    "aa,aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,gsm,iff,ircam,latm,loas,"
    "matroska,mlp,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,rso,sln,sox,tak,truehd,tta,voc,"
    "w64,wav,wsd,wtv,wv,xwma"
)
"""The FFmpeg demuxers that may be used: those that hold sound themselves. Playlists, lists, images
are not here."""

_PLAYLIST = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:#EXTM3U|ffconcat\s|\[playlist\]|<\?xml[^>]*>\s*<(?:MPD|smil|asx)|<(?:MPD|smil|asx))",
    re.IGNORECASE,
)
_PROTECTED = re.compile(rb"stsd.{12}(?:enca|drms|aavd|p608)", re.DOTALL)
_SAMPLE_FORMAT = re.compile(rb"smhd.{,2048}?stsd.{12}(....)", re.DOTALL)
_UNREADABLE = re.compile(r"\(Audio: (?:none \()?([^,()]+)")
_MATROSKA_CODEC = re.compile(rb"\x86([\x80-\xbf])(A_[A-Z0-9_/]+)")
_NAMES = {
    "apac": "Apple Positional Audio Codec (`apac`)",
    "ac-4": "Dolby AC-4 (`ac-4`)",
    "ac4": "Dolby AC-4 (`ac4`)",
    "mha1": "MPEG-H 3D Audio (`mha1`)",
    "mhm1": "MPEG-H 3D Audio (`mhm1`)",
    "mpegh_3d_audio": "MPEG-H 3D Audio",
    "iamf": "IAMF (`iamf`)",
}


def refuse_playlist(file: RecordingFile) -> None:
    """Refuse a file that only names recordings. Raises: RecordingFaultError `playlist`."""
    if _PLAYLIST.match(file.read_at(0, 4096)):
        raise RecordingFaultError(
            "playlist",
            "It is a playlist: it names recordings, and holds none.",
            "Put the recording itself into the inbox.",
        )


def open_container(file: RecordingFile, part: Part) -> Any:
    """Open a part of a recording with FFmpeg. Raises: av.FFmpegError, OSError."""
    extra: dict[str, Any] = {}
    # Tags in old encodings must not stop the work; since 19 PyAV sees to that itself and the
    # argument is gone.
    if int(av.__version__.split(".")[0]) < 19:
        extra["metadata_errors"] = "ignore"
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": "pipe"}
    return av.open(file.view(part), mode="r", options=allowed, **extra)


def make_no_audio_error(container: Any) -> RecordingFaultError:
    """Return the error for a container without a sound track."""
    if len(container.streams):
        return RecordingFaultError("no-audio", "There is no sound in it: it holds pictures only.")
    return make_not_audio_error()


def make_no_decoder_error(file: RecordingFile, part: Part) -> RecordingFaultError:
    """Return the error for sound in a format that this FFmpeg cannot decode, with its name."""
    names = _list_unreadable_formats(file, part)
    said = " and ".join(names) if names else "a format that is not known here"
    return RecordingFaultError(
        "no-decoder",
        f"The recording is whole, but its sound is in {said}, which cannot be decoded here.",
        "Export it in another format, such as AAC (.m4a), Apple Lossless or WAV, and put that into the inbox.",
    )


def _list_unreadable_formats(file: RecordingFile, part: Part) -> list[str]:
    """Return the names of the formats of sound that have no decoder. Only FFmpeg's own messages
    name all of them.
    """
    found: list[str] = []
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as lines, open_container(file, part):
            pass
        for _, _, line in lines:
            found += [match.strip() for match in _UNREADABLE.findall(line)]
    except (av.FFmpegError, OSError):
        pass
    finally:
        av.logging.set_level(None)
    if movie := read_movie(file, part):
        found = [name for name in movie.formats if name in _NAMES] or found or list(movie.formats)
    for length, code in _MATROSKA_CODEC.findall(file.read_at(part.start, 1 << 20)):
        found.append(code[: length[0] & 0x7F].decode("ascii"))
    return [_NAMES.get(name.lower(), f"`{name}`") for name in dict.fromkeys(found) if name[:4] != "none"]


@dataclass(frozen=True, slots=True)
class Movie:
    """What the index of an MP4 or QuickTime file says."""

    protected: bool
    """Whether sound is encrypted."""
    fragmented: bool
    """Whether it is a stream in fragments, whose times may begin anywhere."""
    formats: tuple[str, ...]
    """The codes of the formats of sound."""
    seconds: float
    """How long it says it lasts, from 0; 0 where it does not say."""


def read_movie(file: RecordingFile, part: Part) -> Movie | None:
    """Return what the index of an MP4 file says; None where it has none."""
    for name, position, size in _boxes(file, part):
        if name == b"moov":
            index = file.read_at(position, min(size, 64 << 20))
            formats = [code.decode("latin-1") for code in _SAMPLE_FORMAT.findall(index)]
            protected = _PROTECTED.search(index) is not None
            return Movie(protected, b"mvex" in index, tuple(dict.fromkeys(formats)), _movie_seconds(index))
    return None


def _movie_seconds(index: bytes) -> float:
    at = index.find(b"mvhd")
    if at < 0 or len(index) < at + 40:
        return 0.0
    wide = index[at + 4] == 1  # version
    scale, length = struct.unpack(">IQ" if wide else ">II", index[at + (24 if wide else 16) :][: 12 if wide else 8])
    return length / scale if scale and length < (1 << 63 if wide else 0xFFFFFFFF) else 0.0


def refuse_unfinished(file: RecordingFile, part: Part) -> None:
    """Refuse an MP4 file without its index. Raises: RecordingFaultError `unfinished`."""
    names = {name for name, _, _ in _boxes(file, part)}
    if b"ftyp" in names | {file.read_at(part.start + 4, 4)} and not names & {b"moov", b"moof"}:
        raise RecordingFaultError(
            "unfinished",
            "The recording was not finished: its index (`moov`), which tells where the sound lies, is missing. The "
            "recorder lost power or was stopped, or the copy is not complete.",
            "Copy it again; if the original is like this, a repair program can make an index from a second, whole "
            "recording of the same device.",
        )


def _boxes(file: RecordingFile, part: Part) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, position and size of each box of an MP4 file."""
    position = part.start
    while position + 8 <= part.end:
        head = file.read_at(position, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            size = part.end - position
        if size < 8:
            return
        yield head[4:8], position, size
        position += size


def read_declared_seconds(container: Any, movie: Movie | None) -> float | None:
    """Return how long the container says it lasts, where FFmpeg did not derive that from the times
    of packets.
    """
    name = container.format.name.split(",")[0]
    if name not in {"mov", "matroska", "asf", "flac", "nut", "mxf", "wtv"} or container.duration is None:
        return None
    seconds = float(container.duration / 1_000_000)
    return seconds if movie is None else max(seconds, movie.seconds)


def first_time(container: Any, movie: Movie | None) -> float | None:
    """Return the container's time that is the start of the recording.

    MP4 and Matroska have a time line of their own, from 0, on which all tracks may begin late; but
    a stream in fragments or one that was recorded in its middle begins anywhere, and then its
    length is not counted from 0 either.
    """
    if container.start_time is None:
        return None
    start = float(container.start_time / 1_000_000)
    declared = read_declared_seconds(container, movie)
    if start > 0.5 and declared is not None:
        if movie is not None and not movie.fragmented and movie.seconds > start:
            return 0.0
        if container.format.name.startswith("matroska") and declared > start:
            return 0.0
    return start


_DECLARING = frozenset(
    {"wav", "w64", "aiff", "caf", "au", "flac", "mov", "matroska", "asf", "avi", "flv", "nut", "mxf", "wtv", "rm"}
    | {"ape", "wv", "tta", "tak", "dsf", "mpc", "mpc8", "mp3"}
)
"""Containers that say how long they last; of others FFmpeg tells what it guesses from bit rates."""


def read_declared_sound(file: RecordingFile, part: Part, container: Any, stream: Any) -> float | None:
    """Return how many seconds of sound the file promises in this stream; None when it does not
    say.
    """
    name = container.format.name.split(",")[0]
    if name not in _DECLARING or (name == "mp3" and not _is_mp3_cut(file, part)):
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def _is_mp3_cut(file: RecordingFile, part: Part) -> bool:
    """Whether an MP3 file has a header of its own that promises more bytes than there are, or says
    nothing of bytes.

    Without that header (`Xing`, or `Info` where the bit rate is constant) nothing is promised.
    """
    start = part.start
    head = file.read_at(start, 10)
    if head[:3] == b"ID3" and len(head) == 10:
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = file.read_at(start, 256)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return False
    flags, frames, size = struct.unpack(">III", frame[at + 4 : at + 16])
    if flags & 3 != 3:  # the frames alone
        return bool(flags & 1 and frames)
    return bool(start + size > part.end)

"""Any recording as 16 kHz mono: the one decoder.

Guarantees: memory does not grow with the length of the recording, the samples lie in a spool file
(and, if asked for, those of each channel in a second one beside it); times count from the start of
the file as a player shows them, also when sound begins late, has holes, or its clock is wrong; all
that is sound is taken, whatever a header says, and what is not is told in a notice; the source is
opened once, read only, never through a link, and nothing that it names (playlists, other files,
addresses) is opened; what is not a recording is told by a `RecordingFaultError` with a stable
code, what the machine lacks by an `EnvironmentFaultError`.

Modules: `recording_file` opens it, `headers` compares its header with its size, `container` opens
it with FFmpeg, `tracks` chooses the sound track, `reading` reads the packets, `clock` places their
frames in time, `mixer` brings them to 16 kHz, with `stretching` and `polarity`, `levels` brings
quiet and hot recordings to an ordinary level, `spool` is the file on the disk.

Risk accepted: the decoders are FFmpeg's, in this process. The worker that calls this may crash; it
holds no state.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import av.logging

from dropscribe import recording_date
from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import RecordingFaultError
from dropscribe.transcript import Notice
from dropscribe.worker.decoding import container as containers
from dropscribe.worker.decoding import headers, levels, tracks
from dropscribe.worker.decoding.container import FORMATS
from dropscribe.worker.decoding.mixer import Mixer
from dropscribe.worker.decoding.reading import MOST_NOTICES, transfer
from dropscribe.worker.decoding.recording_file import RecordingFile, make_read_error, open_recording, refuse
from dropscribe.worker.decoding.spool import Spool, channels_path, rewrite_spool
from dropscribe.worker.decoding.tracks import list_set_languages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.worker.decoding.headers import Header

__all__ = ["FORMATS", "Decoded", "channels_path", "decode", "list_set_languages", "rewrite_spool"]


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
    """FFmpeg's name of what the channels are for: `stereo`, `5.1`; `4 channels` where the file
    does not say."""
    channel_samples: NDArray[np.float32] | None
    """Shape (samples, channels), 16 kHz: a read-only map of the file beside the spool. None where
    there is one channel, where their number changes on the way, and where nobody asked."""
    codec: str
    """FFmpeg's name of the decoder: `aac`, `flac`, `mp3float`."""
    container: str
    """FFmpeg's name of the format: `mov,mp4,m4a,3gp,3g2,mj2`, `wav`."""
    rate: int
    """Hz of the audio stream before resampling."""
    offset: float
    """Seconds of silence put before the sound because it begins that much after the file does;
    part of `samples`."""
    recorded_at: str | None
    """When it was recorded as the container says, ISO 8601; see `recording_date.read_tags`."""
    warnings: tuple[Notice, ...]
    """In order of time. Codes: `damaged`, `shorter-than-declared`, `longer-than-declared`,
    `left-out`, `hole`, `lost-sound`, `overlapping-sound`, `clock-drift`, `clock-jump`,
    `clock-wrong`, `other-audio-streams`, `opposed-channels`, `very-quiet`, `above-full-scale`."""
    track: int = 1
    """The number of the sound track that was taken, from 1."""
    gain: float = 1.0
    """What the samples were multiplied with."""


def decode(
    path: Path,
    spool: Path,
    *,
    heartbeat: Callable[[float], None] | None = None,
    max_seconds: float | None = None,
    keep_channels: bool = False,
    track: int = 0,
    languages: Sequence[str] = (),
) -> Decoded:
    """Decode the best audio stream of `path` into the file `spool`, which the caller removes after
    use.

    Args:
        path: The recording.
        spool: Made, or emptied; mode 0600; 64 kB for each second. Removed when this raises.
        heartbeat: Called with the seconds decoded so far, several times a second of work.
        max_seconds: The longest recording to accept.
        keep_channels: Keep the channels of a recording that has several, too, in the file `channels_path(spool)`:
            64 kB for each second and channel, for the caller to remove as well. What lies in
            `spool` is the same.
        track: The number of the sound track to take, from 1; 0 to choose the best.
        languages: Whisper's codes of what may be spoken, the likeliest first: of several tracks,
            one in such a language is taken.

    Raises:
        RecordingFaultError: `gone`, `not-a-file`, `empty`, `playlist`, `not-audio`, `unfinished`,
            `no-audio`, `no-decoder`, `no-such-track`, `encrypted`, `no-samples`, `too-long`.
        EnvironmentFaultError: `folder-missing`, `permission-denied`, `read-failed`, `disk-full`,
            `spool-failed`.
        EngineFaultError: `out-of-memory`.
    """
    with open_recording(path) as opened:
        file = RecordingFile(opened, path)
        containers.refuse_playlist(file)
        with Spool(spool) as out, Spool(channels_path(spool)) if keep_channels else nullcontext() as channels:
            wish = tracks.Wish(track, tuple(languages))
            run = _Run(file, out, channels, wish, heartbeat or (lambda _seconds: None), max_seconds)
            try:
                found = run.decode()
            except (av.FFmpegError, OSError) as error:
                containers.refuse_unfinished(file, run.part)
                refuse(file, error)
        if found.channel_samples is None:
            channels_path(spool).unlink(missing_ok=True)
        return found


class _Run:
    """The decoding of one recording: once, and again where the first time shows that it must be
    done otherwise.
    """

    def __init__(
        self,
        file: RecordingFile,
        out: Spool,
        channels: Spool | None,
        wish: tracks.Wish,
        heartbeat: Callable[[float], None],
        max_seconds: float | None,
    ) -> None:
        self._file, self._out, self._channels = file, out, channels
        self._wish, self._heartbeat, self._max_seconds = wish, heartbeat, max_seconds
        self._limits = levels.LevelLimits()
        self._headers = headers.examine(file)
        self._tried = 0
        """Tracks that gave no sound."""
        self.part = self._headers[0].part

    def decode(self) -> Decoded:
        """Decode, trying the next track where one gives nothing, and again where it was clipped."""
        av.logging.set_level(None)  # FFmpeg's own lines on stderr say nothing to a person
        factor = 1.0
        while True:
            mixer = Mixer(self._out, self._channels, self._limits, factor)
            found, more = self._decode_parts(mixer)
            if found is not None:
                peak = 1.0 if factor != 1.0 or mixer.peaks is None else mixer.peaks.peak()
                if peak == 1.0:
                    return self._finish(found, mixer, factor)
                factor = 1.0 / peak
            elif more:
                self._tried += 1
            else:
                raise RecordingFaultError(
                    "no-samples",
                    "No sound could be decoded from it: it is damaged, incomplete, or no recording.",
                    "Export or copy it again.",
                )
            self._out.empty()
            if self._channels is not None:
                self._channels.empty()

    def _decode_parts(self, mixer: Mixer) -> tuple[Decoded | None, bool]:
        """Decode all parts of the file; None where there is no sound in it, and whether another
        track may have some.
        """
        found: Decoded | None = None
        more = False
        notices: list[Notice] = []
        good = damaged = 0
        for number, header in enumerate(self._headers):
            start = mixer.seconds
            try:
                with containers.open_container(self._file, header.part) as container:
                    chosen = self._choose(container, header)
                    stream = chosen.order[min(self._tried, len(chosen.order) - 1)]
                    more = more or self._tried + 1 < len(chosen.order)
                    outcome = transfer(
                        self._file, header.part, container, stream, mixer, self._heartbeat, self._max_seconds
                    )
                    if found is None:
                        found = _describe(container, stream, chosen, outcome.offset)
                        if notice := chosen.notice(stream):
                            notices.append(notice)
            except (av.FFmpegError, RecordingFaultError) as error:
                if not number or getattr(error, "code", "") == "too-long":
                    raise
                notices.append(_report_unread(header, start))
                continue
            if self._file.failed is not None:  # FFmpeg took it for the end of the file
                raise make_read_error(self._file.failed)
            good, damaged = good + outcome.good, damaged + outcome.damaged
            notices += outcome.notices
            told = headers.notices(header, start, mixer.seconds - start)
            if any(notice.code == "shorter-than-declared" for notice in outcome.notices):
                told = [notice for notice in told if notice.code != "shorter-than-declared"]
            notices += told
        mixer.finish()
        # In random bytes, MPEG decoders find a frame now and then.
        if found is None or not mixer.heard or damaged > 10 * good:
            return None, more
        return dataclasses.replace(found, warnings=tuple(notices)), more

    def _choose(self, container: Any, header: Header) -> tracks.Tracks:
        if not len(container.streams.audio):
            raise containers.make_no_audio_error(container)
        if "mp4" in container.format.name:
            movie = containers.read_movie(self._file, header.part)
            if movie is not None and movie.protected:
                raise RecordingFaultError(
                    "encrypted",
                    "The sound is encrypted (bought or rented media).",
                    "Only an unprotected copy can be transcribed.",
                )
        try:
            return tracks.choose(container, self._wish)
        except RecordingFaultError as error:
            if error.code == "no-decoder":
                raise containers.make_no_decoder_error(self._file, header.part) from None
            raise

    def _finish(self, found: Decoded, mixer: Mixer, factor: float) -> Decoded:
        """Bring it to an ordinary level and describe it."""
        notices = list(found.warnings)
        if factor != 1.0:
            detail = (
                f"The recording is up to {-levels.decibels(factor):.1f} dB louder than full scale. It was "
                "turned down by as much, so that nothing is clipped."
            )
            notices.append(Notice("above-full-scale", 0.0, round(mixer.seconds, 3), detail))
        notices += _report_opposed(mixer)
        level = mixer.level.speech_level(SAMPLE_RATE)
        gain = mixer.level.gain(level)
        if level is not None and gain != 1.0:
            kept = mixer.map_channels(writable=True)
            beat = self._heartbeat
            levels.amplify(
                mixer.map_mix(writable=True), kept, gain, self._limits, lambda done: beat(done / SAMPLE_RATE)
            )
            detail = (
                f"The recording is very quiet: speech lies at {level - levels.decibels(factor):.0f} dB of full "
                f"scale, ordinary is -15 to -35. It was amplified by {levels.decibels(gain * factor):.0f} dB. Record "
                "nearer or with more gain: what is lost in noise does not come back."
            )
            notices.append(Notice("very-quiet", 0.0, round(mixer.seconds, 3), detail))
        return dataclasses.replace(
            found,
            samples=mixer.map_mix(),
            seconds=mixer.seconds,
            channels=mixer.channels,
            layout=mixer.layout,
            channel_samples=mixer.map_channels(),
            rate=mixer.rate,
            warnings=tuple(sorted(notices, key=lambda notice: notice.start)),
            gain=factor * gain,
        )


def _describe(container: Any, stream: Any, chosen: tracks.Tracks, offset: float) -> Decoded:
    """Return what the container says of the recording; what only the mixer knows is left open."""
    import numpy as np

    return Decoded(
        samples=np.zeros(0, dtype=np.float32),
        seconds=0.0,
        channels=0,
        layout="",
        channel_samples=None,
        codec=str(stream.codec_context.name),
        container=str(container.format.name),
        rate=0,
        offset=round(offset, 3),
        recorded_at=recording_date.read_tags(container.metadata, stream.metadata, now=dt.datetime.now(dt.UTC)),
        warnings=(),
        track=chosen.number(stream),
    )


def _report_unread(header: Header, start: float) -> Notice:
    size = header.part.end - header.part.start
    detail = f"A second recording is joined to this one, {size} bytes long; it cannot be read and was left out."
    return Notice("left-out", round(start, 3), round(start, 3), detail)


def _report_opposed(mixer: Mixer) -> list[Notice]:
    """Return notices of the stretches in which channels cancel each other, those near one another
    in one.
    """
    joined: list[list[float]] = []
    for first, last in mixer.opposed:
        if joined and first / SAMPLE_RATE - joined[-1][1] < 10.0:
            joined[-1][1] = last / SAMPLE_RATE
        else:
            joined.append([first / SAMPLE_RATE, last / SAMPLE_RATE])
    detail = (
        "The channels cancel each other here: one of them is inverted (a cable or a microphone wired the other way "
        "round). Only the louder one was transcribed."
    )
    return [
        Notice("opposed-channels", round(start, 3), round(end, 3), detail) for start, end in joined[:MOST_NOTICES]
    ]

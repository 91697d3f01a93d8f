"""From the packets of one part of a file to the mixer: the order of packets, damage, time, and the
limit of length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av

from dropscribe.errors import RecordingFaultError
from dropscribe.transcript import Notice
from dropscribe.worker.decoding import container as containers
from dropscribe.worker.decoding.clock import Clock, ClockKind, ClockLimits, Cut, Evidence, Silence, clock_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.worker.decoding.clock import Action
    from dropscribe.worker.decoding.mixer import Mixer
    from dropscribe.worker.decoding.recording_file import Part, RecordingFile

MOST_NOTICES = 20
"""Of one kind; more tell a person nothing."""
_BEAT = 1000
"""Packets after which there is a sign of life, whatever they hold."""


@dataclass(slots=True)
class Outcome:
    """What came of one stream of one part."""

    good: int = 0
    """Packets that gave sound."""
    damaged: int = 0
    """Packets that could not be decoded."""
    offset: float = 0.0
    """Seconds of silence before the first sound."""
    notices: list[Notice] = field(default_factory=list)


def transfer(
    file: RecordingFile,
    part: Part,
    container: Any,
    stream: Any,
    mixer: Mixer,
    heartbeat: Callable[[float], None],
    max_seconds: float | None,
) -> Outcome:
    """Decode a stream from its start to its end into the mixer.

    Raises: RecordingFaultError `too-long`, before silence is written that would make it so;
    av.FFmpegError, OSError.
    """
    outcome = Outcome()
    mixer.flush()
    base = mixer.seconds
    kind = clock_kind(container.format.name)
    movie = containers.read_movie(file, part) if container.format.name.startswith("mov") else None
    origin = containers.first_time(container, movie)
    limits = ClockLimits()
    evidence = Evidence(kind, origin or 0.0, containers.read_declared_seconds(container, movie), limits)
    wraps = kind is ClockKind.JUMPING
    clock = Clock(kind, origin, evidence, limits, base=base, wraps=wraps)
    damage = _Damage(outcome)
    name = str(stream.codec_context.name)

    def act(actions: Iterator[Action]) -> None:
        for action in actions:
            if isinstance(action, Silence):
                _check_length(base + action.until, max_seconds)
                mixer.silence(base + action.until)
            elif isinstance(action, Cut):
                mixer.cut(base + action.until)
            else:
                mixer.add(action.frame, name, action.stretch)

    position, beat = 0, 0.0
    for count, (packet, frames) in enumerate(_packets(container, stream, evidence)):
        if mixer.seconds >= beat or count % _BEAT == 0:
            heartbeat(mixer.seconds)
            beat = mixer.seconds + 20
        if packet is not None and packet.pos is not None and packet.pos >= 0:
            position = packet.pos
        if frames is None:
            damage.hit(mixer.seconds)
            if packet is None:
                break
            continue
        outcome.good += bool(frames)
        for frame in frames:
            act(clock.add(frame, position))
        _check_length(mixer.seconds, max_seconds)
    act(clock.finish())
    mixer.flush()
    damage.end()
    outcome.offset = clock.offset
    outcome.notices += _limit(clock.notices())
    sound = mixer.seconds - base
    declared = containers.read_declared_sound(file, part, container, stream)
    outcome.notices += _shorter(container.format.name, declared, sound, base, evidence, clock.skew)
    _check_length(mixer.seconds, max_seconds)
    return outcome


def _packets(container: Any, stream: Any, evidence: Evidence) -> Iterator[tuple[Any, list[Any] | None]]:
    """Yield each packet with its frames: None where it is damaged, (None, None) where reading
    breaks off.
    """
    streams = [each for each in container.streams if each.type in {"video", "audio"}]
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, EOFError):
            return
        except IndexError:
            # PyAV trips over the first packet of a stream that appears on the way: damaged MPEG-TS and FLV have some.
            packets = container.demux(streams)
            continue
        except av.FFmpegError:
            yield None, None
            return
        if packet.stream_index != stream.index:
            if packet.time_base is not None and packet.size:
                time = packet.pts if packet.dts is None else packet.dts
                seconds = float((packet.duration or 0) * packet.time_base)
                evidence.note(packet.stream_index, None if time is None else float(time * packet.time_base), seconds)
            continue
        try:
            yield packet, packet.decode()
        except EOFError:
            return
        except av.FFmpegError:
            yield packet, None


def _check_length(seconds: float, max_seconds: float | None) -> None:
    if max_seconds is not None and seconds > max_seconds:
        raise RecordingFaultError(
            "too-long",
            f"It is longer than the {max_seconds / 3600:.3g} hours that are allowed.",
            "Cut it into shorter files.",
        )


def _limit(notices: list[Notice]) -> list[Notice]:
    counts: dict[str, int] = {}
    kept = []
    for notice in notices:
        counts[notice.code] = counts.get(notice.code, 0) + 1
        if counts[notice.code] <= MOST_NOTICES:
            kept.append(notice)
    return kept


def _shorter(
    name: str, declared: float | None, seconds: float, base: float, evidence: Evidence, skew: float
) -> list[Notice]:
    """Return a notice where the sound ends before the file says so; `skew` is what its clock
    jumped by.
    """
    if declared is None:
        declared = evidence.declared
    if declared is None:
        return []
    declared -= max(0.0, skew)
    # For MP3 that tells its bytes alone, FFmpeg guesses from the first bit rates.
    slack = max(1.0, (0.1 if name == "mp3" else 0.01) * declared)
    if seconds >= declared - slack:
        return []
    # In most containers FFmpeg gives each stream the length of the longest. Where another stream
    # comes that far, the file is whole.
    if not name.startswith("mov") and evidence.latest - evidence.origin >= declared - slack:
        return []
    detail = (
        f"The file says that it lasts {declared:.1f} s, but holds {seconds:.1f} s of sound: its end may be missing."
    )
    return [Notice("shorter-than-declared", round(base + seconds, 3), round(base + declared, 3), detail)]


class _Damage:
    """Joins failures of neighbouring packets into one notice."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._packets = self._notices = 0
        self._start = self._last = 0.0

    def hit(self, seconds: float) -> None:
        if self._packets and seconds - self._last > 1.0:
            self.end()
        if not self._packets:
            self._start = seconds
        self._last = seconds
        self._packets += 1
        self._outcome.damaged += 1

    def end(self) -> None:
        if self._packets and self._notices < MOST_NOTICES:
            detail = f"The file is damaged here: {self._packets} of its packets could not be decoded."
            self._outcome.notices.append(Notice("damaged", round(self._start, 3), round(self._last, 3), detail))
            self._notices += 1
        self._packets = 0

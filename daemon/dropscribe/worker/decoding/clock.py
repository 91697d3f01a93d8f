"""Where each frame belongs on the recording's time line.

The times in the container are the truth, and their differences add up: the clock compares the time
of each frame with what was written so far. It looks two seconds ahead, so it knows whether a frame
is merely late (jitter: the next ones are in time again) or sound is missing (all the next ones are
late as well).

- A step that stays is a hole; silence stands for it, exactly where it is. A step backwards that
  stays is sound that the container has twice; the second copy is cut.
- A difference that creeps is a clock that runs slow or fast against the samples. From there on the
  sound is stretched.
- A jump is believed only where something else shows that the time passed. See `Evidence`.

Guarantees: jitter that evens out changes nothing; memory does not grow with the recording; equal
files give equal results.
"""

from __future__ import annotations

import collections
import enum
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.transcript import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator


class ClockKind(enum.Enum):
    """What the times of a container are worth."""

    NONE = "none"
    """They are counted from samples or bytes and say nothing that the samples do not say: WAV,
    MP3, ADTS, AVI."""
    STEADY = "steady"
    """One time line from the start of the file to its end: MP4, Matroska."""
    JUMPING = "jumping"
    """The clock of a sender; in a recording of it, or in several joined, it may jump: MPEG-TS,
    FLV."""


_KINDS = {
    **dict.fromkeys(("mov", "matroska", "asf", "nut", "flac", "rm", "wtv", "mxf"), ClockKind.STEADY),
    **dict.fromkeys(("mpegts", "mpeg", "flv", "ogg"), ClockKind.JUMPING),
}
"""By the first of the demuxer's names. The granule positions of Ogg begin anew in each link of a
chain. In AVI the time of sound is counted from its bytes, and is wrong as a whole for MP3 of
changing bit rate."""

WRAPS = (2**33 / 90_000, 2**32 / 1000, 2**31 / 1000, 2**24 / 1000)
"""Seconds after which the clocks of MPEG (33 bits of 90 kHz) and of FLV (32, 31 or 24 bits of
milliseconds) begin anew."""


def clock_kind(container: str) -> ClockKind:
    """Return what the times of a container are worth, by FFmpeg's name of it."""
    return _KINDS.get(container.split(",", maxsplit=1)[0], ClockKind.NONE)


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """What is a hole, jitter, drift and a jump. In seconds unless said otherwise."""

    step: float = 0.015
    """The least step that counts. Containers that count in milliseconds round by 1; the shortest
    packets that get lost last 20 (Opus, speech codecs) or 21 (AAC)."""
    ahead: float = 2.0
    """A step must last for so long. A recorder that stalls (a busy browser) stamps what comes late
    as late, and has caught up within a second or so."""
    jitter: float = 0.1
    """A difference up to this may be jitter as long as nothing is known about the recording's own."""
    least_drift: float = 0.02
    """The least difference that is drift in a recording whose times are known to be exact."""
    known_after: int = 10
    """Seconds after which the jitter of a recording is known."""
    steepest: float = 0.05
    """The most by which a clock can be wrong, as a share: quartz and software are wrong by less
    than 0.01, film on television by 0.042. Beyond that the file tells a wrong sample rate (44.1
    for 48 kHz is 0.088) or its times are nonsense."""
    believed: float = 10.0
    """A longer step is a jump and needs evidence. FFmpeg's own programs take it for a new clock
    from there on."""
    undeclared: float = 3600.0
    """The longest hole in a container with a steady clock that does not say how long it lasts."""
    overlap: float = 1.0
    """The most that is cut. Two copies of a packet or two are common; a longer step backwards is
    sound of its own."""
    notable: float = 2.0
    """A hole or step backwards of this length gets a notice of its own; so does this much in small
    pieces."""


class Evidence:
    """What shows that time passed although a stream has no sound: other streams, the file's
    length, its bytes.
    """

    def __init__(self, kind: ClockKind, origin: float, declared: float | None, limits: ClockLimits) -> None:
        """`declared` is how long the container says it lasts, where that was not derived from the
        times.
        """
        self._kind, self._limits = kind, limits
        self.origin = origin
        self.declared = declared
        self._runs: dict[int, collections.deque[list[float]]] = {}
        self.latest = origin
        """The last time seen in another stream."""

    def note(self, stream: int, time: float | None, seconds: float) -> None:
        """Note a packet of another stream with pictures or sound, and how long it lasts."""
        runs = self._runs.setdefault(stream, collections.deque(maxlen=8))
        if time is None:  # MPEG-PS: only the first of several pictures has a time
            if not runs:
                return
            time = runs[-1][1] + seconds
        if runs and -1.0 < time - runs[-1][1] <= self._limits.believed:
            runs[-1][1] = max(time, runs[-1][1])
        else:
            runs.append([time, time])
        self.latest = max(self.latest, time)

    def supports(self, start: float, end: float, bytes_between: int, byte_rate: float) -> bool:
        """Whether the time between `start` and `end` has really passed.

        Args:
            start: Where the sound before ends, in the container's time.
            end: Where the sound goes on.
            bytes_between: Bytes of the file from the sound before to the sound after.
            byte_rate: Bytes a second of the file so far; 0 when unknown.
        """
        gap = end - start
        if gap <= self._limits.believed:
            return True
        if self._kind is ClockKind.STEADY:
            longest = self._limits.undeclared if self.declared is None else self.declared
            if (gap if self.declared is None else end - self.origin) <= longest + self._limits.believed:
                return True
        # How far streams are apart in a file: MPEG-TS sends sound up to two seconds late.
        slack = 5.0 + gap / 10
        if any(low <= start + slack and high >= end - slack for runs in self._runs.values() for low, high in runs):
            return True
        return byte_rate > 0 and bytes_between >= byte_rate * gap / 2  # damaged bytes lie there in place of sound


@dataclass(frozen=True, slots=True)
class Silence:
    """Silence from what was written last up to `until`."""

    until: float
    """Seconds from the start of this part."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The sound that follows overlaps what was written: it is cut so that it fits behind `until`."""

    until: float
    """Seconds from the start of this part."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A frame, to be written at `stretch` times its length."""

    frame: Any
    stretch: float


Action = Silence | Cut | Sound


@dataclass(slots=True)
class _Waiting:
    frame: Any
    time: float | None
    start: float  # seconds of sound before it
    seconds: float
    position: int  # of its packet in the file


class Clock:
    """The time line of one stream: frames in, in order; what to write out."""

    def __init__(
        self,
        kind: ClockKind,
        origin: float | None,
        evidence: Evidence,
        limits: ClockLimits,
        *,
        base: float = 0.0,
        wraps: bool = False,
    ) -> None:
        """Begin.

        Args:
            kind: What the times are worth.
            origin: The container's time of the start of the recording; None for the time of the
                first frame.
            evidence: What else is known of the time.
            limits: What is a hole, jitter, drift and a jump.
            base: Seconds that were written before, for the times in notices.
            wraps: Whether the clock may begin anew by itself, see `WRAPS`.
        """
        self.offset = 0.0
        """Seconds of silence before the first frame."""
        self._kind, self._origin, self._evidence, self._limits = kind, origin, evidence, limits
        self._base, self._wraps = base, wraps
        self._frames: collections.deque[_Waiting] = collections.deque()
        self._taken = 0.0  # seconds of sound taken in
        self._shift = 0.0  # from seconds of sound to the place on the time line
        self.skew = 0.0
        """Seconds of the container's clock that are not believed, in all."""
        self._before: _Waiting | None = None
        self._first_position = 0
        self._differences: collections.deque[tuple[float, float]] = collections.deque(maxlen=limits.known_after)
        self._next_look = 1.0
        self._second: list[float] = []  # the differences since the last look
        self._drifts = False
        self._creeps = True  # whether a creeping difference is believed
        self._stretch = 1.0
        self._stretched = 0.0
        self._slope = 0.0
        self._holes: list[Notice] = []
        self._jumps: list[Notice] = []
        self._small: list[float] = []  # count, seconds, first, last of the short holes
        self._cuts: list[float] = []

    def add(self, frame: Any, position: int) -> Iterator[Action]:
        """Take in a frame, whose packet lies at `position` in the file; yield what can be written
        now.
        """
        seconds = frame.samples / frame.sample_rate
        time = frame.time if self._kind is not ClockKind.NONE else None
        if time is not None and (self._origin is None or (self._before is None and not self._frames)):
            self._origin = time if self._origin is None else min(self._origin, time)
            self._first_position = position
        self._frames.append(_Waiting(frame, time, self._taken, seconds, position))
        self._taken += seconds
        while self._kind is ClockKind.NONE or self._taken - self._frames[0].start > self._limits.ahead:
            yield from self._place()
            if not self._frames:
                break

    def finish(self) -> Iterator[Action]:
        """Yield what still waits."""
        while self._frames:
            yield from self._place()

    def notices(self) -> list[Notice]:
        """Return what a person should know of the times, after `finish`."""
        found = [*self._holes, *self._jumps]
        if self._small and self._small[1] >= 0.5:
            count, seconds, first, last = self._small
            detail = (
                f"Short pieces of the sound are missing in {count:.0f} places, {seconds:.1f} s in all (the "
                "recorder or the network lost them). Silence stands for them, so that times stay right."
            )
            found.append(Notice("lost-sound", first, last, detail))
        if self._cuts and self._cuts[1] >= 0.5:
            count, seconds, first, last = self._cuts
            detail = (
                f"The sound overlaps itself in {count:.0f} places, {seconds:.1f} s in all, by the times in the file. "
                "What was there already was left out the second time."
            )
            found.append(Notice("overlapping-sound", first, last, detail))
        end = round(self._base + self._taken + self._shift, 3)
        if self._drifts and abs(self._stretched) >= 0.1:
            share = 100 * abs(self._stretched) / max(self._taken, 1e-9)
            how = "longer" if self._stretched > 0 else "shorter"
            detail = (
                f"The file's clock and its sound run apart by {share:.2g} %. The sound was made "
                f"{abs(self._stretched):.1f} s {how}, so that times are those of the file."
            )
            found.append(Notice("clock-drift", round(self._base, 3), end, detail))
        if not self._creeps:
            detail = (
                f"By the times in the file the sound would last {abs(100 * self._slope):.0f} % "
                f"{'longer' if self._slope > 0 else 'shorter'} than its samples do; no clock is so wrong. Those "
                "times were not used: in a video, words may stand apart from the picture."
            )
            found.append(Notice("clock-wrong", round(self._base, 3), end, detail))
        return found

    def _measure_difference(self, waiting: _Waiting) -> float | None:
        """Return how much later than what is written a frame should begin."""
        if waiting.time is None or self._origin is None:
            return None
        return waiting.time - self._origin - self.skew - waiting.start - self._shift

    def _place(self) -> Iterator[Action]:
        first = self._frames[0]
        difference = self._measure_difference(first)
        if difference is not None:
            if abs(difference) >= self._limits.step:
                yield from self._step(first, difference)
            self._look(first)
        self._frames.popleft()
        self._before = first
        self._shift += first.seconds * (self._stretch - 1)
        if self._stretch != 1.0:
            self._stretched += first.seconds * (self._stretch - 1)
        yield Sound(first.frame, self._stretch)

    def _step(self, first: _Waiting, difference: float) -> Iterator[Action]:
        """Look whether the difference is a step that stays, and act on it."""
        before = self._before
        step = difference
        if before is not None and before.time is not None and first.time is not None:
            step = first.time - before.time - before.seconds
        ahead = [found for found in map(self._measure_difference, self._frames) if found is not None]
        amount = min(ahead) if difference > 0 else max(ahead)
        if amount * difference <= 0 or abs(amount) < self._limits.step:
            return  # jitter
        if self._creeps and step / amount < 0.5:
            return  # it crept
        self._rebase(amount - step)
        amount = self._unwrap(amount)
        place = self._base + first.start + self._shift
        if amount > 0:
            if not self._is_supported(first, amount):
                self._forget(amount, place)
                return
            self._shift += amount
            if before is None:
                self.offset = amount
            elif amount >= self._limits.notable:
                detail = "The file holds no sound here."
                self._holes.append(Notice("hole", round(place, 3), round(place + amount, 3), detail))
            else:
                self._small = _sum(self._small, amount, place)
            yield Silence(first.start + self._shift)
        elif amount < 0:
            if self._kind is not ClockKind.STEADY or -amount > self._limits.overlap:
                self._forget(amount, place)
                return
            self._shift += amount
            self._cuts = _sum(self._cuts, -amount, place)
            yield Cut(first.start + self._shift)

    def _unwrap(self, amount: float) -> float:
        """Return a step without the period of the clock, where it is one."""
        for period in WRAPS if self._wraps else ():
            for wrapped in (amount + period, amount - period):
                if abs(wrapped) <= min(1.0, abs(amount)):
                    self.skew += amount - wrapped
                    return wrapped if abs(wrapped) >= self._limits.step else 0.0
        return amount

    def _is_supported(self, first: _Waiting, amount: float) -> bool:
        assert first.time is not None  # noqa: S101  # its difference is known
        before = self._before
        position = self._first_position if before is None else before.position
        written = max(first.start, 1.0)
        rate = (position - self._first_position) / written if before is not None else 0.0
        return self._evidence.supports(first.time - amount, first.time, first.position - position, rate)

    def _forget(self, amount: float, place: float) -> None:
        """Do not believe a jump: go on as if the clock had always been so."""
        self.skew += amount
        if abs(amount) < self._limits.notable:
            return
        length = _duration(abs(amount))
        detail = (
            f"The file's clock jumps ahead by {length} here, and nothing else in the file shows that time passed. "
            if amount > 0
            else f"The file's clock jumps back by {length} here, as where recordings are joined. "
        ) + "What follows stands right behind what came before, without a pause."
        self._jumps.append(Notice("clock-jump", round(place, 3), round(place, 3), detail))

    def _rebase(self, amount: float) -> None:
        """Take out of the differences that were seen what crept and was corrected together with a
        step.
        """
        self._differences = collections.deque(
            ((when, difference - amount) for when, difference in self._differences),
            maxlen=self._differences.maxlen,
        )
        self._second = [difference - amount for difference in self._second]

    def _look(self, first: _Waiting) -> None:
        """Once a second, look whether the difference creeps."""
        difference = self._measure_difference(first) or 0.0
        if not self._creeps:
            self.skew += difference
            return
        self._second.append(difference)
        if first.start < self._next_look:
            return
        self._next_look = first.start + 1.0
        middle = statistics.median(self._second)
        self._second.clear()
        self._differences.append((first.start, middle))
        if not self._drifts:
            if abs(middle) < self._limits.least_drift or abs(middle) < self._threshold():
                return
            self._slope = _slope(list(self._differences)[-5:], middle, first.start)
            if abs(self._slope) > self._limits.steepest:
                self._creeps = False
                self.skew += difference
                return
            self._drifts = True
        most = self._limits.steepest
        self._stretch = 1.0 + max(-most, min(most, middle))
        if abs(middle) < 0.0005:  # half of what containers round by
            self._stretch = 1.0

    def _threshold(self) -> float:
        """Return the difference from which on it is drift: little where the times of the recording
        are exact.
        """
        if len(self._differences) < self._limits.known_after:
            return self._limits.jitter
        points = list(self._differences)
        slope = statistics.linear_regression([p[0] for p in points], [p[1] for p in points])
        spread = max(abs(y - slope.slope * x - slope.intercept) for x, y in points)
        return min(self._limits.jitter, max(self._limits.least_drift, 4 * spread))


def _slope(points: list[tuple[float, float]], middle: float, now: float) -> float:
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return middle / max(now, 1.0)
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def _sum(found: list[float], seconds: float, place: float) -> list[float]:
    place = round(place, 3)
    return [found[0] + 1, found[1] + seconds, found[2], place] if found else [1.0, seconds, place, place]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""What the worker has in hand, how far it is, and when something may go between.

Guarantees: what goes between the windows of a long recording takes half of the worker's time at
most, and the long one has gone on before the next does; while something is in hand, its progress is
shown and saved about once a second, and logged at least every ten.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from dropscribe import protocol
from dropscribe.supervisor.meter import Meter
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.progress import write_readings
from dropscribe.supervisor.publisher import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path, PurePath

_REPORT_SECONDS = 1.0
"""Between two reports of progress to a person who looks."""
_LOG_SECONDS = 9.0
"""Between two lines of the log about work that takes long: with the loop's tick ten seconds at most."""


@dataclass
class Unit:
    """What the worker was given in one job: one recording, or several together."""

    number: int
    """Of the job: the recording's, or `protocol.PACK`."""
    names: Mapping[int, PurePath]
    """The path of each recording by its number in the journal, relative to the inbox."""
    meter: Meter
    begun: float
    """time.monotonic() when it was given to the worker."""
    safe: bool
    """Whether it is a last attempt."""
    logged: float
    """time.monotonic() of the last line of the log that says how far it is."""
    reported: float | None = None
    """time.monotonic() of the worker's first event about it: before that it waited for a window's end."""
    tenths: int = -1
    """Tenths of a model's download that were logged."""
    called_off: float | None = None
    """time.monotonic() when the worker was asked to give it up."""


class Workload:
    """The jobs of one worker."""

    def __init__(self, state: Path, progress: Callable[[Progress], None]) -> None:
        """`progress` is called with what is shown to a person."""
        self._state = state
        self._progress = progress
        self._log = structlog.get_logger()
        self._turn = 0.0  # time.monotonic() from which something may go between again
        self._is_moved_on = True  # whether the long one has gone on since
        self._reported = 0.0  # time.monotonic()
        self.units: list[Unit] = []
        """The second goes between the windows of the first."""

    def add(self, names: Mapping[int, PurePath], now: float, *, is_ready: bool, safe: bool) -> None:
        """The worker is given a job.

        Args:
            names: The path of each recording by its number in the journal.
            now: time.monotonic().
            is_ready: Whether the worker has started.
            safe: Whether it is a last attempt.
        """
        for unit in self.units:
            unit.meter.pause()
        self._is_moved_on = not self.units
        phase = "waiting for a window's end" if self.units else "decoding" if is_ready else "starting the engine"
        meter = Meter(list(names), phase)
        number = protocol.PACK if len(names) > 1 else next(iter(names))
        self.units.append(Unit(number, names, meter, begun=now, safe=safe, logged=now))
        self._write(now)

    def clear(self) -> None:
        """Nothing is in hand any more."""
        self.units.clear()
        self._turn, self._is_moved_on = 0.0, True

    def find_interruptible(self) -> Unit | None:
        """Return the job between whose windows something may go now; None when there is none."""
        if len(self.units) != 1 or not self._is_moved_on or time.monotonic() < self._turn:
            return None
        (unit,) = self.units
        return None if unit.safe or unit.called_off or unit.number == protocol.PACK else unit

    def observe(self, number: int, event: protocol.Event) -> Unit | None:
        """Take in an event about the job, or the recording of a pack, of this number.

        Returns:
            What it is about; None when nothing is in hand of it, or no longer.
        """
        for place, unit in enumerate(self.units):
            if unit.reported is None and (unit.number == number or number in unit.names):
                unit.reported = time.monotonic()
            if unit.number == number:
                unit.meter.observe(event)
                self._is_moved_on = self._is_moved_on or not place
                if not isinstance(
                    event, protocol.Finished | protocol.Failed | protocol.Excluded | protocol.CalledOff
                ):
                    return unit
                self._end(place)
                return None
        for unit in self.units:
            if number in unit.names:
                unit.meter.observe_part(event)
                return unit
        return None

    def _end(self, place: int) -> None:
        unit, now = self.units.pop(place), time.monotonic()
        if place:
            self._turn = now + (now - (unit.reported or now))
        for other in self.units:
            other.meter.resume()

    def report(self, now: float) -> None:
        """Show and save how far the work is, if the last time is long enough ago; log it now and then."""
        if now - self._reported < _REPORT_SECONDS or not self.units:
            return
        self._write(now)
        unit = self.units[-1]
        reading = unit.meter.read()
        name = unit.names[reading.recording]
        self._progress(
            Progress(
                str(name),
                math.nan,
                reading.audio_s or 0.0,
                phase=reading.phase,
                percent=reading.percent,
                left_s=reading.eta_s,
                together=reading.together,
            )
        )
        if now - unit.logged >= _LOG_SECONDS:
            unit.logged = now
            self._log.info(
                "job.progress",
                job_id=reading.recording,
                file=decode_name(name),
                phase=reading.phase,
                percent=reading.percent,
                left_s=reading.eta_s,
                together=reading.together if reading.together > 1 else None,
            )

    def log_download(self, download: protocol.Downloading) -> None:
        """Log a download of a model at its start and every tenth of the way."""
        unit, tenths = self.units[-1], 10 * download.done // max(1, download.total)
        if tenths != unit.tenths:
            unit.tenths, unit.logged = tenths, time.monotonic()
            self._log.info(
                "model.downloading",
                model=download.model,
                repo=download.repo,
                percent=10 * tenths,
                bytes=download.total,
            )

    def _write(self, now: float) -> None:
        self._reported = now
        write_readings(self._state, [unit.meter.read() for unit in reversed(self.units)])

"""How far the work in progress is, as the daemon leaves it in a file for `status`.

Guarantees: every phase has a name; between two steps the time left falls with the clock and never
climbs. The file is replaced as a whole, about once a second, and not forced to the disk: it means
nothing once the daemon has ended. What is read is measured in `meter`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_NAME = "progress.json"
"""In the state folder."""
TRANSCRIBING = "transcribing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How far the worker is with what it was given in one job."""

    recording: int
    """Its number in the journal; of several that are transcribed together the first."""
    phase: str
    """For a person: `decoding`, `detecting speech`, `transcribing`, ..."""
    percent: float | None
    """Of the phase; None while nothing can be said."""
    eta_s: float | None
    """Seconds that were left at `as_of`; None while nothing can be said."""
    as_of: float
    """Seconds since the epoch."""
    started: float
    """When the attempt began, seconds since the epoch."""
    audio_s: float | None
    """Seconds of sound; None while they are not known, and of several recordings."""
    together: int = 1
    """How many recordings are transcribed together."""
    paused: bool = False
    """Whether short recordings go between its windows at present."""

    def read_eta(self, now: float) -> int | None:
        """Return the seconds left at `now`, seconds since the epoch: one at least."""
        if self.eta_s is None:
            return None
        passed = 0.0 if self.paused else max(0.0, now - self.as_of)
        return max(1, round(self.eta_s - passed))


def write_readings(state: Path, readings: Sequence[Reading]) -> None:
    """Leave the readings, that of the job in hand first; a disk that refuses costs only them."""
    path = state / FILE_NAME
    temporary = path.with_name(f".{FILE_NAME}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps([dataclasses.asdict(reading) for reading in readings]))
        os.replace(temporary, path)  # noqa: PTH105 (the same, and it names what is wanted)


def read_readings(state: Path) -> list[Reading]:
    """Return what a running daemon has left; none when there is nothing that can be read."""
    try:
        return [Reading(**each) for each in json.loads((state / FILE_NAME).read_text())]
    except (OSError, ValueError, TypeError):
        return []

"""Measures how far the work in progress is, by the events of the worker.

Guarantees: the time left follows from what this attempt has done since its first window was begun,
not from windows that were done before. What goes between counts as time: engines work ahead
meanwhile, and more may come.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dropscribe import protocol
from dropscribe.backends import SAMPLE_RATE
from dropscribe.supervisor.progress import TRANSCRIBING, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOADING = "loading the model"
_SPEAKERS_WEIGHT = 1 / 3
"""What telling speakers apart takes of the time of transcription at most."""


class Meter:
    """Measures the work on one job. Times are those of `clock`, which may not jump."""

    def __init__(self, recordings: Sequence[int], phase: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`recordings` are their numbers in the journal."""
        self._clock = clock
        self._recordings = recordings
        self._finished = self._decoded = 0  # of several recordings
        self._is_loaded = False
        self.decoded_s = 0.0
        """Seconds of sound that were decoded at least."""
        self._phase = phase
        self._share: float | None = None
        self._audio_s: float | None = None
        self._started = time.time()
        self._weights: list[int] = []  # samples of each window
        self._first = self._next = 0  # windows: that this attempt began with, and that comes next
        self._began = 0.0  # when the first window of this attempt was begun
        self._paused_at: float | None = None
        self._left: tuple[float, float] | None = None  # seconds left, and when that was so

    @property
    def left_s(self) -> float | None:
        """Seconds left after the last step; None while nothing can be said."""
        return None if self._left is None else self._left[0]

    @property
    def work_left_s(self) -> float | None:
        """Seconds of sound that are not transcribed yet; None while the windows are not known.

        To tell the speakers of a second apart counts as a part of transcribing it.
        """
        if self._phase == protocol.SPEAKERS_PHASE and self._audio_s is not None:
            return self._audio_s * (1 - (self._share or 0.0)) * _SPEAKERS_WEIGHT
        return sum(self._weights[self._next :]) / SAMPLE_RATE if self._weights else None

    def enter(self, phase: str, share: float | None = None) -> None:
        """Begin a phase, or go on with it where it is the same; `share` of it is done, 0 to 1."""
        self._phase, self._share = phase, share

    def observe(self, event: protocol.Event) -> None:
        """Take in one event of the worker about the job."""
        match event:
            case protocol.Ready():
                self.enter("decoding")
            case protocol.Heartbeat(phase=phase, share=share, done_s=seconds) if phase:
                self.decoded_s = max(self.decoded_s, seconds)
                self.enter(phase, share)
            case protocol.Decoded():
                self._audio_s = event.audio_s
                self.enter(LOADING)
            case protocol.Downloading():
                self.enter(f"downloading the model {event.model}", event.done / max(1, event.total))
            case protocol.Loaded():
                self._is_loaded = True
                self.enter("detecting speech")
            case protocol.Planned():
                self._plan(event)
            case protocol.WindowDone():
                self._step(self._next + 1)

    def observe_part(self, event: protocol.Event) -> None:
        """Take in one event about a recording of a job on several."""
        if not self._is_loaded and isinstance(event, protocol.Decoded | protocol.Excluded):
            self._decoded += 1
            share = self._decoded / len(self._recordings)
            self.enter("decoding" if share < 1 else LOADING, share if share < 1 else None)
        elif self._is_loaded and isinstance(event, protocol.Finished | protocol.Excluded | protocol.Failed):
            self._finished += 1
            self.enter(TRANSCRIBING, min(1.0, self._finished / max(1, len(self._recordings))))

    def pause(self) -> None:
        """Others go between."""
        self._paused_at = self._clock()

    def resume(self) -> None:
        """The others are done."""
        if self._paused_at is not None:
            away, self._paused_at = self._clock() - self._paused_at, None
            if self._left is not None:
                self._left = (self._left[0], self._left[1] + away)

    def read(self) -> Reading:
        """Return how far the work is now."""
        now = self._paused_at if self._paused_at is not None else self._clock()
        left = None if self._left is None else max(1.0, self._left[0] - (now - self._left[1]))
        return Reading(
            recording=self._recordings[0],
            phase=self._phase,
            percent=None if self._share is None else round(100 * self._share, 1),
            eta_s=None if left is None else round(left, 1),
            as_of=time.time(),
            started=self._started,
            audio_s=self._audio_s,
            together=len(self._recordings),
            paused=self._paused_at is not None,
        )

    def _plan(self, planned: protocol.Planned) -> None:
        self._weights = [window[-1] - window[0] for window in planned.plan.windows]
        self._first = planned.done
        self._began = self._clock()
        self._step(planned.done)

    def _step(self, done: int) -> None:
        """So many windows are done, in this attempt and before."""
        self._next = min(done, len(self._weights))
        total, ahead = sum(self._weights), sum(self._weights[self._next :])
        self.enter(TRANSCRIBING, 1 - ahead / total if total else 1.0)
        here = sum(self._weights[self._first : self._next])
        if here:
            now = self._clock()
            self._left = ((now - self._began) * ahead / here, now)

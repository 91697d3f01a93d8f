"""The work in progress on one recording, as a value."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import protocol
from dropscribe.supervisor.names import decode_name
from dropscribe.transcript import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Recording
    from dropscribe.transcript import Transcript


@dataclass
class Job:
    """The work in progress on one recording, and what the worker has reported of it."""

    recording: Recording
    settings: Settings
    """Those in force for it when it was claimed."""
    packed: bool
    """Whether it was given to the worker together with others."""
    begun: float
    """time.monotonic() when it was given to the worker."""
    decoded: protocol.Decoded | None = None
    loaded: protocol.Loaded | None = None
    planned: protocol.Planned | None = None
    windows: int = 0
    """Windows that are done."""
    speakers: protocol.SpeakersFound | None = None
    transcribed: Transcript | None = None
    """What was transcribed before, where only its speakers are to be found."""

    @property
    def audio_s(self) -> float:
        """Seconds of sound; 0 before it is decoded."""
        return self.decoded.audio_s if self.decoded else 0.0

    def make_source(self) -> Source:
        """Return what a transcript says of its recording, but for what decoding brings."""
        recording = self.recording
        assert recording.sha256 is not None  # noqa: S101 (it was digested before it was queued)
        return Source(
            name=decode_name(recording.name.name),
            path=decode_name(recording.name),
            sha256=recording.sha256,
            bytes=recording.size,
        )


def read_resume(checkpoints: Sequence[protocol.JSON]) -> protocol.Resume | None:
    """Return where work goes on; None to begin it.

    The checkpoints of another version may not be readable.
    """
    if not checkpoints:
        return None
    plan, *windows = checkpoints
    with contextlib.suppress(protocol.ProtocolError):
        heard = [list(protocol.WindowDone.from_json(window).heard) for window in windows]
        return protocol.Resume.from_json(plan | {"done": len(windows), "heard": heard})
    return None

"""How a recording is cut and transcribed, work that was interrupted, and work that was done ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from dropscribe.protocol.values import JSON, read_value, reading, write_value
from dropscribe.transcript import Notice  # noqa: TC001 (the types of fields are read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a recording is cut, and with what it is transcribed.

    Finished windows are joined only with windows of an equal plan.
    """

    samples: int
    """Samples of the recording, 16 kHz."""
    windows: tuple[tuple[int, ...], ...]
    """The edges of each window, in samples of its channel: `backends.Window.edges`."""
    cut: tuple[tuple[int, ...], ...] = ()
    """The same before the languages were decided, which may divide windows."""
    speakers: tuple[str, ...] = ()
    """Who speaks on each channel; none for the mix of all channels."""
    voices: tuple[int, ...] = ()
    """The channel of each window."""
    languages: tuple[str, ...] = ()
    """The language of each window."""
    backend: str = ""
    device: str = ""
    folder: str = ""
    """The model's."""
    revision: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    """The backend's own settings."""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Work on a recording that was interrupted: its plan, and how much of it is done."""

    plan: Plan
    done: int
    """Windows."""
    language: str
    language_probability: float | None
    runner_up: str = ""
    """See `Planned`."""
    heard: tuple[tuple[dict[str, float], ...], ...] = ()
    """Of each window that is done, `WindowDone.heard`."""

    @classmethod
    def from_json(cls, data: JSON) -> Self:
        """Build from a plan's JSON that also has the other fields. Raises: ProtocolError."""
        with reading("work to resume"):
            own = {name: data[name] for name in ("done", "language", "language_probability")}
            heard = read_value(tuple[tuple[dict[str, float], ...], ...], data.get("heard", []))
            return cls(plan=read_value(Plan, data), runner_up=data.get("runner_up", ""), heard=heard, **own)

    def to_json(self) -> JSON:
        """Return what `from_json` reads."""
        data: JSON = write_value(self)
        plan: JSON = data.pop("plan")
        return plan | data


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechFound:
    """Where somebody speaks in a recording that was prepared: `worker.speech.Speech`, but for its
    samples, which are in the spool file.
    """

    event: ClassVar[str] = "speech"
    samples: int
    """In the spool file."""
    length: int
    channel_spans: tuple[tuple[tuple[int, ...], ...], ...]
    """Of each channel: first sample and one past the last of each span."""
    stride: int = 0
    speakers: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()

"""Messages between supervisor and worker: jobs one way, events the other, a JSON object a line.

Both ends use this module alone: `encode_job` and `decode_job`, `encode_event` and `decode_event`.
So do the command line, `doctor` and `bench`, which start workers of their own.

Guarantees: standard library only, because the worker may run under another interpreter; every job
and event is a frozen dataclass whose fields are the keys of its JSON; `decode(encode(x)) == x`;
unknown keys are ignored, so a daemon goes on working with the worker of the next version while an
update is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dropscribe.transcript import Notice, Segment, to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

PACK = 0
"""The number of a job on several recordings at once; no recording has it."""

JSON = dict[str, Any]
"""A JSON object."""


class ProtocolError(ValueError):
    """A line is no job, or no event, of this protocol."""


# What jobs and events are made of


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """One backend to try."""

    name: str
    reason: str
    """Why it has its place in the order."""
    python: str = ""
    """The interpreter that has it; empty for the daemon's own."""
    options: dict[str, str] = field(default_factory=dict)
    """Its own settings, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The part of a job that comes from the settings. See `config/default.toml`."""

    backends: tuple[BackendChoice, ...]
    """Those to try, best first."""
    model: str
    language: str = "auto"
    task: str = "transcribe"
    prompt: str = ""
    hotwords: str | None = None
    """The glossary, with commas between."""
    languages: tuple[str, ...] = ()
    mixed_languages: str = "auto"
    channels: tuple[str, ...] = ()
    split_channels: str = "auto"
    audio_track: int = 0
    """The number of the sound track, from 1; 0 to choose."""
    speech_threshold: float = 0.5
    """The probability from which on sound is speech; 0 for all of it."""
    threads: int = 0
    batch: int = 0
    max_seconds: float | None = None
    """A longer recording is refused."""
    download: bool = False
    """Whether a model that is missing may be downloaded."""


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

    @classmethod
    def from_json(cls, data: JSON) -> Self:
        """Build from a plan's JSON that also has the other fields. Raises: ProtocolError."""
        with _reading("work to resume"):
            own = {name: data[name] for name in ("done", "language", "language_probability")}
            return cls(plan=_read(Plan, data), **own)

    def to_json(self) -> JSON:
        """Return what `from_json` reads."""
        data: JSON = _write(self)
        plan: JSON = data.pop("plan")
        return plan | data


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A recording to read."""

    job: int
    """The number that events about it carry."""
    path: str
    spool: str
    """Where its decoded sound is kept while work on it lasts."""


# Jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeJob:
    """Transcribe one recording."""

    op: ClassVar[str] = "transcribe"
    recording: RecordingFile
    request: Request
    resume: Resume | None = None
    safe: bool = False
    """A last attempt: on the CPU, with the options that can go least wrong."""

    @property
    def job(self) -> int:
        """Its number."""
        return self.recording.job


@dataclass(frozen=True, slots=True, kw_only=True)
class PackJob:
    """Transcribe several short recordings in shared windows."""

    op: ClassVar[str] = "pack"
    job: int = PACK
    recordings: tuple[RecordingFile, ...]
    request: Request
    safe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckJob:
    """Load the model and send one second of a soft tone through it."""

    op: ClassVar[str] = "check"
    job: int
    request: Request
    safe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageJob:
    """Report the most memory the process has held."""

    op: ClassVar[str] = "usage"
    job: int


ModelJob = TranscribeJob | PackJob | CheckJob
"""A job that needs a model."""
Job = ModelJob | UsageJob


def encode_job(job: Job) -> str:
    """Return a job as its line."""
    data: JSON = {"job": job.job, "op": job.op}
    match job:
        case TranscribeJob():
            data |= {**_write(job.recording), "resume": None if job.resume is None else job.resume.to_json()}
        case PackJob():
            data["recordings"] = _write(job.recordings)
    if not isinstance(job, UsageJob):
        data |= {"safe": job.safe, **_write(job.request)}
    return json.dumps(data) + "\n"


def decode_job(line: str) -> Job:
    """Read what `encode_job` wrote. Raises: ProtocolError."""
    with _reading("job"):
        data = json.loads(line)
        number, op = data["job"], data["op"]
        if op == UsageJob.op:
            return UsageJob(job=number)
        request, safe = _read(Request, data), data.get("safe", False)
        match op:
            case TranscribeJob.op:
                resume = None if data.get("resume") is None else Resume.from_json(data["resume"])
                return TranscribeJob(recording=_read(RecordingFile, data), request=request, resume=resume, safe=safe)
            case PackJob.op:
                recordings = _read(tuple[RecordingFile, ...], data["recordings"])
                return PackJob(job=number, recordings=recordings, request=request, safe=safe)
            case CheckJob.op:
                return CheckJob(job=number, request=request, safe=safe)
        raise ProtocolError(f"There is no job {op!r}.")


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The process waits for its first job."""

    event: ClassVar[str] = "ready"
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line for the log, which only the parent writes."""

    event: ClassVar[str] = "log"
    level: str
    name: str
    facts: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The work goes on: decoding, detection of speech or of languages."""

    event: ClassVar[str] = "decoding"
    done_s: float = 0.0
    """Seconds of the recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The recording is decoded into its spool file."""

    event: ClassVar[str] = "decoded"
    audio_s: float
    decode_s: float
    """Seconds it took."""
    channels: int
    codec: str
    recorded_at: str | None = None
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloading:
    """A model is being downloaded."""

    event: ClassVar[str] = "model"
    model: str
    repo: str
    done: int
    """Bytes."""
    total: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A backend cannot be used; the next one is tried."""

    event: ClassVar[str] = "fallback"
    backend: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The model is in memory."""

    event: ClassVar[str] = "loaded"
    backend: str
    reason: str
    """Why this backend."""
    device: str
    multilingual: bool
    model: str
    revision: str | None
    folder: str
    versions: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    load_s: float = 0.0
    """Seconds it took; 0 when it was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The recording is cut into windows and their languages are decided."""

    event: ClassVar[str] = "planned"
    plan: Plan
    done: int
    """Windows that are done already."""
    language: str
    language_probability: float | None
    speech_s: float
    plan_s: float
    """Seconds it took."""
    notices: tuple[Notice, ...] = ()

    def to_checkpoint(self) -> JSON:
        """Return what `Resume.from_json` needs, but for the number of windows that are done."""
        own = {"language": self.language, "language_probability": self.language_probability}
        return _write(self.plan) | own  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDone:
    """One window is transcribed."""

    event: ClassVar[str] = "window"
    index: int
    start_s: float
    end_s: float
    seconds: float
    """What it took."""
    segments: tuple[Segment, ...] = ()
    warnings: tuple[Notice, ...] = ()

    @classmethod
    def from_json(cls, data: JSON) -> Self:
        """Build from a JSON object, such as a checkpoint of the journal. Raises: ProtocolError."""
        with _reading("window"):
            window: Self = _read(cls, data)
            return window

    def to_json(self) -> JSON:
        """Return what `from_json` reads."""
        return _write(self)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A recording cannot be transcribed in its pack, only alone."""

    event: ClassVar[str] = "apart"
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The job is done. What is measured depends on the job."""

    event: ClassVar[str] = "finished"
    seconds: float | None = None
    """`CheckJob`: what the second of sound took."""
    memory_bytes: int | None = None
    """`UsageJob`."""
    device_bytes: int | None = None
    """`UsageJob`: the most that MLX held for arrays; None for other engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job failed."""

    event: ClassVar[str] = "failed"
    fault: str
    """A value of `errors.Fault`."""
    code: str
    message: str
    cure: str = ""
    detail: str = ""
    """A traceback, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The process has ended: always its last event. The parent makes it."""

    event: ClassVar[str] = "exit"
    code: int
    how: str
    """For a person: `exit code 3`, `signal SIGKILL`."""
    stderr: str = ""
    """The last lines it wrote there."""


WrittenEvent = (
    Ready
    | LogLine
    | Heartbeat
    | Decoded
    | Downloading
    | Fallback
    | Loaded
    | Planned
    | WindowDone
    | Excluded
    | Finished
    | Failed
)
"""An event that the worker writes."""
Event = WrittenEvent | Exited

_KINDS: dict[str, type[WrittenEvent]] = {kind.event: kind for kind in typing.get_args(WrittenEvent)}


def encode_event(job: int, event: WrittenEvent) -> str:
    """Return an event about a job as its line."""
    return json.dumps({"event": event.event, "job": job, **_write(event)}) + "\n"


def decode_event(line: str) -> tuple[int, WrittenEvent]:
    """Read what `encode_event` wrote: the job's number and the event. Raises: ProtocolError."""
    with _reading("event"):
        data = json.loads(line)
        return int(data["job"]), _read(_KINDS[data["event"]], data)


# Reading and writing dataclasses


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what unexpected JSON raises into a ProtocolError."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProtocolError(f"It is no {what}: {error!r}.") from error


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _read(kind: Any, value: Any) -> Any:
    """Return JSON as a value of the type `kind`: a dataclass, a tuple, or as JSON has it."""
    if isinstance(kind, types.UnionType):  # of one type and None
        return None if value is None else _read(typing.get_args(kind)[0], value)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        item = typing.get_args(kind)[0]
        return tuple(_read(item, each) for each in value)
    if dataclasses.is_dataclass(kind):
        named = _types(typing.cast("type", kind))
        return kind(**{name: _read(of, value[name]) for name, of in named.items() if name in value})  # type: ignore[operator]
    return value


def _write(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, tuples as lists."""
    if isinstance(value, tuple):
        return [_write(each) for each in value]
    if isinstance(value, Segment | Notice):
        return to_dict(value)  # leaves out what is unknown
    if dataclasses.is_dataclass(value):
        return {each.name: _write(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return value

"""What supervisor and worker say to each other: jobs one way, events the other, one JSON object a line.

Both ends use this module alone: `encode_job` and `decode_job`, `encode_event` and `decode_event`. So do the command
line, `doctor` and `bench`, which start workers of their own.

Guarantees: standard library only, for the worker may run under another interpreter; every job and event is a frozen
dataclass whose fields are the keys of its JSON; unknown keys are ignored, so that a daemon goes on working with the
worker of the next version while an update is installed.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from dropscribe.transcript import Notice, Segment, segment_from_dict, to_dict

PACK = 0
"""The job number of work on several recordings at once; no recording has it."""


class ProtocolError(ValueError):
    """A line is no job, or no event, of this protocol."""


# What both ends know


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """One backend to try."""

    name: str
    reason: str
    """Why it stands where it stands in the order."""
    python: str = ""
    """The interpreter that has it; empty for the daemon's own."""
    options: dict[str, str] = field(default_factory=dict)
    """Its own settings, by name."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Build from a JSON object."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for: the part of a job that comes from the settings. See `config/default.toml`."""

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
    """How a recording is cut, and with what it is transcribed. Windows are joined only where all of this is equal."""

    samples: int
    """Samples of the recording, 16 kHz."""
    windows: tuple[tuple[int, ...], ...]
    """The edges of each window, in samples of its channel: `backends.Window.edges`."""
    cut: tuple[tuple[int, ...], ...] = ()
    """The same before languages were decided, which may divide windows."""
    speakers: tuple[str, ...] = ()
    """Who speaks on each channel; none for the mix."""
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

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Build from a JSON object."""
        found = _known(cls, data)
        found |= {name: _deep_tuple(found[name]) for name in ("windows", "cut") if name in found}
        return cls(**_tuples(cls, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Work on a recording that was interrupted: its plan, and how much of it is done."""

    plan: Plan
    done: int
    """Windows."""
    language: str
    language_probability: float | None


# Jobs


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A recording to read."""

    job: int
    """The number that events about it carry."""
    path: str
    spool: str
    """Where its decoded sound is kept while work on it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeJob:
    """Transcribe one recording."""

    op: ClassVar[str] = "transcribe"
    job: int
    path: str
    spool: str
    request: Request
    resume: Resume | None = None
    safe: bool = False
    """A last attempt: on the CPU, with the options that can go least wrong."""


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


Job = TranscribeJob | PackJob | CheckJob | UsageJob


def encode_job(job: Job) -> str:
    """Return a job as its line."""
    data: dict[str, Any] = {"job": job.job, "op": job.op}
    if isinstance(job, TranscribeJob):
        data |= {"path": job.path, "spool": job.spool, "resume": None if job.resume is None else _flat(job.resume)}
    if isinstance(job, PackJob):
        data |= {"recordings": _json(job.recordings)}
    if not isinstance(job, UsageJob):
        data |= {"safe": job.safe} | _json(job.request)
    return json.dumps(data) + "\n"


def decode_job(line: str) -> Job:
    """Read what `encode_job` wrote. Raises: ProtocolError."""
    try:
        data = json.loads(line)
        number = data["job"]
        if data["op"] == UsageJob.op:
            return UsageJob(job=number)
        request, safe = _request_from_json(data), data.get("safe", False)
        match data["op"]:
            case TranscribeJob.op:
                resume = None if data.get("resume") is None else resume_from_json(data["resume"])
                return TranscribeJob(
                    job=number, path=data["path"], spool=data["spool"], request=request, resume=resume, safe=safe
                )
            case PackJob.op:
                recordings = tuple(RecordingFile(**_known(RecordingFile, each)) for each in data["recordings"])
                return PackJob(job=number, recordings=recordings, request=request, safe=safe)
            case CheckJob.op:
                return CheckJob(job=number, request=request, safe=safe)
            case op:
                raise ProtocolError(f"unknown job: {op}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProtocolError(f"not a job: {error!r}") from error


def _request_from_json(data: dict[str, Any]) -> Request:
    found = _known(Request, data)
    found["backends"] = tuple(BackendChoice.from_json(each) for each in found["backends"])
    return Request(**_tuples(Request, found))


def _flat(resume: Resume) -> dict[str, Any]:
    own = {"done": resume.done, "language": resume.language, "language_probability": resume.language_probability}
    return plan_to_json(resume.plan) | own


def resume_from_json(data: dict[str, Any]) -> Resume:
    """Build from what `plan_to_json` gave, with `done`, `language` and `language_probability` beside it."""
    return Resume(
        plan=Plan.from_json(data),
        done=data["done"],
        language=data["language"],
        language_probability=data["language_probability"],
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values."""
    found: dict[str, Any] = _json(plan)
    return found


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The process is there and waits for its first job."""

    event: ClassVar[str] = "ready"
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line for the log, of which the parent is the only writer."""

    event: ClassVar[str] = "log"
    level: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """A sign of life: the recording is being decoded, or speech is being detected."""

    event: ClassVar[str] = "decoding"
    done_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The recording is decoded into its spool file."""

    event: ClassVar[str] = "decoded"
    audio_s: float
    decode_s: float
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
    notices: tuple[Notice, ...] = ()


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
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Build from a JSON object, such as a checkpoint of the journal."""
        found: Self = _load(cls, data)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = _json(self)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """One recording of a pack must be transcribed alone."""

    event: ClassVar[str] = "apart"
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The job is done. What is measured depends on the job."""

    event: ClassVar[str] = "finished"
    seconds: float | None = None
    """CheckJob: what the second of sound took."""
    memory_bytes: int | None = None
    """UsageJob."""
    device_bytes: int | None = None
    """UsageJob: the most that MLX held for arrays; None for other engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job failed. `fault` is a value of `errors.Fault`."""

    event: ClassVar[str] = "failed"
    fault: str
    code: str
    message: str
    cure: str = ""
    detail: str = ""
    """A traceback, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The process has ended: always its last event, and never written by the process itself."""

    event: ClassVar[str] = "exit"
    code: int
    how: str
    """For a person: `exit code 3`, `signal SIGKILL`."""
    stderr: str = ""
    """The last lines it wrote."""


Event = (
    Ready
    | LogLine
    | Decoding
    | Decoded
    | Downloading
    | Fallback
    | Loaded
    | Planned
    | WindowDone
    | Apart
    | Finished
    | Failed
    | Exited
)

_EVENTS: dict[str, type[Event]] = {
    kind.event: kind
    for kind in (
        Ready,
        LogLine,
        Decoding,
        Decoded,
        Downloading,
        Fallback,
        Loaded,
        Planned,
        WindowDone,
        Apart,
        Finished,
        Failed,
    )
}


def encode_event(job: int, event: Event) -> str:
    """Return an event about a job as its line."""
    return json.dumps({"event": event.event, "job": job} | _json(event)) + "\n"


def decode_event(line: str) -> tuple[int, Event]:
    """Read what `encode_event` wrote: the job's number and the event. Raises: ProtocolError."""
    try:
        data = json.loads(line)
        return int(data["job"]), _load(_EVENTS[data["event"]], data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProtocolError(f"not an event: {error!r}") from error


# Reading and writing dataclasses


def _known(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {f.name: data[f.name] for f in dataclasses.fields(kind) if f.name in data}


def _tuples(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Return the values with lists as tuples where the field is a tuple."""
    of_tuples = {f.name for f in dataclasses.fields(kind) if str(f.type).startswith("tuple")}
    return {name: tuple(v) if name in of_tuples and isinstance(v, list) else v for name, v in data.items()}


def _deep_tuple(value: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in value)


def _json(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, tuples as lists."""
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    if isinstance(value, Segment | Notice):
        return to_dict(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def _load(kind: Any, data: dict[str, Any]) -> Any:
    found = _known(kind, data)
    for name in ("warnings", "notices"):
        if name in found:
            found[name] = tuple(Notice(**_known(Notice, each)) for each in found[name])
    if "segments" in found:
        found["segments"] = tuple(segment_from_dict(each) for each in found["segments"])
    if "plan" in found:
        found["plan"] = Plan.from_json(found["plan"])
    return kind(**_tuples(kind, found))

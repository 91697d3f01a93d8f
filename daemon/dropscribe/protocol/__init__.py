"""Messages between supervisor and worker: jobs one way, events the other, a JSON object a line.

Both ends use this module alone: `encode_job` and `decode_job`, `encode_event` and `decode_event`.
So do the command line, `doctor` and `bench`, which start workers of their own.

Guarantees: standard library only, because the worker may run under another interpreter; every job
and event is a frozen dataclass whose fields are the keys of its JSON; `decode(encode(x)) == x`;
unknown keys are ignored, so a daemon goes on working with the worker of the next version while an
update is installed.
"""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass, field
from typing import ClassVar, Self

from dropscribe.protocol.plan import Plan as Plan
from dropscribe.protocol.plan import Resume as Resume
from dropscribe.protocol.plan import SpeechFound as SpeechFound
from dropscribe.protocol.values import JSON as JSON
from dropscribe.protocol.values import ProtocolError as ProtocolError
from dropscribe.protocol.values import read_value, reading, write_value
from dropscribe.transcript import Notice, Segment, Speaker  # noqa: TC001 (the types of fields are read)
from dropscribe.voices import KnownVoice  # noqa: TC001 (as above)

PACK = 0
"""The number of a job on several recordings at once; no recording has it."""

SPEAKERS_PHASE = "telling speakers apart"
"""The phase of a `Heartbeat` after the last window."""


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
    speakers: tuple[str, ...] = ()
    """Who speaks in one channel: none where nobody asks; `auto`; a number; or names."""
    voices: tuple[KnownVoice, ...] = ()
    """The voices that speakers are compared with."""
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
    most_seconds: float | None = None
    """A longer recording is not transcribed now, but `Excluded`: others wait for this one's end."""

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
class SpeakersJob:
    """Tell who speaks when in a recording that is transcribed already."""

    op: ClassVar[str] = "speakers"
    recording: RecordingFile
    request: Request
    most_seconds: float | None = None
    """As for `TranscribeJob`."""

    @property
    def job(self) -> int:
        """Its number."""
        return self.recording.job


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """Decode a recording and detect its speech while another one is transcribed.

    Nothing is promised and nothing reported: if it is done when the recording's own job comes, with
    the same file, spool and settings, that job begins with it.
    """

    op: ClassVar[str] = "prepare"
    recording: RecordingFile
    request: Request

    @property
    def job(self) -> int:
        """The number of the recording's own job."""
        return self.recording.job


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOffJob:
    """Give up the job of this number, if it is in progress."""

    op: ClassVar[str] = "call-off"
    job: int


ModelJob = TranscribeJob | PackJob | CheckJob
"""A job that needs a model.

One may be sent while a `TranscribeJob` is in progress that has its model loaded, and needs the same
one: it is done between two windows of that, which then goes on. See `worker.interruptions`.
"""
EasyJob = UsageJob | SpeakersJob | PrepareJob | CallOffJob
"""A job that needs no model of Whisper's."""
Job = ModelJob | EasyJob


def encode_job(job: Job) -> str:
    """Return a job as its line."""
    data: JSON = {"job": job.job, "op": job.op}
    match job:
        case TranscribeJob():
            data |= {**write_value(job.recording), "resume": None if job.resume is None else job.resume.to_json()}
            data["most_seconds"] = job.most_seconds
        case PackJob():
            data["recordings"] = write_value(job.recordings)
        case SpeakersJob():
            data |= {**write_value(job.recording), **write_value(job.request), "most_seconds": job.most_seconds}
        case PrepareJob():
            data |= {**write_value(job.recording), **write_value(job.request)}
    if not isinstance(job, EasyJob):
        data |= {"safe": job.safe, **write_value(job.request)}
    return json.dumps(data) + "\n"


def decode_job(line: str) -> Job:
    """Read what `encode_job` wrote. Raises: ProtocolError."""
    with reading("job"):
        data = json.loads(line)
        number, op = data["job"], data["op"]
        if op == UsageJob.op:
            return UsageJob(job=number)
        if op == CallOffJob.op:
            return CallOffJob(job=number)
        request, safe = read_value(Request, data), data.get("safe", False)
        match op:
            case TranscribeJob.op:
                resume = None if data.get("resume") is None else Resume.from_json(data["resume"])
                return TranscribeJob(
                    recording=read_value(RecordingFile, data),
                    request=request,
                    resume=resume,
                    safe=safe,
                    most_seconds=data.get("most_seconds"),
                )
            case PackJob.op:
                recordings = read_value(tuple[RecordingFile, ...], data["recordings"])
                return PackJob(job=number, recordings=recordings, request=request, safe=safe)
            case SpeakersJob.op:
                file = read_value(RecordingFile, data)
                return SpeakersJob(recording=file, request=request, most_seconds=data.get("most_seconds"))
            case PrepareJob.op:
                return PrepareJob(recording=read_value(RecordingFile, data), request=request)
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
    """The work goes on: decoding, detection of speech, of languages or of speakers."""

    event: ClassVar[str] = "decoding"
    done_s: float = 0.0
    """Seconds of the recording."""
    phase: str = ""
    """`decoding`, `detecting speech`, `deciding languages`."""
    share: float | None = None
    """How much of the phase is done, 0 to 1; None where nobody can say."""


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
    sound: str = ""
    """Digest of the decoded samples: equal for the same sound under another name, with another tag
    or in another lossless format. Empty where none was made.
    """
    ahead: bool = False
    """Whether that was done while another recording was transcribed."""


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
    """The recording is cut into windows and their languages are decided.

    Where it comes again, what was reported of the windows from `done` on is void.
    """

    event: ClassVar[str] = "planned"
    plan: Plan
    done: int
    """Windows that are done already."""
    language: str
    language_probability: float | None
    speech_s: float
    plan_s: float
    """Seconds it took, this time."""
    runner_up: str = ""
    """The second likeliest language, where the first is in doubt."""
    notices: tuple[Notice, ...] = ()

    def to_checkpoint(self) -> JSON:
        """Return what `Resume.from_json` needs, but for the number of windows that are done."""
        own = {name: getattr(self, name) for name in ("language", "language_probability", "runner_up")}
        return write_value(self.plan) | own  # type: ignore[no-any-return]


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
    heard: tuple[dict[str, float], ...] = ()
    """The probabilities of the languages in its parts, where the plan may change by them."""

    @classmethod
    def from_json(cls, data: JSON) -> Self:
        """Build from a JSON object, such as a checkpoint of the journal. Raises: ProtocolError."""
        with reading("window"):
            window: Self = read_value(cls, data)
            return window

    def to_json(self) -> JSON:
        """Return what `from_json` reads."""
        return write_value(self)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakersFound:
    """Who speaks when in the recording."""

    event: ClassVar[str] = "speakers"
    speakers: tuple[Speaker, ...]
    """In order of appearance."""
    channels: tuple[str, ...] = ()
    """The channel of each speaker, by the name that its words have; none for the mix of all channels."""
    labelled: bool = True
    """Whether the words are to carry the names: one voice alone, of nobody in particular, needs none."""
    seconds: float = 0.0
    """What it took."""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A recording cannot be transcribed in its pack, only alone; or is too long to go between."""

    event: ClassVar[str] = "apart"
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledOff:
    """The job was given up, as `CallOffJob` asked."""

    event: ClassVar[str] = "called-off"


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
    | SpeechFound
    | Downloading
    | Fallback
    | Loaded
    | Planned
    | WindowDone
    | SpeakersFound
    | Excluded
    | CalledOff
    | Finished
    | Failed
)
"""An event that the worker writes."""
Event = WrittenEvent | Exited

_KINDS: dict[str, type[WrittenEvent]] = {kind.event: kind for kind in typing.get_args(WrittenEvent)}


def encode_event(job: int, event: WrittenEvent) -> str:
    """Return an event about a job as its line."""
    return json.dumps({"event": event.event, "job": job, **write_value(event)}) + "\n"


def decode_event(line: str) -> tuple[int, WrittenEvent]:
    """Read what `encode_event` wrote: the job's number and the event. Raises: ProtocolError."""
    with reading("event"):
        data = json.loads(line)
        return int(data["job"]), read_value(_KINDS[data["event"]], data)

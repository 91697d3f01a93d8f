"""The commands and the arguments of each, as a type of its own: what `parser.parse` returns.

They are NamedTuples: 25 frozen dataclasses would add 10 ms to every start, these add 2 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Run(NamedTuple):
    """`run`: the daemon in the foreground."""

    once: bool
    """End when the inbox is empty."""
    wait: bool
    """Where a daemon runs already, wait until that has emptied the inbox."""
    flags: dict[str, str]
    """Settings given as flags, by setting name."""


class Transcribe(NamedTuple):
    """`transcribe`: files, without the daemon."""

    files: list[Path]
    output: Path | None
    """A folder for files in every format that is set; None writes one format to stdout."""
    format: str
    json: bool
    flags: dict[str, str]


class Export(NamedTuple):
    """`export`: other formats of a finished transcript."""

    transcript: Path
    to: str
    """Format names with commas between."""
    srt_speakers: str
    """The value of the setting."""
    output: Path | None
    flags: dict[str, str]
    """Settings of subtitles."""


class Status(NamedTuple):
    """`status`: what the daemon does."""

    json: bool
    watch: bool = False


class Why(NamedTuple):
    """`why`: what happened to one file."""

    file: Path
    json: bool


class Retry(NamedTuple):
    """`retry`: failed recordings and hooks."""

    files: list[Path]
    all: bool


class Skip(NamedTuple):
    """`skip`: recordings that are not to be transcribed."""

    files: list[Path]


class Redo(NamedTuple):
    """`redo`: finished recordings."""

    files: list[Path]
    stale: bool


class Speakers(NamedTuple):
    """`speakers`: who speaks in a finished recording, and other names for them."""

    file: Path
    names: list[str]
    """Each `old=new`."""
    json: bool


class AddVoice(NamedTuple):
    """`voices add`: one more voice that is known, or one more sample of one."""

    name: str
    file: Path | None
    transcript: Path | None
    """JSON in whose recording the person speaks."""
    speaker: str | None
    """What the person is called in it."""


class ListVoices(NamedTuple):
    """`voices list`: whose voices are known."""

    json: bool


class RemoveVoice(NamedTuple):
    """`voices remove`: a voice that is to be forgotten."""

    name: str


class Search(NamedTuple):
    """`search`: sentences in all transcripts."""

    words: list[str]
    speaker: str
    since: str
    language: str
    limit: int
    rebuild: bool
    json: bool


class Apply(NamedTuple):
    """`apply`: a text that was edited by hand, for all formats of its transcript."""

    file: Path | None
    undo: Path | None
    """A recording whose last correction is taken back."""
    json: bool


class Summarize(NamedTuple):
    """`summarize`: title, summary and chapters of a transcript."""

    files: list[Path]
    """A transcript, or a recording and all its outputs as a hook has them."""
    endpoint: str
    model: str
    """Empty: the first that the server lists."""
    allow_remote: bool
    timeout: float


class Memos(NamedTuple):
    """`memos`: copies of Apple's Voice Memos into the inbox."""

    folder: Path | None
    """None: where Voice Memos keeps them."""
    list: bool
    """Only show them."""
    json: bool


class Pause(NamedTuple):
    """`pause`: it has no arguments."""


class Resume(NamedTuple):
    """`resume`: it has no arguments."""


class Logs(NamedTuple):
    """`logs`: the end of the log."""

    follow: bool
    lines: int


class Doctor(NamedTuple):
    """`doctor`: checks of this installation."""

    json: bool
    report: bool
    """Print what can be pasted into an issue."""
    flags: dict[str, str]


class Bench(NamedTuple):
    """`bench`: speed and memory of engines and models."""

    file: Path | None
    models: list[str]
    backend: str | None
    download: bool
    json: bool


class ListModels(NamedTuple):
    """`models`, `models list`."""

    backend: str | None
    json: bool


class PullModel(NamedTuple):
    """`models pull`."""

    model: str | None
    """None: the setting `model`."""
    backend: str | None
    """None: the one that this machine takes."""
    json: bool


class QuantizeModel(NamedTuple):
    """`models quantize`."""

    model: str | None
    bits: int
    backend: str | None
    json: bool


class RemoveModel(NamedTuple):
    """`models remove`."""

    model: str
    yes: bool
    """Also from the shared cache, and while the daemon uses it."""
    backend: str | None
    json: bool


class VerifyModel(NamedTuple):
    """`models verify`."""

    model: str | None
    backend: str | None
    json: bool


class LocateModel(NamedTuple):
    """`models path`."""

    model: str | None
    backend: str | None
    json: bool


class ListBackends(NamedTuple):
    """`backends`, `backends list`."""

    json: bool


class InstallBackend(NamedTuple):
    """`backends install`."""

    backend: str
    python: str
    """An interpreter or a version; empty for this one."""
    again: bool
    """Replace an environment that exists."""


class RemoveBackend(NamedTuple):
    """`backends remove`."""

    backend: str


class Service(NamedTuple):
    """`service`: the daemon as a background service."""

    action: Literal["install", "uninstall", "start", "stop", "restart", "status", "print"]
    platform: Literal["macos", "linux"] | None
    json: bool


class Serve(NamedTuple):
    """`serve`: the pages and the endpoint, in the foreground."""

    port: int
    """0: any that is free."""
    host: str
    """Empty: this machine alone."""
    token: str
    """Empty: the one in the state folder."""
    until_idle: float
    """End after so many hours without a request; 0: never."""
    flags: dict[str, str]


class Open(NamedTuple):
    """`open`: the library in the browser."""

    file: Path | None
    """A recording whose page is to be shown; None for the library."""
    print: bool
    """Print the address instead of opening it."""


class Config(NamedTuple):
    """`config`: the settings."""

    action: Literal["show", "check", "path"]
    file: Path | None
    json: bool
    flags: dict[str, str]


class Completion(NamedTuple):
    """`completion`: a script for a shell."""

    shell: Literal["bash", "zsh", "tcsh"]


Command = (
    Run
    | Transcribe
    | Export
    | Status
    | Why
    | Retry
    | Skip
    | Redo
    | Speakers
    | AddVoice
    | ListVoices
    | RemoveVoice
    | Search
    | Apply
    | Summarize
    | Memos
    | Pause
    | Resume
    | Logs
    | Doctor
    | Bench
    | ListModels
    | PullModel
    | QuantizeModel
    | RemoveModel
    | VerifyModel
    | LocateModel
    | ListBackends
    | InstallBackend
    | RemoveBackend
    | Service
    | Serve
    | Open
    | Config
    | Completion
)
"""Every command: `main` has one case for each, which mypy checks."""

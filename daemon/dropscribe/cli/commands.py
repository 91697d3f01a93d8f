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
    output: Path | None
    flags: dict[str, str]
    """Settings of subtitles."""


class Status(NamedTuple):
    """`status`: what the daemon does."""

    json: bool


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
    | Config
    | Completion
)
"""Every command: `main` has one case for each, which mypy checks."""

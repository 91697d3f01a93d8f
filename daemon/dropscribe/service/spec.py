"""What a service runs: the interpreter, the arguments and the environment, for both systems."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dropscribe.errors import UsageError
from dropscribe.service.tools import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

Platform = Literal["macos", "linux"]

LABEL = "app.dropscribe"
"""What launchd calls the service."""

_PATH = {
    # launchd's own PATH has no Homebrew (the first is Apple Silicon's, the second Intel's), where
    # programs that a hook calls may be. Fixed, not the shell's: else the file would differ with
    # each terminal.
    "macos": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "linux": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
}
# The rest of XDG_* (session, seat, runtime folder) belongs to one login and would be wrong in the
# next.
_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_PATHS = tuple(
    f"DROPSCRIBE_{name}"
    for name in ("CONFIG", "INBOX", "OUTBOX", "ARCHIVE", "STATE", "LOGS", "MODELS", "WHISPERX_PYTHON")
)


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be run, and with what around it. No string holds a control character."""

    interpreter: str
    """Absolute path of the Python that runs it; see `find_stable_interpreter`."""
    crash_log: Path
    """Absolute. Where launchd puts what is written outside our own log; systemd has its journal
    for that."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables and values, in the order they are written."""
    arguments: tuple[str, ...] = ("-m", "dropscribe", "run")
    label: str = LABEL

    def __post_init__(self) -> None:
        texts = [self.interpreter, str(self.crash_log), *self.arguments, self.label]
        for text in (*texts, *(f"{name}={value}" for name, value in self.environment)):
            # Neither a property list nor a unit can hold these; surrogates are bytes that were not
            # UTF-8.
            if not text or any(ord(char) < 0x20 or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text):
                raise UsageError(
                    f"A service file cannot hold {text!r}.",
                    "Use a path or value in plain UTF-8, in one line.",
                )
        for path in (self.interpreter, str(self.crash_log)):
            if not os.path.isabs(path):  # noqa: PTH117 -- of the other system perhaps; both write "/" first
                raise UsageError(f"A service needs an absolute path, and {path!r} is none.")

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command."""
        return (self.interpreter, *self.arguments)


def detect_platform() -> Platform:
    """Return the platform this runs on."""
    if sys.platform == "darwin":
        return "macos"
    if sys.platform == "linux":
        return "linux"
    raise ServiceError(
        f"Dropscribe cannot make itself a service on {sys.platform}.",
        "Have `dropscribe run` started at login by whatever does that here.",
    )


def make_spec(environ: Mapping[str, str], executable: str, *, logs: Path, platform: Platform | None = None) -> Spec:
    """Return what a service installed now would run.

    Args:
        environ: its `DROPSCRIBE_*`, `HF_*` and XDG folders are kept for the service, nothing else:
            a secret (`*TOKEN`) belongs in no service file, and the hub's library finds a saved one
            by itself.
        executable: `sys.executable`.
        logs: the folder of Dropscribe's logs.
        platform: `macos` or `linux`; this machine's if None.

    Raises: UsageError when `executable` cannot be trusted to stay.
    """
    kept = {
        name: str(Path(value).expanduser().absolute()) if name in _PATHS else value
        for name, value in sorted(environ.items())
        if value and (name in _FOLDERS or (name.startswith(("DROPSCRIBE_", "HF_")) and not name.endswith("TOKEN")))
    }
    return Spec(
        interpreter=find_stable_interpreter(executable),
        crash_log=logs / "crash.log",
        environment=(("PATH", _PATH[platform or detect_platform()]), *kept.items()),
    )


def find_stable_interpreter(executable: str) -> str:
    """Return the path under which the interpreter `executable` stays through updates.

    macOS binds a grant to read a guarded folder to the program that runs, which is the interpreter
    with every link resolved, and the service file names one path for ever. So:

    - the interpreter itself, never `uv run` or another launcher, which may choose a different one
      tomorrow;
    - never a versioned Homebrew path: `/opt/homebrew/Cellar/python@3.13/3.13.1/…` is removed by
      the next `brew upgrade`, while `/opt/homebrew/opt/python@3.13/…` is a link that goes on with
      it;
    - a virtual environment's own `bin/python`, NOT resolved: through the link Python finds the
      environment.

    Even so a point release behind the link is a new program to macOS, and the grant has to be
    given again.

    Raises: UsageError for a path that is not absolute or is in a cache.
    """
    if not executable.startswith("/"):
        raise UsageError(f"A service needs the interpreter's absolute path, and {executable!r} is none.")
    if re.search(r"/(archive|builds|environments)-v\d+/|/\.cache/pipx/|/pipx/\.cache/", executable):
        raise UsageError(
            f"{executable} is a passing environment of uv or pipx: its cleaning would end the service.",
            "Install Dropscribe for good, with `uv tool install` or `pipx install`, and run this again.",
        )
    cellar = re.fullmatch(r"(.*)/Cellar/([^/]+)/[^/]+/(.+)", executable)
    if cellar:
        linked = Path(cellar[1], "opt", cellar[2], cellar[3])
        if linked.exists():
            return str(linked)
    return executable

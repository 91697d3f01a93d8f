"""Dropscribe as a service of the machine: started at login, started again after a crash.

Guarantees: nothing is installed twice: `install` finds what is there, replaces it where it differs and says
what it did; a service file is whole or absent; every question to launchctl, systemctl or loginctl has a time
limit; nothing here prints. `render` and `path` ask nobody: a service file can be made for the other system.

The contract with `dropscribe run`: exit 0 means stopped on purpose, and the service manager leaves it so;
anything else is a crash and it is started again.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from dropscribe import files
from dropscribe.errors import DropscribeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Platform = Literal["macos", "linux"]

LABEL = "app.dropscribe"
"""What launchd calls the service."""

STOP_SECONDS = 20
"""How long the daemon may take to stop before it is killed; it needs a few seconds."""


class ServiceError(DropscribeError):
    """The service manager is not there, refused, or did not answer."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be run, and with what around it. No string holds a control character."""

    interpreter: str
    """Absolute path of the Python that runs it; see `stable_interpreter`."""
    crash_log: Path
    """Absolute. Where launchd puts what is written outside our own log; systemd has its journal for that."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables and values, in the order they are written."""
    arguments: tuple[str, ...] = ("-m", "dropscribe", "run")
    label: str = LABEL

    def __post_init__(self) -> None:
        texts = [self.interpreter, str(self.crash_log), *self.arguments, self.label]
        for text in (*texts, *(f"{name}={value}" for name, value in self.environment)):
            # Neither a property list nor a unit can hold these; surrogates are bytes that were not UTF-8.
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


@dataclass(frozen=True, slots=True)
class Status:
    """What the service manager says of the service."""

    installed: bool
    """The service file is there."""
    running: bool
    pid: int | None
    enabled: bool
    """It starts at login."""
    detail: str
    """The manager's own words for its state: `active (running)`, `not loaded`, ..."""
    file: Path
    """Where the service file is, or would be."""
    differs: bool
    """The installed file is not what `install` would write now. False with nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    action: Literal["installed", "replaced", "uninstalled", "started", "stopped", "restarted", "nothing"]
    detail: str
    """The same as a sentence."""
    notes: tuple[str, ...] = ()
    """What the person should know besides, each a sentence or two."""


class Manager(Protocol):
    """launchd or systemd. All but `name`, `render` and `path` ask it; `ServiceError` when that fails."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def render(self, spec: Spec) -> bytes:
        """Return the service file for `spec`."""
        ...

    def path(self) -> Path:
        """Return where the service file belongs."""
        ...

    def install(self, spec: Spec) -> Outcome:
        """Write the service file, have it started at login, and start it now; a running one starts anew."""
        ...

    def uninstall(self) -> Outcome:
        """Stop it and remove its file; recordings, transcripts, settings, state and logs stay."""
        ...

    def start(self) -> Outcome:
        """Start it."""
        ...

    def stop(self) -> Outcome:
        """Stop it until it is started again or the person logs in the next time."""
        ...

    def restart(self) -> Outcome:
        """Stop it and start it, or only start it."""
        ...

    def status(self, spec: Spec | None = None) -> Status:
        """Return its state, and whether the installed file is the one for `spec`."""
        ...


def platform_here() -> Platform:
    """Return the platform this runs on."""
    if sys.platform == "darwin":
        return "macos"
    if sys.platform == "linux":
        return "linux"
    raise ServiceError(
        f"Dropscribe cannot make itself a service on {sys.platform}.",
        "Have `dropscribe run` started at login by whatever does that here.",
    )


def manager(
    platform: Platform | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
    uid: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    patience: float = 10.0,
) -> Manager:
    """Return the service manager of `platform`, or of this machine.

    Args:
        platform: `macos` or `linux`; the file of either can be rendered anywhere.
        environ: where PATH is looked up and what the manager's programs get; `os.environ` if None.
        home: the person's home; `Path.home()` if None.
        uid: the person's number; `os.getuid()` if None.
        sleep: called with seconds between two questions.
        clock: seconds that never go back.
        patience: seconds that a program of the manager may take to answer.
    """
    platform = platform or platform_here()
    tools = Tools(os.environ if environ is None else environ, patience)
    home = home or Path.home()
    uid = os.getuid() if uid is None else uid
    if platform == "macos":
        from dropscribe.service.launchd import Launchd

        return Launchd(tools, home, uid, sleep, clock)
    if platform == "linux":
        from dropscribe.service.systemd import Systemd

        return Systemd(tools, home, uid)
    raise UsageError(f"There is no service for the platform {platform!r}.", "Say macos or linux.")


# What to run ------------------------------------------------------------------------------------------------

_PATH = {
    # launchd's own PATH has no Homebrew (the first is Apple Silicon's, the second Intel's), where programs
    # that a hook calls may be. Fixed, not the shell's: else the file would differ with each terminal.
    "macos": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "linux": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
}
# The rest of XDG_* (session, seat, runtime folder) belongs to one login and would be wrong in the next.
_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_PATHS = tuple(
    f"DROPSCRIBE_{name}"
    for name in ("CONFIG", "INBOX", "OUTBOX", "ARCHIVE", "STATE", "LOGS", "MODELS", "WHISPERX_PYTHON")
)


def spec_here(environ: Mapping[str, str], executable: str, *, logs: Path, platform: Platform | None = None) -> Spec:
    """Return what a service installed now would run.

    Args:
        environ: its `DROPSCRIBE_*`, `HF_*` and XDG folders are kept for the service, nothing else: a secret
            (`*TOKEN`) belongs in no service file, and the hub's library finds a saved one by itself.
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
        interpreter=stable_interpreter(executable),
        crash_log=logs / "crash.log",
        environment=(("PATH", _PATH[platform or platform_here()]), *kept.items()),
    )


def stable_interpreter(executable: str) -> str:
    """Return the path under which the interpreter `executable` stays through updates.

    macOS binds a grant to read a guarded folder to the program that runs, which is the interpreter with every
    link resolved, and the service file names one path for ever. So:

    - the interpreter itself, never `uv run` or another launcher, which may choose a different one tomorrow;
    - never a versioned Homebrew path: `/opt/homebrew/Cellar/python@3.13/3.13.1/…` is removed by the next
      `brew upgrade`, while `/opt/homebrew/opt/python@3.13/…` is a link that goes on with it;
    - a virtual environment's own `bin/python`, NOT resolved: through the link Python finds the environment.

    Even so a point release behind the link is a new program to macOS, and the grant has to be given again.

    Raises: UsageError for a path that is not absolute or lies in a cache.
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


# What both managers need ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its message, in one line."""
        return " ".join((self.err or self.out).split()) or f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of a service manager, found on the PATH of `environ`, each call with a time limit."""

    environ: Mapping[str, str]
    patience: float

    def ask(self, *command: str, more: float = 0.0) -> Answer:
        """Run `command` and return its answer; it may take `more` seconds longer than others.

        Raises: ServiceError when the program is missing or gave no answer in time.
        """
        limit = self.patience + more
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self.environ, "LC_ALL": "C"},  # the answers are read by a program
                start_new_session=True,  # so that what it started goes with it
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise ServiceError(
                f"The program {command[0]} cannot be run here: {error.strerror}.",
                "Dropscribe becomes a service of launchd on macOS, of systemd on Linux. Without either, have "
                "`dropscribe run` started by whatever starts programs here.",
            ) from error
        with process:
            try:
                out, err = process.communicate(timeout=limit)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise ServiceError(
                    f"`{' '.join(command)}` gave no answer within {limit:g} s.",
                    "Try again; if it stays so, log out and in again.",
                ) from error
        return Answer(process.returncode, out, err)


def read(path: Path) -> bytes | None:
    """Return what the file holds, None when there is none."""
    with _told(path, "read"):
        return path.read_bytes() if path.exists() else None


def remove(path: Path) -> None:
    """Remove the file, if there is one."""
    with _told(path, "removed"):
        path.unlink(missing_ok=True)


def folder(path: Path) -> None:
    """Make the folder, unless it is there."""
    with _told(path, "made"):
        path.mkdir(parents=True, exist_ok=True)


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, for its owner's eyes only; make its folder if need be."""
    folder(path.parent)
    with _told(path, "written"):
        files.write_atomically(path, content, prefix=f".{path.name}.", mode=0o600)


@contextlib.contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = f"See who owns it: `ls -ld '{path.parent}'`." if isinstance(error, PermissionError) else ""
        raise ServiceError(f"{path} cannot be {what}: {error.strerror}.", cure) from error

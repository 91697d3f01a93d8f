"""What a service runs: the interpreter, the arguments and the environment, for both systems."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

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
_OWN = ".local/bin"
"""In a home: where pip, pipx and uv put a person's own programs."""
# The rest of XDG_* (session, seat, runtime folder) belongs to one login and would be wrong in the
# next.
_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_SYSTEM = (
    # Which GPU, and where its libraries are.
    *("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    # The way to the hub, and whom to trust on it. Programs read either case.
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
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
    arguments: tuple[str, ...] = ("-m", "dropscribe", "run", "--wait")
    """`--wait`: where somebody runs a daemon in a terminal, the service takes over when that ends,
    instead of failing and being started again for ever."""
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
        environ: of it is kept what `is_kept` says.
        executable: `sys.executable`.
        logs: the folder of Dropscribe's logs.
        platform: `macos` or `linux`; this machine's if None.

    Raises: UsageError when `executable` cannot be trusted to stay.
    """
    kept = {
        name: str(Path(value).expanduser().absolute()) if name in _PATHS else value
        for name, value in sorted(environ.items())
        if value and is_kept(name) and not has_password(name, value)
    }
    own = Path(environ.get("HOME") or Path.home()) / _OWN
    return Spec(
        interpreter=find_stable_interpreter(executable),
        crash_log=logs / "crash.log",
        environment=(("PATH", f"{own}:{_PATH[platform or detect_platform()]}"), *kept.items()),
    )


def is_kept(name: str) -> bool:
    """Return whether a variable of the shell that installs a service is also the service's.

    These are our own, those of the hub, XDG folders, and what leads to a GPU or through a proxy. A
    secret (`*TOKEN`) belongs in no service file; the hub's library finds a saved one by itself.
    """
    ours = name.startswith(("DROPSCRIBE_", "HF_")) and not name.endswith("TOKEN")
    return ours or name in _FOLDERS or name in _SYSTEM


def has_password(name: str, value: str) -> bool:
    """Return whether a variable is the address of a proxy with a password, which is a secret."""
    if not name.upper().endswith("_PROXY") or name.upper() == "NO_PROXY":
        return False
    try:
        return urlsplit(value if "://" in value else f"//{value}").password is not None
    except ValueError:  # no address that anybody can use; nor can it be told what is in it
        return True


def list_notes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a person should know of variables that a service does not get, each as a sentence or two."""
    left_out = [name for name, value in sorted(environ.items()) if is_kept(name) and has_password(name, value)]
    return tuple(
        f"{name} holds a password and is not written into the service file. The service needs it only to fetch "
        "models: `dropscribe models pull` does that from here."
        for name in left_out
    )


def compare_environments(installed: Mapping[str, str], here: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of which the service has another value, or none, as words for each.

    Args:
        installed: what the service file has.
        here: what it would have if it were installed from this shell.
    """
    found = []
    for name in sorted(installed.keys() | here.keys()):
        if name not in installed:
            found.append(f"{name} (not in the service)")
        elif installed[name] != here.get(name):
            shown = "another one" if "://" in installed[name] else installed[name]  # it may hold a secret
            found.append(f"{name} (in the service: {shown})")
    return tuple(found)


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

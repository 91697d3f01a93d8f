"""What both service managers need: calls of their programs, and the service file.

Guarantees: every question has an end; a service file is whole or absent; what fails is a
`ServiceError` that says what to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import files
from dropscribe.errors import DropscribeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class ServiceError(DropscribeError):
    """The service manager is not there, refused, or did not answer."""


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
    """The programs of a service manager, found on the PATH of `environ`, each call with a time
    limit.
    """

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


def read_file(path: Path) -> bytes | None:
    """Return what the file holds, None when there is none."""
    with _explain_errors(path, "read"):
        return path.read_bytes() if path.exists() else None


def remove_file(path: Path) -> None:
    """Remove the file, if there is one."""
    with _explain_errors(path, "removed"):
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder, unless it is there."""
    with _explain_errors(path, "made"):
        path.mkdir(parents=True, exist_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, for its owner's eyes only; make its folder if
    need be.
    """
    make_folder(path.parent)
    with _explain_errors(path, "written"):
        files.write_atomically(path, content, prefix=f".{path.name}.", mode=0o600)


@contextlib.contextmanager
def _explain_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = f"See who owns it: `ls -ld '{path.parent}'`." if isinstance(error, PermissionError) else ""
        raise ServiceError(f"{path} cannot be {what}: {error.strerror}.", cure) from error

"""What a service manager does, whichever it is: the interface of `launchd` and `systemd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.service.spec import Spec

STOP_SECONDS = 20
"""How long the daemon may take to stop before it is killed; it needs a few seconds."""


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
    """The installed file is not what `install` would write now. False with nothing to compare
    with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    action: Literal["installed", "replaced", "uninstalled", "started", "stopped", "restarted", "nothing"]
    detail: str
    """The same as a sentence."""
    notes: tuple[str, ...] = ()
    """What the person should know besides, each a sentence or two."""


class Manager(Protocol):
    """launchd or systemd. All but `name`, `render` and `path` ask it; `ServiceError` when that
    fails.
    """

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

    def read_environment(self) -> dict[str, str] | None:
        """Return the variables in the installed service file, None when there is none."""
        ...

    def install(self, spec: Spec) -> Outcome:
        """Write the service file, have it started at login, and start it now; a running one is
        restarted.
        """
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

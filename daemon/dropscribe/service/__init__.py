"""Dropscribe as a service of the machine: started at login, started again after a crash.

Guarantees: nothing is installed twice: `install` finds what is there, replaces it where it differs
and says what it did; a service file is whole or absent; every question to launchctl, systemctl or
loginctl has a time limit; nothing here prints. `render` and `path` ask nobody: a service file can
be made for the other system.

The contract with `dropscribe run`: exit 0 means stopped on purpose, and the service manager leaves
it so; anything else is a crash and it is started again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.errors import UsageError
from dropscribe.service.manager import Manager, Outcome, Status
from dropscribe.service.spec import (
    Platform,
    Spec,
    compare_environments,
    detect_platform,
    find_stable_interpreter,
    is_kept,
    list_notes,
    make_spec,
)
from dropscribe.service.tools import ServiceError, Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Manager",
    "Outcome",
    "Platform",
    "ServiceError",
    "Spec",
    "Status",
    "choose_manager",
    "compare_environments",
    "detect_platform",
    "find_stable_interpreter",
    "is_kept",
    "list_notes",
    "make_spec",
]


def choose_manager(
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
    platform = platform or detect_platform()
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

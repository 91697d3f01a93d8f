"""Where the settings file is, where the folders are by default, and how a path is made
absolute.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_INBOX = Path("~/Dropscribe/Inbox")
PREFIX = "DROPSCRIBE_"
"""What the environment variables of settings begin with."""


def find_config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the settings file is or would be: `DROPSCRIBE_CONFIG`, else the XDG config
    folder.
    """
    if named := environ.get(PREFIX + "CONFIG"):
        return _expand_user(Path(named))
    return Path(environ.get("XDG_CONFIG_HOME") or find_home(environ) / ".config") / "dropscribe/config.toml"


def find_home(environ: Mapping[str, str]) -> Path:
    """Return the home folder of this environment."""
    return Path(environ.get("HOME") or Path.home())


def is_default_inbox(inbox: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether an inbox is the one that nobody had to choose, in the home folder."""
    return inbox == make_absolute(DEFAULT_INBOX, environ)


def choose_default_state(environ: Mapping[str, str]) -> Path:
    """Return the folder for journal and work files on this system."""
    if sys.platform == "darwin":
        return find_home(environ) / "Library/Application Support/dropscribe"
    return _find_state_home(environ) / "dropscribe"


def choose_default_logs(environ: Mapping[str, str]) -> Path:
    """Return the folder for log files on this system."""
    if sys.platform == "darwin":
        return find_home(environ) / "Library/Logs/dropscribe"
    return _find_state_home(environ) / "dropscribe/logs"


def make_absolute(path: Path, environ: Mapping[str, str]) -> Path:
    """Return the path as an absolute one; `~` is the home folder of this environment.

    Raises:
        UsageError: It names a home folder of nobody.
    """
    if path.parts[:1] == ("~",):
        path = find_home(environ).joinpath(*path.parts[1:])
    return Path(os.path.abspath(_expand_user(path)))  # noqa: PTH100 (resolve() would follow links)


def _find_state_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_STATE_HOME") or find_home(environ) / ".local/state")


def _expand_user(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: {path.parts[0]} is nobody on this machine.", "Write the whole path.") from None

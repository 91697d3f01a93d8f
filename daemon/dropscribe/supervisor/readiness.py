"""Whether a file that stands still is finished: what a pause in a copy looks like, too.

Guarantees: nothing is changed; what cannot be found out counts as finished; a file that is shorter
than it says is waited for a bounded time, for a recording that broke off is all there will ever be.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.supervisor.completeness import describe_missing
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.recording_names import SIDECARS

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.supervisor.writers import Writers

CODES = frozenset({"open", "downloading", "incomplete"})
"""Those of every `Hold`."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a file is not finished though it stands still."""

    code: str
    reason: str
    endless: bool
    """Whether it is waited for however long that takes."""


def find_hold(path: Path, writers: Writers, *, waited_s: float, incomplete_s: float) -> Hold | None:
    """Return why a file is not finished, or None when it is, as far as can be found out.

    Args:
        path: a regular file whose content is on this machine.
        writers: who has files open.
        waited_s: seconds for which it has been waited for.
        incomplete_s: seconds after its last change for which one that is too short is waited for.

    Raises: OSError when it cannot be read.
    """
    if (sidecar := _find_sidecar(path)) is not None:
        why = f"{decode_name(sidecar)} is beside it: its download is not over. Remove that file if it is."
        return Hold("downloading", why, endless=True)
    if (owner := writers.find(path)) is not None:
        return Hold("open", f"{owner} has it open for writing. It is taken when that is closed.", endless=True)
    # The time of the last change of any kind: others can be set by who copies.
    if max(waited_s, time.time() - path.lstat().st_ctime) < incomplete_s and (missing := describe_missing(path)):
        why = f"{missing} It is taken as it is when nothing more has come for {incomplete_s / 60:g} minutes."
        return Hold("incomplete", why, endless=False)
    return None


def _find_sidecar(path: Path) -> str | None:
    """Return the name of the file beside one that says that it is being downloaded, or None."""
    for suffix in SIDECARS:
        if os.path.lexists(f"{path}{suffix}"):
            return path.name + suffix
    if path.lstat().st_size == 0:  # Firefox takes the name with an empty file, and adds letters of its own
        with contextlib.suppress(OSError):
            for name in os.listdir(path.parent):  # noqa: PTH208 (names are enough)
                if name.startswith(f"{path.stem}.") and name.endswith(f"{path.suffix}.part"):
                    return name
    return None

"""What an error of the outbox means: a fault of the environment that is waited out, or a name that
no disk takes.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from pathlib import Path

_GOES_ON = "Free some space; the work goes on by itself."
_REFUSED = ("outbox-refused", "The outbox may not be written.", "Grant access or choose another.")
_FAULTS = {
    errno.ENOSPC: ("disk-full", "The disk of the outbox is full.", _GOES_ON),
    errno.EDQUOT: ("disk-full", "The disk quota is used up.", _GOES_ON),
    errno.EROFS: ("outbox-readonly", "The outbox is on a read-only disk.", "Make it writable or choose another."),
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
}
"""Code, message and cure by error number."""


def refuses_name(error: OSError) -> bool:
    """Return whether a folder refused a name, which no waiting cures: too long, not its
    characters, a file's name.
    """
    return isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError) or error.errno in {
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ELOOP,
    }


def outbox_fault(folder: Path, error: OSError) -> EnvironmentFaultError:
    """Return the fault of the environment that an error stands for."""
    found = _FAULTS.get(error.errno or 0)
    if found is None:
        return EnvironmentFaultError("outbox-unwritable", f"The outbox {folder} cannot be written: {error}.")
    return EnvironmentFaultError(*found)


def outbox_missing(folder: Path) -> EnvironmentFaultError:
    """Return the fault of an outbox that is not there."""
    return EnvironmentFaultError(
        "outbox-missing",
        f"The outbox {folder} is not there.",
        "Make it again or bring its volume back; the work goes on by itself.",
    )

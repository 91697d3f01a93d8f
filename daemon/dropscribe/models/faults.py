"""Errors of model files: damage, and what the disk refuses."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system answers when a file does not fit."""


class DamagedModelError(EnvironmentFaultError):
    """`model-damaged`: files that do not have their digest."""

    def __init__(self, name: str, folder: Path, files: Sequence[str]) -> None:
        self.files = [folder / file for file in files]
        super().__init__(
            "model-damaged",
            f"The model {name} is damaged: {', '.join(files)} in {folder} does not have its checksum.",
            f"Run `dropscribe models pull {name}`.",
        )


@contextlib.contextmanager
def translate_disk_errors(name: str, folder: Path) -> Iterator[None]:
    """Turn an OSError about the model `name` in `folder` into an error that says what to do.

    Raises:
        EnvironmentFaultError: `disk-full`, or `cache-unusable` for every other refusal.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise EnvironmentFaultError(
                "disk-full", f"There is no room for the model {name} in {folder}.", "Make room on that disk."
            ) from error
        raise EnvironmentFaultError(
            "cache-unusable",
            f"The model {name} cannot be read or written in {folder} ({error.strerror or error}).",
            "Check that folder and its permissions.",
        ) from error

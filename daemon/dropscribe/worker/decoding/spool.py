"""The file on the disk that takes decoded samples.

Guarantees: mode 0600; gone again when the work fails; a full disk is an `EnvironmentFaultError`;
long silence takes no room where the file system knows holes in files.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn, Self

import numpy as np

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BYTES = 4  # of a sample


def channels_path(spool: Path) -> Path:
    """Return the file that takes the samples of each channel."""
    return spool.with_name(f"{spool.name}.channels")


def rewrite_spool(spool: Path, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put other samples into a spool file; return them as `decode` does. Raises as `decode` does
    for its disk.

    Maps of what was in the file before must not be used any more.
    """
    with Spool(spool) as out:
        for block in blocks:
            out.write(block)
        return out.map()


class Spool:
    """A file of float32 samples, written from start to end."""

    def __init__(self, path: Path) -> None:
        self.samples = 0
        """Of each channel."""
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "w+b", buffering=1 << 20)
        except OSError as error:
            self._fail(error)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # `map` or `write` raised what could not be written
                self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def empty(self) -> None:
        """Forget all that was written."""
        file = self._get_file()
        try:
            file.seek(0)
            file.truncate()
        except OSError as error:
            self._fail(error)
        self.samples = 0

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples, shape (n,) or (n, channels)."""
        try:
            self._get_file().write(samples.data)
        except OSError as error:
            self._fail(error)
        self.samples += len(samples)

    def skip(self, samples: int, channels: int = 1) -> None:
        """Append silence without writing it."""
        try:
            self._get_file().seek(samples * channels * _BYTES, os.SEEK_CUR)
        except OSError as error:
            self._fail(error)
        self.samples += samples

    def map(self, *channels: int, writable: bool = False) -> NDArray[np.float32]:
        """Return all that was written as a map of shape (samples, *channels), read-only unless
        asked otherwise.
        """
        file = self._get_file()
        try:
            file.flush()
            file.truncate(self.samples * int(np.prod(channels, dtype=np.int64)) * _BYTES)
        except OSError as error:
            self._fail(error)
        mode: Literal["r", "r+"] = "r+" if writable else "r"
        return np.memmap(self._path, dtype=np.float32, mode=mode, shape=(self.samples, *channels))

    def _get_file(self) -> BinaryIO:
        assert self._file is not None  # noqa: S101  # only used inside `with`
        return self._file

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            raise EnvironmentFaultError(
                "disk-full",
                f"The disk is full: the decoded sound does not fit into {self._path.parent}.",
                "Make room; while it is worked on an hour takes 230 MB, of several channels as much for each.",
            ) from error
        raise EnvironmentFaultError(
            "spool-failed", f"The working file {self._path} cannot be written: {error.strerror}.", "Check the folder."
        ) from error

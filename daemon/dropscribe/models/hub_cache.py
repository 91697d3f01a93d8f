"""The hub's cache on this disk, which other programs share.

Guarantees: nothing here opens a connection. The layout is documented at
https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_STALE_S = 86400.0
"""An unfinished file that nobody has written to for so long belongs to a process that is gone."""


def cache_folder(repo: str) -> Path:
    """Return the folder of the repository `repo` in the hub's cache, present or not."""
    import huggingface_hub.constants

    return Path(huggingface_hub.constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")


def list_unfinished(repo: str) -> list[Path]:
    """Return the files whose download is going on or was interrupted."""
    return list(cache_folder(repo).glob("blobs/*.incomplete"))


def remove_stale(repo: str) -> None:
    """Remove the unfinished files of processes that are gone. Failures cost only the room."""
    for file in list_unfinished(repo):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _STALE_S:
                file.unlink()


def discard_files(files: Iterable[Path]) -> None:
    """Remove damaged files together with the blobs that they link to.

    Otherwise the library would link the same blob again.

    Raises:
        OSError: the disk refused.
    """
    for file in files:
        steps = [file]
        while steps[-1].is_symlink():
            steps.append(steps[-1].parent / steps[-1].readlink())
        for step in reversed(steps):
            step.unlink(missing_ok=True)


def remove_snapshot(repo: str, commit: str) -> int:
    """Remove one revision of a repository; return the bytes that were its own.

    What another revision shares with it stays: huggingface_hub's own way of deleting knows what
    that is.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()
    revision = scan_cache_dir(cache_folder(repo).parent).delete_revisions(commit)
    revision.execute()
    return int(revision.expected_freed_size)

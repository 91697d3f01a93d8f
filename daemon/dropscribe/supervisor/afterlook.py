"""The last look at a source that has left the inbox by a rename: a program that still had it open
goes on writing where it is now.

Guarantees: works on files alone, in any thread; a file that somebody has open is looked at again
later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor.inbox import Stat, digest_file
from dropscribe.supervisor.writers import Writers

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """What was found; posted from its thread."""

    recording: int
    place: Path
    is_open: bool
    """Whether somebody has it open for writing, so that it is to be looked at again."""
    found: Stat | None = None
    """What it is now, where it is not what was transcribed."""
    sha256: str = ""
    """Of what it is now; empty where only its date is new, or where it cannot be read."""


def look_again(recording: int, place: Path, was: Stat, sha256: str) -> LookedAgain:
    """Return whether a file that was moved is what was transcribed.

    Args:
        recording: whose file it is.
        place: where it is now.
        was: its size and time when it was transcribed.
        sha256: its digest then.
    """
    try:
        if Writers().find(place) is not None:
            return LookedAgain(recording, place, is_open=True)
        found = Stat.at(place)
        if found.size == was.size and abs(found.mtime_ns - was.mtime_ns) <= 2 * 10**9:  # another disk may round it
            return LookedAgain(recording, place, is_open=False)
        digest = digest_file(place, found)
    except (OSError, DropscribeError):  # a person took it away, or its disk is gone
        return LookedAgain(recording, place, is_open=False)
    if digest is None:  # it changes at this moment
        return LookedAgain(recording, place, is_open=True)
    return LookedAgain(recording, place, is_open=False, found=found, sha256="" if digest == sha256 else digest)

"""The folders that a daemon works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropscribe.settings import Settings


def make_folders(settings: Settings, names: Sequence[str] = ("inbox", "outbox", "state")) -> None:
    """Make the inbox, the outbox and the state folder, or those that are named, where they are
    missing.

    Raises: DropscribeError naming the folder.
    """
    for name in names:
        folder: Path = getattr(settings, name)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700 if name == "state" else 0o777)
        except OSError as error:
            msg = f"The folder {folder} (setting `{name}`) cannot be made: {error.strerror}."
            raise DropscribeError(msg, "Make it yourself or choose another one.") from None

"""The folders that a daemon works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.settings import is_default_inbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropscribe.settings import Settings


def make_folders(settings: Settings, names: Sequence[str] = ("inbox", "outbox", "state")) -> None:
    """Make the inbox, the outbox and the state folder, or those that are named, where they are
    missing.

    An inbox that was chosen is not made: it may be on a volume that is not mounted, and made on another disk it would
    stay empty. It is waited for.

    Raises: DropscribeError naming the folder.
    """
    for name in names:
        if name == "inbox" and not is_default_inbox(settings.inbox):
            continue
        folder: Path = getattr(settings, name)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o777 if name == "inbox" else 0o700)
        except OSError as error:
            msg = f"The folder {folder} (setting `{name}`) cannot be made: {error.strerror}."
            raise DropscribeError(msg, "Make it yourself or choose another one.") from None

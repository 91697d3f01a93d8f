"""The volume that the inbox is on: whether it is the one that was mounted there before.

Guarantees: the bare mount point of a volume that is away is no inbox, whatever is in it: nothing is taken from there
and nothing counts as removed; where a volume is mounted over a plain folder, it is the inbox from then on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog

from dropscribe.errors import EnvironmentFaultError
from dropscribe.supervisor.mounts import find_mount_point
from dropscribe.supervisor.names import decode_name

if TYPE_CHECKING:
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Journal


class InboxVolume:
    """The mount point of one inbox, as it is now and as the journal has it."""

    def __init__(self, inbox: Inbox, journal: Journal) -> None:
        self._inbox = inbox
        self._journal = journal
        self._log = structlog.get_logger()
        name = decode_name(inbox.root)
        self._saved = journal.get_meta("inbox_volume") if journal.get_meta("inbox_volume_of") == name else ""

    @property
    def is_there(self) -> bool:
        """Whether the inbox can be looked through: it is a folder, on the volume that it was on."""
        return os.path.isdir(self._inbox.root) and not self._is_away(find_mount_point(self._inbox.root))  # noqa: PTH112

    def check(self) -> None:
        """Save the mount point of an inbox that is there. Raises: EnvironmentFaultError `inbox-unmounted`."""
        now = find_mount_point(self._inbox.root)
        if self._is_away(now):
            raise EnvironmentFaultError(
                "inbox-unmounted",
                f"The volume of the inbox {self._inbox.root} is not mounted at {self._saved}.",
                "Mount it again, or choose another inbox.",
            )
        if now != self._saved:
            if self._saved:
                self._log.info("inbox.mounted", at=now)
            self._journal.set_meta(inbox_volume=now, inbox_volume_of=decode_name(self._inbox.root))
            self._saved = now

    def _is_away(self, now: str) -> bool:
        """Return whether the inbox is on a disk above the volume that it was on."""
        return self._saved != now and self._saved.startswith(now.rstrip("/") + "/")

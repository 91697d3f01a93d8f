"""The files in the inbox that are passed over though somebody may have meant to drop them: logged
once each, counted for `dropscribe status`.
"""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING

import structlog

from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.recording_names import PassedOver

if TYPE_CHECKING:
    from dropscribe.supervisor.inbox import Stat
    from dropscribe.supervisor.journal import Journal


class PassedOverFiles:
    """Those of one inbox, scan by scan."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._log = structlog.get_logger()
        self._files: dict[str, PassedOver] = {}
        self._found: dict[str, PassedOver] = {}
        self._foreign: dict[str, Stat] = {}
        """Files without a suffix whose first bytes are those of no recording."""

    def begin_scan(self) -> None:
        """Begin to count anew."""
        self._found = {}

    def add(self, relative: str, kind: PassedOver) -> None:
        """Count a file that the scan finds."""
        self._found[relative] = kind

    def end_scan(self, seen: set[str]) -> None:
        """Log what the scan has found newly, and save the counts when they changed; `seen` is what may
        be recordings.
        """
        self._foreign = {relative: found for relative, found in self._foreign.items() if relative in seen}
        self._found |= dict.fromkeys(self._foreign, PassedOver.CONTENT)
        for relative, kind in self._found.items():
            self._log_new(relative, kind)
        self._files = self._found
        self._save()

    def is_foreign(self, relative: str, found: Stat) -> bool:
        """Return whether a file was found to be no recording, as it is."""
        return self._foreign.get(relative) == found

    def add_foreign(self, relative: str, found: Stat) -> None:
        """Pass over a file without a suffix until it changes."""
        self._foreign[relative] = found
        self._log_new(relative, PassedOver.CONTENT)
        self._files[relative] = PassedOver.CONTENT
        self._save()

    def _log_new(self, relative: str, kind: PassedOver) -> None:
        if self._files.get(relative) != kind:
            self._log.info("inbox.passed_over", file=decode_name(relative), why=str(kind))

    def _save(self) -> None:
        counts = json.dumps(collections.Counter(map(str, self._files.values())), sort_keys=True)
        if counts != self._journal.get_meta("passed_over", "{}"):
            self._journal.set_meta(passed_over=counts)

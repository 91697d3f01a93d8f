"""Which files have not changed for long enough to count as finished. Clocks may jump: `now` is
always monotonic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.supervisor.inbox import Stat


class Settler:
    """Files that were seen and may still be growing."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long a file must not change."""
        self._seconds = seconds
        self._seen: dict[str, tuple[Stat, float]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, relative: str) -> bool:
        return relative in self._seen

    def observe(self, relative: str, found: Stat, now: float) -> None:
        """Save what a file is now; its time starts again when it differs from what was saved."""
        old = self._seen.get(relative)
        if old is None or old[0] != found:
            self._seen[relative] = (found, now)

    def take_settled(self, look: Callable[[str], Stat | None], now: float) -> list[tuple[str, Stat]]:
        """Return, and forget, the files that `look` finds unchanged after the settling time."""
        ready = []
        for relative, (old, since) in list(self._seen.items()):
            if now - since < self._seconds:
                continue
            found = look(relative)
            if found == old:
                ready.append((relative, old))
                del self._seen[relative]
            elif found is None:
                del self._seen[relative]
            else:
                self._seen[relative] = (found, now)
        return ready

    def next_due(self) -> float | None:
        """Return when the next file may have settled, or None when none is waited for."""
        return min((since + self._seconds for _, since in self._seen.values()), default=None)

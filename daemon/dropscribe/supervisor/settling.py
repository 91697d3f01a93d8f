"""Which files have not changed for long enough to count as finished. Clocks may jump: `now` is
always monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.supervisor.inbox import Stat

HOLD_SECONDS = (1.0, 15.0)
"""Before the first and, doubling, between the last looks at a file that has stood still and is not
finished all the same. An event of it comes sooner."""


@dataclass(slots=True)
class _Seen:
    """A file as it was seen last."""

    found: Stat
    due: float
    """When it may have settled."""
    endless: bool = False
    """Whether it is waited for however long that takes."""


@dataclass(slots=True)
class _Held:
    """A file that has stood still and is not finished."""

    found: Stat
    since: float
    pause: float


class Settler:
    """Files that were seen and may still be growing."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long a file must not change."""
        self._seconds = seconds
        self._seen: dict[str, _Seen] = {}
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, relative: str) -> bool:
        return relative in self._seen

    @property
    def has_only_endless(self) -> bool:
        """Whether nothing settles but what is waited for however long that takes."""
        return all(seen.endless for seen in self._seen.values())

    def observe(self, relative: str, found: Stat, now: float) -> None:
        """Save what a file is now; its time starts again when it differs from what was saved."""
        old = self._seen.get(relative)
        if old is None or old.found != found:
            self._seen[relative] = _Seen(found, now + self._seconds)

    def hasten(self, relative: str, now: float) -> None:
        """Look soon at a file that is held: something happened to it."""
        seen = self._seen.get(relative)
        if seen is not None:
            seen.due = min(seen.due, now + self._seconds)

    def hold(self, relative: str, found: Stat, now: float, *, endless: bool) -> None:
        """Look again later at a file that has stood still and is not finished all the same."""
        held = self._held.get(relative)
        if held is None or held.found != found:
            held = self._held[relative] = _Held(found, now, max(self._seconds, HOLD_SECONDS[0]))
        self._seen[relative] = _Seen(found, now + held.pause, endless)
        held.pause = min(2 * held.pause, max(self._seconds, HOLD_SECONDS[1]))

    def release(self, relative: str) -> None:
        """Forget that a file was held."""
        self._held.pop(relative, None)

    def held_since(self, relative: str, found: Stat, now: float) -> float:
        """Return since when a file is held as it is; `now` for one that is not."""
        held = self._held.get(relative)
        return now if held is None or held.found != found else held.since

    def drop(self, relative: str) -> None:
        """Forget a file."""
        self._seen.pop(relative, None)
        self.release(relative)

    def clear(self) -> None:
        """Forget all of them."""
        self._seen.clear()
        self._held.clear()

    def take_settled(self, look: Callable[[str], Stat | None], now: float) -> list[tuple[str, Stat]]:
        """Return, and forget, the files that `look` finds unchanged after the settling time."""
        ready = []
        for relative, seen in list(self._seen.items()):
            if now < seen.due:
                continue
            found = look(relative)
            if found == seen.found:
                ready.append((relative, seen.found))
                del self._seen[relative]
            elif found is None:
                del self._seen[relative]
                self.release(relative)
            else:
                self._seen[relative] = _Seen(found, now + self._seconds)
        return ready

    def next_due(self) -> float | None:
        """Return when the next file may have settled, or None when none is waited for."""
        return min((seen.due for seen in self._seen.values()), default=None)

"""When cues appear and go, so that each can be read, none overlaps the next and none flickers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.formats.cues.cutting import Draft
    from dropscribe.formats.cues.limits import Limits


@dataclass(frozen=True, slots=True)
class Cue:
    """Text that is shown."""

    start: int
    """Milliseconds."""
    end: int
    """Milliseconds, after `start`."""
    lines: tuple[str, ...]
    """At least one, none of them empty."""
    speaker: str | None = None


def set_times(drafts: list[Draft], limits: Limits) -> list[Cue]:
    """Return the cues of drafts: they begin with their first word, and take the time they need to
    be read from the silence after them, or move a neighbour by up to `Limits.shift`.

    Backwards, `latest[k]` is the latest that cue k may begin if all after it are to have the time
    they need; forwards, each begins with its first word if it can. That keeps all needs wherever
    `Limits.shift` allows it.
    """
    needs = [max(limits.shortest, math.ceil(d.width * 1000 / limits.fastest)) for d in drafts]
    latest = _find_latest(drafts, needs, limits)
    cues: list[Cue] = []
    for k, draft in enumerate(drafts):
        free = cues[-1].end + limits.gap if cues else 0
        start = max(free, min(draft.start, latest[k]))
        if cues and start - draft.start > limits.shift:
            # The words' times are out of order or too dense for gaps: then cues follow at once.
            start = max(cues[-1].end, min(start, draft.start))
        needed = start + needs[k]
        end = max(draft.end, needed, start + math.ceil(draft.width * 1000 / limits.comfortable))
        end = min(end, max(draft.end + limits.silence, start + 1), start + limits.longest)
        if k + 1 < len(drafts):
            wanted = min(drafts[k + 1].start, latest[k + 1]) - limits.gap
            end = min(end, max(wanted, min(needed, latest[k + 1] - limits.gap)))
            if 0 < wanted - end < limits.jerky - limits.gap:
                # Close the gap, or else make it long enough to be seen as one.
                closes = wanted <= min(draft.end + limits.silence, start + limits.longest)
                end = wanted if closes else max(min(needed, end), draft.end, wanted + limits.gap - limits.jerky)
        end = max(min(end, start + limits.longest), start + 1)
        cues.append(Cue(start, end, draft.lines, draft.speaker))
    return cues


def _find_latest(drafts: list[Draft], needs: list[int], limits: Limits) -> list[int]:
    """Return the latest beginning of each cue that leaves all after it the time they need."""
    latest = [d.start + limits.shift for d in drafts]
    for k in range(len(drafts) - 2, -1, -1):
        fits = latest[k + 1] - limits.gap - needs[k]
        # Where even the earliest beginning is too late it would only take time from the cue
        # before: exact, then.
        latest[k] = min(latest[k], fits if fits >= max(0, drafts[k].start - limits.shift) else drafts[k].start)
    return latest

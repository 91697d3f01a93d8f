"""The log, for the modules that the worker needs: standard library only, for another interpreter
may run it.

Guarantees: says nothing itself. In the daemon and the command line events go to structlog; the
worker puts its own `sink` in, which sends it to the parent, the only writer of the log.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def sanitize(text: str) -> str:
    """Return a text without what a terminal would obey: names of files come from anywhere."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in text)


def _structlog(level: str, name: str, facts: dict[str, Any]) -> None:
    import structlog

    getattr(structlog.get_logger(), level)(name, **facts)


sink: Callable[[str, str, dict[str, Any]], None] = _structlog
"""Called with the level, the event's dotted name and its flat facts."""


@dataclass(frozen=True, slots=True)
class Log:
    """What structlog's logger is, as far as these modules use it."""

    facts: dict[str, Any] = field(default_factory=dict)

    def bind(self, **facts: Any) -> Log:
        """Return a log that adds `facts` to every event."""
        return Log(self.facts | facts)

    def info(self, name: str, **facts: Any) -> None:
        """Log what happened."""
        sink("info", name, self.facts | facts)

    def warning(self, name: str, **facts: Any) -> None:
        """Log what a person should know."""
        sink("warning", name, self.facts | facts)

"""Structured logs: one JSON object a line, written and rotated by this process alone.

Guarantees: a full disk or a vanished log folder never stops the daemon; the text of a transcript never gets here
(events carry names, sizes, seconds and codes). launchd keeps its own log files open, so they are for crashes only.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from dropscribe.log_bridge import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dropscribe.settings import Settings

NAME = "dropscribe.jsonl"
"""The current log; older ones are NAME.1, NAME.2, …"""


def configure(settings: Settings, *, console: TextIO | None = None) -> None:
    """Send events to the log file, and to `console` in a form for people when it is given.

    Raises: nothing: where the folder cannot be made, events go to stderr.
    """
    logging.raiseExceptions = False
    logger = logging.getLogger("dropscribe")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        settings.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            settings.logs / NAME,
            maxBytes=int(settings.log_megabytes * 1e6),
            backupCount=settings.log_files,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        handler = logging.StreamHandler(sys.stderr)
        sys.stderr.write(f"dropscribe: no log can be written to {settings.logs}: {error.strerror}\n")
    logger.addHandler(handler)
    if console is not None:
        pretty = logging.StreamHandler(console)
        colors = console.isatty() and "NO_COLOR" not in os.environ
        pretty.setFormatter(_Pretty(colors=colors))
        logger.addHandler(pretty)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            _render,
        ],
        logger_factory=lambda *_: logger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _render(_logger: Any, _method: str, event: Any) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return json.dumps(first | event, ensure_ascii=True, default=str)


class _Pretty(logging.Formatter):
    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = colors

    def format(self, record: logging.LogRecord) -> str:
        return pretty(record.getMessage(), colors=self._colors)


def pretty(line: str, *, colors: bool) -> str:
    """Return one JSON line in a form for people; a line that is no JSON comes back as it is."""
    try:
        event = json.loads(line)
        stamp, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        return line.rstrip("\n")
    exception = event.pop("exception", None)
    facts = " ".join(
        f"{key}={sanitize(value) if isinstance(value, str) else json.dumps(value)}" for key, value in event.items()
    )
    head = f"{stamp[11:19]} {level:<7} {name:<22}"
    if colors:
        tone = {"warning": "33", "error": "31"}.get(level, "2")
        head = f"\033[2m{stamp[11:19]}\033[0m \033[{tone}m{level:<7}\033[0m \033[1m{name:<22}\033[0m"
    return f"{head} {facts}".rstrip() + (f"\n{exception}" if exception else "")


def tail(path: Path, lines: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of the log, then, with `follow`, every new one, over rotations."""
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        file = None
    if file is not None:
        yield from file.readlines()[-lines:] if lines else []
    while follow:
        line = file.readline() if file is not None else ""
        if line:
            yield line
            continue
        time.sleep(0.25)
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if file is None or os.fstat(file.fileno()).st_ino != found.st_ino or found.st_size < file.tell():
            rest = file.read() if file is not None else ""
            yield from rest.splitlines(keepends=True)
            file = path.open(encoding="utf-8", errors="replace")

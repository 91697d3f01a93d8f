"""Structured logs: one JSON object a line, written and rotated by this process alone.

Guarantees: a full disk or a vanished log folder never stops the daemon; the text of a transcript never gets here
(events carry names, sizes, seconds and codes). launchd keeps its own log files open, so they are for crashes only.
"""

from __future__ import annotations

import functools
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
_POLL_SECONDS = 0.25
"""Between two looks for new lines, for `tail`."""
_TIME_OF_DAY = slice(11, 19)
"""Hours, minutes and seconds in an ISO timestamp."""


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
        terminal = logging.StreamHandler(console)
        terminal.setFormatter(_ConsoleFormatter(colors=use_colors(console)))
        logger.addHandler(terminal)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            _render_json,
        ],
        logger_factory=lambda *_: logger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _render_json(_logger: Any, _method: str, event: Any) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return json.dumps(first | event, ensure_ascii=True, default=str)


class _ConsoleFormatter(logging.Formatter):
    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = colors

    def format(self, record: logging.LogRecord) -> str:
        return render_line(record.getMessage(), colors=self._colors)


def render_line(line: str, *, colors: bool) -> str:
    """Return one JSON line in a form for people; a line that is not JSON comes back as it is.

    Names of files come from anywhere: control characters are escaped, so that they cannot reach the terminal.
    """
    try:
        event = json.loads(line)
        event["timestamp"] = event["timestamp"][_TIME_OF_DAY]
        level = event["level"]
    except (ValueError, KeyError, TypeError):
        return line.rstrip("\n")
    values = {key: sanitize(value) if isinstance(value, str) else value for key, value in event.items()}
    if "exception" in event:  # its lines stay lines
        values["exception"] = "\n".join(map(sanitize, event["exception"].split("\n")))
    return str(_console_renderer(colors=colors)(None, level, values))


@functools.cache
def _console_renderer(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)


def use_colors(stream: TextIO) -> bool:
    """Return whether a stream is a terminal whose owner has not set NO_COLOR."""
    return stream.isatty() and "NO_COLOR" not in os.environ


def tail(path: Path, lines: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of the log; with `follow` also every line that is written later, across rotations."""
    file = _open(path)
    try:
        if file is not None and lines:
            yield from file.readlines()[-lines:]
        elif file is not None:
            file.seek(0, os.SEEK_END)
        while follow:
            line = file.readline() if file is not None else ""
            if line:
                yield line
                continue
            time.sleep(_POLL_SECONDS)
            if file is None:
                file = _open(path)
            elif _is_rotated(file, path):
                yield from file.readlines()
                file.close()
                file = _open(path)
    finally:
        if file is not None:
            file.close()


def _open(path: Path) -> TextIO | None:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _is_rotated(file: TextIO, path: Path) -> bool:
    """Return whether `path` is another file by now, or a shorter one. While there is none it is not rotated yet."""
    try:
        current = path.stat()
    except FileNotFoundError:
        return False
    return os.fstat(file.fileno()).st_ino != current.st_ino or current.st_size < file.tell()

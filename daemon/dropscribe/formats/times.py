"""Times and dates as the formats write them."""

from __future__ import annotations

import datetime as dt
import re

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?")


def to_milliseconds(seconds: float) -> int:
    """Return a time rounded to the millisecond, never below 0."""
    return max(0, round(seconds * 1000))


def format_clock(seconds: float) -> str:
    """Return a time as `HH:MM:SS`, cut to the second."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def format_timestamp(milliseconds: int, mark: str) -> str:
    """Return a time as `HH:MM:SS` with three decimals after `mark`."""
    return f"{format_clock(milliseconds // 1000)}{mark}{milliseconds % 1000:03}"


def accept_datetime(recorded: str | None) -> str | None:
    """Return a time as it is if it is ISO 8601 with date and seconds, as YAML and XML both read
    it; else None.
    """
    if not recorded or not _DATE_TIME.fullmatch(recorded):
        return None
    try:
        dt.datetime.fromisoformat(recorded)
    except ValueError:
        return None
    return recorded


def accept_date(recorded: str | None) -> str | None:
    """Return a date as it is if it is one of ISO 8601 without a time; else None."""
    return recorded if recorded and len(recorded) == 10 and accept_datetime(f"{recorded}T00:00:00") else None

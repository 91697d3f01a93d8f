"""When a recording was made: from the file's own metadata, else its name, else the time it was
last changed.

Guarantees: pure functions. A result says no more than is known (a local time without a zone stays
without one, a date alone stays a date), and where it comes from. What cannot be is never returned:
a time to come, one before 1990, the zero of a clock that was never set, a name's date later than
the file itself.

The names are those that programs give by themselves: Zoom (`GMT20240131-093000_Recording.m4a`, and
folders `2024-01-31 09.30.12 …` around `audio1234567.m4a`), Voice Memos (`20240131
093000-1A2B.m4a`), Samsung and call recorders (`Voice 240131_093000.m4a`), WhatsApp
(`PTT-20240131-WA0001.opus`, `WhatsApp Audio 2024-01-31 at 09.30.00.ogg`), Signal
(`signal-2024-01-31-093000.m4a`), Telegram (`audio_2024-01-31_09-30-00.ogg`), Pixel
(`PXL_20240131_093000123.mp4`, in UTC), Google Meet (`(2024-01-31 09:30 GMT+1)`), QuickTime and
OBS, and ISO 8601 in its many spellings.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePath

    from dropscribe.transcript import Source

EARLIEST = 1990
"""Year before which no file of the kind was recorded: such dates come from clocks that were never
set."""
SLACK = dt.timedelta(days=1)
"""How far two times may differ and still be the same: local times are up to 14 hours from UTC,
clocks go wrong."""
_ZEROS = frozenset({dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1)})  # noqa: DTZ001
"""Zeros of clocks after `EARLIEST`: recorders without a battery, and Apple's reference date."""

_TAGS = ("com.apple.quicktime.creationdate", "creation_time", "date", "DATE", "date_recorded")

_DATE = r"(?P<y>(?:19|20)\d\d)(?P<s>[-_. ]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)"
_CLOCK = (
    r"(?:(?P<H>\d\d?)(?P<c>[-_.:h\u2236\ua789\uff1a])(?P<M>\d\d)(?:(?P=c)(?P<S>\d\d))?(?:[.,]\d{1,6})?"
    r"|(?P<H6>\d\d)(?P<M6>\d\d)(?P<S6>\d\d))(?!\d)"
)
_ZONE = r"(?P<z>Z|[+-]\d\d:?\d\d|\s(?:GMT|UTC)(?:[+-]\d\d?(?::?\d\d)?)?)?(?!\w)"
_NOON = r"(?:[\s\u202f]*(?P<p>[AaPp])\.?[Mm]\b\.?)?"
_WITH_TIME = re.compile(
    # A word such as "at", "um" or "à" may be between.
    rf"(?<![0-9]){_DATE}(?:[T_,. -]|\s+-\s+|,?\s+(?:[^\W\d_]{{1,3}}\s+)?){_CLOCK}{_NOON}{_ZONE}"
)
_RUN_TOGETHER = re.compile(
    r"(?P<utc>GMT|PXL_)?(?<![0-9])(?P<y>(?:19|20)?\d\d)(?P<m>\d\d)(?P<d>\d\d)(?P<s>[T_ -]?)(?P<H>\d\d)(?P<M>\d\d)"
    r"(?P<S>\d\d)(?:(?<=\d{6})\d{3})?(?P<z>Z|[+-]\d{4}(?!\d))?(?!\d)"
)
_DATE_ALONE = re.compile(rf"(?<![0-9]){_DATE}(?![0-9])")


def read_tags(*metadata: Mapping[str, str], now: dt.datetime) -> str | None:
    """Return the first plausible time among a container's tags, ISO 8601.

    Tags count when they carry a zone. Broadcast WAV (EBU Tech 3285) keeps the recorder's own local
    date and time in two fields; they are returned without a zone.

    Args:
        metadata: tags of the container and of the stream.
        now: the present, with a zone.
    """
    for name in _TAGS:
        for tags in metadata:
            found = _parse(tags.get(name, ""))
            if found is not None and found.tzinfo is not None and _is_plausible(found, now):
                return found.isoformat()
    for tags in metadata:
        date, clock = (tags.get(f"origination_{part}", "").strip() for part in ("date", "time"))
        found = _parse(re.sub(r"[^0-9]", "-", date) + "T" + re.sub(r"[^0-9]", ":", clock))
        if date and clock and found is not None and _is_plausible(found, now):
            return found.isoformat()
    return None


def _parse(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def find_date(source: Source, relative: PurePath, mtime_ns: int, now: dt.datetime) -> tuple[str | None, str | None]:
    """Return `recorded_at` and `recorded_from` of a recording.

    Args:
        source: what the transcript says so far; what came from the container stays.
        relative: the recording's path in the inbox, whose folders may carry the date.
        mtime_ns: when the file was last changed.
        now: the present, with a zone.
    """
    if source.recorded_at is not None and source.recorded_from in {None, "container"}:
        return source.recorded_at, "container"
    try:
        changed = dt.datetime.fromtimestamp(mtime_ns // 10**9, dt.UTC).astimezone(now.tzinfo)
    except (OverflowError, OSError, ValueError):
        changed = dt.datetime.fromtimestamp(0, dt.UTC)
    possible = _is_plausible(changed, now)
    if (written := read_name(relative, changed if possible else now)) is not None:
        return written, "name"
    return (changed.isoformat(), "mtime") if possible else (None, None)


def read_name(relative: PurePath, latest: dt.datetime) -> str | None:
    """Return the time in a file's name, or in the name of the folder it is in, ISO 8601; a date
    may be all.

    Args:
        relative: path of the recording.
        latest: a time, with a zone, after which it cannot have been recorded.
    """
    for found in (*_find_times(relative.stem), *_find_times(relative.parent.name)):
        if _is_plausible(found, latest):
            return found.isoformat()
    for match in _DATE_ALONE.finditer(relative.stem):
        day = _build_date(match)
        if day is not None and _is_plausible(day, latest):
            return day.date().isoformat()
    return None


def _find_times(name: str) -> Iterator[dt.datetime]:
    for pattern in (_RUN_TOGETHER, _WITH_TIME):
        for match in pattern.finditer(name):
            found = _build_date(match)
            if found is not None:
                yield found


def _build_date(match: re.Match[str]) -> dt.datetime | None:
    part = match.groupdict()
    part |= {name: value for name in "HMS" if (value := part.get(f"{name}6"))}
    if len(part["y"]) == 2:
        if not part["s"]:  # twelve digits in a row are any number
            return None
        part["y"] = "20" + part["y"]
    hour = int(part.get("H") or 0)
    if noon := part.get("p"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if noon in "Pp" else 0)
    try:
        return dt.datetime(
            int(part["y"]),
            int(part["m"]),
            int(part["d"]),
            hour,
            int(part.get("M") or 0),
            int(part.get("S") or 0),
            tzinfo=dt.UTC if part.get("utc") else _parse_zone(part.get("z")),
        )
    except ValueError:
        return None


def _parse_zone(text: str | None) -> dt.timezone | None:
    """Return a zone from `Z`, `+0100`, `+01:00`, `GMT+1`. Raises: ValueError."""
    if not text:
        return None
    match = re.search(r"([+-])(\d\d?):?(\d\d)?$", text)
    if match is None:
        return dt.UTC
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    return dt.timezone(dt.timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _is_plausible(moment: dt.datetime, latest: dt.datetime) -> bool:
    """Return whether a recording can be of this time, and not of a clock's zero."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    if moment.year < EARLIEST or aware > latest + SLACK:
        return False
    return _ZEROS.isdisjoint({moment.replace(tzinfo=None), aware.astimezone(dt.UTC).replace(tzinfo=None)})

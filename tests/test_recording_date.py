"""When it was recorded: what programs write into names, what cannot be, and what is said of a guess."""

from __future__ import annotations

import datetime as dt
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import recording_date
from dropscribe.transcript import Source

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=1)))
MTIME = int(dt.datetime(2026, 8, 19, 10, 0, tzinfo=dt.UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20240131 093000.m4a", "2024-01-31T09:30:00"),
        ("20240131 093000-1A2B3C4D.m4a", "2024-01-31T09:30:00"),
        ("GMT20240131-093000_Recording.m4a", "2024-01-31T09:30:00+00:00"),
        ("GMT20240131-093000_Recording_1920x1080.mp4", "2024-01-31T09:30:00+00:00"),
        ("2024-01-31 09.30.12 Weekly 99988877766/audio1234567890.m4a", "2024-01-31T09:30:12"),
        ("2024-01-31 09.30.12 Weekly/audio_only.m4a", "2024-01-31T09:30:12"),
        ("Voice 240131_093000.m4a", "2024-01-31T09:30:00"),
        ("Call recording Ann_240131_093000.m4a", "2024-01-31T09:30:00"),
        ("PTT-20240131-WA0001.opus", "2024-01-31"),
        ("AUD-20240131-WA0012.m4a", "2024-01-31"),
        ("WhatsApp Audio 2024-01-31 at 09.30.00.ogg", "2024-01-31T09:30:00"),
        ("WhatsApp Audio 2024-01-31 at 9.30.00 PM.ogg", "2024-01-31T21:30:00"),
        ("WhatsApp Ptt 2024-01-31 um 09.30.00.ogg", "2024-01-31T09:30:00"),
        ("WhatsApp Audio 2024-01-31 à 09.30.00.ogg", "2024-01-31T09:30:00"),
        ("signal-2024-01-31-093000.m4a", "2024-01-31T09:30:00"),
        ("signal-2024-01-31-09-30-00-123.m4a", "2024-01-31T09:30:00"),
        ("audio_2024-01-31_09-30-00.ogg", "2024-01-31T09:30:00"),
        ("audio_2024-01-31_09-30-00 (2).ogg", "2024-01-31T09:30:00"),
        ("Screen Recording 2024-01-31 at 12.05.09\u202fAM.mov", "2024-01-31T00:05:09"),
        ("Bildschirmaufnahme 2024-01-31 um 18.05.09.mov", "2024-01-31T18:05:09"),
        ("2024-01-31 09-30-00.mkv", "2024-01-31T09:30:00"),
        ("PXL_20240131_093000123.mp4", "2024-01-31T09:30:00+00:00"),
        ("VID_20240131_093000.mp4", "2024-01-31T09:30:00"),
        ("20240131_093000.m4a", "2024-01-31T09:30:00"),
        ("REC20240131093000.mp3", "2024-01-31T09:30:00"),
        ("abc-defg-hij (2024-01-31 09:30 GMT+1).mp4", "2024-01-31T09:30:00+01:00"),
        ("abc-defg-hij (2024-01-31 09_30 GMT-8).mp4", "2024-01-31T09:30:00-08:00"),
        ("2024-01-31T09:30:00Z.flac", "2024-01-31T09:30:00+00:00"),
        ("2024-01-31T09-30-00+0530.flac", "2024-01-31T09:30:00+05:30"),
        ("20240131T093000Z.flac", "2024-01-31T09:30:00+00:00"),
        ("2024-01-31T09.30.flac", "2024-01-31T09:30:00"),
        ("2024.01.31 board.flac", "2024-01-31"),
        ("board 2024-01-31.flac", "2024-01-31"),
        ("board_20240131.flac", "2024-01-31"),
        ("board 2024-01-31 100 questions.flac", "2024-01-31"),
    ],
)
def test_the_names_that_programs_give(name: str, expected: str) -> None:
    assert recording_date.read_name(PurePath(name), NOW) == expected


@pytest.mark.parametrize(
    "name",
    [
        "New Recording 5.m4a",
        "audio1234567890.m4a",
        "audio1706693400.m4a",
        "talk.m4a",
        "240131093000.mp3",
        "DM650001.mp3",
        "20241331.wav",
        "20240230_093000.wav",
        "1920x1080 20.wav",
        "+49 20 24013109.amr",
        "call 202401310930001234.amr",
        "19040101 000000.m4a",
        "20010101 000000.m4a",
        "2000-01-01 00.00.00.wav",
        "19891231 235959.m4a",
        "20261231 093000.m4a",
        "2024-01-31 imported/talk.m4a",
        "Recording 12-31-2023.m4a",
    ],
)
def test_what_is_no_date_or_cannot_be_is_not_taken(name: str) -> None:
    assert recording_date.read_name(PurePath(name), NOW) is None


def find(name: str, *, at: str | None = None, source: str | None = None, mtime_ns: int = MTIME) -> tuple[object, ...]:
    made = Source(PurePath(name).name, name, "ab", 1, at, None, source)
    return recording_date.find_date(made, PurePath(name), mtime_ns, NOW)


def test_the_container_goes_before_the_name_and_the_name_before_the_file() -> None:
    at = "2026-08-01T10:00:00+02:00"
    assert find("20240131 093000.m4a", at=at, source="container") == (at, "container")
    assert find("20240131 093000.m4a", at=at) == (at, "container")  # as older versions wrote it
    assert find("20240131 093000.m4a") == ("2024-01-31T09:30:00", "name")
    assert find("New Recording 5.m4a") == ("2026-08-19T11:00:00+01:00", "mtime")


def test_a_guess_is_made_again_for_another_name() -> None:
    assert find("New Recording 5.m4a", at="2024-01-31T09:30:00", source="name")[1] == "mtime"


def test_a_name_is_not_believed_when_the_file_is_older() -> None:
    assert find("Plans for 2026-10-01.m4a") == ("2026-08-19T11:00:00+01:00", "mtime")
    assert find("Talk of 2026-08-20.m4a") == ("2026-08-20", "name")  # a time zone may lie between


@pytest.mark.parametrize("mtime_ns", [0, -1, 10**9, 978307200 * 10**9, 10**19, 2 * 10**18])
def test_a_file_whose_own_time_cannot_be_gets_no_date(mtime_ns: int) -> None:
    assert find("talk.m4a", mtime_ns=mtime_ns) == (None, None)
    assert find("talk 2024-01-31.m4a", mtime_ns=mtime_ns) == ("2024-01-31", "name")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"creation_time": "2024-01-31T09:30:00.000000Z"}, "2024-01-31T09:30:00+00:00"),
        (
            {"com.apple.quicktime.creationdate": "2024-01-31T09:30:00+0100", "creation_time": "2024-02-01T00:00:00Z"},
            "2024-01-31T09:30:00+01:00",
        ),
        ({"creation_time": "1904-01-01T00:00:00Z", "date": "2024-01-31T09:30:00Z"}, "2024-01-31T09:30:00+00:00"),
        ({"creation_time": "2001-01-01T00:00:00Z"}, None),
        ({"creation_time": "1970-01-01T00:00:00Z"}, None),
        ({"creation_time": "2027-01-01T00:00:00Z"}, None),
        ({"creation_time": "2024-01-31T09:30:00"}, None),
        ({"date": "2024"}, None),
        ({"date": "2024-01-31"}, None),
        ({"origination_date": "2024-01-31", "origination_time": "09:30:00"}, "2024-01-31T09:30:00"),
        ({"origination_date": "2024:01:31", "origination_time": "09-30-00"}, "2024-01-31T09:30:00"),
        ({"origination_date": "0000-00-00", "origination_time": "00:00:00"}, None),
        ({"origination_date": "2024-01-31"}, None),
    ],
)
def test_what_the_container_says(tags: dict[str, str], expected: str | None) -> None:
    assert recording_date.read_tags({}, tags, now=NOW) == expected


@given(st.text(st.sampled_from("0123456789 -_.:TZ+GMTPXLapm/at"), max_size=60) | st.text(max_size=60))
def test_no_name_does_harm_or_gives_a_time_to_come(name: str) -> None:
    found = recording_date.read_name(PurePath(name), NOW)
    if found is not None:
        moment = dt.datetime.fromisoformat(found)
        assert moment.replace(tzinfo=moment.tzinfo or dt.UTC) <= NOW + recording_date.SLACK
        assert moment.year >= recording_date.EARLIEST

"""The decoder and files with several sound tracks: which one is taken, and what a person is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dropscribe.errors import RecordingFaultError
from dropscribe.settings import LANGUAGES
from dropscribe.worker import decoding
from dropscribe.worker.decoding.tracks import list_set_languages, normalise_language
from odd_recordings import Track, beeps, write

if TYPE_CHECKING:
    from pathlib import Path

SOUND = beeps(5)


def track(**facts: Any) -> Track:
    return Track(SOUND, "aac", **facts)


def decode(path: Path, **wish: Any) -> decoding.Decoded:
    return decoding.decode(path, path.parent / "spool", **wish)


def refused(path: Path, **wish: Any) -> RecordingFaultError:
    with pytest.raises(RecordingFaultError) as caught:
        decode(path, **wish)
    assert not (path.parent / "spool").exists()
    return caught.value


@pytest.mark.parametrize("kind", ["matroska", "mp4", "mpegts"])
def test_the_track_in_the_language_that_is_set_is_taken(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "film", [track(language="fre"), track(language="ger"), track(language="eng")], kind)
    for languages, number in (((), 1), (("fr",), 1), (("de",), 2), (("en",), 3), (("ja", "en"), 3), (("ja",), 1)):
        found = decode(path, languages=languages)
        assert found.track == number, languages
        (notice,) = found.warnings
        assert notice.code == "other-audio-streams"
        assert f"number {number} (" in notice.detail.split(" was transcribed")[0]


@pytest.mark.parametrize(
    ("tracks", "languages", "number"),
    [
        ([track(), track(disposition="default")], (), 2),
        ([track(disposition="comment"), track()], (), 2),
        ([track(disposition="visual_impaired"), track()], (), 2),
        ([track(title="Director's Commentary"), track()], (), 2),
        ([track(title="Audiodescription"), track()], (), 2),
        ([track(language="eng", disposition="comment"), track(language="eng")], ("en",), 2),
        ([track(language="fre", disposition="default"), track(language="eng")], ("en",), 2),
        ([track(language="fre"), track()], ("en",), 2),
        ([track(language="ger"), track(language="eng")], ("en", "de"), 2),
    ],
)
def test_the_best_track_is_taken(
    tmp_path: Path, tracks: list[Track], languages: tuple[str, ...], number: int
) -> None:
    assert decode(write(tmp_path / "film.mkv", tracks, "matroska"), languages=languages).track == number


def test_a_number_settles_it(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", [track(language="fre", title="VF"), track(language="eng")], "matroska")
    found = decode(path, track=2, languages=("fr",))
    assert found.track == 2
    for part in ("number 2 (eng, aac)", "number 1 (fre, “VF”, aac)", "`audio_track = NUMBER`"):
        assert part in found.warnings[0].detail


def test_a_number_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", [track(language="fre"), track(language="eng", title="Stereo")], "matroska")
    error = refused(path, track=3)
    assert error.code == "no-such-track"
    assert "number 1 (fre, aac); number 2 (eng, “Stereo”, aac)" in error.message
    assert refused(write(tmp_path / "a.m4a", [track()], "mp4"), track=2).code == "no-such-track"


def unreadable(path: Path, tracks: int) -> Path:
    """Make the first of so many tracks one that no decoder knows, as in recordings of some
    telephones.
    """
    write(path, [track()] * tracks, "mov")
    data = bytearray(path.read_bytes())
    first = data.find(b"stsd")
    second = data.find(b"stsd", first + 4) if tracks > 1 else len(data)
    for old, new in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        while first < (place := data.find(old, first)) < second:
            data[place : place + 4] = new
    path.write_bytes(data)
    return path


def test_a_track_that_can_be_decoded_is_taken(tmp_path: Path) -> None:
    path = unreadable(tmp_path / "memo.qta", 2)
    found = decode(path)
    assert (found.track, found.codec) == (2, "aac")
    assert "number 1 (in a format that cannot be read here)" in found.warnings[0].detail
    assert refused(path, track=1).code == "no-decoder"


def test_where_none_can_be_decoded_the_format_is_named(tmp_path: Path) -> None:
    error = refused(unreadable(tmp_path / "memo.qta", 1))
    assert error.code == "no-decoder"
    assert "Apple Positional Audio Codec (`apac`)" in error.message
    assert "damaged" not in str(error)
    path = write(tmp_path / "a.mkv", [track()], "matroska")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    assert "`A_XYZ`" in refused(path).message


def test_a_track_that_gives_nothing_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [track(), Track(SOUND, "libopus")], "matroska")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_DTS"))
    found = decode(path)
    assert (found.track, found.codec) == (2, "opus")


def test_every_language_is_known_by_its_tags() -> None:
    assert {normalise_language(code) for code in LANGUAGES} == LANGUAGES
    assert [
        normalise_language(tag) for tag in ("fre", "fra", "FR", "fr-CA", "ger", "deu", "chi", "zho", "zh-Hans")
    ] == [
        *["fr"] * 4,
        *["de"] * 2,
        *["zh"] * 3,
    ]
    assert [normalise_language(tag) for tag in ("und", "", None, "mul")] == [None] * 4


def test_what_may_be_spoken_comes_from_two_settings() -> None:
    assert list_set_languages("auto", ["en", "de"]) == ("en", "de")
    assert list_set_languages("fr", ["en", "de"]) == ("fr",)
    assert list_set_languages("auto", []) == ()

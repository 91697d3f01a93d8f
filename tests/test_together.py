"""One transcript of a folder in which each speaker has a recording of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe.supervisor import loop
from dropscribe.supervisor.journal import FILE_NAME
from dropscribe.supervisor.together import name_speakers
from house import House, made, profile

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = [f"show/show.{suffix}" for suffix in ("json", "srt", "txt", "vtt")]
TRACKS = ["show/1-anna.json", "show/2-ben.json"]


@pytest.fixture
def show(house: House) -> House:
    """A folder of two recordings that belong together, transcribed."""
    (house.inbox / "show").mkdir()
    profile(house, "show/dropscribe.toml", "together = true\nfillers = 'drop'")
    house.drop("show/1-anna.wav", "Um, hello.", "How are you?")
    house.drop("show/2-ben.wav", "Good day.")
    assert house.run() == loop.Summary(done=2, failed=0, waiting=0, outage=None)
    return house


def read_turns(house: House) -> list[tuple[str, str]]:
    return [(s["speaker"], s["text"]) for s in made(house, "show/show")["segments"]]


def test_a_folder_becomes_one_transcript_with_speakers_called_by_the_files(show: House) -> None:
    assert show.outputs() == sorted(TRACKS + FOLDER)
    assert sorted(read_turns(show)) == [("anna", "Hello."), ("anna", "How are you?"), ("ben", "Good day.")]
    starts = [segment["start"] for segment in made(show, "show/show")["segments"]]
    assert starts == sorted(starts)
    text = (show.outbox / "show/show.txt").read_text()
    assert "anna: Hello." in text
    assert "ben: Good day." in text
    joined = made(show, "show/show")
    assert joined["source"]["name"] == "show"


def test_again_nothing_is_written_twice(show: House) -> None:
    before = {path: path.stat().st_ino for path in show.outbox.rglob("*.*")}
    assert show.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
    assert {path: path.stat().st_ino for path in show.outbox.rglob("*.*")} == before
    assert len(show.events("folder.joined")) == 1


def test_one_that_comes_later_is_joined_too_and_one_that_fails_is_named(show: House) -> None:
    show.drop("show/3-cid.wav", "Late.")
    show.drop("show/4-dan.wav", "!fail recording no-audio")
    show.run()
    assert ("cid", "Late.") in read_turns(show)
    (warning,) = (w for w in made(show, "show/show")["warnings"] if w["code"] == "recording-missing")
    assert warning["detail"].startswith("4-dan.wav failed: ")
    assert "show/show (2).json" not in show.outputs()


def test_what_a_person_changed_stays(show: House) -> None:
    (show.outbox / "show/show.txt").write_text("Mine.")
    show.drop("show/3-cid.wav", "Late.")
    show.run()
    assert (show.outbox / "show/show.txt").read_text() == "Mine."
    assert "cid: Late." in (show.outbox / "show/show (2).txt").read_text()


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: path.write_bytes(b"damaged" * 1000)])
def test_with_a_new_journal_the_folder_has_the_same_one_transcript(show: House, lose: Callable[[Any], Any]) -> None:
    before = {path.name: path.read_bytes() for path in show.outbox.rglob("*.*")}
    lose(show.settings.state / FILE_NAME)
    assert show.run().done == 0
    assert {path.name: path.read_bytes() for path in show.outbox.rglob("*.*")} == before


def test_a_folder_without_the_setting_stays_as_it_was(house: House) -> None:
    house.drop("show/1-anna.wav", "Hello.")
    house.drop("show/2-ben.wav", "Good day.")
    house.run(formats=("json",))
    assert house.outputs() == TRACKS
    profile(house, "show/dropscribe.toml", "together = true")
    (house.inbox / "show/dropscribe.toml").touch()
    assert json.loads((house.outbox / TRACKS[0]).read_text())["segments"][0].get("speaker") is None


def test_a_recording_that_is_called_as_its_folder_keeps_its_name(house: House) -> None:
    (house.inbox / "show").mkdir()
    profile(house, "show/dropscribe.toml", "together = true\nformats = ['json']")
    house.drop("show/show.wav", "Hello.")
    house.drop("show/ben.wav", "Good day.")
    house.run()
    assert house.outputs() == ["show/ben.json", "show/show together.json", "show/show.json"]


@pytest.mark.parametrize(
    ("files", "speakers"),
    [
        (["1-anna.flac", "2-ben_smith.flac"], ["anna", "ben smith"]),
        (["audioAnnaBell11234567890.m4a", "audioBen21234567890.m4a"], ["AnnaBell", "Ben"]),
        (["Anna Bell.wav", "2024.wav"], ["Anna Bell", "2024"]),
        (["1-anna.wav", "2-anna.wav"], ["1-anna", "2-anna"]),
        (["anna.wav", "anna.mp3"], ["anna.wav", "anna.mp3"]),
    ],
)
def test_speakers_are_called_by_their_files_and_never_two_the_same(files: list[str], speakers: list[str]) -> None:
    assert name_speakers(files) == speakers

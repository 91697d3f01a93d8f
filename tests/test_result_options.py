"""Which settings make another result, and which make none."""

from __future__ import annotations

import sys

from house import House, made


def test_other_settings_make_another_result(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run()
    house.drop("two.wav", "Same.")
    house.run(language="de")
    assert len(house.events("job.claimed")) == 2


def test_options_of_whisperx_make_another_result_where_it_is_the_engine(house: House) -> None:
    there = {"backend": "whisperx", "whisperx_python": sys.executable}
    house.drop("one.wav", "Same.")
    house.run(**there)
    house.drop("two.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner")
    house.drop("three.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner", whisperx_diarizer="/a/diarizer")
    assert [e["file"] for e in house.events("job.claimed")] == ["one.wav", "two.wav", "three.wav"]
    options = [made(house, name)["engine"]["options"] for name in ("one", "two", "three")]
    assert [(o["whisperx_aligner"], o["whisperx_diarizer"]) for o in options] == [
        ("", ""),
        ("/an/aligner", ""),
        ("/an/aligner", "/a/diarizer"),
    ]
    house.drop("four.wav", "Same.")
    house.run(**there, whisperx_aligner="/an/aligner")
    assert [e["file"] for e in house.events("job.known")] == ["four.wav"]


def test_options_of_whisperx_change_nothing_for_another_engine(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run(backend="faster-whisper")
    house.drop("two.wav", "Same.")
    house.run(backend="faster-whisper", whisperx_aligner="/an/aligner", whisperx_diarizer="/a/diarizer")
    assert [e["file"] for e in house.events("job.known")] == ["two.wav"]

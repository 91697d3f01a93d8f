"""Correcting a transcript: words with their times, speakers, doubtful passages; in every output, and taken back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dropscribe.library import corrections
from dropscribe.library.alignment import write_words
from dropscribe.supervisor import requests
from dropscribe.supervisor.correcting import make_correction
from dropscribe.transcript import (
    Correction,
    Edit,
    Engine,
    Segment,
    Source,
    Speaker,
    Timing,
    Transcript,
    Word,
)
from house import House, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

WHEN = "2026-11-29T10:00:00+01:00"


def say(start: float, text: str, speaker: str | None = None, *, unsure: str = "") -> Segment:
    """Return a segment in which each word takes 0.4 s, and each pause 0.1 s."""
    words = tuple(
        Word(f" {word}", start + i / 2, start + i / 2 + 0.4, 0.1 if word in unsure.split() else 0.9, speaker)
        for i, word in enumerate(text.split())
    )
    return Segment(0, start, words[-1].end, text, words, speaker=speaker)


def transcript(*segments: Segment, speakers: Sequence[Speaker] | None = None, language: str = "en") -> Transcript:
    numbered = tuple(dataclasses.replace(segment, id=i) for i, segment in enumerate(segments))
    return Transcript(
        text=" ".join(segment.text for segment in segments),
        language=language,
        language_probability=None,
        duration=60.0,
        segments=numbered,
        source=Source("one.wav", "one.wav", "0" * 64, 1),
        engine=Engine("faster-whisper", "cpu", "base", None, {}, {}),
        timing=Timing(60.0, 1.0, 1.0, 30.0),
        review=(),
        speakers=None if speakers is None else tuple(speakers),
    )


def correct(before: Transcript, *edits: Edit) -> Transcript:
    corrected = corrections.correct(before, [Correction(WHEN, "ada", edits)])
    assert corrected.unfit == ()
    return corrected.transcript


def times(words: Sequence[Word]) -> list[tuple[str, float, float]]:
    return [(word.word, round(word.start, 3), round(word.end, 3)) for word in words]


def test_merged_and_split_words_keep_the_times_of_their_letters() -> None:
    before = say(0.0, "at the drop scribe office alot")
    assert times(write_words(before.words, "at the Dropscribe office a lot")) == [
        (" at", 0.0, 0.4),
        (" the", 0.5, 0.9),
        (" Dropscribe", 1.0, 1.9),
        (" office", 2.0, 2.4),
        (" a", 2.5, 2.6),
        (" lot", 2.6, 2.9),
    ]


def test_words_that_are_added_share_the_time_of_the_word_beside_them() -> None:
    before = say(0.0, "it is so.")
    assert times(write_words(before.words, "Well, it is so good.")) == [
        (" Well,", 0.0, 0.267),
        (" it", 0.267, 0.4),
        (" is", 0.5, 0.9),
        (" so", 1.0, 1.133),
        (" good.", 1.133, 1.4),
    ]


def request(house: House, name: str, *edits: Edit) -> None:
    requests.write_request(house.settings.state, requests.Correct(name, make_correction(edits, "ada")))


def published(house: House, base: str) -> Transcript:
    return Transcript.from_json((house.outbox / f"{base}.json").read_text())


def test_a_correction_is_in_every_format_and_the_original_beside_it(house: House) -> None:
    house.drop("a/one.wav", "The drop scribe office.", "It is here.")
    house.run()
    before = published(house, "a/one")
    request(house, "a/one.wav", *corrections.edit_words(before, 0, "The Dropscribe office."))
    assert house.run().done == 1
    after = published(house, "a/one")
    assert [segment.text for segment in after.segments] == ["The Dropscribe office.", "It is here."]
    assert "The Dropscribe office." in (house.outbox / "a/one.txt").read_text()
    assert "The Dropscribe office." in (house.outbox / "a/one.vtt").read_text()
    assert published(house, "a/one.original") == before
    assert after.corrections is not None
    assert [(c.by, [(e.before, e.after) for e in c.edits]) for c in after.corrections] == [
        ("ada", [("drop scribe", "Dropscribe")])
    ]
    assert len(house.events("job.claimed")) == 1


def test_a_correction_leaves_what_was_edited_by_hand_as_it_is(house: House) -> None:
    house.drop("one.wav", "The drop scribe office.")
    house.run()
    (house.outbox / "one.txt").write_text("My own words.")
    for text in ("The Dropscribe office.", "The Dropscribe house."):
        request(house, "one.wav", *corrections.edit_words(published(house, "one"), 0, text))
        assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "My own words."
    assert house.outputs() == ["one.json", "one.original.json", "one.srt", "one.txt", "one.vtt"]
    assert "The Dropscribe house." in (house.outbox / "one.srt").read_text()
    ask(house, ["one.wav"], stale=False)  # which makes a new version, as ever
    house.run()
    assert (house.outbox / "one (2).txt").read_text() == "The Dropscribe house.\n"

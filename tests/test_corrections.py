"""Correcting a transcript: words with their times, speakers, doubtful passages; in every output, and taken back."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from dropscribe.errors import DropscribeError, UsageError
from dropscribe.formats import RENDERERS
from dropscribe.library import corrections, edited_text, spellings
from dropscribe.library.alignment import write_words
from dropscribe.library.spellings import PROFILE
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
    Turn,
    Word,
)
from house import House, ask, old

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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


def test_every_edit_is_undone_and_nothing_of_it_is_lost(house: House) -> None:
    house.drop("one.wav", "The drop scribe office.")
    house.run()
    before = published(house, "one")
    for text in ("The Dropscribe office.", "The Dropscribe house."):
        request(house, "one.wav", *corrections.edit_words(published(house, "one"), 0, text))
        house.run()
    for text in ("The Dropscribe office.", "The drop scribe office.", "The drop scribe office."):
        requests.write_request(house.settings.state, requests.Undo("one.wav"))
        house.run()
        assert (house.outbox / "one.txt").read_text() == f"{text}\n"
    after = published(house, "one")
    assert dataclasses.replace(after, corrections=None) == before
    assert [(c.edits[0].after, c.undone is not None) for c in after.corrections or ()] == [
        ("Dropscribe", True),
        ("house.", True),
    ]


def test_corrections_outlive_redo_where_the_words_are_the_same(house: House) -> None:
    path = house.drop("one.wav", "The drop scribe office.", "It is here.")
    house.run()
    request(house, "one.wav", *corrections.edit_words(published(house, "one"), 0, "The Dropscribe office."))
    house.run()
    ask(house, ["one.wav"], stale=False)
    house.run()
    assert published(house, "one").segments[0].text == "The Dropscribe office."
    assert path.exists()
    assert any("one DATE.json" in name for name in old(house))


def test_a_correction_that_fits_no_more_is_said_and_listed_and_never_made_up() -> None:
    edit = corrections.edit_words(transcript(say(0.0, "the drop scribe office")), 0, "the Dropscribe office")
    other = transcript(say(0.0, "the top tribe office"))
    done = corrections.correct(other, [Correction(WHEN, "ada", edit)])
    assert done.unfit == edit
    assert done.transcript.segments == other.segments
    assert [(n.code, n.start, n.end) for n in done.transcript.warnings] == [("correction-not-made", 0.5, 1.4)]
    assert [p.kind for p in done.transcript.review or ()] == ["warning"]
    right = corrections.correct(transcript(say(0.1, "the Dropscribe office")), [Correction(WHEN, "ada", edit)])
    assert right.unfit == ()
    assert right.transcript.segments[0].text == "the Dropscribe office"


def test_a_file_with_another_content_has_no_corrections(house: House) -> None:
    path = house.drop("one.wav", "The drop scribe office.")
    house.run()
    request(house, "one.wav", *corrections.edit_words(published(house, "one"), 0, "The Dropscribe office."))
    house.run()
    path.write_text("The drop scribe office again.")
    house.run()
    after = published(house, "one")
    assert (after.segments[0].text, after.corrections) == ("The drop scribe office again.", None)


def test_a_journal_that_is_made_again_knows_the_original_and_its_corrections(house: House) -> None:
    house.drop("one.wav", "The drop scribe office.")
    house.run()
    request(house, "one.wav", *corrections.edit_words(published(house, "one"), 0, "The Dropscribe office."))
    house.run()
    (house.settings.state / "journal.sqlite3").unlink()
    assert house.run().done == 0
    requests.write_request(house.settings.state, requests.Undo("one.wav"))
    assert house.run().done == 1
    assert (house.outbox / "one.txt").read_text() == "The drop scribe office.\n"
    assert house.outputs() == ["one.json", "one.original.json", "one.srt", "one.txt", "one.vtt"]
    assert len(house.events("job.claimed")) == 1


def test_a_request_that_is_no_correction_is_dropped(house: House) -> None:
    house.drop("one.wav", "Said.")
    house.run()
    folder = house.settings.state / requests.FOLDER
    folder.mkdir(exist_ok=True)
    right: dict[str, object] = {"kind": "words", "start": 0.0, "end": 1.0, "before": "Said.", "after": "Done."}
    wrong: list[dict[str, object]] = [{"start": 2, "end": 1}, {"kind": 1}, {"start": "x"}, {"end": 1e999}]
    for number, edit in enumerate(wrong):
        whole = right | edit
        text = json.dumps({"correct": "one.wav", "correction": {"made": "", "by": "", "edits": [whole]}})
        (folder / f"{number}.json").write_text(text)
    assert house.run().done == 0
    assert list(folder.iterdir()) == []


def test_speakers_are_renamed_merged_exchanged_and_given_other_turns() -> None:
    speakers = [
        Speaker("Anna", 1.9, 0.5, 0.9, (Turn(0.0, 1.9, 0.9),)),
        Speaker("Ben", 1.9, 0.5, 0.9, (Turn(5.0, 6.9, 0.9),)),
    ]
    before = transcript(say(0.0, "we said this here", "Anna"), say(5.0, "and we said that", "Ben"), speakers=speakers)
    rename = corrections.rename_speaker
    swapped = correct(before, rename(before, "Anna", "Ben"), rename(before, "Ben", "Anna"))
    assert [s.speaker for s in swapped.segments] == ["Ben", "Anna"]
    merged = correct(before, rename(before, "Ben", "Anna"))
    assert [(s.name, len(s.turns)) for s in merged.speakers or ()] == [("Anna", 2)]
    moved = correct(before, corrections.move_turn(before, 1, 1, "Carl"))
    assert [s.speaker for s in moved.segments] == ["Anna", "Carl"]
    assert [(s.name, s.turns[0].start) for s in moved.speakers or ()] == [("Anna", 0.0), ("Carl", 5.0)]
    part = correct(before, corrections.move_time(before, 5.0, 5.9, "Anna"))
    assert [(s.speaker, s.text) for s in part.segments] == [
        ("Anna", "we said this here"),
        ("Anna", "and we"),
        ("Ben", "said that"),
    ]
    with pytest.raises(UsageError, match="Nobody is called Eva"):
        rename(before, "Eva", "Anna")


def test_a_passage_that_was_accepted_is_not_listed_any_more() -> None:
    before = transcript(say(0.0, "we met mister smith there", unsure="mister smith"))
    listed = correct(before, *corrections.edit_words(before, 0, "We met mister smith there"))
    (passage,) = listed.review or ()
    accepted = correct(before, corrections.accept_passage(before, passage.start, passage.end))
    assert accepted.review == ()
    assert accepted.segments == before.segments


def test_words_that_a_person_wrote_are_not_doubtful() -> None:
    before = transcript(say(0.0, "we met mister smith there", unsure="mister smith"))
    after = correct(before, *corrections.edit_words(before, 0, "we met Mrs Schmidt there"))
    assert after.review == ()
    assert [word.probability for word in after.segments[0].words] == [0.9, 0.9, None, None, 0.9]


def test_text_without_spaces_is_corrected_within_its_words() -> None:
    words = tuple(Word(text, i / 2, i / 2 + 0.5) for i, text in enumerate(("東京", "タワー", "の", "近く")))
    before = transcript(Segment(0, 0.0, 2.0, "東京タワーの近く", words), language="ja")
    after = correct(before, *corrections.edit_words(before, 0, "東京スカイツリーの近く"))
    assert after.segments[0].text == "東京スカイツリーの近く"
    assert (after.segments[0].words[0], after.segments[0].words[-1]) == (words[0], words[-1])


@pytest.mark.parametrize(
    ("suffix", "edited"),
    [
        (".txt", "Anna: We met at Dropscribe. Yes.\n\nCarl: And we left."),
        (".lines.txt", "Anna: We met at Dropscribe. Yes.\nCarl: And we left."),
        (".times.txt", "[00:00:00] Anna: We met at Dropscribe. Yes.\n\n[00:00:10] Carl: And we left."),
        (
            ".vtt",
            (
                "WEBVTT\n\n00:00.000 --> 00:02.000\n<v Anna>We met\nat Dropscribe. Yes.\n\n"
                "00:10.000 --> 00:11.000\n<v Carl>And we left."
            ),
        ),
        (
            ".srt",
            (
                "1\r\n00:00:00,000 --> 00:00:02,000\r\nAnna: We met at Dropscribe.\r\nYes.\r\n\r\n"
                "2\r\n00:00:10,000 --> 00:00:11,000\r\nCarl: And we left.\r\n"
            ),
        ),
    ],
)
def test_an_edited_text_gives_its_words_and_its_speakers_to_the_transcript(suffix: str, edited: str) -> None:
    before = transcript(say(0.0, "We met at drop scribe.", "Anna"), say(10.0, "And then we left.", "Ben"))
    after = correct(before, *edited_text.read_edits(before, edited, suffix))
    assert [(s.speaker, s.text) for s in after.segments] == [
        ("Anna", "We met at Dropscribe. Yes."),
        ("Carl", "And we left."),
    ]


@pytest.mark.parametrize("name", ["txt", "times.txt", "lines.txt", "srt", "vtt"])
def test_an_unedited_text_changes_nothing(name: str) -> None:
    text = "A long talk, in which Anna said: no. <b> & so on; it goes on for more than one line of a subtitle."
    before = transcript(say(0.0, text, "Anna"), say(70.0, "Well: yes, we did!", "Ben"))
    assert edited_text.read_edits(before, RENDERERS[name](before), f".{name}") == ()


def test_three_hours_are_aligned_and_made_again_word_for_word() -> None:
    """Words repeat, so nothing but their order tells where they are."""
    said = [f"w{(i * i) % 977} w{i % 13} the so w{i % 101} w{(7 * i) % 499} of it." for i in range(3500)]
    before = transcript(*(say(3.0 * i, text) for i, text in enumerate(said)))
    edited = [text.replace("so", "so much") if i % 10 == 0 else text for i, text in enumerate(said) if i % 97]
    edits = edited_text.read_edits(before, "\n\n".join(edited), ".txt")
    after = corrections.correct(before, [Correction(WHEN, "ada", edits)])
    assert after.unfit == ()
    assert after.transcript.text.split() == " ".join(edited).split()


def test_an_edited_file_is_applied_by_the_command_and_taken_back(house: House) -> None:
    house.drop("a/one.wav", "The drop scribe office.", "It is here.")
    house.run()
    text = house.outbox / "a/one.txt"
    text.write_text("The Dropscribe office. It is there.\n")
    assert "2 corrections of a/one.wav" in house.call("apply", str(text)).stderr
    house.run()
    assert text.read_text() == "The Dropscribe office. It is there.\n"
    assert house.outputs() == [f"a/one.{s}" for s in ("json", "original.json", "srt", "txt", "vtt")]
    assert "The Dropscribe office." in (house.outbox / "a/one.vtt").read_text()
    assert "says what its transcript says" in house.call("apply", str(text)).stderr
    assert house.call("apply", "--undo", str(house.inbox / "a/one.wav")).returncode == 0
    house.run()
    assert "drop scribe" in (house.outbox / "a/one.vtt").read_text()
    refused = house.call("apply", str(house.inbox / "a/one.wav"))
    assert (refused.returncode, ".times.txt" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '[replacements]\n"drop scribe" = "Dropscribe"\n'),
        (
            '# mine\nlanguage = "fi"  # Finnish\n[replacements]  # all of them\n"a b" = "ab"\n',
            (
                '# mine\nlanguage = "fi"  # Finnish\n[replacements]  # all of them\n"a b" = "ab"\n'
                '"drop scribe" = "Dropscribe"\n'
            ),
        ),
    ],
)
def test_a_spelling_is_added_to_a_profile_and_nothing_else_changes(
    tmp_path: Path, before: str | None, after: str
) -> None:
    path = tmp_path / PROFILE
    if before is not None:
        path.write_text(before)
    spellings.write_always(tmp_path, "drop scribe", "Dropscribe")
    assert path.read_text() == after
    spellings.add_term(tmp_path, "Aalto")
    spellings.add_term(tmp_path, "Aalto")
    assert tomllib.loads(path.read_text())["glossary"] == ["Aalto"]
    assert tomllib.loads(path.read_text())["replacements"]["drop scribe"] == "Dropscribe"


def test_a_profile_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PROFILE).write_text("language = ")
    with pytest.raises(DropscribeError, match="not valid TOML"):
        spellings.write_always(tmp_path, "drop scribe", "Dropscribe")
    assert (tmp_path / PROFILE).read_text() == "language = "


def test_a_set_that_no_daemon_wrote_is_corrected_at_once(house: House, tmp_path: Path) -> None:
    before = transcript(say(0.0, "at the drop scribe office."), say(5.0, "it is here."))
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("json", "txt", "vtt", "md"):
        (folder / f"one.{name}").write_text(RENDERERS[name](before))
    (folder / "one.txt").write_text("at the Dropscribe office. it is here.\n")
    (folder / "one.md").write_text("Mine.")
    assert house.call("apply", str(folder / "one.txt")).returncode == 0
    after = Transcript.from_json((folder / "one.json").read_text())
    assert after.text == "at the Dropscribe office. it is here."
    assert "Dropscribe" in (folder / "one.vtt").read_text()
    assert (folder / "one.md").read_text() == "Mine."
    assert Transcript.from_json((folder / "one.original.json").read_text()) == before
    assert house.call("apply", str(tmp_path / "two.txt")).returncode == 1
    (tmp_path / "two.txt").touch()
    assert house.call("apply", str(tmp_path / "two.txt")).returncode == 2

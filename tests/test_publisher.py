"""Publishing: outputs with their own names and facts, edited ones left alone, records of failures, a lost outbox."""

from __future__ import annotations

import json
import os
import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from dropscribe import logs, settings
from dropscribe.supervisor import loop
from dropscribe.supervisor.journal import FILE_NAME, Journal
from house import FAKE, House, ask, four, made, profile


def test_a_copy_is_published_from_the_result_that_is_there(house: House) -> None:
    house.drop("one.wav", "Same.")
    house.run()
    house.drop("copy/of one.wav", "Same.")
    (house.inbox / "one.wav").rename(house.inbox / "renamed.wav")
    assert house.run().done == 2
    assert house.outputs() == sorted(four("one") + four("copy/of one") + four("renamed"))
    assert len(house.events("job.claimed")) == 1
    assert [e["file"] for e in house.events("job.known")] in (
        ["copy/of one.wav", "renamed.wav"],
        ["renamed.wav", "copy/of one.wav"],
    )
    assert json.loads((house.outbox / "renamed.json").read_text())["source"]["name"] == "renamed.wav"


def test_the_date_of_a_recording_is_from_its_name_or_its_file_also_for_a_copy(house: House) -> None:
    path = house.drop("Voice 240131_093000.wav", "Same.")
    house.run()
    made = json.loads((house.outbox / "Voice 240131_093000.json").read_text())
    assert (made["source"]["recorded_at"], made["source"]["recorded_from"]) == ("2024-01-31T09:30:00", "name")

    path.rename(house.inbox / "renamed.wav")
    os.utime(house.inbox / "renamed.wav", (1_700_000_000, 1_700_000_000))
    house.run()
    source = json.loads((house.outbox / "renamed.json").read_text())["source"]
    assert source["recorded_from"] == "mtime"
    assert datetime.fromisoformat(source["recorded_at"]).timestamp() == 1_700_000_000
    assert len(house.events("job.claimed")) == 1


def test_an_edited_output_is_left_alone(house: House) -> None:
    path = house.drop("one.wav", "Before.")
    house.run()
    (house.outbox / "one.txt").write_text("Corrected by hand.")
    path.write_text("After, and longer.")
    house.run()
    assert (house.outbox / "one.txt").read_text() == "Corrected by hand."
    assert (house.outbox / "one (2).txt").read_text() == "After, and longer.\n"


def test_two_recordings_of_one_stem_get_their_own_names(house: House) -> None:
    house.drop("talk.m4a", "Apple.")
    house.run()
    house.drop("talk.mp3", "Pear.")
    house.run()
    assert house.outputs() == sorted(four("talk") + four("talk.mp3"))
    assert (house.outbox / "talk.mp3.txt").read_text() == "Pear.\n"


def test_a_bad_recording_is_quarantined_and_the_next_goes_on(house: House) -> None:
    house.drop("a/bad.wav", "!fail recording no-audio")
    house.drop("good.wav", "Fine.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, outage=None)
    assert house.outputs() == sorted([*four("good"), "_failed/a/bad.wav.error.txt"])
    record = (house.outbox / "_failed/a/bad.wav.error.txt").read_text()
    assert "It failed: no-audio. Do something." in record
    assert str(house.inbox / "a/bad.wav") in record
    assert house.row("a/bad.wav").attempts == 1


def test_a_bad_recording_that_changes_is_tried_again_and_its_record_goes(house: House) -> None:
    path = house.drop("bad.wav", "!fail recording no-audio")
    house.run()
    path.write_text("Fine now.")
    assert house.run().done == 1
    assert house.outputs() == four("bad")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_outbox_that_may_not_be_written_makes_recordings_wait(house: House) -> None:
    house.drop("one.wav", "Fine.")
    house.outbox.mkdir(mode=0o500)
    assert house.run().waiting == 1
    house.outbox.chmod(0o700)
    assert house.run().done == 1


def test_an_outbox_that_vanishes_is_waited_for_and_nothing_is_done_twice(house: House) -> None:
    house.drop("one.wav", "Fine.")
    away = house.outbox.with_name("away")
    chosen = house.settings
    logs.configure(chosen)
    house.outbox.mkdir()
    daemon = loop.Supervisor(chosen, once=True, command=FAKE)
    house.outbox.rename(away)
    summary = daemon.run()
    daemon.close()
    assert (summary.done, summary.waiting) == (0, 1)
    assert "outbox" in str(summary.outage)
    assert not house.outbox.exists()
    away.rename(house.outbox)
    assert house.run().done == 1


def test_the_passages_to_review_are_of_the_text_that_is_written(house: House) -> None:
    """Replacements may make words alike, which is then a loop; what is stored stays as the engine gave it."""
    words = [f"word{n}" for n in range(20)]
    profile(house, "a/dropscribe.toml", f"replacements = {settings.to_toml(settings.Table.fromkeys(words, 'yes'))}\n")
    house.drop("a/one.wav", *words)
    house.drop("one.wav", *words)
    assert house.run().done == 2
    assert [passage["kind"] for passage in made(house, "a/one")["review"]] == ["loop"]
    assert made(house, "one")["review"] == []
    journal = Journal(house.settings.state / "journal.sqlite3", readonly=True)
    stored = json.loads(journal.results.find(house.row("a/one.wav").result or "") or "")
    journal.close()
    assert stored["text"] == " ".join(words)
    assert "review" not in stored


def test_outputs_are_called_as_the_template_says(house: House) -> None:
    house.drop("a/Film.mkv", "One.")
    house.drop("a/Film.mp4", "Two.")
    house.run(names="{stem}.{language}", formats=("json", "srt"))
    assert house.outputs() == sorted(
        f"a/{base}.{suffix}" for base in ("Film.en", "Film.mp4.en") for suffix in ("json", "srt")
    ) or house.outputs() == sorted(
        f"a/{base}.{suffix}" for base in ("Film.en", "Film.mkv.en") for suffix in ("json", "srt")
    )
    (house.settings.state / FILE_NAME).unlink()
    assert house.run(names="{stem}.{language}").done == 0  # a new journal finds them again


def test_subtitles_come_to_lie_beside_their_film_and_are_no_recordings(house: House) -> None:
    """The hook that the documents show."""
    house.drop("a/Film.mkv", "One.")
    text = (Path(__file__).parents[1] / "config/README.md").read_text(encoding="utf-8")
    shown = tomllib.loads(text.split("### Beside a film")[1].split("```toml\n")[1].split("```")[0])
    changes = {key: settings.parse_value(key, value, "") for key, value in shown.items()}
    assert house.run(**changes) == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    assert "One." in (house.inbox / "a/Film.en.srt").read_text()
    assert house.run(**changes) == loop.Summary(done=0, failed=0, waiting=0, outage=None)


def test_a_changed_look_of_subtitles_needs_no_new_transcript(house: House) -> None:
    house.drop("one.wav", "One two three four five six.")
    house.run()
    assert house.outputs() == four("one")
    before = (house.outbox / "one.srt").read_text()
    profile(house, "dropscribe.toml", "subtitle_words = 2")
    ask(house, None, stale=True)
    house.run()
    after = (house.outbox / "one.srt").read_text()
    assert (before.count("-->"), after.count("-->")) == (1, 3)
    assert len(house.events("job.claimed")) == 1
    assert made(house, "one")["engine"]["options"]["subtitle_words"] == "2"


def test_a_word_document_is_an_output_as_any_other(house: House) -> None:
    house.drop("one.wav", "One.")
    house.run(formats=("docx", "json"))
    assert house.outputs() == ["one.docx", "one.json"]
    (house.settings.state / FILE_NAME).unlink()
    house.drop("one.wav", "Two.")
    house.run(formats=("docx", "json"))
    assert [name for name in house.outputs() if not name.startswith("_old")] == ["one.docx", "one.json"]

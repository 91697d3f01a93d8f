"""Profiles in a running daemon: which hold, and what becomes of recordings whose profile is wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from dropscribe import logs
from dropscribe.supervisor import loop
from dropscribe.supervisor.journal import State
from house import FAKE, House, four, made, profile

if TYPE_CHECKING:
    from dropscribe.supervisor.publisher import Progress


def test_each_recording_is_made_with_the_settings_of_its_folder(house: House) -> None:
    profile(house, "dropscribe.toml", 'glossary = ["Aalto"]\n')
    profile(house, "a/dropscribe.toml", 'language = "fi"\nformats = ["txt"]\nchannels = ["Host"]\n')
    profile(house, "a/two.wav.toml", 'replacements = {"drop scribe" = "Dropscribe"}\n')
    for name in ("one.wav", "a/one.wav", "a/two.wav"):
        house.drop(name, "We use drop scribe.")
    assert house.run().done == 3
    assert house.outputs() == sorted([*four("one"), "a/one.json", "a/one.txt", "a/two.json", "a/two.txt"])
    options = {base: made(house, base)["engine"]["options"] for base in ("one", "a/one", "a/two")}
    assert [options[base]["language"] for base in options] == ["auto", "fi", "fi"]
    assert [options[base]["channels"] for base in options] == [[], ["Host"], ["Host"]]
    assert [options[base]["glossary"] for base in options] == [["Aalto"]] * 3
    assert options["a/two"]["replacements"] == {"drop scribe": "Dropscribe"}
    assert (house.outbox / "a/one.txt").read_text() == "We use drop scribe.\n"
    assert (house.outbox / "a/two.txt").read_text() == "We use Dropscribe.\n"
    # The two of folder a differ in what is done with the text alone: one transcription served both.
    assert len(house.events("job.claimed")) == 2
    assert json.loads(house.row("a/two.wav").settings)["formats"] == ["txt", "json"]


def test_a_wrong_profile_fails_its_recordings_until_it_is_corrected(house: House) -> None:
    path = profile(house, "a/dropscribe.toml", 'langage = "fi"\n')
    house.drop("a/one.wav", "Fine.")
    house.drop("two.wav", "Fine, too.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, outage=None)
    record = house.outbox / "_failed/a/one.wav.error.txt"
    assert f"{path}: there is no setting `langage`. Did you mean `language`?" in record.read_text()
    assert "taken up again by itself" in record.read_text()
    assert (house.row("a/one.wav").code, house.row("a/one.wav").attempts) == ("profile-wrong", 0)
    # Nothing is done while it is as it was; another fault is reported; corrected, it is forgotten.
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
    path.write_text('language = "finnish"\n')
    assert house.run().failed == 1
    assert "no language `finnish`" in record.read_text()
    path.write_text('language = "fi"\n')
    assert house.run() == loop.Summary(done=1, failed=0, waiting=0, outage=None)
    assert not record.exists()
    assert made(house, "a/one")["engine"]["options"]["language"] == "fi"


def test_a_profile_that_is_removed_frees_its_recordings(house: House) -> None:
    path = profile(house, "one.wav.toml", "nonsense")
    house.drop("one.wav", "Fine.")
    assert house.run().failed == 1
    path.unlink()
    assert house.run().done == 1


def test_a_running_daemon_sees_that_a_profile_was_corrected(house: House) -> None:
    path = profile(house, "dropscribe.toml", "nonsense")
    house.drop("one.wav", "Fine.")
    logs.configure(house.settings)

    def correct(progress: Progress) -> None:
        if progress.outcome.startswith("failed"):
            path.write_text('language = "fi"\n')
        elif progress.outcome:
            daemon.stop("the test")

    # A scan comes once an hour: only the event can tell.
    chosen = dataclasses.replace(house.settings, scan_seconds=3600.0, observer="native")
    daemon = loop.Supervisor(chosen, command=FAKE, progress=correct)
    assert daemon.run().done == 1
    daemon.close()


def test_a_model_that_only_a_profile_asks_for_stops_nobody_else(house: House) -> None:
    path = profile(house, "a/dropscribe.toml", 'model = "base"\n')
    house.drop("a/one.wav", "!until 1 !fail environment model-missing", "Fine.")
    house.drop("two.wav", "Fine, too.")
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, outage=None)
    assert "a profile makes nobody download" in (house.outbox / "_failed/a/one.wav.error.txt").read_text()
    assert house.run() == loop.Summary(done=0, failed=0, waiting=0, outage=None)
    path.unlink()
    assert house.run().done == 1


def test_the_profile_that_holds_is_the_one_at_the_time_of_the_claim(house: House) -> None:
    """What is being published is written with what it was claimed with, whatever the profile says by then."""
    path = profile(house, "dropscribe.toml", 'formats = ["txt"]\nreplacements = {"a" = "b"}\n')
    house.drop("one.wav", "a")
    house.outbox.mkdir()
    away = house.outbox.with_name("away")
    logs.configure(house.settings)

    def vanish(progress: Progress) -> None:
        if not progress.outcome and progress.done_s == 1.0:
            house.outbox.rename(away)

    daemon = loop.Supervisor(house.settings, once=True, command=FAKE, progress=vanish)
    assert daemon.run().waiting == 1
    daemon.close()
    assert house.row("one.wav").state == State.PUBLISHING
    path.write_text('formats = ["srt"]\n')
    away.rename(house.outbox)
    assert house.run().done == 1
    assert house.outputs() == ["one.json", "one.txt"]
    assert (house.outbox / "one.txt").read_text() == "b\n"

"""Profiles: which settings hold for which recording, and files that are no profiles."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import socket
import sys
import tempfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import settings
from dropscribe.supervisor import profiles, result_options, worker_process
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.profiles import ProfileError, Profiles
from dropscribe.supervisor.recording_names import explain_refusal

if TYPE_CHECKING:
    from dropscribe.settings import Settings


@pytest.fixture
def general(tmp_path: Path) -> Settings:
    flags = {"inbox": tmp_path / "in", "model": "small", "prompt": "General."}
    (tmp_path / "in/a/b").mkdir(parents=True)
    return settings.load(flags, {"HOME": str(tmp_path)}).settings


def write(general: Settings, name: str, text: str) -> Path:
    path = general.inbox / name
    path.write_text(text, encoding="utf-8")
    return path


def of(general: Settings, recording: str) -> Settings:
    return Profiles(general).resolve(PurePath(recording)).settings


def wrong(general: Settings, recording: str = "a/talk.m4a") -> str:
    with pytest.raises(ProfileError) as caught:
        of(general, recording)
    assert caught.value.cure
    return str(caught.value)


def test_the_nearest_profile_wins_for_each_key(general: Settings) -> None:
    root = write(general, "dropscribe.toml", 'language = "de"\nprompt = "Root."\ntask = "translate"\n')
    write(general, "a/dropscribe.toml", 'prompt = "A."\nglossary = ["Aalto"]\nchannels = ["Host", "Guest"]\n')
    own = write(general, "a/b/talk.m4a.toml", 'language = "fi"\n[replacements]\n"drop scribe" = "Dropscribe"\n')
    loaded = Profiles(general).resolve(PurePath("a/b/talk.m4a"), {"model": "--model", "prompt": "--prompt"})
    chosen = loaded.settings
    assert (chosen.language, chosen.prompt, chosen.task, chosen.model) == ("fi", "A.", "translate", "small")
    assert (chosen.glossary, chosen.channels) == (("Aalto",), ("Host", "Guest"))
    assert chosen.replacements == {"drop scribe": "Dropscribe"}
    assert loaded.origin["language"] == loaded.origin["replacements"] == str(own)
    assert loaded.origin["task"] == str(root)
    assert loaded.origin["prompt"] == str(general.inbox / "a/dropscribe.toml")
    assert loaded.origin["model"] == "--model"
    assert of(general, "a/b/other.m4a").language == "de"
    assert of(general, "talk.m4a").prompt == "Root."


def test_without_profiles_the_general_settings_hold(general: Settings) -> None:
    assert of(general, "a/b/talk.m4a") == general
    assert of(general, "not/there/talk.m4a") == general
    assert of(general, "x" * 252 + ".m4") == general  # the name of its profile would be too long for a disk


def test_a_folder_without_recordings_can_be_asked_for(general: Settings) -> None:
    write(general, "a/dropscribe.toml", 'language = "de"')
    assert Profiles(general).resolve_folder(PurePath("a/b")).settings.language == "de"
    assert Profiles(general).resolve_folder(PurePath()).settings.language == "auto"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('langage = "de"', ["`langage`", "Did you mean `language`?"]),
        ("colour = 3", ["`colour`", "It may be one of: language, "]),
        ('outbox = "/tmp"', ["`outbox` cannot be set in a profile", "not the machine", "config.toml"]),
        ('backend = "mlx"', ["`backend` cannot be set in a profile"]),
        ('"\\u001b[2J" = 1', ["'\\x1b[2J'"]),
        ('language = "english"', ["`english`", "ISO code"]),
        ("language = 3", ["`language` is 3", "Write text"]),
        ("language = 0x" + "f" * 5000, ["`language` is a very long number", "Write text"]),
        ("languages = [0x" + "f" * 5000 + "]", ["`languages` is a very long number", "ISO codes"]),
        ('languages = ["de", "xx"]', ["`languages`", "ISO codes"]),
        ('task = "sing"', ["`task` is 'sing'", "transcribe, translate"]),
        ('formats = ["odt"]', ["odt", "srt"]),
        ("glossary = 3", ["`glossary` is 3", "a list of text"]),
        ('replacements = ["a"]', ["`replacements`", '{"wrong" = "right"}']),
        ('replacements = {" " = "a"}', ["no left side is empty"]),
        ('replacements = {"Drop  Scribe" = "x", "drop scribe" = "y"}', ["stand twice"]),
        ('model = "smal"', ["`model`", "Did you mean small?"]),
        ('model = "/tmp/model"', ["`model`", "is a folder", "a profile downloads none"]),
        ('model = "tiny.en"\nlanguage = "de"', ["tiny.en knows English only"]),
        ("language = de", ["not valid TOML", "quotes"]),
        ("x = " + "[" * 5000, ["not valid TOML"]),
        ("x = 1" + "0" * 6000, ["not valid TOML"]),
        ("# " + "x" * profiles.MOST_BYTES, ["more than 65536 bytes"]),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_cure(general: Settings, text: str, words: list[str]) -> None:
    path = write(general, "a/dropscribe.toml", text)
    found = wrong(general)
    assert found.startswith(str(path))
    for word in words:
        assert word in found
    assert of(general, "talk.m4a") == general  # nobody else is concerned


def test_no_profile_makes_a_program_run_or_decides_what_becomes_of_files(general: Settings) -> None:
    others = settings.FIELDS.keys() - set(profiles.KEYS)
    assert others >= {"on_done", "on_failed", "webhook", "hook_seconds", "hook_tries", "after", "archive", "outbox"}
    for key in others:
        value = settings.to_toml(settings.FIELDS[key].default)
        write(general, "a/dropscribe.toml", f"{key} = {value}")
        assert f"`{key}` cannot be set in a profile" in wrong(general)


def test_a_language_the_general_model_does_not_know_is_the_profiles_fault(general: Settings) -> None:
    english = settings.load({"inbox": general.inbox, "model": "base.en"}, {"HOME": "/"}).settings
    path = write(english, "a/talk.m4a.toml", 'language = "de"')
    assert wrong(english).startswith(f"{path}: The model base.en knows English only.")
    path.write_text('languages = ["de", "fr"]')
    assert wrong(english).startswith(f"{path}: The model base.en knows English only.")


def test_only_regular_files_are_read(general: Settings, tmp_path: Path) -> None:
    path = general.inbox / "a/dropscribe.toml"
    secret = write(general, "secret", 'language = "de"')
    path.symlink_to(secret)
    assert "no regular file" in wrong(general)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert "no regular file" in wrong(general)
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in wrong(general)
    path.unlink()
    path.mkdir()
    assert "no regular file" in wrong(general)
    path.rmdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket must be short
        try:
            listening.bind(path.name)
        finally:
            os.chdir(here)
    assert "no regular file" in wrong(general)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_profile_that_may_not_be_read_is_said(general: Settings) -> None:
    write(general, "a/dropscribe.toml", 'language = "de"').chmod(0)
    assert "cannot be read" in wrong(general)


def test_bytes_of_other_programs_are_taken_or_refused(general: Settings) -> None:
    path = general.inbox / "a/dropscribe.toml"
    path.write_bytes(b'\xef\xbb\xbflanguage = "de"\r\nprompt = "\xc3\xa4"\r\n')  # as Windows writes it
    assert (of(general, "a/talk.m4a").language, of(general, "a/talk.m4a").prompt) == ("de", "ä")
    path.write_bytes('language = "de"'.encode("utf-16"))
    assert "not valid TOML" in wrong(general)


values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.dates() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def toml(value: object) -> str:
    """Return any value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{settings.to_toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, dt.date) else settings.to_toml(value)


@given(
    st.binary(max_size=100)
    | st.builds(
        lambda table: "\n".join(f"{key} = {toml(value)}" for key, value in table.items()).encode(),
        st.dictionaries(st.sampled_from(profiles.KEYS), values, min_size=1, max_size=3),
    )
)
def test_whatever_the_file_holds_it_gives_settings_or_one_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder) / "in"
        inbox.mkdir()
        general = settings.load({"inbox": inbox}, {"HOME": folder}).settings
        (inbox / "dropscribe.toml").write_bytes(data)
        found = None
        try:
            chosen = of(general, "talk.m4a")
        except ProfileError as error:
            found = error
        if found:
            assert found.message.startswith(str(inbox / "dropscribe.toml"))
            assert found.cure
        else:
            assert (
                result_options.restore_options(json.dumps(result_options.read_output_options(chosen)), general)
                == chosen
            )
            worker_process.make_request(chosen, download=False)


def test_profiles_are_never_recordings(general: Settings) -> None:
    for name in ("dropscribe.toml", "a/talk.m4a.toml", "a/talk.M4A.toml"):
        write(general, name, "")
        assert "is a profile" in str(explain_refusal(PurePath(name)))
    write(general, "notes.toml", "")
    write(general, "a/talk.m4a", "x")
    found = Inbox(general.inbox, recursive=True, exclude=general.outbox).scan()
    assert [name for name, _ in found] == ["a/talk.m4a"]


def test_check_finds_every_fault_once(general: Settings) -> None:
    assert list(profiles.check_all(general)) == []
    write(general, "dropscribe.toml", 'glossary = ["fine"]')
    write(general, "a/dropscribe.toml", "langage = 1")
    write(general, "a/b/dropscribe.toml", 'language = "de"')  # fine, but the one above it is not
    write(general, "talk.m4a.toml", "prompt = 1")
    write(general, "notes.toml", "anything = 1")
    (general.inbox / ".hidden").mkdir()
    write(general, ".hidden/dropscribe.toml", "langage = 1")
    found = [error.message for error in profiles.check_all(general)]
    assert found == [
        f"{general.inbox}/talk.m4a.toml: `prompt` is 1.",
        f"{general.inbox}/a/dropscribe.toml: there is no setting `langage`.",
    ]


def test_what_was_used_can_be_noted_and_compared(general: Settings) -> None:
    noted = json.dumps(result_options.read_output_options(general))
    looked = Profiles(general)
    assert looked.list_changes(PurePath("a/talk.m4a"), noted) == []
    assert looked.list_changes(PurePath("a/talk.m4a"), "") == []  # nobody knows
    write(general, "a/dropscribe.toml", 'formats = ["txt"]\n[replacements]\na = "b"\n')
    assert Profiles(general).list_changes(PurePath("a/talk.m4a"), noted) == ["replacements", "formats"]
    assert Profiles(general).list_changes(PurePath("talk.m4a"), noted) == []
    chosen = of(general, "a/talk.m4a")
    assert result_options.restore_options(json.dumps(result_options.read_output_options(chosen)), general) == chosen
    # Noted by an older version, which had fewer settings, or read from the outbox.
    assert looked.list_changes(PurePath("talk.m4a"), json.dumps({"model": "small", "prompt": "General."})) == [
        "backend",
        "language",
        "mixed_languages",
        "task",
        "split_channels",
    ]
    write(general, "a/dropscribe.toml", "nonsense")
    assert Profiles(general).list_changes(PurePath("a/talk.m4a"), noted) == []


def test_options_of_whisperx_count_where_it_is_the_engine(general: Settings) -> None:
    there = dataclasses.replace(general, backend="whisperx", whisperx_python=sys.executable)
    chosen = dataclasses.replace(there, whisperx_aligner="/an/aligner", whisperx_diarizer="/a/diarizer")
    noted = json.dumps(result_options.read_output_options(there))
    assert Profiles(there).list_changes(PurePath("talk.m4a"), noted) == []
    assert Profiles(chosen).list_changes(PurePath("talk.m4a"), noted) == ["whisperx_aligner", "whisperx_diarizer"]
    both = json.dumps(result_options.read_output_options(chosen))
    assert Profiles(there).list_changes(PurePath("talk.m4a"), both) == ["whisperx_aligner", "whisperx_diarizer"]
    assert result_options.restore_options(both, there) == chosen
    assert result_options.restore_options(noted, chosen) == there
    other = dataclasses.replace(chosen, backend="faster-whisper")
    assert Profiles(other).list_changes(PurePath("talk.m4a"), both)[0] == "backend"
    assert not result_options.read_output_options(other)["whisperx_aligner"]


def test_track_and_threshold_are_noted_only_where_they_are_set(general: Settings) -> None:
    """So a version that brings them makes no transcript of an older one out of date."""
    plain = result_options.read_output_options(general)
    assert (plain["audio_track"], plain["speech_threshold"]) == ("", "")
    (general.inbox / "film.mkv.toml").write_text('audio_track = 2\nspeech_threshold = "off"\n')
    chosen = Profiles(general).resolve(PurePath("film.mkv")).settings
    noted = result_options.read_output_options(chosen)
    assert (noted["audio_track"], noted["speech_threshold"]) == ("2", "0")
    assert result_options.restore_options(json.dumps(noted), general) == chosen
    assert result_options.restore_options(json.dumps(plain), chosen).audio_track == 0
    changes = Profiles(general).list_changes(PurePath("film.mkv"), json.dumps(plain))
    assert changes == ["audio_track", "speech_threshold"]
    job = worker_process.make_request(chosen, download=False)
    assert (job.audio_track, job.speech_threshold) == (2, 0.0)

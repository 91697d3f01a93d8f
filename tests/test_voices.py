"""Voices that a person taught: kept, compared, forgotten."""

from __future__ import annotations

import dataclasses
import json
import stat
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conftest import DATA
from dropscribe import protocol, voices
from dropscribe.cli.main import main
from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.models.speakers import store
from dropscribe.transcript import Source, Speaker, Turn, VoiceMatch
from dropscribe.worker.decoding import decode
from dropscribe.worker.speakers import known, stage
from dropscribe.worker.speakers.diarization import Diarization, FoundTurn, diarize
from dropscribe.worker.speakers.enrolment import leave_out
from dropscribe.worker.speakers.networks import EMBEDDER, load_networks
from dropscribe.worker.speech import Speech
from dropscribe.worker.vad import Span
from examples import transcript
from house import House, ask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def sample(*numbers: float, network: str = EMBEDDER) -> voices.Sample:
    return voices.Sample(tuple(numbers), 12.0, "anna.m4a", "2026-11-29T10:00:00+00:00", network)


# The file


def test_the_file_is_its_owners_alone_and_gone_with_the_last_voice(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert voices.read_voices(state) == ()
    assert voices.compute_fingerprint(state) == ""
    voices.add_sample(state, " Anna  B ", sample(1.0, 0.0))
    voices.add_sample(state, "Anna B", sample(0.0, 1.0))
    path = state / voices.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (voice,) = voices.read_voices(state)
    assert voice == voices.Voice("Anna B", (sample(1.0, 0.0), sample(0.0, 1.0)))
    (summary,) = voices.list_known(state)
    assert summary.embedding == pytest.approx((0.5**0.5, 0.5**0.5), abs=1e-5)
    voices.remove_voice(state, "Anna B")
    assert not path.exists()
    with pytest.raises(UsageError, match="No voice"):
        voices.remove_voice(state, "Anna B")


def test_samples_of_another_network_are_not_mixed_with_those_of_this_one(tmp_path: Path) -> None:
    voices.add_sample(tmp_path, "Anna", sample(1.0, 0.0, network="older"))
    voices.add_sample(tmp_path, "Anna", sample(0.0, 1.0))
    (summary,) = voices.list_known(tmp_path)
    assert (summary.embedding, summary.network) == ((0.0, 1.0), EMBEDDER)


def test_what_stands_for_the_voices_changes_with_them(tmp_path: Path) -> None:
    voices.add_sample(tmp_path, "Anna", sample(1.0, 0.0))
    one = voices.compute_fingerprint(tmp_path)
    voices.add_sample(tmp_path, "Ben", sample(0.0, 1.0))
    assert len({"", one, voices.compute_fingerprint(tmp_path)}) == 3
    voices.remove_voice(tmp_path, "Ben")
    assert voices.compute_fingerprint(tmp_path) == one


@pytest.mark.parametrize("text", ["", "{}", '{"voices": [{"name": "Anna", "samples": []}]}', "[1]"])
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / voices.FILE).write_text(text)
    with pytest.raises(EnvironmentFaultError, match="cannot be read") as caught:
        voices.add_sample(tmp_path, "Anna", sample(1.0))
    assert caught.value.code == "voices-damaged"
    assert (tmp_path / voices.FILE).read_text() == text


@pytest.mark.parametrize("name", ["", "  ", "A=B", "A\x00B"])
def test_what_nobody_is_called_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        voices.clean_name(name)


# Comparing


def unit(index: int) -> Floats:
    made = np.zeros(192, np.float32)
    made[index] = 1
    return made


def between(index: int, similarity: float) -> tuple[float, ...]:
    """Return a known voice that is so similar to the person of this number, and to nobody else."""
    made = similarity * unit(index) + np.sqrt(1 - similarity**2) * unit(100 + index)
    return tuple(made.tolist())


def people(*seconds: float) -> Diarization:
    turns = tuple(FoundTurn(100.0 * i, 100.0 * i + s, i, 1.0) for i, s in enumerate(seconds))
    return Diarization(turns, np.stack([unit(i) for i in range(len(seconds))]))


def heard(found: Diarization, *told: str, **similar: tuple[float, ...]) -> list[VoiceMatch | None]:
    return known.match_voices([found], [voices.KnownVoice(n, e, EMBEDDER) for n, e in similar.items()], told)


def test_a_person_is_known_certainly_perhaps_or_not_at_all() -> None:
    sure, perhaps, no = known.RULES.certain + 0.02, known.RULES.perhaps + 0.02, known.RULES.perhaps - 0.05
    matches = heard(people(60, 60, 60), Anna=between(0, sure), Ben=between(1, perhaps), Carl=between(2, no))
    assert [match and (match.name, match.certain) for match in matches] == [("Anna", True), ("Ben", False), None]


def test_a_voice_is_one_person_and_who_says_a_word_is_nobody() -> None:
    twice = Diarization(people(60, 60).turns, np.stack([unit(0), unit(0)]))
    matches = heard(twice, Anna=between(0, 0.95))
    assert [match and match.name for match in matches] == ["Anna", None]
    assert heard(people(1.0), Anna=between(0, 1.0)) == [None]


def test_a_voice_of_another_network_is_passed_over() -> None:
    older = voices.KnownVoice("Anna", between(0, 1.0), "older")
    assert known.match_voices([people(60)], [older]) == [None]


def test_where_names_are_told_nobody_else_is_looked_for() -> None:
    similar = {"Anna": between(0, 0.95), "Ben": between(1, known.RULES.perhaps + 0.02)}
    matches = heard(people(60, 60), "Ben", "Carl", **similar)
    assert [match and (match.name, match.certain) for match in matches] == [None, ("Ben", True)]


def test_parts_in_which_others_speak_are_left_out() -> None:
    assert leave_out([(0, 10), (20, 30)], [(2, 3), (8, 25), (40, 50)]) == [(0, 2), (3, 8), (25, 30)]


def test_a_job_carries_the_voices_and_the_transcript_says_perhaps() -> None:
    voice = voices.KnownVoice("Anna", (0.6, 0.8), EMBEDDER)
    request = protocol.Request(backends=(), model="none", speakers=("auto",), voices=(voice,))
    job = protocol.SpeakersJob(recording=protocol.RecordingFile(7, "/a.wav", "/a.f32"), request=request)
    assert protocol.decode_job(protocol.encode_job(job)) == job
    person = Speaker("Speaker 1", 9.0, 1.0, 0.9, (Turn(0.0, 9.0, 0.9),), VoiceMatch("Anna", 0.5, certain=False))
    found = protocol.SpeakersFound(speakers=(person, dataclasses.replace(person, voice=None)))
    assert protocol.decode_event(protocol.encode_event(7, found)) == (7, found)
    kept = dataclasses.replace(transcript([]), speakers=found.speakers)
    assert type(kept).from_json(kept.to_json()) == kept
    assert [s.get("voice") for s in json.loads(kept.to_json())["speakers"]] == [
        {"name": "Anna", "similarity": 0.5, "certain": False},
        None,
    ]


# Real voices


@pytest.fixture
def folder(speaker_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(speaker_models))
    monkeypatch.setenv("DROPSCRIBE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DROPSCRIBE_INBOX", str(tmp_path / "inbox"))
    return store.find_networks()


def read(tmp_path: Path, *names: str) -> Floats:
    return np.concatenate([decode(DATA / name, tmp_path / f"{name}.f32").samples for name in names])


def write(path: Path, *parts: Floats) -> Path:
    """Write a recording with half a second of silence after each part."""
    path.parent.mkdir(exist_ok=True)
    sound = np.concatenate([piece for part in parts for piece in (part, np.zeros(8000, np.float32))])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((sound * 32_767).astype("<i2").tobytes())
    return path


def find(sound: Floats, folder: Path, state: Path, *speakers: str) -> protocol.SpeakersFound:
    speech = Speech(sound, len(sound), ((Span(0, len(sound)),),))
    request = protocol.Request(
        backends=(), model="none", speakers=speakers, threads=1, voices=voices.list_known(state)
    )
    return stage.find_speakers(speech, request, folder)


def test_a_voice_that_was_taught_is_named_in_another_recording(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    kennedy = read(tmp_path, "jfk.opus")
    taught, later = read(tmp_path, "numbers.opus", "conference.flac"), read(tmp_path, "password.flac")
    assert main(["voices", "add", "Allison", str(write(tmp_path / "taught.wav", taught))]) == 0
    assert main(["voices", "list"]) == 0
    assert "taught.wav" in capsys.readouterr().out
    both = np.concatenate([kennedy, np.zeros(8000, np.float32), later])
    found = find(both, folder, state, "auto")
    assert [s.name for s in found.speakers] == ["Speaker 1", "Allison"]
    assert found.speakers[1].voice is not None
    assert found.speakers[1].voice.certain
    # Told names go by the voice, not by who speaks first.
    assert [s.name for s in find(both, folder, state, "Allison", "John").speakers] == ["John", "Allison"]
    # Alone she gets her name; Kennedy alone gets none.
    alone = find(later, folder, state, "auto")
    assert ([s.name for s in alone.speakers], alone.labelled) == (["Allison"], True)
    stranger = find(kennedy, folder, state, "auto")
    assert ([s.voice for s in stranger.speakers], stranger.labelled) == ([None], False)
    assert main(["voices", "remove", "Allison"]) == 0
    assert find(later, folder, state, "auto").labelled is False


def test_a_voice_is_taught_from_a_transcript(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kennedy, allison = read(tmp_path, "jfk.opus"), read(tmp_path, "numbers.opus", "conference.flac")
    path = write(tmp_path / "inbox" / "talk.wav", kennedy, allison)
    sound = decode(path, tmp_path / "talk.f32").samples
    found = find(np.array(sound), folder, tmp_path / "state", "auto")
    source = Source("talk.wav", "talk.wav", digest(path), path.stat().st_size)
    talk = tmp_path / "talk.json"
    talk.write_text(dataclasses.replace(transcript([]), source=source, speakers=found.speakers).to_json())
    add = ["voices", "add", "Kennedy", "--from", str(talk)]
    assert main(add) == 2
    assert "Speaker 1, Speaker 2" in capsys.readouterr().err
    assert main([*add, "--speaker", "Speaker 1"]) == 0
    (voice,) = voices.list_known(tmp_path / "state")
    whole = diarize(np.array(sound), load_networks(folder, 1)).centroids
    similar = whole @ np.array(voice.embedding, np.float32)
    assert (similar[0] > 0.9, similar[1] < 0.5) == (True, True)
    other = write(tmp_path / "other.wav", allison)
    assert main(["voices", "add", "Kennedy", str(other), *add[3:], "--speaker", "Speaker 1"]) == 2
    assert "not the recording" in capsys.readouterr().err


def digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_voices_or_too_little_speech_teach_nobody(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kennedy, allison = read(tmp_path, "jfk.opus"), read(tmp_path, "numbers.opus", "conference.flac")
    cases: list[tuple[Any, str]] = [((kennedy, allison), "2 people speak"), ((kennedy[:48_000],), "too little")]
    for parts, why in cases:
        assert main(["voices", "add", "Anna", str(write(tmp_path / "bad.wav", *parts))]) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "state" / voices.FILE).exists()


# The daemon


def test_a_voice_that_is_taught_later_is_looked_for_in_older_recordings(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    house.run(speakers=("auto",))
    ask(house, None, stale=True)
    assert house.run(speakers=("auto",)).done == 0
    voices.add_sample(house.settings.state, "Anna", sample(*([0.0] * 192)))
    ask(house, None, stale=True)
    assert house.run(speakers=("auto",)).done == 1
    assert (len(house.events("job.planned")), len(house.events("job.speakers"))) == (1, 2)
    voices.remove_voice(house.settings.state, "Anna")
    ask(house, None, stale=True)
    assert house.run(speakers=("auto",)).done == 1  # as it was before: nothing to find out
    assert len(house.events("job.speakers")) == 2


def test_voices_concern_nobody_who_asks_for_no_speakers(house: House) -> None:
    house.drop("one.wav", "I say this.")
    house.run()
    voices.add_sample(house.settings.state, "Anna", sample(1.0))
    ask(house, None, stale=True)
    assert house.run().done == 0

"""Who speaks when, and who says which word."""

from __future__ import annotations

import dataclasses
import itertools
import json
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import DATA
from dropscribe import protocol, settings
from dropscribe.cli.main import main
from dropscribe.errors import UsageError
from dropscribe.formats.rttm import render_rttm
from dropscribe.formats.speakers import (
    assign_speakers,
    list_stretches,
    rename_speakers,
)
from dropscribe.library.corrections import correct, rename_speaker
from dropscribe.models.speakers import store
from dropscribe.supervisor import loop, requests
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Correction, Notice, Segment, Speaker, Transcript, Turn, Word
from dropscribe.worker.decoding import decode
from dropscribe.worker.speakers import clustering, stage
from dropscribe.worker.speakers.diarization import Diarization, diarize
from dropscribe.worker.speakers.networks import load_networks
from dropscribe.worker.speech import Speech
from dropscribe.worker.vad import Span
from examples import transcript
from house import House, ask, made, profile
from talk import FASTER, Talk, of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


# Clusters


def unit(vectors: NDArray[Any]) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def average_linkage(voices: Floats, least: float) -> list[int]:
    """The definition: join the two clusters with the highest mean cosine of their pairs, again and again."""
    alike = voices @ voices.T
    groups = [[i] for i in range(len(voices))]
    while len(groups) > 1:
        best, a, b = max(
            (float(np.mean([alike[i, j] for i in one for j in other])), x, y)
            for (x, one), (y, other) in itertools.combinations(enumerate(groups), 2)
        )
        if best < least:
            break
        groups[a] += groups.pop(b)
    label = {i: min(group) for group in groups for i in group}
    names = list(dict.fromkeys(label[i] for i in range(len(voices))))
    return [names.index(label[i]) for i in range(len(voices))]


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.sampled_from([0.2, 0.5, 0.8]))
def test_clusters_are_those_of_average_linkage(seed: int, count: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    voices = unit(rng.normal(size=(4, 8))[rng.integers(0, 4, count)] + 0.6 * rng.normal(size=(count, 8)))
    assert clustering.cluster(voices, least).tolist() == average_linkage(voices, least)


def test_a_long_recording_is_clustered_in_blocks_with_the_same_result() -> None:
    rng = np.random.default_rng(5)
    who = rng.integers(0, 5, 3 * clustering.BLOCK // 2)
    voices = unit(rng.normal(size=(5, 64))[who] + 0.5 * rng.normal(size=(len(who), 64)))
    assert clustering.cluster(voices, 0.5).tolist() == clustering.number(who).tolist()


# Real voices


@pytest.fixture
def folder(speaker_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(speaker_models))
    return store.find_networks()


@pytest.fixture
def kennedy(tmp_path: Path) -> Floats:
    return np.array(decode(DATA / "jfk.opus", tmp_path / "kennedy.f32").samples)


@pytest.fixture
def allison(tmp_path: Path) -> Floats:
    """Three prompts, 15 s."""
    names = ("numbers.opus", "conference.flac", "password.flac")
    return np.concatenate([decode(DATA / name, tmp_path / f"{name}.f32").samples for name in names])


def join(*turns: Floats) -> tuple[Floats, list[float]]:
    """Return a conversation with half a second of silence between turns, and where each begins."""
    quiet = np.zeros(8000, np.float32)
    starts = [sum(len(turn) + len(quiet) for turn in turns[:i]) / 16_000 for i in range(len(turns))]
    return np.concatenate([part for turn in turns for part in (turn, quiet)]), starts


def people_at(found: Diarization, *times: float) -> list[set[int]]:
    return [{turn.person for turn in found.turns if turn.start <= time < turn.end} for time in times]


def test_two_voices_are_two_people_and_each_comes_back(folder: Path, kennedy: Floats, allison: Floats) -> None:
    half, third = len(kennedy) // 2, len(allison) // 3
    sound, starts = join(kennedy[:half], allison[:third], kennedy[half:], allison[third:])
    found = diarize(sound, load_networks(folder, 1))
    assert found.centroids.shape == (2, 192)
    assert people_at(found, *(start + 1.2 for start in starts)) == [{0}, {1}, {0}, {1}]
    again = diarize(sound, load_networks(folder, 2))
    assert [dataclasses.astuple(turn) for turn in again.turns] == [dataclasses.astuple(turn) for turn in found.turns]


def test_one_voice_is_one_person_unless_more_are_told(folder: Path, allison: Floats) -> None:
    networks = load_networks(folder, 1)
    assert len(diarize(allison, networks).centroids) == 1
    assert len(diarize(allison, networks, 1).centroids) == 1
    told = diarize(allison, networks, 3)
    assert {turn.person for turn in told.turns} == {0, 1, 2}


def test_who_says_a_word_is_found_where_the_number_was_told(folder: Path, kennedy: Floats, allison: Floats) -> None:
    word = allison[8000 : 8000 + 6400]  # 0.4 s: no window lies in it
    sound, starts = join(kennedy[:80_000], word, kennedy[80_000:])
    networks = load_networks(folder, 1)
    assert len(diarize(sound, networks).centroids) == 1
    told = diarize(sound, networks, 2)
    assert {turn.person for turn in told.turns} == {0, 1}
    (turn,) = [turn for turn in told.turns if turn.person == 1]
    assert starts[1] - 0.5 < turn.start < turn.end < starts[1] + 1.0


def test_where_nobody_speaks_nobody_is_found(folder: Path) -> None:
    networks = load_networks(folder, 1)
    assert diarize(np.zeros(16_000 * 12, np.float32), networks).turns == ()
    assert diarize(np.zeros(100, np.float32), networks).turns == ()


def request(*speakers: str) -> protocol.Request:
    return protocol.Request(backends=(), model="none", speakers=speakers, threads=1)


def test_one_voice_has_no_label_and_names_go_to_who_speaks_first(
    folder: Path, kennedy: Floats, allison: Floats
) -> None:
    alone = stage.find_speakers(Speech(kennedy, len(kennedy), ((Span(0, len(kennedy)),),)), request("auto"), folder)
    assert ([s.name for s in alone.speakers], alone.labelled) == (["Speaker 1"], False)
    assert alone.speakers[0].share == 1.0
    sound, _ = join(kennedy, allison)
    speech = Speech(sound, len(sound), ((Span(0, len(sound)),),))
    both = stage.find_speakers(speech, request("John", "Allison"), folder)
    assert ([s.name for s in both.speakers], both.labelled, both.channels) == (["John", "Allison"], True, ())
    assert sum(s.share for s in both.speakers) == pytest.approx(1, abs=1e-3)
    assert both.speakers[0].turns[-1].end < both.speakers[1].turns[0].start


def test_each_channel_has_speakers_of_its_own(folder: Path, kennedy: Floats, allison: Floats) -> None:
    panel, _ = join(kennedy, allison)
    stride = (len(panel) // 16_000 + 3) * 16_000
    sound = np.zeros(2 * stride, np.float32)
    sound[: len(allison)], sound[stride : stride + len(panel)] = allison, panel
    speech = Speech(sound, len(panel), ((Span(0, 1),), (Span(stride, stride + 1),)), stride, ("Host", "Panel"))
    found = stage.find_speakers(speech, request("auto"), folder)
    assert sorted(zip(found.channels, (s.name for s in found.speakers), strict=True)) == [
        ("Host", "Host"),
        ("Panel", "Panel (1)"),
        ("Panel", "Panel (2)"),
    ]


def test_the_worker_finds_the_same_speakers_with_and_without_transcription(
    folder: Path, tiny_en: Path, tmp_path: Path, kennedy: Floats, allison: Floats
) -> None:
    sound, _ = join(kennedy, allison)
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((sound * 32_767).astype("<i2").tobytes())
    worker = Talk()
    more = {"path": str(path), "spool": str(tmp_path / "talk.f32"), "speakers": ["auto"]}
    worker.ask(tiny_en, FASTER, operation="transcribe", **more)
    events = worker.until("finished", "failed")
    worker.ask(tiny_en, FASTER, operation="speakers", **more)
    alone = worker.until("finished", "failed")
    # Between the windows of another it has the limit that others have, and others go between its own steps.
    worker.ask(tiny_en, FASTER, operation="speakers", most_seconds=1.0, **more)
    assert of(worker.until("apart", "finished", "failed"), "apart") == [{"code": "too-long"}]
    worker.ask(tiny_en, FASTER, operation="speakers", **more)
    worker.ask(tiny_en, FASTER)
    between = [name for name, _ in [*worker.until("finished"), *worker.until("finished")]]
    assert between.index("finished") < between.index("speakers")
    worker.worker.kill()
    (told,), (later,) = of(events, "speakers"), of(alone, "speakers")
    assert told["speakers"] == later["speakers"]
    assert [s["name"] for s in told["speakers"]] == ["Speaker 1", "Speaker 2"]
    assert {name for name, _ in alone} <= {"ready", "decoding", "decoded", "speakers", "finished"}
    words = [segment for window in of(events, "window") for segment in window["segments"]]
    said = transcript([Segment(0, s["start"], s["end"], s["text"]) for s in words], duration=len(sound) / 16_000)
    people = tuple(
        Speaker(s["name"], s["seconds"], s["share"], s["confidence"], tuple(Turn(**t) for t in s["turns"]))
        for s in told["speakers"]
    )
    found = assign_speakers(said, people)
    by_name = {
        name: " ".join(s.text for s in found.segments if s.speaker == name) for name in ("Speaker 1", "Speaker 2")
    }
    assert "country" in by_name["Speaker 1"]
    assert "conference" in by_name["Speaker 2"]


def test_a_panel_on_one_channel_and_the_host_on_the_other_are_three_people(
    folder: Path,
    tiny_en: Path,
    tmp_path: Path,
    kennedy: Floats,
    allison: Floats,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Host: Allison. Panel: Kennedy, then Allison at another pitch, which is another voice."""
    pitched = np.interp(np.arange(0, len(allison), 0.8), np.arange(len(allison)), allison).astype(np.float32)
    panel, starts = join(np.zeros(len(allison), np.float32), kennedy, pitched)
    host = np.zeros_like(panel)
    host[: len(allison)] = allison
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes((np.stack([host, panel], axis=1) * 32_767).astype("<i2").tobytes())
    monkeypatch.setenv("DROPSCRIBE_STATE", str(tmp_path / "state"))
    flags = ["--model", str(tiny_en), "--backend", "faster-whisper", "--channels", "Host,Panel", "--speakers", "auto"]
    assert main(["transcribe", str(path), "--json", "--language", "en", *flags]) == 0
    found = Transcript.from_json(capsys.readouterr().out)
    assert list(list_stretches(found)) == ["Host", "Panel (1)", "Panel (2)"]
    said = {name: " ".join(s.text for s in found.segments if s.speaker == name) for name in list_stretches(found)}
    assert "conference" in said["Host"]
    assert "country" in said["Panel (1)"]
    assert "country" not in said["Panel (2)"] + said["Host"]
    assert said["Panel (2)"]
    own = [s for s in found.segments if s.speaker != "Host"]
    assert all(s.start >= starts[1] - 0.3 for s in own)


# Words


def speaker(name: str, *turns: tuple[float, float]) -> Speaker:
    return Speaker(name, 1.0, 0.5, 0.9, tuple(Turn(start, end, 0.9) for start, end in turns))


def spoken(*words: tuple[str, float, float], who: str | None = None) -> Segment:
    said = tuple(Word(f" {text}", start, end, 0.9, who) for text, start, end in words)
    text = " ".join(text for text, _, _ in words)
    return Segment(0, said[0].start, said[-1].end, text, said, -0.2, 1.1, 0.01, 0.0, who)


def lines(found: Transcript) -> list[tuple[str | None, str, float, float]]:
    return [(s.speaker, s.text, s.start, s.end) for s in found.segments]


def test_a_segment_ends_between_two_words_where_another_speaks() -> None:
    said = transcript([spoken(("How", 0.0, 0.3), ("old?", 0.3, 0.7), ("Nine.", 0.72, 1.2), ("Oh.", 3.0, 3.3))])
    found = assign_speakers(said, [speaker("Anna", (0.0, 0.7), (3.0, 3.3)), speaker("Ben", (0.75, 1.2))])
    assert lines(found) == [
        ("Anna", "How old?", 0.0, 0.7),
        ("Ben", "Nine.", 0.72, 1.2),
        ("Anna", "Oh.", 3.0, 3.3),
    ]
    assert [segment.id for segment in found.segments] == [0, 1, 2]
    assert {word.speaker for word in found.segments[1].words} == {"Ben"}
    assert found.speakers is not None
    assert [each.name for each in found.speakers] == ["Anna", "Ben"]


def test_a_word_outside_every_turn_goes_to_the_nearest() -> None:
    said = transcript([spoken(("a", 1.0, 1.1), ("b", 1.9, 2.0))])
    found = assign_speakers(said, [speaker("Anna", (0.0, 0.9)), speaker("Ben", (2.1, 3.0))])
    assert [s.speaker for s in found.segments] == ["Anna", "Ben"]


def test_who_spoke_before_keeps_a_word_that_two_say_at_once() -> None:
    said = transcript([spoken(("a", 0.0, 0.5), ("b", 1.0, 1.5), ("c", 2.0, 2.5))])
    found = assign_speakers(said, [speaker("Anna", (0.9, 1.6), (1.9, 2.6)), speaker("Ben", (0.0, 1.6))])
    assert lines(found)[0][:2] == ("Ben", "a b")


def test_words_of_a_channel_are_given_to_people_on_it() -> None:
    host, panel = spoken(("a", 0.0, 0.4), who="Host"), spoken(("b", 0.1, 0.5), ("c", 1.0, 1.4), who="Panel")
    people = [speaker("Panel (1)", (0.1, 0.5)), speaker("Host", (0.0, 0.4)), speaker("Panel (2)", (1.0, 1.4))]
    found = assign_speakers(transcript([host, panel]), people, ["Panel", "Host", "Panel"])
    assert sorted(lines(found)) == [
        ("Host", "a", 0.0, 0.4),
        ("Panel (1)", "b", 0.1, 0.5),
        ("Panel (2)", "c", 1.0, 1.4),
    ]


def test_one_voice_without_a_name_leaves_the_words_as_they_are() -> None:
    said = transcript([spoken(("a", 0.0, 0.5))])
    found = assign_speakers(said, [speaker("Speaker 1", (0.0, 0.5))], labelled=False)
    assert found.segments == said.segments
    assert found.speakers is not None


times = st.floats(0, 60).map(lambda seconds: round(seconds, 3))
edges = st.tuples(times, times).map(sorted)
segments = st.lists(st.lists(edges, min_size=1, max_size=6).map(sorted), max_size=4).map(
    lambda all_words: [spoken(*((f"w{i}", a, b) for i, (a, b) in enumerate(words))) for words in all_words]
)


@given(segments, st.lists(st.lists(edges, max_size=4), max_size=3))
def test_no_word_is_lost_or_changed(said: list[Segment], turns: list[list[list[float]]]) -> None:
    people = [speaker(f"P{i}", *((a, b) for a, b in each)) for i, each in enumerate(turns)]
    found = assign_speakers(transcript(said), people)
    before = [(w.word, w.start, w.end) for s in said for w in s.words]
    assert [(w.word, w.start, w.end) for s in found.segments for w in s.words] == before
    assert all(len({w.speaker for w in s.words}) == 1 for s in found.segments)
    assert all(s.speaker == s.words[0].speaker for s in found.segments)


def test_renaming_changes_names_and_nothing_else() -> None:
    said = transcript([spoken(("a", 0.0, 0.5), ("b", 1.0, 1.5))])
    found = assign_speakers(said, [speaker("Speaker 1", (0.0, 0.5)), speaker("Speaker 2", (1.0, 1.5))])
    renamed = rename_speakers(found, {"Speaker 1": "Anna"})
    assert [s.speaker for s in renamed.segments] == ["Anna", "Speaker 2"]
    assert rename_speakers(renamed, {"Anna": "Speaker 1"}) == found


# Settings and formats


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("off", ()),
        ("Auto", ("auto",)),
        (2, ("2",)),
        ("3", ("3",)),
        (["Anna", "Ben"], ("Anna", "Ben")),
        ("Anna, Ben", ("Anna", "Ben")),
        (["Anna"], ("Anna",)),
        (False, ()),
        ([], ()),
    ],
)
def test_the_setting_takes_a_word_a_number_or_names(value: Any, expected: tuple[str, ...]) -> None:
    assert settings.parse_value("speakers", value, "here") == expected


@pytest.mark.parametrize("value", [0, -1, 101, 1.5, ["auto", "Ben"], ["2", "Ben"], {}, [1]])
def test_what_is_no_number_of_people_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match='"auto"'):
        settings.parse_value("speakers", value, "here")


def test_rttm_has_ten_fields_a_turn_in_order_of_time() -> None:
    said = assign_speakers(
        transcript([spoken(("a", 0.0, 0.5), ("b", 1.0, 1.5))]),
        [speaker("Anna B", (1.0, 1.5)), speaker("", (0.0, 0.5))],
    )
    assert render_rttm(said) == (
        "SPEAKER talk 1 0.000 0.500 <NA> <NA> speaker 0.900 <NA>\n"
        "SPEAKER talk 1 1.000 0.500 <NA> <NA> Anna_B 0.900 <NA>\n"
    )
    older = dataclasses.replace(said, speakers=None)
    assert [line.split()[7] for line in render_rttm(older).splitlines()] == ["speaker", "Anna_B"]


# The daemon


def test_speakers_that_are_asked_for_later_need_no_transcription(house: House) -> None:
    house.drop("a/one.wav", "I say this.", "And I that.")
    house.run(formats=("json", "rttm"))
    assert "speakers" not in made(house, "a/one")
    profile(house, "a/dropscribe.toml", 'speakers = ["Anna", "Ben"]\n')
    ask(house, None, stale=True)
    assert house.run(formats=("json", "rttm")).done == 1
    found = made(house, "a/one")
    assert [s["speaker"] for s in found["segments"]] == ["Anna", "Ben"]
    assert [s["name"] for s in found["speakers"]] == ["Anna", "Ben"]
    assert found["engine"]["options"]["speakers"] == ["Anna", "Ben"]
    assert len(house.events("job.planned")) == 1  # the words were there
    assert "Ben" in (house.outbox / "a/one.rttm").read_text()
    # And back: no work at all.
    (house.inbox / "a/dropscribe.toml").unlink()
    ask(house, None, stale=True)
    assert house.run(formats=("json", "rttm")).done == 1
    assert "speakers" not in made(house, "a/one")
    assert len(house.events("job.claimed")) == 2


def test_speakers_come_with_the_transcription_and_another_number_without_it(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    assert house.run(speakers=("auto",)).done == 1
    assert [s["speaker"] for s in made(house, "one")["segments"]] == ["Anna", "Ben"]
    ask(house, None, stale=True)
    assert house.run(speakers=("2",)).done == 1
    assert (len(house.events("job.planned")), len(house.events("job.speakers"))) == (1, 2)
    ask(house, ["one.wav"], stale=False)
    assert house.run(speakers=("2",)).done == 1
    assert (len(house.events("job.planned")), len(house.events("job.speakers"))) == (2, 3)


def test_short_recordings_that_are_packed_have_speakers_too(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    house.drop("two.wav", "Me too.", "Me not.")
    house.queue()
    assert house.run(speakers=("auto",)).done == 2
    assert {e["packed"] for e in house.events("job.claimed")} == {2}
    for name in ("one", "two"):
        assert [s["speaker"] for s in made(house, name)["segments"]] == ["Anna", "Ben"]


def test_networks_that_a_profile_needs_hold_nobody_else_up(house: House) -> None:
    house.drop("a/one.wav", "!fail environment speakers-missing")
    house.drop("b/two.wav", "Said.")
    profile(house, "a/dropscribe.toml", 'speakers = "auto"\n')
    assert house.run() == loop.Summary(done=1, failed=1, waiting=0, outage=None)
    assert house.row("a/one.wav").state == State.FAILED


def test_renamed_speakers_are_renamed_in_every_output_nobody_edited(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    house.run(speakers=("auto",), formats=("json", "txt", "vtt"))
    (house.outbox / "one.txt").write_text("Corrected by hand.")
    requests.write_request(house.settings.state, requests.Rename("one.wav", {"Anna": "Eva"}))
    assert house.run(speakers=("auto",), formats=("json", "txt", "vtt")).done == 1
    assert [s["speaker"] for s in made(house, "one")["segments"]] == ["Eva", "Ben"]
    assert [s["name"] for s in made(house, "one")["speakers"]] == ["Eva", "Ben"]
    assert "<v Eva>" in (house.outbox / "one.vtt").read_text()
    assert (house.outbox / "one.txt").read_text() == "Corrected by hand."
    assert len(house.events("job.claimed")) == 1


def test_a_name_that_was_given_survives_redo_and_other_settings(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    house.run(speakers=("auto",))
    requests.write_request(house.settings.state, requests.Rename("one.wav", {"Anna": "Eva"}))
    house.run(speakers=("auto",))
    for settings_then, stale in ((("auto",), False), (("2",), True), (("auto",), True)):
        ask(house, None if stale else ["one.wav"], stale=stale)
        assert house.run(speakers=settings_then).done == 1
        assert [s["speaker"] for s in made(house, "one")["segments"]] == ["Eva", "Ben"]
    requests.write_request(house.settings.state, requests.Rename("one.wav", {"Eva": "Anna", "Ben": "Max"}))
    house.run(speakers=("auto",))
    ask(house, ["one.wav"], stale=False)
    house.run(speakers=("auto",))
    assert [s["name"] for s in made(house, "one")["speakers"]] == ["Anna", "Max"]


def test_names_in_srt_can_be_left_out_and_old_outputs_made_anew(house: House) -> None:
    house.drop("one.wav", "I say this.", "And I that.")
    house.run(speakers=("auto",))
    assert "Anna: I say this." in (house.outbox / "one.srt").read_text()
    ask(house, None, stale=True)
    assert house.run(speakers=("auto",), srt_speakers=False).done == 1
    assert "Anna" not in (house.outbox / "one.srt").read_text()
    assert "<v Anna>" in (house.outbox / "one.vtt").read_text()
    assert len(house.events("job.claimed")) == 1
    assert main(["export", str(house.outbox / "one.json"), "--to", "srt", "-o", str(house.outbox / "a")]) == 0
    assert "Anna: " in (house.outbox / "a/one.srt").read_text()
    more = ["--srt-speakers", "false", "-o", str(house.outbox / "b")]
    assert main(["export", str(house.outbox / "one.json"), "--to", "srt", *more]) == 0
    assert "Anna" not in (house.outbox / "b/one.srt").read_text()


def turns_of(*turns: tuple[str, float, float]) -> Transcript:
    said = transcript([spoken(("a", start, end), who=who) for who, start, end in turns])
    names = list(dict.fromkeys(who for who, _, _ in turns))
    people = [speaker(name, *((a, b) for who, a, b in turns if who == name)) for name in names]
    return dataclasses.replace(said, speakers=tuple(people))


def test_a_given_name_goes_to_who_speaks_when_it_was_given() -> None:
    before = turns_of(("Speaker 1", 0.0, 4.0), ("Speaker 2", 4.0, 7.0), ("Speaker 1", 8.0, 12.0))
    correction = Correction("2026-11-29T10:00:00+00:00", "me", (rename_speaker(before, "Speaker 1", "Eva"),))
    # The order has changed, and a third person was found in the time of the first.
    later = turns_of(
        ("Speaker 1", 0.0, 2.0), ("Speaker 2", 4.0, 8.0), ("Speaker 3", 2.0, 4.0), ("Speaker 3", 8.0, 12.0)
    )
    found = correct(later, [correction]).transcript
    assert list(list_stretches(found)) == ["Speaker 1", "Speaker 2", "Eva"]
    assert [s.speaker for s in found.segments] == ["Speaker 1", "Speaker 2", "Eva", "Eva"]


def test_notices_name_speakers_as_the_words_do() -> None:
    said = dataclasses.replace(
        turns_of(("Speaker 1", 0.0, 4.0), ("Speaker 10", 5.0, 9.0)),
        warnings=(Notice("two-speak", 1.0, 2.0, "Speaker 1 and Speaker 10 speak at once."),),
    )
    renamed = rename_speakers(said, {"Speaker 1": "Eva"})
    assert renamed.warnings[0].detail == "Eva and Speaker 10 speak at once."


def test_jobs_and_events_about_speakers_come_back_as_they_were() -> None:
    job = protocol.SpeakersJob(recording=protocol.RecordingFile(7, "/a.wav", "/a.f32"), request=request("2"))
    assert protocol.decode_job(protocol.encode_job(job)) == job
    found = protocol.SpeakersFound(speakers=(speaker("Anna", (0.0, 1.0)),), channels=("Host",), seconds=0.5)
    assert protocol.decode_event(protocol.encode_event(7, found)) == (7, found)
    kept = dataclasses.replace(transcript([]), speakers=found.speakers)
    assert Transcript.from_json(kept.to_json()) == kept
    assert "speakers" not in json.loads(transcript([]).to_json())

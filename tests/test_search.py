"""Finding sentences in all transcripts: what can be asked, in which languages, and an index that repairs itself."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.errors import UsageError
from dropscribe.library.index import FILE_NAME, Document, Filters, Index, IndexUnavailableError
from dropscribe.library.query import parse_query
from dropscribe.supervisor import indexing, lookup
from dropscribe.transcript import Engine, Segment, Source, Timing, Transcript
from house import House, ask, made

if TYPE_CHECKING:
    from pathlib import Path


def talk(name: str, *said: str, recorded: str = "2026-05-01", language: str = "en", speaker: str = "") -> Document:
    """Return a transcript with a sentence every ten seconds."""
    segments = tuple(Segment(i, 10.0 * i, 10.0 * i + 5, text, speaker=speaker or None) for i, text in enumerate(said))
    transcript = Transcript(
        text=" ".join(said),
        language=language,
        language_probability=None,
        duration=600.0,
        segments=segments,
        source=Source(f"{name}.wav", f"{name}.wav", "0" * 64, 1, recorded),
        engine=Engine("faster-whisper", "cpu", "base", None, {}, {}),
        timing=Timing(600.0, 1.0, 1.0, 300.0),
    )
    return Document(f"{name}.json", 1, 1_777_000_000 * 10**9, lambda: transcript)


def find(place: Path, query: str, *documents: Document, **filters: str) -> list[str]:
    with Index(place / FILE_NAME) as index:
        index.refresh(documents)
        return [hit.text for hit in index.search(query, Filters(**filters))]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("budget", {"The budget was cut.", "No budget, no cut of the film."}),
        ('"budget was"', {"The budget was cut."}),
        ("trans*", {"A transcript of it."}),
        ("NEAR(budget cut, 1)", {"The budget was cut.", "No budget, no cut of the film."}),
        ("NEAR(budget film, 2)", set()),
        ("transcript OR was", {"The budget was cut.", "A transcript of it."}),
        ("budget NOT film", {"The budget was cut."}),
        ("(budget OR transcript) NOT was", {"No budget, no cut of the film.", "A transcript of it."}),
        ("BUDGET film", {"No budget, no cut of the film."}),
        ("budget's", set()),
    ],
)
def test_words_phrases_beginnings_and_neighbours_are_found(tmp_path: Path, query: str, found: set[str]) -> None:
    said = talk("a/one", "The budget was cut.", "No budget, no cut of the film.", "A transcript of it.")
    assert set(find(tmp_path, query, said)) == found


@pytest.mark.parametrize(
    ("language", "said", "asked"),
    [
        ("ja", "東京タワーの近くで会いましょう。", "タワーの近く"),
        ("ja", "ﾃﾞｰﾀを送る", "データ"),
        ("zh", "我们明天讨论预算。", "讨论预算"),
        ("th", "เราพบกันที่กรุงเทพมหานคร", "กรุงเทพ"),
        ("ko", "서울에서 만나요", "서울"),
        ("hi", "हम हिन्दी में बात करते हैं", "हिन्दी"),
        ("fr", "À l'hôtel, ÇA COÛTE cher", "ca coute"),
        ("pl", "Jedziemy do Łodzi", "lodzi"),
        ("de", "Die Straße", "STRASSE"),
        ("vi", "Tôi ở Hà Nội", "ha noi"),
        ("ar", "الكِتَاب", "الكتاب"),
    ],
)
def test_every_writing_system_is_found_without_accents_and_spaces(
    tmp_path: Path, language: str, said: str, asked: str
) -> None:
    assert find(tmp_path, asked, talk("one", said, "Nothing of it.", language=language)) == [said]


def test_kana_with_another_mark_are_other_sounds(tmp_path: Path) -> None:
    assert find(tmp_path, "かき", talk("one", "かぎ", language="ja")) == []


def test_the_sentence_that_is_most_about_it_comes_first_with_its_place(tmp_path: Path) -> None:
    said = talk("a/one", "A long sentence in which the budget is named once among other things.", "Budget, budget!")
    with Index(tmp_path / FILE_NAME) as index:
        index.refresh([said])
        first, second = index.search("budget")
    assert (first.text, first.start, first.entry.path, first.entry.source) == (
        "Budget, budget!",
        10.0,
        "a/one.json",
        "a/one.wav",
    )
    assert [first.text[start:end] for start, end in first.matches] == ["Budget", "budget"]
    assert first.score > second.score


def test_speaker_date_language_and_folder_narrow_what_is_found(tmp_path: Path) -> None:
    documents = [
        talk("a/one", "Budget one.", recorded="2026-05-01T10:00:00+02:00", speaker="Jana Älf"),
        talk("b/two", "Budget two.", recorded="2026-06-02", language="de", speaker="Ben"),
    ]
    assert find(tmp_path, "budget", *documents, speaker="alf") == ["Budget one."]
    assert find(tmp_path, "budget", *documents, speaker="ana") == []
    assert find(tmp_path, "budget", *documents, since="2026-05-02") == ["Budget two."]
    assert len(find(tmp_path, "budget", *documents, since="2026-05")) == 2
    assert find(tmp_path, "budget", *documents, language="de") == ["Budget two."]
    assert find(tmp_path, "budget", *documents, folder="a") == ["Budget one."]


@given(st.text(alphabet="ab\" *()-^:{}\\'ANDORNTE,0é東", max_size=30))
def test_any_text_is_a_query_or_an_error_that_says_why(text: str) -> None:
    try:
        query = parse_query(text)
    except UsageError:
        return
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE VIRTUAL TABLE terms USING fts5 (text, tokenize = 'ascii')")
        db.execute("SELECT * FROM terms WHERE terms MATCH ?", (query.expression,)).fetchall()


def test_what_changed_is_indexed_anew_and_what_is_gone_is_found_no_more(tmp_path: Path) -> None:
    one, two = talk("one", "Alpha."), talk("two", "Alpha two.")
    changed = dataclasses.replace(talk("one", "Beta."), mtime_ns=1)
    with Index(tmp_path / FILE_NAME) as index:
        assert index.refresh([one, two]).added == 2
        assert index.refresh([one, two]).added == 0
        changes = index.refresh([changed])
        assert (changes.added, changes.removed) == (1, 1)
        assert index.search("alpha") == []
        assert [hit.text for hit in index.search("beta")] == ["Beta."]
        assert index.count_entries() == 1


def test_of_two_transcripts_of_one_recording_the_newer_is_found(tmp_path: Path) -> None:
    again = dataclasses.replace(talk("one", "Alpha again."), path="one (2).json", mtime_ns=1_778_000_000 * 10**9)
    documents = [talk("one", "Alpha."), again]
    assert find(tmp_path, "alpha", *documents) == ["Alpha again."]
    assert find(tmp_path, "alpha", documents[0]) == ["Alpha."]


@pytest.mark.parametrize("damage", ["garbage", "another version", "cut"])
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE_NAME
    documents = [talk(f"n{i}", *(f"Alpha {i} {j}." for j in range(50))) for i in range(20)]
    with Index(path) as index:
        index.refresh(documents)
    data = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 3])
    else:
        with sqlite3.connect(path) as db:
            db.execute("UPDATE meta SET value = '0'")
    for _ in range(2):  # what is only found out while it is read is emptied, and filled the next time
        try:
            assert len(find(tmp_path, "alpha", *documents)) == 20
        except IndexUnavailableError:
            continue
        return
    pytest.fail("it was not repaired")


def indexed(house: House, query: str) -> list[tuple[str, str]]:
    """Return what the index has without a look at the outbox."""
    with indexing.open_index(house.settings) as index:
        return [(hit.entry.path, hit.text) for hit in index.search(query)]


def test_what_the_daemon_publishes_is_in_the_index_when_it_ends(house: House) -> None:
    house.drop("a/one.wav", "The budget was cut.")
    house.run()
    assert indexed(house, "budget") == [("a/one.json", "The budget was cut.")]
    assert house.events("index.behind") == []


def test_an_index_that_cannot_be_written_delays_and_loses_nothing(house: House) -> None:
    (house.settings.state / FILE_NAME).mkdir(parents=True)
    house.drop("one.wav", "The budget was cut.")
    assert house.run().done == 1
    assert [event["file"] for event in house.events("index.behind")] == ["one.json"]
    (house.settings.state / FILE_NAME).rmdir()
    assert json.loads(house.call("search", "budget", "--json").stdout)[0]["text"] == "The budget was cut."


def test_the_command_finds_what_was_corrected_edited_removed_and_restored(house: House) -> None:
    """On the disk the JSON counts; without it, what the journal holds."""
    house.drop("one.wav", "The budget was cut.")
    house.drop("two.wav", "The budget was raised.")
    house.run()
    path = house.outbox / "one.json"
    path.write_text(path.read_text().replace("budget", "gadget"))
    (house.outbox / "two.json").unlink()
    (house.settings.state / FILE_NAME).unlink()
    found = house.call("search", "gadget OR raised", "--json")
    assert [hit["recording"] for hit in json.loads(found.stdout)] == ["one.wav", "two.wav"]
    assert house.call("search", "cut", "NOT", "gadget").returncode == 1
    shown = house.call("search", "raised")
    assert shown.stdout == "two.wav 00:00:00  The budget was raised.\n"


def test_older_versions_and_originals_are_not_found(house: House) -> None:
    house.drop("one.wav", "The budget was cut.")
    house.run()
    ask(house, ["one.wav"], stale=False)
    house.run()
    (house.outbox / "one.original.json").write_text(json.dumps(made(house, "one")))
    with lookup.read_journal(house.settings) as journal:
        documents = [document.path for document in indexing.list_documents(house.settings, journal)]
    assert documents == ["one.json"]


def test_an_outbox_that_is_away_leaves_the_index_as_it_is(house: House) -> None:
    house.drop("one.wav", "The budget was cut.")
    house.run()
    house.outbox.rename(house.outbox.with_name("away"))
    found = house.call("search", "budget", "--json")
    assert [hit["text"] for hit in json.loads(found.stdout)] == ["The budget was cut."]
    assert "is not there" in found.stderr
    assert house.call("search", "--rebuild").returncode == 1


def test_the_index_is_rebuilt_from_every_transcript(house: House) -> None:
    house.drop("one.wav", "The budget was cut.")
    house.run()
    with sqlite3.connect(house.settings.state / FILE_NAME) as db:
        db.execute("UPDATE sentences SET text = 'Wrong.'")
    done = house.call("search", "--rebuild")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Transcripts in the index: 1." in done.stderr
    assert indexed(house, "budget") == [("one.json", "The budget was cut.")]

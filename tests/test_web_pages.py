"""What the server answers: pages, sound, requests, recordings that are added. In a browser: page/test_web.py."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

from conftest import DATA
from dropscribe.supervisor.journal import FILE_NAME, Journal
from examples import TWO
from page_browser import JFK_WORDS, TALK, make_segment
from web_server import PATIENCE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOUND = DATA / "jfk.opus"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("pages"))
    made.add("shows/first.opus", TALK, sound=SOUND, now=1000.0)
    made.add("second.wav", TWO, now=2000.0)
    made.add("broken.mp3", failed="No sound was found in it. Export it again.", now=3000.0)
    made.add("waits.wav", now=4000.0)
    made.start()
    yield made
    made.stop()


def names(server: Server, path: str) -> list[str]:
    """Return the recordings that a page of the library lists, in order."""
    table = server.ask(path).text.partition("<tbody>")[2]
    found = ("first.opus", "second.wav", "broken.mp3", "waits.wav")
    return sorted((name for name in found if name in table), key=table.index)


def test_the_library_has_everything_the_newest_first(server: Server) -> None:
    assert names(server, "/") == ["waits.wav", "broken.mp3", "second.wav", "first.opus"]
    text = server.ask("/").text
    assert "No sound was found in it. Export it again." in text
    assert 'data-ask="retry" data-id="3"' in text
    assert 'data-ask="skip" data-id="4"' in text
    assert "Host, Guest" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"folder": "shows"}, ["first.opus"]),
        ({"q": "SEC"}, ["second.wav"]),
        ({"state": "failed"}, ["broken.mp3"]),
        ({"speaker": "Guest"}, ["first.opus"]),
        ({"language": "de"}, []),
        ({"page": "2"}, []),
        ({"page": "x"}, ["waits.wav", "broken.mp3", "second.wav", "first.opus"]),
    ],
)
def test_the_library_is_filtered(server: Server, query: dict[str, str], found: list[str]) -> None:
    assert names(server, f"/?{urlencode(query)}") == found


def test_sound_is_sent_in_ranges(server: Server) -> None:
    whole = SOUND.read_bytes()
    size = len(whole)
    full = server.ask("/r/1/sound")
    assert (full.status, full.body, full.headers["accept-ranges"]) == (200, whole, "bytes")
    assert full.headers["content-type"] == "audio/ogg"
    for asked, begin, end in (
        ("bytes=0-", 0, size), ("bytes=100-199", 100, 200), ("bytes=-50", size - 50, size),
        (f"bytes={size - 1}-{size * 9}", size - 1, size), (f"bytes=-{size * 9}", 0, size),
    ):  # fmt: skip
        answer = server.ask("/r/1/sound", Range=asked)
        assert (answer.status, answer.body) == (206, whole[begin:end])
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
    for asked in (f"bytes={size}-", "bytes=-0", "bytes=9-5"):
        answer = server.ask("/r/1/sound", Range=asked)
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert server.ask("/r/1/sound", Range="bytes=100-199", If_Range='"another"').status == 200
    assert server.ask("/r/1/sound", Range="bytes=100-199", If_Range=full.headers["etag"]).status == 206
    head = server.ask("/r/1/sound", "HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(size), b"")


def test_an_archived_recording_is_heard_where_it_is_now(server: Server) -> None:
    number = server.add("moved.opus", TALK, sound=SOUND)
    place = server.archive / "moved.opus"
    (server.inbox / "moved.opus").rename(place)
    with Journal(server.state / FILE_NAME) as journal, journal.transaction() as db:
        db.execute(
            "INSERT INTO sources (recording, way, state, target) VALUES (?, 'archive', 'moved', ?)",
            (number, str(place).encode()),
        )
    assert server.ask(f"/r/{number}/sound").body == SOUND.read_bytes()
    outside = server.folder / "elsewhere.opus"
    place.rename(outside)
    with Journal(server.state / FILE_NAME) as journal, journal.transaction() as db:
        db.execute("UPDATE sources SET target = ? WHERE recording = ?", (str(outside).encode(), number))
    assert server.ask(f"/r/{number}/sound").status == 404


def test_every_output_can_be_saved(server: Server) -> None:
    for suffix in ("txt", "srt", "vtt", "json"):
        answer = server.ask(f"/r/1/files/{suffix}")
        assert answer.body == (server.outbox / "shows" / f"first.{suffix}").read_bytes()
        assert answer.headers["content-disposition"].startswith("attachment")
    assert server.ask("/r/1/files/pdf").status == 404


def test_a_recording_without_a_transcript_says_why(server: Server) -> None:
    for number, text in ((3, "Export it again."), (4, "It has no transcript at present."), (99, "No such recording")):
        answer = server.ask(f"/r/{number}")
        assert (answer.status, text in answer.text) == (404, True)


def test_what_is_asked_for_is_left_for_the_daemon(server: Server) -> None:
    for body in ({"what": "retry", "id": 3}, {"what": "skip", "id": 4}, {"what": "redo", "id": 1}):
        answer = server.ask("/api/ask", "POST", body)
        assert (answer.status, "not running" in answer.json["text"]) == (200, True)
    assert server.requests()[-3:] == [
        {"retry": "broken.mp3"}, {"skip": "waits.wav"}, {"redo": ["shows/first.opus"], "stale": False},
    ]  # fmt: skip
    refused: list[tuple[dict[str, object], int]] = [
        ({"what": "skip", "id": 1}, 409), ({"what": "retry", "id": 99}, 404), ({"what": "retry"}, 404),
        ({"what": "burn", "id": 1}, 400), ({"what": "retry", "id": "1"}, 404),
    ]  # fmt: skip
    for given, status in refused:
        assert server.ask("/api/ask", "POST", given).status == status


def test_news_come_as_they_happen(server: Server) -> None:
    import http.client

    made = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    made.request("GET", "/events", headers={"Authorization": f"Bearer {server.token}"})
    answer = made.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")

    def read() -> dict[str, object]:
        while not (line := answer.readline()).startswith(b"data: "):
            assert line
        found: dict[str, object] = json.loads(line[6:])
        return found

    first = read()
    assert (first["running"], first["paused"]) == (False, False)
    server.ask("/api/ask", "POST", {"what": "pause"})
    assert read()["paused"] is True
    server.ask("/api/ask", "POST", {"what": "resume"})
    assert read()["paused"] is False
    made.close()


def test_a_recording_that_is_sent_is_in_the_inbox_whole_and_under_a_free_name(server: Server) -> None:
    for expected in ("new.opus", "new 2.opus"):
        answer = server.ask("/api/upload?name=new.opus&modified=1500000000000", "PUT", SOUND.read_bytes())
        assert (answer.status, answer.json["file"]) == (201, expected)
        assert (server.inbox / expected).read_bytes() == SOUND.read_bytes()
        assert round((server.inbox / expected).stat().st_mtime) == 1500000000
    answer = server.ask(
        f"/api/upload?{urlencode({'name': 'née.opus', 'folder': 'shows'})}", "PUT", SOUND.read_bytes()
    )
    assert answer.json["file"] == "shows/née.opus"
    assert not list(server.inbox.rglob(".dropscribe*"))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("letter.mp3", b"Dear all", "no recording"),
        ("empty.wav", b"", "empty"),
        ("letter.pdf", b"%PDF", "not among the known suffixes"),
        ("half.opus", SOUND.read_bytes()[:20], "no recording"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_reason(server: Server, name: str, content: bytes, why: str) -> None:
    before = set(server.inbox.iterdir())
    answer = server.ask(f"/api/upload?name={name}", "PUT", content)
    assert answer.status in {400, 415}
    assert why in answer.json["error"]
    assert set(server.inbox.iterdir()) == before


def test_what_would_be_refused_is_said_before_it_is_sent(server: Server) -> None:
    asked = [{"name": "a.wav", "size": 9}, {"name": "a.pdf", "size": 9}, {"name": "b.wav", "size": 10**12}, {}]
    found = server.ask("/api/check", "POST", {"files": asked}).json
    assert [why is None for why in found] == [True, False, False, False]


def test_corrections_are_left_for_the_daemon(server: Server) -> None:
    number = server.add("to correct.opus", TALK, sound=SOUND)
    version = server.ask(f"/api/version/{number}").json["version"]
    text = " ".join(word[0] for word in JFK_WORDS[0]).replace("my fellow Americans", "my dear Americans")
    edits = [
        {"kind": "words", "paragraph": 0, "text": text},
        {"kind": "turn", "paragraph": 1, "speaker": "Host"},
        {"kind": "name", "old": "Host", "new": "Kennedy"},
        {"kind": "accept", "start": 1.0, "end": 2.0},
    ]
    answer = server.ask("/api/correct", "POST", {"id": number, "version": version, "edits": edits})
    assert answer.json["offers"] == [["fellow", "dear"]]
    left = server.requests()[-1]
    assert left["correct"] == "to correct.opus"
    kinds = [(edit["kind"], edit["before"], edit["after"]) for edit in left["correction"]["edits"]]
    assert kinds[:3] == [("words", "fellow", "dear"), ("turn", "Guest", "Host"), ("name", "Host", "Kennedy")]
    assert (left["correction"]["edits"][0]["start"], left["correction"]["edits"][0]["end"]) == (1.46, 1.76)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"version": "another"}, 409), ({"id": 99}, 409),
        ({"edits": [{"kind": "words", "paragraph": 9, "text": "a"}]}, 400),
        ({"edits": [{"kind": "words", "paragraph": -1, "text": "a"}]}, 400), ({"edits": [{"kind": "burn"}]}, 400),
        ({"edits": [{"kind": "name", "old": "Nobody", "new": "A"}]}, 400), ({"edits": "all"}, 400),
        ({"edits": ["a"]}, 400),
        ({"edits": [{"kind": "words", "paragraph": 0, "text": "\ud800"}]}, 400),
        ({"edits": [{"kind": "turn", "paragraph": 0, "speaker": ""}]}, 400),
    ],
)  # fmt: skip
def test_a_correction_that_does_not_fit_is_refused(server: Server, changes: dict[str, object], status: int) -> None:
    version, before = server.ask("/api/version/1").json["version"], server.requests()
    edits = [{"kind": "words", "paragraph": 0, "text": "Another text."}]
    answer = server.ask("/api/correct", "POST", {"id": 1, "version": version, "edits": edits} | changes)
    assert (answer.status, bool(answer.json["error"])) == (status, True)
    assert server.requests() == before


def test_a_spelling_is_written_into_the_profile_of_the_folder(server: Server) -> None:
    answer = server.ask("/api/always", "POST", {"id": 1, "pairs": [["drop scribe", "Dropscribe"]]})
    assert answer.status == 200
    assert 'drop scribe" = "Dropscribe"' in (server.inbox / "shows" / "dropscribe.toml").read_text()
    assert server.ask("/api/always", "POST", {"id": 1, "pairs": [["a"]]}).status == 400


def test_sentences_are_found_with_their_place(server: Server) -> None:
    found = server.ask(f"/search?q={quote('country AND fellow')}").text
    assert "Nothing was found" not in found
    found = server.ask("/search?q=fellow&speaker=Host").text
    assert "<mark>fellow</mark>" in found
    assert 'href="/r/1#t=' in found
    assert 'data-sound="/r/1/sound"' in found
    assert "Nothing was found" in server.ask("/search?q=nightingale").text
    assert "no partner" in server.ask(f"/search?q={quote('(a')}").text


def test_settings_in_force_are_shown_with_where_they_come_from(server: Server) -> None:
    found = server.ask("/settings").text
    assert "DROPSCRIBE_INBOX" in found
    assert "max_gigabytes" in found


def test_the_library_goes_on_while_the_journal_is_gone(server: Server, tmp_path: Path) -> None:
    empty = Server(tmp_path)
    empty.start()
    try:
        assert "Nothing has been transcribed yet" in empty.ask("/").text
        assert empty.ask("/r/1").status == 404
        (empty.state / FILE_NAME).write_bytes(b"no database at all, for sure" * 100)
        assert empty.ask("/").status == 503
    finally:
        empty.stop()


def test_open_starts_a_server_that_goes_on_and_finds_it_again(tmp_path: Path) -> None:
    import os
    import signal

    made = Server(tmp_path)
    made.add("talk.opus", TALK, sound=SOUND)
    command = [sys.executable, "-m", "dropscribe", "open", "--print"]
    addresses = []
    for extra in ([], [str(made.inbox / "talk.opus")]):
        done = subprocess.run(
            [*command, *extra], env=made.environ, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        addresses.append(done.stdout.strip())
    note = json.loads((made.state / "web.json").read_bytes())
    try:
        made.port, made.token = note["port"], (made.state / "web-token").read_text().strip()
        assert addresses == [f"{made.url}/?token={made.token}", f"{made.url}/r/1?token={made.token}"]
        assert made.ask("/r/1").status == 200
    finally:
        os.kill(note["pid"], signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while (made.state / "web.json").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    done = subprocess.run([*command, "no such.wav"], env=made.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "not in the library" in done.stderr) == (2, True)


def test_without_the_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    made = Server(tmp_path)
    (tmp_path / "starlette.py").write_text("raise ImportError('gone', name='starlette')")
    environ = made.environ | {"PYTHONPATH": f"{tmp_path}:{made.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "dropscribe", "serve", "--port", "0"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "pip install" in done.stderr
    assert "starlette" in done.stderr


def test_paragraphs_are_those_of_the_page() -> None:
    from dropscribe.formats.page import list_paragraphs

    made = list_paragraphs(TALK)
    assert ["".join(word.word for word in words) for words in made] == [
        make_segment(words).text for words in JFK_WORDS
    ]

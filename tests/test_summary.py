"""Summaries by a language model: a server that is a real process, and everything it may answer."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import webvtt
from markdown_it import MarkdownIt

from dropscribe.errors import UsageError
from dropscribe.library import summary
from dropscribe.transcript import Engine, Segment, Source, Timing, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from house import House

FILES = [f"one.{suffix}" for suffix in sorted(summary.SUFFIXES)]


@dataclass(frozen=True, slots=True)
class Server:
    """A stub that runs."""

    address: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("chat") / "log"
    command = [sys.executable, str(Path(__file__).with_name("chat_stub.py")), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield Server(f"http://127.0.0.1:{running.stdout.readline().strip()}/v1", log)
        running.kill()


@pytest.fixture
def server(process: Server) -> Server:
    process.log.unlink(missing_ok=True)
    return process


def write_talk(folder: Path, count: int = 20, text: str = "This is said.") -> Path:
    segments = tuple(Segment(i, 10.0 * i, 10.0 * i + 8, text) for i in range(count))
    transcript = Transcript(
        text=" ".join([text] * count),
        language="en",
        language_probability=None,
        duration=10.0 * count,
        segments=segments,
        source=Source("one #1.m4a", "one #1.m4a", "0" * 64, 1),
        engine=Engine("faster-whisper", "cpu", "base", None, {}, {}),
        timing=Timing(200.0, 1.0, 1.0, 100.0),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "one.json"
    path.write_text(transcript.to_json())
    return path


def test_title_points_and_chapters_are_written_with_times_that_can_be_clicked(house: House, server: Server) -> None:
    path = write_talk(house.outbox)
    done = house.call("summarize", "--endpoint", server.address, "--model", "chatty", str(path))
    assert [Path(line).name for line in done.stdout.splitlines()] == [f"one.{suffix}" for suffix in summary.SUFFIXES]
    page = MarkdownIt("commonmark").render((house.outbox / "one.summary.md").read_text())
    assert "<h1>A talk of 20 lines</h1>" in page
    assert '<a href="one%20%231.m4a#t=190">00:03:10</a> # Last.' in page
    assert "&lt;b&gt;this&lt;/b&gt;" in page
    assert "First [a](b)." in page
    chapters = json.loads((house.outbox / "one.chapters.json").read_text())
    assert chapters["chapters"] == [
        {"startTime": 0.0, "title": "Beginning"},
        {"startTime": 100.0, "title": "A --> B"},
    ]
    cues = webvtt.read(str(house.outbox / "one.chapters.vtt"))
    assert [(cue.start, cue.end) for cue in cues] == [
        ("00:00:00.000", "00:01:40.000"),
        ("00:01:40.000", "00:03:20.000"),
    ]


def test_a_long_transcript_is_asked_about_in_parts_that_a_small_model_reads(house: House, server: Server) -> None:
    path = write_talk(house.outbox, 400, "This is said, and it goes on for as long as sentences in a talk do.")
    assert house.call("summarize", "--endpoint", server.address, str(path)).returncode == 0
    asked = server.requests()
    assert len(asked) == 5  # four parts, and what their points come to
    assert {each["model"] for each in asked} == {"usual"}  # the first that the server lists
    assert all(each["characters"] <= summary.LIMITS.part for each in asked)
    starts = [c["startTime"] for c in json.loads((house.outbox / "one.chapters.json").read_text())["chapters"]]
    assert starts == sorted(set(starts))
    assert starts[-1] > 3000


@pytest.mark.parametrize("model", ["mute", "broken", "elsewhere"])
def test_a_server_that_does_not_answer_as_asked_is_a_failure_that_writes_nothing(
    house: House, server: Server, model: str
) -> None:
    path = write_talk(house.outbox)
    done = house.call("summarize", "--endpoint", server.address, "--model", model, str(path))
    assert (done.returncode, house.outputs()) == (1, ["one.json"])
    assert "Traceback" not in done.stderr
    assert len(server.requests()) == 1


def test_what_is_no_answer_is_left_out(house: House, server: Server) -> None:
    path = write_talk(house.outbox)
    assert house.call("summarize", "--endpoint", server.address, "--model", "wild", str(path)).returncode == 0
    found = json.loads((house.outbox / "one.summary.json").read_text())
    assert (found["title"], found["abstract"], found["points"], found["chapters"]) == ("one #1.m4a", "", [], [])


def test_nothing_is_sent_to_another_machine_unless_it_is_allowed(house: House) -> None:
    path = write_talk(house.outbox)
    for address in ("http://192.0.2.1/v1", "http://0.0.0.0/v1", "ftp://127.0.0.1/v1", "127.0.0.1:11434"):
        done = house.call("summarize", "--endpoint", address, str(path))
        assert done.returncode == 2, address
    assert "--allow-remote" in house.call("summarize", "--endpoint", "http://192.0.2.1/v1", str(path)).stderr
    summary.Endpoint("http://192.0.2.1/v1", remote=True)
    with pytest.raises(UsageError, match="not this machine"):
        summary.Endpoint("http://192.0.2.1@192.0.2.2/v1")


def test_a_proxy_is_passed_by_and_no_key_is_sent(
    house: House, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    path = write_talk(house.outbox)
    assert house.call("summarize", "--endpoint", server.address, str(path)).returncode == 0
    assert [each["key"] for each in server.requests()] == [None]


def test_a_hook_summarises_what_is_done(house: House, server: Server) -> None:
    house.drop("one.wav", "This is said.", "And that.")
    command = (sys.executable, "-m", "dropscribe", "summarize", "--endpoint", server.address)
    house.run(on_done=command, formats=("json", "txt", "podcast.json"))
    assert [event["reason"] for event in house.events("hook.failed")] == []
    assert house.outputs() == sorted([*FILES, "one.json", "one.podcast.json", "one.txt"])


def test_a_summary_is_made_anew_and_one_that_was_edited_stays(house: House, server: Server) -> None:
    path = write_talk(house.outbox)
    for text in ("", "Mine."):
        if text:
            (house.outbox / "one.summary.md").write_text(text)
        for model in ("usual", "other"):
            house.call("summarize", "--endpoint", server.address, "--model", model, str(path))
    assert house.outputs() == sorted([*FILES, "one.json", "one (2).summary.md"])
    assert (house.outbox / "one.summary.md").read_text() == "Mine."

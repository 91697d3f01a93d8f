"""The endpoint, asked by programs that were made for OpenAI's: with a real daemon and real weights behind it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
import webvtt
from mistralai.client import Mistral

from conftest import DATA
from dropscribe.supervisor.journal import FILE_NAME, Journal
from web_server import PATIENCE, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEECH = DATA / "jfk.opus"
LITTLE = {"batch": "2", "threads": "2", "settle_seconds": "0.1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("api")
    made = Server(folder, flags={"model": str(tiny_en), "backend": "faster-whisper", "after": "delete", **LITTLE})
    hook = folder / "hook.sh"
    hook.write_text(f'#!/bin/sh\ntouch "{folder}/hooked"\n')
    hook.chmod(0o755)
    made.environ["DROPSCRIBE_ON_DONE"] = str(hook)
    daemon = subprocess.Popen([sys.executable, "-m", "dropscribe", "run"], env=made.environ, stderr=subprocess.PIPE)
    made.start()
    yield made
    made.stop()
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def known(server: Server, client: openai.OpenAI) -> openai.OpenAI:
    """The client when the speech is a recording of the inbox as well: it is transcribed once, not for every test."""
    assert client
    shutil.copy(SPEECH, server.inbox / "known.opus")
    until((server.outbox / "known.json").exists)
    return client


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=server.token, base_url=f"{server.url}/v1", max_retries=0, timeout=PATIENCE) as made:
        until(lambda: daemon_runs(server))
        yield made


def daemon_runs(server: Server) -> bool:
    return (
        server.ask("/v1/audio/transcriptions", "POST", b"", Content_Type="multipart/form-data; boundary=x").status
        != 503
    )


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.05)


def ask(client: openai.OpenAI, **given: Any) -> Any:
    with SPEECH.open("rb") as file:
        return client.audio.transcriptions.create(file=file, **({"model": "whisper-1"} | given))


def rows(server: Server) -> tuple[int, int, int]:
    """Return how many recordings, results and checkpoints the journal has."""
    with Journal(server.state / FILE_NAME, readonly=True) as journal:
        names = ("recordings", "results", "checkpoints")
        recordings, results, checkpoints = (
            journal.read(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 (ours)
            for name in names
        )
    return recordings, results, checkpoints


def test_openais_own_client_gets_a_text_and_nothing_is_left(server: Server, client: openai.OpenAI) -> None:
    before = rows(server), set(server.inbox.iterdir()), set(server.outbox.iterdir())
    (server.folder / "hooked").unlink(missing_ok=True)
    found = ask(client, prompt="A speech that was never transcribed so.")
    assert "ask not what your country can do for you" in found.text.replace(",", "").lower()
    until(lambda: rows(server) == before[0])
    assert (set(server.inbox.iterdir()), set(server.outbox.iterdir())) == before[1:]
    assert not list((server.state / "guests").iterdir())
    assert not (server.folder / "hooked").exists()


def test_what_a_recording_has_as_well_is_not_forgotten(server: Server, known: openai.OpenAI) -> None:
    before = rows(server)
    assert ask(known).text
    until(lambda: rows(server) == before)
    assert before[1] > 0


def test_verbose_json_has_segments_and_words_with_times(known: openai.OpenAI) -> None:
    client = known
    found = ask(client, response_format="verbose_json", timestamp_granularities=["word", "segment"], temperature=0.0)
    assert (found.language, round(found.duration)) == ("en", 11)
    assert [word.word for word in found.words][:4] == ["And", "so", "my", "fellow"]
    assert all(a.end <= b.end for a, b in zip(found.words, found.words[1:], strict=False))
    assert " ".join(segment.text for segment in found.segments) == found.text
    words_alone = ask(client, response_format="verbose_json", timestamp_granularities=["word"])
    assert words_alone.words
    assert words_alone.segments is None


def test_subtitles_and_plain_text_come_as_text(known: openai.OpenAI) -> None:
    client = known
    assert ask(client, response_format="text").strip().endswith("country.")
    assert ask(client, response_format="srt").startswith("1\n00:00:0")
    assert webvtt.from_string(ask(client, response_format="vtt")).captions


def test_a_stream_brings_the_text_in_pieces(known: openai.OpenAI) -> None:
    events = list(ask(known, stream=True))
    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert len(deltas) > 1
    assert "".join(event.delta for event in deltas) == done.text


def test_models_are_those_on_this_machine(known: openai.OpenAI, tiny_en: Path) -> None:
    client = known
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["whisper-1", str(tiny_en)]
    assert client.models.retrieve("whisper-1").id == "whisper-1"
    assert ask(client, model=str(tiny_en)).text
    with pytest.raises(openai.NotFoundError, match="no such-model"):
        client.models.retrieve("no such-model")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"language": "klingon"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": 7}, "temperature"),
        ({"timestamp_granularities": ["word"]}, "response_format"),
        ({"extra_body": {"temperature": "warm"}}, "temperature"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_the_clients_terms(client: openai.OpenAI, given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **given)
    assert caught.value.param == wrong


def test_a_model_that_is_not_here_is_not_downloaded(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="large-v3")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_what_is_no_recording_is_refused_with_the_reason(server: Server, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be read as a recording"):
        client.audio.transcriptions.create(model="whisper-1", file=("talk.mp3", b"no sound at all"))
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.audio.transcriptions.create(model="whisper-1", file=("talk.mp3", b""))
    assert not (server.outbox / "_failed").exists()


def test_a_wrong_token_is_an_authentication_error(server: Server) -> None:
    with (
        openai.OpenAI(api_key="x" * 20, base_url=f"{server.url}/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_a_translation_needs_a_model_that_can(client: openai.OpenAI) -> None:
    refused, old = (
        pytest.raises(openai.BadRequestError, match="English only"),
        pytest.warns(DeprecationWarning, match="deprecated"),
    )
    with SPEECH.open("rb") as file, refused, old:
        client.audio.translations.create(model="whisper-1", file=file)


def test_the_name_of_a_file_leads_nowhere(server: Server, known: openai.OpenAI) -> None:
    for name in ("../../out.opus", "/tmp/dropscribe-out.opus", "no suffix"):
        assert known.audio.transcriptions.create(model="whisper-1", file=(name, SPEECH.read_bytes())).text
    assert not (server.folder / "out.opus").exists()


def test_who_leaves_is_forgotten(server: Server, client: openai.OpenAI) -> None:
    assert client
    before = rows(server)
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.opus"\r\n\r\n' + SPEECH.read_bytes()
    body += b"\r\n--x--\r\n"
    kind = f"Authorization: Bearer {server.token}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as made:
        made.sendall(f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: list((server.state / "guests").glob("[!.]*")))
    until(lambda: not list((server.state / "guests").iterdir()))
    until(lambda: rows(server) == before)


def test_asked_to_stay_it_is_a_recording_like_any_other(server: Server, client: openai.OpenAI) -> None:
    with SPEECH.open("rb") as file:
        found = client.audio.transcriptions.create(
            model="whisper-1", file=("kept.opus", file), language="en", extra_body={"dropscribe_keep": "true"}
        )
    made = json.loads((server.outbox / "kept.json").read_bytes())
    assert made["text"] == found.text
    assert made["engine"]["options"]["language"] == "en"


def test_a_client_of_another_maker_is_served(server: Server, known: openai.OpenAI) -> None:
    assert known
    with Mistral(api_key=server.token, server_url=server.url) as other, SPEECH.open("rb") as file:
        found = other.audio.transcriptions.complete(
            model="whisper-1", file={"content": file, "file_name": "jfk.opus"}
        )
    assert found.text.endswith("country.")
    assert found.language == "en"


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    made = Server(tmp_path)
    made.start()
    try:
        client = openai.OpenAI(api_key=made.token, base_url=f"{made.url}/v1", max_retries=0)
        with client as alone, pytest.raises(openai.InternalServerError, match="not running"):
            ask(alone)
    finally:
        made.stop()

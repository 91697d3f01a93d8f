"""Requests of the command line: what is written is what the daemon reads, once, and nothing else harms it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor import requests
from dropscribe.supervisor.requests import Redo, Retry

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS: list[requests.Request] = [
    Retry(None),
    Retry("a/caf\udce9.wav"),
    Redo(None, stale=True),
    Redo(("one.wav", "two.wav"), stale=False),
]


def test_requests_are_read_as_they_were_written_in_order_and_once(tmp_path: Path) -> None:
    for request in REQUESTS:
        requests.write_request(tmp_path, request)
    assert list(requests.take_requests(tmp_path)) == REQUESTS
    assert list(requests.take_requests(tmp_path)) == []


def test_a_request_is_there_until_it_was_acted_on(tmp_path: Path) -> None:
    for request in REQUESTS:
        requests.write_request(tmp_path, request)
    taken = requests.take_requests(tmp_path)
    assert next(taken) == REQUESTS[0]
    taken.close()  # the daemon was killed while it acted on it
    assert list(requests.take_requests(tmp_path)) == REQUESTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broken",
        "[]",
        "{}",
        "3",
        '{"retry": 1}',
        '{"redo": "one.wav"}',
        '{"redo": [1], "stale": true}',
        '{"redo": 3}',
    ],
)
def test_a_damaged_request_is_dropped_and_the_next_is_read(tmp_path: Path, text: str) -> None:
    requests.write_request(tmp_path, Retry(None))
    (tmp_path / requests.FOLDER / "0.json").write_text(text)
    assert list(requests.take_requests(tmp_path)) == [Retry(None)]
    assert list((tmp_path / requests.FOLDER).iterdir()) == []


def test_a_pause_lasts_until_it_is_ended(tmp_path: Path) -> None:
    state = tmp_path / "not/yet/there"
    assert not requests.is_paused(state)
    for _ in range(2):
        requests.pause(state)
        assert requests.is_paused(state)
    for _ in range(2):
        requests.resume(state)
        assert not requests.is_paused(state)

"""A worker that starts: the rights it gives up, and a library that cannot be loaded."""

from __future__ import annotations

import queue
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe import protocol, settings
from dropscribe.supervisor import worker_process

if TYPE_CHECKING:
    from collections.abc import Iterator

Messages = queue.SimpleQueue[worker_process.Message]


@pytest.fixture
def worker(tmp_path: Path, tiny_en: Path, messages: Messages) -> Iterator[worker_process.Worker]:
    """A real worker that is to load a model."""
    worker = worker_process.Worker(messages.put)
    flags = {"model": str(tiny_en), "backend": "faster-whisper"}
    chosen = settings.load(flags, {"HOME": str(tmp_path)}).settings
    worker.send(protocol.CheckJob(job=1, request=worker_process.make_request(chosen, download=False)))
    yield worker
    worker.kill()


@pytest.fixture
def messages() -> Messages:
    return queue.SimpleQueue()


def find_flag(pid: int | str) -> str:
    """Return whether a process may gain rights: `0`, or `1` where it never may."""
    found = re.search(r"^NoNewPrivs:\t(\d)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_worker_gains_no_rights_and_its_parent_still_may(
    worker: worker_process.Worker, messages: Messages
) -> None:
    if find_flag("self") == "1":
        pytest.skip("nothing here may gain rights")
    messages.get(timeout=60)
    assert find_flag(worker.pid) == "1"
    assert find_flag("self") == "0"


@pytest.fixture
def _too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker find a ctranslate2 that glibc 2.41 refuses, in the words of a report of it."""
    words = (
        "libctranslate2-d3638643.so.4.4.0: cannot enable executable stack as shared object requires: Invalid argument"
    )
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/ctranslate2.py").write_text(f"raise ImportError({words!r})")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/stub:{Path(__file__).parents[1] / 'daemon'}")


@pytest.mark.usefixtures("_too_old", "worker")
def test_a_library_that_is_too_old_for_the_system_is_named_with_the_cure(messages: Messages) -> None:
    failed: protocol.Event | None = None
    while not isinstance(failed, protocol.Failed):
        failed = messages.get(timeout=60).event
        assert not isinstance(failed, protocol.Exited)
    assert failed.code == "backend-broken"
    assert "cannot enable executable stack" in failed.message
    assert "4.6.3 or newer is needed" in failed.cure

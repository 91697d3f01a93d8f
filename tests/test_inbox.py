"""Finding finished recordings: names, settling, events, and a folder that goes away."""

from __future__ import annotations

import os
import platform
import queue
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from dropscribe.errors import EnvironmentFaultError
from dropscribe.supervisor.inbox import Inbox, Stat, digest_file
from dropscribe.supervisor.mounts import find_file_system
from dropscribe.supervisor.recording_names import explain_refusal
from dropscribe.supervisor.settling import Settler
from dropscribe.supervisor.watcher import Hints, Watcher


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    (tmp_path / "in").mkdir()
    return Inbox(tmp_path / "in", recursive=True, exclude=tmp_path / "in" / "out")


def drop(inbox: Inbox, name: str, data: bytes = b"x") -> Path:
    path = inbox.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(inbox: Inbox) -> list[str]:
    return sorted(name for name, _ in inbox.scan())


@pytest.mark.parametrize(
    "name", ["talk.m4a", "TALK.MP3", "a/b.wav", "x.qta", "Meeting 2026.08.19.m4a", "v.MOV", "-rf.ogg"]
)
def test_recordings_by_name(name: str) -> None:
    assert explain_refusal(PurePath(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", ".talk.m4a", "._talk.m4a", "~talk.m4a", "talk.m4a.part", "talk.m4a.crdownload"),
        *(".stversions/talk.m4a", "a/@eaDir/talk.m4a", "talk.m4a.download/talk.m4a", ".talk.m4a.icloud"),
    ],
)
def test_other_names_are_passed_over_with_a_reason(name: str) -> None:
    assert explain_refusal(PurePath(name))


def test_a_scan_finds_recordings_and_nothing_else(inbox: Inbox, tmp_path: Path) -> None:
    for name in ("one.wav", "a/b/two.mp3", "notes.txt", ".hidden/x.wav", "out/three.wav", "@eaDir/x.wav"):
        drop(inbox, name)
    (tmp_path / "elsewhere.wav").write_bytes(b"x")
    (inbox.root / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    (inbox.root / "tree").symlink_to(tmp_path)
    os.mkfifo(inbox.root / "pipe.wav")
    assert names(inbox) == ["a/b/two.mp3", "one.wav"]
    assert names(Inbox(inbox.root, recursive=False, exclude=inbox.exclude)) == ["one.wav"]


def test_a_look_at_one_path_agrees_with_the_scan(inbox: Inbox) -> None:
    drop(inbox, "a/one.wav", b"12345")
    drop(inbox, "out/two.wav")
    os.mkfifo(inbox.root / "pipe.wav")
    found = inbox.stat("a/one.wav")
    assert found is not None
    assert found.size == 5
    assert dict(inbox.scan()) == {"a/one.wav": found}
    assert [inbox.stat(n) for n in ("out/two.wav", "pipe.wav", "gone.wav", "notes.txt")] == [None] * 4
    assert Inbox(inbox.root, recursive=False, exclude=inbox.exclude).stat("a/one.wav") is None


def test_an_inbox_that_is_gone_is_a_fault_of_the_environment(inbox: Inbox) -> None:
    inbox.root.rmdir()
    with pytest.raises(EnvironmentFaultError) as caught:
        list(inbox.scan())
    assert caught.value.code == "inbox-missing"


def test_a_file_settles_when_it_stands_still() -> None:
    settler, small, large = Settler(2.0), Stat(1, 1), Stat(2, 2)
    now: dict[str, Stat | None] = {"a": small}
    settler.observe("a", small, 100.0)
    assert settler.next_due() == 102.0
    assert settler.take_settled(now.get, 101.9) == []
    now["a"] = large  # grew without an event
    assert settler.take_settled(now.get, 102.0) == []
    assert settler.take_settled(now.get, 103.9) == []
    assert settler.take_settled(now.get, 104.0) == [("a", large)]
    assert settler.next_due() is None


def test_an_event_restarts_the_time_only_when_something_changed() -> None:
    settler = Settler(2.0)
    settler.observe("a", Stat(1, 1), 100.0)
    settler.observe("a", Stat(1, 1), 101.0)
    assert settler.next_due() == 102.0
    settler.observe("a", Stat(1, 2), 101.0)
    assert settler.next_due() == 103.0


def test_a_file_that_leaves_is_forgotten() -> None:
    settler = Settler(2.0)
    settler.observe("a", Stat(1, 1), 100.0)
    assert settler.take_settled(lambda _: None, 102.0) == []
    assert len(settler) == 0


def test_the_digest_is_of_the_content_that_had_settled(inbox: Inbox) -> None:
    path = drop(inbox, "one.wav", b"abc")
    found = inbox.stat("one.wav")
    assert found is not None
    assert digest_file(path, found) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"abcd")
    assert digest_file(path, found) is None
    link = inbox.root / "link.wav"
    link.symlink_to(path)
    with pytest.raises(OSError, match="link"):
        digest_file(link, found)


def wait_for(woken: queue.SimpleQueue[None], watcher: Watcher, wanted: str) -> bool:
    """Take hints until the wanted path (or the call for a scan, for an empty string) comes."""
    while True:
        woken.get(timeout=20)
        hints = watcher.take()
        if wanted in hints.changed or (hints.scan and not wanted):
            return True


def test_events_name_what_was_dropped(inbox: Inbox, tmp_path: Path) -> None:
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    watcher = Watcher(inbox, "native", lambda: woken.put(None))
    assert watcher.ensure_running()
    assert not watcher.ensure_running()
    drop(inbox, "one.wav")
    assert wait_for(woken, watcher, "one.wav")
    outside = tmp_path / "two.wav"
    outside.write_bytes(b"x")
    outside.rename(inbox.root / "two.wav")
    assert wait_for(woken, watcher, "two.wav")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "three.wav").write_bytes(b"x")
    (tmp_path / "tree").rename(inbox.root / "tree")
    assert wait_for(woken, watcher, "")
    watcher.close()


def test_events_name_what_left_though_another_file_has_its_name_by_now(inbox: Inbox) -> None:
    drop(inbox, "one.wav")
    drop(inbox, "two.wav")
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    watcher = Watcher(inbox, "native", lambda: woken.put(None))
    watcher.ensure_running()
    (inbox.root / "one.wav").unlink()
    (inbox.root / "two.wav").rename(inbox.root / "one.wav")
    gone: set[str] = set()
    while gone != {"one.wav", "two.wav"}:
        woken.get(timeout=20)
        gone |= watcher.take().removed
    watcher.close()


def test_a_folder_made_again_is_watched_again(inbox: Inbox) -> None:
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    watcher = Watcher(inbox, "native", lambda: woken.put(None))
    watcher.ensure_running()
    inbox.root.rename(inbox.root.with_name("moved"))
    with pytest.raises(EnvironmentFaultError):
        watcher.ensure_running()
    inbox.root.mkdir()
    assert watcher.ensure_running()
    drop(inbox, "one.wav")
    assert wait_for(woken, watcher, "one.wav")
    watcher.close()


def test_polling_needs_no_observer(inbox: Inbox) -> None:
    watcher = Watcher(inbox, "polling", lambda: None)
    assert not watcher.ensure_running()
    assert watcher.take() == Hints(set(), set(), scan=False)
    watcher.close()


def test_the_file_system_has_a_name(tmp_path: Path) -> None:
    assert find_file_system(tmp_path)
    assert find_file_system(Path("/proc")) in {"proc", ""}


NO_EVENTS = """
import ctypes, platform, struct, sys
from pathlib import Path
first, second = {"x86_64": (294, 253), "aarch64": (26, 26)}[platform.machine()]  # inotify_init1, inotify_init
refuse, allow = (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7FFF0000)
code = [(0x20, 0, 0, 0), (0x15, 1, 0, first), (0x15, 0, 1, second), refuse, allow]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(code), ctypes.addressof(program))), 0, 0) == 0
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.watcher import Watcher
watcher = Watcher(Inbox(Path(sys.argv[1]), True, Path(sys.argv[2])), "auto", lambda: None)
print(watcher.ensure_running(), watcher.native, watcher.why)
"""
"""Watches a folder in a process for which the kernel has no inotify (a seccomp filter answers ENOSYS)."""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="a Linux seccomp filter"
)
def test_a_kernel_without_file_events_is_polled_and_the_inbox_is_not_called_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_EVENTS, str(tmp_path), str(tmp_path / "outbox")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True False the system gives no file events"), done.stderr

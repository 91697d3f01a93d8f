"""Hooks: what a command and a server are given, and what happens when they fail, hang, or die with the daemon."""

from __future__ import annotations

import http.server
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe import crash, settings
from dropscribe.supervisor.hooks import Hooks
from dropscribe.supervisor.journal import HookWay, InboxFile, Journal, NewHook
from faults.world import PATIENCE, World, alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.supervisor.hook_process import Ended

NOTE = """
import json, os, sys
facts = {k.removeprefix("DROPSCRIBE_FACT_"): v for k, v in os.environ.items() if k.startswith("DROPSCRIBE_FACT_")}
line = {"arguments": sys.argv[2:], "facts": facts, "stdin": json.load(sys.stdin)}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(line) + "\\n")
"""
"""A hook that notes what it is given."""


class Notes:
    """A hook, as a program, and what it has noted."""

    def __init__(self, folder: Path, *more: str) -> None:
        program = folder / "hook.py"
        program.write_text("\n".join([NOTE, *more]))
        self.path = folder / "notes"
        self.setting = f"{sys.executable} '{program}' '{self.path}'"

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


def pending(world: World) -> int:
    with Journal(world.state / "journal.sqlite3", readonly=True) as journal:
        return sum(len(journal.hooks.list_of(row.id)) for row in world.rows())


def test_a_command_gets_paths_facts_and_json(world: World) -> None:
    notes = Notes(world.folder)
    world.drop("sub/a 'b\" $HOME.wav", "Two words.")
    world.drop("bad.wav", "!fail recording no-audio")
    world.start(DROPSCRIBE_ON_DONE=notes.setting, DROPSCRIBE_ON_FAILED=notes.setting)
    world.until(lambda: len(notes.read()) == 2)
    by_event = {note["stdin"]["event"]: note for note in notes.read()}

    done = by_event["done"]
    stem = "sub/a 'b\" $HOME"
    outputs = [str(world.outbox / f"{stem}.{suffix}") for suffix in ("srt", "txt", "vtt", "json")]
    assert sorted(done["arguments"]) == sorted([str(world.inbox / f"{stem}.wav"), *outputs])
    assert done["arguments"][0] == done["stdin"]["source"] == done["facts"]["SOURCE"]
    assert done["stdin"]["transcript"] == done["facts"]["TRANSCRIPT"] == outputs[-1]
    assert sorted(done["facts"]["FILES"].splitlines()) == sorted(outputs)
    assert done["stdin"]["words"] == 2
    assert (done["facts"]["LANGUAGE"], done["facts"]["RELATIVE"]) == ("en", f"{stem}.wav")
    assert "Two words" not in json.dumps(done)

    failed = by_event["failed"]
    assert failed["arguments"] == [str(world.inbox / "bad.wav"), str(world.outbox / "_failed/bad.wav.error.txt")]
    assert (failed["stdin"]["code"], failed["facts"]["REASON"]) == ("no-audio", "It failed: no-audio. Do something.")
    world.until(lambda: pending(world) == 0)


def test_a_hook_may_call_this_program(world: World) -> None:
    """The facts are no settings, though they have our prefix."""
    program = world.folder / "hook.sh"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dropscribe status --json > "{world.folder}/status"\n')
    program.chmod(0o755)
    world.drop("one.wav", "One.")
    world.start(DROPSCRIBE_ON_DONE=str(program), PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    world.until(lambda: world.events("hook.done"))
    assert json.loads((world.folder / "status").read_text())["running"] is True


def test_a_name_that_is_no_text_reaches_the_hook_as_it_is(world: World) -> None:
    notes = Notes(world.folder)
    name = os.fsdecode(b"caf\xe9.wav")
    world.drop(name, "One.")
    world.start(DROPSCRIBE_ON_DONE=notes.setting)
    world.until(notes.read)
    (note,) = notes.read()
    assert note["arguments"][0] == str(world.inbox / name)
    assert note["stdin"]["name"] == "caf\ufffd.wav"


def test_a_hook_that_fails_is_tried_again_then_shown_and_retried_on_demand(world: World) -> None:
    notes = Notes(world.folder, "print('no luck today')", "sys.exit(0 if os.path.exists(sys.argv[1] + '.go') else 3)")
    world.drop("one.wav", "One.")
    world.start(DROPSCRIBE_ON_DONE=notes.setting, DROPSCRIBE_HOOK_TRIES="3")
    world.until(lambda: [e for e in world.events("hook.failed") if e["given_up"]])
    assert len(notes.read()) == 3
    assert len({note["stdin"]["id"] for note in notes.read()}) == 1
    status = json.loads(world.command("status", "--json").stdout)
    assert [(row["file"], row["code"]) for row in status["hooks"]] == [("one.wav", "on_done")]
    assert "exit code 3: no luck today" in status["hooks"][0]["reason"]
    why = world.command("why", str(world.inbox / "one.wav")).stdout
    assert why.startswith("Done on ")
    assert "The hook `on_done` failed 3 times: It ended with exit code 3: no luck today." in why

    Path(f"{notes.path}.go").touch()
    assert world.command("retry", str(world.inbox / "one.wav")).returncode == 0
    world.until(lambda: world.events("hook.done"))
    assert len(notes.read()) == 4
    assert json.loads(world.command("status", "--json").stdout)["hooks"] == []
    assert world.claimed("one.wav") == 1


def test_a_hook_that_hangs_is_ended_with_all_it_started_and_stops_nobody(world: World) -> None:
    program = world.folder / "hang.sh"
    program.write_text(f'#!/bin/sh\ntrap "" TERM\nsleep 1000 &\necho $! >> "{world.folder}/pids"\nwait\nwait\n')
    program.chmod(0o755)
    world.start(DROPSCRIBE_ON_DONE=str(program), DROPSCRIBE_HOOK_SECONDS="3", DROPSCRIBE_HOOK_TRIES="1")
    world.drop("one.wav", "One.")
    world.until(lambda: (world.folder / "pids").exists() and (world.folder / "pids").read_text().endswith("\n"))
    world.drop("two.wav", "Two.")
    world.until(lambda: len(world.events("job.done")) == 2)
    assert world.events("hook.failed", "hook.done") == []
    world.until(lambda: len(world.events("hook.failed")) == 2)
    assert {e["reason"] for e in world.events("hook.failed")} == {"It took longer than 3 s and was ended."}
    assert [pid for pid in map(int, (world.folder / "pids").read_text().split()) if alive(pid)] == []


def test_a_command_that_is_not_there_fails_and_nothing_else_does(world: World) -> None:
    world.drop("one.wav", "One.")
    world.start(DROPSCRIBE_ON_DONE="/nowhere/at/all", DROPSCRIBE_HOOK_TRIES="1")
    world.until(lambda: world.events("hook.failed"))
    assert "No such file" in world.events("hook.failed")[0]["reason"]
    assert world.broken() == []


def test_a_run_whose_hook_failed_says_so_and_has_not_succeeded(world: World) -> None:
    world.drop("one.wav", "One.")
    hook = '["/bin/sh", "-c", "echo no luck; exit 3"]'
    daemon = world.spawn("--once", DROPSCRIBE_MODEL="tiny", DROPSCRIBE_ON_DONE=hook)
    assert daemon.wait(PATIENCE) == 1
    assert "1 done, 0 failed, 1 hook failed." in (world.folder / "stderr").read_text()
    assert world.broken() == []
    report = json.loads(world.command("status", "--json").stdout)
    assert (report["hooks_failed"], report["hooks"][0]["code"]) == (1, "on_done")
    assert "1 done, 1 hook failed" in world.command("status").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only there are signals without names")
def test_a_hook_that_ends_by_a_signal_without_a_name_fails_as_any_other(world: World) -> None:
    """An end that is not reported would keep every later hook from running."""
    world.drop("one.wav", "One.")
    world.drop("two.wav", "Two.")
    world.start(DROPSCRIBE_ON_DONE='/bin/sh -c "kill -36 $$"', DROPSCRIBE_HOOK_TRIES="1")
    world.until(lambda: len(world.events("hook.failed")) == 2)
    assert {e["reason"] for e in world.events("hook.failed")} == {"It ended with signal 36."}


def test_a_text_that_no_process_can_be_given_is_a_failure_that_is_reported(tmp_path: Path) -> None:
    facts = {"relative": "one.wav", "source": "/one.wav", "files": [], "reason": "half of a pair: \ud83d"}
    posted: queue.Queue[Ended] = queue.Queue()
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.enqueue(InboxFile(b"one.wav", PurePath("one.wav"), 1, 1), "aa", 1.0)
    journal.finish(1, [], 2.0, hooks=[NewHook(HookWay.ON_FAILED, json.dumps(facts))])
    hooks = Hooks(settings.load({"on_failed": ["/bin/true"]}, {"HOME": str(tmp_path)}).settings, posted.put, (1, 1))
    hooks.tick(journal)
    ended = posted.get(timeout=60)
    assert ended.problem.startswith("It cannot be started")
    hooks.save_end(journal, ended)
    assert not hooks.is_running
    journal.close()


@pytest.mark.parametrize("point", ["committed", "hooked"])
def test_killed_between_done_and_the_hook_it_is_run_all_the_same(world: World, point: str) -> None:
    notes = Notes(world.folder)
    world.environ |= {crash.VARIABLE: f"{point} 2 {world.folder}", "DROPSCRIBE_ON_DONE": notes.setting}
    world.drop("one.wav", "One.")
    world.drop("two.wav", "Two.")
    for _ in range(2):
        assert world.spawn().wait() == -signal.SIGKILL
    world.spawn()
    world.settle()
    world.until(lambda: pending(world) == 0)
    names = [note["stdin"]["name"] for note in notes.read()]
    assert set(names) == {"one.wav", "two.wav"}
    # Before the second kill the first recording's hook may have run without being noted: then it runs again.
    assert len(names) in ({2, 3} if point == "committed" else {4})


def test_stopped_while_a_hook_runs_it_is_ended_and_run_again(world: World) -> None:
    wait = "import time\nwhile not os.path.exists(sys.argv[1] + '.go'): time.sleep(0.02)"
    notes = Notes(world.folder, "open(sys.argv[1] + '.pid', 'w').write(f'{os.getpid()} ')", wait)
    world.environ["DROPSCRIBE_ON_DONE"] = notes.setting
    world.drop("one.wav", "One.")
    world.start()
    pid = Path(f"{notes.path}.pid")
    world.until(lambda: pid.exists() and pid.read_text().endswith(" "))
    assert world.signal(signal.SIGTERM) == 0
    assert not alive(int(pid.read_text()))
    Path(f"{notes.path}.go").touch()
    world.start()
    world.until(lambda: world.events("hook.done"))
    assert len(notes.read()) == 2
    assert world.events("hook.failed") == []


def test_hooks_that_are_no_longer_set_are_forgotten(world: World) -> None:
    world.drop("one.wav", "One.")
    world.start(DROPSCRIBE_ON_DONE="/nowhere/at/all", DROPSCRIBE_HOOK_TRIES="1")
    world.until(lambda: world.events("hook.failed"))
    world.signal(signal.SIGTERM)
    world.start()
    world.until(lambda: pending(world) == 0)


class Server:
    """A server on loopback that answers as it is set, one answer a request."""

    def __init__(self, *answers: int | str) -> None:
        self.got: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.release = threading.Event()
        orders = iter(answers)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.put((self.headers["Content-Type"], json.loads(body)))
                order = next(orders, 204)
                if order == "hang":
                    outer.release.wait()
                elif order == "drop":
                    self.close_connection = True
                elif order == "babble":
                    self.wfile.write(b"SSH-2.0\r\n\r\n")
                    self.close_connection = True
                elif isinstance(order, int):
                    self.send_response(order)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_GET = do_POST  # noqa: N815 (the base's name)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("drop", "hang", 500, 302, "babble", 200)
    yield made
    made.close()


def test_a_webhook_is_sent_until_the_server_takes_it(world: World, server: Server) -> None:
    world.drop("one.wav", "Secret words.")
    world.start(DROPSCRIBE_WEBHOOK=server.address, DROPSCRIBE_HOOK_SECONDS="2", DROPSCRIBE_HOOK_TRIES="6")
    world.until(lambda: world.events("hook.done"))
    got = [server.got.get(timeout=1) for _ in range(6)]
    assert server.got.empty()
    assert {kind for kind, _ in got} == {"application/json"}
    assert len({body["id"] for _, body in got}) == 1
    assert (got[0][1]["event"], got[0][1]["name"]) == ("done", "one.wav")
    assert "Secret words" not in json.dumps(got)
    reasons = [e["reason"] for e in world.events("hook.failed")]
    assert "no connection" in reasons[0]
    assert "took longer than 2 s" in reasons[1]
    assert "answered 500" in reasons[2]
    assert "answered 302" in reasons[3]
    assert "no answer as a web server gives it (BadStatusLine)" in reasons[4]
    assert "Traceback" not in world.log()
    assert "secret" not in world.log()
    world.until(lambda: pending(world) == 0)

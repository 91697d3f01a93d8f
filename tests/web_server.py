"""A real server of `dropscribe serve` on a library that is made for it, without an engine."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dropscribe import settings
from dropscribe.formats import RENDERERS
from dropscribe.supervisor import outbox
from dropscribe.supervisor.inbox import Stat
from dropscribe.supervisor.journal import FILE_NAME, InboxFile, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript

PATIENCE = 60
FORMATS = ("txt", "srt", "vtt", "json")


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Folders, a journal, and a server on them."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    token: str = ""

    def __post_init__(self) -> None:
        self.inbox, self.outbox, self.state = (self.folder / name for name in ("in", "out", "state"))
        self.logs = self.folder / "logs"
        self.archive = self.folder / "archive"
        for each in (self.inbox, self.outbox, self.state, self.archive):
            each.mkdir(exist_ok=True)
        folders = {name: str(getattr(self, name)) for name in ("inbox", "outbox", "state", "logs", "archive")}
        self.settings: Settings = settings.load(folders | self.flags, {"HOME": str(self.folder)}).settings
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DROPSCRIBE_", "XDG_", "LD_PRELOAD"))}
        self.environ = kept | {"HOME": str(self.folder)} | self.environ
        self.environ |= {f"DROPSCRIBE_{name.upper()}": value for name, value in (folders | self.flags).items()}

    flags: dict[str, str] = field(default_factory=dict)

    # The library

    def add(
        self,
        name: str,
        transcript: Transcript | None = None,
        *,
        sound: Path | None = None,
        failed: str = "",
        now: float | None = None,
        journal: Journal | None = None,
    ) -> int:
        """Put a recording into the library as the daemon would: waiting, failed, or done with its outputs."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if sound is None:
            path.write_bytes(name.encode())
        else:
            shutil.copy(sound, path)
        digest, found = hashlib.sha256(path.read_bytes()).hexdigest(), Stat.at(path)
        now = time.time() if now is None else now
        with contextlib.ExitStack() as stack:
            if journal is None:
                journal = stack.enter_context(Journal(self.state / FILE_NAME))
            relative = path.relative_to(self.inbox)
            journal.enqueue(InboxFile(str(relative).encode(), relative, found.size, found.mtime_ns), digest, now)
            row = journal.recordings.find(str(relative).encode())
            assert row is not None
            if failed:
                journal.claim("f", now, recording=row.id)
                record = outbox.Published(f"_failed/{name}.error.txt", "0" * 64)
                journal.fail(row.id, "no-audio", failed, record, now)
            elif transcript is not None:
                source = dataclasses.replace(
                    transcript.source, name=path.name, path=str(relative), sha256=digest, bytes=found.size
                )
                made = dataclasses.replace(transcript, source=source)
                claimed = journal.claim("f", now, recording=row.id)
                assert claimed is not None
                journal.store_result(claimed, made.to_json(), 20.0, now)
                base = journal.outputs.choose_base(claimed)
                contents = {name: RENDERERS[name](made) for name in FORMATS}
                published = outbox.publish(self.outbox, base, contents, {})
                journal.finish(row.id, published, now)
            return row.id

    def requests(self) -> list[dict[str, Any]]:
        """Return what was left for the daemon, the oldest first."""
        return [json.loads(path.read_bytes()) for path in sorted((self.state / "requests").glob("*.json"))]

    # The server

    def start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "dropscribe", "serve", "--port", "0", *arguments]
        with (self.folder / "server.err").open("wb") as errors:
            self.process = subprocess.Popen(command, env=self.environ, stderr=errors)
        note, until = self.state / "web.json", time.monotonic() + PATIENCE
        while not note.exists():
            assert self.process.poll() is None, (self.folder / "server.err").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        self.port = json.loads(note.read_bytes())["port"]
        self.token = (self.state / "web-token").read_text().strip() if "--token" not in arguments else arguments[-1]

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | dict[str, Any] | None = None,
        *,
        token: str | None = "",
        host: str = "",
        **headers: str,
    ) -> Answer:
        """Send one request. `token`: empty for the right one, None for none. Header names with `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        given = {"Host": host or f"127.0.0.1:{self.port}"}
        if token is not None:
            given["Authorization"] = f"Bearer {token or self.token}"
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it refused before all was sent
                connection.request(method, path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def sign_in(self) -> str:
        """Return the cookie that the token is exchanged for."""
        answer = self.ask(f"/?token={self.token}", token=None)
        assert answer.status == 303
        return answer.headers["set-cookie"].partition(";")[0]

"""A small model hub on the loopback address, for the real client library to talk to.

Speaks what `huggingface_hub` 0.36 to 2.4 asks for when it downloads a model: the listing of a revision
(`/api/models/...`), `HEAD` and `GET` of `/OWNER/NAME/resolve/REVISION/FILE`, and, for large files, the redirect
to another host with their size and SHA-256. It counts what it was asked, and can be made to misbehave.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

LARGE = 10_000
"""Bytes from which on a file is kept as the hub keeps large ones: named by SHA-256, served by another host."""


@dataclass
class Repo:
    """A repository with one commit."""

    files: dict[str, bytes]
    commit: str = "c0ffee" * 6 + "abcd"
    claimed_size: int | None = None
    """Size that the listing gives for large files, when it is to lie."""

    def listing(self, name: str) -> dict[str, Any]:
        siblings = []
        for file, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": git_digest(data)}
            if len(data) >= LARGE:
                size = self.claimed_size or len(data)
                entry |= {
                    "size": size,
                    "lfs": {"size": size, "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134},
                }
            siblings.append(entry)
        return {"id": name, "modelId": name, "sha": self.commit, "siblings": siblings}


def git_digest(data: bytes) -> str:
    """SHA-1 of a git blob object: the name of a small file on the hub."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class HubStub:
    """The server. `mode` may be changed while it runs:

    ok; unauthorized, forbidden, missing, broken (statuses 401, 403, 404, 503 to everything); portal (a page of
    HTML to everything); corrupt (large files with one byte changed); cut (large files end in the middle, every
    time) and cut-once (only the first time); hang (large files stop in the middle until `release` is set) and
    hang-once (only the first time, and the middle is not followed by the rest).
    """

    repos: dict[str, Repo]
    mode: str = "ok"
    requests: list[str] = field(default_factory=list)
    """`METHOD path` of every request, in order."""
    ranges: list[str] = field(default_factory=list)
    """The `Range` headers that came."""
    tokens: set[str] = field(default_factory=set)
    """The `Authorization` headers that came."""
    half_sent: threading.Event = field(default_factory=threading.Event)
    """Set when the first half of a large file is out, in mode `hang`."""
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        stub: HubStub = self

        class Handler(_Handler):
            hub = stub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"


_STATUS = {"unauthorized": 401, "forbidden": 403, "missing": 404, "broken": 503}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubStub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *args: object) -> None:
        """Write nothing."""

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if "Authorization" in self.headers:
            self.hub.tokens.add(self.headers["Authorization"])
        if (status := _STATUS.get(self.hub.mode)) is not None:
            code = {"X-Error-Code": "RepoNotFound"} if status == 404 else {}
            self._send(status, {"Content-Type": "application/json", **code}, b"{}", body=body)
            return
        if self.hub.mode == "portal":
            self._send(200, {"Content-Type": "text/html"}, b"<html>Welcome to the hotel</html>", body=body)
            return
        match path.strip("/").split("/"):
            case ["api", "models", owner, name, *rest] if f"{owner}/{name}" in self.hub.repos:
                repo = self.hub.repos[f"{owner}/{name}"]
                if rest and rest[-1] not in {"main", repo.commit}:
                    self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"{}", body=body)
                    return
                data = json.dumps(repo.listing(f"{owner}/{name}")).encode()
                self._send(200, {"Content-Type": "application/json"}, data, body=body)
            case [owner, name, "resolve", _, file] if file in self.hub.repos[f"{owner}/{name}"].files:
                repo = self.hub.repos[f"{owner}/{name}"]
                data = repo.files[file]
                headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{git_digest(data)}"'}
                if len(data) < LARGE:
                    self._send(200, headers, data, body=body)
                    return
                linked = {
                    "X-Linked-Size": str(len(data)),
                    "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                    # Another host name: the library follows redirects on its own host by itself.
                    "Location": f"http://localhost:{self.hub.port}/cdn/{owner}/{name}/{file}",
                }
                self._send(302, headers | linked, b"", body=body)
            case ["cdn", owner, name, file]:
                self._send_large(self.hub.repos[f"{owner}/{name}"].files[file], body=body)
            case _:
                self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}", body=body)

    def _send(self, status: int, headers: dict[str, str], data: bytes, *, body: bool) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _send_large(self, data: bytes, *, body: bool) -> None:
        if self.hub.mode == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        start = 0
        if asked := self.headers.get("Range"):
            self.hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").split("-")[0])
        part = data[start:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if not body:
            return
        half = len(part) // 2
        self.wfile.write(part[:half])
        if self.hub.mode in {"cut", "cut-once"}:
            self.hub.mode = "ok" if self.hub.mode == "cut-once" else "cut"
            self.close_connection = True
            return
        if self.hub.mode in {"hang", "hang-once"}:
            once = self.hub.mode == "hang-once"
            if once:
                self.hub.mode = "ok"
            self.wfile.flush()
            self.hub.half_sent.set()
            self.hub.release.wait()
            if once:
                self.close_connection = True
                return
        self.wfile.write(part[half:])

"""Each way to come in that must not be one, tried on a real server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from conftest import DATA
from dropscribe.web import uploads
from examples import TWO
from web_server import PATIENCE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = "the nightingale sang"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("door"), flags={"max_gigabytes": "0.003"})
    made.add("talk.opus", TWO, sound=DATA / "jfk.opus")
    made.start()
    yield made
    made.stop()


def post(server: Server, cookie: str, **headers: str) -> int:
    return server.ask("/api/ask", "POST", {"what": "pause"}, token=None, Cookie=cookie, **headers).status


@pytest.mark.parametrize(
    "path", ["/", "/r/1", "/r/1/sound", "/r/1/files/txt", "/events", "/static/app.js", "/settings"]
)
def test_nothing_is_shown_without_the_token(server: Server, path: str) -> None:
    for token in (None, "x" * len(server.token), server.token[:-1]):
        answer = server.ask(path, token=token)
        assert answer.status == 401
        assert b"talk" not in answer.body


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(server: Server) -> None:
    answer = server.ask(f"/settings?token={server.token}&a=b", token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/settings?a=b")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert server.token not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert server.ask("/", token=None, Cookie=cookie).status == 200
    assert server.ask("/", token=None, Cookie=cookie[:-1]).status == 401


def test_the_exchange_leads_to_no_other_server(server: Server) -> None:
    answer = server.ask(f"//evil.example/?token={server.token}", token=None)
    assert answer.headers["location"] == "/evil.example/"


def test_a_ticket_lets_one_in_once(server: Server) -> None:
    ticket = server.ask("/api/ticket", "POST").json["ticket"]
    assert server.ask(f"/?token={ticket}", token=None).status == 303
    assert server.ask(f"/?token={ticket}", token=None).status == 401
    assert server.ask("/", token=ticket).status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}"]
)
def test_a_name_that_was_made_to_point_here_is_refused(server: Server, host: str) -> None:
    cookie = server.sign_in()
    answer = server.ask("/", token=None, Cookie=cookie, host=host.format(port=server.port))
    assert answer.status == 421
    assert b"talk" not in answer.body


def test_two_hosts_or_none_are_refused(server: Server) -> None:
    for hosts in ("", f"Host: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as made:
            made.sendall(f"GET / HTTP/1.1\r\n{hosts}Authorization: Bearer {server.token}\r\n\r\n".encode())
            assert made.recv(100).split()[1] in {b"400", b"421"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another port of this machine is the same site to a browser
        {"Origin": "http://localhost:{port}"},  # our port under a name that was not asked for
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
    ],
)  # fmt: skip
def test_a_post_of_another_site_changes_nothing(server: Server, headers: dict[str, str]) -> None:
    given = {name.replace("-", "_"): value.format(port=server.port) for name, value in headers.items()}
    assert post(server, server.sign_in(), **given) == 403
    assert not (server.state / "paused").exists()


def test_a_post_of_our_own_page_is_taken(server: Server) -> None:
    assert post(server, server.sign_in(), Origin=server.url) == 200
    assert (server.state / "paused").exists()
    (server.state / "paused").unlink()


def test_a_form_cannot_ask_for_anything(server: Server) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = server.ask("/api/ask", "POST", b'{"what": "pause"}', Content_Type=kind)
        assert answer.status == 415
    assert server.ask("/api/ask").status == 405


def test_other_sites_may_read_and_embed_nothing(server: Server) -> None:
    for path in ("/", "/r/1", "/r/1/sound", "/static/app.js", "/nowhere", "/api/hello"):
        found = server.ask(path).headers
        assert not [name for name in found if name.startswith("access-control")]
        policy = dict(part.partition(" ")[::2] for part in found["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
    assert server.ask("/", "OPTIONS", Origin="https://evil.example").status == 403
    # A sound or an image of ours in another page.
    cookie = server.sign_in()
    for site in ("cross-site", "same-site"):
        assert server.ask("/r/1/sound", token=None, Cookie=cookie, Sec_Fetch_Site=site).status == 403


def test_no_page_has_script_in_it(server: Server) -> None:
    server.add("<img src=x onerror=alert(1)>.wav", failed="<script>alert(1)</script>")
    found = server.ask("/").text
    assert "<script>" not in found
    assert "<img" not in found
    assert "&lt;img src=x onerror=alert(1)&gt;.wav" in found


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py", "/static/..%2fpages.py", "/static/%2e%2e/pages.py", "/static//etc/passwd",
        "/r/1/files/..%2F..%2Fstate%2Fweb-token", "/r/1/files/json%00", "/r/1/files//etc/passwd",
        "/r/-1/sound", "/r/99/sound", "/r/99999999999999999999999/sound", "/r/1/../../etc/passwd",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_folders(server: Server, path: str) -> None:
    assert server.ask(path).status in {404, 405}


def test_no_link_leads_out_of_the_folders(server: Server) -> None:
    outside = server.folder / "outside.txt"
    outside.write_text(WORDS)
    number = server.add("linked/talk.opus", TWO, sound=DATA / "jfk.opus")
    paths = (f"/r/{number}/sound", f"/r/{number}/files/txt")
    assert [server.ask(path).status for path in paths] == [200, 200]
    sound, text = server.inbox / "linked" / "talk.opus", server.outbox / "linked" / "talk.txt"
    for path, file in zip(paths, (sound, text), strict=True):
        content = file.read_bytes()
        file.unlink()
        file.symlink_to(outside)
        answer = server.ask(path)
        assert (answer.status, WORDS in answer.text) == (404, False)
        file.unlink()
        os.link(outside, file)  # what is really there is shown
        assert server.ask(path).text == WORDS
        file.unlink()
        file.write_bytes(content)
    for path, file in zip(paths, (sound, text), strict=True):
        away = server.folder / f"away {file.name}"
        file.parent.rename(away)
        file.parent.symlink_to(away)
        assert server.ask(path).status == 404
        file.parent.unlink()
        away.rename(file.parent)
    sound.unlink()
    os.mkfifo(sound)
    assert server.ask(paths[0]).status == 404


@pytest.mark.parametrize(
    ("name", "folder", "status"),
    [
        ("../out.wav", "", 400), ("/tmp/out.wav", "", 400), ("a/b.wav", "", 400), ("a\\b.wav", "", 400),

        ("..", "", 400), ("", "", 400), ("a\nb.wav", "", 400), ("a.wav", "..", 400), ("a.wav", "/tmp", 400),
        ("a.wav", "no such", 400),
        ("a.wav", "leads out", 400), ("x" * 251 + ".wav", "", 400), (".hidden.wav", "", 415),
        ("dropscribe.toml", "", 415), ("talk.wav.toml", "", 415), ("talk.wav.part", "", 415), ("a.exe", "", 415),
    ],
)  # fmt: skip
def test_nothing_is_sent_to_another_place_than_the_inbox(
    server: Server, tmp_path: Path, name: str, folder: str, status: int
) -> None:
    link = server.inbox / "leads out"
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in server.folder.rglob("*") if path.is_file()}
    answer = server.ask(f"/api/upload?{urlencode({'name': name, 'folder': folder})}", "PUT", b"RIFF")
    assert (answer.status, bool(answer.json["error"])) == (status, True)
    assert {path: path.stat().st_mtime_ns for path in server.folder.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.iterdir())


def test_what_is_sent_is_bounded(server: Server) -> None:
    assert server.ask("/api/ask", "POST", b"x" * 4_000_001).status == 413
    assert server.ask("/api/upload?name=a.wav", "PUT", b"x" * 3_000_001).status == 413
    # Without a length that is announced it is counted.
    for path, most in (("/api/ask", 4_000_000), ("/api/upload?name=a.wav", 3_000_000)):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as made:
            method = "POST" if "ask" in path else "PUT"
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            kind = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            made.sendall((f"{head}Authorization: Bearer {server.token}\r\n" + kind).encode())
            piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(most // 0x10000 + 2):
                    made.sendall(piece)
            assert made.recv(100).split()[1] == b"413"
    assert not [path.name for path in server.inbox.iterdir() if path.name.startswith(".dropscribe")]


def test_neither_token_nor_words_come_into_a_log(server: Server) -> None:
    server.ask("/r/1")
    server.ask(f"/search?q={WORDS.replace(' ', '+')}")
    server.ask("/api/ask", "POST", {"what": WORDS})
    written = [path.read_text() for path in server.logs.rglob("*") if path.is_file()] if server.logs.exists() else []
    errors = (server.folder / "server.err").read_text().splitlines()
    assert len(errors) == 2  # where it listens, said to who started it
    for text in [*written, *errors[2:]]:
        assert WORDS not in text
        assert "second one" not in text
        assert server.token not in text


def test_only_this_user_may_read_the_token_and_the_note(server: Server) -> None:
    for name in ("web-token", "web.json"):
        assert (server.state / name).stat().st_mode & 0o777 == 0o600


def test_it_listens_on_loopback_alone(server: Server) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines() if sys.platform == "linux" else []
    ours = [line.split()[1] for line in lines[1:] if line.split()[1].endswith(f":{server.port:04X}")]
    assert all(address.startswith("0100007F:") for address in ours)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "0.0.0.0", "--token", "short"], "16 characters"),
        (["--host", "example.org", "--token", "x" * 20], "0.0.0.0"),
        (["--port", "99999"], "1024"),
    ],
)
def test_others_are_let_in_only_with_an_address_and_a_token(server: Server, arguments: list[str], cure: str) -> None:
    command = [sys.executable, "-m", "dropscribe", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, env=server.environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert cure in done.stderr


def test_with_a_host_that_is_set_addresses_are_taken_and_foreign_names_are_not(tmp_path: Path) -> None:
    made = Server(tmp_path)
    made.start("--host", "0.0.0.0", "--token", "a long enough-token".replace(" ", "-"))
    try:
        assert made.ask("/", host=f"192.168.1.7:{made.port}").status == 200
        assert made.ask("/", host=f"[fe80::1]:{made.port}").status == 200
        assert made.ask("/", host=f"evil.example:{made.port}").status == 421
        assert made.ask("/", host="192.168.1.7:1").status == 421
        assert made.ask("/", token=None).status == 401
    finally:
        made.stop()


def test_a_server_that_is_killed_leaves_nothing_that_keeps_the_next_from_starting(tmp_path: Path) -> None:
    made = Server(tmp_path)
    made.add("talk.opus", TWO, sound=DATA / "jfk.opus")
    made.start()
    with socket.create_connection(("127.0.0.1", made.port), PATIENCE) as sending:
        head = f"PUT /api/upload?name=b.wav HTTP/1.1\r\nHost: 127.0.0.1:{made.port}"
        sending.sendall(
            f"{head}\r\nAuthorization: Bearer {made.token}\r\nContent-Length: 1000000\r\n\r\nRIFF".encode()
        )
        while not list(made.inbox.glob(".dropscribe-upload-*")):
            pass
        assert made.process is not None
        made.process.kill()
        made.process.wait()
    (left,) = made.inbox.glob(".dropscribe-upload-*")
    os.utime(left, (1, 1))
    (made.state / "web.json").unlink()
    made.start()
    try:
        assert made.ask("/r/1").status == 200
        assert not left.exists()
        assert json.loads((made.state / "web.json").read_bytes())["port"] == made.port
    finally:
        made.stop()
    assert not (made.state / "web.json").exists()


def test_a_playlist_that_is_called_a_recording_opens_nothing_that_it_names(tmp_path: Path) -> None:
    shutil.copyfile(DATA / "jfk.opus", tmp_path / "other.opus")
    uploads.check_content(tmp_path / "other.opus")
    for name, text in (
        ("list.m4a", "ffconcat version 1.0\nfile other.opus\n"),
        ("live.m4a", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.opus\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(uploads.RefusedError, match="no recording"):
            uploads.check_content(tmp_path / name)

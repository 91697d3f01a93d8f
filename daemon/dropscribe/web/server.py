"""The process of `dropscribe serve`: its socket, its token, and the note by which `dropscribe open` finds it.

Guarantees: without a host that is set it listens on loopback alone; the token and the note are readable by this user
alone; no request is logged.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import ipaddress
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import files
from dropscribe.errors import DropscribeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType, ModuleType

    from dropscribe.settings import Loaded

PORT = 8737
LEAST_TOKEN = 16
"""Characters of a token that a person sets: a short one can be guessed."""
TOKEN = "web-token"  # noqa: S105 (a file name)
NOTE = "web.json"
_LOOPBACK = "127.0.0.1"
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server can be reached from this machine."""

    host: str
    port: int
    token: str
    state: str

    def ask(self, method: str, path: str) -> dict[str, str] | None:
        """Return what the server answers; None where none of this state folder does."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_ASK_SECONDS)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
                answer = connection.getresponse()
                found: dict[str, str] = json.loads(answer.read()) if answer.status == 200 else {}
            except (OSError, http.client.HTTPException, ValueError):
                return None
        return found or None

    @property
    def url(self) -> str:
        """Return the address of the library."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


def serve(
    loaded: Loaded, *, port: int, host: str, token: str, idle_hours: float, started: Callable[[Address, str], None]
) -> None:
    """Serve until the process is ended, or no request has come for so many hours (0: never).

    Args:
        loaded: the settings, and where they come from.
        port: 0 for any that is free.
        host: an address of this machine; empty for loopback.
        token: empty for the one in the state folder.
        idle_hours: see above.
        started: called with where it listens, and the token.

    Raises: UsageError; DropscribeError when the port is taken, or the web libraries are missing.
    """
    _check(host, token, port)
    uvicorn = _import_stack()
    from dropscribe.web.app import build_app
    from dropscribe.web.door import Access
    from dropscribe.web.uploads import remove_left_files

    state = loaded.settings.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = token or read_token(state)
    listening = _listen(host, port)
    with contextlib.closing(listening):
        bound, port = listening.getsockname()[:2]
        names = {"localhost", _LOOPBACK, "[::1]", *({host} if host else set()), *_list_names(host)}
        access = Access(
            token,
            frozenset(f"{f'[{n}]' if ':' in n and n[0] != '[' else n}:{port}".lower() for n in names),
            port,
            any_address=bool(host) and ipaddress.ip_address(bound).is_unspecified,
        )
        remove_left_files(loaded.settings.inbox)
        _prepare_spool(state)
        config = uvicorn.Config(
            _note_use(build_app(loaded, access), used := [time.monotonic()]),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
        )
        server = uvicorn.Server(config)
        server.capture_signals = lambda: _take_signals(server.handle_exit)

        async def notify() -> None:
            _return_memory()
            if idle_hours and time.monotonic() - used[0] > idle_hours * 3600:
                server.should_exit = True

        config.callback_notify, config.timeout_notify = notify, 30
        address = Address(_LOOPBACK if access.any_address else bound, port, token, str(state))
        note = {"pid": os.getpid(), "host": address.host, "port": port}
        files.write_atomically(state / NOTE, json.dumps(note).encode(), mode=0o600)
        started(address, token)
        try:
            server.run(sockets=[listening])
        finally:
            with contextlib.suppress(OSError, ValueError):
                if json.loads((state / NOTE).read_bytes()) == note:
                    (state / NOTE).unlink()


def _return_memory() -> None:
    """Give memory that a large transcript or a new index took back to the system, where the C library keeps it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _prepare_spool(state: Path) -> None:
    """Let what is sent in a form be spooled in the state folder: the system's own may be small, and in memory."""
    spool = state / "uploads"
    spool.mkdir(exist_ok=True, mode=0o700)
    tempfile.tempdir = str(spool)


@contextlib.contextmanager
def _take_signals(end: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let signals end the server. Uvicorn's own way raises them once more, and nothing could be tidied up."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _note_use(app: object, used: list[float]) -> object:
    """Return the application, which notes when it was last asked for anything."""

    async def note(scope: object, receive: object, send: Callable[..., object]) -> None:
        async def answer(message: object) -> None:
            used[0] = time.monotonic()
            await send(message)  # type: ignore[misc]

        await app(scope, receive, answer)  # type: ignore[operator]

    return note


def find_server(state: Path, token: str = "") -> Address | None:
    """Return the server of a state folder that runs, or None."""
    try:
        note = json.loads((state / NOTE).read_bytes())
        address = Address(str(note["host"]), int(note["port"]), token or read_token(state), str(state))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = address.ask("GET", "/api/hello")
    return address if found is not None and found.get("state") == str(state) else None


def read_token(state: Path) -> str:
    """Return the token of a state folder, made the first time. Raises: OSError."""
    path = state / TOKEN
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text("ascii").strip()
        if len(found) >= LEAST_TOKEN:
            return found
    made = secrets.token_urlsafe(32)
    files.write_atomically(path, made.encode() + b"\n", mode=0o600)
    return made


def _check(host: str, token: str, port: int) -> None:
    if not 0 <= port < 1 << 16:
        raise UsageError(f"{port} is no port.", "Take one from 1024 to 65535, or 0 for any that is free.")
    if token and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError(
            f"The token must have {LEAST_TOKEN} characters or more, letters, digits and signs.",
            f"This one is good: {secrets.token_urlsafe(24)}",
        )
    if not host:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"{host} is no address.", "Give one of this machine's, or 0.0.0.0 for all.") from None
    if not token:
        raise UsageError(
            "--host lets others reach the library, so it needs a token that you set.",
            f"Add --token {secrets.token_urlsafe(24)}",
        )


def _import_stack() -> ModuleType:
    try:
        import jinja2  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        cure = f"Install it: {sys.executable} -m pip install {' '.join(_STACK)}"
        raise DropscribeError(f"The library needs {error.name}, which is not installed.", cure) from None
    return uvicorn


_STACK = ("starlette", "uvicorn", "jinja2", "python-multipart")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host or _LOOPBACK, port))
        made.listen(64)
    except OSError as error:
        made.close()
        cure = "Another server may run: `dropscribe open` shows it. Else choose another --port, or 0."
        raise DropscribeError(f"Port {port} cannot be used: {error.strerror}.", cure) from None
    return made


def _list_names(host: str) -> set[str]:
    """Return the names under which others reach this machine, where they may."""
    if not host:
        return set()
    name = socket.gethostname()
    return {name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}

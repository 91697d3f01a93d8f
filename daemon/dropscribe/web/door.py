"""Who may come in: the first thing that sees a request, and the last that sees an answer.

A server on loopback can be reached by every page in the browser and by every user of the machine.

| attack | answer |
|---|---|
| another user or program of the machine | the token, or the cookie that it was exchanged for |
| a name that is made to point to this machine (DNS rebinding) | `Host` must be one of ours |
| a form or script of another site, or of another port of this machine | `Origin` must be ours; `SameSite=Strict` |
| another site that embeds a page, a sound or a script of ours | no CORS, `frame-ancestors`, resource policy |
| markup in a name or a text that becomes script | escaped everywhere; a policy without inline script |
| a body without end | bounded before and while it is read |

The token is compared in constant time. It is never in a log: this server writes none of requests.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4_000_000
"""Of a body, but where recordings come in. Corrections of a recording of ten hours are smaller."""
TICKET_SECONDS = 60.0
"""How long the address that `dropscribe open` opens may be used, once."""
COOKIE_SECONDS = 400 * 24 * 3600
"""As long as browsers keep a cookie at most."""
SAFE = frozenset({"GET", "HEAD"})
POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "connect-src 'self'; "
    "media-src 'self' blob:; "
    "img-src 'self' data:; "
    "form-action 'self'; "
    "base-uri 'none'; "
    "frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_TOO_LARGE = "This is more than the server takes."
_STRANGER = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Dropscribe</title>
<meta name="viewport" content="width=device-width"><h1>This library is private</h1>
<p>Open it with <code>dropscribe open</code>. If you just did, reload this page.</p></html>"""


@dataclass(slots=True)
class Access:
    """What lets a request in."""

    token: str
    hosts: frozenset[str]
    """What `Host` may be, in lower case: name or address, and port."""
    port: int
    any_address: bool = False
    """Whether the server is bound to every address of the machine: then `Host` may be any address, but no name that
    is not in `hosts`. Who rebinds a name has to use that name."""
    tickets: dict[str, float] = field(default_factory=dict)
    """What may be used as the token once, and until when (time.monotonic())."""

    @property
    def cookie_name(self) -> str:
        """Name of the cookie: cookies do not know ports."""
        return f"dropscribe-{self.port}"

    @property
    def cookie_value(self) -> str:
        """Return what the token is exchanged for: the token itself is not kept by the browser."""
        return hmac.new(self.token.encode(), b"cookie", hashlib.sha256).hexdigest()

    def issue_ticket(self) -> str:
        """Return what may be used as the token once, within `TICKET_SECONDS`.

        It is what `dropscribe open` gives to the browser, whose arguments all users of the machine can read.
        """
        now = time.monotonic()
        self.tickets = {ticket: until for ticket, until in self.tickets.items() if until > now}
        ticket = secrets.token_urlsafe(24)
        self.tickets[ticket] = now + TICKET_SECONDS
        return ticket

    def knows(self, given: str) -> bool:
        """Return whether this is the token, or a ticket, which is used up with that."""
        if self.is_token(given):
            return True
        return self.tickets.pop(given, 0.0) > time.monotonic()

    def is_token(self, given: str) -> bool:
        """Return whether this is the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_our_host(self, host: str) -> bool:
        """Return whether a request was sent to a name of ours."""
        host = host.lower()
        if host in self.hosts:
            return True
        name, colon, port = host.rpartition(":")
        if not self.any_address or not colon or port != str(self.port):
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


class Door:
    """The middleware around the application. See the module."""

    def __init__(self, app: ASGIApp, access: Access, large: frozenset[str]) -> None:
        """`large` are the paths that bound the body themselves."""
        self._app = app
        self._access = access
        self._large = large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            return
        refused = self._refuse(scope)
        secure = _add_headers(send)
        if refused is not None:
            await refused(scope, receive, secure)
            return
        if scope["path"] in self._large:
            await self._app(scope, receive, secure)
            return
        await self._app(scope, bound_body(receive, MOST_BYTES), secure)

    def _refuse(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is not let in, or that exchanges the token; None for the others."""
        headers, access = Headers(scope=scope), self._access
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not access.is_our_host(host):
            return _say(scope, 421, "This server does not have that name.")
        safe = scope["method"] in SAFE
        if (origin := headers.get("origin")) is not None and origin.lower() != f"http://{host.lower()}":
            return _say(scope, 403, "This was sent by another site.")
        navigates = safe and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not navigates:
            return _say(scope, 403, "This was sent by another site.")
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            return _say(scope, 400, "The length of the body is no number.")
        if scope["path"] not in self._large and length > MOST_BYTES:
            return _say(scope, 413, _TOO_LARGE)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.is_token(bearer.strip()):
            return None
        if hmac.compare_digest(_read_cookie(headers, access.cookie_name).encode(), access.cookie_value.encode()):
            if not safe and origin is None:  # browsers send it with every post
                return _say(scope, 403, "A request that changes something needs its origin.")
            return self._exchange(scope)
        return self._exchange(scope) or _say(scope, 401, "The token is missing, or is another one.")

    def _exchange(self, scope: Scope) -> Response | None:
        """Return the answer that exchanges a token in the address for the cookie; None without one."""
        if scope["method"] != "GET" or b"token=" not in scope["query_string"]:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in query if name == "token"), "")
        if not self._access.knows(given):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # `//other.example` would be another server
        answer = RedirectResponse(path + ("?" + rest if rest else ""), 303)
        access = self._access
        answer.set_cookie(
            access.cookie_name,
            access.cookie_value,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
        )
        return answer


def bound_body(receive: Receive, most: float) -> Receive:
    """Return `receive` that raises HTTPException 413 after `most` bytes."""
    taken = 0

    async def count() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return count


def _read_cookie(headers: Headers, name: str) -> str:
    jar = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _say(scope: Scope, status: int, text: str) -> Response:
    """Return a refusal in the form that its reader knows."""
    headers = {"Connection": "close"} if status == 413 else {}
    if scope["path"].startswith("/v1/"):
        kind = "invalid_request_error"
        code = "invalid_api_key" if status == 401 else None
        body = {"error": {"message": text, "type": kind, "param": None, "code": code}}
        return JSONResponse(body, status, headers)
    if status == 401 and scope["method"] == "GET" and not scope["path"].startswith("/api/"):
        return HTMLResponse(_STRANGER, status)
    return PlainTextResponse(text + "\n", status, headers)


def _add_headers(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return answer

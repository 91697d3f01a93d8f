"""What a person asks for on a page: left for the daemon as the command line leaves it."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dropscribe import __version__
from dropscribe.errors import DropscribeError
from dropscribe.supervisor import locks, lookup, requests
from dropscribe.supervisor.journal import State
from dropscribe.web import listing, uploads
from dropscribe.web.uploads import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Recording
    from dropscribe.web.door import Access

UPLOAD = "/api/upload"
_FITTING = {
    "retry": frozenset({State.FAILED, State.SKIPPED, State.DONE}),
    "skip": frozenset({State.WAITING, State.QUEUED, State.RUNNING}),
    "redo": frozenset({State.DONE, State.FAILED}),
}
"""The states in which each request makes sense. Of one that is done, `retry` concerns the hooks."""
_DONE = {
    "retry": "It will be tried again.",
    "skip": "It will be skipped.",
    "redo": "It will be transcribed again; the older outputs are kept.",
    "pause": "Paused. Nothing is transcribed until you resume.",
    "resume": "No longer paused.",
}


class Actions:
    """The requests of the pages of one library."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/api/hello", self.greet),
            Route("/api/ticket", self.issue_ticket, methods=["POST"]),
            Route("/api/ask", self.ask, methods=["POST"]),
            Route("/api/check", self.check_upload, methods=["POST"]),
            Route(UPLOAD, self.upload, methods=["PUT"]),
        ]

    def greet(self, request: Request) -> Response:  # noqa: ARG002
        """Say who this is, to `dropscribe open`."""
        return JSONResponse({"dropscribe": __version__, "state": str(self._settings.state)})

    def issue_ticket(self, request: Request) -> Response:  # noqa: ARG002
        """Return what lets one browser in, once."""
        return JSONResponse({"ticket": self._access.issue_ticket()})

    async def ask(self, request: Request) -> Response:
        """Leave a request for the daemon. The body: `what`, and `id` where it is about a recording."""
        asked = await read_json(request)
        what = asked.get("what")
        if what not in _DONE:
            raise RefusedError(400, "Nothing that is known here was asked for.")
        await anyio.to_thread.run_sync(self._leave, what, asked.get("id"))
        return JSONResponse({"text": _DONE[what] + self._say_when()})

    def _leave(self, what: str, number: Any) -> None:
        state = self._settings.state
        if what == "pause":
            requests.pause(state)
            return
        if what == "resume":
            requests.resume(state)
            return
        recording = self._find(number)
        if recording.state not in _FITTING[what]:
            raise RefusedError(409, "That has changed meanwhile.", "Reload the page.")
        name = str(recording.name)
        wanted: requests.Request
        match what:
            case "skip":
                wanted = requests.Skip(name)
            case "redo":
                wanted = requests.Redo((name,), stale=False)
            case _:
                wanted = requests.Retry(name)
        requests.write_request(state, wanted)

    def _find(self, number: Any) -> Recording:
        with lookup.read_journal(self._settings) as journal:
            recording = listing.find_recording(journal, number) if isinstance(number, int) else None
        if recording is None:
            raise RefusedError(404, "There is no such recording any more.", "Reload the page.")
        return recording

    def _say_when(self) -> str:
        if locks.is_running(self._settings.state):
            return ""
        return " The daemon is not running: it does so when it starts (`dropscribe service start`)."

    async def check_upload(self, request: Request) -> Response:
        """Say which of some files would be refused, before they are sent. The body: `name`, `size`, `folder` of each.

        The answer: for each the reason, or null.
        """
        asked = await read_json(request)
        given = asked.get("files")
        if not isinstance(given, list):
            raise RefusedError(400, "No files were named.")
        return JSONResponse(await anyio.to_thread.run_sync(lambda: [self._explain(each) for each in given[:10_000]]))

    def _explain(self, given: Any) -> str | None:
        try:
            uploads.check_name(self._settings, str(given["name"]), str(given.get("folder") or ""))
            uploads.check_size(self._settings, self._settings.inbox, int(given["size"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return str(error) if isinstance(error, DropscribeError) else "It has no name or no size."
        except RefusedError as error:
            return str(error)
        return None

    async def upload(self, request: Request) -> Response:
        """Take a recording into the inbox: the body. In the address: `name`, `folder`, `modified`."""
        query, chosen = request.query_params, self._settings
        place = uploads.check_name(chosen, query.get("name", ""), query.get("folder", ""))
        announced = request.headers.get("content-length", "")
        if announced.isdigit():
            uploads.check_size(chosen, chosen.inbox, int(announced))
        received = await uploads.receive(chosen, chosen.inbox, request.stream())
        if announced and received.size != int(announced):
            received.path.unlink()
            raise RefusedError(400, "Not all of the file came.", "Send it again.")

        def take_in() -> str:
            try:
                uploads.check_content(received.path)
                return uploads.put_into_inbox(chosen, received, place, _read_time(query.get("modified", "")))
            finally:
                received.path.unlink(missing_ok=True)

        name = await anyio.to_thread.run_sync(take_in)
        return JSONResponse({"file": name, "text": f"{PurePath(name).name} is in the inbox."}, 201)


def _read_time(text: str) -> float | None:
    """Return a time in seconds from one in milliseconds, as browsers give it; None for none."""
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 16 else None


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body, which must be a JSON object sent as such: a form cannot send that. Raises: RefusedError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "JSON is expected.")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RefusedError(400, "This is no JSON.") from None
    if not isinstance(found, dict):
        raise RefusedError(400, "A JSON object is expected.")
    return found

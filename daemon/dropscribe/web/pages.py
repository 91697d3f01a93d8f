"""The pages that people see."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import anyio.to_thread
import jinja2
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dropscribe import settings
from dropscribe.errors import DropscribeError
from dropscribe.formats import page
from dropscribe.library.index import Filters
from dropscribe.web import inside, live, searching, transcripts
from dropscribe.web.listing import Library, Wanted

if TYPE_CHECKING:
    from starlette.requests import Request

    from dropscribe.settings import Loaded

HERE = Path(__file__).parent
DOCTOR_SECONDS = 400
"""The longest check loads a model."""
_KINDS = {".css": "text/css", ".js": "text/javascript"}
_SCRIPT = "\n".join(f'<script src="/static/{name}.js"></script>' for name in ("page", "app", "correct"))
_STYLE = '<link rel="stylesheet" href="/static/page.css">\n<link rel="stylesheet" href="/static/app.css">'


class Pages:
    """The pages of one library."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._search = searching.Search(loaded.settings)
        self._library = Library(loaded.settings, self._search)
        self._checking = anyio.Lock()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    def routes(self) -> list[Route]:
        """Return the addresses of the pages and of what they show."""
        return [
            Route("/", self.show_library),
            Route("/r/{number:int}", self.show_transcript),
            Route("/r/{number:int}/sound", self.send_sound),
            Route("/r/{number:int}/files/{suffix}", self.send_output),
            Route("/search", self.show_found),
            Route("/settings", self.show_settings),
            Route("/doctor", self.show_doctor),
            Route("/api/doctor", self.check, methods=["POST"]),
            Route("/events", self.follow),
            Route("/static/{name}", self.send_static),
        ]

    def _render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(**values), status)

    def show_library(self, request: Request) -> Response:
        """Show a page of the library."""
        query = request.query_params
        wanted = Wanted(
            text=query.get("q", "").strip(),
            folder=query.get("folder", ""),
            state=query.get("state", ""),
            speaker=query.get("speaker", ""),
            language=query.get("language", ""),
            page=_read_page(query.get("page", "1")),
        )
        found = self._library.read(wanted)

        def address(number: int) -> str:
            kept = {name: value for name, value in query.items() if name != "page" and value}
            return "/?" + urlencode(kept | ({"page": str(number)} if number > 1 else {}))

        return self._render(
            "library.html",
            here="/",
            wanted=wanted,
            found=found,
            address=address,
            news=live.read_news(self._settings),
            inbox=str(self._settings.inbox),
        )

    def show_found(self, request: Request) -> Response:
        """Show the sentences that are found."""
        query = request.query_params
        text, page = query.get("q", "").strip(), _read_page(query.get("page", "1"))
        filters = Filters(
            speaker=query.get("speaker", ""), since=query.get("since", "").strip(), language=query.get("language", "")
        )
        problem = ""
        try:
            result = self._search.search(text, filters, page)
        except DropscribeError as error:
            result, problem = searching.Result([], 0, [], []), str(error)

        def address(number: int) -> str:
            given = {name: value for name, value in query.items() if name != "page" and value}
            return "/search?" + urlencode(given | ({"page": str(number)} if number > 1 else {}))

        return self._render(
            "search.html",
            here="/search",
            text=text,
            filters=filters,
            result=result,
            problem=problem,
            page=page,
            first=(page - 1) * searching.PAGE + 1,
            pages=-(-result.count // searching.PAGE),
            address=address,
        )

    def show_transcript(self, request: Request) -> Response:
        """Show the transcript of a recording, with its sound."""
        number = request.path_params["number"]
        finished = transcripts.read_finished(self._settings, number)
        if finished is None:
            entry = self._library.find(number)
            return self._render("missing.html", 404, here="", entry=entry)
        top = self._templates.get_template("above.html").render(here="", finished=finished, quote=quote)
        served = page.Served(sound=f"/r/{number}/sound", top=top, style=_STYLE, script=_SCRIPT)
        return HTMLResponse(page.render_html(finished.transcript, served))

    def send_sound(self, request: Request) -> Response:
        """Send the recording, or a part of it."""
        try:
            file = transcripts.open_sound(self._settings, request.path_params["number"])
        except OSError:
            return Response(status_code=404)
        return inside.send_file(file, request.headers)

    def send_output(self, request: Request) -> Response:
        """Send one of the files in the outbox, to be saved."""
        try:
            file = transcripts.open_output(
                self._settings, request.path_params["number"], request.path_params["suffix"]
            )
        except OSError:
            return Response(status_code=404)
        return inside.send_file(file, request.headers, save_as=file.name)

    def show_settings(self, request: Request) -> Response:  # noqa: ARG002
        """Show the settings in force and where each comes from."""
        rows = [
            (
                key,
                settings.to_toml(getattr(self._loaded.settings, name)),
                self._loaded.origin[name],
                settings.FIELDS[name].metadata["text"].replace("\n", " "),
            )
            for key, name in settings.KEYS.items()
        ]
        return self._render("settings.html", here="/settings", rows=rows, path=str(settings.find_config_path()))

    def show_doctor(self, request: Request) -> Response:  # noqa: ARG002
        """Show the page from which the checks are started."""
        return self._render("doctor.html", here="/doctor")

    async def check(self, request: Request) -> Response:  # noqa: ARG002
        """Run the checks of `dropscribe doctor`, in a process of their own: one of them loads the model."""
        async with self._checking:
            found = await anyio.to_thread.run_sync(_run_doctor)
        return JSONResponse(found)

    async def follow(self, request: Request) -> Response:  # noqa: ARG002
        """Send what the daemon does as it changes."""
        return StreamingResponse(live.follow(self._settings), media_type="text/event-stream")

    def send_static(self, request: Request) -> Response:
        """Send a style or a script."""
        text = _read_static(request.path_params["name"])
        kind = _KINDS.get(Path(request.path_params["name"]).suffix, "")
        if text is None or not kind:
            return Response(status_code=404)
        return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})


def _read_page(text: str) -> int:
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _run_doctor() -> list[dict[str, str]]:
    command = [sys.executable, "-m", "dropscribe", "doctor", "--json"]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=DOCTOR_SECONDS, stdin=subprocess.DEVNULL
        )
        found: list[dict[str, str]] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        cure = "`dropscribe doctor` on a terminal shows how far it comes."
        return [{"name": "doctor", "verdict": "fail", "detail": "The checks gave no answer.", "cure": cure}]
    return found


@functools.cache
def _list_static() -> frozenset[str]:
    return frozenset(path.name for path in (HERE / "static").iterdir())


def _read_static(name: str) -> str | None:
    """Return the content of a static file; None for a name that is none of ours."""
    if name in {"page.css", "page.js"}:
        return page.read_resource(name)
    if name in _list_static():
        return (HERE / "static" / name).read_text("utf-8")
    return None

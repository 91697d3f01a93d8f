"""The application: every address, and what becomes of errors."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from dropscribe.errors import DropscribeError
from dropscribe.web import actions, corrections, door, pages, speech_api
from dropscribe.web.uploads import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from dropscribe.settings import Loaded


def build_app(loaded: Loaded, access: door.Access) -> ASGIApp:
    """Return the application of one library, with its door."""
    chosen = loaded.settings
    routes = [
        *pages.Pages(loaded).routes(),
        *actions.Actions(chosen, access).routes(),
        *corrections.Corrections(chosen).routes(),
        *speech_api.SpeechApi(chosen).routes(),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            RefusedError: _explain_refusal,
            DropscribeError: _explain_error,
            sqlite3.Error: _explain_journal,
            HTTPException: _explain_status,
            ClientDisconnect: _explain_nothing,
        },
    )
    return door.Door(app, access, frozenset({actions.UPLOAD}) | speech_api.PATHS)


def _explain_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # noqa: S101 (it is registered for it)
    if request.url.path.startswith("/v1/"):
        return JSONResponse(speech_api.describe_error(error), error.status, {"Connection": "close"})
    return _answer(request, error.status, str(error))


def _explain_error(request: Request, error: Exception) -> Response:
    return _answer(request, 503, str(error))


def _explain_journal(request: Request, error: Exception) -> Response:
    return _answer(request, 503, f"The journal cannot be read: {error}. `dropscribe doctor` looks closer.")


def _explain_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (it is registered for it)
    return _answer(request, error.status_code, error.detail)


def _explain_nothing(request: Request, error: Exception) -> Response:  # noqa: ARG001 (nobody is there to read it)
    return Response(status_code=499)


def _answer(request: Request, status: int, text: str) -> Response:
    # The rest of a body that is not read would be taken for the next request.
    headers = {"Connection": "close"} if request.method not in door.SAFE else {}
    if request.url.path.startswith("/v1/"):
        refused = RefusedError(status, text)
        return JSONResponse(speech_api.describe_error(refused), status, headers)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, status, headers)
    if request.method == "GET" and status == 404:
        return HTMLResponse('<!doctype html><html lang="en"><title>Not found</title><h1>Not found</h1>', status)
    return PlainTextResponse(text + "\n", status, headers)

"""The endpoint that other programs know: `/v1/audio/transcriptions` as OpenAI's, with what is on this machine.

What a program sends goes through the daemon's queue, before the others (`supervisor.guests`), and is forgotten when
it is answered. Parameters that mean nothing here are taken and have no effect; those that would be expected to have
one and have none are refused.

Source: OpenAI's API reference, and what its Python client sends and reads (openai 3.57).
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dropscribe import protocol, settings
from dropscribe.errors import UsageError
from dropscribe.formats import RENDERERS
from dropscribe.supervisor import guests, locks, lookup, requests
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Transcript
from dropscribe.web import door, transcripts, uploads
from dropscribe.web.uploads import RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from starlette.datastructures import FormData

    from dropscribe.settings import Settings

PATHS = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})
ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Names that programs have built in: the model that is set."""
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
LOOK_SECONDS = 0.05
"""Between two looks for an answer: the sound of one word takes longer."""
NEWS_SECONDS = 0.5
"""Between two looks at the journal, for what is transcribed already and for what keeps the daemon from working."""
MODEL_SECONDS = 60.0
"""How long the list of models is kept."""
_FIELD_BYTES = 1 << 16
"""Of a text field: no prompt is longer."""
_FIELDS = 60
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_TRUE = frozenset({"true", "1", "on", "yes"})
_OURS = frozenset({"model-missing", "model-damaged", "model-unusable", "engine-missing"})
"""Codes of failures for which the sound is not to blame."""


class ApiError(RefusedError):
    """An error in the form that OpenAI's clients read."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """`param` names the parameter that is wrong, `code` the kind of error."""
        super().__init__(status, message)
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a program asks for."""

    format: str
    words: bool
    segments: bool
    stream: bool
    keep: bool
    """Whether the recording and its outputs are to stay: it goes into the inbox like any other."""
    profile: dict[str, Any]
    """Settings for this recording alone."""


class SpeechApi:
    """The endpoint of one library."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._models: list[str] = []
        self._models_read = -MODEL_SECONDS
        self._reading = anyio.Lock()

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/v1/audio/transcriptions", self.transcribe, methods=["POST"]),
            Route("/v1/audio/translations", self.translate, methods=["POST"]),
            Route("/v1/models", self.list_models),
            Route("/v1/models/{name:path}", self.show_model),
        ]

    # Models

    async def list_models(self, request: Request) -> Response:  # noqa: ARG002
        """Return the models that may be asked for."""
        names = [*ALIASES[:1], *await self._read_models()]
        return JSONResponse({"object": "list", "data": [_describe_model(name) for name in dict.fromkeys(names)]})

    async def show_model(self, request: Request) -> Response:
        """Return one model."""
        name = request.path_params["name"]
        if name not in {*ALIASES, *await self._read_models()}:
            raise ApiError(404, f"The model {name} is not on this machine.", "model", "model_not_found")
        return JSONResponse(_describe_model(name))

    async def _read_models(self) -> list[str]:
        """Return the model that is set, and those on this machine."""
        async with self._reading:
            if time.monotonic() - self._models_read >= MODEL_SECONDS:
                self._models = await anyio.to_thread.run_sync(_list_models)
                self._models_read = time.monotonic()
        return [*([] if self._settings.model == "auto" else [self._settings.model]), *self._models]

    # Transcripts

    async def transcribe(self, request: Request) -> Response:
        """Answer with what is said."""
        return await self._answer(request, "transcribe")

    async def translate(self, request: Request) -> Response:
        """Answer with what is said, in English."""
        return await self._answer(request, "translate")

    async def _answer(self, request: Request, task: str) -> Response:
        self._check_daemon()
        most = uploads.most_bytes(self._settings)
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > most:
            raise ApiError(413, f"The file has more than {self._settings.max_gigabytes:g} GB.", "file")
        bounded = Request(request.scope, door.bound_body(request.receive, most + _FIELDS * _FIELD_BYTES))
        async with bounded.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES) as form:
            wanted = await self._read_wanted(form, task)
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise ApiError(400, "There is no file.", "file")
            if wanted.keep:
                waiting: _Guest | _Kept = await self._put_into_inbox(file, wanted)
            else:
                waiting = await self._invite(file, wanted)
        if wanted.stream:
            return StreamingResponse(self._stream(waiting), media_type="text/event-stream")
        try:
            made = await self._wait(request, waiting)
        finally:
            await waiting.leave()
        return _render(made, wanted, task)

    def _check_daemon(self) -> None:
        state = self._settings.state
        if not locks.is_running(state):
            why = "The daemon is not running. `dropscribe service start` starts it."
            raise ApiError(503, why, code="daemon_not_running")
        if requests.is_paused(state):
            raise ApiError(503, "The daemon is paused. `dropscribe resume` goes on.", code="daemon_paused")

    async def _read_wanted(self, form: FormData, task: str) -> Wanted:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        kind = fields.get("response_format") or "json"
        if kind not in FORMATS:
            raise ApiError(400, f"response_format is one of {', '.join(FORMATS)}.", "response_format")
        granularities = {
            value for name in ("timestamp_granularities[]", "timestamp_granularities") for value in form.getlist(name)
        }
        if granularities - {"word", "segment"}:
            raise ApiError(400, "timestamp_granularities are `word` and `segment`.", "timestamp_granularities[]")
        if granularities and kind != "verbose_json":
            raise ApiError(400, "timestamp_granularities need response_format verbose_json.", "response_format")
        return Wanted(
            format=kind,
            words="word" in granularities,
            segments="segment" in granularities or not granularities,
            stream=fields.get("stream", "").lower() in _TRUE and kind in {"json", "text"},
            keep=fields.get("dropscribe_keep", "").lower() in _TRUE,
            profile=await self._read_profile(fields, task),
        )

    async def _read_profile(self, fields: Mapping[str, str], task: str) -> dict[str, Any]:
        """Return the settings for one recording. Raises: ApiError."""
        profile: dict[str, Any] = {"priority": guests.PRIORITY, "task": task, "speakers": ()}
        if language := fields.get("language", "").strip().lower():
            if language not in settings.LANGUAGES:
                raise ApiError(400, f"language is a code such as en, de or ja, not {language[:50]}.", "language")
            profile["language"] = language
        if prompt := fields.get("prompt", "").strip():
            profile["prompt"] = prompt
        try:
            warmth = float(fields.get("temperature") or 0.0)
        except ValueError:
            warmth = -1.0
        if not 0.0 <= warmth <= 1.0:
            raise ApiError(400, "temperature is a number from 0 to 1.", "temperature")
        model = fields.get("model", "").strip()
        if model in {*ALIASES, "", self._settings.model}:
            self._check_language(profile)
            return profile
        known = await self._read_models()
        if model not in known:
            there = ", ".join(dict.fromkeys([ALIASES[0], *known]))
            why = f"The model {model[:100]} is not on this machine, and none is downloaded for a program. There are: "
            raise ApiError(404, f"{why}{there}.", "model", "model_not_found")
        profile["model"] = model
        self._check_language(profile)
        return profile

    def _check_language(self, profile: Mapping[str, Any]) -> None:
        """Raise ApiError when the model does not know the language, or cannot translate."""
        values = {name: value for name, value in profile.items() if name != "priority"}
        try:
            settings.check_language(dataclasses.replace(self._settings, **values))
        except UsageError as error:
            raise ApiError(400, str(error), "model") from None

    async def _invite(self, file: UploadFile, wanted: Wanted) -> _Guest:
        """Hand what was sent to the daemon. Raises: ApiError, RefusedError."""
        state, number = self._settings.state, secrets.token_hex(12)
        temporary = state / guests.FOLDER / f".{number}"
        temporary.mkdir(parents=True, mode=0o700)
        try:
            name = PurePath(file.filename or "audio").name
            suffix = PurePath(name).suffix
            suffix = suffix.lower() if _SUFFIX.fullmatch(suffix) else ""
            received = await uploads.receive(self._settings, temporary, _read(file))
            sound = f"sound{suffix}"
            received.path.rename(temporary / sound)
            profile = "".join(f"{key} = {settings.to_toml(value)}\n" for key, value in wanted.profile.items())
            guest = guests.Guest(sound, name if name.isprintable() else "audio", received.sha256)
            folder = guests.invite(state, number, temporary, guest, profile)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return _Guest(self._settings, folder)

    async def _put_into_inbox(self, file: UploadFile, wanted: Wanted) -> _Kept:
        """Put what was sent into the inbox, with what was asked for beside it. Raises: RefusedError."""
        chosen = self._settings
        place = uploads.check_name(chosen, PurePath(file.filename or "audio").name)
        received = await uploads.receive(chosen, chosen.inbox, _read(file))

        def take_in() -> str:
            name = uploads.put_into_inbox(chosen, received, place)
            profile = "".join(f"{key} = {settings.to_toml(value)}\n" for key, value in wanted.profile.items())
            (chosen.inbox / f"{name}.toml").write_text(profile, encoding="utf-8")
            return name

        return _Kept(chosen, await anyio.to_thread.run_sync(take_in), time.time())

    async def _wait(self, request: Request, waiting: _Guest | _Kept) -> Transcript:
        """Return the transcript when it is there. Raises: ApiError; ClientDisconnect when nobody waits any more."""
        looked = time.monotonic()
        while (found := await waiting.read()) is None:
            if time.monotonic() - looked > NEWS_SECONDS:
                looked = time.monotonic()
                if await request.is_disconnected():
                    raise ClientDisconnect
                await anyio.to_thread.run_sync(self._check_trouble)
            await anyio.sleep(LOOK_SECONDS)
        return found

    def _check_trouble(self) -> None:
        """Raise ApiError when the daemon cannot work at present."""
        self._check_daemon()
        with lookup.read_journal(self._settings) as journal:
            trouble = "" if journal is None else journal.get_meta("trouble")
        if trouble:
            raise ApiError(503, json.loads(trouble)["reason"], code="daemon_waits")

    async def _stream(self, waiting: _Guest | _Kept) -> AsyncIterator[str]:
        """Yield the text as it is transcribed, then the whole."""
        sent, looked = "", time.monotonic()
        try:
            while (found := await waiting.read()) is None:
                if time.monotonic() - looked > NEWS_SECONDS:
                    looked = time.monotonic()
                    await anyio.to_thread.run_sync(self._check_trouble)
                    text = await anyio.to_thread.run_sync(waiting.read_so_far)
                    if text.startswith(sent) and text != sent:
                        yield _event("transcript.text.delta", delta=text[len(sent) :])
                        sent = text
                await anyio.sleep(LOOK_SECONDS)
            text = found.text
            if not sent or (text.startswith(sent) and text != sent):
                for piece in _split(text[len(sent) :]):
                    yield _event("transcript.text.delta", delta=piece)
            yield _event("transcript.text.done", text=text, usage=_usage(found))
            yield "data: [DONE]\n\n"
        except RefusedError as error:
            yield f"data: {json.dumps(describe_error(error))}\n\n"
        finally:
            with anyio.CancelScope(shield=True):
                await waiting.leave()


class _Guest:
    """A recording of which nothing stays."""

    def __init__(self, chosen: Settings, folder: Path) -> None:
        self._settings = chosen
        self._folder = folder

    async def read(self) -> Transcript | None:
        """Return the transcript, None while there is none. Raises: ApiError."""
        if not (self._folder / guests.ANSWER).exists():
            return None
        answer = await anyio.to_thread.run_sync(guests.read_answer, self._folder)
        if answer is None:
            return None
        if answer.transcript is None:
            raise _refuse(answer.code, answer.reason)
        return Transcript.from_json(json.dumps(answer.transcript))

    def read_so_far(self) -> str:
        """Return what is transcribed already."""
        with lookup.read_journal(self._settings) as journal:
            found = None if journal is None else journal.recordings.find(guests.find_key(self._folder.name))
            if journal is None or found is None or found.result is None:
                return ""
            parts = journal.results.list_checkpoints(found.result)[1:]
        windows = [protocol.WindowDone.from_json(part) for part in parts]
        return " ".join(segment.text for window in windows for segment in window.segments)

    async def leave(self) -> None:
        """Take the folder away: the daemon gives up what it has not done."""
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(self._folder, ignore_errors=True))


class _Kept:
    """A recording that stays in the inbox, and its outputs in the outbox."""

    def __init__(self, chosen: Settings, name: str, since: float) -> None:
        self._settings = chosen
        self._name = name
        self._since = since
        self._looked = 0.0

    async def read(self) -> Transcript | None:
        """Return the transcript, None while there is none. Raises: ApiError."""
        if time.monotonic() - self._looked < NEWS_SECONDS:
            return None
        self._looked = time.monotonic()
        return await anyio.to_thread.run_sync(self._look)

    def _look(self) -> Transcript | None:
        with lookup.read_journal(self._settings) as journal:
            row = lookup.find_recording(self._settings, journal, self._settings.inbox / self._name)
        if row is None or row.changed < self._since:
            return None
        if row.state in {State.FAILED, State.WAITING, State.SKIPPED, State.GONE}:
            raise _refuse(row.code, row.reason or "It is not transcribed.")
        finished = transcripts.read_finished(self._settings, row.id)
        return None if finished is None else finished.transcript

    def read_so_far(self) -> str:
        """Return nothing: the whole comes at the end."""
        return ""

    async def leave(self) -> None:
        """Leave all as it is."""


def describe_error(error: RefusedError) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def _refuse(code: str, reason: str) -> ApiError:
    return ApiError(503 if code in _OURS else 400, reason, None if code in _OURS else "file", code or None)


async def _read(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(1 << 20):
        yield piece


def _render(made: Transcript, wanted: Wanted, task: str) -> Response:
    match wanted.format:
        case "text":
            return PlainTextResponse(made.text + "\n")
        case "srt" | "vtt":
            return PlainTextResponse(RENDERERS[wanted.format](made))
        case "verbose_json":
            return JSONResponse(_describe_transcript(made, wanted, task))
    plain = {"text": made.text, "model": made.engine.model, "language": made.language, "usage": _usage(made)}
    return JSONResponse(plain)


def _usage(made: Transcript) -> dict[str, Any]:
    seconds = round(made.duration)  # Mistral's client reads the other name
    return {"type": "duration", "seconds": seconds, "prompt_audio_seconds": seconds}


def _describe_transcript(made: Transcript, wanted: Wanted, task: str) -> dict[str, Any]:
    """Return the form `verbose_json`. The language is a code, as it is everywhere here."""
    found: dict[str, Any] = {
        "task": task,
        "language": made.language,
        "duration": made.duration,
        "text": made.text,
        "usage": _usage(made),
    }
    if wanted.segments:
        found["segments"] = [
            {
                "id": segment.id,
                "seek": round(segment.start * 100),
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "tokens": [],
                "temperature": segment.temperature or 0.0,
                "avg_logprob": segment.avg_logprob or 0.0,
                "compression_ratio": segment.compression_ratio or 0.0,
                "no_speech_prob": segment.no_speech_prob or 0.0,
            }
            for segment in made.segments
        ]
    if wanted.words:
        found["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for segment in made.segments
            for word in segment.words
        ]
    return found


def _split(text: str) -> list[str]:
    """Return a text in the pieces in which it is sent: words with the space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def _event(kind: str, **facts: Any) -> str:
    return f"data: {json.dumps({'type': kind, **facts}, ensure_ascii=False)}\n\n"


def _describe_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "dropscribe"}


def _list_models() -> list[str]:
    """Return the models on this machine, of the process that lists them: it needs large libraries."""
    command = [sys.executable, "-m", "dropscribe", "models", "list", "--json"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        rows = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError, OSError):
        return []
    return [row["name"] for row in rows if row.get("path") and row.get("name") != "speakers"]

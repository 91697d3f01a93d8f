"""What a person corrects on the page of a transcript: made into edits, and left for the daemon."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dropscribe.errors import DropscribeError, UsageError
from dropscribe.formats.page import list_paragraphs
from dropscribe.library import corrections
from dropscribe.supervisor import locks, requests
from dropscribe.supervisor.correcting import make_correction
from dropscribe.transcript import Segment
from dropscribe.web import transcripts
from dropscribe.web.actions import read_json
from dropscribe.web.uploads import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from dropscribe.settings import Settings
    from dropscribe.transcript import Edit, Transcript
    from dropscribe.web.transcripts import Finished

OFFERED_WORDS = 4
"""A correction of more words is one of a sentence, not of a spelling."""
_MOST_EDITS = 1000
_LATER = " The daemon is not running: it does so when it starts (`dropscribe service start`)."


class Corrections:
    """The corrections of one library."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/api/correct", self.correct, methods=["POST"]),
            Route("/api/undo", self.undo, methods=["POST"]),
            Route("/api/always", self.write_always, methods=["POST"]),
            Route("/api/version/{number:int}", self.show_version),
        ]

    async def correct(self, request: Request) -> Response:
        """Save edits. The body: `id`, `version` of the page they were made on, `edits`.

        An edit has a `kind`: `words` (`paragraph`, `text`), `name` (`old`, `new`), `turn` (`paragraph`, `speaker`) or
        `accept` (`start`, `end`). The answer has the spellings that may be wanted everywhere.
        """
        asked = await read_json(request)
        return JSONResponse(await anyio.to_thread.run_sync(self._save, asked))

    def _save(self, asked: dict[str, Any]) -> dict[str, Any]:
        finished = self._find(asked)
        given = asked.get("edits")
        if not isinstance(given, list) or len(given) > _MOST_EDITS or not all(isinstance(e, dict) for e in given):
            raise RefusedError(400, "No edits were sent.")
        if any("paragraph" in edit for edit in given) and asked.get("version") != finished.version:
            raise RefusedError(
                409, "The transcript has changed meanwhile.", "Reload the page, then correct it again."
            )
        try:
            edits = [edit for each in given for edit in _read_edits(finished.transcript, each)]
        except UsageError as error:
            raise RefusedError(400, error.message, error.cure) from None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise RefusedError(400, "An edit lacks something, or names what is not there.") from None
        if not edits:
            return {"text": "Nothing was changed.", "saved": False, "offers": []}
        self._leave(requests.Correct(str(finished.name), make_correction(edits)))
        offers = [[edit.before, edit.after] for edit in edits if _is_spelling(edit)]
        return {"text": "Saved." + self._say_when(), "saved": True, "offers": offers}

    async def undo(self, request: Request) -> Response:
        """Take the last correction back. The body: `id`."""
        asked = await read_json(request)

        def leave() -> None:
            finished = self._find(asked)
            if not finished.corrections:
                raise RefusedError(409, "There is nothing to take back.")
            self._leave(requests.Undo(str(finished.name)))

        await anyio.to_thread.run_sync(leave)
        return JSONResponse({"text": "The last correction is taken back." + self._say_when()})

    async def write_always(self, request: Request) -> Response:
        """Let other recordings of the folder be written so, too. The body: `id`, `pairs`: wrong and right."""
        asked = await read_json(request)

        def write() -> int:
            folder = self._find(asked).name.parent
            pairs = asked.get("pairs")
            if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
                raise RefusedError(400, "No spellings were sent.")
            place = self._settings.inbox
            for part in folder.parts:
                place /= part
                if place.is_symlink() or not place.is_dir():
                    raise RefusedError(409, f"The folder {folder} is not in the inbox any more.")
            from dropscribe.library import spellings

            try:
                for wrong, right in pairs:
                    spellings.write_always(place, wrong, right)
            except DropscribeError as error:
                raise RefusedError(409, error.message, error.cure) from None
            return len(pairs)

        count = await anyio.to_thread.run_sync(write)
        what = "The spelling is" if count == 1 else f"{count} spellings are"
        return JSONResponse({"text": f"{what} used for this folder from now on."})

    async def show_version(self, request: Request) -> Response:
        """Return the version of what is published at present; empty while it is being written."""
        number = request.path_params["number"]
        found = await anyio.to_thread.run_sync(transcripts.read_finished, self._settings, number)
        return JSONResponse(
            {"version": "", "state": ""}
            if found is None
            else {"version": found.version, "state": found.corrections_state}
        )

    def _find(self, asked: dict[str, Any]) -> Finished:
        number = asked.get("id")
        found = transcripts.read_finished(self._settings, number) if isinstance(number, int) else None
        if found is None:
            raise RefusedError(409, "It has no transcript at present.", "Reload the page in a moment.")
        return found

    def _leave(self, wanted: requests.Request) -> None:
        requests.write_request(self._settings.state, wanted)

    def _say_when(self) -> str:
        return "" if locks.is_running(self._settings.state) else _LATER


def _read_edits(transcript: Transcript, given: dict[str, Any]) -> tuple[Edit, ...]:
    """Return what one edit of the page means. Raises: UsageError, KeyError, TypeError, ValueError, IndexError."""
    match given["kind"]:
        case "words":
            return _edit_paragraph(transcript, _read_number(given["paragraph"]), _read_text(given["text"]))
        case "name":
            return (corrections.rename_speaker(transcript, _read_text(given["old"]), _read_text(given["new"])),)
        case "turn":
            words = list_paragraphs(transcript)[_read_number(given["paragraph"])]
            end = max(word.end for word in words)
            return (corrections.move_time(transcript, words[0].start, end, _read_text(given["speaker"])),)
        case "accept":
            return (corrections.accept_passage(transcript, float(given["start"]), float(given["end"])),)
    raise ValueError(given["kind"])


def _edit_paragraph(transcript: Transcript, number: int, text: str) -> tuple[Edit, ...]:
    """Return the edits that give a paragraph of the page another text."""
    words = list_paragraphs(transcript)[number]
    spoken = Segment(0, words[0].start, words[-1].end, "".join(w.word for w in words), tuple(words))
    alone = dataclasses.replace(transcript, segments=(spoken,), speakers=None)
    return corrections.edit_words(alone, 0, text)


def _is_spelling(edit: Edit) -> bool:
    """Return whether an edit may be one of a word that is often written wrong."""
    if edit.kind != corrections.WORDS or not edit.before or not edit.after:
        return False
    return max(len(edit.before.split()), len(edit.after.split())) <= OFFERED_WORDS


def _is_pair(given: object) -> bool:
    return isinstance(given, list) and len(given) == 2 and all(isinstance(each, str) and each for each in given)


def _read_number(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise ValueError(given)
    return given


def _read_text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(given)
    given.encode()  # half a surrogate is no text
    return given

"""What settings must fit together with each other."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dropscribe.errors import UsageError
from dropscribe.settings.fields import LANGUAGES
from dropscribe.settings.language_names import suggest_language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.settings.fields import Settings


def check_language(settings: Settings) -> None:
    """Refuse what Whisper would refuse an hour later, or worse, would do wrongly.

    Raises:
        UsageError: Language, model and task do not go together.
    """
    language, english = settings.language, settings.model.endswith(".en")
    if language != "auto" and language not in LANGUAGES:
        msg = f"Whisper knows no language `{language}`."
        meant = suggest_language(language)
        did_you_mean = f"Did you mean `{meant}`? " if meant else ""
        raise UsageError(msg, f"{did_you_mean}Write an ISO code such as en, de or ja, or auto.")
    others = language not in {"auto", "en"} or (settings.languages and "en" not in settings.languages)
    if english and (others or settings.task == "translate"):
        msg = f"The model {settings.model} knows English only."
        raise UsageError(msg, f"Take the model {settings.model.removesuffix('.en')} for other languages.")


def check_languages(language: str, languages: Sequence[str]) -> None:
    """Refuse a language that is none of those which can occur, where one place says both.

    Raises:
        UsageError: It is none of them.
    """
    if language != "auto" and languages and language not in languages:
        msg = f"`language` is `{language}`, which is none of `languages`: {', '.join(languages)}."
        raise UsageError(msg, "Add it to them, or remove one of the two: `languages` is for `language = auto`.")


def check_formats(settings: Settings) -> None:
    """Refuse a format whose library is not installed. Raises: UsageError."""
    check_libraries(settings.formats)


def check_libraries(formats: Sequence[str]) -> None:
    """Refuse a format whose library is not installed.

    Raises:
        UsageError: Says how it is installed.
    """
    if "docx" in formats and find_spec("docx") is None:
        msg = "The format docx needs python-docx, which is not installed."
        raise UsageError(msg, "Install Dropscribe with the extra `docx`, as in `pip install '.[docx]'`.")


def check_webhook(settings: Settings) -> None:
    """Refuse an address that cannot be used.

    Raises:
        UsageError: It cannot. The message does not show it, for it may hold a secret.
    """
    try:
        address = urlsplit(settings.webhook)
        is_fine = not settings.webhook or (
            address.scheme in {"https", "http"}
            and address.hostname
            and address.port != 0
            and address.username is None
            and re.fullmatch("[!-~]+", settings.webhook)
        )
    except ValueError:
        is_fine = False
    if not is_fine:
        raise UsageError(
            "`webhook` is no address that can be used.",
            "Write https://example.org/dropscribe, without a name and password before the server's, "
            "spaces as %20, other letters percent-encoded too.",
        )


def check_folders(settings: Settings) -> None:
    """Refuse folders inside each other where the daemon would take its own files for recordings.

    Raises:
        UsageError: Names the two folders.
    """
    inbox, outbox, state = (Path(os.path.realpath(p)) for p in (settings.inbox, settings.outbox, settings.state))
    if inbox == outbox:
        msg = f"`inbox` and `outbox` are the same folder: {settings.inbox}."
        raise UsageError(msg, "Transcripts need a folder of their own.")
    if inbox.is_relative_to(outbox):
        msg = f"The inbox {settings.inbox} is inside the outbox {settings.outbox}."
        raise UsageError(msg, "Put it next to the outbox, or the outbox inside the inbox.")
    if state.is_relative_to(inbox) or state.is_relative_to(outbox):
        msg = f"`state` ({settings.state}) is inside the inbox or the outbox."
        raise UsageError(msg, "Give it a folder of its own.")
    archive = Path(os.path.realpath(settings.archive))
    if settings.after == "archive" and (archive.is_relative_to(inbox) or inbox.is_relative_to(archive)):
        msg = f"`archive` ({settings.archive}) and the inbox {settings.inbox} lie one inside the other."
        raise UsageError(msg, "Give the archive a folder of its own: what is in the inbox is transcribed.")

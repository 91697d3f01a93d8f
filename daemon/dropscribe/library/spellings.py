"""“Always write it so”: a spelling added to the profile of a folder.

Guarantees: everything else in the profile stays as it is, comments and order too; a profile that cannot be read is
left alone; the file is there whole or not at all.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.exceptions import TOMLKitError

from dropscribe import files
from dropscribe.errors import DropscribeError, UsageError
from dropscribe.formats.utterances import clean_text

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = "dropscribe.toml"
"""Name of a folder's profile (`supervisor.recording_names.PROFILE`)."""


def write_always(folder: Path, wrong: str, right: str) -> None:
    """Let recordings of a folder of the inbox, and below it, have a spelling replaced by another one.

    Raises: UsageError when one of them is empty or both are the same; DropscribeError when the profile cannot be read
        or written.
    """
    old, new = clean_text(wrong), clean_text(right)
    if not old or not new or old == new:
        raise UsageError("A spelling is replaced by another one.", "Give both; neither may be empty.")
    with _editing(folder) as profile:
        table = profile.setdefault("replacements", tomlkit.table())
        table[old] = new


def add_term(folder: Path, term: str) -> None:
    """Let the model know a term when it transcribes recordings of a folder of the inbox, and below it.

    Raises: as `write_always`.
    """
    new = clean_text(term)
    if not new:
        raise UsageError("There is no term.")
    with _editing(folder) as profile:
        terms = profile.get("glossary")
        if terms is None:
            _put_before_tables(profile, "glossary", [new])
        elif isinstance(terms, str):
            profile["glossary"] = [*(part.strip() for part in terms.split(",") if part.strip()), new]
        elif new not in terms:
            terms.append(new)


def _put_before_tables(profile: tomlkit.TOMLDocument, key: str, value: list[str]) -> None:
    """Add a key of the document itself: behind the head of a table it would belong to that."""
    tables = {name: profile[name] for name in list(profile) if isinstance(profile[name], dict)}
    if not tables:
        profile[key] = value
        return
    text = tomlkit.dumps({key: value}) + tomlkit.dumps(profile)
    profile.clear()
    profile.update(tomlkit.parse(text))


class _Editing(contextlib.AbstractContextManager[tomlkit.TOMLDocument]):
    """A profile that is read, changed and written again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROFILE
        self._profile = tomlkit.document()

    def __enter__(self) -> tomlkit.TOMLDocument:
        try:
            self._profile = tomlkit.parse(self._path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DropscribeError(f"{self._path} cannot be read: {error.strerror}.") from None
        except (ValueError, TOMLKitError) as error:
            raise DropscribeError(f"{self._path} is not valid TOML: {error}.", "Correct it first.") from None
        return self._profile

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        try:
            files.write_atomically(self._path, tomlkit.dumps(self._profile).encode())
        except OSError as error:
            raise DropscribeError(f"{self._path} cannot be written: {error.strerror}.") from None


def _editing(folder: Path) -> _Editing:
    return _Editing(folder)

"""Making a new journal from the outbox, when the old one is damaged or gone.

Guarantees: a damaged journal is set aside, never erased; every transcript whose JSON is in the
outbox is known again, so that its recording is not transcribed a second time; an output that a
person edited stays a person's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash, formats
from dropscribe.settings import FORMATS
from dropscribe.supervisor import names, outbox, result_options, together
from dropscribe.supervisor.correcting import ORIGINAL
from dropscribe.supervisor.journal import AdoptedSet, Journal
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.transcript import Correction


def open_journal(path: Path, folder: Path, inbox: Inbox) -> Journal:
    """Return the journal at `path`; one that is damaged is set aside, and a new one learns from
    the outbox `folder`.

    Raises: sqlite3.OperationalError when the disk refuses; JournalError when it is of a newer
    program.
    """
    log = structlog.get_logger()
    journal = None
    try:
        journal = Journal(path)
        journal.check_integrity()
        fresh = not journal.get_meta("adopted")
    except sqlite3.DatabaseError as error:
        # The plain code stands for what is wrong with the file (no such table), not with the disk.
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        if journal is not None:
            journal.close()
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        path.rename(aside)
        # What SQLite would roll back belongs to the damaged file and must not be applied to the
        # new one.
        rollback = path.with_name(path.name + "-journal")
        if rollback.exists():
            rollback.rename(aside.with_name(aside.name + "-journal"))
        log.warning("journal.damaged", reason=str(error), kept_as=str(aside))
        journal, fresh = Journal(path), True
    if fresh:
        if found := sum(1 for _ in _adopt_all(journal, folder, inbox)):
            log.warning("journal.rebuilt", recordings=found, outbox=str(folder))
        if folder.is_dir():
            journal.set_meta(adopted=str(time.time()))  # only now: killed before this, it begins again
    return journal


def _adopt_all(journal: Journal, folder: Path, inbox: Inbox) -> Iterator[str]:
    """Enter every transcript of ours in the outbox into the journal; yield each that it did not
    know.
    """
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files, key=lambda n: (len(n), n)):
            path = Path(parent, name)
            if path.suffix != ".json" or name.startswith(outbox.TEMPORARY):
                continue
            if not path.is_file():  # reading a pipe would never end
                continue
            try:
                known = _adopt_one(journal, folder, path, inbox)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
                continue  # somebody else's JSON
            if known:
                crash.reach("adopted")
                yield str(path)


def _adopt_one(journal: Journal, folder: Path, path: Path, inbox: Inbox) -> bool:
    text = path.read_text(encoding="utf-8")
    transcript = Transcript.from_json(text)
    relative = PurePath(transcript.source.path)
    if transcript.engine.options.get("together") == together.JOINED:
        return False  # of a folder: made again from its recordings
    if relative.is_absolute() or ".." in relative.parts:
        return False  # made by `dropscribe transcribe`
    place = path.relative_to(folder)
    if place.parts[:1] == (names.OLD,) != relative.parts[:1]:
        return False  # an older version
    base = str(place.with_suffix(""))
    if base.removesuffix(f".{ORIGINAL.removesuffix('.json')}") in names.list_bases(relative):
        base = base.removesuffix(
            f".{ORIGINAL.removesuffix('.json')}"
        )  # only the transcript without corrections is left
    text, corrections = _separate_corrections(text, transcript, path.with_suffix(f".{ORIGINAL}"))
    found = AdoptedSet(
        key=inbox.key(relative),
        path=relative,
        size=transcript.source.bytes,
        sha256=transcript.source.sha256,
        fingerprint=result_options.fingerprint(transcript.engine.options),
        transcript=text,
        base=base,
        published=_list_unedited(transcript, folder, base),
        settings=json.dumps(transcript.engine.options),
        corrections=corrections,
    )
    return journal.adopt(found, time.time())


def _separate_corrections(text: str, corrected: Transcript, original: Path) -> tuple[str, tuple[Correction, ...]]:
    """Return a transcript as it was before it was corrected, and its corrections.

    Where the original is not next to it any more, it stays as it is, with its corrections in it.
    """
    if not corrected.corrections:
        return text, ()
    try:
        found = original.read_text(encoding="utf-8")
        before = Transcript.from_json(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return text, ()
    if before.source.sha256 != corrected.source.sha256 or before.corrections:
        return text, ()
    return found, corrected.corrections


def _list_unedited(transcript: Transcript, folder: Path, base: str) -> list[outbox.Published]:
    """Return the files of a set that are as we would write them: those a person edited are not
    ours any more.
    """
    found = []
    for name in FORMATS:
        path = folder / f"{base}.{name}"
        if not path.is_file():
            continue
        with contextlib.suppress(ImportError):  # its library is gone: then it may be anybody's
            digest = hashlib.sha256(formats.render(name, transcript)).hexdigest()
            if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                found.append(outbox.Published(f"{base}.{name}", digest))
    return found

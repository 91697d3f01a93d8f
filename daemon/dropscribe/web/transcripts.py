"""The transcript of one recording, and where its sound and its outputs are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.supervisor import lookup
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Transcript
from dropscribe.web import inside, listing

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording


@dataclass(frozen=True, slots=True)
class Output:
    """A file in the outbox."""

    path: str
    """Relative to the outbox."""
    suffix: str
    """What is behind the name that all outputs of the recording have: `txt`, `times.txt`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished recording."""

    id: int
    file: str
    """Path relative to the inbox."""
    transcript: Transcript
    outputs: tuple[Output, ...]
    version: str = ""
    """Stands for what is shown: a correction of something else is refused."""


def read_finished(settings: Settings, number: int) -> Finished | None:
    """Return a finished recording with its transcript as it is in the outbox, else as the journal has it.

    None where there is none, or it is not done.
    """
    with lookup.read_journal(settings) as journal:
        recording = listing.find_recording(journal, number)
        if journal is None or recording is None or recording.state != State.DONE:
            return None
        outputs = _list_outputs(journal, recording)
        transcript = _read_output(settings, outputs) or _read_stored(journal, recording)
        if transcript is None:
            return None
        return Finished(recording.id, lookup.format_name(recording), transcript, outputs)


def open_sound(settings: Settings, number: int) -> inside.OpenFile:
    """Open the recording itself, where it is now. Raises: OSError when it is nowhere."""
    with lookup.read_journal(settings) as journal:
        recording = listing.find_recording(journal, number)
        if journal is None or recording is None:
            raise FileNotFoundError(number)
        archived = journal.sources.find_archived(recording.id)
    if archived is not None:
        return inside.open_below([settings.archive, settings.inbox], archived)
    return inside.open_inside(settings.inbox, recording.name)


def open_output(settings: Settings, number: int, suffix: str) -> inside.OpenFile:
    """Open one of the outputs. Raises: OSError when there is none."""
    with lookup.read_journal(settings) as journal:
        recording = listing.find_recording(journal, number)
        found = () if journal is None or recording is None else _list_outputs(journal, recording)
    for output in found:
        if output.suffix == suffix:
            return inside.open_inside(settings.outbox, PurePath(output.path))
    raise FileNotFoundError(suffix)


def _list_outputs(journal: Journal, recording: Recording) -> tuple[Output, ...]:
    base = recording.base or ""
    paths = [path for path in journal.outputs.list_digests(recording.id) if path.startswith(base + ".")]
    found = [Output(path, path.removeprefix(base + ".")) for path in paths]
    return tuple(sorted(found, key=lambda output: output.suffix))


def _read_output(settings: Settings, outputs: tuple[Output, ...]) -> Transcript | None:
    """Return what is in the outbox; None where a person has made something else of it, or it is gone."""
    for output in outputs:
        if output.suffix != "json":
            continue
        try:
            file = inside.open_inside(settings.outbox, PurePath(output.path))
            with os.fdopen(file.descriptor, "rb") as opened:
                return Transcript.from_json(opened.read())
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError):
            return None
    return None


def _read_stored(journal: Journal, recording: Recording) -> Transcript | None:
    stored = None if recording.result is None else journal.results.find(recording.result)
    return None if stored is None else Transcript.from_json(stored)


def find_number(settings: Settings, path: Path) -> int | None:
    """Return the number of a recording by its path, or None."""
    with lookup.read_journal(settings) as journal:
        found = lookup.find_recording(settings, journal, path)
        return None if found is None else found.id

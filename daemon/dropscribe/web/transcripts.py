"""The transcript of one recording, and where its sound and its outputs are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.supervisor import correcting, lookup
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Transcript, to_dict
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
    name: PurePath
    """Path relative to the inbox."""
    transcript: Transcript
    outputs: tuple[Output, ...]

    @property
    def version(self) -> str:
        """Return what stands for the words and who says them: a correction of another version is refused."""
        made = [to_dict(segment) for segment in self.transcript.segments]
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]

    @property
    def corrections_state(self) -> str:
        """Return what changes with every correction, and when one is taken back."""
        return f"{len(self.transcript.corrections or ())}-{self.corrections}"

    @property
    def corrections(self) -> int:
        """Return how many corrections hold."""
        return sum(correction.undone is None for correction in self.transcript.corrections or ())


def read_finished(settings: Settings, number: int) -> Finished | None:
    """Return a finished recording with its transcript as it is published; None where there is none, or none yet."""
    with lookup.read_journal(settings) as journal:
        recording = listing.find_recording(journal, number)
        if journal is None or recording is None or recording.state != State.DONE:
            return None
        outputs = _list_outputs(journal, recording)
        transcript = correcting.read_transcript(journal, recording, settings)
        if transcript is None:
            transcript = _read_output(settings, outputs)
        return None if transcript is None else Finished(recording.id, recording.name, transcript, outputs)


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
    """Return what is in the outbox: of a recording whose transcript the journal has lost."""
    for output in outputs:
        if output.suffix == "json":
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                file = inside.open_inside(settings.outbox, PurePath(output.path))
                with os.fdopen(file.descriptor, "rb") as opened:
                    return Transcript.from_json(opened.read())
    return None


def find_number(settings: Settings, path: Path) -> int | None:
    """Return the number of a recording by its path, or None."""
    with lookup.read_journal(settings) as journal:
        found = lookup.find_recording(settings, journal, path)
        return None if found is None else found.id

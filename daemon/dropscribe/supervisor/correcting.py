"""A stored transcript as it is published, with what people corrected in it.

Guarantees: what the engine gave is never changed; corrections are made on top of it each time it is published, so
that they outlive new settings and, where they fit, a new transcription.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING

from dropscribe.supervisor import result_options
from dropscribe.supervisor.assembly import finish_transcript
from dropscribe.supervisor.names import decode_name
from dropscribe.transcript import Correction, Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.library.corrections import Corrected
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording
    from dropscribe.transcript import Edit

CORRECTED = "corrected"
"""Code of a recording that is published again because a person corrected it: outputs that were edited by hand stay as
they are, and get no newer version beside them."""
ORIGINAL = "original.json"
"""Suffix of the transcript without corrections, next to the one with them."""


def finish_recording(recording: Recording, stored: str, settings: Settings) -> Transcript:
    """Return a stored transcript, given as JSON, as it is published under the name of a recording, uncorrected.

    It may have been made from the same recording under another name.

    Args:
        recording: the recording.
        stored: its result.
        settings: those in general; the recording's own are saved with it.
    """
    in_force = result_options.restore_options(recording.settings, settings)
    transcript = Transcript.from_json(stored)
    name, path = decode_name(recording.name.name), decode_name(recording.name)
    transcript = dataclasses.replace(transcript, source=dataclasses.replace(transcript.source, name=name, path=path))
    now = datetime.now().astimezone()
    return finish_transcript(transcript, recording.name, recording.mtime_ns, in_force, now)


def correct_recording(journal: Journal, recording: Recording, finished: Transcript) -> Corrected | None:
    """Return a transcript that `finish_recording` gave after the corrections of its recording; None without any."""
    made = journal.corrections.list_for(recording)
    if not made:
        return None  # a daemon whose transcripts nobody corrects does not carry what that needs
    from dropscribe.library.corrections import correct

    return correct(finished, made)


def read_transcript(journal: Journal, recording: Recording, settings: Settings) -> Transcript | None:
    """Return the transcript of a recording as it is published at present; None where there is none."""
    stored = None if recording.result is None else journal.results.find(recording.result)
    if stored is None:
        return None
    finished = finish_recording(recording, stored, settings)
    corrected = correct_recording(journal, recording, finished)
    return finished if corrected is None else corrected.transcript


def make_correction(edits: Sequence[Edit], by: str = "") -> Correction:
    """Return edits as a correction that is made now, by whoever runs this process unless somebody is named."""
    return Correction(
        datetime.now().astimezone().isoformat(timespec="milliseconds"), by or find_account(), tuple(edits)
    )


def find_account() -> str:
    """Return the name of the account that runs this process."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, in a container
        return "unknown"

"""The names that a person gave to the speakers of a recording.

Guarantees: they belong to the content of the recording and are kept apart from its results, so that they are on
whichever result is published: after `redo`, after an update, with other settings. Whose name it is, is told by when
this speaker spoke.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from dropscribe.formats import speakers
from dropscribe.formats.speakers import GivenName
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.supervisor.journal import Journal, Recording


def recall_names(journal: Journal, recording: Recording, transcript: Transcript) -> Transcript:
    """Return a stored transcript of a recording with the names that a person gave."""
    return speakers.recall_names(transcript, _find_names(journal, recording))[0]


def give_names(journal: Journal, recording: Recording, names: dict[str, str]) -> bool:
    """Keep other names for the speakers of a recording, by those they have now; return whether it is finished."""
    stored = journal.results.find(recording.result or "")
    if stored is None:
        return False
    transcript = Transcript.from_json(stored)
    shown, unused = speakers.recall_names(transcript, _find_names(journal, recording))
    renamed = speakers.rename_speakers(shown, names)
    stretches = speakers.list_stretches(transcript)
    now = list(speakers.list_stretches(renamed))
    given = [GivenName(new, tuple(stretches[old])) for old, new in zip(stretches, now, strict=False) if old != new]
    _store_names(journal, recording, (*unused, *given))
    return True


def _key(recording: Recording) -> str:
    """Return the key among the results, of which none can have it."""
    return f"{(recording.result or '').partition(':')[0]}:names"


def _find_names(journal: Journal, recording: Recording) -> tuple[GivenName, ...]:
    rows = json.loads(journal.results.find(_key(recording)) or "[]")
    return tuple(GivenName(name, tuple((start, end) for start, end in turns)) for name, turns in rows)


def _store_names(journal: Journal, recording: Recording, given: Sequence[GivenName]) -> None:
    rows = [[each.name, each.turns] for each in given]
    journal.results.store(_key(recording), json.dumps(rows), time.time())

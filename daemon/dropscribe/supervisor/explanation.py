"""Why a file is where it is: one sentence about any path, for `dropscribe why`.

Guarantees: every path has an answer, whether it is outside the inbox, was never seen, or is in the journal in any
state; reads only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.supervisor import locks, lookup, requests
from dropscribe.supervisor.first_bytes import is_recording
from dropscribe.supervisor.journal import DisposalWay, LeavingState, State
from dropscribe.supervisor.readiness import CODES as HOLDS
from dropscribe.supervisor.recording_names import choose_suffixes, explain_refusal, find_suffix

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Hook, Journal, Leaving, Recording

_DISPOSED = {
    DisposalWay.ARCHIVE: "archived",
    DisposalWay.TRASH: "put into the trash",
    DisposalWay.DELETE: "deleted",
}
"""What becomes of a source, as a participle."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer about one path."""

    state: str
    """A `journal.State`; of a path without a recording `outside`, `ignored`, `unknown`, `unseen` or `settling`."""
    reason: str
    """One sentence or more, for a person."""


def explain(settings: Settings, path: Path) -> Explanation:
    """Return the state of any path and why it is so.

    Raises: DropscribeError when the journal cannot be opened; sqlite3.Error when it cannot be read.
    """
    with lookup.read_journal(settings) as journal:
        settings = lookup.adopt_folders(settings, journal)
    relative = lookup.locate_in_inbox(settings, path)
    if relative is None and not path.exists() and not path.is_absolute():
        relative = str(path)  # a name as `status` shows it
    if relative is None and (link := _find_link(settings, path)) is not None:
        why = f"It is behind {link}, which is a symbolic link: links are not followed. Put the recordings here."
        return Explanation("ignored", why)
    if relative is None:
        return Explanation("outside", f"It does not lie in the inbox {settings.inbox}.")
    with lookup.read_journal(settings) as journal:
        recording = journal.recordings.find(lookup.open_inbox(settings).key(relative)) if journal else None
        if journal is None or recording is None:
            return _explain_file(settings, relative)
        return Explanation(str(recording.state), _explain_recording(settings, journal, recording))


def _find_link(settings: Settings, path: Path) -> Path | None:
    """Return the folder on the way from the inbox to a path that is a link and leads out, or None."""
    inbox = Path(os.path.realpath(settings.inbox))
    place = path.absolute()
    for folder in reversed(place.parents):
        # The inbox itself may be reached by links.
        if Path(os.path.realpath(folder)) == inbox:
            way = place.relative_to(folder).parts[:-1]
            steps = (folder.joinpath(*way[:count]) for count in range(1, len(way) + 1))
            return next((step for step in steps if step.is_symlink()), None)
    return None


def describe_disposal(leaving: Leaving) -> str:
    """Return what happened to a source that has left the inbox, as a participle: `archived as …`, `deleted`."""
    if leaving.way is DisposalWay.ARCHIVE:
        return f"archived as {leaving.place}"
    return _DISPOSED[leaving.way]


def _explain_file(settings: Settings, relative: str) -> Explanation:
    """Explain a path in the inbox of which the journal knows nothing."""
    path = settings.inbox / relative
    if path.is_symlink():
        why = "It is a symbolic link: links are not followed; put the recording itself here."
        return Explanation("ignored", why)
    if not path.exists():
        return Explanation("unknown", "There is no such file in the inbox, and none was seen under this name.")
    if not path.is_file():
        return Explanation("ignored", "It is not a regular file.")
    if (refused := explain_refusal(PurePath(relative), choose_suffixes(settings.suffixes))) is not None:
        return Explanation("ignored", f"It {refused}.")
    if not find_suffix(path.name) and _is_foreign(path):
        return Explanation("ignored", "It has no suffix, and its first bytes are those of no recording known here.")
    if not settings.recursive and len(PurePath(relative).parts) > 1:
        return Explanation("ignored", "It is in a subfolder, and the setting `recursive` is off.")
    if os.path.realpath(path).startswith(os.path.realpath(settings.outbox) + os.sep):
        return Explanation("ignored", "It is in the outbox.")
    if not locks.is_running(settings.state):
        why = "The daemon is not running: `dropscribe run`, or `dropscribe service start`."
        return Explanation("unseen", why)
    why = f"It is still changing or was just seen; it is taken {settings.settle_seconds:g} s after its last change."
    return Explanation("settling", why)


def _is_foreign(path: Path) -> bool:
    try:
        return not is_recording(path)
    except OSError:
        return False


def _explain_recording(settings: Settings, journal: Journal, recording: Recording) -> str:
    running = locks.is_running(settings.state)
    when = lookup.format_minute(recording.changed)
    match recording.state:
        case State.DONE:
            text = _explain_done(settings, journal, recording, when)
        case State.FAILED:
            text = f"Failed on {when} ({recording.code}): {recording.reason}"
        case State.WAITING if recording.code in HOLDS:
            text = f"It is not finished ({recording.code}): {recording.reason}"
        case State.SKIPPED:
            text = f"It was skipped on {when}, and is untouched. `dropscribe retry` with its name takes it back."
        case State.WAITING:
            text = f"It cannot be read at present ({recording.code}): {recording.reason} It is tried again by itself."
        case State.RUNNING if not running:
            text = "It was being transcribed when the daemon was killed; the next start goes on with it."
        case State.RUNNING:
            text = "It is being transcribed now: `dropscribe status` shows how far."
        case State.PUBLISHING:
            text = "It is transcribed; its files are about to be written."
        case State.GONE:
            text = f"It left the inbox before it was transcribed ({when})."
        case State.QUEUED:
            text = _explain_queued(journal, recording)
    if recording.state in {State.QUEUED, State.PUBLISHING}:
        text += _explain_delay(settings, journal, running=running)
    if recording.state in {State.DONE, State.FAILED}:
        text += _explain_aftermath(journal, recording)
    return text


def _explain_done(settings: Settings, journal: Journal, recording: Recording, when: str) -> str:
    files = sorted(name for name in journal.outputs.list_digests(recording.id) if not name.endswith(".error.txt"))
    text = f"Done on {when}: {', '.join(files)} in {settings.outbox}."
    for new, old in journal.outputs.list_displaced(recording.id).items():
        text += f" {old} was changed by a person and is left alone; the new version is {new}."
    if recording.reason:
        text += f" {recording.reason}"
    changed = lookup.read_profiles_in_force(settings, journal).list_changes(recording.name, recording.settings)
    if changed:
        leaving = journal.sources.find(recording.id)
        away = leaving is not None and leaving.state is LeavingState.MOVED and leaving.way is not DisposalWay.ARCHIVE
        how = "put back into the inbox it is made anew" if away else "`dropscribe redo` makes it anew"
        text += f" Since then changed: {', '.join(changed)}; {how}."
    return text


def _explain_queued(journal: Journal, recording: Recording) -> str:
    ahead = journal.recordings.count_ahead(recording)
    last = f" Last try: {recording.reason}" if recording.reason else ""
    comes = "1 comes" if ahead == 1 else f"{ahead} come"
    return f"It waits in the queue; {comes} before it.{last}"


def _explain_delay(settings: Settings, journal: Journal, *, running: bool) -> str:
    """Return why the daemon does not work on the queue at present; empty when it does."""
    if not running:
        return " The daemon is not running."
    if requests.is_paused(settings.state):
        return " The daemon is paused: `dropscribe resume`."
    if trouble := journal.get_meta("trouble"):
        return f" The daemon waits: {json.loads(trouble)['reason']}"
    return ""


def _explain_aftermath(journal: Journal, recording: Recording) -> str:
    """Return what the hooks of a finished recording came to, and what becomes of its source."""
    hooks, leaving = journal.hooks.list_of(recording.id), journal.sources.find(recording.id)
    text = "".join(f" {_explain_hook(hook)}" for hook in hooks if hook.problem)
    return text if leaving is None else f"{text} {_explain_source(leaving, has_hooks=bool(hooks))}"


def _explain_hook(hook: Hook) -> str:
    then = "`dropscribe retry` runs it again." if hook.given_up else "It is tried again by itself."
    return f"The hook `{hook.way}` failed {lookup.format_times(hook.tries)}: {hook.problem} {then}"


def _explain_source(leaving: Leaving, *, has_hooks: bool) -> str:
    if leaving.state is LeavingState.MOVED:
        return f"Then the recording was {describe_disposal(leaving)}, as set."
    if leaving.state is LeavingState.KEPT:
        return f"The recording stays in the inbox: {leaving.reason}"
    why = leaving.reason or ("its hooks come first." if has_hooks else "its turn comes.")
    return f"The recording is to be {_DISPOSED[leaving.way]} and waits: {why}"

"""One transcript of a folder in which every speaker has a recording of their own (`together`).

Craig, Zoom and Zencastr write such files: all begin at the same moment. Each is transcribed as any
other, and has its own JSON. When nothing of a folder is left to do, their words are joined by
time, speakers called by the files, and written as `FOLDER/FOLDER.*` in every format that is set.

Guarantees: what is written follows from what the journal knows of the folder, so it is made again
after a crash, a late or changed file, or new names, and a second time gives the same files; a file
that a person changed is never overwritten (`outbox`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash, formats
from dropscribe.formats import review, turns
from dropscribe.supervisor import outbox, result_options
from dropscribe.supervisor.correcting import read_transcript
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.names import cut_name, decode_name
from dropscribe.supervisor.outbox_faults import outbox_fault
from dropscribe.transcript import Engine, Notice, Segment, Source, Timing, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording

JOINED = "joined"
"""The option `together` of a joined transcript; that of one recording is `on`."""
_NOBODY = 0
"""Instead of a recording, who has the name of a folder's set."""
_UNFINISHED = (State.QUEUED, State.RUNNING, State.PUBLISHING)
_NUMBERED = re.compile(r"\d+[-_. ]+(?=\S)")
"""Craig numbers its tracks: `1-anna.flac`."""
_ZOOM = re.compile(r"audio(.*?[^\W\d_].*?)\d{8,}")
"""Zoom: `audioAnnaBell11234567890.m4a`."""


class Together:
    """The folders of one daemon whose recordings belong together. Used by the thread that owns the journal."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        self._folders: set[PurePath] = set()
        self._log = structlog.get_logger()

    @property
    def is_due(self) -> bool:
        """Whether a folder may have to be joined."""
        return bool(self._folders)

    def start(self) -> None:
        """Look at every folder again: the last run may have been killed before it joined one."""
        for recording in self._journal.recordings.list_in(State.DONE):
            self.mark(recording)

    def mark(self, recording: Recording) -> None:
        """Look at the folder of a recording that is done, if it says that its recordings belong together."""
        if not recording.is_guest and json.loads(recording.settings or "{}").get("together"):
            self._folders.add(recording.name.parent)

    def tick(self) -> None:
        """Join the recordings of marked folders in which nothing is left to do.

        Raises: EnvironmentFaultError when the outbox cannot be written; they stay marked.
        """
        if not self._folders:
            return
        busy = {recording.name.parent for recording in self._journal.recordings.list_in(*_UNFINISHED)}
        for folder in sorted(self._folders - busy):
            self._join(folder)
            self._folders.discard(folder)

    def _join(self, folder: PurePath) -> None:
        ended = self._journal.recordings.list_in(State.DONE, State.FAILED)
        there = sorted((r for r in ended if r.name.parent == folder and not r.is_guest), key=lambda r: r.path)
        parts, chosen = [], self._settings
        for recording in there:
            in_force = result_options.restore_options(recording.settings, self._settings)
            if recording.state is not State.DONE or not in_force.together:
                continue
            if (transcript := read_transcript(self._journal, recording, self._settings)) is not None:
                parts.append(transcript)
                chosen = in_force
        if not parts:
            return
        name = folder.name or self._settings.inbox.name
        missing = [r for r in there if r.state is State.FAILED]
        transcript = join_transcripts(decode_name(name), decode_name(folder), parts, list(_note(missing)))
        contents = {
            each: formats.render(each, transcript, srt_speakers=chosen.srt_speakers) for each in chosen.formats
        }
        key = f"together {decode_name(folder)}"
        known: dict[str, str] = json.loads(self._journal.get_meta(key, "{}"))
        base = self._choose_base(folder / cut_name(name))
        wanted = {f"{base}.{each}": hashlib.sha256(content).hexdigest() for each, content in contents.items()}
        if wanted == known and all((self._settings.outbox / path).is_file() for path in known):
            return  # at a start: it was joined before
        crash.reach("joining")
        try:
            published = outbox.publish(self._settings.outbox, base, contents, known, self._settings.permissions)
        except OSError as error:
            raise outbox_fault(self._settings.outbox, error) from None
        crash.reach("joined")
        written = {file.path: file.sha256 for file in published}
        if written != known:
            self._journal.set_meta(**{key: json.dumps(written)})
            self._log.info("folder.joined", folder=decode_name(folder), recordings=len(parts), files=[*written])

    def _choose_base(self, wanted: PurePath) -> str:
        """Return the name of the set without suffix: no recording's, and the one it had before."""
        names = (str(wanted), f"{wanted} together")
        taken = [base for base in names if self._journal.outputs.holds_base(base, _NOBODY)]
        return next(
            iter(taken), next((base for base in names if self._journal.outputs.take_base(base, _NOBODY)), names[1])
        )


def _note(missing: Sequence[Recording]) -> Iterator[Notice]:
    for recording in missing:
        yield Notice("recording-missing", 0.0, 0.0, f"{decode_name(recording.name.name)} failed: {recording.reason}")


def join_transcripts(name: str, path: str, parts: Sequence[Transcript], notices: Sequence[Notice] = ()) -> Transcript:
    """Return one transcript of recordings that began at the same moment, each of one speaker.

    Args:
        name: of the whole.
        path: of their folder, relative to the inbox.
        parts: one for each recording, at least one.
        notices: what a person should know besides.
    """
    speakers = name_speakers([part.source.name for part in parts])
    spoken: Counter[str] = Counter()
    for part in parts:
        spoken[part.language] += max(1, round(sum(segment.end - segment.start for segment in part.segments)))
    several = len(spoken) > 1
    labelled = [
        _label(segment, speaker, segment.language or (part.language if several else None))
        for speaker, part in zip(speakers, parts, strict=True)
        for segment in part.segments
    ]
    segments = tuple(
        dataclasses.replace(segment, id=i)
        for i, segment in enumerate(sorted(turns.order_turns(labelled), key=lambda s: (s.start, s.end)))
    )
    warnings = [
        dataclasses.replace(warning, detail=f"{speaker}: {warning.detail}")
        for speaker, part in zip(speakers, parts, strict=True)
        for warning in part.warnings
    ]
    sure = [part.language_probability for part in parts if part.language_probability is not None]
    duration = max(part.duration for part in parts)
    digests = "".join(sorted(part.source.sha256 for part in parts))
    joined = Transcript(
        text=" ".join(segment.text for segment in segments),
        language=spoken.most_common(1)[0][0],
        language_probability=min(sure) if sure and not several else None,
        duration=duration,
        segments=segments,
        source=Source(
            name=name,
            path=path,
            sha256=hashlib.sha256(digests.encode()).hexdigest(),
            bytes=sum(part.source.bytes for part in parts),
            recorded_at=min((p.source.recorded_at for p in parts if p.source.recorded_at), default=None),
            channels=None,
        ),
        engine=_join_engines(parts),
        timing=_join_timings(parts, duration),
        warnings=tuple(sorted(warnings, key=lambda warning: warning.start)) + tuple(notices),
    )
    return dataclasses.replace(joined, review=review.review(joined))


def name_speakers(files: Sequence[str]) -> list[str]:
    """Return who speaks in each file, by its name, all of them different.

    `1-anna.flac` is `anna`; `audioAnnaBell11234567890.m4a` of Zoom is `AnnaBell`.
    """
    stems = [PurePath(file).stem for file in files]
    found = []
    for stem in stems:
        zoom = _ZOOM.fullmatch(stem)
        named = zoom[1] if zoom else _NUMBERED.sub("", stem, count=1)
        found.append(" ".join(named.replace("_", " ").split()) or stem)
    if len(set(found)) < len(found):
        found = stems if len(set(stems)) == len(stems) else list(files)
    return found


def _label(segment: Segment, speaker: str, language: str | None) -> Segment:
    words = tuple(dataclasses.replace(word, speaker=speaker) for word in segment.words)
    return dataclasses.replace(segment, words=words, speaker=speaker, language=language)


def _join_engines(parts: Sequence[Transcript]) -> Engine:
    first = parts[0].engine
    return dataclasses.replace(first, options={**first.options, "together": JOINED})


def _join_timings(parts: Sequence[Transcript], duration: float) -> Timing:
    decode = round(sum(part.timing.decode_s for part in parts), 3)
    transcribe = round(sum(part.timing.transcribe_s for part in parts), 3)
    work = decode + transcribe
    return Timing(duration, decode, transcribe, round(duration / work, 2) if work else 0.0)

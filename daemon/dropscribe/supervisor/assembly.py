"""From the worker's events to a transcript, in the daemon and on the command line.

Guarantees: pure functions. `assemble_transcript` says what the engine said and no more, so its
result can be kept and used for an equal recording of another name; what depends on the name and on
later settings is `finish_transcript`'s.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dropscribe import recording_date
from dropscribe.formats import replacements, review, turns
from dropscribe.formats.speakers import assign_speakers
from dropscribe.supervisor import result_options
from dropscribe.transcript import Engine, Notice, Segment, Source, Timing, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import PurePath

    from dropscribe.protocol import Decoded, Loaded, Planned, SpeakersFound, WindowDone
    from dropscribe.settings import Settings


def assemble_transcript(
    source: Source,
    decoded: Decoded,
    loaded: Loaded,
    planned: Planned,
    windows: Iterable[WindowDone],
    settings: Settings,
) -> Transcript:
    """Join the windows of one recording to its transcript. Who speaks in it is added by `add_speakers`.

    Args:
        source: The recording; `recorded_at`, `recorded_from` and `channels` are filled in.
        decoded: The worker's report of the recording's file.
        loaded: Its report of the model.
        planned: Its report of the plan of windows.
        windows: All windows, in order.
        settings: What was asked for.
    """
    segments: list[Segment] = []
    notices = [*decoded.warnings, *planned.notices]
    seconds = planned.plan_s
    for window in windows:
        seconds += window.seconds
        segments += window.segments
        notices += window.warnings
    numbered = tuple(dataclasses.replace(s, id=i) for i, s in enumerate(turns.order_turns(segments)))
    if not planned.speech_s:
        notices.append(Notice("no-speech", 0.0, decoded.audio_s, "Nobody speaks in this recording."))
    filled = [word for segment in numbered for word in segment.words if word.probability is None]
    if filled:
        detail = (
            f"The engine gave no times for {len(filled)} words: theirs are filled in from what stands around them."
        )
        notices.append(Notice("word-times-filled-in", filled[0].start, filled[-1].end, detail))
    work = decoded.decode_s + seconds
    return Transcript(
        text=" ".join(s.text for s in numbered),
        language=planned.language,
        language_probability=planned.language_probability,
        duration=decoded.audio_s,
        segments=numbered,
        source=_complete_source(source, decoded),
        engine=Engine(
            backend=loaded.backend,
            device=loaded.device,
            model=loaded.model,
            revision=loaded.revision,
            versions=loaded.versions,
            options=result_options.read_options(result_options.without_speakers(settings)),
        ),
        timing=Timing(
            audio_s=decoded.audio_s,
            decode_s=decoded.decode_s,
            transcribe_s=round(seconds, 3),
            speed=round(decoded.audio_s / work, 2) if work else 0.0,
        ),
        warnings=tuple(notices),
    )


def add_speakers(transcript: Transcript, found: SpeakersFound | None, settings: Settings) -> Transcript:
    """Return what `assemble_transcript` gave with the speakers that the worker found.

    It found none where nobody speaks or nobody asked. Where the engine told speakers apart by itself, its names stay.
    """
    options = result_options.read_options(settings)
    transcript = dataclasses.replace(transcript, engine=dataclasses.replace(transcript.engine, options=options))
    if found is None:
        return transcript
    own = not found.channels and any(segment.speaker is not None for segment in transcript.segments)
    if not own:
        transcript = assign_speakers(transcript, found.speakers, found.channels, labelled=found.labelled)
    timing = transcript.timing
    seconds = round(timing.transcribe_s + found.seconds, 3)
    work = timing.decode_s + seconds
    speed = round(timing.audio_s / work, 2) if work else 0.0
    return dataclasses.replace(
        transcript,
        timing=dataclasses.replace(timing, transcribe_s=seconds, speed=speed),
        warnings=transcript.warnings if own else (*transcript.warnings, *found.notices),
    )


def adapt_transcript(transcript: Transcript, source: Source, decoded: Decoded) -> Transcript:
    """Return what `assemble_transcript` gave for a recording as that of another file with the same sound.

    Args:
        transcript: The stored one.
        source: The other file.
        decoded: What the worker reported of it.
    """
    return dataclasses.replace(transcript, source=_complete_source(source, decoded))


def _complete_source(source: Source, decoded: Decoded) -> Source:
    return dataclasses.replace(
        source,
        recorded_at=decoded.recorded_at,
        recorded_from="container" if decoded.recorded_at else None,
        channels=decoded.channels,
    )


def find_text_language(transcript: Transcript) -> str:
    """Return the code of the language that a transcript is written in: a translation is in English."""
    return "en" if transcript.engine.options.get("task") == "translate" else transcript.language


def finish_transcript(
    transcript: Transcript, path: PurePath, mtime_ns: int, settings: Settings, now: datetime
) -> Transcript:
    """Return a transcript as it is published: with its date, the replacements made, and the
    passages to review.

    Args:
        transcript: What `assemble_transcript` gave.
        path: The recording's, whose names may carry the date; in the daemon relative to the inbox.
        mtime_ns: When the recording was last changed.
        settings: Those of the recording.
        now: The present, with a zone.
    """
    recorded_at, recorded_from = recording_date.find_date(transcript.source, path, mtime_ns, now)
    source = dataclasses.replace(transcript.source, recorded_at=recorded_at, recorded_from=recorded_from)
    subtitles = result_options.read_subtitle_options(settings)
    kept = {n: v for n, v in transcript.engine.options.items() if n not in result_options.SUBTITLE_OPTIONS}
    engine = dataclasses.replace(
        transcript.engine, options={**kept, **subtitles, **({"together": "on"} if settings.together else {})}
    )
    transcript = dataclasses.replace(transcript, source=source, engine=engine)
    transcript = replacements.replace(transcript, settings.replacements, drop_fillers=settings.fillers == "drop")
    return dataclasses.replace(transcript, review=review.review(transcript))

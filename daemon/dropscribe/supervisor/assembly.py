"""From the worker's events to a transcript, in the daemon and on the command line.

Guarantees: pure functions. `assemble_transcript` says what the engine said and no more, so its
result can be kept and used for an equal recording of another name; what depends on the name and on
later settings is `finish_transcript`'s.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dropscribe import recording_date
from dropscribe.formats import figures, replacements, review, turns
from dropscribe.formats.speakers import assign_speakers
from dropscribe.supervisor import result_options
from dropscribe.transcript import LANGUAGE_UNCERTAIN, Engine, Notice, Segment, Source, Timing, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import PurePath

    from dropscribe.protocol import Decoded, Loaded, Planned, SpeakersFound, WindowDone
    from dropscribe.settings import Settings


_ENOUGH_SPEECH_S = 5.0
"""Seconds of speech from which on the words of an English model tell whether it is English."""
_UNLIKE_ENGLISH = 0.6
"""Mean probability of its words below which it may not be: English prompts had 0.94 to 0.96, also in noise, French
ones 0.21 and 0.49 (tiny.en)."""


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
    notices += find_language_doubts(planned, loaded, numbered, decoded.audio_s)
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


def find_language_doubts(
    planned: Planned, loaded: Loaded, segments: Sequence[Segment], duration: float
) -> Iterator[Notice]:
    """Yield a notice where nobody can be sure of the language that was taken.

    The model was in doubt; or it knows English alone and does not believe in what it wrote.
    """
    cure = "Set `language`, or name the languages that can occur in `languages`, and use `dropscribe redo`."
    if planned.runner_up and planned.language_probability is not None:
        what = f"The language was taken for `{planned.language}` with {100 * planned.language_probability:.0f} %"
        yield Notice(
            LANGUAGE_UNCERTAIN, 0.0, duration, f"{what}; the next likeliest is `{planned.runner_up}`. {cure}"
        )
    if not loaded.multilingual and planned.speech_s >= _ENOUGH_SPEECH_S:
        known = [word.probability for segment in segments for word in segment.words if word.probability is not None]
        if not known or sum(known) / len(known) < _UNLIKE_ENGLISH:
            why = "The model knows English alone and believes little of what it wrote: is this another language?"
            yield Notice(LANGUAGE_UNCERTAIN, 0.0, duration, f"{why} A model without `.en` knows others.")


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
    """Return a transcript as it is published: with its date, numbers in figures if that is wanted,
    the replacements made, and the passages to review.

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
    if settings.numbers == "digits":
        transcript = figures.write_figures(transcript)
    transcript = replacements.replace(transcript, settings.replacements, drop_fillers=settings.fillers == "drop")
    return dataclasses.replace(transcript, review=review.review(transcript))

"""What finished work becomes: the transcript, with its speakers and without, in the journal.

The words are kept as they are without speakers too: who speaks can be asked for later, or otherwise,
with no transcription.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dropscribe import protocol
from dropscribe.supervisor import assembly, result_options
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.supervisor.job import Job
    from dropscribe.supervisor.journal import Journal, Recording


def find_words(journal: Journal, recording: Recording, settings: Settings) -> Transcript | None:
    """Return the stored transcript of a recording that lacks nothing but its speakers, if any are asked for."""
    if not settings.speakers:
        return None
    stored = journal.results.find(result_options.result_key(recording.sha256, settings, speakers=False))
    return None if stored is None else Transcript.from_json(stored)


def store_transcript(journal: Journal, job: Job) -> Transcript:
    """Return the transcript of a recording whose work is finished, stored."""
    assert job.decoded is not None  # noqa: S101 (the worker reports it before it is finished)
    transcript = assembly.add_speakers(job.transcribed or _store_words(journal, job), job.speakers, job.settings)
    speed, sound = transcript.timing.speed, job.decoded.sound
    journal.store_result(job.recording, transcript.to_json(), speed, time.time(), sound=sound)
    return transcript


def _store_words(journal: Journal, job: Job) -> Transcript:
    """Return the transcript without its speakers."""
    recording = job.recording
    assert recording.result is not None  # noqa: S101
    assert job.decoded is not None  # noqa: S101 (the worker reports all three before it is finished)
    assert job.loaded is not None  # noqa: S101
    assert job.planned is not None  # noqa: S101
    windows = map(protocol.WindowDone.from_json, journal.results.list_checkpoints(recording.result)[1:])
    transcript = assembly.assemble_transcript(
        job.make_source(), job.decoded, job.loaded, job.planned, windows, job.settings
    )
    if job.settings.speakers:
        key = result_options.result_key(recording.sha256, job.settings, speakers=False)
        journal.results.store(key, transcript.to_json(), time.time())
    return transcript


def describe_speakers(found: protocol.SpeakersFound) -> dict[str, Any]:
    """Return what the log says of speakers."""
    sure = [speaker.confidence for speaker in found.speakers]
    return {"speakers": len(found.speakers), "confidence": sure, "seconds": found.seconds}


def describe_transcript(transcript: Transcript) -> dict[str, Any]:
    """Return what the log says of a transcript."""
    return {
        "audio_s": transcript.timing.audio_s,
        "speed": transcript.timing.speed,
        "segments": len(transcript.segments),
        "language": transcript.language,
    }

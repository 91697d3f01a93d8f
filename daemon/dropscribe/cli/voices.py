"""`dropscribe voices`: teach, list and forget the voices that are known by name.

Guarantees: what is taught stays in one file of the state folder, which its owner alone may read; nothing is taught
of a recording in which more than one person is heard, unless a transcript says who speaks when; recordings are only
read.
"""

from __future__ import annotations

import contextlib
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from dropscribe import settings, voices
from dropscribe.cli.console import print_json, say
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.formats.speakers import list_stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.cli import commands
    from dropscribe.settings import Settings
    from dropscribe.transcript import Transcript
    from dropscribe.worker.speakers.enrolment import LearntVoice

    Stretch = tuple[float, float]


def run(command: commands.AddVoice | commands.ListVoices | commands.RemoveVoice) -> int:
    """Run one of the commands."""
    from dropscribe.cli import commands

    chosen = settings.load().settings
    match command:
        case commands.AddVoice():
            return _add(command, chosen)
        case commands.ListVoices():
            return _list(command, chosen)
        case commands.RemoveVoice():
            voices.remove_voice(chosen.state, command.name)
            say(f"{command.name} is forgotten. `dropscribe redo --stale` takes the name out of finished transcripts.")
            return Exit.OK
        case _:
            assert_never(command)


def _list(command: commands.ListVoices, chosen: Settings) -> int:
    found = voices.read_voices(chosen.state)
    if command.json:
        rows = [
            {
                "name": voice.name,
                "samples": [{"source": s.source, "seconds": s.seconds, "added": s.added} for s in voice.samples],
            }
            for voice in found
        ]
        print_json(rows)
        return Exit.OK
    for voice in found:
        for sample in voice.samples:
            print(f"{voice.name:<24} {sample.seconds:>5.0f} s  {sample.added[:10]}  {sample.source}")
    if not found:
        say("No voice is known. `dropscribe voices add NAME FILE` teaches one.")
    return Exit.OK


def _add(command: commands.AddVoice, chosen: Settings) -> int:
    name = voices.clean_name(command.name)
    if command.transcript is None:
        if command.file is None or command.speaker is not None:
            raise UsageError(
                "It takes a recording, or a transcript and a speaker.",
                'Write `dropscribe voices add NAME FILE`, or `… NAME --from TRANSCRIPT.json --speaker "Speaker 2"`.',
            )
        path, turns = command.file, None
    else:
        path, turns = _read_turns(command, chosen)
    learnt = _learn(path, turns, chosen)
    known = voices.list_known(chosen.state)
    sample = _make_sample(learnt, path)
    voices.add_sample(chosen.state, name, sample)
    say(f"{name} is known from {learnt.seconds:.0f} s of speech in {path.name}: {chosen.state / voices.FILE}")
    for other, certain in _list_alike(learnt, known):
        if other == name:
            continue
        say(f"It sounds {'the same as' if certain else 'much like'} {other}, who is known: they may be confused.")
    if not chosen.speakers:
        say('Set `speakers = "auto"`: without it no speakers are told apart, and nobody is looked for.')
    return Exit.OK


def _read_turns(command: commands.AddVoice, chosen: Settings) -> tuple[Path, list[Stretch]]:
    """Return the recording of a transcript, and when one speaker alone speaks in it."""
    from dropscribe.cli.transcribe import read_transcript_file
    from dropscribe.worker.speakers.enrolment import leave_out

    assert command.transcript is not None  # noqa: S101 (the caller has looked)
    transcript = read_transcript_file(command.transcript)
    own = list_stretches(transcript)
    if command.speaker is None or command.speaker not in own:
        missing = "--speaker is needed." if command.speaker is None else f"It has no speaker {command.speaker}."
        raise UsageError(missing, f"{command.transcript} has: {', '.join(own) or 'none'}.")
    others = [turn for name, turns in own.items() if name != command.speaker for turn in turns]
    return _locate(transcript, command, chosen), leave_out(own[command.speaker], others)


def _locate(transcript: Transcript, command: commands.AddVoice, chosen: Settings) -> Path:
    """Return the file of a transcript's recording. Raises: UsageError where it is not, or another one."""
    from dropscribe.supervisor.inbox import Stat, digest_file

    assert command.transcript is not None  # noqa: S101
    source = transcript.source
    places = [chosen.inbox / source.path, chosen.archive / source.path, command.transcript.parent / source.name]
    for path in [command.file] if command.file is not None else places:
        with contextlib.suppress(OSError):
            found = path.stat()
            if found.st_size != source.bytes and command.file is None:
                continue
            if digest_file(path.resolve(), Stat(found.st_size, found.st_mtime_ns)) == source.sha256:
                return path
    message = f"{command.file or source.path} is not the recording of this transcript, or is not there."
    raise UsageError(message, "Give its recording: `dropscribe voices add NAME FILE --from TRANSCRIPT.json …`.")


def _learn(path: Path, turns: Sequence[Stretch] | None, chosen: Settings) -> LearntVoice:
    """Return the voice in a recording. Raises: JobError for what it lacks."""
    from dropscribe.models.speakers import store
    from dropscribe.worker.decoding import decode
    from dropscribe.worker.speakers.enrolment import learn_turns, learn_voice
    from dropscribe.worker.speakers.networks import load_networks

    networks = load_networks(store.find_networks(), chosen.threads)
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        samples = decode(path, Path(folder) / "sound.f32").samples
        try:
            return learn_voice(samples, networks) if turns is None else learn_turns(samples, turns, networks)
        except DropscribeError as error:
            raise UsageError(f"{path}: {error.message}", error.cure) from None


def _make_sample(learnt: LearntVoice, path: Path) -> voices.Sample:
    from dropscribe.worker.speakers.networks import EMBEDDER

    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return voices.Sample(tuple(learnt.embedding.tolist()), learnt.seconds, path.name, now, EMBEDDER)


def _list_alike(learnt: LearntVoice, known: Sequence[voices.KnownVoice]) -> list[tuple[str, bool]]:
    """Return the known voices that a new one sounds like, and whether it is certain."""
    import numpy as np

    from dropscribe.worker.speakers.known import RULES, compare

    if not known:
        return []
    embeddings = np.array([voice.embedding for voice in known], np.float32)
    similar = compare(learnt.embedding[None], np.array([learnt.seconds]), embeddings)[0]
    pairs = zip(known, similar, strict=True)
    return [(voice.name, value >= RULES.certain) for voice, value in pairs if value >= RULES.perhaps]

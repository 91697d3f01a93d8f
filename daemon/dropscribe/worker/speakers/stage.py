"""The stage "find speakers": from the speech of a recording and the setting `speakers` to names and turns.

Channels that were transcribed each by itself are looked at each by itself: a panel on one, the host on the other.

Guarantees: nothing is loaded, and no file looked for, where the setting is off; equal recordings give equal turns, so
that work which was interrupted goes on with the same ones.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import protocol
from dropscribe.transcript import Notice, Speaker, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dropscribe.protocol import Request
    from dropscribe.transcript import VoiceMatch
    from dropscribe.worker.speakers.diarization import Diarization, FoundTurn
    from dropscribe.worker.speakers.networks import Networks
    from dropscribe.worker.speech import Speech

AUTO = "auto"
"""The setting's word for "however many there are"."""


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """What a person is to be told of. Times in seconds."""

    unsure: float = 0.6
    """A turn with a smaller share of votes is doubtful: a share of 0.5 is a draw of two voices."""
    least_s: float = 1.0
    """A doubtful turn, or two at once, for a shorter time is not worth a line."""


RULES = NoticeRules()


def require_networks(request: Request) -> Path | None:
    """Return the folder of the networks, None where nobody asks for speakers.

    Raises: EnvironmentFaultError `speakers-missing`, `model-damaged`, before work is done in vain.
    """
    if not request.speakers:
        return None
    from dropscribe.models.speakers import store

    return store.find_networks()


def find_speakers(
    speech: Speech, request: Request, folder: Path, heartbeat: Callable[[float], None] | None = None
) -> protocol.SpeakersFound:
    """Return who speaks when in a recording.

    Args:
        speech: The recording, its channels mixed or one after the other.
        request: With the setting `speakers`.
        folder: Of the networks.
        heartbeat: Called now and then with seconds of sound worked through.
    """
    from dropscribe.worker.speakers import known

    started = time.monotonic()
    networks = _load(str(folder), request.threads)
    if not speech.speakers:
        count, names = _read_setting(request.speakers)
        found = _diarize(speech, 0, networks, count, heartbeat)
        matches = known.match_voices([found], request.voices, names)
        people = _give_names(matches, names)
        speakers = _name_turns(found, people, matches)
        channels: tuple[str, ...] = ()
        labelled = len(people) > 1 or bool(names) or any(match is not None and match.certain for match in matches)
    else:
        each = [_diarize(speech, channel, networks, 0, heartbeat) for channel in range(len(speech.speakers))]
        matches = known.match_voices(each, request.voices)
        speakers, each_channel = [], []
        for name, found in zip(speech.speakers, each, strict=True):
            own = matches[len(speakers) : len(speakers) + len(found.centroids)]
            speakers += _name_turns(found, _give_channel_names(name, own, is_given=name in request.channels), own)
            each_channel += [name] * len(own)
        channels, labelled = tuple(each_channel), True
        order = sorted(range(len(speakers)), key=lambda i: speakers[i].turns[0].start)
        speakers, channels = [speakers[i] for i in order], tuple(channels[i] for i in order)
    return protocol.SpeakersFound(
        speakers=tuple(_share(speakers)),
        channels=channels,
        labelled=labelled,
        seconds=round(time.monotonic() - started, 3),
        notices=tuple(_list_doubts(speakers)),
    )


@functools.lru_cache(maxsize=1)
def _load(folder: str, threads: int) -> Networks:
    from pathlib import Path

    from dropscribe.worker.speakers.networks import load_networks

    return load_networks(Path(folder), threads)


def _read_setting(speakers: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many people there are, 0 where nobody knows, and what they are called."""
    if len(speakers) == 1 and speakers[0] == AUTO:
        return 0, ()
    if len(speakers) == 1 and speakers[0].isdecimal():
        return int(speakers[0]), ()
    return len(speakers), tuple(speakers)


def _diarize(
    speech: Speech, channel: int, networks: Networks, count: int, heartbeat: Callable[[float], None] | None
) -> Diarization:
    from dropscribe.worker.speakers.diarization import diarize

    first = channel * speech.stride
    return diarize(speech.samples[first : first + speech.length], networks, count, heartbeat=heartbeat)


def _give_names(matches: Sequence[VoiceMatch | None], told: Sequence[str]) -> list[str]:
    """Return what people are called: by their voice, then by the names that were told, in order; then by number."""
    certain = [match.name if match is not None and match.certain else "" for match in matches]
    left = iter([name for name in told if name not in certain])
    return [name or next(left, f"Speaker {i}") for i, name in enumerate(certain, 1)]


def _give_channel_names(channel: str, matches: Sequence[VoiceMatch | None], *, is_given: bool) -> list[str]:
    """Return what the people of one channel are called.

    Args:
        channel: The name of the channel.
        matches: The known voices of its people.
        is_given: Whether a person gave the channel its name: one alone on it is called so, whatever the voice.
    """
    names = [channel if len(matches) == 1 else f"{channel} ({i})" for i in range(1, len(matches) + 1)]
    if is_given and len(matches) == 1:
        return names
    pairs = zip(matches, names, strict=True)
    return [match.name if match is not None and match.certain else name for match, name in pairs]


def _name_turns(found: Diarization, names: Sequence[str], matches: Sequence[VoiceMatch | None]) -> list[Speaker]:
    """Return people with their turns; the shares are not known yet."""
    own: list[list[FoundTurn]] = [[] for _ in names]
    for turn in found.turns:
        own[turn.person].append(turn)
    speakers = []
    for name, turns, match in zip(names, own, matches, strict=True):
        seconds = sum(turn.end - turn.start for turn in turns)
        sure = sum((turn.end - turn.start) * turn.confidence for turn in turns) / seconds
        told = tuple(Turn(round(t.start, 3), round(t.end, 3), round(t.confidence, 3)) for t in turns)
        speakers.append(Speaker(name, round(seconds, 3), 0.0, round(sure, 3), told, match))
    return speakers


def _share(speakers: Sequence[Speaker]) -> Iterator[Speaker]:
    total = sum(speaker.seconds for speaker in speakers)
    for speaker in speakers:
        yield dataclasses.replace(speaker, share=round(speaker.seconds / total, 4) if total else 0.0)


def _list_doubts(speakers: Sequence[Speaker]) -> Iterator[Notice]:
    """Yield who perhaps is known, the turns of which it is unsure whose they are, and where two speak at once."""
    for speaker in speakers:
        if speaker.voice is not None and not speaker.voice.certain and speaker.name != speaker.voice.name:
            first = speaker.turns[0]
            yield Notice(
                "voice-unsure", first.start, first.end, f"{speaker.name} sounds somewhat like {speaker.voice.name}."
            )
    if len(speakers) < 2:
        return
    turns = sorted((t.start, t.end, s.name, t.confidence) for s in speakers for t in s.turns)
    for start, end, name, confidence in turns:
        if confidence < RULES.unsure and end - start >= RULES.least_s:
            yield Notice("speaker-unsure", start, end, f"It may not be {name} who speaks here.")
    for (_, end, name, _), (after, last, other, _) in itertools.pairwise(turns):
        if name != other and min(end, last) - after >= RULES.least_s:
            yield Notice("two-speak", after, min(end, last), f"{name} and {other} speak at once.")

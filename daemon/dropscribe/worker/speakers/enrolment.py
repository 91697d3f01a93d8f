"""What one person sounds like, from a recording of them or from their turns in a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.errors import RecordingFaultError
from dropscribe.worker.speakers import voices
from dropscribe.worker.speakers.diarization import diarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.worker.speakers.networks import Networks

    Floats = NDArray[np.float32]
    Stretch = tuple[float, float]


@dataclass(frozen=True, slots=True)
class EnrolmentRules:
    """How much speech a voice is learnt from. In seconds."""

    least_s: float = 5.0
    """With less, other voices of the same kind come too near; 10 s and more are better."""
    enough_s: float = 120.0
    """The mean of more windows does not change any more."""
    most_s: float = 900.0
    """Of a longer recording of one person only this much from its start is looked at."""


RULES = EnrolmentRules()


@dataclass(frozen=True, slots=True)
class LearntVoice:
    """What one person sounds like."""

    embedding: Floats
    """Shape (192,), unit length."""
    seconds: float
    """Of speech that it was made of."""


def learn_voice(samples: Floats, networks: Networks, rules: EnrolmentRules = RULES) -> LearntVoice:
    """Return the voice in a recording in which one person alone speaks, mono, 16 kHz.

    Raises: RecordingFaultError `several-voices`, `too-little-speech`.
    """
    found = diarize(samples[: round(rules.most_s * SAMPLE_RATE)], networks)
    if len(found.centroids) > 1:
        raise RecordingFaultError(
            "several-voices",
            f"{len(found.centroids)} people speak in it.",
            "Take a recording of one person, or a transcript with speakers: "
            '`dropscribe voices add NAME --from TRANSCRIPT.json --speaker "Speaker 2"`.',
        )
    return learn_turns(samples, [(turn.start, turn.end) for turn in found.turns], networks, rules)


def learn_turns(
    samples: Floats, turns: Sequence[Stretch], networks: Networks, rules: EnrolmentRules = RULES
) -> LearntVoice:
    """Return the voice that speaks in some stretches of a recording.

    Raises: RecordingFaultError `too-little-speech`.
    """
    seconds = sum(end - start for start, end in turns)
    if seconds < rules.least_s:
        raise RecordingFaultError(
            "too-little-speech",
            f"{seconds:.1f} s of speech are too little to know a voice by.",
            f"Take {rules.least_s:g} s at least, better 10 s and more.",
        )
    long = [turn for turn in turns if turn[1] - turn[0] >= voices.RULES.length / 100]
    # A window around a short turn hears its neighbours too.
    chosen = long if sum(end - start for start, end in long) >= rules.least_s else turns
    windows = voices.place_windows(sorted(chosen), len(samples) / SAMPLE_RATE, voices.RULES.step)
    most = round(rules.enough_s * 100 / voices.RULES.step)
    if len(windows) > most:  # from the whole recording
        windows = [windows[i * len(windows) // most] for i in range(most)]
    if not windows:
        raise RecordingFaultError(
            "too-little-speech", "Nobody speaks long enough in one go.", "Take a longer recording."
        )
    centre = voices.embed_windows(samples, windows, networks).embeddings.sum(axis=0)
    return LearntVoice(np.asarray(centre / np.linalg.norm(centre), np.float32), seconds)


def leave_out(turns: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """Return the parts of turns in which nobody else speaks."""
    found = list(turns)
    for begin, stop in others:
        parts = []
        for start, end in found:
            if stop <= start or end <= begin:
                parts.append((start, end))
                continue
            parts += [(a, b) for a, b in ((start, begin), (stop, end)) if b > a]
        found = parts
    return found

"""Which of the people in a recording are known: their voices compared with those that a person taught.

Guarantees: a known voice is one person at most, and a person one known voice; who speaks too little to be known by it
is nobody in particular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.transcript import VoiceMatch
from dropscribe.worker.speakers import people
from dropscribe.worker.speakers.networks import EMBEDDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.voices import KnownVoice
    from dropscribe.worker.speakers.diarization import Diarization

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MatchRules:
    """From which similarity on a person is somebody known. Tuned and reported by `tests/bench/voices.py`."""

    certain: float = 0.55
    """Called so. Of pairs of strangers 0.01 to 0.03 % come so near, so that with 30 voices known less than one
    stranger in a hundred gets a name. It is where the voices of one recording are one person, too."""
    perhaps: float = 0.45
    """Said to be perhaps this person: 0.2 % of the pairs of strangers. Over a telephone or in an echoing room one
    person comes to 0.3 to 0.7."""
    least_s: float = 3.0
    """Seconds of speech without which nobody is compared: two windows that do not overlap."""


RULES = MatchRules()


def match_voices(
    found: Sequence[Diarization], voices: Sequence[KnownVoice], told: Sequence[str] = (), rules: MatchRules = RULES
) -> list[VoiceMatch | None]:
    """Return the known voice of each person, of one channel after the other.

    Args:
        found: The people of each channel.
        voices: Those that are known; what another network made is passed over.
        told: Who is in the recording, where a person said so: nobody else is looked for, and who is most like one of
            them is this one without being certain by the voice alone.
        rules: The constants.
    """
    centroids = np.concatenate([each.centroids for each in found])
    seconds = np.array(
        [
            sum(turn.end - turn.start for turn in each.turns if turn.person == person)
            for each in found
            for person in range(len(each.centroids))
        ]
    )
    known = [v for v in voices if v.network == EMBEDDER and (not told or v.name in told)]
    matches: list[VoiceMatch | None] = [None] * len(centroids)
    if not known or not matches:
        return matches
    similar = compare(centroids, seconds, np.array([voice.embedding for voice in known], np.float32))
    similar[seconds < rules.least_s] = -1
    while (best := float(similar.max())) >= rules.perhaps:
        person, voice = np.unravel_index(int(similar.argmax()), similar.shape)
        certain = best >= (rules.perhaps if told else rules.certain)
        matches[int(person)] = VoiceMatch(known[int(voice)].name, round(min(1.0, best), 3), certain)
        similar[person], similar[:, voice] = -1, -1
    return matches


def compare(centroids: Floats, seconds: NDArray[np.float64], embeddings: Floats) -> Floats:
    """Return the cosine of each person and each known voice, shape (people, voices), corrected for attenuation.

    Args:
        centroids: Of people, shape (people, dimensions), unit length.
        seconds: How long each speaks: says how much noise is in the centroid.
        embeddings: Of known voices, shape (voices, dimensions), unit length.
    """
    return np.asarray((centroids @ embeddings.T) / np.sqrt(people.reliability(seconds))[:, None], np.float32)

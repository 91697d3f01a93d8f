"""From the voices of windows to people: how many there are, and what each sounds like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.worker.speakers import clustering
from dropscribe.worker.speakers.clustering import Clusters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PeopleRules:
    """When two voices are one person. Tuned and reported by `tests/bench/speakers.py`."""

    alike: float = 0.5
    """Mean cosine of the windows of two clusters from which on they are joined. Windows of 1.5 s are noisy: two of
    one person have 0.6 to 0.7 on average, two of different people 0 to 0.3, so this first cut is careful and leaves
    people in several pieces."""
    same: float = 0.45
    """Cosine of two centroids from which on they are one person. Of 222 readers in as many rooms, 6 windows each,
    0.2 % of the pairs come to 0.45 and more (0.09 % to 0.5, 0.5 % to 0.4); of two parts of one reader 1 % to less
    than 0.59. In short meetings, with others speaking in between, one person's pieces come to less: 0.5 leaves more
    of them."""
    least_s: float = 3.0
    """Seconds of speech that make a person: fewer windows overlap each other too much to say that a voice is new."""
    least_share: float = 0.06
    """The same as a share of all speech, for short recordings."""
    steps: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
    """Values of `same` that are tried one after the other where more people were told than found."""


RULES = PeopleRules()


def find_people(voices: Floats, seconds: float, wanted: int = 0, rules: PeopleRules = RULES) -> Floats:
    """Return the voice of each person, shape (people, dimensions), of unit length.

    Args:
        voices: Of windows that are spread evenly over the speech, shape (windows, dimensions), unit length.
        seconds: Of speech.
        wanted: How many people there are; 0 where nobody knows.
        rules: The constants.
    """
    labels = clustering.cluster(voices, rules.alike)
    clusters = clustering.combine(Clusters(voices, np.ones(len(voices), np.float32)), labels)
    found = _join_people(clusters, seconds / max(1, len(voices)), rules.same, rules)
    for same in rules.steps:
        if len(found.counts) >= wanted:
            break
        found = _join_people(clusters, seconds / max(1, len(voices)), same, rules)
    if wanted and len(found.counts) > wanted:
        found = clustering.combine(found, clustering.join(_directions(found), -np.inf, wanted))
    return found.centroids()


def _join_people(clusters: Clusters, seconds_each: float, same: float, rules: PeopleRules) -> Clusters:
    """Leave out clusters that are too small for a person, and join those that are one."""
    seconds = clusters.counts * seconds_each
    large = seconds >= min(rules.least_s, rules.least_share * float(seconds.sum()))
    large[int(seconds.argmax())] = True
    kept = Clusters(clusters.sums[large], clusters.counts[large])
    return clustering.combine(kept, clustering.join(_directions(kept), same))


def _directions(clusters: Clusters) -> Clusters:
    """Return clusters of which each counts as one voice, its centroid."""
    return Clusters(clusters.centroids(), np.ones(len(clusters.counts), np.float32))

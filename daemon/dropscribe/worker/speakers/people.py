"""From the voices of windows to people: how many there are, and what each sounds like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.worker.speakers import clustering
from dropscribe.worker.speakers.clustering import Clusters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PeopleRules:
    """When two voices are one person. Tuned and reported by `tests/bench/speakers.py`."""

    alike: float = 0.5
    """Mean cosine of the windows of two clusters from which on they are joined. Windows of 1.5 s are noisy: two of
    one person have about `window`, two of different people 0 to 0.3. This first cut is careful and may leave a person
    in several pieces; anything from 0.4 to 0.55 gives the same people in the end."""
    same: float = 0.55
    """Cosine of two centroids, corrected for the noise in them, from which on they are one person. 0.5 to 0.6 give
    the same on conversations and nearly the same on short meetings. Of the pairs of 222 readers with 10 s each,
    0.08 % come to 0.55 (0.24 % to 0.5); with 3 s each 0.4 %."""
    window: float = 0.55
    """Cosine of two windows of one person: says how much noise is in a centroid of few windows, and so how far
    `same` is corrected (Spearman's correction for attenuation). With 0.4, a meeting of 30 s has too many people."""
    window_s: float = 1.5
    """Seconds of speech that count as one window in that: windows overlap, so their number would flatter."""
    least_s: float = 3.0
    """Seconds of speech that make a person: fewer windows overlap each other too much to say that a voice is new."""
    least_share: float = 0.06
    """The same as a share of all speech, for short recordings."""
    long_share: float = 0.005
    """In long recordings a person needs this share of all speech, up to `long_s`: windows in which two speak, or one
    laughs, add up to small clusters. Below, the words go to whoever sounds nearest."""
    long_s: float = 10.0
    """Seconds of speech that are enough for a person, however long the recording is."""
    together_s: float = 180.0
    """Seconds of speech from which on only windows count for that which have a neighbour of the same voice: in a long
    recording everybody speaks for longer than a window now and then, and windows that hear two people never do."""
    neighbour_s: float = 1.5
    """Seconds from the start of one window to the next, within which they are neighbours: less than between turns."""
    smaller: tuple[float, ...] = (0.5, 0.25)
    """Parts of `least_s` and `least_share` that do, one after the other, where more people were told than found: one
    of them says little."""
    stricter: tuple[float, ...] = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    """Values of `same` that are tried after that: two of them sound alike."""


RULES = PeopleRules()


def find_people(
    voices: Floats,
    starts: Floats,
    seconds: float,
    wanted: int = 0,
    rules: PeopleRules = RULES,
    *,
    forced: bool = False,
) -> Floats:
    """Return the voice of each person, shape (people, dimensions), of unit length.

    Args:
        voices: Of windows that are spread evenly over the speech, shape (windows, dimensions), unit length.
        starts: Of the windows in seconds, in order.
        seconds: Of speech.
        wanted: How many people there are; 0 where nobody knows.
        rules: The constants.
        forced: Whether so many are to be found, where there are as many windows, though one person is divided for it.
    """
    labels = clustering.cluster(voices, rules.alike)
    clusters = clustering.combine(Clusters(voices, np.ones(len(voices), np.float32)), labels)
    seconds_each = seconds / max(1, len(voices))
    spoken = clusters.counts * seconds_each
    if seconds >= rules.together_s:
        spoken = np.bincount(labels[_has_neighbour(labels, starts, rules)], minlength=len(spoken)) * seconds_each
    tries = [(rules.same, 1.0), *((rules.same, part) for part in rules.smaller)]
    if forced:
        tries += [(same, rules.smaller[-1]) for same in rules.stricter]
    for same, part in tries:
        found = _join_people(clusters, spoken, seconds_each, same, part, rules)
        if len(found.counts) >= wanted:
            break
    if forced and len(found.counts) < wanted <= len(voices) <= clustering.BLOCK:
        windows = Clusters(voices, np.ones(len(voices), np.float32))
        found = clustering.combine(windows, clustering.join(windows, -np.inf, wanted))
    if wanted and len(found.counts) > wanted:
        directions = _correct(found, seconds_each, rules)
        found = clustering.combine(found, clustering.join(directions, -np.inf, wanted))
    return found.centroids()


def _has_neighbour(labels: Labels, starts: Floats, rules: PeopleRules) -> NDArray[np.bool_]:
    """Return which windows have one of the same cluster right before or after them."""
    near = (labels[1:] == labels[:-1]) & (np.diff(starts) <= rules.neighbour_s)
    return np.asarray(np.concatenate([[False], near]) | np.concatenate([near, [False]]))


def _join_people(
    clusters: Clusters, spoken: NDArray[Any], seconds_each: float, same: float, part: float, rules: PeopleRules
) -> Clusters:
    """Leave out clusters that are too small for a person, by `spoken` seconds, and join those that are one."""
    total = float(clusters.counts.sum()) * seconds_each
    least = max(min(rules.least_s, rules.least_share * total), min(rules.long_s, rules.long_share * total))
    large = spoken >= part * least
    large[int(clusters.counts.argmax())] = True
    kept = Clusters(clusters.sums[large], clusters.counts[large])
    return clustering.combine(kept, clustering.join(_correct(kept, seconds_each, rules), same))


def _correct(clusters: Clusters, seconds_each: float, rules: PeopleRules) -> Clusters:
    """Return clusters of which each counts as one voice: its centroid, longer the less speech it is made of.

    The cosine of two means of few noisy windows is too small. Divided by the square roots of their reliabilities
    (Spearman and Brown's formula), it is what the means of many would have.
    """
    longer = clusters.centroids() / np.sqrt(reliability(clusters.counts * seconds_each, rules))[:, None]
    return Clusters(longer.astype(np.float32), np.ones(len(clusters.counts), np.float32))


def reliability(seconds: NDArray[Any], rules: PeopleRules = RULES) -> NDArray[Any]:
    """Return how far centroids are made of the voice itself, 0 to 1, given the seconds of speech in each."""
    windows = np.maximum(seconds / rules.window_s, 1.0)
    return np.asarray(windows * rules.window / (1 + (windows - 1) * rules.window))

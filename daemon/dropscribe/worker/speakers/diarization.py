"""Who speaks when: from the sound of one channel to turns.

Speech, and where two speak at once, come from the segmentation network; who it is from voices of windows that are
clustered once over the whole recording. Every window votes for the person it is closest to, in its middle more than
at its edges, and a frame belongs to whom most votes are for.

Guarantees: equal sound gives equal turns; memory grows by 2 MB for each minute of sound at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.speakers import activity, people, voices
from dropscribe.worker.speakers.activity import find_activity, frame_of, time_of
from dropscribe.worker.speakers.networks import FRAME_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dropscribe.worker.speakers.networks import Networks

    Floats = NDArray[np.float32]
    Bools = NDArray[np.bool_]
    Labels = NDArray[np.intp]

_NOBODY = -1
_FRAME_S = FRAME_STEP / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class TurnRules:
    """How frames become turns."""

    speech: float = 0.5
    """People who speak in a frame, from which on it is speech: the network's own point of balance."""
    both: float = 1.3
    """The same from which on two speak at once: the network is slow to say so, and 1.5 misses a tenth more of it."""
    near_s: float = 1.5
    """Where two speak at once, the second is whoever else speaks nearest, within so many seconds; else who is next by
    voice. Who interrupts speaks before or after it, mostly."""
    gap_s: float = 0.3
    """A shorter pause between two words of one person is none; the field scores it so too."""
    edge: float = 0.02
    """What a window's vote counts at its edges, where 1 is its middle: not nothing, for frames that only it hears."""


RULES = TurnRules()


@dataclass(frozen=True, slots=True)
class FoundTurn:
    """One person speaks without a pause."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    person: int
    """Counted from 0 in order of appearance."""
    confidence: float
    """Share of the votes that are for this person, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks when."""

    turns: tuple[FoundTurn, ...]
    """In order of their start; those of two people may overlap."""
    centroids: Floats
    """The voice of each person, shape (people, 192)."""


NOBODY = Diarization((), np.zeros((0, 192), np.float32))


def diarize(
    samples: Floats, networks: Networks, wanted: int = 0, *, heartbeat: Callable[[float], None] | None = None
) -> Diarization:
    """Return who speaks when in a recording, mono, 16 kHz.

    Args:
        samples: The sound; may be a memory map.
        networks: As `load_networks` gives them.
        wanted: How many people there are; 0 where nobody knows.
        heartbeat: Called now and then with seconds of sound worked through, which begin again once.
    """
    return decide(samples, networks, *listen(samples, networks, heartbeat=heartbeat), wanted)


def decide(
    samples: Floats, networks: Networks, found: activity.Activity, heard: voices.Voices, wanted: int = 0
) -> Diarization:
    """Return who speaks when, given what `listen` gave.

    Where fewer people are found than were told, or nobody is, those who say a word are listened to as well.
    """
    first = assign(found, heard, wanted)
    if len(first.centroids) >= max(1, wanted):
        return first
    seconds = len(samples) / SAMPLE_RATE
    windows = voices.place_windows(_find_speech(found), seconds, voices.RULES.step, brief=True)
    more = voices.merge_voices(heard, voices.embed_windows(samples, windows, networks), even=True)
    second = assign(found, more, wanted, forced=True)
    return second if len(second.centroids) > len(first.centroids) else first


def _find_speech(found: activity.Activity) -> list[tuple[float, float]]:
    """Return start and end of each stretch of speech in seconds."""
    runs = find_runs(found.count() > RULES.speech)
    return [(time_of(first - 0.5), time_of(last - 0.5)) for first, last in runs]


def listen(
    samples: Floats, networks: Networks, *, heartbeat: Callable[[float], None] | None = None
) -> tuple[activity.Activity, voices.Voices]:
    """Return where somebody speaks in a recording, and what it sounds like there: all that takes long."""
    found = find_activity(samples, networks, heartbeat=heartbeat)
    stretches = _find_speech(found)
    seconds = sum(end - start for start, end in stretches)
    step = voices.RULES.coarse if seconds >= voices.RULES.long_s else voices.RULES.step
    windows = voices.place_windows(stretches, len(samples) / SAMPLE_RATE, step)
    heard = voices.embed_windows(samples, windows, networks, heartbeat=heartbeat)
    if step == voices.RULES.coarse:
        more = voices.place_between(windows, heard, people.find_people(heard.embeddings, heard.starts, seconds))
        heard = voices.merge_voices(heard, voices.embed_windows(samples, more, networks, heartbeat=heartbeat))
    return found, heard


def assign(found: activity.Activity, heard: voices.Voices, wanted: int = 0, *, forced: bool = False) -> Diarization:
    """Return who speaks when, given where somebody speaks and what it sounds like there.

    `forced`: there are as many people as were told, though one may be divided for it.
    """
    count = found.count()
    speech = count > RULES.speech
    if not len(heard.starts) or not speech.any():
        return NOBODY
    centroids = people.find_people(
        heard.embeddings[heard.even], heard.starts[heard.even], float(speech.sum()) * _FRAME_S, wanted, forced=forced
    )
    votes = _collect_votes(heard, centroids, len(count))
    first = np.where(speech, votes.argmax(axis=1), _NOBODY)
    if wanted:
        _give_all_a_turn(first, heard, centroids)
    second = np.full(len(count), _NOBODY)
    if len(centroids) > 1:
        for begin, end in find_runs(speech & (count > RULES.both)):
            second[begin:end] = _find_second(first, votes, begin, end)
    turns = []
    for person in range(len(centroids)):
        spoken = (first == person) | (second == person)
        for begin, end in _close_gaps(find_runs(spoken), round(RULES.gap_s / _FRAME_S)):
            share = float(votes[begin:end, person].mean())
            turns.append(FoundTurn(max(0.0, time_of(begin - 0.5)), time_of(end - 0.5), person, share))
    return _number(turns, centroids)


def _collect_votes(heard: voices.Voices, centroids: Floats, frames: int) -> Floats:
    """Return the share of votes that each person has in each frame, shape (frames, people)."""
    votes = np.zeros((frames, len(centroids)), np.float32)
    closest = (heard.embeddings @ centroids.T).argmax(axis=1)
    for start, end, person in zip(heard.starts, heard.ends, closest, strict=True):
        low, high = max(0, frame_of(float(start))), min(frames, frame_of(float(end)))
        votes[low:high, person] += RULES.edge + 1 - np.abs(np.linspace(-1, 1, high - low, dtype=np.float32))
    total = votes.sum(axis=1, keepdims=True)
    reached = np.flatnonzero(total[:, 0])
    if not len(reached):
        return votes
    votes[reached] /= total[reached]
    # Where no window reaches, the nearest one counts.
    lost = np.flatnonzero(total[:, 0] == 0)
    after = np.searchsorted(reached, lost).clip(max=len(reached) - 1)
    before = (np.searchsorted(reached, lost) - 1).clip(min=0)
    nearer = np.where(np.abs(reached[after] - lost) < np.abs(lost - reached[before]), after, before)
    votes[lost] = votes[reached[nearer]]
    return votes


def _give_all_a_turn(first: Labels, heard: voices.Voices, centroids: Floats) -> None:
    """Give who was told and has no frame the middle of the window that sounds most like them, in `first`."""
    for person in set(range(len(centroids))) - set(first[first != _NOBODY].tolist()):
        best = int((heard.embeddings @ centroids[person]).argmax())
        middle, half = (heard.starts[best] + heard.ends[best]) / 2, RULES.gap_s / 2
        low, high = frame_of(float(middle - half)), frame_of(float(middle + half))
        first[max(0, low) : high] = person


def _find_second(first: Labels, votes: Floats, begin: int, end: int) -> Labels:
    """Return who speaks besides `first` in a stretch in which two speak."""
    main = int(np.bincount(first[begin:end]).argmax())
    reach = round(RULES.near_s / _FRAME_S)
    before, after = first[max(0, begin - reach) : begin][::-1], first[end : end + reach]
    near = [int(np.flatnonzero(others)[0]) for side in (before, after) if (others := _is_other(side, main)).any()]
    if not near:
        best, next_best = np.argsort(-votes[(begin + end) // 2], kind="stable")[:2]
        other = int(next_best if best == main else best)
    else:
        place = min(near)
        side = next(s for s in (before, after) if len(s) > place and _is_other(s, main)[place])
        other = int(side[place])
    return np.where(first[begin:end] == other, main, other)


def _is_other(labels: Labels, main: int) -> Bools:
    return np.asarray((labels != main) & (labels != _NOBODY))


def _number(turns: Sequence[FoundTurn], centroids: Floats) -> Diarization:
    """Return the turns in order, and people counted in order of appearance; who has no turn is left out."""
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end))
    old = list(dict.fromkeys(turn.person for turn in ordered))
    return Diarization(
        tuple(FoundTurn(t.start, t.end, old.index(t.person), t.confidence) for t in ordered), centroids[old]
    )


def find_runs(mask: Bools) -> list[tuple[int, int]]:
    """Return the first index of each run of true values, and the one past its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _close_gaps(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in runs:
        if found and begin - found[-1][1] < gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found

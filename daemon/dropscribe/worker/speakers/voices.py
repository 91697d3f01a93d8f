"""The voices of a recording: windows inside the speech, and what each sounds like."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.worker.speakers import features
from dropscribe.worker.speakers.networks import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from dropscribe.worker.speakers.networks import Networks

    Floats = NDArray[np.float32]
    Bools = NDArray[np.bool_]
    Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WindowRules:
    """Where windows are. In frames of 10 ms."""

    length: int = 148
    """1.5 s: shorter ones are too noisy to tell people apart; of 3 s hear two people and double the error."""
    step: int = 60
    """From one window to the next in the same stretch of speech."""
    coarse: int = 120
    """The same in a long recording, for a start: where neighbours sound like different people, or it is unsure, one
    more is put between them."""
    long_s: float = 180.0
    """Seconds of speech that make a recording long: enough windows to know everybody by half of them."""
    unsure: float = 0.1
    """Cosine by which a window must be closer to one person than to any other, to be sure."""
    least: int = 50
    """A stretch of speech that is shorter gets no window: half a second says little about a voice."""
    brief: int = 15
    """The same where somebody is missing who was told, or nobody was found: a word is better than nothing."""
    batch: int = 8
    """Windows that the network gets at once: more are no faster on a CPU and take 12 MB each."""


RULES = WindowRules()


@dataclass(frozen=True, slots=True)
class Voices:
    """What windows sound like."""

    starts: Floats
    """Seconds, in order."""
    ends: Floats
    """Seconds."""
    embeddings: Floats
    """Shape (windows, 192), unit length."""
    even: Bools
    """Which windows are spread evenly over the speech; the others are where somebody else begins."""


def place_windows(
    speech: Sequence[tuple[float, float]],
    seconds: float,
    step: int,
    rules: WindowRules = RULES,
    *,
    brief: bool = False,
) -> list[Window]:
    """Return the first frame of each window and the one past its last, in order.

    A stretch that is shorter than a window gets one around it, and the last window of a stretch ends with it.

    Args:
        speech: Start and end of each stretch of speech in seconds, in order.
        seconds: The length of the recording.
        step: From one window to the next.
        rules: The constants.
        brief: Place them around the stretches that are too short otherwise, and nowhere else.
    """
    frames = max(0, (round(seconds * SAMPLE_RATE) - features.WINDOW) // features.SHIFT + 1)
    length = min(rules.length, frames)
    found = []
    for start, end in speech:
        first, last = round(start * 100), round(end * 100)
        if (last - first < rules.least) != brief or last - first < rules.brief:
            continue
        starts = list(range(first, max(first + 1, last - length + 1), step))
        if last - length - starts[-1] > rules.step // 3:
            starts.append(last - length)
        if last - first < length:
            starts = [first - (length - (last - first)) // 2]
        found += [min(max(0, each), frames - length) for each in starts]
    return [(each, each + length) for each in sorted(set(found))] if length > 0 else []


def embed_windows(
    samples: Floats,
    windows: Sequence[Window],
    networks: Networks,
    *,
    batch: int = RULES.batch,
    heartbeat: Callable[[float], None] | None = None,
) -> Voices:
    """Return the voice of each window of a recording, mono, 16 kHz."""
    embeddings = np.empty((len(windows), DIMENSIONS), np.float32)

    def embed(first: int) -> Floats:
        return networks.embed(np.stack(list(_mel_windows(samples, windows[first : first + batch]))))

    starts = range(0, len(windows), batch)
    for first, found in zip(starts, networks.map(embed, starts), strict=True):
        embeddings[first : first + len(found)] = found
        if heartbeat is not None:
            heartbeat(windows[first + len(found) - 1][1] / 100)
    edges = np.array(windows, np.float32).reshape(-1, 2) / np.float32(100)
    return Voices(edges[:, 0], edges[:, 1], embeddings, np.ones(len(windows), np.bool_))


def place_between(
    windows: Sequence[Window], voices: Voices, people: Floats, rules: WindowRules = RULES
) -> list[Window]:
    """Return a window between each two neighbours that sound like different people, or not surely like one.

    Args:
        windows: Evenly spread, `coarse` apart.
        voices: Of these windows.
        people: The voice of each person, shape (people, dimensions).
        rules: The constants.
    """
    if len(people) < 2:
        return []
    close = np.sort(voices.embeddings @ people.T, axis=1)
    who = (voices.embeddings @ people.T).argmax(axis=1)
    unsure = close[:, -1] - close[:, -2] < rules.unsure
    return [
        (one[0] + rules.step, one[1] + rules.step)
        for i, (one, other) in enumerate(itertools.pairwise(windows))
        if rules.step < other[0] - one[0] <= rules.coarse and (who[i] != who[i + 1] or unsure[i] or unsure[i + 1])
    ]


def merge_voices(first: Voices, more: Voices, *, even: bool = False) -> Voices:
    """Return all windows in order of time; `even`: the second ones are taken for evenly spread, too."""
    starts = np.concatenate([first.starts, more.starts])
    order = np.argsort(starts, kind="stable")
    return Voices(
        starts[order],
        np.concatenate([first.ends, more.ends])[order],
        np.concatenate([first.embeddings, more.embeddings])[order],
        np.concatenate([first.even, np.full_like(more.even, even)])[order],
    )


def _mel_windows(samples: Floats, windows: Sequence[Window]) -> Iterator[Floats]:
    """Yield the log mel energies of windows; what windows share is computed once."""
    begin, energies = 0, np.zeros((0, features.BINS), np.float32)
    for place, (first, last) in enumerate(windows):
        if last > begin + len(energies):
            end = last
            for start, stop in windows[place + 1 :]:
                if start > end:
                    break
                end = stop
            sound = samples[first * features.SHIFT : (end - 1) * features.SHIFT + features.WINDOW]
            begin, energies = first, features.compute_mel_energies(np.asarray(sound, np.float32))
        yield energies[first - begin : last - begin]

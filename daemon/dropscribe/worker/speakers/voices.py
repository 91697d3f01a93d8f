"""The voices of a recording: windows inside the speech, and what each sounds like."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class WindowRules:
    """Where windows are. In frames of 10 ms."""

    length: int = 148
    """1.5 s: shorter ones are too noisy to tell people apart; of 3 s hear two people and double the error."""
    step: int = 60
    """From one window to the next in the same stretch of speech."""
    least: int = 50
    """A stretch of speech that is shorter gets no window: half a second says little about a voice."""
    batch: int = 16
    """Windows that the network gets at once: more are no faster on a CPU and take 3 MB each."""


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


def place_windows(
    speech: Sequence[tuple[float, float]], seconds: float, rules: WindowRules = RULES
) -> list[tuple[int, int]]:
    """Return the first frame of each window and the one past its last, in order.

    A stretch that is shorter than a window gets one around it, and the last window of a stretch ends with it.

    Args:
        speech: Start and end of each stretch of speech in seconds, in order.
        seconds: The length of the recording.
        rules: The constants.
    """
    frames = max(0, (round(seconds * SAMPLE_RATE) - features.WINDOW) // features.SHIFT + 1)
    length = min(rules.length, frames)
    found = []
    for start, end in speech:
        first, last = round(start * 100), round(end * 100)
        if last - first < rules.least:
            continue
        starts = list(range(first, max(first + 1, last - length + 1), rules.step))
        if last - length - starts[-1] > rules.step // 3:
            starts.append(last - length)
        if last - first < length:
            starts = [first - (length - (last - first)) // 2]
        found += [min(max(0, each), frames - length) for each in starts]
    return [(each, each + length) for each in sorted(set(found))] if length > 0 else []


def embed_windows(
    samples: Floats,
    windows: Sequence[tuple[int, int]],
    networks: Networks,
    *,
    batch: int = RULES.batch,
    heartbeat: Callable[[float], None] | None = None,
) -> Voices:
    """Return the voice of each window of a recording, mono, 16 kHz."""
    embeddings = np.empty((len(windows), DIMENSIONS), np.float32)
    for first in range(0, len(windows), batch):
        block = windows[first : first + batch]
        embeddings[first : first + len(block)] = networks.embed(np.stack(list(_mel_windows(samples, block))))
        if heartbeat is not None:
            heartbeat(block[-1][1] / 100)
    edges = np.array(windows, np.float32).reshape(-1, 2) / np.float32(100)
    return Voices(edges[:, 0], edges[:, 1], embeddings)


def _mel_windows(samples: Floats, windows: Sequence[tuple[int, int]]) -> Iterator[Floats]:
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

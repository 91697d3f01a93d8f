"""How surely a voice that was taught is known again, and how seldom a stranger is taken for it.

    python tests/bench/voices.py PEOPLE [--cache FILE]

`PEOPLE` is a folder with a folder for each person, with recordings of them alone: better from several days. Half of
the people, by a checksum of their names, choose the constants (`tune`), the other half reports.

Each voice is taught from 13 s: of the first recordings of a person, else of the first half of the only one. It is
compared with the rest in pieces of 3, 6 and 13 s, as the worker compares them:

- `same`: the other half of the same recording. `other`: another recording.
- `worse`: the second half of the only recording through a telephone (300 to 3400 Hz, pink noise at 15 dB) or in a
  room (reverberation of 0.4 s, noise at 20 dB).

False accepts are of pairs of a piece and the voice of somebody else; false rejects of pieces and their own voice.
"""

from __future__ import annotations

import argparse
import pickle
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from speaker_material import read  # type: ignore[import-not-found] # it is beside this file

from dropscribe.models.speakers import store
from dropscribe.worker.speakers import activity, diarization, known, networks, voices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Heard = dict[tuple[str, str, str], Floats]
    """The voices of the windows of a recording, by person, file and `real` or `worse`."""

TAUGHT = 20
"""Windows that a voice is taught from."""
PIECES = (4, 8, 20)
MOST_S = 60.0
"""Seconds of each recording."""


def embed(sound: Floats, nets: networks.Networks) -> Floats:
    """Return the voice of each window in which somebody speaks."""
    found = activity.find_activity(sound, nets)
    runs = diarization.find_runs(found.count() > diarization.RULES.speech)
    speech = [(activity.time_of(first), activity.time_of(last)) for first, last in runs]
    windows = voices.place_windows(speech, len(sound) / 16_000, voices.RULES.step)
    return voices.embed_windows(sound, windows, nets).embeddings


def make_worse(sound: Floats, rng: np.random.Generator) -> Floats:
    """Return sound as a telephone or a room makes it."""
    spectrum, hertz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / 16_000)
    if rng.random() < 0.5:
        spectrum[(hertz < 300) | (hertz > 3400)] = 0
        made, snr = np.fft.irfft(spectrum, len(sound)), 15.0
    else:
        tail = np.arange(4800) / 16_000
        echo = rng.normal(size=len(tail)) * np.exp(-tail * 6.9 / 0.4) * 0.25
        echo[0] = 1
        size = 1 << (len(sound) + len(echo)).bit_length()
        made = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)[: len(sound)]
        snr = 20.0
    pink = np.fft.rfft(rng.normal(size=len(sound)))
    pink[1:] /= np.sqrt(np.arange(1, len(pink)))
    pink[0] = 0
    noise = np.fft.irfft(pink, len(sound))
    made += noise * np.sqrt(np.square(made).mean() / np.square(noise).mean()) * 10 ** (-snr / 20)
    return np.asarray(made, np.float32)


def hear(folder: Path) -> Heard:
    """Return what everybody sounds like."""
    nets = networks.load_networks(store.find_networks())
    rng = np.random.default_rng(1)
    heard: Heard = {}
    for person in sorted(folder.iterdir()):
        paths = sorted(person.iterdir())
        for path in paths:
            sound = read(path)[: int(MOST_S * 16_000)]
            heard[person.name, path.name, "real"] = embed(sound, nets)
            if len(paths) == 1:
                heard[person.name, path.name, "worse"] = embed(make_worse(sound[len(sound) // 2 :], rng), nets)
    return heard


def direction(windows: Floats) -> Floats:
    """Return the centroid of windows."""
    total = windows.sum(axis=0)
    return np.asarray(total / np.linalg.norm(total), np.float32)


def compare(heard: Heard, people: list[str], size: int) -> tuple[dict[str, list[float]], list[float]]:
    """Return the similarity of pieces of `size` windows to their own voice, by kind, and to those of others."""
    taught: dict[str, Floats] = {}
    pieces: list[tuple[str, str, Floats]] = []
    for person in people:
        rows = {file: windows for (who, file, kind), windows in heard.items() if who == person and kind == "real"}
        recordings = [windows for windows in rows.values() if len(windows) >= 4]
        if len(recordings) == 1:
            half = len(recordings[0]) // 2
            if half < 4:
                continue
            first, rest = recordings[0][:half], [("same", recordings[0][half + 2 :])]
            worse = [w for (who, _, kind), w in heard.items() if who == person and kind == "worse" and len(w) >= 4]
            rest += [("worse", windows) for windows in worse]
        elif recordings:
            count = 1
            while sum(map(len, recordings[:count])) < TAUGHT and count < len(recordings) - 1:
                count += 1
            first = np.concatenate(recordings[:count])
            rest = [("other", windows) for windows in recordings[count:]]
        else:
            continue
        taught[person] = direction(first[:TAUGHT])
        for kind, windows in rest:
            cut = [windows[at : at + size] for at in range(0, max(1, len(windows) - size + 1), size)]
            pieces += [(person, kind, piece) for piece in cut if len(piece) >= 3]
    names, embeddings = list(taught), np.stack(list(taught.values()))
    own: dict[str, list[float]] = {}
    others: list[float] = []
    for person, kind, piece in pieces:
        seconds = 1.5 + 0.6 * (len(piece) - 1)
        row = known.compare(direction(piece)[None], np.array([seconds]), embeddings)[0]
        for name, value in zip(names, row, strict=True):
            own.setdefault(kind, []).append(float(value)) if name == person else others.append(float(value))
    return own, others


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--cache", type=Path, help="where what was heard is kept for the next run")
    args = parser.parse_args()
    if args.cache is not None and args.cache.exists():
        heard: Heard = pickle.loads(args.cache.read_bytes())  # noqa: S301 (written below)
    else:
        heard = hear(args.people)
        if args.cache is not None:
            args.cache.write_bytes(pickle.dumps(heard))
    names = sorted({who for who, _, _ in heard}, key=lambda name: zlib.crc32(name.encode()))
    limits = {"perhaps": known.RULES.perhaps, "certain": known.RULES.certain}
    for half, people in (("tune", names[::2]), ("report", names[1::2])):
        print(f"{half}: {len(people)} people; limits {limits}")
        for size in PIECES:
            own, others = compare(heard, people, size)
            accepts = {name: f"{100 * np.mean(np.array(others) >= limit):.3f} %" for name, limit in limits.items()}
            print(f"  {1.5 + 0.6 * (size - 1):4.1f} s: false accepts of {len(others)} pairs {accepts}")
            for kind, values in own.items():
                missed = {name: f"{100 * np.mean(np.array(values) < limit):.1f} %" for name, limit in limits.items()}
                print(f"          {kind}: false rejects of {len(values)} pieces {missed}")


if __name__ == "__main__":
    main()

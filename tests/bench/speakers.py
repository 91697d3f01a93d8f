"""How well speakers are told apart, and how fast.

    python tests/bench/speakers.py MATERIAL/report [--peer senko=DIR ...] [--words MODEL] [--one FILE ...]

`MATERIAL` is made by `speaker_material.py`; constants are chosen on its half `tune`, figures are of `report`. A peer
is a folder of JSON files, one a recording, as `speakers_senko.py` writes them in an environment of its own.

- DER: diarization error rate, overlap included, a collar of 0.25 s around the true turns not scored: what is missed,
  invented and given to the wrong person, over all speech of all files. `--check` compares with pyannote.metrics.
- people: recordings in which their number is right: of all, and of those who speak for 2 s. "told": with the number.
- words: words of the product's own transcript that are given to the wrong speaker, of those whose middle lies inside
  one true turn and no other.
- one: recordings of one voice, which must stay one.
- speed: seconds of sound for each second of CPU time; on N cores at most N times that.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from speaker_material import read  # type: ignore[import-not-found] # it is beside this file

from dropscribe.models.speakers import store
from dropscribe.worker.speakers.diarization import decide, listen
from dropscribe.worker.speakers.networks import Networks, load_networks

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 0.01  # seconds of a frame that is scored
LONG_S = 2.0  # seconds: who speaks less in all says a word
Turn = tuple[float, float, str]


@dataclass
class Score:
    """Seconds, summed over recordings."""

    missed: float = 0.0
    invented: float = 0.0
    wrong: float = 0.0
    spoken: float = 0.0
    right_count: int = 0
    right_long: int = 0
    recordings: int = 0
    names: dict[str, str] = field(default_factory=dict)
    """Of the last recording: the true name of each found one."""

    def add(self, other: Score) -> None:
        """Add another recording."""
        for name in ("missed", "invented", "wrong", "spoken", "right_count", "right_long", "recordings"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def rate(self) -> float:
        """Diarization error rate in percent."""
        return 100 * (self.missed + self.invented + self.wrong) / max(self.spoken, 1e-9)

    def __str__(self) -> str:
        parts = [100 * each / max(self.spoken, 1e-9) for each in (self.missed, self.invented, self.wrong)]
        missed, invented, wrong = parts
        return (
            f"DER {self.rate:5.2f} % (missed {missed:.1f}, invented {invented:.1f}, wrong {wrong:.1f})"
            f"   people {self.right_count} of {self.recordings}, of {LONG_S:g} s {self.right_long}"
        )


def score(true: list[Turn], found: list[Turn], seconds: float, collar: float = 0.25) -> Score:
    """Return the error of one recording under the best assignment of found people to true ones."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    frames = int(seconds / STEP) + 1
    scored = np.ones(frames, bool)
    for start, end, _ in true:
        for edge in (start, end):
            scored[max(0, round((edge - collar) / STEP)) : max(0, round((edge + collar) / STEP))] = False
    a, true_names = _paint(true, frames)
    b, found_names = _paint(found, frames)
    whole, a, b = a, a[:, scored], b[:, scored]
    shared = a.astype(np.float32) @ b.astype(np.float32).T
    rows, columns = linear_sum_assignment(-shared)
    speaking, claimed = a.sum(axis=0), b.sum(axis=0)
    return Score(
        missed=float(np.maximum(speaking - claimed, 0).sum()) * STEP,
        invented=float(np.maximum(claimed - speaking, 0).sum()) * STEP,
        wrong=float(np.minimum(speaking, claimed).sum() - shared[rows, columns].sum()) * STEP,
        spoken=float(speaking.sum()) * STEP,
        right_count=int(len(true_names) == len(found_names)),
        right_long=int(sum(row.sum() * STEP >= LONG_S for row in whole) == len(found_names)),
        recordings=1,
        names={found_names[j]: true_names[i] for i, j in zip(rows, columns, strict=True) if shared[i, j]},
    )


def _paint(turns: list[Turn], frames: int) -> tuple[NDArray[np.bool_], list[str]]:
    names = sorted({name for *_, name in turns})
    painted = np.zeros((len(names), frames), bool)
    for start, end, name in turns:
        painted[names.index(name), round(start / STEP) : round(end / STEP)] = True
    return painted, names


def check(true: list[Turn], found: list[Turn], seconds: float) -> float:
    """Return the rate that pyannote.metrics gives."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotate(turns: list[Turn]) -> Any:
        made = Annotation()
        for index, (start, end, name) in enumerate(turns):
            made[Segment(start, end), index] = name
        return made

    metric = DiarizationErrorRate(collar=0.5)  # there it is the width of both sides together
    return 100 * float(metric(annotate(true), annotate(found), uem=Timeline([Segment(0, seconds)])))


def find_turns(path: Path, networks: Networks, *wanted: int) -> tuple[list[list[Turn]], float, float]:
    """Return the product's turns for each number of people, the seconds of sound, and those of CPU time for one."""
    sound = read(path)
    started = time.process_time()
    heard = listen(sound, networks)
    found = [decide(sound, networks, *heard, wanted[0])]
    spent = time.process_time() - started
    found += [decide(sound, networks, *heard, more) for more in wanted[1:]]
    turns = [[(t.start, t.end, str(t.person)) for t in each.turns] for each in found]
    return turns, len(sound) / 16_000, spent


def count_wrong_words(path: Path, model: str, speakers: str, true: list[Turn]) -> tuple[int, int]:
    """Return how many words of the product's transcript have a wrong speaker, and how many can be judged."""
    command = [sys.executable, "-m", "dropscribe", "transcribe", str(path), "--model", model, "--json"]
    done = subprocess.run([*command, "--speakers", speakers], capture_output=True, text=True, check=True)
    words = [word for segment in json.loads(done.stdout)["segments"] for word in segment["words"]]
    found = [(w["start"], w["end"], w.get("speaker", "nobody")) for w in words]
    names = score(true, found, max(end for *_, end, _ in [(0, *turn) for turn in true]) + 1, collar=0).names
    wrong = judged = 0
    for start, end, who in found:
        middle = (start + end) / 2
        at_once = {name for begin, last, name in true if begin <= middle < last}
        if len(at_once) == 1:
            judged += 1
            wrong += names.get(who) not in at_once
    return wrong, judged


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--words", metavar="MODEL", default="")
    parser.add_argument("--one", type=Path, nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare with pyannote.metrics")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each recording")
    args = parser.parse_args()
    networks = load_networks(store.find_networks(), args.threads)
    sums: dict[tuple[str, str], Score] = {}
    sound_s = cpu_s = 0.0
    wrong = {"auto": 0, "told": 0}
    judged = {"auto": 0, "told": 0}
    for path in sorted(args.material.glob("*.wav")):
        truth = json.loads(path.with_suffix(".json").read_text())
        true = [(start, end, name) for start, end, name in truth["turns"]]
        kind = path.name.partition("-")[0].rstrip("0123456789")
        rows: dict[str, list[Turn]] = {}
        (rows["auto"], rows["told"]), seconds, spent = find_turns(path, networks, 0, truth["people"])
        sound_s, cpu_s = sound_s + seconds, cpu_s + spent
        for peer in args.peer:
            name, _, folder = peer.partition("=")
            made = json.loads((Path(folder) / f"{path.stem}.json").read_text())
            rows |= {f"{name}, {which}": [tuple(turn) for turn in made[which]] for which in ("raw", "merged")}
        for name, turns in rows.items():
            own = score(true, turns, seconds)
            sums.setdefault((kind, name), Score()).add(own)
            if args.verbose:
                print(f"  {path.stem:<16} {name:<14} {own}")
            if args.check:
                other = check(true, turns, seconds)
                print(f"  {path.stem:<16} {name:<14} ours {own.rate:.2f}, pyannote.metrics {other:.2f}")
        if args.words and truth["people"] > 1:
            for way, speakers in (("auto", "auto"), ("told", str(truth["people"]))):
                more = count_wrong_words(path, args.words, speakers, true)
                wrong[way], judged[way] = wrong[way] + more[0], judged[way] + more[1]
    for (kind, name), total in sorted(sums.items()):
        print(f"{kind:<8} {name:<14} {total}")
    for way, count in judged.items():
        if count:
            print(f"words to the wrong speaker, {way}: {wrong[way]} of {count} ({100 * wrong[way] / count:.2f} %)")
    for path in args.one:
        print(f"one voice: {path.name}: {len({who for *_, who in find_turns(path, networks, 0)[0][0]})} found")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mib = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(f"{sound_s / cpu_s:.1f} x real time for each core, {args.threads} threads; peak {mib:.0f} MiB")


if __name__ == "__main__":
    main()

"""How many subtitle cues break a rule of readability: ours next to those of other writers, from the same words.

usage: subtitles.py [--whisperx FILE] [--each] [--faster FACTOR] TRANSCRIPT.json ...

Each transcript is given to this program's writer and, in the form it takes, to `mlx_whisper.writers` (which is that
of OpenAI's whisper), as it is and with the options that limit its lines; with `--whisperx` also to the writer of
WhisperX (FILE is its `utils.py`). faster-whisper has none; its examples print a cue for each segment, as the first of
these does. Every file is read back by one reader and measured against `Limits` of the transcript's language.

`--each` also lists the cues of ours that break a rule. `--faster` makes the speakers speak faster by a factor, to see
what gives way when there is no time to read.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import io
import itertools
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.formats.cues import Limits
from dropscribe.formats.line_breaking import count_columns
from dropscribe.formats.subtitles import render_srt
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RULES = {
    "lines": "more than 2 lines",
    "wide": "a line of more than 42 columns",
    "short": "stands for less than 1 s",
    "long": "stands for more than 7 s",
    "fast": "more than 20 columns a second",
    "overlap": "begins before the one before it ends",
    "silence": "stands for more than 1 s without a word",
    "off": "begins more than 0.25 s from its first word",
    "uneven": "one line less than half as long as the other",
}
HABITS = {
    "no gap": "follows the one before it at once, without two frames between",
    "cut": "ends inside a phrase: no mark, no pause of 0.3 s after it",
    "lone": "is a single word, of a sentence of more",
}


@dataclass(frozen=True)
class Cue:
    start: int
    end: int
    lines: list[str]


@dataclass(frozen=True)
class Spoken:
    """Words as (start, end) in milliseconds, and which of them each letter belongs to."""

    times: list[tuple[int, int]]
    owner: list[int]
    ends: list[bool]


def read(text: str) -> list[Cue]:
    found = []
    pattern = r"(\d+):(\d\d):(\d\d),(\d{3}) --> (\d+):(\d\d):(\d\d),(\d{3})\n(.*?)\n\n"
    for match in re.finditer(pattern, text + "\n\n", re.DOTALL):
        t = [int(g) for g in match.groups()[:8]]
        start, end = (((t[i] * 60 + t[i + 1]) * 60 + t[i + 2]) * 1000 + t[i + 3] for i in (0, 4))
        found.append(Cue(start, end, [line.strip() for line in match[9].strip("\n").split("\n")]))
    return found


def spoken(transcript: Transcript) -> Spoken:
    words = [w for s in transcript.segments for w in s.words]
    times = [(round(w.start * 1000), round(w.end * 1000)) for w in words]
    owner = [i for i, w in enumerate(words) for _ in "".join(w.word.split())]
    return Spoken(times, owner, [w.word.rstrip()[-1:] in ".?!,;:…" for w in words])


def judge(cues: list[Cue], said: Spoken, limits: Limits) -> Iterator[tuple[Cue, set[str]]]:
    at = 0
    for before, cue in zip([None, *cues], cues, strict=False):
        broken = set()
        letters = sum(len("".join(line.split())) for line in cue.lines)
        first, last = said.owner[at], said.owner[min(at + letters, len(said.owner)) - 1]
        at += letters
        shown, columns = cue.end - cue.start, [count_columns(line) for line in cue.lines]
        if len(columns) > limits.lines:
            broken.add("lines")
        if max(columns) > limits.line:
            broken.add("wide")
        if shown < limits.shortest - 1:  # writers round to the millisecond
            broken.add("short")
        if shown > limits.longest + 1:
            broken.add("long")
        if (sum(columns) + len(columns) - 1) * 1000 > limits.fastest * (shown + 1):
            broken.add("fast")
        if before and cue.start < before.end:
            broken.add("overlap")
        if before and 0 <= cue.start - before.end < limits.gap - 1:
            broken.add("no gap")
        if longest_silence(cue, said.times) > limits.silence + 1:
            broken.add("silence")
        if abs(cue.start - said.times[first][0]) > limits.shift + 1:
            broken.add("off")
        if len(columns) == 2 and min(columns) * 2 < max(columns):
            broken.add("uneven")
        pause = said.times[last + 1][0] - said.times[last][1] if last + 1 < len(said.times) else 1000
        if not said.ends[last] and pause < 300:
            broken.add("cut")
        if first == last and first and not said.ends[first - 1]:
            broken.add("lone")
        yield cue, broken


def longest_silence(cue: Cue, times: list[tuple[int, int]]) -> int:
    longest, at = 0, cue.start
    for start, end in times:
        if end > cue.start and start < cue.end:
            longest, at = max(longest, start - at), max(at, end)
    return max(longest, cue.end - at)


def theirs(writers: Any, options: dict[str, Any], joined: bool) -> Callable[[Transcript], str]:
    """Return a writer in the shape of OpenAI's; `joined` says that words come with their spaces."""

    def write(transcript: Transcript) -> str:
        out = io.StringIO()
        segments = [
            {
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "words": [
                    {"word": w.word if joined else w.word.strip(), "start": w.start, "end": w.end} for w in s.words
                ],
            }
            for s in transcript.segments
        ]
        result = {"segments": segments, "language": transcript.language}
        writers.WriteSRT(".").write_result(result, file=out, options=options)
        return out.getvalue()

    return write


def hurried(transcript: Transcript, factor: float) -> Transcript:
    def sooner(part: Any) -> Any:
        return dataclasses.replace(part, start=part.start / factor, end=part.end / factor)

    segments = (dataclasses.replace(sooner(s), words=tuple(map(sooner, s.words))) for s in transcript.segments)
    return dataclasses.replace(transcript, segments=tuple(segments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whisperx", type=Path)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--faster", type=float, default=1.0)
    parser.add_argument("transcripts", nargs="+", type=Path)
    arguments = parser.parse_args()
    plain = {"max_line_width": None, "max_line_count": None, "highlight_words": False}
    limited = plain | {"max_line_width": 42, "max_line_count": 2}
    writers: dict[str, Callable[[Transcript], str]] = {"Dropscribe": render_srt}
    import mlx_whisper.writers

    writers["mlx_whisper"] = theirs(mlx_whisper.writers, plain, joined=True)
    writers["mlx_whisper, 2 lines of 42"] = theirs(mlx_whisper.writers, limited, joined=True)
    if arguments.whisperx:
        spec = importlib.util.spec_from_file_location("whisperx_utils", arguments.whisperx)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        writers["WhisperX"] = theirs(module, plain, joined=False)
        writers["WhisperX, 2 lines of 42"] = theirs(module, limited, joined=False)
    transcripts = [hurried(Transcript.from_json(p.read_bytes()), arguments.faster) for p in arguments.transcripts]
    names = [*RULES, *HABITS]
    print("|".join(["", "writer", "cues", "any rule", *names, ""]))
    print("|".join(["", "---", *["--:"] * (len(names) + 2), ""]))
    for name, write in writers.items():
        count: Counter[str] = Counter()
        total = 0
        begun = time.perf_counter()
        for path, transcript in zip(arguments.transcripts, transcripts, strict=True):
            limits = Limits().tighten(transcript.language)
            for cue, broken in judge(read(write(transcript)), spoken(transcript), limits):
                total += 1
                count.update(broken)
                count["any rule"] += bool(broken & RULES.keys())
                if arguments.each and name == "Dropscribe" and broken & RULES.keys():
                    print(path.name, cue, broken)
        seconds = time.perf_counter() - begun
        shares = [f"{100 * count[key] / total:.1f} %" for key in ("any rule", *names)]
        print("|".join(["", name, str(total), *shares, ""]), f"({seconds:.2f} s)")
    print(*itertools.chain(f"{k}: {v}" for k, v in (RULES | HABITS).items()), sep="\n")


if __name__ == "__main__":
    main()

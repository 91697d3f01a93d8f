"""Many short recordings: the daemon, packing and not, against the library it calls, one file after another.

usage: PYTHONPATH=tests python tests/bench/packing.py --speech DIR --model FOLDER [--rounds 1] [--backend NAME]
                                                      [--alone] [--out DIR] [--first N]

DIR holds `clips/*.flac`, `clips.json` (text by file name) and `score.py`. Each round runs, in turn: the library on
each file, its model hot (faster-whisper with its own decoding, its own VAD and word times; with `--backend mlx`
mlx-whisper with its defaults), the daemon with packing, with `--alone` the daemon without. All find the language by
themselves. The daemon's time is from the first recording settled to the last set of files in the outbox, its model
hot. Prints one line of JSON: seconds, processor seconds (Linux), how many times as fast, word error rates by
score.py, and words in the wrong file.

A word in the wrong file stands at the beginning or the end of a text, is neither in the truth there nor in what the
engine writes of that recording alone, and is the word with which another recording ends or begins. To show that such
words would be found, `found_of_moved` is the share found when the last word of every text is moved to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from whisper_normalizer.english import EnglishTextNormalizer

from bench.overhead import vary

PEERS = {
    "faster-whisper": """
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
def text(path):
    segments, _ = model.transcribe(str(path), vad_filter=True, word_timestamps=True)
    return " ".join(s.text.strip() for s in segments)
""",
    "mlx": """
import mlx_whisper
from faster_whisper.audio import decode_audio  # PyAV; mlx_whisper's own way needs the program ffmpeg
def text(path):
    return mlx_whisper.transcribe(decode_audio(str(path)), path_or_hf_repo=sys.argv[1], verbose=None)["text"].strip()
""",
}
DIRECT = """
import sys, time, json
from pathlib import Path
%s
files, out = [Path(line) for line in sys.stdin.read().splitlines()], Path(sys.argv[2])
for path in files[:8]:  # hot: a GPU compiles its kernels
    text(path)
wall, cpu = time.perf_counter(), time.process_time()
for path in files:
    (out / f"{path.stem}.json").write_text(json.dumps({"text": text(path)}))
print(json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
"""

normal = EnglishTextNormalizer()


def clips_of(options: argparse.Namespace) -> list[Path]:
    return sorted((options.speech / "clips").glob("*.flac"))[: options.first]


def direct(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """Time the library on one clip after another."""
    command = [sys.executable, "-c", DIRECT % PEERS[options.backend], str(options.model), str(out)]
    files = "\n".join(map(str, clips_of(options)))
    done = subprocess.run(command, input=files, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def events(folder: Path) -> list[dict[str, Any]]:
    log = folder / "logs" / "dropscribe.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process and its threads have used; 0 where it is not known."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def daemon(options: argparse.Namespace, out: Path, *, pack: bool) -> dict[str, float]:
    """Time the daemon on all clips, dropped at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = os.environ | {
            "HOME": name,
            "DROPSCRIBE_MODEL": str(options.model),
            "DROPSCRIBE_BACKEND": options.backend,
            "DROPSCRIBE_PACK": str(pack),
        }
        for part in ("inbox", "outbox", "state", "logs"):
            (folder / part).mkdir()
            environ[f"DROPSCRIBE_{part.upper()}"] = str(folder / part)
        process = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "run"], env=environ, stderr=subprocess.DEVNULL
        )
        try:
            clips = clips_of(options)
            warm = [folder / "inbox" / f"warm{n}.wav" for n in range(len(clips) if options.backend == "mlx" else 1)]
            for number, path in enumerate(warm):  # as many for a GPU, which compiles its kernels
                vary(clips[number], path, 1)
            wait(folder, process, len(warm))
            worker = next(e["pid"] for e in events(folder) if e["event"] == "worker.started")
            before = cpu_seconds(process.pid) + cpu_seconds(worker)
            for clip in clips:
                shutil.copyfile(clip, folder / "inbox" / clip.name)
            wait(folder, process, len(warm) + len(clips))
            cpu = cpu_seconds(process.pid) + cpu_seconds(worker) - before
            found = [e for e in events(folder) if e.get("file") not in {None, *(path.name for path in warm)}]
            for clip in clips:
                shutil.copyfile(folder / "outbox" / f"{clip.stem}.json", out / f"{clip.stem}.json")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    settled = min(clock(e) for e in found if e["event"] == "inbox.settled")
    return {"seconds": max(clock(e) for e in found if e["event"] == "job.done") - settled, "cpu": cpu}


def wait(folder: Path, process: subprocess.Popen[bytes], number: int) -> None:
    while True:
        time.sleep(0.2)
        log = folder / "logs" / "dropscribe.jsonl"
        text = log.read_text() if log.exists() else ""
        if '"job.failed"' in text or process.poll() is not None:
            sys.exit(f"the daemon failed: {text[-2000:]}")
        if text.count('"event": "job.done"') >= number:
            return


def clock(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def texts(folder: Path) -> dict[str, str]:
    return {p.stem: json.loads(p.read_text(encoding="utf-8"))["text"] for p in sorted(folder.glob("*.json"))}


def foreign(made: dict[str, str], alone: dict[str, str], truth: dict[str, str]) -> list[str]:
    """Return the words in the wrong file, each with the file's name."""
    plain = {name: (normal(truth[name]).split(), normal(alone[name]).split()) for name in made}
    lasts = {words[-1] for pair in plain.values() for words in pair if words}
    firsts = {words[0] for pair in plain.values() for words in pair if words}
    found = []
    for name, text in made.items():
        words = normal(text).split()
        own = plain[name]
        if not words:
            continue
        # One word more at an edge: without it the text begins or ends as it should, with it it does not.
        if words[0] in lasts and not any(o[:1] == words[:1] for o in own) and any(o[:1] == words[1:2] for o in own):
            found.append(f"{name}: {words[0]} …")
        ends = not any(o[-1:] == words[-1:] for o in own) and any(o[-1:] == words[-2:-1] for o in own)
        if words[-1] in firsts and ends:
            found.append(f"{name}: … {words[-1]}")
    return found


def moved(alone: dict[str, str]) -> dict[str, str]:
    """Return the texts with the last word of each moved to the next."""
    split = {name: text.split() for name, text in alone.items()}
    lasts = [words[-1] if words else "" for words in split.values()]
    return {name: " ".join([lasts[number - 1], *words[:-1]]) for number, (name, words) in enumerate(split.items())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="faster-whisper", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--first", type=int, help="no more than so many clips; then there are no error rates")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.model = options.model.absolute()
    truth = {Path(k).stem: v for k, v in json.loads((options.speech / "clips.json").read_text()).items()}
    taken: dict[str, list[dict[str, float]]] = {"one by one": [], "packed": []}
    if options.alone:
        taken["alone"] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: (options.out or Path(scratch)) / name.replace(" ", "-") for name in taken}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        for _ in range(options.rounds):
            taken["one by one"].append(direct(options, folders["one by one"]))
            taken["packed"].append(daemon(options, folders["packed"], pack=True))
            if options.alone:
                taken["alone"].append(daemon(options, folders["alone"], pack=False))
            alone = texts(folders["alone" if options.alone else "one by one"])
            wrong += foreign(texts(folders["packed"]), alone, truth)
            print(taken, file=sys.stderr, flush=True)
        if options.first:
            truth = {path.stem: truth[path.stem] for path in clips_of(options)}
        score = [sys.executable, str(options.speech / "score.py"), "--clips", str(options.speech / "clips.json")]
        errors = {
            name: json.loads(subprocess.run([*score, str(folder)], capture_output=True, check=True).stdout)["wer"]
            for name, folder in folders.items()
            if not options.first
        }
        by_hand = foreign(moved(alone), alone, truth)
    base = taken["one by one"]
    print(
        json.dumps(
            {
                "rounds": options.rounds,
                "cores": os.cpu_count(),
                "seconds": {k: [round(r["seconds"], 1) for r in v] for k, v in taken.items()},
                "cpu": {k: [round(r["cpu"], 1) for r in v] for k, v in taken.items()},
                "times_as_fast": {k: ratio(base, v, "seconds") for k, v in taken.items()},
                "times_less_cpu": {k: ratio(base, v, "cpu") for k, v in taken.items()},
                "wer": errors,
                "words_in_the_wrong_file": wrong,
                "found_of_moved": round(len({f.partition(":")[0] for f in by_hand}) / len(truth), 2),
            },
            ensure_ascii=False,
        )
    )


def ratio(base: list[dict[str, float]], other: list[dict[str, float]], what: str) -> float:
    return round(statistics.median(b[what] / max(0.01, o[what]) for b, o in zip(base, other, strict=True)), 2)


if __name__ == "__main__":
    main()

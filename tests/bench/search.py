"""How fast sentences are found among many, and how large the index is beside the texts.

usage: python tests/bench/search.py [--sentences 100000] [--text FILE]

The sentences are made of words whose frequencies are those of a natural language (Zipf's law), 14 in each; every
fifth transcript is of signs without spaces, 40 in each. With `--text` they are the lines of a file, again and again.
A query counts from the open index to the first 20 sentences: CPU time, median of seven, the file in the system's
cache. Prints one line of JSON for each query, and one for the index.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from dropscribe.library.index import Document, Filters, Index
from dropscribe.transcript import Engine, Segment, Source, Timing, Transcript

IN_ONE = 500
"""Sentences of a transcript: about half an hour."""


def make_words(count: int, letters: str, shortest: int, longest: int) -> list[str]:
    return ["".join(random.choice(letters) for _ in range(random.randint(shortest, longest))) for _ in range(count)]


def make_transcript(number: int, said: list[str], language: str) -> Transcript:
    segments = tuple(
        Segment(i, 4.0 * i, 4.0 * i + 3.5, text, speaker=("Anna", "Ben")[i % 2]) for i, text in enumerate(said)
    )
    name = f"{number % 50}/talk {number}.wav"
    date = f"20{20 + number % 7}-{1 + number % 12:02}-01"
    source, engine = Source(name, name, "0" * 64, 1, date), Engine("", "", "", None, {}, {})
    return Transcript(" ".join(said), language, None, 2000.0, segments, source, engine, Timing(1.0, 1.0, 1.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--text", type=Path)
    arguments = parser.parse_args()
    random.seed(1)
    words = make_words(30_000, "abcdefghijklmnopqrstuvwxyz", 2, 9)
    signs = [chr(0x4E00 + i) for i in range(3000)]
    zipf = [1 / (rank + 1) for rank in range(30_000)]
    lines = arguments.text.read_text("utf-8").splitlines() if arguments.text else []
    texts = 0

    def load(number: int) -> Transcript:
        if lines:
            return make_transcript(number, [lines[(number * IN_ONE + i) % len(lines)] for i in range(IN_ONE)], "en")
        if number % 5 == 0:
            drawn = random.choices(signs, zipf[:3000], k=IN_ONE * 40)
            return make_transcript(number, ["".join(drawn[i * 40 : i * 40 + 40]) for i in range(IN_ONE)], "zh")
        drawn = random.choices(words, zipf, k=IN_ONE * 14)
        return make_transcript(number, [" ".join(drawn[i * 14 : i * 14 + 14]) for i in range(IN_ONE)], "en")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.sqlite3"
        made = [load(number) for number in range(arguments.sentences // IN_ONE)]
        texts = sum(len(t.text.encode()) for t in made)
        jsons = sum(len(t.to_json().encode()) for t in made[:20]) * len(made) / min(len(made), 20)
        documents = [
            Document(t.source.path.replace(".wav", ".json"), 1, i, lambda t=t: t)  # type: ignore[misc]
            for i, t in enumerate(made)
        ]
        with Index(path) as index:
            begun = time.process_time()
            index.refresh(documents)
            seconds = time.process_time() - begun
            size = path.stat().st_size
            row = {"sentences": len(made) * IN_ONE, "texts_mb": texts / 1e6, "index_mb": size / 1e6}
            row |= {"json_without_words_mb": jsons / 1e6, "build_cpu_s": seconds}
            print(json.dumps({name: round(value, 2) for name, value in row.items()}), flush=True)
            queries = {
                "rarest word": (words[20_000], Filters()),
                "usual word": (words[300], Filters()),
                "most frequent word": (words[0], Filters()),
                "two words": (f"{words[20]} {words[300]}", Filters()),
                "phrase of the two most frequent": (f'"{words[0]} {words[1]}"', Filters()),
                "beginning of three letters": (f"{words[5][:3]}*", Filters()),
                "one letter*": (f"{words[0][:1]}*", Filters()),
                "NEAR": (f"NEAR({words[2]} {words[9]}, 5)", Filters()),
                "three signs": ("".join(signs[i] for i in (3, 1, 7)), Filters()),
                "usual word, one speaker, since": (words[300], Filters(speaker="anna", since="2024")),
                "frequent word, one speaker, since": (words[0], Filters(speaker="anna", since="2024")),
            }
            if lines:
                queries = {text: (text, Filters()) for text in ("the", "of", '"of the"', "bud*", "NEAR(he was, 4)")}
            for name, (query, filters) in queries.items():
                times = []
                for _ in range(7):
                    begun = time.process_time()
                    hits = index.search(query, filters)
                    times.append(1000 * (time.process_time() - begun))
                facts = {"query": name, "found": index.count(query, filters), "shown": len(hits)}
                print(json.dumps(facts | {"ms": round(statistics.median(times), 1)}), flush=True)


if __name__ == "__main__":
    main()

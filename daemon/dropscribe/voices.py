"""The voices that a person taught: what each sounds like, in one file of the state folder.

Such numbers are biometric data. Guarantees: the file exists only while somebody is in it, and its owner alone may
read it (mode 0600); nothing but `add_sample` and `remove_voice` writes it; a reader sees the old content or the new.
Standard library only, because the worker may run under another interpreter.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe import files
from dropscribe.errors import EnvironmentFaultError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "voices.json"
"""The file's name in the state folder."""

_FORM = 1
_DIGITS = 5  # of the numbers in the file: finer than what two runs of the network on other processors differ by


@dataclass(frozen=True, slots=True)
class Sample:
    """What a person sounded like in one recording."""

    embedding: tuple[float, ...]
    """Of unit length."""
    seconds: float
    """Of speech that it was made of."""
    source: str
    """The name of the recording."""
    added: str
    """When it was taught, ISO 8601."""
    network: str
    """Which network made it: embeddings of different ones cannot be compared."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A person whose voice is known."""

    name: str
    samples: tuple[Sample, ...]
    """In the order in which they were taught; at least one."""


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voice as recordings are compared with it."""

    name: str
    embedding: tuple[float, ...]
    """The direction of the mean of its samples, of unit length."""
    network: str


def read_voices(state: Path) -> tuple[Voice, ...]:
    """Return the voices of a state folder, sorted by name.

    Raises: EnvironmentFaultError `voices-damaged` for a file that is not as we write it; OSError.
    """
    try:
        text = (state / FILE).read_bytes()
    except FileNotFoundError:
        return ()
    try:
        return tuple(_read_voice(each) for each in json.loads(text)["voices"])
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFaultError(
            "voices-damaged",
            f"The file of known voices, {state / FILE}, cannot be read: {error!r}.",
            "Restore it, or remove it and teach the voices again.",
        ) from None


def _read_voice(data: dict[str, Any]) -> Voice:
    samples = tuple(
        Sample(
            tuple(map(float, each["embedding"])),
            float(each["seconds"]),
            str(each["source"]),
            str(each["added"]),
            str(each["network"]),
        )
        for each in data["samples"]
    )
    if not samples:
        raise ValueError(data["name"])
    return Voice(str(data["name"]), samples)


def list_known(state: Path) -> tuple[KnownVoice, ...]:
    """Return the voices of a state folder as recordings are compared with them. Raises: as `read_voices`."""
    return tuple(_summarise(voice) for voice in read_voices(state))


def _summarise(voice: Voice) -> KnownVoice:
    """Return the mean of a voice's samples; those of another network than the last one's are left out."""
    network = voice.samples[-1].network
    rows = [sample.embedding for sample in voice.samples if sample.network == network]
    sums = [math.fsum(column) for column in zip(*rows, strict=True)]
    length = math.hypot(*sums) or 1.0
    return KnownVoice(voice.name, tuple(round(value / length, _DIGITS + 1) for value in sums), network)


def compute_fingerprint(state: Path) -> str:
    """Return what stands for the known voices where a result depends on them; nothing where there are none."""
    try:
        return hashlib.sha256((state / FILE).read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def clean_name(name: str) -> str:
    """Return a name as it is kept. Raises: UsageError for one that nobody can have."""
    cleaned = unicodedata.normalize("NFC", " ".join(name.split()))
    if not cleaned or not cleaned.isprintable() or "=" in cleaned:
        raise UsageError(f"`{name}` is no name.", "Write letters, without line breaks or an equals sign.")
    return cleaned


def add_sample(state: Path, name: str, sample: Sample) -> Voice:
    """Teach a voice, or one more sample of a known one. Raises: UsageError, as `read_voices`, OSError."""
    name = clean_name(name)
    voices = {voice.name: voice for voice in read_voices(state)}
    rounded = tuple(round(value, _DIGITS) for value in sample.embedding)
    sample = Sample(rounded, round(sample.seconds, 1), sample.source, sample.added, sample.network)
    before = voices[name].samples if name in voices else ()
    voices[name] = Voice(name, (*before, sample))
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(state, voices)
    return voices[name]


def remove_voice(state: Path, name: str) -> None:
    """Forget a voice. Raises: UsageError for one that is not known, as `read_voices`, OSError."""
    voices = {voice.name: voice for voice in read_voices(state)}
    if voices.pop(clean_name(name), None) is None:
        raise UsageError(f"No voice is called {name}.", f"Known are: {', '.join(voices) or 'none'}.")
    if voices:
        _write(state, voices)
    else:
        (state / FILE).unlink(missing_ok=True)
        files.sync_folder(state)


def _write(state: Path, voices: dict[str, Voice]) -> None:
    rows = [
        {
            "name": voice.name,
            "samples": [
                {
                    "seconds": sample.seconds,
                    "source": sample.source,
                    "added": sample.added,
                    "network": sample.network,
                    "embedding": list(sample.embedding),
                }
                for sample in voice.samples
            ],
        }
        for voice in sorted(voices.values(), key=lambda voice: voice.name)
    ]
    data = json.dumps({"form": _FORM, "voices": rows}, ensure_ascii=False, indent=1)
    files.write_atomically(state / FILE, data.encode() + b"\n", mode=0o600)

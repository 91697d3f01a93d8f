"""The transcript: the one value that everything after the engine works on, and its JSON form.

Guarantees: immutable; standard library only (the worker must be able to run under another
interpreter); `Transcript.from_json(t.to_json()) == t`; the JSON is UTF-8, holds no NaN, and is
what `config/transcript.schema.json` describes. The JSON is a superset of OpenAI's `verbose_json`.

The schema's descriptions are the docstrings of the fields, line breaks and all: a change here is
a change there.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1

LANGUAGE_UNCERTAIN = "language-uncertain"
"""The code of a notice: the language may be another."""

Option = str | list[str] | dict[str, str]
"""The value of a setting that changes what a transcript says."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word as the model wrote it."""

    word: str
    """The word with the space that stands before it, as Whisper gives it: joined, the words are the text."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording, never before `start`."""
    probability: float | None = None
    """Mean probability of the word's tokens, 0 to 1; null where the engine gives none."""
    speaker: str | None = None
    """Who speaks; absent when unknown."""
    time_confidence: float | None = None
    """How likely `start` and `end` are both within 0.1 s, 0 to 1, where this is the word that was spoken; absent in
    transcripts of older versions and where the words have no times of their own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech as the model divided it, about a sentence."""

    id: int
    """Position in the transcript, from 0."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording, never before `start`."""
    text: str
    """The words of the segment, without space around them."""
    words: tuple[Word, ...] = ()
    """The words with their times; empty when the engine gives none."""
    avg_logprob: float | None = None
    """Mean log-probability of the decoded tokens, 0 or less."""
    compression_ratio: float | None = None
    """Bytes of the text over bytes of its zlib form; above 2.4 it is likely a loop."""
    no_speech_prob: float | None = None
    """The model's probability that the window holds no speech, 0 to 1."""
    temperature: float | None = None
    """The sampling temperature that gave this text; 0 is greedy or beam search."""
    speaker: str | None = None
    """Who speaks; absent when unknown."""
    language: str | None = None
    """What is spoken here, where the recording is in several languages; absent where it is in one."""
    begins: str | None = None
    """`line` or `paragraph` where a replacement says that one begins here; absent elsewhere."""


@dataclass(frozen=True, slots=True)
class Source:
    """The recording."""

    name: str
    """File name."""
    path: str
    """Path relative to the inbox, or absolute for `dropscribe transcribe`."""
    sha256: str
    """Digest of the whole file, hexadecimal."""
    bytes: int
    """Size of the file."""
    recorded_at: str | None = None
    """When it was recorded, ISO 8601, as much as is known: with zone, as local time without, or the date alone; null
    when nothing is known."""
    channels: int | None = None
    """Channels of the audio stream before mixing down to one."""
    recorded_from: str | None = None
    """Where `recorded_at` comes from: `container` (the file's own metadata), `name` (the file's or folder's name) or
    `mtime` (when the file was last changed, so not later than that); absent when unknown."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What made the text."""

    backend: str
    """The backend that really ran: `mlx`, `faster-whisper` or `whisperx`."""
    device: str
    """Where it ran, with the number format: `cpu int8`, `gpu float16`."""
    model: str
    """The model as it was asked for: a name, a hub repository or a folder."""
    revision: str | None
    """Commit of the hub repository; null for a folder."""
    versions: dict[str, str]
    """Versions of this program and of the libraries that did the work."""
    options: dict[str, Option]
    """The settings that change the result, among them the model, the language and the replacements."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took."""

    audio_s: float
    """Seconds of sound."""
    decode_s: float
    """Seconds spent on reading and resampling the file."""
    transcribe_s: float
    """Seconds from the decoded audio to the last segment, loading the model not counted."""
    speed: float
    """`audio_s` over `decode_s + transcribe_s`: times real time."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know before trusting a passage."""

    code: str
    """Stable name of the kind of notice."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording."""
    detail: str
    """One sentence for a person."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of the recording that is worth hearing again."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording, after `start`."""
    kind: str
    """`unsure`, `times` (when it is said is unsure), `loop`, `silence` (words over silence), `unheard` (speech
    without words), `language` (it changes), `speaker` (who speaks is unsure, or two at once), `damaged` or
    `warning`."""
    why: str
    """One sentence for a person; more where several things are wrong."""
    score: float
    """About how many words are at stake: the worse, the higher."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one person speaks."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording, after `start`."""
    confidence: float
    """How sure it is who speaks, 0 to 1: the share of this stretch's short windows that sound most like this
    person."""


@dataclass(frozen=True, slots=True)
class VoiceMatch:
    """A known voice that a speaker sounds like."""

    name: str
    """What the known voice is called."""
    similarity: float
    """Cosine of the two voices, corrected for how little speech there is; the same person has 0.5 to 1."""
    certain: bool
    """Whether the speaker was called so for it. Where not, it is perhaps this person: a human has to say."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A person whose voice is in the recording."""

    name: str
    """As in `speaker` of words and segments."""
    seconds: float
    """How long this person speaks, also while another does."""
    share: float
    """The same as a share of what all speak together, 0 to 1."""
    confidence: float
    """How sure the turns are, 0 to 1: their mean, longer ones counting more."""
    turns: tuple[Turn, ...] = ()
    """When this person speaks, in order. Turns of different people may overlap."""
    voice: VoiceMatch | None = None
    """The known voice that this person certainly or perhaps has; absent where there is none."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that a person corrected."""

    kind: str
    """`words` (written otherwise), `name` (a speaker is called otherwise), `turn` (somebody else said this) or
    `accept` (a passage that was listed for listening again is right)."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording."""
    before: str
    """The words, or the speaker, as they were."""
    after: str
    """The words, or the speaker, as they are now; empty where words were taken out, and for `accept`."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person corrected and saved together."""

    made: str
    """When, ISO 8601 with a zone."""
    by: str
    """Who: the name of the account, or what was given."""
    edits: tuple[Edit, ...]
    """In the order in which they are made."""
    undone: str | None = None
    """When it was taken back, ISO 8601 with a zone; absent where it holds."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A finished transcript of one recording."""

    text: str
    """The whole text: the segments' texts joined with spaces."""
    language: str
    """ISO 639-1 code (or Whisper's own where there is none), set or detected."""
    language_probability: float | None
    """How sure the detection was, 0 to 1; null when the language was set."""
    duration: float
    """Seconds of sound in the recording."""
    segments: tuple[Segment, ...]
    """In order of time."""
    source: Source
    """The recording."""
    engine: Engine
    """What made the text."""
    timing: Timing
    """How long it took."""
    warnings: tuple[Notice, ...] = ()
    """What to know before trusting a passage."""
    schema_version: int = SCHEMA_VERSION
    """Version of this form; readers ignore fields they do not know."""
    review: tuple[Passage, ...] | None = None
    """Where to listen again, the worst first, none overlapping another; absent in transcripts of older versions."""
    speakers: tuple[Speaker, ...] | None = None
    """Who speaks, in order of appearance, where the setting `speakers` asks for it; absent where it does not. One
    alone has no name in words and segments, unless the setting gives one."""
    corrections: tuple[Correction, ...] | None = None
    """What people corrected, the first first; absent where nobody did. The text is as it is after them."""

    def to_json(self) -> str:
        """Return the JSON form, indented by one space. Raises: ValueError on NaN."""
        return json.dumps(to_dict(self), ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Transcript:
        """Read what `to_json` wrote; unknown fields are ignored.

        Raises: KeyError or TypeError for a field that is missing.
        """
        data = json.loads(text)
        return cls(
            **_pick_fields(cls, data)
            | {
                "segments": tuple(segment_from_dict(s) for s in data["segments"]),
                "source": Source(**_pick_fields(Source, data["source"])),
                "engine": Engine(**_pick_fields(Engine, data["engine"])),
                "timing": Timing(**_pick_fields(Timing, data["timing"])),
                "warnings": tuple(Notice(**_pick_fields(Notice, w)) for w in data.get("warnings", ())),
                "review": tuple(Passage(**_pick_fields(Passage, p)) for p in data["review"])
                if "review" in data
                else None,
                "speakers": tuple(speaker_from_dict(s) for s in data["speakers"]) if "speakers" in data else None,
                "corrections": tuple(correction_from_dict(c) for c in data["corrections"])
                if "corrections" in data
                else None,
            }
        )


_LEFT_OUT = frozenset(
    {"speaker", "time_confidence", "language", "begins", "recorded_from", "review", "speakers", "voice"}
    | {"corrections", "undone"}
)
"""With these absent, a transcript of an older version is written again byte for byte."""


def to_dict(value: Any) -> dict[str, Any]:
    """Return a dataclass of this module as JSON values, without what is unknown of `_LEFT_OUT`."""
    found = {}
    for name in value.__dataclass_fields__:
        item = getattr(value, name)
        if name in _LEFT_OUT and item is None:
            continue
        if isinstance(item, tuple):
            item = [to_dict(part) for part in item]
        elif dataclasses.is_dataclass(item):
            item = to_dict(item)
        found[name] = item
    return found


def segment_from_dict(data: dict[str, Any]) -> Segment:
    """Read one segment as `to_dict` wrote it."""
    words = tuple(Word(**_pick_fields(Word, w)) for w in data.get("words", ()))
    return Segment(**_pick_fields(Segment, data) | {"words": words})


def speaker_from_dict(data: dict[str, Any]) -> Speaker:
    """Read one speaker as `to_dict` wrote it."""
    turns = tuple(Turn(**_pick_fields(Turn, t)) for t in data.get("turns", ()))
    voice = VoiceMatch(**_pick_fields(VoiceMatch, data["voice"])) if data.get("voice") else None
    return Speaker(**_pick_fields(Speaker, data) | {"turns": turns, "voice": voice})


def correction_from_dict(data: dict[str, Any]) -> Correction:
    """Read one correction as `to_dict` wrote it."""
    edits = tuple(Edit(**_pick_fields(Edit, e)) for e in data.get("edits", ()))
    return Correction(**_pick_fields(Correction, data) | {"edits": edits})


def _pick_fields(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in kind.__dataclass_fields__ if name in data}

"""The settings that a result depends on, and those that a recording's outputs depend on.

They are part of a result's key, saved with each recording, compared with those in force, and put
into force again.

A value that is empty counts as one that is not set. So a setting of a later version changes
nothing, and no older key of a result, until somebody sets it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from dropscribe import voices
from dropscribe.settings import FIELDS, FORMATS, Table, parse_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dropscribe.settings import Settings
    from dropscribe.transcript import Option

WHISPERX_OPTIONS = ("whisperx_aligner", "whisperx_diarizer")
"""Those of `RESULT_OPTIONS` that only WhisperX knows."""
NUMBER_OPTIONS = ("audio_track", "speech_threshold")
"""Those of `RESULT_OPTIONS` that are numbers. They are saved as text, and as nothing at their
defaults."""
VOICES = "voices"
"""What stands for the known voices, where speakers are asked for and any are known. It is no setting."""
RESULT_OPTIONS = (
    "backend",
    "model",
    "language",
    "languages",
    "mixed_languages",
    "task",
    "prompt",
    "glossary",
    "channels",
    "split_channels",
    "speakers",
    *NUMBER_OPTIONS,
    *WHISPERX_OPTIONS,
)
"""The settings that change what the worker gives. Replacements and formats come after it."""
SRT_SPEAKERS = "srt_speakers"
"""It is saved as nothing where it is on, as it is by default, else as `off`."""
SUBTITLE_OPTIONS = ("subtitle_columns", "subtitle_lines", "subtitle_seconds", "subtitle_words")
"""What subtitles look like: numbers, saved as those of `NUMBER_OPTIONS` are. They are also among the options of a
published transcript, so that every format can be made from it."""
OUTPUT_OPTIONS = (
    *RESULT_OPTIONS,
    *SUBTITLE_OPTIONS,
    "together",
    "replacements",
    "numbers",
    "fillers",
    "formats",
    SRT_SPEAKERS,
)
"""The settings that the outputs depend on."""


def read_options(settings: Settings) -> dict[str, Option]:
    """Return the values of `RESULT_OPTIONS` as JSON has them.

    Those of WhisperX are empty at their defaults, and where the setting `backend` comes to another
    engine.
    """
    values = {name: getattr(settings, name) for name in RESULT_OPTIONS}
    changed = [name for name in WHISPERX_OPTIONS if values[name] != FIELDS[name].default]
    if changed and not _is_whisperx_first(settings):
        changed = []
    values |= dict.fromkeys(set(WHISPERX_OPTIONS).difference(changed), "")
    values |= _read_numbers(settings, NUMBER_OPTIONS)
    if settings.speakers and (known := voices.compute_fingerprint(settings.state)):
        values[VOICES] = known
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def read_subtitle_options(settings: Settings) -> dict[str, str]:
    """Return the values of those of `SUBTITLE_OPTIONS` that are set."""
    return {name: value for name, value in _read_numbers(settings, SUBTITLE_OPTIONS).items() if value}


def _read_numbers(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    values = {name: getattr(settings, name) for name in names}
    return {n: "" if value == FIELDS[n].default else f"{value:g}" for n, value in values.items()}


def _is_whisperx_first(settings: Settings) -> bool:
    """Return whether WhisperX is the first backend to try. `status` starts faster without it."""
    from dropscribe.backends import choice, environments

    return [each.name for each in choice.choose_for_this_machine(settings)][:1] == [environments.NAME]


def read_output_options(chosen: Settings) -> dict[str, Any]:
    """Return the values of `OUTPUT_OPTIONS` as JSON has them."""
    return {
        **read_options(chosen),
        **_read_numbers(chosen, SUBTITLE_OPTIONS),
        "replacements": dict(chosen.replacements),
        "together": "on" if chosen.together else "",
        "numbers": "" if chosen.numbers == FIELDS["numbers"].default else chosen.numbers,
        "fillers": "" if chosen.fillers == FIELDS["fillers"].default else chosen.fillers,
        "formats": list(chosen.formats),
        SRT_SPEAKERS: "" if chosen.srt_speakers else "off",
    }


def restore_options(saved: str, general: Settings) -> Settings:
    """Return the settings of which `read_output_options` was saved, as JSON; the others are as in
    `general`.
    """
    saved_values = json.loads(saved or "{}").items()
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in saved_values if k in OUTPUT_OPTIONS
    }
    values |= {k: FIELDS[k].default for k in WHISPERX_OPTIONS if not values.get(k, "-")}
    for name in (*NUMBER_OPTIONS, *SUBTITLE_OPTIONS):
        if name in values:
            text = values[name]
            values[name] = parse_value(name, text, "") if text else FIELDS[name].default
    if "numbers" in values:
        values["numbers"] = values["numbers"] or FIELDS["numbers"].default
    if SRT_SPEAKERS in values:
        values[SRT_SPEAKERS] = not values[SRT_SPEAKERS]
    if "formats" in values:
        values["formats"] = tuple(name for name in values["formats"] if name in FORMATS)
    if "together" in values:
        values["together"] = bool(values["together"])
    if "fillers" in values:
        values["fillers"] = values["fillers"] or FIELDS["fillers"].default
    if "replacements" in values:
        values["replacements"] = Table(values["replacements"])
    return dataclasses.replace(general, **values)


def list_changed_options(saved: str, chosen: Settings) -> list[str]:
    """Return the names of the settings that have another value now than what was saved as JSON."""
    now, before = {VOICES: ""} | read_output_options(chosen), json.loads(saved)
    if "formats" not in before:  # it was read from an outbox
        now.pop("formats")
    return [
        name
        for name, value in now.items()
        if (sorted(value) != sorted(before[name]) if name == "formats" else (before.get(name) or "") != (value or ""))
    ]


def result_key(sha256: str | None, settings: Settings, *, speakers: bool = True) -> str:
    """Return the key of the result of a content; without `speakers`, of its words alone, whoever says them."""
    return f"{sha256}:{fingerprint(read_options(settings if speakers else without_speakers(settings)))}"


def without_speakers(settings: Settings) -> Settings:
    """Return the settings under which the same words were transcribed, whoever says them."""
    return dataclasses.replace(settings, speakers=())


def fingerprint(options: Mapping[str, Option]) -> str:
    """Return what stands, in a result's key, for the settings that change a result.

    These are `RESULT_OPTIONS`, and the replacements and figures where they are made already: results are kept
    as the engine gave them, but what is read from the outbox is not.
    """
    names = (*RESULT_OPTIONS, VOICES, "replacements", "numbers", "fillers")
    values = "\0".join(f"{name}={json.dumps(options[name])}" for name in names if options.get(name))
    return hashlib.sha256(values.encode()).hexdigest()[:16]

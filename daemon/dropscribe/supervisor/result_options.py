"""The settings that change what the engine writes: they are part of a result's key and stand in
each transcript.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe import backends
from dropscribe.backends import environments
from dropscribe.settings import FIELDS

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.transcript import Option

WHISPERX_OPTIONS = ("whisperx_aligner", "whisperx_diarizer")
"""Those of `RESULT_OPTIONS` that only WhisperX knows."""
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
    *WHISPERX_OPTIONS,
)
"""The settings that change what the engine writes. Replacements and formats come after it."""


def read_options(settings: Settings) -> dict[str, Option]:
    """Return the values of `RESULT_OPTIONS` as JSON has them.

    Those of WhisperX are empty at their defaults, and where the setting `backend` comes to another
    engine.
    """
    values = {name: getattr(settings, name) for name in RESULT_OPTIONS}
    changed = [name for name in WHISPERX_OPTIONS if values[name] != FIELDS[name].default]
    if not changed or [choice.name for choice in backends.choose_here(settings)][:1] != [environments.NAME]:
        changed = []
    values |= dict.fromkeys(set(WHISPERX_OPTIONS).difference(changed), "")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

"""The settings: every name, default and meaning, and where each value came from.

Guarantees: standard library only; `load` returns a checked, immutable `Settings` or raises one
UsageError that names the key, where it is set and what to write instead. A later layer wins:
defaults, the TOML file, `DROPSCRIBE_…` variables, flags. `config/default.toml` is what
`build_default_toml` gives.
"""

from __future__ import annotations

from dropscribe.settings.checks import check_formats, check_language, check_languages, check_libraries
from dropscribe.settings.fields import BACKENDS, FIELDS, FORMATS, KEYS, LANGUAGES, Settings, Table
from dropscribe.settings.loading import FACT, RESERVED, Loaded, load
from dropscribe.settings.parsing import parse_value, suggest_key
from dropscribe.settings.paths import PREFIX, find_config_path, is_default_inbox
from dropscribe.settings.toml import build_default_toml, to_toml

__all__ = [
    "BACKENDS",
    "FACT",
    "FIELDS",
    "FORMATS",
    "KEYS",
    "LANGUAGES",
    "PREFIX",
    "RESERVED",
    "Loaded",
    "Settings",
    "Table",
    "build_default_toml",
    "check_formats",
    "check_language",
    "check_languages",
    "check_libraries",
    "find_config_path",
    "is_default_inbox",
    "load",
    "parse_value",
    "suggest_key",
    "to_toml",
]

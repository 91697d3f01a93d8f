"""Settings written as TOML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dropscribe.settings.fields import FIELDS, KEYS
from dropscribe.settings.paths import PREFIX


def build_default_toml() -> str:
    """Return every setting with its meaning and default, as `config/default.toml`."""
    lines = [
        "# Every setting of Dropscribe with its default. Copy what you change to ~/.config/dropscribe/config.toml,",
        f"# or set {PREFIX}NAME in the environment, or give --name to a command. There `backends.whisperx.python`",
        f"# is called {PREFIX}WHISPERX_PYTHON and --whisperx-python.",
        "",
    ]
    for key, name in KEYS.items():
        item = FIELDS[name]
        lines += [f"# {line}" for line in item.metadata["text"].splitlines()]
        if item.metadata["choices"]:
            some = "Any" if isinstance(item.default, tuple) else "One"
            lines.append(f"# {some} of: " + ", ".join(item.metadata["choices"]))
        is_unset = item.default == Path()
        lines += [f'# {key} = "…"' if is_unset else f"{key} = {to_toml(item.default)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def to_toml(value: Any) -> str:
    """Return one setting's value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # what JSON escapes, TOML reads

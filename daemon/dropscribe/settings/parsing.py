"""One setting's value, from TOML, a variable or a flag, converted to its own type and checked by
itself.
"""

from __future__ import annotations

import difflib
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.errors import UsageError
from dropscribe.settings.fields import FIELDS, LANGUAGES, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_SHOWN_LETTERS = 200


class _WrongValueError(Exception):
    """The value is none that the setting can have."""


def parse_value(key: str, value: Any, place: str) -> Any:
    """Return `value` as the setting's own type. Text from variables and flags is converted.

    Args:
        key: The field of the setting.
        value: From TOML, a variable or a flag.
        place: Where it is set, for the message.

    Raises:
        UsageError: Names the key, `place` and what to write instead.
    """
    if key not in FIELDS:
        raise UsageError(f"{place}: there is no setting `{key}`.", suggest_key(key, tuple(FIELDS)))
    try:
        return _convert(key, value)
    except _WrongValueError:
        cure = f"Write {_describe_expected(key)}."
        raise UsageError(f"{place}: `{key}` is {_show(value)}.", cure) from None


def suggest_key(key: str, names: Sequence[str]) -> str:
    """Return what to write instead of a key that is none of `names`, as a sentence."""
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    is_every_setting = len(names) == len(FIELDS)
    if is_every_setting:
        return "`dropscribe config show` lists every setting."
    return f"It may be one of: {', '.join(names)}."


def _convert(key: str, value: Any) -> Any:
    default, meta = FIELDS[key].default, FIELDS[key].metadata
    if meta["command"]:
        return _convert_command(value)
    if isinstance(default, bool):
        return _convert_bool(value)
    if isinstance(default, (int, float)):
        return _convert_number(key, value)
    if isinstance(default, tuple):
        return _convert_names(key, value)
    if isinstance(default, Table):
        return _convert_table(value)
    if isinstance(default, Path):
        return _convert_path(value)
    if not isinstance(value, str) or (meta["choices"] and value not in meta["choices"]):
        raise _WrongValueError
    return value.strip()


def _convert_command(value: Any) -> tuple[str, ...]:
    """Return a command as a list of text; a text is split as a shell would split it."""
    try:
        parts = shlex.split(value) if isinstance(value, str) else value
    except ValueError:  # a quotation mark that is not closed
        raise _WrongValueError from None
    if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) and "\0" not in p for p in parts):
        raise _WrongValueError
    if parts and not parts[0].strip():
        raise _WrongValueError
    return tuple(parts)


def _convert_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if not isinstance(value, bool):
        raise _WrongValueError
    return value


def _convert_number(key: str, value: Any) -> int | float:
    meta = FIELDS[key].metadata
    kind = int if isinstance(FIELDS[key].default, int) else float
    word = meta["words"].get(value.strip().lower()) if isinstance(value, str) else None
    if word is not None:
        return kind(word)
    try:
        number, exact = kind(value), float(value)
    except (TypeError, ValueError, OverflowError):
        raise _WrongValueError from None
    is_allowed = exact in meta["words"].values() or meta["least"] <= number <= meta["most"]
    if isinstance(value, bool) or not math.isfinite(exact) or not is_allowed or exact != number:
        raise _WrongValueError
    return number


def _convert_names(key: str, value: Any) -> tuple[str, ...]:
    """Return a list of text without needless space. The text form is `name, name`."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
        raise _WrongValueError
    names = tuple(" ".join(p.split()) for p in parts)
    if key == "channels":  # each name has its place, and one person may have two
        while names and not names[-1]:
            names = names[:-1]
    else:
        names = tuple(dict.fromkeys(filter(None, names)))
    allowed = LANGUAGES if key == "languages" else FIELDS[key].metadata["choices"]
    if allowed and any(name not in allowed for name in names):
        raise _WrongValueError
    return tuple(dict.fromkeys((*names, "json"))) if key == "formats" else names


def _convert_table(value: Any) -> Table:
    """Return a table of text without needless space. The text form is `wrong=right,
    wrong=right`.
    """
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {wrong: right for wrong, _, right in pairs}
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise _WrongValueError
    table = Table((" ".join(key.split()), " ".join(item.split())) for key, item in value.items())
    keys = {key.casefold() for key in table}
    if len(keys) != len(value) or not all(keys) or not all(table.values()):
        raise _WrongValueError
    return table


def _convert_path(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise _WrongValueError
    return Path(value)


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        return "a very long number"
    return text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + " …"


def _describe_expected(key: str) -> str:
    default, meta = FIELDS[key].default, FIELDS[key].metadata
    if meta["command"]:
        return 'a command as a list: ["/path/of/program", "argument"]'
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, (int, float)):
        limits = (
            f"{meta['least']:g} or more" if meta["most"] == math.inf else f"{meta['least']:g} to {meta['most']:g}"
        )
        words = "".join(f', or "{word}"' for word in meta["words"])
        return f"a {'whole ' if isinstance(default, int) else ''}number, {limits}{words}"
    if isinstance(default, tuple):
        codes = "ISO codes such as en, de or ja" if key == "languages" else "text"
        return "a list of " + (", ".join(meta["choices"]) or codes)
    if isinstance(default, Table):
        return 'a table {"wrong" = "right"} of text; nothing may be empty or stand twice on the left'
    if isinstance(default, Path):
        return "the path of a folder"
    return "one of " + ", ".join(meta["choices"]) if meta["choices"] else "text"

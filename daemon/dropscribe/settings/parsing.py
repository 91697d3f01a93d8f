"""One setting's value, from TOML, a variable or a flag, converted to its own type and checked by
itself.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.errors import UsageError
from dropscribe.settings.fields import FIELDS, LANGUAGES, Table
from dropscribe.settings.language_names import suggest_language

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_SHOWN_LETTERS = 200
_MOST_SPEAKERS = 100
NAME_FIELDS = frozenset({"stem", "name", "language"})
"""What the setting `names` may have in braces."""
_FIELD = re.compile(r"\{(\w*)\}")
_SUFFIX = re.compile(r"([+-]) ?\.?([^\s./]+)")


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
        return _convert(key, _read_toml(key, value) if isinstance(value, str) else value)
    except _WrongValueError:
        cure = f"Write {_describe_expected(key)}.{_suggest_languages(key, value)}"
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


def _read_toml(key: str, text: str) -> Any:
    """Return a list or a table that is written as TOML, as in the settings file; other text as it is."""
    default, begin = FIELDS[key].default, text.strip()[:1]
    if not ((isinstance(default, tuple) and begin == "[") or (isinstance(default, Table) and begin == "{")):
        return text
    try:
        table = tomllib.loads(f"value = {text.strip()}")
    except (ValueError, RecursionError):  # also a number of thousands of digits
        raise _WrongValueError from None
    if len(table) > 1:  # a further line, which would be a setting of its own
        raise _WrongValueError
    return table["value"]


def _suggest_languages(key: str, value: Any) -> str:
    """Return the codes that were meant where the names of languages were written, as a sentence."""
    if key != "languages":
        return ""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    meant = {part.strip(): suggest_language(part) for part in parts if isinstance(part, str)}
    codes = [f"`{code}`" for part, code in meant.items() if code and part not in LANGUAGES]
    return f" Did you mean {', '.join(codes)}?" if codes else ""


def _convert(key: str, value: Any) -> Any:
    default, meta = FIELDS[key].default, FIELDS[key].metadata
    if meta["command"]:
        return _convert_command(value)
    if isinstance(default, bool):
        return _convert_bool(value)
    if isinstance(default, (int, float)):
        return _convert_number(key, value)
    if key == "speakers":
        return _convert_speakers(value)
    if isinstance(default, tuple):
        return _convert_names(key, value)
    if isinstance(default, Table):
        return _convert_table(value)
    if isinstance(default, Path):
        return _convert_path(value)
    if not isinstance(value, str) or (meta["choices"] and value not in meta["choices"]):
        raise _WrongValueError
    if key == "names" and not _is_template(value.strip()):
        raise _WrongValueError
    return value.strip()


def _is_template(text: str) -> bool:
    """Return whether a text says how outputs are called: a file name, different for each recording."""
    fields = set(_FIELD.findall(text))
    rest = _FIELD.sub("", text)
    is_name = rest.isprintable() and not any(c in rest for c in "{}/\\") and not text.startswith((".", "_"))
    return is_name and fields <= NAME_FIELDS and bool(fields & {"stem", "name"})


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
    if key == "suffixes":
        return _convert_suffixes(names)
    allowed = LANGUAGES if key == "languages" else FIELDS[key].metadata["choices"]
    if allowed and any(name not in allowed for name in names):
        raise _WrongValueError
    if key == "formats":
        if not names:
            raise _WrongValueError
        return tuple(dict.fromkeys((*names, "json")))
    return names


def _convert_speakers(value: Any) -> tuple[str, ...]:
    """Return `off` as nothing, `auto` and a number each as the only text, or names."""
    if isinstance(value, bool):
        value = "auto" if value else "off"
    if isinstance(value, int):
        value = str(value)
    names = _convert_names("speakers", value)
    if len(names) != 1:
        if any(name.isdecimal() or name.casefold() in {"off", "auto"} for name in names):
            raise _WrongValueError
        return names
    word = names[0].casefold()
    if word.lstrip("-").isdecimal():
        if not 1 <= int(word) <= _MOST_SPEAKERS:
            raise _WrongValueError
        return (str(int(word)),)
    return {"off": (), "auto": ("auto",)}.get(word, names)


def _convert_suffixes(changes: Sequence[str]) -> tuple[str, ...]:
    """Return changes of the known suffixes as `+.dat`, `-.mp4`."""
    parts = [_SUFFIX.fullmatch(change.lower()) for change in changes]
    if not all(parts):
        raise _WrongValueError
    return tuple(dict.fromkeys(f"{part[1]}.{part[2]}" for part in parts if part))


def _convert_table(value: Any) -> Table:
    """Return a table of text without needless space. The text form is `wrong=right,
    wrong=right`.
    """
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(separator for _, separator, _ in pairs):
            raise _WrongValueError
        value = {wrong: right for wrong, _, right in pairs}
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise _WrongValueError
    table = Table((" ".join(key.split()), _tidy(item)) for key, item in value.items())
    keys = {key.casefold() for key in table}
    if len(keys) != len(value) or not all(keys):
        raise _WrongValueError
    return table


def _tidy(text: str) -> str:
    """Return a text without needless space; of a line break or two alone these."""
    return " ".join(text.split()) or "\n" * min(2, text.count("\n"))


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
    if key == "speakers":
        return '"off", "auto", a number from 1 to 100, or a list of names'
    if key == "suffixes":
        return 'a list of suffixes, each with + or -: ["+.dat", "-.mp4"]'
    if isinstance(default, tuple):
        codes = "ISO codes such as en, de or ja" if key == "languages" else "text"
        if key == "formats":
            return 'a list of one or more; ["json"] where nothing else is wanted: ' + ", ".join(meta["choices"])
        return "a list of " + (", ".join(meta["choices"]) or codes)
    if isinstance(default, Table):
        return 'a table {"wrong" = "right"} of text; no left side is empty, and none may stand twice on the left'
    if isinstance(default, Path):
        return "the path of a folder"
    if key == "names":
        return 'a file name with {stem} or {name} in it, and perhaps {language}: "{stem}.{language}"'
    return "one of " + ", ".join(meta["choices"]) if meta["choices"] else "text"

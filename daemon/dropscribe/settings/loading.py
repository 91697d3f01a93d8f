"""Settings read from their layers and merged: defaults, the TOML file, variables, flags."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.errors import UsageError
from dropscribe.settings.checks import check_folders, check_formats, check_language, check_languages, check_webhook
from dropscribe.settings.fields import FIELDS, KEYS, Settings
from dropscribe.settings.parsing import parse_value, suggest_key
from dropscribe.settings.paths import (
    PREFIX,
    choose_default_logs,
    choose_default_state,
    find_config_path,
    make_absolute,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

RESERVED = frozenset({"CONFIG", "MODELS", "TEST_MODELS", "TEST_WHISPERX", "CRASH"})
"""Variables with our prefix that are no settings: the settings file, folders of models, an
interpreter that the tests use, and `crash.VARIABLE`."""
FACT = "FACT_"
"""After our prefix, the facts that a hook gets: no settings, so that a hook may call this
program."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where each value came from (`default`, the file, a variable, a flag)."""

    settings: Settings
    origin: dict[str, str]

    def name_place(self, *keys: str) -> str:
        """Return where those of these settings are set that are; of several layers the last, which
        wins.
        """
        places = list(dict.fromkeys(self.origin[key] for key in keys if self.origin[key] != "default"))
        last = max(map(_find_layer, places), default=0)
        return ", ".join(place for place in places if _find_layer(place) == last) or "default"


def _find_layer(place: str) -> int:
    """Return the number of the layer of a place: 0 the defaults, 1 the file, 2 variables, 3 flags."""
    return 3 if place.startswith("--") else 2 if place.startswith(PREFIX) else 1 if place != "default" else 0


_CHECKS: dict[Callable[[Settings], None], tuple[str, ...]] = {
    check_folders: ("inbox", "outbox", "state", "archive", "after"),
    check_webhook: ("webhook",),
    check_formats: ("formats",),
    check_language: ("language", "languages", "task", "model"),
}
"""What settings must fit together, and which these are."""


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read and merge all layers.

    Args:
        flags: What the command line gave; None means not given.
        environ: The environment's variables.

    Raises:
        UsageError: Names the key and its place.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(FIELDS, "default")
    path = find_config_path(environ)
    for key, value in _flatten(_read_file(path, is_named=PREFIX + "CONFIG" in environ)):
        if key not in KEYS:
            raise UsageError(f"{path}: there is no setting `{key}`.", suggest_key(key, tuple(KEYS)))
        values[KEYS[key]] = parse_value(KEYS[key], value, str(path))
        origin[KEYS[key]] = str(path)
    for variable, text in environ.items():
        key = variable.removeprefix(PREFIX)
        if not variable.startswith(PREFIX) or key in RESERVED or key.startswith(FACT):
            continue
        values[key.lower()] = parse_value(key.lower(), text, variable)
        origin[key.lower()] = variable
    for key, value in (flags or {}).items():
        if value is not None:
            flag = f"--{key.replace('_', '-')}"
            values[key] = parse_value(key, value, flag)
            origin[key] = flag
    values.setdefault("state", choose_default_state(environ))
    values.setdefault("logs", choose_default_logs(environ))
    inbox = make_absolute(values.get("inbox", FIELDS["inbox"].default), environ)
    values.setdefault("archive", inbox.parent / "Archive")
    settings = Settings(**values)
    for name in ("inbox", "outbox", "archive", "state", "logs"):
        values[name] = make_absolute(getattr(settings, name), environ)
    settings = Settings(**values)
    loaded = Loaded(settings, origin)
    for check, keys in _CHECKS.items():
        try:
            check(settings)
        except UsageError as error:
            raise UsageError(f"{loaded.name_place(*keys)}: {error.message}", error.cure) from None
    if _find_layer(origin["language"]) == _find_layer(origin["languages"]):
        try:
            check_languages(settings.language, settings.languages)
        except UsageError as error:
            raise UsageError(f"{loaded.name_place('language', 'languages')}: {error.message}", error.cure) from None
    return loaded


def _read_file(path: Path, *, is_named: bool) -> dict[str, Any]:
    """Return what the settings file holds; nothing where there is none, unless `DROPSCRIBE_CONFIG`
    names it.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if is_named:
            msg = f"The settings file {path} named by {PREFIX}CONFIG does not exist."
            raise UsageError(msg) from None
        if (link := _find_dangling_link(path)) is not None:
            msg = f"The settings file {path} cannot be read: {link} is a link to {link.readlink()}."
            cure = "That is not there: bring it back, or remove the link to have all defaults."
            raise UsageError(msg, cure) from None
        return {}
    except (ValueError, RecursionError) as error:  # broken TOML or UTF-8, a number of a thousand digits, deep nesting
        cure = 'Text stands in quotes: inbox = "~/Notes".'
        raise UsageError(f"{path} is not valid TOML: {error or 'nested too deeply'}.", cure) from None
    except OSError as error:
        raise UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from None


def _find_dangling_link(path: Path) -> Path | None:
    """Return the file or the folder on its way that is a link to nothing, or None."""
    return next((part for part in (path, *path.parents) if part.is_symlink() and not part.exists()), None)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings with their dotted keys, out of the tables that are no settings
    themselves.
    """
    for key, value in values.items():
        if isinstance(value, dict) and prefix + key not in KEYS:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

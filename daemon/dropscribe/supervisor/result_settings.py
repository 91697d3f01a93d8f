"""The settings that a recording's outputs depend on: saved with each recording, compared, and put into force again.

A value that is empty counts as one that is not set. So a setting of a later version changes nothing, and no older
key of a result, until somebody sets it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from dropscribe import settings
from dropscribe.formats import RENDERERS
from dropscribe.supervisor import worker_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropscribe.settings import Settings
    from dropscribe.transcript import Option

NAMES = (*worker_process.RESULT_OPTIONS, "replacements", "formats")
"""The settings."""


def collect(chosen: Settings) -> dict[str, Any]:
    """Return the values of these settings, as JSON has them."""
    return worker_process.options(chosen) | {
        "replacements": dict(chosen.replacements),
        "formats": list(chosen.formats),
    }


def restore(saved: str, general: Settings) -> Settings:
    """Return the settings of which `collect` was saved, as JSON; what was not saved is as in `general`."""
    saved_values = json.loads(saved or "{}").items()
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved_values if k in NAMES}
    values |= {k: settings.FIELDS[k].default for k in worker_process.WHISPERX_OPTIONS if not values.get(k, "-")}
    if "formats" in values:
        values["formats"] = tuple(name for name in values["formats"] if name in RENDERERS)
    if "replacements" in values:
        values["replacements"] = settings.Table(values["replacements"])
    return dataclasses.replace(general, **values)


def list_changes(saved: str, chosen: Settings) -> list[str]:
    """Return the names of the settings that have another value now than what was saved as JSON."""
    now, before = collect(chosen), json.loads(saved)
    if "formats" not in before:  # it was read from an outbox
        now.pop("formats")
    return [
        name
        for name, value in now.items()
        if (sorted(value) != sorted(before[name]) if name == "formats" else (before.get(name) or "") != (value or ""))
    ]


def fingerprint(options: Mapping[str, Option]) -> str:
    """Return what stands, in a result's key, for the settings that change a result.

    These are `RESULT_OPTIONS`, and the replacements where they are made already: results are kept as the engine gave
    them, but what is read from the outbox is not.
    """
    names = (*worker_process.RESULT_OPTIONS, "replacements")
    values = "\0".join(f"{name}={json.dumps(options[name])}" for name in names if options.get(name))
    return hashlib.sha256(values.encode()).hexdigest()[:16]

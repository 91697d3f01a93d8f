"""What `dropscribe backends list` shows: each engine, whether it is installed, its versions, and
its place in line.

Guarantees: the engines are asked in processes of their own, each under its interpreter; this
process imports none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dropscribe.backends import choice, environments
from dropscribe.settings import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.settings import Settings

_PROGRAM = """
import importlib.metadata as m, json, sys
found, device, error = {}, "", ""
for name in sys.argv[2].split(","):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
try:
    if sys.argv[1] == "mlx":
        import mlx.core
        device = "gpu" if "gpu" in str(mlx.core.default_device()) else "cpu"
    else:
        import ctranslate2
        device = "gpu" if ctranslate2.get_cuda_device_count() else "cpu"
except (ImportError, OSError, RuntimeError) as fault:
    error = f"{type(fault).__name__}: {fault}"
print(json.dumps({"device": device, "versions": found, "error": error}))
"""
_DISTRIBUTIONS = {
    "mlx": ("mlx",),
    "faster-whisper": ("faster-whisper", "ctranslate2"),
    "whisperx": ("whisperx", "torch", "ctranslate2"),
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the interpreter of a backend says of it."""

    device: str = ""
    """`gpu` or `cpu`; empty where it is not known."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of its libraries, by distribution name."""
    error: str = ""
    """Why it cannot be imported; empty when it can."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Build from what `_PROGRAM` prints."""
        return cls(data["device"], data["versions"], data["error"])


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One backend in the list. The fields are the keys of its JSON, in this order."""

    backend: str
    installed: bool
    chosen: bool
    """Whether jobs try it first."""
    why: str
    """Why it has its place in line, or none."""
    device: str
    versions: dict[str, str]
    error: str
    python: str | None
    """The interpreter that has it; None for Dropscribe's own."""


def list_backends(settings: Settings) -> list[BackendRow]:
    """Return a row for each backend. Starts an interpreter for each that is installed."""
    installed = choice.find_installed(settings)
    choices = choice.choose_for_this_machine(settings)
    rows = []
    for name in BACKENDS:
        python = environments.find_interpreter(settings) if name == environments.NAME else None
        place = next((number for number, each in enumerate(choices) if each.name == name), None)
        if name not in installed and name == environments.NAME:
            why = f"`dropscribe backends install {name}` makes its environment"
        elif name not in installed:
            why = "its package is not there"
        elif place is not None:
            why = f"{'next in line' if place else 'taken'}: {choices[place].reason}"
        elif settings.backend != "auto":
            why = f"the setting `backend` is {settings.backend}"
        else:
            why = "on this machine only when it is asked for"
        seen = _inspect(name, python) if name in installed else Inspection()
        rows.append(
            BackendRow(
                backend=name,
                installed=name in installed,
                chosen=place == 0,
                why=why,
                device=seen.device,
                versions=seen.versions,
                error=seen.error,
                python=str(python) if python else None,
            )
        )
    return rows


def _inspect(name: str, python: Path | None) -> Inspection:
    """Ask the interpreter of a backend, or our own, for versions and device."""
    start = [str(python), "-I"] if python else [sys.executable]
    try:
        process = subprocess.run(
            [*start, "-c", _PROGRAM, name, ",".join(_DISTRIBUTIONS[name])],
            check=True,
            capture_output=True,
            text=True,
            timeout=environments.PROBE_SECONDS,
        )
        found = Inspection.from_json(json.loads(process.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return Inspection(error=f"{start[0]} cannot be asked: {error}")
    if not found.error and name not in found.versions and python:
        return Inspection(found.device, found.versions, f"{name} is not installed there")
    return found

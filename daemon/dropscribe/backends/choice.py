"""Which engines are installed, and which of them to try, best first.

Guarantees: no engine module and no model library is imported, not even later: what is installed is
looked up with `find_spec`, and for `whisperx`, which has its own environment, by `environments`.
The choice is a pure function of its arguments; its reason is logged and shown.
"""

from __future__ import annotations

import dataclasses
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dropscribe.backends import environments
from dropscribe.protocol import BackendChoice

if TYPE_CHECKING:
    from dropscribe.settings import Settings

_MODULES = {"mlx": ("mlx", "mlx_whisper"), "faster-whisper": ("faster_whisper", "ctranslate2")}
"""The modules without which a backend is not installed, of those in Dropscribe's own environment."""
BUNDLED = tuple(_MODULES)
"""The backends that run in Dropscribe's own environment. `settings.BACKENDS` has every name."""
_NOTHING_ELSE = "no other backend for this machine is installed"


def find_installed(settings: Settings) -> frozenset[str]:
    """Return the names of the installed backends. None of them is imported, no interpreter is
    started.
    """
    present = {name for name, modules in _MODULES.items() if all(map(find_spec, modules))}
    return frozenset(present | ({environments.NAME} if environments.find_interpreter(settings) else set()))


def choose_backends(setting: str, system: str, machine: str, present: frozenset[str]) -> tuple[BackendChoice, ...]:
    """Return the backends to try, best first; empty when none fits.

    Args:
        setting: `auto` or a name of `settings.BACKENDS`.
        system: `platform.system()`.
        machine: `platform.machine()`.
        present: The names of the installed backends.
    """
    if setting != "auto":
        return (BackendChoice(setting, "set by the setting `backend`"),) if setting in present else ()
    choices: list[BackendChoice] = []
    if system != "Darwin" or machine != "arm64":
        # MLX runs on Linux too, but its CPU build is many times slower: only when asked for by
        # name.
        reason = f"{system} on {machine}: MLX is for Apple Silicon"
    elif "mlx" in present:
        choices.append(BackendChoice("mlx", "Apple Silicon, and mlx-whisper is installed"))
        reason = "the fall-back when mlx fails"
    else:
        reason = "Apple Silicon, but mlx-whisper is not installed"
    if "faster-whisper" in present:
        choices.append(BackendChoice("faster-whisper", reason))
    if "whisperx" in present:
        names = " and ".join(choice.name for choice in choices)
        fails = "fail" if len(choices) > 1 else "fails"
        choices.append(BackendChoice("whisperx", f"the fall-back when {names} {fails}" if names else _NOTHING_ELSE))
    return tuple(choices)


def choose_for_this_machine(settings: Settings) -> tuple[BackendChoice, ...]:
    """Return the backends that a job should try on this machine, with the interpreter and the
    options of each.
    """
    installed = find_installed(settings)
    choices = choose_backends(settings.backend, platform.system(), platform.machine(), installed)
    return tuple(
        dataclasses.replace(
            choice,
            python=str(environments.find_interpreter(settings)),
            options=environments.read_options(settings),
        )
        if choice.name == environments.NAME
        else choice
        for choice in choices
    )

"""The separate Python environment of WhisperX: where its interpreter is, and how our worker starts
under it.

WhisperX asks for a PyTorch, a huggingface_hub and a NumPy that conflict with those of the other
engines; in its own environment it can harm nothing. The worker's code runs under that interpreter
too: `build_command` starts it there, with this package and nothing else of ours.

Guarantees: standard library only. `installation` makes the environment, `listing` looks into it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from dropscribe.settings import Settings

NAME = "whisperx"
"""The backend that has its own environment."""
PACKAGE = Path(__file__).parents[1]
MARKER = "dropscribe.json"
"""The file in an environment that `installation` writes last: one without it is not whole."""
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
"""The oldest Python that runs our code, and the newest that WhisperX 3.8.6 accepts."""
PROBE_SECONDS = 120
"""Time limit for starting an interpreter and importing our worker there, which imports no model
library."""

_START = """
import importlib.util as u, sys
p = sys.argv[1]
s = u.spec_from_file_location("dropscribe", p + "/__init__.py", submodule_search_locations=[p])
sys.modules["dropscribe"] = m = u.module_from_spec(s)
s.loader.exec_module(m)
from dropscribe.worker import main as worker
"""


def environment_folder(settings: Settings) -> Path:
    """Return where the environment that `installation` makes is, or would be."""
    return settings.state / "backends" / NAME


def interpreter_in(environment: Path) -> Path:
    """Return the path of the interpreter of an environment."""
    return environment / "bin" / "python"


def find_interpreter(settings: Settings) -> Path | None:
    """Return the interpreter that has WhisperX: the one set, else that of our whole environment,
    else None.
    """
    if settings.whisperx_python:
        return Path(os.path.abspath(os.path.expanduser(settings.whisperx_python)))  # noqa: PTH100, PTH111 (no link is followed)
    folder = environment_folder(settings)
    return interpreter_in(folder) if (folder / MARKER).is_file() else None


def read_options(settings: Settings) -> dict[str, str]:
    """Return WhisperX's own options from the settings, as `factory.create_backend` takes them."""
    return {"aligner": settings.whisperx_aligner, "diarizer": settings.whisperx_diarizer}


def build_command(python: str, program: str, *arguments: str, alone: bool = True) -> list[str]:
    """Return the command that runs `program` under `python` after importing
    `dropscribe.worker.main` there.

    Args:
        python: The interpreter.
        program: Python source; `worker` is `dropscribe.worker.main` in it.
        arguments: Arguments of the program, from `sys.argv[2]` on.
        alone: Whether the interpreter sees only its own packages and this one: no PYTHON variable,
            no other folder of ours.
    """
    return [python, *(["-I"] if alone else []), "-c", _START + program, str(PACKAGE), *arguments]


def probe_interpreter(python: str) -> None:
    """Start the worker's code alone under `python` once.

    Raises:
        EnvironmentFaultError: `backend-broken` when that fails.
    """
    try:
        subprocess.run(
            build_command(python, ""),
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
        )
    except (OSError, ValueError) as error:
        reason = f"{getattr(error, 'strerror', None) or error}"
    except subprocess.TimeoutExpired:
        reason = f"no answer for {PROBE_SECONDS} s"
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    else:
        return
    oldest = ".".join(map(str, OLDEST_PYTHON))
    raise EnvironmentFaultError(
        "backend-broken",
        f"The backend {NAME} cannot start: {python}: {reason}.",
        f"`dropscribe backends install {NAME}` makes its environment again; one of your own needs Python {oldest}.",
    )

"""A Python environment of its own for the backend that cannot share ours: where it is, making it, what is in it.

WhisperX asks for a PyTorch, a huggingface_hub and a NumPy that others cannot live with; in its own environment it can
hurt nothing. The worker's code runs under that interpreter too: `command` starts it there, with this package and
nothing else of ours.

Guarantees: standard library only; an environment in place is whole (it is made beside and moved there when WhisperX
was imported in it); one that was cut off is thrown away and made again; nothing is installed but the versions in
`backends/whisperx.txt`, and what PyTorch needs for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import backends
from dropscribe.errors import DropscribeError, EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.settings import Settings

NAME = "whisperx"
"""The backend that has an environment of its own."""
PACKAGE = Path(__file__).parents[1]
PINS = PACKAGE / "backends" / "whisperx.txt"
"""What its environment consists of."""
PYTHONS = ((3, 11), (3, 13))
"""The oldest Python that runs our code, and the newest that WhisperX 3.8.6 takes."""

_MARK = "dropscribe.json"
_START = """
import importlib.util as u, sys
p = sys.argv[1]
s = u.spec_from_file_location("dropscribe", p + "/__init__.py", submodule_search_locations=[p])
sys.modules["dropscribe"] = m = u.module_from_spec(s)
s.loader.exec_module(m)
from dropscribe.worker import main as worker
"""
_PROBE_SECONDS = 120
"""For starting an interpreter and importing our worker there, which takes none of a model's libraries."""
_LOOK = """
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
_TRY = "import whisperx, torch; from whisperx import alignment, asr; print(torch.__version__)"


def folder(settings: Settings) -> Path:
    """Return where the environment that `install` makes is, or would be."""
    return settings.state / "backends" / NAME


def interpreter(settings: Settings) -> Path | None:
    """Return the interpreter that has WhisperX: the one set, else that of a whole environment of ours, else None."""
    if settings.whisperx_python:
        return Path(os.path.abspath(os.path.expanduser(settings.whisperx_python)))  # noqa: PTH100, PTH111 (no link is followed)
    here = folder(settings)
    return _python(here) if (here / _MARK).is_file() else None


def job(name: str, settings: Settings) -> dict[str, Any]:
    """Return what a job says of the backend `name` beyond its name: its interpreter and its own settings."""
    if name != NAME:
        return {}
    options = {"aligner": settings.whisperx_aligner, "diarizer": settings.whisperx_diarizer}
    return {"python": str(interpreter(settings)), "options": options}


def command(python: str, program: str, *arguments: str, alone: bool = True) -> list[str]:
    """Return the command that runs `program` under `python` after importing `dropscribe.worker.main` there.

    `alone`: the interpreter sees its own packages and this one, no PYTHON variable and no other folder of ours.
    """
    return [python, *(["-I"] if alone else []), "-c", _START + program, str(PACKAGE), *arguments]


def probe(python: str) -> None:
    """Start the worker's code alone under `python` once. Raises EnvironmentFaultError `backend-broken`."""
    try:
        subprocess.run(
            command(python, ""),
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
        )
    except (OSError, ValueError) as error:
        why = f"{getattr(error, 'strerror', None) or error}"
    except subprocess.TimeoutExpired:
        why = f"no answer for {_PROBE_SECONDS} s"
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    else:
        return
    oldest = ".".join(map(str, PYTHONS[0]))
    raise EnvironmentFaultError(
        "backend-broken",
        f"The backend {NAME} cannot start: {python}: {why}.",
        f"`dropscribe backends install {NAME}` makes its environment anew; one of your own needs Python {oldest}.",
    )


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Return for each backend what `dropscribe backends list` shows. Starts an interpreter for each that is there."""
    present, line = backends.installed(settings), backends.choose_here(settings)
    places = {choice.name: (number, choice.reason) for number, choice in enumerate(line)}
    rows = []
    for name in backends.NAMES:
        python = interpreter(settings) if name == NAME else None
        number, why = places.get(name, (-1, ""))
        if name not in present and name == NAME:
            why = f"`dropscribe backends install {NAME}` makes its environment"
        elif name not in present:
            why = "its package is not there"
        elif number >= 0:
            why = f"{'next in line' if number else 'taken'}: {why}"
        elif settings.backend != "auto":
            why = f"the setting `backend` is {settings.backend}"
        else:
            why = "on this machine only when it is asked for"
        seen = _look(name, python) if name in present else {"device": "", "versions": {}, "error": ""}
        rows.append(
            {"backend": name, "installed": name in present, "chosen": number == 0, "why": why, **seen}
            | {"python": str(python) if python else None}
        )
    return rows


def _look(name: str, python: Path | None) -> dict[str, Any]:
    """Ask the interpreter of a backend for `versions`, the `device`, and the `error` when it cannot be imported."""
    start = [str(python), "-I"] if python else [sys.executable]
    try:
        done = subprocess.run(
            [*start, "-c", _LOOK, name, ",".join(_DISTRIBUTIONS[name])],
            check=True,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return {"device": "", "versions": {}, "error": f"{start[0]} cannot be asked: {error}"}
    if not found["error"] and name not in found["versions"] and python:
        found["error"] = f"{name} is not installed there"
    return found


def install(
    settings: Settings, say: Callable[[str], None], python: str = "", *, again: bool = False, pins: Path = PINS
) -> Path:
    """Make the environment; returns its folder. One that is there with the same versions stays, unless `again`.

    Args:
        settings: where to.
        say: told what is done, in sentences. What uv and pip print goes to stderr.
        python: the interpreter, or its version, to make it of; empty: ours where WhisperX takes it.
        again: make it anew also when it looks whole.
        pins: the list of what it consists of.

    Raises: DropscribeError saying which step failed.
    """
    place = folder(settings)
    made = place.with_name(NAME + ".part")
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(place.parent):
        if not again and _mark(place).get("pins") == _digest(pins):
            with contextlib.suppress(DropscribeError):
                _import(place)
                say(f"{NAME} is installed in {place}.")
                return place
            say(f"The environment in {place} is broken: it is made again.")
        shutil.rmtree(made, ignore_errors=True)
        uv = shutil.which("uv")
        say(f"Making an environment in {place} with {'uv' if uv else 'venv and pip'}")
        _make(made, python or _fitting(uv), uv)
        _add_torch(made, uv, say, pins)
        say("Installing WhisperX and its other packages")
        _add(made, uv, "--no-deps", "--requirement", str(pins))
        say("Importing it once")
        version = _import(made)
        (made / _MARK).write_text(json.dumps({"pins": _digest(pins), "torch": version}), encoding="utf-8")
        old = place.with_name(NAME + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        made.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    say(f"{NAME} is installed, with PyTorch {version}.")
    return place


def remove(settings: Settings) -> bool:
    """Remove the environment, whole or not; returns whether there was one."""
    place = folder(settings)
    if not place.parent.is_dir():
        return False
    with _only_one(place.parent):
        there = [path for path in place.parent.glob(NAME + "*") if path.is_dir()]
        for path in there:
            with contextlib.suppress(FileNotFoundError):
                (path / _MARK).unlink()  # first, so that what is half removed is not taken for whole
            shutil.rmtree(path)
    return bool(there)


def _python(place: Path) -> Path:
    return place / "bin" / "python"


def _mark(place: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((place / _MARK).read_text(encoding="utf-8"))
        return found
    return {}


def _digest(pins: Path) -> str:
    return hashlib.sha256(pins.read_bytes()).hexdigest()


@contextlib.contextmanager
def _only_one(parent: Path) -> Iterator[None]:
    with (parent / f"{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DropscribeError(f"Another process is at work on the environment of {NAME}.") from None
        yield


def _fitting(uv: str | None) -> str:
    """Return the Python to take: ours, unless WhisperX does not take it; uv finds or fetches another."""
    if sys.version_info[:2] <= PYTHONS[1]:
        return sys.executable
    newest = ".".join(map(str, PYTHONS[1]))
    if uv or (found := shutil.which(f"python{newest}")) is None:
        return newest
    return found


def _make(place: Path, python: str, uv: str | None) -> None:
    if uv:
        _run([uv, "venv", "--quiet", "--python", python, str(place)])
        return
    found = shutil.which(python if os.sep in python or python.startswith("python") else f"python{python}")
    if found is None:
        raise DropscribeError(f"There is no Python {python} here.", "Install it, or install uv, which fetches one.")
    _run([found, "-m", "venv", str(place)])


def _add_torch(place: Path, uv: str | None, say: Callable[[str], None], pins: Path) -> None:
    """Install PyTorch with what it needs itself: on Linux from its own index, the build for this machine.

    Only uv knows that index, and it may be out of reach; the default index's build runs as well, but brings CUDA.
    """
    lines = pins.read_text(encoding="utf-8").splitlines()
    torch = ["--constraint", str(pins), *(line for line in lines if line.startswith(("torch==", "torchaudio==")))]
    say("Installing PyTorch")
    if uv and sys.platform == "linux" and "UV_TORCH_BACKEND" not in os.environ:
        try:
            _add(place, uv, "--torch-backend", "auto", *torch)
        except DropscribeError:
            say("PyTorch's own index cannot be used: taking the default one's build, which may be larger")
        else:
            return
    _add(place, uv, *torch)


def _add(place: Path, uv: str | None, *what: str) -> None:
    if uv:
        _run([uv, "pip", "install", "--python", str(_python(place)), *what])
    else:
        _run([str(_python(place)), "-m", "pip", "install", "--disable-pip-version-check", *what])


def _run(arguments: list[str]) -> None:
    try:
        done = subprocess.run(arguments, stdout=sys.stderr.fileno(), stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise DropscribeError(f"{arguments[0]} cannot be started: {error.strerror}.") from None
    if done.returncode:
        what = " ".join(arguments[:3])
        raise DropscribeError(
            f"`{what} …` failed with exit code {done.returncode}; it said why above.",
            f"`dropscribe backends install {NAME}` begins again.",
        )


def _import(place: Path) -> str:
    """Import WhisperX in the environment at `place`; returns the version of PyTorch. Raises DropscribeError."""
    again = f"`dropscribe backends install {NAME}` again."
    for _ in range(2):
        try:
            done = subprocess.run(
                [str(_python(place)), "-I", "-W", "ignore", "-c", _TRY],
                capture_output=True,
                text=True,
                env=os.environ | {"PYANNOTE_METRICS_ENABLED": "0"},
                check=False,
            )
        except OSError as error:  # the Python that it was made of is gone
            raise DropscribeError(f"{_python(place)} cannot be started: {error.strerror}.", again) from None
        if done.returncode == 0:
            return done.stdout.split()[-1]
        # A torchaudio built for CUDA cannot load its compiled part beside a PyTorch without. Nobody here needs that
        # part, and torchaudio does without when the file is not there (torchaudio/_extension/utils.py).
        compiled = list(place.glob("lib/python3*/site-packages/torchaudio/lib/_torchaudio*.so"))
        if "_torchaudio" not in done.stderr or not compiled:
            break
        for path in compiled:
            path.unlink()
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise DropscribeError(f"The environment of {NAME} does not hold together: {last}", again)

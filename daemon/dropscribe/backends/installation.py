"""Making and removing the separate environment of WhisperX.

Guarantees: standard library only; an environment in place is whole (it is made under another name
and renamed once WhisperX was imported in it); one whose making was interrupted is removed and made
again; only the versions in `whisperx.txt` are installed, and what PyTorch itself requires.
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

from dropscribe.backends.environments import (
    MARKER,
    NAME,
    NEWEST_PYTHON,
    environment_folder,
    interpreter_in,
)
from dropscribe.errors import DropscribeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropscribe.settings import Settings

PINS = Path(__file__).with_name("whisperx.txt")
"""The list of what the environment consists of."""

_IMPORT = "import whisperx, torch; from whisperx import alignment, asr; print(torch.__version__)"


def install_environment(
    settings: Settings, report: Callable[[str], None], python: str = "", *, again: bool = False, pins: Path = PINS
) -> Path:
    """Make the environment and return its folder. One that has the same versions stays, unless
    `again`.

    Args:
        settings: They say where to.
        report: Called with each step, in sentences. What uv and pip print goes to stderr.
        python: The interpreter, or its version, to make it with; empty: ours where WhisperX
            accepts it.
        again: Make it again also when it looks whole.
        pins: The list of what it consists of.

    Raises:
        DropscribeError: Says which step failed.
    """
    folder = environment_folder(settings)
    unfinished = folder.with_name(NAME + ".part")
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_folder(folder.parent):
        if not again and _read_marker(folder).get("pins") == _digest(pins):
            with contextlib.suppress(DropscribeError):
                _check_import(folder)
                report(f"{NAME} is installed in {folder}.")
                return folder
            report(f"The environment in {folder} is broken: it is made again.")
        shutil.rmtree(unfinished, ignore_errors=True)
        uv = shutil.which("uv")
        report(f"Making an environment in {folder} with {'uv' if uv else 'venv and pip'}")
        _make_environment(unfinished, python or _choose_python(uv), uv)
        _install_torch(unfinished, uv, report, pins)
        report("Installing WhisperX and its other packages")
        _install_packages(unfinished, uv, "--no-deps", "--requirement", str(pins))
        report("Importing it once")
        version = _check_import(unfinished)
        marker = json.dumps({"pins": _digest(pins), "torch": version})
        (unfinished / MARKER).write_text(marker, encoding="utf-8")
        old = folder.with_name(NAME + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        unfinished.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    report(f"{NAME} is installed, with PyTorch {version}.")
    return folder


def remove_environment(settings: Settings) -> bool:
    """Remove the environment, whole or not, and return whether there was one."""
    parent = environment_folder(settings).parent
    if not parent.is_dir():
        return False
    with lock_folder(parent):
        folders = [path for path in parent.glob(NAME + "*") if path.is_dir()]
        for path in folders:
            with contextlib.suppress(FileNotFoundError):
                (path / MARKER).unlink()  # first, so that what is half removed does not count as whole
            shutil.rmtree(path)
    return bool(folders)


@contextlib.contextmanager
def lock_folder(parent: Path) -> Iterator[None]:
    """Keep other processes from changing the environment in `parent`.

    Raises:
        DropscribeError: Another process is changing it.
    """
    with (parent / f"{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DropscribeError(f"Another process is at work on the environment of {NAME}.") from None
        yield


def _read_marker(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return marker
    return {}


def _digest(pins: Path) -> str:
    return hashlib.sha256(pins.read_bytes()).hexdigest()


def _choose_python(uv: str | None) -> str:
    """Return the Python to use: ours, unless WhisperX does not accept it; uv finds or fetches
    another.
    """
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    newest = ".".join(map(str, NEWEST_PYTHON))
    if uv or (found := shutil.which(f"python{newest}")) is None:
        return newest
    return found


def _make_environment(folder: Path, python: str, uv: str | None) -> None:
    if uv:
        _run([uv, "venv", "--quiet", "--python", python, str(folder)])
        return
    found = shutil.which(python if os.sep in python or python.startswith("python") else f"python{python}")
    if found is None:
        raise DropscribeError(f"There is no Python {python} here.", "Install it, or install uv, which fetches one.")
    _run([found, "-m", "venv", str(folder)])


def _install_torch(folder: Path, uv: str | None, report: Callable[[str], None], pins: Path) -> None:
    """Install PyTorch with its own requirements: on Linux from PyTorch's index, the build for this
    machine.

    Only uv knows that index, and it may be out of reach. The default index's build runs as well,
    but brings CUDA.
    """
    lines = pins.read_text(encoding="utf-8").splitlines()
    torch = ["--constraint", str(pins), *(line for line in lines if line.startswith(("torch==", "torchaudio==")))]
    report("Installing PyTorch")
    if uv and sys.platform == "linux" and "UV_TORCH_BACKEND" not in os.environ:
        try:
            _install_packages(folder, uv, "--torch-backend", "auto", *torch)
        except DropscribeError:
            report("PyTorch's own index cannot be used: taking the default one's build, which may be larger")
        else:
            return
    _install_packages(folder, uv, *torch)


def _install_packages(folder: Path, uv: str | None, *arguments: str) -> None:
    python = str(interpreter_in(folder))
    if uv:
        _run([uv, "pip", "install", "--python", python, *arguments])
    else:
        _run([python, "-m", "pip", "install", "--disable-pip-version-check", *arguments])


def _run(arguments: list[str]) -> None:
    try:
        process = subprocess.run(arguments, stdout=sys.stderr.fileno(), stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise DropscribeError(f"{arguments[0]} cannot be started: {error.strerror}.") from None
    if process.returncode:
        step = " ".join(arguments[:3])
        raise DropscribeError(
            f"`{step} …` failed with exit code {process.returncode}; it said why above.",
            f"`dropscribe backends install {NAME}` begins again.",
        )


def _check_import(folder: Path) -> str:
    """Import WhisperX in the environment and return the version of PyTorch.

    Raises:
        DropscribeError: It cannot be imported.
    """
    again = f"`dropscribe backends install {NAME}` again."
    python = interpreter_in(folder)
    for _ in range(2):
        try:
            process = subprocess.run(
                [str(python), "-I", "-W", "ignore", "-c", _IMPORT],
                capture_output=True,
                text=True,
                env=os.environ | {"PYANNOTE_METRICS_ENABLED": "0"},
                check=False,
            )
        except OSError as error:  # the Python that it was made with is gone
            raise DropscribeError(f"{python} cannot be started: {error.strerror}.", again) from None
        if process.returncode == 0:
            return process.stdout.split()[-1]
        # A torchaudio built for CUDA cannot load its compiled part with a PyTorch built without.
        # We do not use that part, and torchaudio works without it when the file is missing
        # (torchaudio/_extension/utils.py).
        compiled = list(folder.glob("lib/python3*/site-packages/torchaudio/lib/_torchaudio*.so"))
        if "_torchaudio" not in process.stderr or not compiled:
            break
        for path in compiled:
            path.unlink()
    last = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise DropscribeError(f"The environment of {NAME} does not hold together: {last}", again)

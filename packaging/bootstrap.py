"""Try Dropscribe, or test it, from a fresh checkout with nothing installed.

usage: python3 packaging/bootstrap.py demo [--venv DIR] [--python PROGRAM]
       python3 packaging/bootstrap.py test [--venv DIR] [--python PROGRAM]

demo  installs Dropscribe into an environment of its own (.venv-demo), drops a spoken sample into an inbox and shows
      what comes out. Nothing is written outside that folder.
test  installs it with all that its tests need (.venv-test) and runs the linter, the type checker, the check of the
      layers (import-linter) and the tests.

Guarantees: standard library only; PyTorch is not installed; an existing environment is reused; a message about a
failure says what to do. Needs Python 3.11 or newer: an older one looks for a newer one on PATH.
"""

from __future__ import annotations

import argparse
import ctypes.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11", "python3.14", "python3")  # best supported by the libraries first


class BootstrapError(Exception):
    """Something failed; the message says what to do."""


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("demo", "test"))
    parser.add_argument("--venv", type=Path, help="the environment's folder (./.venv-demo, ./.venv-test)")
    parser.add_argument("--python", help="the Python to make it with")
    given = parser.parse_args()
    try:
        python = find_python(given.python)
        if sys.version_info < OLDEST:  # a Mac's own python3 is 3.9; further on, tomllib is needed
            os.execv(python, [python, *sys.argv])  # noqa: S606 -- this very file, by the Python just found
        venv = (given.venv or ROOT / f".venv-{given.what}").absolute()
        return (demo if given.what == "demo" else test)(python, venv)
    except BootstrapError as error:
        say(f"\nbootstrap: {error}")
        return 1


# The environment ----------------------------------------------------------------------------------------------------


def find_python(wanted: str | None) -> str:
    """Return the path of an interpreter that is new enough: the wanted one, else this one, else one on PATH."""
    names = (wanted,) if wanted else (sys.executable, *NEWER)
    seen = []
    for name in names:
        path = shutil.which(name)
        if path is None:
            continue
        code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
        answer = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        version = answer.stdout.strip()
        if re.fullmatch(r"3\.\d+\.\d+", version) and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            return path
        seen.append(f"{path} is {version or 'no Python'}")
    if wanted and not seen:
        raise BootstrapError(f"there is no program {wanted}.")
    raise BootstrapError(
        f"Dropscribe needs Python 3.11 or newer, and {'; '.join(dict.fromkeys(seen))}. Install one (macOS: "
        "`brew install python@3.13`; Debian, Ubuntu: `apt install python3 python3-venv`) or name it with --python."
    )


def make_venv(python: str, folder: Path) -> str:
    """Make an environment in `folder`, or take the one that is there; return its interpreter."""
    inside = folder / "bin/python"
    if (folder / "pyvenv.cfg").exists():
        if works(str(inside), "-m", "pip", "--version"):
            say(f"Using the environment {folder}")
            return str(inside)
        raise BootstrapError(f"the environment {folder} is damaged: remove that folder and try again.")
    if folder.exists() and any(folder.iterdir()):
        raise BootstrapError(f"{folder} is there and is no environment: name another folder with --venv.")
    say(f"Making the environment {folder}")
    answer = subprocess.run([python, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stdout + answer.stderr).strip()
        shutil.rmtree(folder, ignore_errors=True)  # it was empty or not there: what is in it now, venv made
        if "ensurepip" in said or "No module named venv" in said:
            raise BootstrapError(
                f"{python} cannot make environments: its `venv` or `ensurepip` is missing. On Debian and Ubuntu, "
                "`sudo apt install python3-venv`, and try again."
            )
        raise BootstrapError(f"{python} -m venv failed:\n{said}")
    return str(inside)


def works(*command: str) -> bool:
    """Return whether `command` can be run and ends well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def apple() -> bool:
    """Return whether this is an Apple Silicon Mac."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def mlx_on_linux() -> bool:
    """Return whether MLX has a wheel for this Linux: glibc 2.35 or newer."""
    library, version = platform.libc_ver()
    return (
        sys.platform == "linux"
        and platform.machine() in {"x86_64", "aarch64"}
        and library == "glibc"
        and tuple(map(int, version.split("."))) >= (2, 35)
    )


def steps(project: dict[str, Any], extras: list[str], *, mlx: bool, editable: bool) -> list[list[str]]:
    """Return the arguments of each `pip install` that brings the project with `extras`, without PyTorch.

    mlx-whisper's metadata asks for PyTorch, which only its converter imports, and pip has no way to leave one
    package out. So mlx-whisper goes in alone; what it does import is among the dependencies or in `mlx-linux`.
    """
    where = [*(["--editable"] if editable else []), f"{ROOT}[{','.join(extras)}]"]
    return [where, *([["--no-deps", *project["optional-dependencies"]["mlx"]]] if mlx else [])]


def install(python: str, extras: list[str], *, editable: bool, options: tuple[str, ...] = ()) -> None:
    """Install the project with `extras` into the environment of `python`."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    say("Installing Dropscribe and what it needs; the first time this takes some minutes")
    for arguments in steps(project, extras, mlx=apple() or "mlx-linux" in extras, editable=editable):
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        if subprocess.run([*command, *options, *arguments], check=False).returncode:
            raise BootstrapError(
                "pip could not install it (its own words are above). Without a network it cannot; behind a proxy, "
                "set HTTPS_PROXY. Then run this again: it goes on with the environment that is there."
            )


# demo ---------------------------------------------------------------------------------------------------------------


def demo(python: str, venv: Path) -> int:
    """Install it, run it once over the sample, show the transcript and what to do next."""
    inside = make_venv(python, venv)
    # No cache: nothing is to be written outside the folder.
    install(inside, ["starter"], editable=False, options=("--no-cache-dir",))
    place = Path(tempfile.mkdtemp(prefix="demo-", dir=venv))
    for name in ("Inbox", "Outbox", "home"):
        (place / name).mkdir()
    shutil.copy(ROOT / "daemon/dropscribe/sample.ogg", place / "Inbox/sample.ogg")
    say(f"A recording of 19 seconds is now in {place / 'Inbox'}\nTranscribing it\n")
    answer = subprocess.run([str(venv / "bin/dropscribe"), "run", "--once"], env=surroundings(place), check=False)
    written = place / "Outbox/sample.json"
    if answer.returncode or not written.exists():
        for failed in sorted((place / "Outbox").rglob("*.error.txt")):
            say(failed.read_text(encoding="utf-8"))
        raise BootstrapError(f"the recording was not transcribed (exit code {answer.returncode}); see {place}.")
    transcript = json.loads(written.read_text(encoding="utf-8"))
    say("\nIts transcript:\n")
    for segment in transcript["segments"]:
        say(f"  {segment['start']:6.2f} - {segment['end']:5.2f}  {segment['text'].strip()}")
    command = shlex.quote(str(venv / "bin/dropscribe"))
    for_good = "uv tool install '.[starter]'"
    if apple():
        for_good = "uv tool install --excludes packaging/uv-excludes.txt '.[mlx,starter]'"
    files = ", ".join(sorted(path.name for path in written.parent.iterdir()))
    say(
        f"\nWritten to {written.parent}: {files}\n"
        "\nWhat next\n"
        "  More of your own:  put recordings into a folder of yours, and run\n"
        f"                     {command} run --inbox FOLDER --outbox OTHER_FOLDER\n"
        f"  For good:          {for_good}\n"
        "  Always on:         dropscribe service install   (then drop recordings into ~/Dropscribe/Inbox)\n"
        f"  Clean up:          remove {venv}; nothing was written elsewhere"
    )
    return 0


def surroundings(place: Path) -> dict[str, str]:
    """Return an environment in which all that is read or written is in `place`, whatever the person has set."""
    mine = ("DROPSCRIBE_", "HF_", "XDG_", "PYTHON")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    folders = {"INBOX": "Inbox", "OUTBOX": "Outbox", "STATE": "state", "LOGS": "logs", "MODELS": "models"}
    environ |= {f"DROPSCRIBE_{name}": str(place / folder) for name, folder in folders.items()}
    elsewhere = ["HF_HOME", "TMPDIR", "XDG_RUNTIME_DIR"]
    elsewhere += [f"XDG_{name}_HOME" for name in ("CACHE", "CONFIG", "DATA", "STATE")]
    return {**environ, **dict.fromkeys(elsewhere, str(place / "home")), "DROPSCRIBE_MODEL": "base"}


# test ---------------------------------------------------------------------------------------------------------------


def test(python: str, venv: Path) -> int:
    """Run every check, and return the first failure's exit code."""
    inside = make_venv(python, venv)
    install(inside, ["test", *(["mlx-linux"] if mlx_on_linux() else [])], editable=True)
    first = 0
    # Two processes: much of a test's time is waiting for a daemon to notice, to settle, to give up.
    tests = ["pytest", "--numprocesses", "2", "--dist", "loadfile"]
    # import-linter cannot be run with `-m`.
    layers = [str(venv / "bin/lint-imports")]
    module = [inside, "-m"]
    for check, command in (
        ("ruff check", [*module, "ruff", "check"]),
        ("ruff format --check", [*module, "ruff", "format", "--check"]),
        ("mypy", [*module, "mypy"]),
        ("lint-imports", layers),
        (" ".join(tests), [*module, *tests]),
    ):
        say(f"\n== {check}")
        environ = with_openblas() if "pytest" in command else None
        code = subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
        if code:
            say(f"== {check} failed with exit code {code}")
        first = first or code
    return first


def with_openblas() -> dict[str, str]:
    """Return the environment, on Linux with OpenBLAS before all: the BLAS in MLX's CPU wheel is many times slower."""
    found = ctypes.util.find_library("openblas") if sys.platform == "linux" else None
    if found is None:
        return dict(os.environ)
    return {**os.environ, "LD_PRELOAD": ":".join(filter(None, (found, os.environ.get("LD_PRELOAD"))))}


def say(text: str) -> None:
    """Print at once, so that it stands before what a program prints next."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

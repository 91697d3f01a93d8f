"""Run the quick tests on several Pythons, each with the oldest and with the newest versions of what Dropscribe needs.

usage: python3 packaging/matrix.py [--python 3.11 3.12 3.13 3.14] [--versions oldest newest] [-- PYTEST...]

Needs uv (`pip install uv`), which also fetches a Python that is missing, and a package registry. Each pair gets an
environment of its own, which is removed afterwards. Oldest: the lower bounds of `dependencies` in pyproject.toml, or
the first release after them that has a wheel for that Python; what those need in turn, and the tests' own packages,
are the newest. Prints a row a pair with the versions it ran with; the exit code is 1 if any failed.

The quick tests leave out what runs whole daemons, browsers or MLX. A pattern that matches no test ends this script
before it makes an environment; tests/test_install.py holds that each matches one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
QUICK = (
    *("decoding*", "backends", "choice", "cli", "drafts", "files", "formats*", "inbox", "journal*", "line_breaking"),
    *("models_*", "number_normalisation", "outbox", "protocol", "recording_date", "replacements", "review"),
    *("settings", "subtitles", "transcript", "turns", "vad", "windows", "word_times"),
)
"""Patterns: `tests/test_NAME.py`. One that matches no file is an error."""
SHOWN = ("av", "faster-whisper", "ctranslate2", "huggingface-hub", "numpy", "onnxruntime", "structlog", "watchdog")


def main() -> int:
    """Run every pair; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=list(PYTHONS), help="versions, or paths of interpreters")
    parser.add_argument("--versions", nargs="+", choices=("oldest", "newest"), default=["oldest", "newest"])
    parser.add_argument("--folder", type=Path, help="where to make the environments (default: a temporary folder)")
    parser.add_argument("pytest", nargs="*", help="instead of the quick tests")
    given = parser.parse_args()
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    tests = given.pytest or list_quick_tests(QUICK)
    failed = 0
    for python in given.python:
        for versions in given.versions:
            started = time.monotonic()
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                verdict, shown = pair(uv, python, versions, Path(folder) / "venv", tests)
            failed += verdict != "passed"
            print(f"{python:<8} {versions:<7} {verdict:<24} {time.monotonic() - started:4.0f} s  {shown}", flush=True)
    return 1 if failed else 0


def list_quick_tests(patterns: Sequence[str]) -> list[str]:
    """Return the files of these tests. Ends the script when a pattern matches none."""
    files: list[str] = []
    for name in patterns:
        matching = sorted(ROOT.glob(f"tests/test_{name}.py"))
        if not matching:
            sys.exit(f"tests/test_{name}.py: no such test; correct QUICK in {Path(__file__).name}")
        files += map(str, matching)
    return files


def pair(uv: str, python: str, versions: str, venv: Path, tests: list[str]) -> tuple[str, str]:
    """Make one environment and run the tests in it; return the verdict and the versions of what matters."""
    inside = str(venv / "bin/python")
    bounds = venv.with_name("bounds.txt")
    subprocess.run([uv, "venv", "--quiet", "--python", python, str(venv)], check=True)
    where = ("--quiet", "--python", inside, "--only-binary", ":all:")
    if versions == "oldest":
        command = [uv, "pip", "compile", *where, "--resolution", "lowest-direct", "--no-annotate", "pyproject.toml"]
        with bounds.open("w") as file:
            if subprocess.run(command, cwd=ROOT, stdout=file, check=False).returncode:
                return "cannot be resolved", ""
    else:
        bounds.touch()
    command = [uv, "pip", "install", *where, "--no-binary", "dropscribe", "--constraint", str(bounds)]
    # Some of the tests' own packages come as source alone.
    for name in ("lrcparser", "pympi-ling", "textgrid"):
        command += ["--no-binary", name]
    if subprocess.run([*command, "--editable", f"{ROOT}[test]"], check=False).returncode:
        return "cannot be installed", ""
    listed = subprocess.run(
        [uv, "pip", "freeze", "--python", inside], capture_output=True, text=True, check=True
    ).stdout
    shown = " ".join(re.findall(rf"^(?:{'|'.join(SHOWN)})==\S+", listed, re.MULTILINE))
    done = subprocess.run([inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, check=False)
    return ("passed" if done.returncode == 0 else f"FAILED ({done.returncode})"), shown.replace("==", " ")


if __name__ == "__main__":
    sys.exit(main())

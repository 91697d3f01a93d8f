"""Whether everything that Dropscribe imports on a Mac is in what an installation there brings; runs anywhere.

usage: python packaging/mac_imports.py [--python 3.12] [--uv PATH]

Needs uv and a package registry. The wheels for Apple Silicon are resolved and unpacked, as `README.md` installs them;
each import in the package, also those inside functions, must be in the standard library, in Dropscribe or among them.
Nothing of it is run. Prints the wheels for that platform alone, and what is missing; the exit code is 1 if any is.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "daemon/dropscribe"
ELSEWHERE = {"whisperx", "torch", "torchaudio", "transformers", "pyannote", "nvidia", "docx"}
"""Of WhisperX's own environment, of PyTorch where a person has it, and of extras."""


def main() -> int:
    """Print what is missing; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--uv", default="uv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "site"
        install(given.uv, given.python, target)
        present = {path.name.split(".")[0] for path in target.iterdir()}
        native = sorted(path.parent.name for path in target.glob("*.dist-info/WHEEL") if "macosx" in path.read_text())
    print(f"{len(native)} wheels for macOS alone: {', '.join(name.removesuffix('.dist-info') for name in native)}")
    missing = sorted(list_imports() - present - ELSEWHERE - sys.stdlib_module_names - {"dropscribe"})
    print(f"missing: {', '.join(missing) or 'nothing'}")
    return 1 if missing else 0


def install(uv: str, python: str, target: Path) -> None:
    """Unpack what an installation on Apple Silicon brings."""
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python-platform",
        "aarch64-apple-darwin",
        "--python-version",
        python,
    ]
    excludes = ["--excludes", str(ROOT / "packaging/uv-excludes.txt")]
    subprocess.run(
        [
            *command,
            "--only-binary=:all:",
            "--no-binary=dropscribe",
            *excludes,
            "--target",
            str(target),
            f"{ROOT}[mlx]",
        ],
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # MLX has wheels from there on
        check=True,
    )


def list_imports() -> set[str]:
    """Return the first names of everything that a module of the package imports."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


if __name__ == "__main__":
    sys.exit(main())

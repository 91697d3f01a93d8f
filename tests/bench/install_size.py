"""What an installation brings and how large it is, for a Mac and for Linux, measured anywhere: unpacked, not run.

usage: python tests/bench/install_size.py [--python 3.12] [--uv PATH]

Needs uv and a package registry. Prints a row for Dropscribe as the README installs it on an Apple Silicon Mac and on
Linux, one with `mlx-whisper` as that declares itself, one for WhisperX's own environment, and the largest of each.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHISPERX = ROOT / "daemon/dropscribe/backends/whisperx.txt"
MAC, LINUX = "aarch64-apple-darwin", "x86_64-manylinux_2_35"
# MLX has wheels from macOS 14 on; uv assumes 13.
OURS = str(ROOT)
WITH_MLX = ("--excludes", str(ROOT / "packaging/uv-excludes.txt"), f"{ROOT}[mlx]")
"""What the README gives to uv on a Mac."""
ENVIRON = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}


@dataclass(frozen=True, slots=True)
class Installed:
    """What came."""

    packages: dict[str, str]
    """Version by distribution name, in lower case."""
    megabytes: int
    folders: dict[str, int]
    """Megabytes by folder, the largest first."""


def install(uv: str, target: Path, platform: str, python: str, *wanted: str) -> Installed:
    """Unpack what `wanted` asks of `uv pip install` into `target`."""
    where = ("--python-platform", platform, "--python-version", python, "--target", str(target))
    wheels = ("--only-binary", ":all:", "--no-binary", "dropscribe")
    command = [uv, "pip", "install", "--quiet", *where, *wheels, *wanted]
    subprocess.run(command, check=True, env={**ENVIRON, **os.environ})
    names = (path.name.removesuffix(".dist-info").partition("-") for path in target.glob("*.dist-info"))
    folders = megabytes(*(path for path in target.iterdir() if path.is_dir()))
    return Installed(
        {name.lower(): version for name, _, version in names},
        megabytes(target)[target.name],
        dict(sorted(folders.items(), key=lambda item: -item[1])),
    )


def megabytes(*paths: Path) -> dict[str, int]:
    """Return what `du -sm` says of each path, by name."""
    found = subprocess.run(["du", "-sm", *paths], check=True, capture_output=True, text=True)
    rows = (line.split("\t", 1) for line in found.stdout.splitlines())
    return {Path(path).name: int(size) for size, path in rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="version of Python")
    parser.add_argument("--uv", default="uv", help="the uv program")
    given = parser.parse_args()
    print(f"Python {given.python}, {dt.datetime.now(dt.UTC):%Y-%m-%d}")
    print(f"{'':<44}{'packages':>9}{'MB':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, platform, wanted) in enumerate(
            (
                ("macOS arm64", MAC, WITH_MLX),
                ("macOS arm64 with mlx-whisper as declared", MAC, (f"{ROOT}[mlx]",)),
                ("macOS arm64, WhisperX's own environment", MAC, ("--no-deps", "--requirement", str(WHISPERX))),
                ("Linux x86-64", LINUX, (OURS,)),
            )
        ):
            found = install(given.uv, Path(folder, str(number)), platform, given.python, *wanted)
            largest = ", ".join(f"{name} {size}" for name, size in list(found.folders.items())[:8])
            print(f"{name:<44}{len(found.packages):>9}{found.megabytes:>7}  {largest}", flush=True)


if __name__ == "__main__":
    main()

"""Size of an installation on an Apple Silicon Mac, measured anywhere: wheels are unpacked, not run.

usage: python tests/bench/install_size.py [--platform aarch64-apple-darwin] [--python 3.12] [--uv PATH]

Needs uv and a package registry. Prints one row for the dependencies as they are declared, one without what
`packaging/uv-excludes.txt` names, one for WhisperX's own environment, and the largest packages of the second.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXCLUDES = ROOT / "packaging/uv-excludes.txt"
OURS = f"{ROOT}[mlx]"
WHISPERX = ROOT / "daemon/dropscribe/backends/whisperx.txt"


def megabytes(*paths: Path) -> dict[str, int]:
    """Return what `du -sm` says of each path, by name."""
    found = subprocess.run(["du", "-sm", *paths], check=True, capture_output=True, text=True)
    rows = (line.split("\t", 1) for line in found.stdout.splitlines())
    return {Path(path).name: int(size) for size, path in rows}


def install(uv: str, target: Path, platform: str, python: str, *options: str) -> int:
    """Unpack what `options` ask for into `target`; return the number of distributions."""
    where = ("--python-platform", platform, "--python-version", python, "--target", str(target))
    wheels = ("--only-binary", ":all:", "--no-binary", "dropscribe")
    subprocess.run(
        [uv, "pip", "install", "--quiet", *where, *wheels, *options],
        check=True,
        # MLX has wheels from macOS 14 on; uv assumes 13.
        env={"MACOSX_DEPLOYMENT_TARGET": "14.0", **os.environ},
    )
    return len(list(target.glob("*.dist-info")))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="aarch64-apple-darwin", help="a platform of uv's --python-platform")
    parser.add_argument("--python", default="3.12", help="version of Python")
    parser.add_argument("--uv", default="uv", help="the uv program")
    given = parser.parse_args()
    print(f"{given.platform}, Python {given.python}, {dt.datetime.now(dt.UTC):%Y-%m-%d}")
    print(f"{'dependencies':<44}{'packages':>9}{'MB':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (
            ("as declared", (OURS,)),
            ("WhisperX's own environment", ("--no-deps", "--requirement", str(WHISPERX))),
            ("--excludes packaging/uv-excludes.txt", ("--excludes", str(EXCLUDES), OURS)),
        ):
            target = Path(folder, str(len(list(Path(folder).iterdir()))))
            count = install(given.uv, target, given.platform, given.python, *options)
            print(f"{name:<44}{count:>9}{megabytes(target)[target.name]:>7}")
        sizes = megabytes(*(path for path in target.iterdir() if path.is_dir()))
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    print("largest without:", ", ".join(f"{name} {size}" for name, size in largest))


if __name__ == "__main__":
    main()

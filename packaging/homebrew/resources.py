"""Write and check the Homebrew formula `dropscribe.rb` that is in the folder of this file.

usage: python packaging/homebrew/resources.py                resolve again, and rewrite the formula's resources
       python packaging/homebrew/resources.py --check        download every resource and compare it with the formula
       python packaging/homebrew/resources.py --release SDIST [--url URL] [--homepage URL] [--out FILE]
                                                             write the formula of a release (default: next to SDIST)

Needs uv, pip and the library `packaging` (the extra `test` brings them), and the Python package registry. The
resources are the wheels that `dropscribe[mlx]` needs on an Apple Silicon Mac, without PyTorch. Wheels, because
CTranslate2, MLX and ONNX Runtime publish no source distribution for it.

The public address of a file follows from its BLAKE2 digest. `--check` computes that digest and the SHA-256 from the
downloaded file, so a formula that passes names files that exist and their true digests.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging import tags
from packaging.utils import parse_wheel_filename

FORMULA = Path(__file__).with_name("dropscribe.rb")
ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 13)
"""The formula's `depends_on "python@3.13"`."""
MACOS = (14, 0)
"""The oldest macOS that MLX has wheels for."""
PUBLIC = "https://files.pythonhosted.org/packages"
BLOCKS = re.compile(r'  resource "[^"]+" do\n.*?\n  end\n(?:\n  resource "[^"]+" do\n.*?\n  end\n)*', re.DOTALL)
BLOCK = re.compile(r'resource "([^"]+)" do\n\s+url "([^"]+)"\n\s+sha256 "([0-9a-f]{64})"')
UNRELEASED = re.compile(r"  # A release .*?\n(?=  license)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Resource:
    """One wheel of the formula."""

    name: str
    version: str
    url: str
    sha256: str


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the formula with the registry's files")
    parser.add_argument("--release", type=Path, metavar="SDIST", help="the source distribution of the release")
    parser.add_argument("--url", help="public address of SDIST (default: the file itself)")
    parser.add_argument("--homepage", help="address for the formula's `homepage`")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the formula of the release")
    given = parser.parse_args()
    if given.release:
        out = given.out or given.release.with_name(FORMULA.name)
        text = write_release(FORMULA.read_text(encoding="utf-8"), given.release, given.url, given.homepage)
        out.write_text(text, encoding="utf-8")
        print(out)
        return 0
    if not given.check:
        text = write_resources(FORMULA.read_text(encoding="utf-8"), resolve())
        FORMULA.write_text(text, encoding="utf-8")
    wrong = check(read_resources(FORMULA.read_text(encoding="utf-8")))
    print("\n".join(wrong) or "every resource is a file of the registry, with this digest")
    return 1 if wrong else 0


def resolve() -> list[Resource]:
    """Return the wheels that a Mac needs, by name."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "pylock.toml")
        command = [uv, "pip", "compile", "--quiet", "--format", "pylock.toml", "--output-file", str(lock)]
        command += ["--python-platform", "aarch64-apple-darwin", "--python-version", ".".join(map(str, PYTHON))]
        command += ["--only-binary", ":all:", "--excludes", str(ROOT / "packaging/uv-excludes.txt")]
        environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": ".".join(map(str, MACOS))}
        subprocess.run([*command, "--extra", "mlx", str(ROOT / "pyproject.toml")], check=True, env=environ)
        packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    return [choose_wheel(package) for package in packages]


def choose_wheel(package: dict[str, Any]) -> Resource:
    """Return the wheel of a package in a lock file that pip would take on the Mac."""
    platforms = list(tags.mac_platforms(MACOS, "arm64"))
    supported = [
        *tags.cpython_tags(PYTHON, platforms=platforms),
        *tags.compatible_tags(PYTHON, platforms=platforms),
    ]
    rank = {tag: number for number, tag in enumerate(supported)}

    def best(wheel: dict[str, Any]) -> int:
        name = Path(urlsplit(wheel["url"]).path).name
        return min((rank[tag] for tag in parse_wheel_filename(name)[3] if tag in rank), default=len(rank))

    wheel = min(package["wheels"], key=best)
    path = urlsplit(wheel["url"]).path.partition("/packages/")[2]
    return Resource(package["name"], package["version"], f"{PUBLIC}/{path}", wheel["hashes"]["sha256"])


def read_resources(formula: str) -> list[Resource]:
    """Return the resources of a formula."""
    found = BLOCK.findall(formula)
    return [Resource(name, str(parse_wheel_filename(Path(url).name)[1]), url, sha256) for name, url, sha256 in found]


def write_resources(formula: str, resources: list[Resource]) -> str:
    """Return the formula with these resources in place of its own."""
    blocks = (f'  resource "{r.name}" do\n    url "{r.url}"\n    sha256 "{r.sha256}"\n  end\n' for r in resources)
    text, count = BLOCKS.subn(lambda _: "\n".join(blocks), formula)
    if count != 1:
        raise SystemExit(f"{FORMULA.name} has {count} runs of resources instead of one.")
    return text


def check(resources: list[Resource]) -> list[str]:
    """Download every resource; return a sentence about each that is not as the formula says.

    pip compares the SHA-256 while it downloads. The address is compared with the BLAKE2 digest here.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        lines = (f"{r.name}=={r.version} --hash=sha256:{r.sha256}\n" for r in resources)
        wanted.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--python-version", ".".join(map(str, PYTHON)), "--dest", folder]
        for platform in tags.mac_platforms(MACOS, "arm64"):
            command += ["--platform", platform]
        if subprocess.run([*command, "--requirement", str(wanted)], check=False).returncode:
            return ["pip could not download every resource with the digest that the formula gives (see above)."]
        return [problem for resource in resources if (problem := compare(resource, Path(folder)))]


def compare(resource: Resource, folder: Path) -> str:
    """Return what is wrong with the address of a resource that is in `folder`; nothing if it is right."""
    file = folder / Path(resource.url).name
    if not file.exists():
        return f"{resource.name}: pip takes another file than {file.name}."
    digest = hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()
    address = f"{PUBLIC}/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file.name}"
    return "" if address == resource.url else f"{resource.name}: the file is at {address}."


def write_release(formula: str, sdist: Path, url: str | None, homepage: str | None) -> str:
    """Return the formula with the address and the digest of a release."""
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    lines = [f'  homepage "{homepage}"'] if homepage else []
    lines += [f'  url "{url or sdist.resolve().as_uri()}"', f'  sha256 "{digest}"']
    text, count = UNRELEASED.subn(lambda _: "\n".join(lines) + "\n", formula)
    if count != 1:
        raise SystemExit(f"{FORMULA.name} has no place for the address of a release.")
    return text


if __name__ == "__main__":
    sys.exit(main())

"""What the README's installations bring, for a Mac and for Linux: the engines, and no PyTorch.

Needs uv, which is among the tests' own packages, and a package registry.
"""

from __future__ import annotations

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import install_size

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.14")
"""The oldest and the newest."""
NOT_NEEDED = {"torch", "torchaudio", "torchvision", "triton", "transformers"}
MOST_MB = {install_size.MAC: 630, install_size.LINUX: 500}
"""About a tenth more than was measured when this was written."""


@pytest.fixture(scope="session")
def uv() -> str:
    """The uv program of the environment that runs the tests."""
    assert find_spec("uv"), "uv is missing: install the extra `test`"
    from uv import find_uv_bin

    return str(find_uv_bin())


def resolved(uv: str, *arguments: str) -> dict[str, str]:
    """Return the versions that uv would install, by name."""
    wheels = ("--only-binary", ":all:")
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *wheels, *arguments, "pyproject.toml"]
    done = subprocess.run(
        command, cwd=ROOT, env={**install_size.ENVIRON, **os.environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", [install_size.MAC, install_size.LINUX])
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_no_python_gets_pytorch(uv: str, python: str, platform: str, resolution: str) -> None:
    where = ("--python-platform", platform, "--python-version", python, "--resolution", resolution)
    # The extras that a person may add; those for tests are our business alone.
    found = resolved(uv, *where, "--extra", "starter", "--extra", "mlx-linux")
    assert {"faster-whisper", "ctranslate2", "av", "onnxruntime", "watchdog", "mlx"} <= found.keys()
    assert not NOT_NEEDED & found.keys()


def test_only_the_excludes_keep_pytorch_from_coming_with_mlx_whisper(uv: str) -> None:
    where = ("--python-platform", install_size.MAC, "--python-version", "3.12", "--extra", "mlx")
    found = resolved(uv, *where, *install_size.WITH_MLX[:2])
    assert {"mlx", "mlx-whisper", "faster-whisper"} <= found.keys()
    assert not NOT_NEEDED & found.keys()
    assert "torch" in resolved(uv, *where)  # the day it is not, the excludes can go


@pytest.mark.parametrize("platform", [install_size.MAC, install_size.LINUX])
def test_the_default_installation_is_small_and_without_pytorch(
    uv: str, platform: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    wanted = install_size.WITH_MLX if platform == install_size.MAC else (install_size.OURS,)
    found = install_size.install(uv, tmp_path / "site", platform, "3.12", *wanted)
    record_property("megabytes", found.megabytes)
    print(f"{platform}: {found.megabytes} MB, {len(found.packages)} packages, {list(found.folders.items())[:5]}")
    assert not NOT_NEEDED & found.packages.keys()
    assert ("mlx" in found.packages) is (platform == install_size.MAC)
    assert not list((tmp_path / "site").glob("torch*"))
    assert found.megabytes < MOST_MB[platform], found.folders

"""What is published, and what its installation brings, for a Mac and for Linux: the engines, and no PyTorch.

Needs build, twine and uv, which are among the tests' own packages, and a package registry.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import install_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.14")
"""The oldest and the newest."""
NOT_NEEDED = {"torch", "torchaudio", "torchvision", "triton", "transformers"}
MOST_MB = {install_size.MAC: 630, install_size.LINUX: 500}
"""About a tenth more than was measured when this was written."""


PACKAGE = ROOT / "daemon/dropscribe"
FORMULA = ROOT / "packaging/homebrew/dropscribe.rb"


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


# What is published --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True
    )
    return folder


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def sources(folder: Path) -> set[str]:
    """Return the files under a folder that people wrote."""
    return {
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".nfs")
    }


def test_what_is_published_passes_twines_strict_check(built: Path) -> None:
    files = sorted(built.iterdir())
    version = project()["version"]
    assert [file.name for file in files] == [f"dropscribe-{version}-py3-none-any.whl", f"dropscribe-{version}.tar.gz"]
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {f"daemon/{name}" for name in names} == sources(PACKAGE)


def test_the_source_distribution_holds_what_builds_and_tests_it(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}
    folders = (ROOT / name for name in (".github", "config", "daemon", "packaging", "tests"))
    assert names - {"PKG-INFO", ".gitignore"} == top.union(*map(sources, folders))


def test_the_metadata_names_only_pythons_that_are_allowed() -> None:
    metadata = project()
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(metadata["classifiers"]), re.MULTILINE)
    assert metadata["requires-python"] == f">={named[0]}"
    assert (named[0], named[-1]) == PYTHONS


def test_the_matrix_runs_only_tests_that_exist() -> None:
    matrix = load_script("packaging/matrix.py")
    assert len(matrix.list_quick_tests(matrix.QUICK)) >= len(matrix.QUICK)


def test_the_matrix_ends_on_a_pattern_that_matches_no_test() -> None:
    with pytest.raises(SystemExit, match="test_nothing_of_this_name"):
        load_script("packaging/matrix.py").list_quick_tests(["files", "nothing_of_this_name"])


# The Homebrew formula -----------------------------------------------------------------------------------------------


def load_script(path: str) -> ModuleType:
    """Import a script of the repository."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_formula_has_every_requirement_of_a_mac_and_no_pytorch() -> None:
    resources = load_script("packaging/homebrew/resources.py").read_resources(FORMULA.read_text(encoding="utf-8"))
    names = {resource.name for resource in resources}
    lines = [line for line in project()["dependencies"] if "linux" not in line]
    assert {re.split(r"[><=;\[ ]", line)[0] for line in lines} | {"mlx-whisper", "mlx-metal"} <= names
    assert not NOT_NEEDED & names
    assert all(r.url.startswith("https://files.pythonhosted.org/packages/") for r in resources)


def test_the_formula_of_a_release_names_its_file_and_digest(built: Path, tmp_path: Path) -> None:
    sdist = next(built.glob("*.tar.gz"))
    formula = tmp_path / "dropscribe.rb"
    command = [sys.executable, str(ROOT / "packaging/homebrew/resources.py"), "--release", str(sdist)]
    subprocess.run([*command, "--out", str(formula)], check=True, capture_output=True)
    text = formula.read_text(encoding="utf-8")
    assert f'  url "{sdist.as_uri()}"\n' in text
    assert f'  sha256 "{hashlib.sha256(sdist.read_bytes()).hexdigest()}"\n  license "MIT"\n' in text
    if ruby := shutil.which("ruby"):
        for path in (FORMULA, formula):
            done = subprocess.run([ruby, "-wc", str(path)], capture_output=True, text=True, check=False)
            assert (done.stdout.strip(), done.stderr) == ("Syntax OK", "")

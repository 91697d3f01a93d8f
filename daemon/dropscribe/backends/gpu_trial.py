"""Whether CTranslate2 can use this machine's CUDA GPU: tried once, in a process of its own.

A library that is missing or does not fit may end the process instead of raising: CTranslate2 up
to 4.6.2 did so without cuDNN, which later versions do not use. In the worker that would cost the
recording an attempt each time. So a child loads the model there and encodes one window, and its
answer is kept until something changes that may change it: versions, the driver, the variables and
the libraries that the system knows.

`python -m dropscribe.backends.gpu_trial FOLDER` is that child.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import files
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 300.0
"""How long a trial may take: large weights from a slow disk, and kernels that a new GPU compiles."""
_LIBRARIES = ("faster-whisper", "ctranslate2", "nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-cuda-runtime-cu12")
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_HOME", "CUDA_PATH")
_UNUSABLE = 3
"""Exit code of a child that was told why, on its last line."""
_PASSING = "out of memory"
"""In a reason that will not last: somebody else uses the GPU."""
_CURE = "ctranslate2 4.6.3 or newer needs the driver and cuBLAS 12 (`pip install nvidia-cublas-cu12`)."

_log = Log()


def is_usable(folder: Path) -> bool:
    """Return whether the model in `folder` can be used on the GPU, by a trial or by what an earlier one came to.

    A trial that fails is logged once, with its reason.
    """
    key, path = _make_key(), _find_path()
    known = _read(path)
    if known.get("key") == key:
        return bool(known.get("usable"))
    reason, lasts = try_out([sys.executable, "-m", "dropscribe.backends.gpu_trial", str(folder)])
    if reason:
        _log.warning("gpu.unusable", reason=reason, instead="cpu", cure=_CURE)
    if lasts:
        with contextlib.suppress(OSError):  # then it is tried again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"key": key, "usable": not reason, "reason": reason})
            files.write_atomically(path, text.encode(), prefix=".gpu-")
    return not reason


def try_out(command: Sequence[str], seconds: float = SECONDS) -> tuple[str, bool]:
    """Run a trial.

    Returns: why the GPU cannot be used, empty where it can; and whether that will be so the next
    time.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"It did not answer for {seconds:g} s.", False
    except OSError as error:
        return f"The trial cannot be started: {error.strerror}.", False
    said = done.stderr.strip().splitlines()
    last = said[-1][:300] if said else "it said nothing"
    if done.returncode == 0:
        return "", True
    if done.returncode < 0:  # what cuDNN's loader says stands before the abort
        named = next((line for line in said if "cudnn" in line.lower()), last)
        return f"Its libraries end the process (signal {-done.returncode}): {named[:300]}", True
    return last, done.returncode == _UNUSABLE and _PASSING not in last.lower()


def choose_number_format() -> str:
    """Return the format in which weights are kept on the GPU. Raises: StopIteration, RuntimeError."""
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cuda")
    return next(kind for kind in ("float16", "int8_float32", "float32") if kind in supported)


def load(folder: Path) -> Any:
    """Return a `WhisperModel` on the GPU. Raises: RuntimeError, ValueError, StopIteration; or ends this process."""
    import faster_whisper

    return faster_whisper.WhisperModel(str(folder), device="cuda", compute_type=choose_number_format())


def main(folder: str) -> int:
    """Load the model and encode one window: that a GPU is listed does not mean that its libraries are there."""
    import numpy as np

    try:
        model = load(Path(folder))
        mels = model.feature_extractor.mel_filters.shape[0]
        model.encode(np.zeros((mels, model.feature_extractor.nb_max_frames), dtype=np.float32))
    except (RuntimeError, ValueError, StopIteration) as error:
        sys.stderr.write((" ".join(str(error).split()) or "It has no number format that is known here.") + "\n")
        return _UNUSABLE
    return 0


def _make_key() -> str:
    """Return what an answer depends on, as a digest."""
    facts: dict[str, Any] = {"python": [sys.executable, sys.version]}
    facts |= {name: os.environ.get(name, "") for name in _VARIABLES}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            facts[name] = version(name)
    with contextlib.suppress(OSError):
        facts["driver"] = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    with contextlib.suppress(OSError):  # written again whenever the system gets another library
        facts["libraries"] = Path("/etc/ld.so.cache").stat().st_mtime_ns
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _find_path() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dropscribe/gpu.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

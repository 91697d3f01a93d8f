"""Whisper models for MLX: read from a folder, and written into one with smaller weights."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # numba warns of what it finds on some machines
    import mlx_whisper.whisper

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("weights.safetensors", "model.safetensors", "weights.npz")
_GROUP = 64
"""Weights that share a scale when quantised, as in mlx-whisper's converter."""


def read_model(folder: Path, dtype: mx.Dtype) -> Any:
    """Return the model in `folder`, a `mlx_whisper.whisper.Whisper`, whichever weights file is
    there.

    mlx-whisper's own loader knows two of the three files, and may download.

    Raises:
        FileNotFoundError: There is no weights file.
        Exception: What MLX and mlx-whisper raise: RuntimeError, ValueError, KeyError, TypeError,
            OSError.
    """
    config = _read_config(folder)
    names = {field.name for field in dataclasses.fields(mlx_whisper.whisper.ModelDimensions)}
    dims = mlx_whisper.whisper.ModelDimensions(**{k: v for k, v in config.items() if k in names})
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        msg = f"none of {', '.join(_FILES)} found"
        raise FileNotFoundError(msg)
    weights: Any = mx.load(str(file))
    model = mlx_whisper.whisper.Whisper(dims, dtype)
    quantization = config.get("quantization")
    if quantization is not None:
        nn.quantize(
            model,
            **quantization,
            class_predicate=lambda path, module: (
                isinstance(module, (nn.Linear, nn.Embedding)) and f"{path}.scales" in weights
            ),
        )
    weights = {
        name: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array
        for name, array in weights.items()
    }
    model.update(tree_unflatten(list(weights.items())))
    mx.eval(model.parameters())
    return model


def quantise_model(source: Path, target: Path, bits: int) -> None:
    """Write the model in `source` into the folder `target` with every matrix of it in 4 or 8 bits.

    As mlx-whisper's converter does: groups of 64 weights share a scale and an offset;
    convolutions, norms and positions stay in float16. Runs on the CPU. Syncing it to the disk and
    publishing it whole is the caller's task.

    Raises:
        ValueError: It is quantised already.
        Exception: What reading a model raises.
    """
    device = mx.default_device()
    mx.set_default_device(mx.Device(mx.cpu))
    try:
        config = _read_config(source)
        if "quantization" in config:
            msg = "it is quantised already"
            raise ValueError(msg)
        model = read_model(source, mx.float16)
        quantization = {"group_size": _GROUP, "bits": bits}
        nn.quantize(model, **quantization)
        flat: Any = tree_flatten(model.parameters())
        mx.save_safetensors(str(target / "weights.safetensors"), dict(flat), {"format": "mlx"})
    finally:
        mx.set_default_device(device)
    text = json.dumps({**config, "quantization": quantization}, indent=1)
    (target / "config.json").write_text(text + "\n", encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config

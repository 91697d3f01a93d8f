"""A Whisper model's weights on MLX: modules under the names that MLX conversions use, reading and quantising them.

Guarantees: every layout of an MLX folder is read; weights that do not fit the sizes in `config.json` are refused;
`_mlx_decoder` does the computing.

The names are those of `mlx_whisper/whisper.py` in ml-explore/mlx-examples, as every published conversion has them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

from dropscribe.convert import CONFIG, WEIGHTS, Dimensions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_FILES = (WEIGHTS, "model.safetensors", "weights.npz")
_GROUP = 64  # weights that share a scale, as in mlx-whisper's converter


class _Module(nn.Module):  # type: ignore[misc]
    """MLX's, which ships no types."""


class _Attention(_Module):
    def __init__(self, state: int) -> None:
        super().__init__()
        self.query = nn.Linear(state, state)
        self.key = nn.Linear(state, state, bias=False)
        self.value = nn.Linear(state, state)
        self.out = nn.Linear(state, state)


class _Block(_Module):
    def __init__(self, state: int, *, cross: bool) -> None:
        super().__init__()
        self.attn = _Attention(state)
        self.attn_ln = nn.LayerNorm(state)
        if cross:
            self.cross_attn = _Attention(state)
            self.cross_attn_ln = nn.LayerNorm(state)
        self.mlp1 = nn.Linear(state, 4 * state)
        self.mlp2 = nn.Linear(4 * state, state)
        self.mlp_ln = nn.LayerNorm(state)


class _Encoder(_Module):
    def __init__(self, dims: Dimensions, dtype: mx.Dtype) -> None:
        super().__init__()
        state = dims.n_audio_state
        self.conv1 = nn.Conv1d(dims.n_mels, state, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(state, state, kernel_size=3, stride=2, padding=1)
        # The underscore keeps it from the weights: it is in no file.
        self._positional_embedding = mx.array(sines(dims.n_audio_ctx, state)).astype(dtype)
        self.blocks = [_Block(state, cross=False) for _ in range(dims.n_audio_layer)]
        self.ln_post = nn.LayerNorm(state)


class _Decoder(_Module):
    def __init__(self, dims: Dimensions) -> None:
        super().__init__()
        state = dims.n_text_state
        self.token_embedding = nn.Embedding(dims.n_vocab, state)
        self.positional_embedding = mx.zeros((dims.n_text_ctx, state))
        self.blocks = [_Block(state, cross=True) for _ in range(dims.n_text_layer)]
        self.ln = nn.LayerNorm(state)


class Whisper(_Module):
    """The weights of one model; `alignment_heads` are the (layer, head) whose attention follows the sound."""

    def __init__(self, dims: Dimensions, dtype: mx.Dtype) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = _Encoder(dims, dtype)
        self.decoder = _Decoder(dims)
        # Where a file names none, OpenAI takes the upper half of the layers.
        layers = range(dims.n_text_layer // 2, dims.n_text_layer)
        self.alignment_heads = mx.array([(layer, head) for layer in layers for head in range(dims.n_text_head)])


def read(folder: Path, dtype: mx.Dtype) -> Whisper:
    """Return the model of an MLX folder, its weights in memory as `dtype` (quantised ones as they are).

    Raises: OSError, RuntimeError, ValueError, KeyError or TypeError when it holds no such model.
    """
    model, weights, _ = _mapped(folder, dtype)
    weights = {
        name: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array
        for name, array in weights.items()
    }
    model.update(tree_unflatten(list(weights.items())))
    # Nothing but the model refers to what was read: each weight's first copy goes as soon as its second is made.
    weights.clear()
    mx.eval(model.parameters())
    return model


def quantise(source: Path, target: Path, bits: int) -> None:
    """Write the model in `source` into the folder `target` with every matrix of it in 4 or 8 bits.

    As mlx-whisper's converter does: groups of 64 weights share a scale and an offset; convolutions, norms and
    positions stay in float16. Runs on the CPU. Bringing it to the disk and publishing it whole is the caller's.

    Raises: ValueError when it is quantised already; otherwise as `read`.
    """
    device = mx.default_device()
    mx.set_default_device(mx.Device(mx.cpu))
    try:
        model, weights, config = _mapped(source, mx.float16)
        if "quantization" in config:
            raise ValueError("it is quantised already")
        halves = [
            (name, array.astype(mx.float16) if mx.issubdtype(array.dtype, mx.floating) else array)
            for name, array in weights.items()
        ]
        model.update(tree_unflatten(halves))
        how = {"group_size": _GROUP, "bits": bits}
        nn.quantize(model, **how)
        flat: Any = tree_flatten(model.parameters())
        mx.save_safetensors(str(target / WEIGHTS), dict(flat), {"format": "mlx"})
    finally:
        mx.set_default_device(device)
    text = json.dumps({**config, "quantization": how}, indent=1)
    (target / CONFIG).write_text(text + "\n", encoding="utf-8")


def _mapped(folder: Path, dtype: mx.Dtype) -> tuple[Whisper, dict[str, mx.array], dict[str, Any]]:
    """Return the empty model, its weights, of which none is read before it is used, and what `config.json` says."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    dims = Dimensions(**{field.name: config[field.name] for field in dataclasses.fields(Dimensions)})
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        msg = f"none of {', '.join(_FILES)} found"
        raise FileNotFoundError(msg)
    weights: Any = mx.load(str(file))
    model = Whisper(dims, dtype)
    quantization = config.get("quantization")
    if quantization is not None:
        nn.quantize(
            model,
            **quantization,
            class_predicate=lambda path, module: (
                isinstance(module, (nn.Linear, nn.Embedding)) and f"{path}.scales" in weights
            ),
        )
    return model, weights, config


def sines(length: int, state: int) -> NDArray[np.float32]:
    """Return the encoder's positions, shape (length, state): sines, then cosines, as in OpenAI's `sinusoids`."""
    step = math.log(10000) / (state // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-step * np.arange(state // 2))[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


@functools.cache
def mel_filters(count: int) -> NDArray[np.float32]:
    """Return the triangles that sum up a spectrum of 400 samples at 16 kHz, shape (count, 201).

    Slaney's scale (linear below 1 kHz, 27 bands for each factor 6.4 above), each triangle of equal energy: what
    `librosa.filters.mel(sr=16000, n_fft=400, n_mels=count)` gives, from which OpenAI's file was made.
    """
    top = 15 + 27 * math.log(8) / math.log(6.4)  # 8 kHz
    mels = np.linspace(0, top, count + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * math.log(6.4) / 27))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.fft.rfftfreq(400, 1 / 16000)
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.asarray(np.maximum(triangles, 0) * 2 / (high - low), np.float32)

"""From CTranslate2's Whisper files to MLX's: one set of weights for both engines.

Guarantees: only numpy is needed (no engine is imported); the weights are read through a memory map
and written one at a time, so a 3 GB model needs the memory of one matrix; a file that is not a
Whisper model, is cut off, or whose shapes do not fit together is refused, never half converted.

How CTranslate2 stores them is in `model_file`. The names and shapes on the other side are those of
mlx-whisper's `whisper.py`, release 0.4.3.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log
from dropscribe.models.model_file import BFLOAT16, ConversionError, find_variable, read_variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_log = Log()

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a Whisper model, under the names of mlx-whisper's `ModelDimensions`."""

    n_mels: int
    """Mel bands: 80, or 128 from large-v3 on."""
    n_audio_ctx: int
    """Encoder positions: 1500 for 30 s."""
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    """Tokens: 51864 English only, 51865 multilingual, 51866 from large-v3 on."""
    n_text_ctx: int
    """Decoder positions: 448."""
    n_text_state: int
    n_text_head: int
    n_text_layer: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where one MLX weight is in the CTranslate2 variables."""

    variable: str
    row: int
    """First row taken: the rows of fused projections follow one another."""
    shape: tuple[int, ...]
    """Shape on the MLX side."""


def convert_model(name: str, source: Path, target: Path) -> None:
    """Convert the model `name` as `convert_to_mlx` does, with errors that a person can act on.

    Raises:
        EnvironmentFaultError: `model-unusable`: it is no model that can be converted.
        OSError: reading or writing failed.
    """
    _log.info("model.converting", model=name, source=str(source))
    try:
        convert_to_mlx(source, target)
    except ConversionError as error:
        raise EnvironmentFaultError(
            "model-unusable",
            f"The model {name} cannot be converted for MLX: {error}.",
            "Choose another model, or the backend faster-whisper.",
        ) from error


def convert_to_mlx(source: Path, target: Path) -> Dimensions:
    """Write the CTranslate2 Whisper model in `source` as an MLX model into the folder `target`.

    `target` is made when missing and gets `weights.safetensors` (float16), then `config.json`.
    Bringing it to the disk and publishing it whole is the caller's: after an error or a crash only
    a part may be there.

    Raises:
        ConversionError: `source` is no such model.
        OSError: reading or writing failed.
    """
    variables = read_variables(source / "model.bin")
    dims = _dimensions(variables)
    pieces = _pieces(dims)
    used: Counter[str] = Counter()
    for name, piece in pieces.items():
        stored = find_variable(variables, piece.variable)
        found = (piece.shape[0], *_mlx_order(stored).shape[1:])
        used[piece.variable] = max(used[piece.variable], piece.row + piece.shape[0])
        if found != piece.shape:
            raise ConversionError(f"{name} has shape {found}, expected {piece.shape}")
    for variable, rows in used.items():
        if variables[variable].shape[0] != rows:
            raise ConversionError(f"{variable} has {variables[variable].shape[0]} rows, expected {rows}")
    embeddings = variables["decoder/embeddings/weight"]
    if not np.array_equal(variables.get("decoder/projection/weight", embeddings), embeddings):
        raise ConversionError("its output projection is not its token embedding")

    target.mkdir(parents=True, exist_ok=True)
    _write_safetensors(target / WEIGHTS, variables, pieces, _alignment_heads(source / CONFIG, dims))
    text = json.dumps({"model_type": "whisper", **asdict(dims)}, indent=1)
    (target / CONFIG).write_text(text + "\n", encoding="utf-8")
    return dims


def _dimensions(variables: Mapping[str, NDArray[Any]]) -> Dimensions:
    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = find_variable(variables, name).shape
        if len(found) != rank:
            raise ConversionError(f"{name} has shape {found}, expected {rank} dimensions")
        return found

    def layers(side: str) -> int:
        return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_")} - {"layer_norm"})

    return Dimensions(
        n_mels=shape("encoder/conv1/weight", 3)[1],
        n_audio_ctx=shape("encoder/position_encodings/encodings", 2)[0],
        n_audio_state=shape("encoder/conv1/weight", 3)[0],
        n_audio_head=int(find_variable(variables, "encoder/num_heads").item()),
        n_audio_layer=layers("encoder"),
        n_vocab=shape("decoder/embeddings/weight", 2)[0],
        n_text_ctx=shape("decoder/position_encodings/encodings", 2)[0],
        n_text_state=shape("decoder/embeddings/weight", 2)[1],
        n_text_head=int(find_variable(variables, "decoder/num_heads").item()),
        n_text_layer=layers("decoder"),
    )


def _pieces(dims: Dimensions) -> dict[str, _Piece]:
    """Return every MLX weight with its place.

    The encoder's positions are not among them: they are sines, which MLX computes.
    """
    pieces: dict[str, _Piece] = {}

    def norm(to: str, of: str, state: int) -> None:
        pieces[f"{to}.weight"] = _Piece(f"{of}/gamma", 0, (state,))
        pieces[f"{to}.bias"] = _Piece(f"{of}/beta", 0, (state,))

    def linear(to: str, of: str, shape: tuple[int, ...], row: int = 0) -> None:
        pieces[f"{to}.weight"] = _Piece(f"{of}/weight", row, shape)
        pieces[f"{to}.bias"] = _Piece(f"{of}/bias", row, shape[:1])

    def attention(to: str, of: str, state: int, fused: tuple[tuple[str, ...], ...]) -> None:
        norm(f"{to}_ln", f"{of}/layer_norm", state)
        for index, names in enumerate((*fused, ("out",))):
            for row, name in enumerate(names):
                linear(f"{to}.{name}", f"{of}/linear_{index}", (state, state), row * state)
        # A key's bias adds the same to every score of a query and so changes nothing: MLX has none.
        del pieces[f"{to}.key.bias"]

    audio, text = dims.n_audio_state, dims.n_text_state
    linear("encoder.conv1", "encoder/conv1", (audio, 3, dims.n_mels))
    linear("encoder.conv2", "encoder/conv2", (audio, 3, audio))
    norm("encoder.ln_post", "encoder/layer_norm", audio)
    pieces["decoder.token_embedding.weight"] = _Piece("decoder/embeddings/weight", 0, (dims.n_vocab, text))
    pieces["decoder.positional_embedding"] = _Piece(
        "decoder/position_encodings/encodings", 0, (dims.n_text_ctx, text)
    )
    norm("decoder.ln", "decoder/layer_norm", text)
    for side, count, state in (("encoder", dims.n_audio_layer, audio), ("decoder", dims.n_text_layer, text)):
        for index in range(count):
            to, of = f"{side}.blocks.{index}", f"{side}/layer_{index}"
            attention(f"{to}.attn", f"{of}/self_attention", state, (("query", "key", "value"),))
            if side == "decoder":
                attention(f"{to}.cross_attn", f"{of}/attention", state, (("query",), ("key", "value")))
            norm(f"{to}.mlp_ln", f"{of}/ffn/layer_norm", state)
            linear(f"{to}.mlp1", f"{of}/ffn/linear_0", (4 * state, state))
            linear(f"{to}.mlp2", f"{of}/ffn/linear_1", (state, 4 * state))
    return pieces


def _mlx_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return a convolution's weights (out, in, kernel) as MLX's (out, kernel, in), others as is."""
    return array.transpose(0, 2, 1) if array.ndim == 3 else array


def _half(variables: Mapping[str, NDArray[Any]], piece: _Piece) -> NDArray[np.float16]:
    """Return one MLX weight, dequantised and rounded to float16."""
    rows = slice(piece.row, piece.row + piece.shape[0])
    stored = variables[piece.variable][rows]
    if stored.dtype == BFLOAT16:
        values = (stored.astype(np.uint32) << 16).view(np.float32)
    elif stored.dtype.kind == "i":
        scale = find_variable(variables, f"{piece.variable}_scale").astype(np.float32)
        if scale.ndim:
            scale = scale[rows].reshape(-1, *(1,) * (stored.ndim - 1))
        values = stored.astype(np.float32) / scale
    else:
        values = stored
    with np.errstate(over="ignore"):
        half = _mlx_order(values).astype("<f2")
    if not np.isfinite(half).all():
        raise ConversionError(f"{piece.variable} has values beyond float16")
    return np.ascontiguousarray(half)


def _alignment_heads(config: Path, dims: Dimensions) -> NDArray[np.int32] | None:
    """Return the (layer, head) pairs whose attention follows the sound, shape (heads, 2).

    None when there are none: mlx-whisper then takes the upper half of the decoder's layers.
    """
    try:
        pairs = json.loads(config.read_bytes()).get("alignment_heads")
        heads = np.array(pairs or (), "<i4").reshape(-1, 2)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConversionError(f"{config.name} is not CTranslate2's ({error})") from error
    if (heads < 0).any() or (heads >= (dims.n_text_layer, dims.n_text_head)).any():
        raise ConversionError(f"{config.name} names alignment heads that the model does not have")
    return heads if len(heads) else None


def _write_safetensors(
    path: Path,
    variables: Mapping[str, NDArray[Any]],
    pieces: Mapping[str, _Piece],
    heads: NDArray[np.int32] | None,
) -> None:
    """Write huggingface/safetensors' format: u64 header size, JSON header padded to 8, data."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0

    def place(name: str, dtype: str, shape: tuple[int, ...], size: int) -> None:
        nonlocal end
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (end, end + size)}
        end += size

    for name, piece in pieces.items():
        place(name, "F16", piece.shape, 2 * math.prod(piece.shape))
    if heads is not None:
        place("alignment_heads", "I32", heads.shape, heads.nbytes)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for piece in pieces.values():
            file.write(_half(variables, piece).data)
        if heads is not None:
            file.write(heads.tobytes())

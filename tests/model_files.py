"""Files of models, for the tests of `dropscribe.models`."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.errors import EnvironmentFaultError
from dropscribe.models import convert
from dropscribe.models.store import Listing, ModelStore
from hub_stub import Repo, git_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

TINY = "Systran/faster-whisper-tiny.en"
COMMIT = Repo({}).commit
WEIGHTS = np.random.default_rng(7).bytes(300_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "vocabulary.txt": b"the\n",
    "model.bin": WEIGHTS,
    "README.md": b"not needed",
}
NEEDED = set(FILES) - {"README.md"}


def cache_model(home: Path, repo: str, files: Mapping[str, bytes], commit: str = COMMIT) -> Path:
    """Write a snapshot into the hub's cache as the hub's library does, and return its folder."""
    store = home / "hf" / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = store / "snapshots" / commit
    for folder in (snapshot, store / "blobs", store / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (store / "refs" / "main").write_text(commit)
    for name, data in files.items():
        blob = hashlib.sha256(data).hexdigest() if len(data) > 10_000 else git_digest(data)
        (store / "blobs" / blob).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


def change_in_place(file: Path, *, keep_time: bool) -> None:
    """Flip a bit of a file: its size stays."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    now = before.st_mtime_ns if keep_time else before.st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(now, now))


def code_of(model: str, backend: str = "faster-whisper", store: ModelStore | None = None) -> str:
    """Return the code of the error that `resolve_model` raises without downloading."""
    with pytest.raises(EnvironmentFaultError) as caught:
        (store or ModelStore()).resolve_model(model, backend, download=False)
    assert caught.value.cure
    return caught.value.code


def find_listing(name: str, backend: str = "faster-whisper", store: ModelStore | None = None) -> Listing:
    """Return the one line of the list about this name and backend."""
    rows = (store or ModelStore(starters={})).list_models()
    (line,) = (one for one in rows if (one.name, one.backend) == (name, backend))
    return line


def write_model_bin(
    path: Path, variables: Mapping[str, NDArray[Any]], aliases: Mapping[str, str], *, name: str = "WhisperSpec"
) -> None:
    """Write CTranslate2's format, as its `ModelSpec._serialize` does."""
    kinds = ["float32", "int8", "int16", "int32", "float16", "uint16"]

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    out = [struct.pack("<I", 6), string(name), struct.pack("<I", 3), struct.pack("<I", len(variables))]
    for key, value in variables.items():
        head = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += [string(key), head, struct.pack("<BI", kinds.index(value.dtype.name), value.nbytes), value.tobytes()]
    out.append(struct.pack("<I", len(aliases)))
    out += [string(alias) + string(of) for alias, of in aliases.items()]
    path.write_bytes(b"".join(out))


def small_variables() -> dict[str, NDArray[Any]]:
    """Return the variables of a Whisper model of one layer and 8 channels, all different."""
    random = np.random.default_rng(3)
    state, vocabulary = 8, 60
    shapes: dict[str, tuple[int, ...]] = {
        "encoder/conv1/weight": (state, 80, 3),
        "encoder/conv1/bias": (state,),
        "encoder/conv2/weight": (state, state, 3),
        "encoder/conv2/bias": (state,),
        "encoder/position_encodings/encodings": (20, state),
        "decoder/embeddings/weight": (vocabulary, state),
        "decoder/position_encodings/encodings": (12, state),
    }
    norms = ["encoder/layer_norm", "decoder/layer_norm"]
    linears: dict[str, tuple[int, ...]] = {}
    for side, blocks in (("encoder", ("self_attention",)), ("decoder", ("self_attention", "attention"))):
        for block in blocks:
            norms.append(f"{side}/layer_0/{block}/layer_norm")
            sizes = (3, 1) if block == "self_attention" else (1, 2, 1)
            linears |= {f"{side}/layer_0/{block}/linear_{i}": (n * state, state) for i, n in enumerate(sizes)}
        norms.append(f"{side}/layer_0/ffn/layer_norm")
        linears[f"{side}/layer_0/ffn/linear_0"] = (4 * state, state)
        linears[f"{side}/layer_0/ffn/linear_1"] = (state, 4 * state)
    for norm in norms:
        shapes |= {f"{norm}/gamma": (state,), f"{norm}/beta": (state,)}
    for linear, shape in linears.items():
        shapes |= {f"{linear}/weight": shape, f"{linear}/bias": shape[:1]}
    variables: dict[str, NDArray[Any]] = {
        name: random.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()
    }
    for side in ("encoder", "decoder"):
        variables[f"{side}/num_heads"] = np.array(2, np.int16)
    return variables


def small_model(folder: Path, variables: Mapping[str, NDArray[Any]] | None = None, **config: Any) -> Path:
    """Write a small CTranslate2 Whisper folder and return it."""
    folder.mkdir(parents=True)
    write_model_bin(
        folder / "model.bin",
        small_variables() if variables is None else variables,
        {"decoder/projection/weight": "decoder/embeddings/weight"},
    )
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[0, 1]]} | config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "vocabulary.txt").write_text("a\n")
    return folder


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read a safetensors file by its definition."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "mlx"}
    kinds = {"F16": np.float16, "I32": np.int32}
    found, end = {}, 0
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        assert start == end
        end = stop
        part = memoryview(data)[8 + size + start : 8 + size + stop]
        found[name] = np.frombuffer(part, kinds[entry["dtype"]]).reshape(entry["shape"])
    assert len(data) == 8 + size + end
    return found


def quantise_variables(variables: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    """Return the variables with their matrices stored as CTranslate2 does for `quantization=kind`."""
    out = dict(variables)
    for name, value in variables.items():
        if not name.endswith("/weight") or value.ndim < 2:
            continue
        full = value.astype(np.float32)
        if kind == "int16":
            scale = np.array(2**10 / np.abs(full).max(), np.float32)
            out[name] = np.rint(full * scale).astype(np.int16)
        elif kind == "int8":
            rows = full.reshape(len(full), -1)
            scale = 127 / np.abs(rows).max(axis=1)
            out[name] = np.rint(rows * scale[:, None]).astype(np.int8).reshape(full.shape)
        else:
            out[name] = ((full.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
            continue
        out[f"{name}_scale"] = scale
    return out


def read_weights(folder: Path, target: Path) -> dict[str, NDArray[Any]]:
    convert.convert_to_mlx(folder, target)
    return read_safetensors(target / "weights.safetensors")

"""CTranslate2's `model.bin` of a Whisper model: read, and written again in 8-bit integers.

Guarantees: only numpy is needed (no engine is imported); the weights are read through a memory map,
and written some rows at a time, so a 3 GB model needs the memory of a block; a file that is not a
Whisper model, or is cut off, is refused; what is written in 8-bit integers is what CTranslate2
itself makes of the model when it loads it, to the last bit.

The file, little endian, as `ModelSpec._serialize` of CTranslate2's `specs/model_spec.py` writes it
and `src/models/model.cc` reads it:

    u32 format version, string specification, u32 its revision,
    u32 count, then per variable: string name, u8 rank, u32 per dimension, u8 type, u32 bytes, data,
    u32 count, then per alias: string alias, string name.

A string is a u16 length with the final NUL, then the bytes. Quantised weights come with a variable
`NAME_scale`: value = stored / scale, one scale per row (8 bits) or one in all (16 bits).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

BFLOAT16 = np.dtype("<u2")
"""numpy lacks bfloat16: kept as bits."""

_SPECIFICATION = "WhisperSpec"
_VERSIONS = range(4, 7)
"""Format versions read here: 4 brought the type byte; 6, the newest, is faster-whisper's."""
_TYPES = ("<f4", "|i1", "<i2", "<i4", "<f2", "<u2")
"""numpy's type by CTranslate2's type number; the last is bfloat16."""
_FLOAT, _INT8 = 0, 1
_BLOCK = 1 << 22
"""Values that are brought to 8 bits at once: 16 MB as float32."""


class ConversionError(ValueError):
    """The folder holds no CTranslate2 Whisper model that can be converted; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a `model.bin` holds."""

    version: int
    revision: int
    variables: dict[str, NDArray[Any]]
    """As they are stored, mapped and not read; bfloat16 as its bits."""
    aliases: dict[str, str]
    """More names of variables."""

    @property
    def has_floats_alone(self) -> bool:
        """Whether no matrix is quantised, and there are some that can be."""
        kinds = {stored.dtype.kind for name, stored in self.variables.items() if _is_quantisable(name, stored)}
        return bool(kinds) and "i" not in kinds


def read_variables(path: Path) -> dict[str, NDArray[Any]]:
    """Return the variables of a `model.bin` under all their names. Raises: as `read_model_file`."""
    file = read_model_file(path)
    return file.variables | {alias: find_variable(file.variables, name) for alias, name in file.aliases.items()}


def read_model_file(path: Path) -> ModelFile:
    """Return what a `model.bin` holds.

    Raises:
        ConversionError: it is no CTranslate2 Whisper model of a known version, or it is cut off.
        OSError: it cannot be opened.
    """
    try:
        data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
        return _parse(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"{path.name} is cut off or not a CTranslate2 model ({error})") from error


def _parse(data: NDArray[np.uint8]) -> ModelFile:
    at = 0

    def take(form: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from("<" + form, data.data, at)
        at += struct.calcsize("<" + form)
        return values

    def string() -> str:
        nonlocal at
        (length,) = take("H")
        at += length
        return bytes(data[at - length : at - 1]).decode()

    (version,) = take("I")
    if version not in _VERSIONS:
        raise ConversionError(f"model.bin has format version {version}, known are 4 to 6")
    specification = string()
    if specification != _SPECIFICATION:
        raise ConversionError(f"model.bin holds a {specification[:40]!r}, not a Whisper model")
    (revision,) = take("I")
    variables: dict[str, NDArray[Any]] = {}
    for _ in range(take("I")[0]):
        name = string()
        shape = take("I" * take("B")[0])
        (kind,) = take("B")
        (size,) = take("I")
        dtype = np.dtype(_TYPES[kind])
        if size != math.prod(shape) * dtype.itemsize or at + size > len(data):
            raise ConversionError(f"model.bin is cut off or damaged at {name}")
        variables[name] = data[at : at + size].view(dtype).reshape(shape)
        at += size
    aliases = {string(): string() for _ in range(take("I")[0])}
    return ModelFile(version, revision, variables, aliases)


def find_variable(variables: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return a variable. Raises: ConversionError."""
    try:
        return variables[name]
    except KeyError:
        raise ConversionError(f"model.bin has no {name}") from None


def write_in_eight_bits(file: ModelFile, target: Path) -> None:
    """Write a model whose matrices are not quantised as CTranslate2 has it in memory with the number
    format `int8`: matrices in 8-bit integers, everything else in float32. Raises: OSError.
    """
    matrices = {name for name, stored in file.variables.items() if _is_quantisable(name, stored)}
    with target.open("wb") as out:
        out.write(struct.pack("<I", file.version) + _pack(_SPECIFICATION))
        out.write(struct.pack("<II", file.revision, len(file.variables) + len(matrices)))
        for name, stored in file.variables.items():
            if name in matrices:
                _write_head(out, name, stored.shape, _INT8)
                scales = np.concatenate([_write_rows(out, rows) for rows in _divide(stored)])
                _write_head(out, f"{name}_scale", scales.shape, _FLOAT)
                out.write(scales.data)
            elif stored.dtype.kind == "f" or stored.dtype == BFLOAT16:
                _write_head(out, name, stored.shape, _FLOAT)
                out.write(np.ascontiguousarray(_to_float(stored), "<f4").data)
            else:
                _write_head(out, name, stored.shape, _TYPES.index(stored.dtype.newbyteorder("<").str))
                out.write(stored.tobytes())
        out.write(struct.pack("<I", len(file.aliases)))
        for alias, name in file.aliases.items():
            out.write(_pack(alias) + _pack(name))


def _is_quantisable(name: str, stored: NDArray[Any]) -> bool:
    """Return whether CTranslate2 quantises this variable: matrices, but not a convolution's."""
    return name.endswith("weight") and stored.ndim == 2


def _divide(stored: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, _BLOCK // stored.shape[1])
    return (stored[first : first + step] for first in range(0, len(stored), step))


def _write_rows(out: BinaryIO, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Write rows of a matrix in 8 bits; return the scale of each."""
    values = _to_float(rows)
    largest: NDArray[np.float32] = np.abs(values).max(axis=1)
    scales = np.ones_like(largest)
    np.divide(np.float32(127), largest, out=scales, where=largest > 0)
    values *= scales[:, None]
    out.write(np.rint(values, out=values).astype(np.int8).data)
    return scales


def _to_float(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return a copy in float32."""
    values: NDArray[np.float32]
    if stored.dtype == BFLOAT16:
        values = np.asarray(stored.astype(np.uint32) << 16).view(np.float32)
    else:
        values = stored.astype(np.float32)
    return values


def _write_head(out: BinaryIO, name: str, shape: tuple[int, ...], kind: int) -> None:
    size = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
    out.write(_pack(name) + struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, kind, size))


def _pack(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw

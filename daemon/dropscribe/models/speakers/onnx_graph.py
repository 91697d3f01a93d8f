"""Graphs for ONNX Runtime, written as bytes without the `onnx` package.

An ONNX file is one Protocol Buffers message. What two small networks need of that format are a dozen fields, so they
are written here directly: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto> has their numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_IR_VERSION = 8  # the format of the file; 8 goes with opset 17 and is read by every ONNX Runtime since 1.12
_OPSET = 17
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}

Attribute = int | float | str | list[int]


@dataclass(slots=True)
class Graph:
    """A graph that is put together node by node. Every method returns the name of what the node gives."""

    _nodes: list[bytes] = field(default_factory=list)
    _weights: list[bytes] = field(default_factory=list)

    def weight(self, values: NDArray[Any]) -> str:
        """Add a constant."""
        name = f"w{len(self._weights)}"
        kept = np.ascontiguousarray(values, dtype=np.int64 if values.dtype.kind == "i" else np.float32)
        dims = b"".join(_number(1, size) for size in kept.shape)
        kind = _number(2, _TYPES[kept.dtype])
        raw = kept.astype(kept.dtype.newbyteorder("<")).tobytes()
        self._weights.append(dims + kind + _bytes(8, name.encode()) + _bytes(9, raw))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        """Add a node with one output, of the default domain of operators."""
        name = output or f"n{len(self._nodes)}"
        message = b"".join(_bytes(1, each.encode()) for each in inputs)
        message += _bytes(2, name.encode()) + _bytes(4, operator.encode())
        message += b"".join(_bytes(5, _attribute(key, value)) for key, value in attributes.items())
        self._nodes.append(message)
        return name

    def conv(
        self, value: str, weight: NDArray[Any], bias: NDArray[Any] | None = None, **attributes: list[int]
    ) -> str:
        """Add a convolution; `weight` has shape (out, in, *kernel)."""
        inputs = [value, self.weight(weight)] + ([] if bias is None else [self.weight(bias)])
        return self.add("Conv", *inputs, **attributes)  # type: ignore[arg-type] # none is called `output`

    def finish(
        self, name: str, inputs: dict[str, Sequence[int | str]], outputs: dict[str, Sequence[int | str]]
    ) -> bytes:
        """Return the file; sizes given as text are left open. All inputs and outputs are float32."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, name.encode())
        graph += b"".join(_bytes(5, weight) for weight in self._weights)
        graph += b"".join(_bytes(11, _value(key, shape)) for key, shape in inputs.items())
        graph += b"".join(_bytes(12, _value(key, shape)) for key, shape in outputs.items())
        return _number(1, _IR_VERSION) + _bytes(2, b"dropscribe") + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number is written as its two's complement
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _bytes(tag: int, value: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(value)) + value


def _attribute(name: str, value: Attribute) -> bytes:
    start = _bytes(1, name.encode())
    if isinstance(value, int):
        return start + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return start + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, str):
        return start + _bytes(4, value.encode()) + _number(20, 3)
    return start + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        _bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size.encode())) for size in shape
    )
    tensor = _number(1, _TYPES[np.dtype(np.float32)]) + _bytes(2, dims)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))

"""A recurrent ONNX model in two: what has no memory of earlier frames, and what has.

The first can be run on many stretches of sound at once, the second only on one after the other.

Guarantees: both halves together compute what the model does, node for node. Only the two levels of
the protobuf message that say which nodes, inputs and outputs a graph has are read and written
(`onnx.proto`: ModelProto.graph = 7; GraphProto.node = 1, input = 11, output = 12); the package
`onnx` is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GRAPH, _NODE, _INPUT, _OUTPUT = 7, 1, 11, 12
_NODE_INPUT, _NODE_OPERATOR = 1, 4
_NAME = 1
_BYTES = 2  # the wire type of strings and messages
_FIXED = {1: 8, 5: 4}  # bytes of the other wire types, but for the variable one


def split_at_lstm(model: bytes) -> tuple[bytes, bytes, str]:
    """Return the model up to the input of its LSTM, the model from there on, and that input's name.

    Raises: ValueError where there is not exactly one LSTM, or what is before it needs more than
    the model's first input.
    """
    (graph,) = (value for number, value in _read(model) if number == _GRAPH)
    fields = list(_read(graph))
    nodes = [value for number, value in fields if number == _NODE]
    lstm = [place for place, node in enumerate(nodes) if _find(node, _NODE_OPERATOR) == [b"LSTM"]]
    if len(lstm) != 1:
        raise ValueError(f"{len(lstm)} LSTM layers")
    before, after = nodes[: lstm[0]], nodes[lstm[0] :]
    border = _find(after[0], _NODE_INPUT)[0]
    inputs = [value for number, value in fields if number == _INPUT]
    used = {name for node in before for name in _find(node, _NODE_INPUT)}
    if [each for each in inputs if _find(each, _NAME)[0] in used] != inputs[:1]:
        raise ValueError("the layers before the LSTM need its state")
    outputs = [value for number, value in fields if number == _OUTPUT]
    rest = [(number, value) for number, value in fields if number not in {_NODE, _INPUT, _OUTPUT}]
    # TypeProto.tensor_type = 1, of which elem_type = 1 is 1 (float), without a shape.
    tensor = _write([(1, _write([(1, 1)]))])
    middle = _write([(_NAME, border), (2, tensor)])

    def build(own: list[bytes], given: list[bytes], made: list[bytes]) -> bytes:
        parts = [(_NODE, each) for each in own] + [(_INPUT, each) for each in given]
        new = _write([*parts, *((_OUTPUT, each) for each in made), *rest])
        return _write((number, new if number == _GRAPH else value) for number, value in _read(model))

    return build(before, inputs[:1], [middle]), build(after, [middle, *inputs[1:]], outputs), border.decode()


def _read(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a message; numbers stay as they are written, as `_Raw`."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _read_number(message, at)
        kind = key & 7
        if kind == _BYTES:
            length, at = _read_number(message, at)
            yield key >> 3, message[at : at + length]
            at += length
            continue
        at = at + _FIXED[kind] if kind in _FIXED else _read_number(message, at)[1]
        yield key >> 3, _Raw(message[begin:at])


class _Raw(bytes):
    """A field with its key, as it is written."""


def _find(message: bytes, wanted: int) -> list[bytes]:
    return [value for number, value in _read(message) if number == wanted]


def _write(fields: Iterable[tuple[int, bytes | int]]) -> bytes:
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, _Raw):
            parts.append(value)
        elif isinstance(value, int):
            parts.append(_write_number(number << 3) + _write_number(value))
        else:
            parts.append(_write_number(number << 3 | _BYTES) + _write_number(len(value)) + value)
    return b"".join(parts)


def _read_number(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def _write_number(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])

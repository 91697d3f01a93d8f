"""Frozen dataclasses as JSON values, and back.

Guarantees: standard library only; `read_value(type(x), write_value(x)) == x`; unknown keys are ignored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
import typing
from typing import TYPE_CHECKING, Any

from dropscribe.transcript import Notice, Segment, to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator


JSON = dict[str, Any]
"""A JSON object."""


class ProtocolError(ValueError):
    """A line is no job, or no event, of this protocol."""


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what unexpected JSON raises into a ProtocolError."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProtocolError(f"It is no {what}: {error!r}.") from error


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def read_value(kind: Any, value: Any) -> Any:
    """Return JSON as a value of the type `kind`: a dataclass, a tuple, or as JSON has it."""
    if isinstance(kind, types.UnionType):  # of one type and None
        return None if value is None else read_value(typing.get_args(kind)[0], value)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        item = typing.get_args(kind)[0]
        return tuple(read_value(item, each) for each in value)
    if dataclasses.is_dataclass(kind):
        named = _types(typing.cast("type", kind))
        return kind(**{name: read_value(of, value[name]) for name, of in named.items() if name in value})  # type: ignore[operator]
    return value


def write_value(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, tuples as lists."""
    if isinstance(value, tuple):
        return [write_value(each) for each in value]
    if isinstance(value, Segment | Notice):
        return to_dict(value)  # leaves out what is unknown
    if dataclasses.is_dataclass(value):
        return {each.name: write_value(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return value

"""Tensors of a PyTorch archive, read without PyTorch and without running anything that the archive says.

Such an archive is a zip: `data.pkl` is a pickle of nested dictionaries, and each storage that it refers to is a
member of its own with the raw numbers. A pickle may name any function to be called. The reader here resolves four
names, all of them to functions of this module or to `OrderedDict`, and refuses every other, so the worst that a
changed archive can do is to be refused.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_LIMIT = 256 << 20  # bytes of one member: forty times the largest there is, so that a zip bomb is refused


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of an archive by their names, joined with dots where dictionaries are nested.

    Values that are no tensors (a configuration beside the weights) are left out.

    Raises: EnvironmentFaultError `model-damaged` for anything but an archive of plain tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            value = _Reader(archive, record).load()
    except (OSError, ValueError, KeyError, StopIteration, TypeError, zipfile.BadZipFile, pickle.UnpicklingError) as e:
        raise EnvironmentFaultError("model-damaged", f"The weights {path} cannot be read: {e}.") from e
    return dict(_flatten(value, ""))


class _Reader(pickle.Unpickler):
    """Unpickles dictionaries of tensors and refuses the rest."""

    def __init__(self, archive: zipfile.ZipFile, record: str) -> None:
        self._archive, self._folder = archive, record.removesuffix("data.pkl")
        super().__init__(io.BytesIO(self._read(record)))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"the archive names {module}.{name}")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, dtype, key, _, count = pid
        return np.frombuffer(self._read(f"{self._folder}data/{key}"), dtype, count)

    def _read(self, name: str) -> bytes:
        size = self._archive.getinfo(name).file_size
        if size > _LIMIT:
            raise ValueError(f"{name} has {size} bytes")
        return self._archive.read(name)


def _rebuild(
    storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> NDArray[Any]:
    """Return the tensor that lies at `offset` in a storage; what else PyTorch notes about gradients is not needed."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset < 0 or min((*size, *stride), default=1) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches beyond its numbers")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False))


def _flatten(value: Any, prefix: str) -> list[tuple[str, NDArray[Any]]]:
    if isinstance(value, np.ndarray):
        return [(prefix, value)]
    if not isinstance(value, collections.abc.Mapping):
        return []
    found: list[tuple[str, NDArray[Any]]] = []
    items: Mapping[Any, Any] = value
    for name, item in items.items():
        found += _flatten(item, f"{prefix}.{name}" if prefix else str(name))
    return found

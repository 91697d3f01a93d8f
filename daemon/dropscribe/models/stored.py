"""A model that is on this machine: where, in which layout, and where it came from."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.models.catalogue import Layout, Source


class Origin(enum.StrEnum):
    """How a model got to where it is. The values are part of the output of `models list --json`."""

    FOLDER = "folder"
    """A person named the folder."""
    CACHE = "cache"
    """It was in the hub's cache."""
    DOWNLOAD = "download"
    """It was downloaded just now; the next time it is in the cache."""
    STARTER = "starter"
    """Unpacked from the starter packages."""
    CONVERTED = "converted"
    """Converted to MLX from CTranslate2's files."""
    QUANTISED = "quantised"
    """Quantised for MLX."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the layout in which it was found. Its folder may be still to be made."""

    path: Path
    revision: str | None
    """Commit of the hub repository that the weights come from; None for a folder."""
    origin: Origin
    layout: Layout
    source: Source
    """What its files come from, in the end."""
    record: Path
    """Where what is known of its files is written, present or not."""
    bits: int | None = None
    """Of a weight, when it is quantised."""
    made_of: str = ""
    """`Record.source` of a model that was made here: when this changes, it is made again."""

    @property
    def key(self) -> str:
        """The name of its folder or its record."""
        return self.source.key if self.bits is None else f"{self.source.key}-{self.bits}bit"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that is here, whole, in the layout of the backend it was asked for."""

    name: str
    """As it was asked for, `auto` replaced."""
    path: Path
    revision: str | None
    """See `StoredModel`."""
    origin: Origin
    record: Path
    """See `StoredModel`."""
    source: Source
    """See `StoredModel`."""

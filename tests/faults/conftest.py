"""The world that every test of faults is given."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.world import FAST, World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fast_world() -> Iterator[World]:
    """The same in memory, where that can be, for thousands of files."""
    folder = Path(tempfile.mkdtemp(prefix="dropscribe-", dir=FAST))
    made = World(folder / "world")
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Folders and a daemon that is not started yet; at the end nothing of it is left."""
    made = World(tmp_path / "world")
    yield made
    made.close()

"""Who may read the outputs: whoever may read the outbox, whatever the umask of the service is."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from house import House


@pytest.fixture(autouse=True)
def _umask_of_the_service() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def find_modes(folder: Path) -> dict[str, int]:
    """Return the permissions of everything in a folder, by relative path."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("outbox", "folder", "file"),
    [
        (0o750, 0o750, 0o640),
        (0o775, 0o775, 0o664),
        (0o700, 0o700, 0o600),
        (0o1777, 0o755, 0o644),
        (0o550, 0o750, 0o640),
    ],
)
def test_outputs_can_be_read_by_whoever_can_read_their_folder(
    house: House, outbox: int, folder: int, file: int
) -> None:
    house.outbox.mkdir()
    house.outbox.chmod(outbox)
    house.drop("a/one.wav", "One.")
    house.drop("bad.wav", "!fail recording no-audio")
    house.run(formats=("txt", "json"))
    assert find_modes(house.outbox) == {
        "a": folder,
        "a/one.txt": file,
        "a/one.json": file,
        "_failed": folder,
        "_failed/bad.wav.error.txt": file,
    }


def test_a_folder_of_a_group_gives_its_group_on(house: House) -> None:
    house.outbox.mkdir()
    house.outbox.chmod(0o2770)
    house.drop("a/one.wav", "One.")
    house.run(formats=("json",))
    assert find_modes(house.outbox) == {"a": 0o2770, "a/one.json": 0o660}


def test_private_outputs_are_their_owners_alone(house: House) -> None:
    house.outbox.mkdir()
    house.outbox.chmod(0o777)
    house.drop("a/one.wav", "One.")
    house.run(formats=("json",), permissions="private")
    assert find_modes(house.outbox) == {"a": 0o700, "a/one.json": 0o600}


def test_an_outbox_that_is_made_is_its_owners_alone_at_first(house: House) -> None:
    os.umask(0o022)
    house.drop("one.wav", "One.")
    house.run(formats=("json",))
    assert stat.S_IMODE(house.outbox.stat().st_mode) == 0o700
    assert find_modes(house.outbox) == {"one.json": 0o600}

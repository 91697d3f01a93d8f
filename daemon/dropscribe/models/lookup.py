"""Where a model is, or would be made, as far as file names and records show.

Guarantees: no network; no file of a model is read, and nothing is written. What is returned is
not checked yet.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log
from dropscribe.models import hub_cache
from dropscribe.models.catalogue import (
    CTRANSLATE2,
    MLX,
    ModelRequest,
    Repository,
    Source,
    StarterPackages,
    read_repository_key,
    readable_layouts,
)
from dropscribe.models.faults import translate_disk_errors
from dropscribe.models.records import RECORD, list_files, read_record
from dropscribe.models.stored import Origin, StoredModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropscribe.models.starter import Starter

_log = Log()


def models_dir() -> Path:
    """Return the folder of the models that are made here, and of all records."""
    if given := os.environ.get("DROPSCRIBE_MODELS"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/dropscribe/models").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dropscribe" / "models"


@dataclass(frozen=True, slots=True)
class ModelLookup:
    """The places where models can be."""

    home: Path
    """See `models_dir`."""
    starters: Mapping[str, Starter]
    """By model name."""

    def find_model(self, request: ModelRequest) -> StoredModel | None:
        """Return the model as it would be used. Its folder is missing where it is still to be made.

        Raises:
            EnvironmentFaultError: see `find_folder`.
        """
        if (quantised := self.find_quantised(request)) is not None:
            return quantised
        found = self.find_folder(request) if request.folder is not None else self._find_unconverted(request)
        if found is None:
            return None
        if request.bits is not None:
            return self.place_quantised(found.source, found.revision, request.bits)
        if found.layout is not request.layout:
            return self.place_converted(found.source, found.revision)
        return found

    def _find_unconverted(self, request: ModelRequest) -> StoredModel | None:
        snapshots = (self.find_snapshot(repository) for repository in request.repositories)
        return next((one for one in snapshots if one is not None), None) or self.find_own(request)

    def find_folder(self, request: ModelRequest) -> StoredModel:
        """Return the model in the folder that a person named.

        Raises:
            EnvironmentFaultError: `model-missing` there is no such folder; `model-unusable` it
                lacks files; `cache-unusable` the disk refused.
        """
        source = request.folder
        assert source is not None  # noqa: S101 callers ask for folders only
        folder = source.path
        with translate_disk_errors(request.name, folder):
            if not folder.is_dir():
                raise EnvironmentFaultError(
                    "model-missing",
                    f"The model folder {folder} is not there.",
                    "Put it back, or change the setting `model`.",
                )
            present = list_files(folder)
        lacks = ""
        for layout in readable_layouts(request.layout):
            _, missing = layout.pick_files(present)
            if not missing:
                record = self.home / "folders" / f"{source.key}.json"
                return StoredModel(folder, None, Origin.FOLDER, layout, source, record)
            lacks = lacks or ", ".join(missing)
        raise EnvironmentFaultError(
            "model-unusable",
            f"The folder {folder} is no {request.layout.title} model: it lacks {lacks}.",
            "Choose another folder, or a model by its name.",
        )

    def find_snapshot(self, repository: Repository) -> StoredModel | None:
        """Return a complete snapshot in the hub's cache: the one recorded, else the newest."""
        folder = hub_cache.cache_folder(repository.repo)
        record = self.hub_record(repository)
        known = read_record(record)
        commits = [known.revision] if known and known.revision else []
        with contextlib.suppress(OSError):
            commits.append((folder / "refs" / repository.revision).read_text(encoding="utf-8").strip())
        for commit in (*commits, repository.revision):
            snapshot = folder / "snapshots" / commit
            if snapshot.is_dir() and not repository.layout.pick_files(list_files(snapshot))[1]:
                return StoredModel(snapshot, commit, Origin.CACHE, repository.layout, repository, record)
        return None

    def find_own(self, request: ModelRequest) -> StoredModel | None:
        """Return what a starter package can give, else what was converted from files now gone."""
        starter = self.starters.get(request.plain)
        if starter is not None:
            found = self.place_starter(request.plain, starter)
            if found.record.is_file() or starter.find_parts() is not None:
                return found
        if request.layout is MLX:
            for source in request.sources:
                if (made := _read_made(self.place_converted(source, None))) is not None:
                    return made
        return None

    def find_quantised(self, request: ModelRequest) -> StoredModel | None:
        """Return the quantised model that was made once. What it was made of may be gone."""
        if request.bits is not None:
            for source in request.sources:
                if (made := _read_made(self.place_quantised(source, None, request.bits))) is not None:
                    return made
        return None

    def place_starter(self, name: str, starter: Starter) -> StoredModel:
        """Return where the starter packages of the model `name` are unpacked."""
        source = StarterPackages(name)
        folder = self.home / CTRANSLATE2.title.lower() / source.key
        return StoredModel(
            folder,
            starter.revision,
            Origin.STARTER,
            CTRANSLATE2,
            source,
            folder / RECORD,
            made_of=starter.made_of,
        )

    def place_converted(self, source: Source, revision: str | None) -> StoredModel:
        """Return where a model of `source` is converted to MLX."""
        folder = self.home / MLX.title.lower() / source.key
        return StoredModel(folder, revision, Origin.CONVERTED, MLX, source, folder / RECORD)

    def place_quantised(self, source: Source, revision: str | None, bits: int) -> StoredModel:
        """Return where a model of `source` is quantised."""
        place = replace(self.place_converted(source, revision), origin=Origin.QUANTISED, bits=bits)
        folder = place.path.with_name(place.key)
        return replace(place, path=folder, record=folder / RECORD)

    def place_eight_bits(self, source: Source, revision: str | None) -> StoredModel:
        """Return where CTranslate2's 8-bit weights of a model of `source` are kept: no more than those."""
        folder = self.home / "int8" / source.key
        return StoredModel(folder, revision, Origin.QUANTISED, CTRANSLATE2, source, folder / RECORD, bits=8)

    def hub_record(self, repository: Repository) -> Path:
        """Return the record of a repository in the hub's cache."""
        return self.home / "hub" / f"{repository.key}.json"

    def list_repositories(self) -> list[str]:
        """Return the hub repositories in use that no name stands for, as they were asked for."""
        records = sorted((self.home / "hub").glob("*.json"))
        return [model for record in records if (model := read_repository_key(record.stem)) is not None]


def _read_made(place: StoredModel) -> StoredModel | None:
    """Return a model that was made here with what its record says; None without a record."""
    record = read_record(place.record)
    return replace(place, revision=record.revision, made_of=record.source) if record is not None else None


def log_unfinished(request: ModelRequest) -> bool:
    """Return whether a download of the model was interrupted, and log it."""
    for repository in request.repositories:
        folder = hub_cache.cache_folder(repository.repo)
        snapshots = [snapshot for snapshot in folder.glob("snapshots/*") if snapshot.is_dir()]
        unfinished = hub_cache.list_unfinished(repository.repo)
        if snapshots or unfinished:
            present = set().union(*map(list_files, snapshots)) if snapshots else set()
            missing = repository.layout.pick_files(present)[1]
            _log.warning(
                "model.incomplete",
                model=request.name,
                repo=repository.repo,
                missing=missing,
                pending=len(unfinished),
            )
            return True
    return False

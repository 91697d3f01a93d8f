"""The models on this machine: found, made, downloaded, verified, listed and removed.

Guarantees:
- A model that is here is found without the network: the hub's cache is read as files, and the
  libraries that can open a connection are not even imported. Only `resolve_model(download=True)`
  and `pull_model` download, and log it.
- What is handed out is whole. Every file is checked against its digest once, after the download or
  when it is first met; later starts compare size and modification time. `verify_model` reads
  everything again.
- A model stays at the commit at which it was first used: the commit is recorded, and taken until
  its files are gone.
- A half-downloaded or damaged model is noticed, logged, and repaired when downloading is allowed.
- What is made here (models unpacked from the starter packages, converted and quantised models,
  records) appears whole under its name or not at all, also with two processes at work.
- `remove_model` takes away no more than one model: what the hub's cache shares with another
  revision stays.

Risks accepted: a folder named by its path is used as it is (nobody wrote down its digests); a file
changed in place with its size and time kept is noticed only by `verify_model`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.log_bridge import Log
from dropscribe.models import hub_cache
from dropscribe.models.builder import build_model, is_current, lock_folder
from dropscribe.models.catalogue import (
    BITS,
    CTRANSLATE2,
    LAYOUTS,
    MLX,
    NAMES,
    ModelRequest,
    Repository,
    name_quantised,
    parse_request,
)
from dropscribe.models.download import fetch_files
from dropscribe.models.faults import DamagedModelError, translate_disk_errors
from dropscribe.models.lookup import ModelLookup, log_unfinished, models_dir
from dropscribe.models.quantise import quantise_model
from dropscribe.models.records import (
    FileStamp,
    Record,
    check_files,
    list_files,
    measure_folder,
    read_last_use,
    read_record,
    remove_record,
    touch_use,
    try_write_record,
)
from dropscribe.models.starter import STARTERS, Starter, unpack_starter
from dropscribe.models.stored import ModelFolder, Origin, StoredModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dropscribe.models.progress import Progress

_log = Log()

_EIGHT_BITS = 1
"""The version of what `model_file.write_in_eight_bits` writes."""
_ROOM = 2
"""How many times a model's size must be free on the disk for its 8-bit weights to be kept, half as large."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `models list`: a name for one backend."""

    name: str
    backend: str
    repo: str
    """The hub repository it would be downloaded from."""
    source: str
    """What it was made of, or would be: `owner/name@commit`, `starter packages`. Empty: not here."""
    used: float | None
    """When an engine last took it, in seconds since the epoch; None when none did."""
    origin: Origin | None
    """None when it would have to be downloaded."""
    path: Path | None
    """None also when it is still to be unpacked or converted, which the first use does."""
    bytes: int
    """Size of its files on disk."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove_model` did."""

    path: Path
    bytes: int
    """Room that it gave on the disk."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file, as `verify_model` found it."""

    name: str
    bytes: int
    ok: bool | None
    """None when no digest of it is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify_model` found."""

    model: ModelFolder
    files: tuple[FileReport, ...]

    @property
    def ok(self) -> bool:
        """No file is damaged."""
        return all(file.ok is not False for file in self.files)


class ModelStore:
    """The models on this machine."""

    def __init__(self, home: Path | None = None, starters: Mapping[str, Starter] = STARTERS) -> None:
        """Read nothing yet.

        Args:
            home: where records and the models made here are; by default `lookup.models_dir()`.
            starters: the starter packages to look for, by model name.
        """
        self._home = home or models_dir()
        self._starters = starters
        self._lookup = ModelLookup(self._home, starters)

    def resolve_model(
        self, model: str, backend: str, *, download: bool, progress: Callable[[Progress], None] | None = None
    ) -> ModelFolder:
        """Return the folder of `model` for `backend`, whole and checked.

        Looked for in this order: a folder of that path; the hub's cache; the starter packages (for
        MLX, also the CTranslate2 files of the same model from these two, converted once); the hub,
        when `download`. `NAME-4bit` and `NAME-8bit` are NAME quantised once, for MLX; other
        backends have their own small numbers and take NAME.

        Args:
            model: see `catalogue.parse_request`.
            backend: see `catalogue.parse_request`.
            download: whether the hub may be asked.
            progress: called while downloading, from this thread or another, when there is more:
                several times a second or once in a long while, as the network is. Must not raise.

        Raises:
            UsageError: no such name.
            EnvironmentFaultError: by `code`:
                `model-missing` not here, and not to be downloaded; `model-damaged` its files do
                not have their digest; `model-unusable` not a Whisper model for this backend;
                `model-unknown` the hub has no such repository or revision; `hub-refused` the hub
                wants a (better) HF_TOKEN; `hub-unreachable` no answer; `hub-interrupted` the
                download broke off; `disk-full`; `cache-unusable` the disk refused for another
                reason.
        """
        request = parse_request(model, backend)
        with translate_disk_errors(request.name, self._home):
            found = self._find_whole(request, repair=download)
            partly = found is None and log_unfinished(request)
        if found is None:
            if not download:
                state = "is only partly downloaded" if partly else "is not on this machine"
                raise EnvironmentFaultError(
                    "model-missing",
                    f"The model {request.name} {state}.",
                    f"Run `dropscribe models pull {request.name}`.",
                )
            found = self._adapt(request, self._download(request, progress))
        return _name_folder(request, found)

    def keep_eight_bits(self, model: ModelFolder) -> Path | None:
        """Return the file with CTranslate2's 8-bit weights of `model`; None where none is to be had.

        CTranslate2 makes them at each load of a model in larger numbers, which takes most of that.
        They are made once, and again when the model's file changes. A disk that is nearly full, or
        that refuses, costs only that.
        """
        target = self._lookup.place_eight_bits(model.source, model.revision)
        weights = model.path / "model.bin"
        try:
            found = weights.stat()
            made_of = f"{model.source.key} {found.st_size} {found.st_mtime_ns} int8 {_EIGHT_BITS}"
            if not is_current(model.name, target, made_of):
                from dropscribe.models import model_file  # it needs NumPy

                file = model_file.read_model_file(weights)
                self._home.mkdir(parents=True, exist_ok=True)
                if not file.has_floats_alone or shutil.disk_usage(self._home).free < _ROOM * found.st_size:
                    return None
                _log.info("model.quantising", model=model.name, source=str(model.path), bits=8)
                build_model(
                    model.name,
                    target,
                    made_of,
                    lambda folder: model_file.write_in_eight_bits(file, folder / weights.name),
                )
        except (OSError, ValueError) as error:
            _log.warning("model.not_kept", model=model.name, path=str(target.path), error=str(error))
            return None
        return target.path / weights.name

    def _find_eight_bits(self, found: StoredModel) -> StoredModel | None:
        """Return the 8-bit weights that are kept of a model for CTranslate2."""
        kept = self._lookup.place_eight_bits(found.source, found.revision)
        return kept if found.layout is CTRANSLATE2 and kept.path.is_dir() else None

    def pull_model(self, model: str, backend: str, progress: Callable[[Progress], None] | None = None) -> ModelFolder:
        """Return `model`, downloaded or repaired when need be. Raises as `resolve_model` does."""
        return self.resolve_model(model, backend, download=True, progress=progress)

    def find_path(self, model: str, backend: str) -> Path:
        """Return where `model` is. Raises as `resolve_model` without download does."""
        return self.resolve_model(model, backend, download=False).path

    def verify_model(self, model: str, backend: str) -> Report:
        """Read every file of `model` again and compare it with its digest.

        `pull_model` repairs a damaged one.

        Raises: as `resolve_model` without download does, but damage is reported, not raised.
        """
        request = parse_request(model, backend)
        found = self._lookup.find_model(request)
        if found is None or not found.path.is_dir():  # not here, or still to be unpacked or converted
            self.resolve_model(model, backend, download=False)
            found = self._lookup.find_model(request)
        if found is None:
            raise EnvironmentFaultError("model-missing", f"The model {request.name} went away while it was read.")
        with translate_disk_errors(request.name, found.path):
            record = read_record(found.record)
            names, _ = request.layout.pick_files(list_files(found.path))
            stamps, damaged = check_files(found.path, names, record.files if record else {}, thorough=True)
        if damaged and record is not None:
            # Forget that they were seen whole, so that the next `resolve_model` reads them, and repairs.
            forgotten = {name: FileStamp.unseen(stamps[name].digest) for name in damaged}
            try_write_record(found.record, Record(record.source, record.revision, {**stamps, **forgotten}))
        files = tuple(
            FileReport(name, stamp.size, None if stamp.digest is None else name not in damaged)
            for name, stamp in stamps.items()
        )
        if (kept := self._find_eight_bits(found)) is not None:
            files += self._verify_eight_bits(kept)
        return Report(_name_folder(request, found), files)

    def _verify_eight_bits(self, kept: StoredModel) -> tuple[FileReport, ...]:
        """Read the 8-bit weights that are kept. Damaged ones are removed: the next load makes them again."""
        with translate_disk_errors(kept.source.key, kept.path):
            record = read_record(kept.record)
            stamps, damaged = check_files(
                kept.path, record.files if record else (), record.files if record else {}, thorough=True
            )
            if damaged or record is None:
                self._remove_folder(kept)
        return tuple(FileReport(f"int8/{name}", s.size, name not in damaged) for name, s in stamps.items())

    def _remove_folder(self, made: StoredModel) -> int:
        """Remove a model that was made here; return the bytes of it."""
        size = measure_folder(made.path)
        with lock_folder(made.path.parent) as scratch:
            made.path.rename(scratch / made.path.name)
        return size

    def list_models(self) -> list[Listing]:
        """Return every name for every backend, and where it stands; of others what is here.

        Others are quantised models, and repositories that were asked for as `owner/name`. Reads no
        weights, and opens no connection.
        """
        rows = []
        for backend, layout in LAYOUTS.items():
            quantised = [name_quantised(name, bits) for name in NAMES for bits in BITS] if layout is MLX else []
            for name in (*NAMES, *quantised, *self._lookup.list_repositories()):
                request = parse_request(name, backend)
                with translate_disk_errors(name, self._home):
                    found = self._lookup.find_model(request)
                    here = found.path if found is not None and found.path.is_dir() else None
                    size = measure_folder(here) if here else 0
                    if here and found is not None and (kept := self._find_eight_bits(found)) is not None:
                        size += measure_folder(kept.path)
                if name in NAMES or here is not None:
                    source = found.source.describe(found.revision) if found is not None else ""
                    used = read_last_use(found.record) if found is not None else None
                    origin = found.origin if found is not None else None
                    repo = request.repositories[0].repo
                    rows.append(Listing(name, backend, repo, source, used, origin, here, size))
        return rows

    def remove_model(self, model: str, backend: str, *, shared: bool = False) -> Removed:
        """Remove `model` for `backend` from the disk; a later use downloads or makes it again.

        A model that was converted or quantised from it stays, and does not need it any more; its
        8-bit weights, which are kept for CTranslate2, go with it. Of a folder by its path only these
        are removed.

        Args:
            model: see `catalogue.parse_request`.
            backend: a key of `LAYOUTS`.
            shared: whether it may be taken out of the hub's cache, which other programs read too.

        Raises:
            UsageError: a folder by its path, or from the hub's cache without `shared`.
            EnvironmentFaultError: `model-missing`, `cache-unusable`.
        """
        request = parse_request(model, backend)
        found = self._lookup.find_model(request)
        if found is None or not found.path.is_dir():
            raise EnvironmentFaultError("model-missing", f"The model {request.name} is not on this machine.")
        kept = self._find_eight_bits(found)
        if found.origin is Origin.FOLDER and kept is not None:
            with translate_disk_errors(request.name, kept.path):
                return Removed(kept.path, self._remove_folder(kept))
        if found.origin is Origin.FOLDER:
            raise UsageError(
                f"{found.path} is a folder of yours, not one that Dropscribe made.", "Remove it yourself."
            )
        with translate_disk_errors(request.name, found.path):
            if isinstance(found.source, Repository) and found.origin is Origin.CACHE:
                if not shared:
                    raise UsageError(
                        f"The model {request.name} is in the Hugging Face cache ({found.path}), "
                        "from which other programs on this machine read it too.",
                        "Add --yes to remove it all the same.",
                    )
                size = hub_cache.remove_snapshot(found.source.repo, str(found.revision))
                remove_record(found.record)
            else:
                size = self._remove_folder(found)
            if kept is not None:
                size += self._remove_folder(kept)
        return Removed(found.path, size)

    def _find_whole(self, request: ModelRequest, *, repair: bool) -> StoredModel | None:
        """Return the model, whole, converted and quantised when need be; None when it is not here.

        Args:
            request: the model.
            repair: whether damaged files are discarded, to be downloaded again, or raise.
        """
        if request.folder is not None:
            return self._adapt(request, self._lookup.find_folder(request))
        quantised = self._lookup.find_quantised(request)
        if quantised is not None and is_current(request.name, quantised, quantised.made_of):
            return quantised
        for repository in request.repositories:
            with translate_disk_errors(request.name, hub_cache.cache_folder(repository.repo)):
                try:
                    cached = self._find_cached(request.name, repository)
                except DamagedModelError as error:
                    if not repair:
                        raise
                    damaged = [file.name for file in error.files]
                    _log.warning("model.damaged", model=request.name, repo=repository.repo, files=damaged)
                    hub_cache.discard_files(error.files)
                    continue
            if cached is not None:
                return self._adapt(request, cached)
        own = self._find_own(request, repair=repair)
        return None if own is None else self._adapt(request, own)

    def _find_cached(self, name: str, repository: Repository) -> StoredModel | None:
        """Return the model from the hub's cache, checked; None when files of it are missing.

        Raises:
            DamagedModelError: files do not have their digest.
        """
        found = self._lookup.find_snapshot(repository)
        if found is None:
            return None
        record = read_record(found.record)
        known = record.files if record is not None else {}
        names, _ = repository.layout.pick_files(list_files(found.path))
        stamps, damaged = check_files(found.path, names, known)
        if damaged:
            raise DamagedModelError(name, found.path, damaged)
        if record is None or stamps != known or record.revision != found.revision:
            try_write_record(found.record, Record(repository.repo, found.revision, stamps))
        return found

    def _find_own(self, request: ModelRequest, *, repair: bool) -> StoredModel | None:
        """Return the model from the starter packages, or one that was converted before."""
        found = self._lookup.find_own(request)
        if found is None:
            return None
        if found.origin is not Origin.STARTER:
            return found if is_current(request.name, found, found.made_of) else None
        try:
            return self._unpack(request, found)
        except DamagedModelError as error:
            if not repair:
                raise EnvironmentFaultError(
                    error.code,
                    f"The starter packages of the model {request.name} are damaged.",
                    f"Install them again, or run `dropscribe models pull {request.name}`.",
                ) from error
            _log.warning("model.damaged", model=request.name, files=[file.name for file in error.files])
            return None

    def _download(self, request: ModelRequest, progress: Callable[[Progress], None] | None) -> StoredModel:
        """Download the preferred repository, in the first readable layout it has, and check it."""
        first = request.repositories[0]
        candidates = [one for one in request.repositories if one.repo == first.repo]
        chosen = first

        def choose(present: set[str]) -> list[str]:
            nonlocal chosen
            for repository in candidates:
                names, missing = repository.layout.pick_files(present)
                if not missing:
                    chosen = repository
                    return names
            lacks = ", ".join(first.layout.pick_files(present)[1])
            raise EnvironmentFaultError(
                "model-unusable",
                f"{first.repo} is no {first.layout.title} model: it lacks {lacks}.",
                "Choose a model by its name, or another repository.",
            )

        fetched = fetch_files(request.name, first.repo, first.revision, choose, progress)
        with translate_disk_errors(request.name, fetched.folder):
            known = {name: FileStamp.unseen(digest) for name, digest in fetched.digests.items()}
            stamps, damaged = check_files(fetched.folder, known, known)
            if damaged:
                hub_cache.discard_files(fetched.folder / name for name in damaged)
                raise DamagedModelError(request.name, fetched.folder, damaged)
        record = self._lookup.hub_record(chosen)
        try_write_record(record, Record(chosen.repo, fetched.commit, stamps))
        return StoredModel(fetched.folder, fetched.commit, Origin.DOWNLOAD, chosen.layout, chosen, record)

    def _adapt(self, request: ModelRequest, found: StoredModel) -> StoredModel:
        """Return `found` in the layout and size of `request`, converted and quantised if need be."""
        if found.layout is not request.layout:
            found = self._convert(request, found)
        return found if request.bits is None else self._quantise(request, found, request.bits)

    def _convert(self, request: ModelRequest, found: StoredModel) -> StoredModel:
        def fill(folder: Path) -> None:
            from dropscribe.models.convert import convert_model  # it needs NumPy

            convert_model(request.name, found.path, folder)

        target = self._lookup.place_converted(found.source, found.revision)
        with translate_disk_errors(request.name, target.path):
            weights = (found.path / "model.bin").stat()
            build_model(request.name, target, f"{found.key} {weights.st_size} {weights.st_mtime_ns}", fill)
        return target

    def _quantise(self, request: ModelRequest, found: StoredModel, bits: int) -> StoredModel:
        def fill(folder: Path) -> None:
            quantise_model(request.name, found.path, folder, bits)

        target = self._lookup.place_quantised(found.source, found.revision, bits)
        with translate_disk_errors(request.name, target.path):
            build_model(request.name, target, f"{found.key} {bits} bits", fill)
        return target

    def _unpack(self, request: ModelRequest, target: StoredModel) -> StoredModel:
        def fill(folder: Path) -> None:
            unpack_starter(request.name, self._starters[request.plain], folder)

        with translate_disk_errors(request.name, target.path):
            build_model(request.name, target, target.made_of, fill)
        return target


def _name_folder(request: ModelRequest, found: StoredModel) -> ModelFolder:
    return ModelFolder(request.name, found.path, found.revision, found.origin, found.record, found.source)


def mark_used(model: ModelFolder) -> None:
    """Write down, for `models list`, that an engine takes this model now. Never raises."""
    touch_use(model.record)

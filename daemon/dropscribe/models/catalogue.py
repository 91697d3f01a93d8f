"""What a model's name means: its repositories on the hub, its layout, and the size of its weights.

Guarantees: standard library only; no network; of the disk only whether a path is a folder is asked.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from dropscribe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTO = {"mlx": "large-v3-turbo", "faster-whisper": "small"}
"""The model of the setting `auto`, by backend: what runs faster than real time there."""

READS_MODELS_OF = {"whisperx": "faster-whisper"}
"""Backends that read the models of another one."""

ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""Names that mean another name."""

_CTRANSLATE2_REPOS = {
    # faster_whisper.utils._MODELS, release 1.2.1
    "tiny": "Systran/faster-whisper-tiny",
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "base": "Systran/faster-whisper-base",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}

_MLX_REPOS = {
    # Names missing here have no MLX release: their CTranslate2 files are converted.
    "tiny": "mlx-community/whisper-tiny-mlx",
    "tiny.en": "mlx-community/whisper-tiny.en-mlx",
    "base": "mlx-community/whisper-base-mlx",
    "base.en": "mlx-community/whisper-base.en-mlx",
    "small": "mlx-community/whisper-small-mlx",
    "small.en": "mlx-community/whisper-small.en-mlx",
    "medium": "mlx-community/whisper-medium-mlx",
    "medium.en": "mlx-community/whisper-medium.en-mlx",
    "large-v1": "mlx-community/whisper-large-v1-mlx",
    "large-v2": "mlx-community/whisper-large-v2-mlx",
    "large-v3": "mlx-community/whisper-large-v3-mlx",
    "large-v3-turbo": "mlx-community/whisper-large-v3-turbo",
    "distil-medium.en": "mlx-community/distil-whisper-medium.en",
    "distil-large-v3": "mlx-community/distil-whisper-large-v3",
}

NAMES = tuple(_CTRANSLATE2_REPOS)
"""Every model that has a name. With `-4bit` or `-8bit` after it: quantised, for MLX."""

BITS = (4, 8)
"""Sizes of a weight that a model can be quantised to."""

_QUANTISED = re.compile(r"(.+)-([48])bit")
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files make a model of one engine."""

    title: str
    """What a person calls it; in lower case, the folder of models made here in this layout."""
    groups: tuple[tuple[str, ...], ...]
    """Of each group the first file present is taken, and one must be. The weights come last."""
    extra: tuple[str, ...] = ()
    """Taken when present."""

    def pick_files(self, present: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the files to take, weights last, and what is missing, as `a or b`."""
        available = set(present)
        taken = [name for name in self.extra if name in available]
        missing = []
        for group in self.groups:
            first = next((name for name in group if name in available), None)
            if first is None:
                missing.append(" or ".join(group))
            else:
                taken.append(first)
        return taken, missing


CTRANSLATE2 = Layout(
    "CTranslate2",
    # Without tokenizer.json faster-whisper would fetch one from the hub at every start.
    (("config.json",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt"), ("model.bin",)),
    ("preprocessor_config.json",),  # says 128 mel bands, from large-v3 on
)
MLX = Layout("MLX", (("config.json",), ("weights.safetensors", "weights.npz", "model.safetensors")))

LAYOUTS = {"mlx": MLX, "faster-whisper": CTRANSLATE2}
"""What each backend reads."""


def readable_layouts(layout: Layout) -> tuple[Layout, ...]:
    """Return the layouts that can serve a backend of `layout`, best first.

    CTranslate2's files can be converted to MLX's.
    """
    return (MLX, CTRANSLATE2) if layout is MLX else (CTRANSLATE2,)


@dataclass(frozen=True, slots=True)
class Repository:
    """A source of model files: a repository of the hub, in one layout."""

    repo: str
    """`owner/name`."""
    revision: str
    """As asked: a branch, a tag or a commit."""
    layout: Layout

    @property
    def key(self) -> str:
        """The name of the folder and the record on disk. The layout is not part of it."""
        return f"{self.repo.replace('/', '--')}@{quote(self.revision, safe='')}"

    def describe(self, commit: str | None) -> str:
        """Return the source as a person reads it: `owner/name@commit`."""
        return f"{self.repo}@{commit or self.revision}"


@dataclass(frozen=True, slots=True)
class StarterPackages:
    """A source of model files: the starter packages of a model (see `starter`)."""

    model: str

    @property
    def key(self) -> str:
        """The name of the folder on disk."""
        return f"starter--{self.model}"

    def describe(self, commit: str | None) -> str:  # noqa: ARG002 as in the other sources
        """Return the source as a person reads it."""
        return "starter packages"


@dataclass(frozen=True, slots=True)
class PersonalFolder:
    """A source of model files: a folder that a person named by its path."""

    path: Path

    @property
    def key(self) -> str:
        """The name of the record, and of the folder of what is converted from it."""
        return f"folder--{self.path.name}-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]}"

    def describe(self, commit: str | None) -> str:  # noqa: ARG002 as in the other sources
        """Return the source as a person reads it: its path."""
        return str(self.path)


Source = Repository | StarterPackages | PersonalFolder
"""What the files of a model come from."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the setting `model` asks for, for one backend."""

    name: str
    """As it was asked for, `auto` replaced."""
    layout: Layout
    folder: PersonalFolder | None
    repositories: tuple[Repository, ...]
    """In order of preference; empty for a folder."""
    plain: str = ""
    """The name of `NAMES` that it means, if any."""
    bits: int | None = None
    """Of a weight, when it is to be quantised."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that the model can be converted or quantised from, a folder aside."""
        return (*self.repositories, *([StarterPackages(self.plain)] if self.plain else []))


def parse_request(model: str, backend: str) -> ModelRequest:
    """Return what `model` means for `backend`.

    Args:
        model: `auto`, a name (`small`, `small-4bit`, `small@revision`), a hub repository
            (`owner/name`, `owner/name@revision`) or a folder.
        backend: a key of `LAYOUTS` or of `READS_MODELS_OF`.

    Raises:
        UsageError: there is no such backend or no such name.
    """
    backend = READS_MODELS_OF.get(backend, backend)
    try:
        layout = LAYOUTS[backend]
    except KeyError:
        raise UsageError(f"There is no backend {backend}.", f"Use one of: {', '.join(LAYOUTS)}.") from None
    name = AUTO[backend] if model == "auto" else model
    plain, _, revision = name.partition("@")
    whole, bits = (match[1], int(match[2])) if (match := _QUANTISED.fullmatch(plain)) else (plain, None)
    whole = ALIASES.get(whole, whole)
    # A folder of that name in the current directory must not get in the way: names come first.
    if whole in _CTRANSLATE2_REPOS:
        if layout is not MLX and bits is not None:  # other backends quantise by themselves
            name, bits = _join_revision(whole, revision), None
        return ModelRequest(name, layout, None, _named_repositories(whole, revision, layout), whole, bits)
    folder = Path(name)
    with contextlib.suppress(RuntimeError):  # ~user, and there is no such user
        folder = folder.expanduser()
    if name.startswith(("/", "./", "../", "~")) or (os.sep in name and folder.is_dir()):
        return ModelRequest(name, layout, PersonalFolder(folder.absolute()), ())
    if match := _REPOSITORY.fullmatch(name):
        repo, revision = match["repo"], match["revision"] or "main"
        repositories = tuple(Repository(repo, revision, one) for one in readable_layouts(layout))
        return ModelRequest(name, layout, None, repositories)
    near = difflib.get_close_matches(plain.lower(), [*NAMES, *ALIASES], n=1, cutoff=0.5)
    raise UsageError(
        f"There is no model {name}.",
        (f"Did you mean {near[0]}? " if near else "")
        + "`dropscribe models list` shows the names; a hub repository is written owner/name, a folder /path.",
    )


def _named_repositories(plain: str, revision: str, layout: Layout) -> tuple[Repository, ...]:
    ctranslate2 = Repository(_CTRANSLATE2_REPOS[plain], revision or "main", CTRANSLATE2)
    if layout is not MLX or plain not in _MLX_REPOS:
        return (ctranslate2,)
    mlx = Repository(_MLX_REPOS[plain], revision or "main", MLX)
    # A revision means a commit of the repository that is downloaded; the other one does not have it.
    return (mlx,) if revision else (mlx, ctranslate2)


def _join_revision(name: str, revision: str) -> str:
    return f"{name}@{revision}" if revision else name


def check_name(model: str) -> None:
    """Check that `model` is written as `auto`, a known name or a hub repository.

    Raises:
        UsageError: it is not, or it is a folder.
    """
    if parse_request(model, next(iter(LAYOUTS))).folder is not None:
        raise UsageError(f"The model {model} is a folder.", "Only a name (small) or a hub repository can stand here.")


def name_quantised(model: str, bits: int) -> str:
    """Return the name under which `model` is used with weights of `bits`, for the backend `mlx`.

    Raises:
        UsageError: `model` is none of the names.
    """
    plain, _, revision = (AUTO["mlx"] if model == "auto" else model).partition("@")
    if ALIASES.get(plain, plain) not in NAMES:
        raise UsageError(
            f"{model} is no model that can be quantised here.",
            "Give a name of `dropscribe models list`; a hub repository may hold one that is quantised already.",
        )
    return _join_revision(f"{plain}-{bits}bit", revision)


def read_repository_key(key: str) -> str | None:
    """Return the model that `Repository.key` was made from, as it was asked for.

    None when that is the repository of one of the names, or `key` is no such key.
    """
    repo, _, revision = unquote(key).replace("--", "/").partition("@")
    named = {*_CTRANSLATE2_REPOS.values(), *_MLX_REPOS.values()}
    if repo in named or not _REPOSITORY.fullmatch(f"{repo}@{revision}"):
        return None
    return repo if revision == "main" else f"{repo}@{revision}"

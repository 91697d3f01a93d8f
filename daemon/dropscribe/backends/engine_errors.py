"""What an engine's library raised, as an error for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError

if TYPE_CHECKING:
    from pathlib import Path

_OUT_OF_MEMORY = (
    "out of memory",
    "insufficient memory",
    "bad_alloc",
    "alloc_failed",
    "attempting to allocate",
    "malloc",
)


def to_engine_error(error: BaseException) -> JobError:
    """Return what an engine raised in its work as EngineFaultError `out-of-memory` or
    `engine-failed`.
    """
    if isinstance(error, JobError):
        return error
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        return EngineFaultError(
            "out-of-memory",
            "There is not enough memory for this model.",
            "Choose a smaller model, or close other programs.",
        )
    return EngineFaultError("engine-failed", f"The engine failed: {type(error).__name__}: {error}.")


def to_load_error(folder: Path, error: BaseException | str) -> JobError:
    """Return what went wrong at loading the model in `folder` as EnvironmentFaultError
    `model-unusable`.

    Want of memory is `out-of-memory` here too.
    """
    if isinstance(error, BaseException):
        engine_error = to_engine_error(error)
        if engine_error.code != "engine-failed":
            return engine_error
        error = f"{type(error).__name__}: {error}"
    return EnvironmentFaultError(
        "model-unusable",
        f"The model in {folder} cannot be loaded: {error}.",
        "Check it with `dropscribe models verify`, or pull it again.",
    )

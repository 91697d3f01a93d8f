"""Quantising a model for MLX: its matrices in 4 or 8 bits. MLX does it, so it must be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from pathlib import Path

_log = Log()


def quantise_model(name: str, source: Path, target: Path, bits: int) -> None:
    """Write the MLX model in the folder `source`, quantised to `bits`, into the folder `target`.

    Raises:
        EnvironmentFaultError: `model-unusable`: MLX is not installed, or cannot quantise it.
        OSError: reading or writing failed.
    """
    try:
        from dropscribe.backends._mlx import quantise
    except ImportError as error:
        raise EnvironmentFaultError(
            "model-unusable",
            f"The model {name} has to be quantised, and MLX, which does that, is not installed here.",
            "Do it where MLX is, or choose another model.",
        ) from error
    _log.info("model.quantising", model=name, source=str(source), bits=bits)
    try:
        quantise(source, target, bits)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFaultError(
            "model-unusable",
            f"The model {name} cannot be quantised: {error}.",
            "Choose it as it is, or another model.",
        ) from error

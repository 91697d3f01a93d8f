"""Creating an engine: the one place that imports the engines' modules. Only the worker and benches
import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropscribe.backends import Backend


def create_backend(name: str, *, eight_bits: Callable[[], Path | None] | None = None, **options: str) -> Backend:
    """Return the backend `name`, not loaded yet. Imports its libraries.

    Args:
        name: Which one.
        eight_bits: Gives `faster-whisper` a file with the model's weights in 8-bit integers.
        options: Only `whisperx` has some.

    Raises:
        ValueError: There is no backend of this name.
    """
    if name == "mlx":
        from dropscribe.backends.mlx import MLX

        return MLX()
    if name == "faster-whisper":
        from dropscribe.backends.faster_whisper import FasterWhisper

        return FasterWhisper(eight_bits)
    if name == "whisperx":
        from dropscribe.backends.whisperx import WhisperX

        return WhisperX(**options)
    msg = f"unknown backend: {name}"
    raise ValueError(msg)

"""Creating an engine: the one place that imports the engines' modules. Only the worker and benches
import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.backends import Backend


def create_backend(name: str, **options: str) -> Backend:
    """Return the backend `name`, not loaded yet. Imports its libraries. Only `whisperx` has
    options.

    Raises:
        ValueError: There is no backend of this name.
    """
    if name == "mlx":
        from dropscribe.backends.mlx import MLX

        return MLX()
    if name == "faster-whisper":
        from dropscribe.backends.faster_whisper import FasterWhisper

        return FasterWhisper()
    if name == "whisperx":
        from dropscribe.backends.whisperx import WhisperX

        return WhisperX(**options)
    msg = f"unknown backend: {name}"
    raise ValueError(msg)

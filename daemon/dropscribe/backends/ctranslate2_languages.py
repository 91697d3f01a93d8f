"""The language of a sound by CTranslate2's Whisper, which faster-whisper and WhisperX share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np

from dropscribe.backends import SAMPLE_RATE
from dropscribe.backends.encodings import SILENCE_S, count_encoded_samples, find_frames
from dropscribe.backends.engine_errors import to_engine_error
from dropscribe.backends.results import copy_window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Languages, Part, Window

_STEP_S = 1.0
"""Seconds; CTranslate2 takes any length."""


def detect_window_language(
    model: Any,
    audio: NDArray[np.float32],
    window: Window,
    *,
    silence_s: float | None,
    keep: Callable[[Any], None] | None = None,
) -> dict[str, float]:
    """Return the language probabilities of one window. See `Backend.detect_languages`.

    Args:
        model: faster-whisper's `WhisperModel`, which WhisperX has too.
        audio: Shape (samples,), 16 kHz.
        window: The window of `audio` to judge.
        silence_s: Seconds of silence to encode behind it; None: up to 30 s.
        keep: Gets the encoder's output for the whole window of 30 s.
    """
    if not model.model.is_multilingual:
        return {"en": 1.0}
    try:
        sound, extractor = copy_window(audio, window), model.feature_extractor
        samples = count_encoded_samples(len(sound), silence_s, step_s=_STEP_S)
        mel = extractor(sound[:samples], padding=samples - len(sound[:samples]))
        encoded = model.encode(mel)
        if keep is not None and samples == extractor.n_samples:
            keep(encoded)
        (found,) = model.model.detect_language(encoded)
    except (RuntimeError, MemoryError) as error:
        raise to_engine_error(error) from error
    return {token[2:-2]: probability for token, probability in found}


def detect_part_languages(
    model: Any, encoded: NDArray[np.float32], parts: Sequence[Part], silence: NDArray[np.float32]
) -> list[Languages]:
    """Return the language probabilities of parts of one window. See `Backend.hear_languages`.

    Args:
        model: faster-whisper's `WhisperModel`, which WhisperX has too.
        encoded: The encoder's output for the window, shape (1500, state).
        parts: The parts.
        silence: That for silence, as `encode_silence` gives it.
    """
    if not model.model.is_multilingual:
        return [{"en": 1.0} for _ in parts]
    found = []
    for part in parts:
        first, last = find_frames(part)
        rows = np.concatenate([encoded[first:last], silence])[None]
        (languages,) = model.model.detect_language(ctranslate2.StorageView.from_array(rows))
        found.append({token[2:-2]: probability for token, probability in languages})
    return found


def encode_window(model: Any, audio: NDArray[np.float32], window: Window) -> Any:
    """Return the encoder's output for a window, filled up to 30 s as for its transcript."""
    extractor, sound = model.feature_extractor, copy_window(audio, window)
    return model.encode(extractor(sound, padding=extractor.n_samples - len(sound)))


def encode_silence(model: Any) -> NDArray[np.float32]:
    """Return the encoder's output for silence alone, shape (steps, state)."""
    extractor = model.feature_extractor
    sound = np.zeros(SILENCE_S * SAMPLE_RATE, np.float32)
    encoded = to_array(model.encode(extractor(sound, padding=0)[:, : len(sound) // extractor.hop_length]))
    return encoded.reshape(encoded.shape[1:])


def to_array(encoded: Any) -> NDArray[np.float32]:
    """Return the encoder's output in this process's memory, shape (windows, steps, state)."""
    array: NDArray[np.float32] = np.asarray(encoded.to_device(ctranslate2.Device.cpu))
    return array

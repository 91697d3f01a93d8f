"""The MLX engine: mlx-whisper on Apple Silicon, also on the CPU and CUDA builds of MLX for Linux.

Guarantees: opens no network connection (the library's own loader, which may download, is not called); prints
nothing; a window's result depends on that window alone: no text is carried over, and sampling is seeded by the
window's index. What MLX holds beyond the model is given back after every recording.

The work is the library's `transcribe`. It would run the encoder once for every temperature tried and once more
for the times of the words; `_Once` stands between, and runs it once for each stretch of audio.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_unflatten

from dropscribe.backends import Loaded
from dropscribe.backends._outcome import Raw, copied, failed, heard_enough, shaped, unusable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # numba warns of what it finds on some machines
    import mlx_whisper
    import mlx_whisper.audio
    import mlx_whisper.decoding
    import mlx_whisper.transcribe  # the package hides this module behind the function of that name
    import mlx_whisper.whisper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.transcript import Segment

_WEIGHTS = ("weights.safetensors", "model.safetensors", "weights.npz")
_CACHE = 512 << 20  # bytes of freed buffers that MLX may keep; without a limit a process grew to 17 GB

_DEVICE = mx.default_device()
"""The GPU where there is one."""


class MLX:
    """See `dropscribe.backends.Backend`. Greedy decoding, the thresholds of OpenAI's Whisper."""

    name = "mlx"

    def __init__(self) -> None:
        self._model: Any = None
        self._folder = ""
        self._half = True

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False) -> Loaded:
        """Load an MLX folder, float16 on a GPU and float32 on a CPU. See `Backend.load`."""
        del threads  # MLX has no such setting
        self.close()
        mx.set_cache_limit(_CACHE)
        mx.set_default_device(mx.Device(mx.cpu) if safe else _DEVICE)
        gpu = mx.default_device().type == mx.gpu
        self._half = gpu  # on a CPU, MLX is several times slower in float16
        try:
            self._model = _read(folder, mx.float16 if gpu else mx.float32)
        except Exception as error:  # the library raises RuntimeError, ValueError, KeyError, TypeError, OSError
            raise unusable(folder, error) from error
        self._folder = str(folder)
        return Loaded(
            device="gpu float16" if gpu else "cpu float32",
            multilingual=bool(self._model.is_multilingual),
            versions={name: version(name) for name in ("mlx", "mlx-whisper")},
        )

    def detect_language(self, audio: NDArray[np.float32]) -> tuple[str, float]:
        """See `Backend.detect_language`. An `.en` model answers English."""
        if not self._model.is_multilingual:
            return "en", 1.0
        samples = mlx_whisper.audio.N_SAMPLES
        try:
            mel = mlx_whisper.audio.log_mel_spectrogram(
                copied(audio, 0, samples), n_mels=self._model.dims.n_mels, padding=samples
            )
            mel = mlx_whisper.audio.pad_or_trim(mel, mlx_whisper.audio.N_FRAMES, axis=-2)
            _, probabilities = self._model.detect_language(mel.astype(mx.float16 if self._half else mx.float32))
        except (RuntimeError, ValueError, MemoryError) as error:
            raise failed(error) from error
        language = max(probabilities, key=probabilities.get)
        return str(language), round(float(probabilities[language]), 4)

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and `engine-failed`."""
        try:
            for window in windows[done:]:
                try:
                    segments = shaped(window, self._window(audio, window, options))
                    mx.synchronize()  # errors of Metal may surface late: here, not after the window is published
                except (RuntimeError, ValueError, MemoryError) as error:
                    raise failed(error) from error
                yield window, segments
        finally:
            mx.clear_cache()

    def close(self) -> None:
        """See `Backend.close`."""
        self._model = None
        _hold(None, None)
        mx.clear_cache()

    def _window(self, audio: NDArray[np.float32], window: Window, options: Options) -> list[Raw]:
        mx.random.seed(window.index)
        _hold(_Once(self._model), self._folder)
        with warnings.catch_warnings():
            # It warns that the times of translated words are rough.
            warnings.simplefilter("ignore")
            result = mlx_whisper.transcribe(
                copied(audio, window.start, window.end),
                path_or_hf_repo=self._folder,
                verbose=None,
                language=options.language if self._model.is_multilingual else "en",
                task=options.task,
                initial_prompt=options.prompt or None,
                word_timestamps=True,
                condition_on_previous_text=False,
                compression_ratio_threshold=2.4,
                logprob_threshold=-1.0,
                no_speech_threshold=0.6,
                fp16=self._half,
            )
        return [
            Raw(
                segment["start"],
                segment["end"],
                segment["text"],
                [(w["word"], w["start"], w["end"], w["probability"]) for w in segment["words"]],
                segment["avg_logprob"],
                segment["compression_ratio"],
                segment["no_speech_prob"],
                segment["temperature"],
            )
            for segment in result["segments"]
        ]


class _Once:
    """What `mlx_whisper.transcribe` takes for the model: the same, but it encodes each stretch of audio once."""

    def __init__(self, model: Any) -> None:
        self.dims = model.dims
        self.is_multilingual = model.is_multilingual
        self.num_languages = model.num_languages
        self.alignment_heads = model.alignment_heads
        self._model = model
        self._mel: Any = None
        self._features: Any = None
        self._stretches = 0

    def decode(self, mel: mx.array, options: Any) -> Any:
        """Decode one stretch, shape (3000, mels), filled up with zeros. Higher temperatures bring the same array."""
        if mel is not self._mel:
            # What lies beyond the window is filled with zeros, which no sound gives in every mel band.
            rest = int(mx.any(mel != 0, axis=-1).sum()) / mlx_whisper.audio.FRAMES_PER_SECOND
            if heard_enough(self._stretches, rest):
                return _silence(options)
            self._stretches += 1
            self._mel = mel
            self._features = self._model.encoder(mel[None])
            mx.eval(self._features)
        return mlx_whisper.decoding.decode(self._model, self._features[0], options)

    def forward_with_cross_qk(self, _mel: mx.array, tokens: mx.array) -> tuple[mx.array, list[mx.array]]:
        """Return the decoder's logits and attention for the stretch decoded last."""
        logits, _, cross_qk = self._model.decoder(tokens, self._features)
        return logits, cross_qk


def _silence(options: Any) -> Any:
    """The result that makes `mlx_whisper.transcribe` step over a stretch without a trace."""
    return mlx_whisper.decoding.DecodingResult(
        audio_features=None,
        language=options.language,
        tokens=[],
        text="",
        avg_logprob=-np.inf,
        no_speech_prob=1.0,
        temperature=0.0,
        compression_ratio=0.0,
    )


def _hold(model: Any, folder: str | None) -> None:
    """Put the model where `mlx_whisper.transcribe` looks for it before it would load one."""
    holder = sys.modules["mlx_whisper.transcribe"].ModelHolder
    holder.model, holder.model_path = model, folder


def _read(folder: Path, dtype: mx.Dtype) -> Any:
    """Build the model from `config.json` and whichever weights file is there; the library reads two of the three."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = {field.name for field in dataclasses.fields(mlx_whisper.whisper.ModelDimensions)}
    dims = mlx_whisper.whisper.ModelDimensions(**{k: v for k, v in config.items() if k in names})
    file = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        msg = f"none of {', '.join(_WEIGHTS)} found"
        raise FileNotFoundError(msg)
    weights: Any = mx.load(str(file))
    model = mlx_whisper.whisper.Whisper(dims, dtype)
    quantization = config.get("quantization")
    if quantization is not None:
        nn.quantize(
            model,
            **quantization,
            class_predicate=lambda path, module: (
                isinstance(module, (nn.Linear, nn.Embedding)) and f"{path}.scales" in weights
            ),
        )
    weights = {
        name: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array
        for name, array in weights.items()
    }
    model.update(tree_unflatten(list(weights.items())))
    mx.eval(model.parameters())
    return model

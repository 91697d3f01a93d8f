"""The faster-whisper engine: CTranslate2 on a CUDA GPU where one works, else on the CPU in 8-bit integers.

Guarantees: opens no network connection (every file must be in the folder); a window's result depends on that
window alone: no text is carried over, and sampling is seeded by the window's index.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import ctranslate2
import faster_whisper
import numpy as np
import structlog

from dropscribe.backends import SAMPLE_RATE, Loaded
from dropscribe.backends._outcome import Raw, copied, failed, heard_enough, shaped, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.transcript import Segment

_log = structlog.get_logger()

_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without a tokenizer the library would download one


class _HeardEnough(Exception):  # noqa: N818  # no error: it ends the library's loop
    pass


class FasterWhisper:
    """See `dropscribe.backends.Backend`. Beam search with five beams, the thresholds of OpenAI's Whisper."""

    name = "faster-whisper"

    def __init__(self) -> None:
        self._model: Any = None
        self._encode: Any = None

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False) -> Loaded:
        """Load a CTranslate2 folder. See `Backend.load`."""
        self.close()
        missing = [name for name in _NEEDED if not (folder / name).is_file()]
        if missing:
            raise unusable(folder, f"{', '.join(missing)} not found")
        try:
            model, device = (None if safe else _on_gpu(folder)) or _on_cpu(folder, threads)
        except Exception as error:  # tokenizers raises plain Exception
            raise unusable(folder, error) from error
        self._model = model
        self._encode = model.encode
        return Loaded(
            device=device,
            multilingual=bool(model.model.is_multilingual),
            versions={name: version(name) for name in ("faster-whisper", "ctranslate2")},
        )

    def detect_language(self, audio: NDArray[np.float32]) -> tuple[str, float]:
        """See `Backend.detect_language`. An `.en` model answers English."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        try:
            language, probability, _ = self._model.detect_language(audio=copied(audio, 0, 30 * SAMPLE_RATE))
        except (RuntimeError, MemoryError) as error:
            raise failed(error) from error
        return str(language), round(float(probability), 4)

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and `engine-failed`."""
        for window in windows[done:]:
            try:
                yield window, shaped(window, self._window(audio, window, options))
            except (RuntimeError, ValueError, MemoryError) as error:
                raise failed(error) from error

    def close(self) -> None:
        """See `Backend.close`."""
        self._model = self._encode = None

    def _window(self, audio: NDArray[np.float32], window: Window, options: Options) -> list[Raw]:
        ctranslate2.set_random_seed(window.index)
        found: list[Raw] = []
        decodings = 0

        def encode(features: NDArray[np.float32]) -> Any:
            # The library calls this once for each stretch that it is going to decode: the place to stop it.
            # What lies beyond the window is filled with zeros, which no sound gives in every mel band.
            nonlocal decodings
            if heard_enough(decodings, np.count_nonzero(features.any(axis=0)) / self._model.frames_per_second):
                raise _HeardEnough
            decodings += 1
            return self._encode(features)

        self._model.encode = encode
        try:
            segments, _ = self._model.transcribe(
                copied(audio, window.start, window.end),
                language=options.language,
                task=options.task,
                initial_prompt=options.prompt or None,
                beam_size=5,
                word_timestamps=True,
                condition_on_previous_text=False,
                compression_ratio_threshold=2.4,
                log_prob_threshold=-1.0,
                no_speech_threshold=0.6,
                vad_filter=False,
            )
            for segment in segments:  # lazy: this is where the work is done
                words = [(w.word, w.start, w.end, w.probability) for w in segment.words or ()]
                found.append(
                    Raw(
                        segment.start,
                        segment.end,
                        segment.text,
                        words,
                        segment.avg_logprob,
                        segment.compression_ratio,
                        segment.no_speech_prob,
                        segment.temperature,
                    )
                )
        except _HeardEnough:
            pass
        finally:
            self._model.encode = self._encode
        return found


def _on_gpu(folder: Path) -> tuple[Any, str] | None:
    """Load on CUDA and run the encoder once: that a GPU is listed does not mean that its libraries are there."""
    try:
        if not ctranslate2.get_cuda_device_count():
            return None
        kinds = ctranslate2.get_supported_compute_types("cuda")
        kind = next(k for k in ("float16", "int8_float32", "float32") if k in kinds)
        model = faster_whisper.WhisperModel(str(folder), device="cuda", compute_type=kind)
        mels = model.feature_extractor.mel_filters.shape[0]
        model.encode(np.zeros((mels, model.feature_extractor.nb_max_frames), dtype=np.float32))
    except (RuntimeError, ValueError, StopIteration) as error:
        _log.warning("gpu.unusable", reason=str(error), instead="cpu")
        return None
    return model, f"gpu {kind}"


def _on_cpu(folder: Path, threads: int) -> tuple[Any, str]:
    kinds = ctranslate2.get_supported_compute_types("cpu")
    kind = "int8" if "int8" in kinds else "float32"
    model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type=kind, cpu_threads=threads)
    return model, f"cpu {kind}"

"""The WhisperX engine, in an environment of its own: batched decoding, aligned words, speakers.

Guarantees: opens no network connection (weights are looked for on this machine alone, pyannote's
telemetry is turned off); a window's result depends on the windows of its batch alone, and batches
on the list of all windows. It is run under the interpreter that `dropscribe.backends.environments`
names, never with our own dependencies.

WhisperX is given our windows where it would ask its own speech detection: work resumes at them,
and every backend gets the same ones. (Cut again at pauses of 1 to 4 s they gave the same words or
worse ones.) It decodes without timestamps, so a window becomes one text. Times of words come from
an alignment model. Where there is none, or it leaves a word out, they are filled in from the words
around, and the probability of the word is None.
"""

from __future__ import annotations

import itertools
import math
import os
import weakref
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Loaded
from dropscribe.backends.ctranslate2_languages import (
    detect_part_languages,
    detect_window_language,
    encode_silence,
    encode_window,
    to_array,
)
from dropscribe.backends.engine_errors import to_engine_error, to_load_error
from dropscribe.backends.results import EngineWord, RawSegment, build_segments, copy_window
from dropscribe.backends.whisperx_models import find_versions, load_aligner, load_diarizer, to_import_error
from dropscribe.backends.whisperx_words import AlignedWord, fill_in_times, split_sentences
from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Hearing, Languages, Options, Part, Window
    from dropscribe.transcript import Segment

_log = Log()

REQUIRED_FILES = ("model.bin", "config.json", "tokenizer.json")
BATCH = 8
"""Windows decoded at once: the default of WhisperX's command line."""
WITHOUT_SPACES = frozenset({"ja", "zh"})
"""As `whisperx.alignment.LANGUAGES_WITHOUT_SPACES`."""


class WhisperX:
    """See `dropscribe.backends.Backend`. WhisperX's own defaults: beam search with five beams,
    temperature 0.
    """

    name = "whisperx"

    def __init__(self, aligner: str = "auto", diarizer: str = "") -> None:
        """Take what the settings say.

        Args:
            aligner: A wav2vec2 model on this machine, repository or folder; `auto`: the language's
                own if it is here.
            diarizer: A pyannote pipeline on this machine, repository or folder; empty: none.
        """
        self._aligner_wanted, self._diarizer_wanted = aligner, diarizer
        self._pipeline: Any = None
        self._aligners: dict[str, Any] = {}
        self._diarizer: Any = None
        self._diarized: tuple[weakref.ref[Any], Any] | None = None
        """The sound that was diarized last, which need not stay for that, and who speaks when in
        it."""
        self._device = "cpu"
        self._batch = BATCH

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load a CTranslate2 folder. See `Backend.load`.

        Raises:
            EnvironmentFaultError: Also `backend-broken` when the environment does not hold
                together, and `model-missing`, `weights-refused` or `model-unusable` for the
                aligner or the diarizer that is set.
        """
        self.close()
        missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
        if missing:
            raise to_load_error(folder, f"{', '.join(missing)} not found")
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # read at import; else it reports its use over the network
        try:
            import ctranslate2
            import whisperx.alignment
            import whisperx.asr
        except Exception as error:  # a clash of versions shows as anything
            raise to_import_error(error) from error
        self._device = "cuda" if not safe and ctranslate2.get_cuda_device_count() else "cpu"
        supported = ctranslate2.get_supported_compute_types(self._device)
        order = ("float16", "int8_float32", "float32") if self._device == "cuda" else ("int8", "float32")
        number_format = next(kind for kind in order if kind in supported)
        self._batch = 1 if safe else batch or BATCH
        try:
            self._pipeline = whisperx.asr.load_model(
                str(folder),
                self._device,
                compute_type=number_format,
                vad_model=_make_fixed_vad(),
                threads=threads,
                local_files_only=True,
            )
        except Exception as error:  # tokenizers raises plain Exception
            raise to_load_error(folder, error) from error
        if self._diarizer_wanted:
            self._diarizer = load_diarizer(self._diarizer_wanted, self._device)
        if self._aligner_wanted != "auto":
            self._find_aligner("en")  # whether it can be loaded is the same for every language
        return Loaded(
            device=f"{'gpu' if self._device == 'cuda' else 'cpu'} {number_format}",
            multilingual=bool(self._pipeline.model.model.is_multilingual),
            versions=find_versions("whisperx", "ctranslate2", "torch", "pyannote-audio"),
        )

    def detect_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], *, silence_s: float | None = None
    ) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`. WhisperX encodes by itself: nothing is kept for it."""
        for window in windows:
            yield detect_window_language(self._pipeline.model, audio, window, silence_s=silence_s)

    def hear_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], parts: Sequence[Sequence[Part]]
    ) -> Iterator[list[Languages]]:
        """See `Backend.hear_languages`. WhisperX encodes by itself: nothing is kept for it."""
        model = self._pipeline.model
        try:
            silence = encode_silence(model)
            for window, each in zip(windows, parts, strict=True):
                encoded = to_array(encode_window(model, audio, window))[0]
                yield detect_part_languages(model, encoded, each, silence)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise to_engine_error(error) from error

    def transcribe(
        self,
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        options: Options,
        *,
        done: int = 0,
        hearing: Hearing | None = None,
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and
        `engine-failed`.
        """
        del hearing  # WhisperX's encoder is out of reach
        try:
            aligner = self._find_aligner(options.language or "en") if options.task == "transcribe" else None
            turns = self._find_turns(audio) if self._diarizer and done < len(windows) else None
            # A batch is made of whole windows, and of the same ones wherever the work resumes.
            for first in range(done // self._batch * self._batch, len(windows), self._batch):
                batch = windows[first : first + self._batch]
                texts = self._decode(audio, batch, options)
                for window, (text, logprob) in list(zip(batch, texts, strict=True))[max(0, done - first) :]:
                    segments = self._build_segments(audio, window, text, logprob, options.language, aligner)
                    yield window, _assign_speakers(segments, turns) if turns is not None and segments else segments
        except (RuntimeError, ValueError, MemoryError) as error:
            raise to_engine_error(error) from error

    def close(self) -> None:
        """See `Backend.close`."""
        self._pipeline = self._diarizer = self._diarized = None
        self._aligners = {}

    def _decode(
        self, audio: NDArray[np.float32], batch: Sequence[Window], options: Options
    ) -> list[tuple[str, float]]:
        """Return for each window its text and mean log-probability."""
        sounds = [copy_window(audio, window) for window in batch]
        edges = np.cumsum([0, *map(len, sounds)])
        # WhisperX goes from seconds to samples by cutting off: half a sample more brings it to the
        # right one.
        seconds = ((edges + 0.5) / SAMPLE_RATE).tolist()
        pipeline = self._pipeline
        pipeline.vad_model.spans = [{"start": start, "end": end} for start, end in itertools.pairwise(seconds)]
        pipeline.options.initial_prompt = options.initial_prompt
        result = pipeline.transcribe(
            np.concatenate(sounds), batch_size=self._batch, language=options.language, task=options.task
        )
        return [(str(each["text"]), float(each["avg_logprob"])) for each in result["segments"]]

    def _build_segments(
        self,
        audio: NDArray[np.float32],
        window: Window,
        text: str,
        logprob: float,
        language: str | None,
        aligner: Any,
    ) -> list[Segment]:
        """Return the text of a window in sentences, with times."""
        text = " ".join(text.split())
        if not text:
            return []
        space = "" if language in WITHOUT_SPACES else " "
        words = _align_words(copy_window(audio, window), text, aligner, self._device) if aligner else []
        words = words or [AlignedWord(word) for word in (text.split() if space else text)]
        raw_segments = []
        for sentence in split_sentences(fill_in_times(words, (window.end - window.start) / SAMPLE_RATE)):
            timed = [EngineWord(space + word.word, word.start, word.end, word.score) for word in sentence]
            joined = "".join(word.text for word in timed)
            segment = RawSegment(
                start=timed[0].start,
                end=timed[-1].end,
                text=joined,
                words=timed,
                avg_logprob=logprob,
                compression_ratio=len(joined.encode()) / len(zlib.compress(joined.encode())),
                no_speech_prob=math.nan,
                temperature=0.0,
            )
            raw_segments.append(segment)
        return build_segments(window, raw_segments)

    def _find_turns(self, audio: NDArray[np.float32]) -> Any:
        """Return who speaks when in the whole sound: computed once, though parts of it are
        transcribed again.
        """
        if self._diarized is None or self._diarized[0]() is not audio:
            self._diarized = (weakref.ref(audio), self._diarizer(np.array(audio, dtype=np.float32)))
        return self._diarized[1]

    def _find_aligner(self, language: str) -> Any:
        """Return the aligner for a language, None when there is none. Raises EnvironmentFaultError
        for one set.
        """
        if language not in self._aligners:
            wanted = self._aligner_wanted
            try:
                self._aligners[language] = load_aligner(language, None if wanted == "auto" else wanted, self._device)
            except EnvironmentFaultError as error:
                if wanted != "auto":
                    raise
                self._aligners[language] = None
                _log.warning("aligner.missing", language=language, code=error.code, reason=str(error))
        return self._aligners[language]


def _make_fixed_vad() -> Any:
    """Return what replaces WhisperX's own speech detection: it finds the spans that it was
    given.
    """
    from whisperx.vads.vad import Vad

    class FixedVad(Vad):  # type: ignore[misc]
        def __init__(self) -> None:
            self.spans: list[dict[str, float]] = []

        @staticmethod
        def preprocess_audio(audio: Any) -> Any:
            return audio

        @staticmethod
        def merge_chunks(segments: Any, *_: Any, **__: Any) -> Any:
            return segments

        def __call__(self, _: Any) -> list[dict[str, float]]:
            return self.spans

    return FixedVad()


def _align_words(sound: NDArray[np.float32], text: str, aligner: Any, device: str) -> list[AlignedWord]:
    """Return the words of `text` with the times the aligner gives them; none when it cannot."""
    import whisperx.alignment

    model, metadata = aligner
    whole = [{"start": 0.0, "end": len(sound) / SAMPLE_RATE, "text": text}]
    try:
        result = whisperx.alignment.align(whole, model, metadata, sound, device)
    except (RuntimeError, ValueError, IndexError) as error:
        _log.warning("aligner.failed", reason=f"{type(error).__name__}: {error}")
        return []
    words = []
    for word in result["word_segments"]:
        times = (word.get("start"), word.get("end"), word.get("score"))  # without a score they are guessed
        timed = AlignedWord(word["word"], *map(float, times)) if None not in times else AlignedWord(word["word"])
        words.append(timed)
    return words


def _assign_speakers(segments: list[Segment], turns: Any) -> list[Segment]:
    """Return the segments with the speakers that WhisperX assigns to them."""
    from whisperx.diarize import assign_word_speakers

    plain = [
        {"start": s.start, "end": s.end, "words": [{"start": w.start, "end": w.end} for w in s.words]}
        for s in segments
    ]
    assigned = assign_word_speakers(turns, {"segments": plain})["segments"]
    found = []
    for segment, speakers in zip(segments, assigned, strict=True):
        pairs = zip(segment.words, speakers["words"], strict=True)
        words = tuple(replace(word, speaker=one.get("speaker")) for word, one in pairs)
        found.append(replace(segment, words=words, speaker=speakers.get("speaker")))
    return found

"""The WhisperX engine, in an environment of its own: batched decoding, aligned words, told-apart speakers.

Guarantees: opens no network connection (weights are looked for on this machine alone, pyannote's reports are turned
off); a window's result depends on the windows of its batch alone, and batches on the list of all windows. It is run
under the interpreter that `dropscribe.backends.environments` names, never beside our own dependencies.

WhisperX is given our windows where it would ask its own speech detection: they are what work goes on from, and every
backend hears the same. (Cut again at pauses of 1 to 4 s they gave the same words or worse ones.) It decodes without
timestamps, so a window becomes one text. Times of words come from an alignment model. Where there is none, or it
leaves a word out, they are filled in from what stands around the word, and its probability is None.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import sys
import weakref
import zlib
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends import SAMPLE_RATE, Loaded
from dropscribe.backends.results import Raw, copied, failed, languages, shaped, unusable
from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.errors import JobError
    from dropscribe.transcript import Segment

_log = Log()

_NEEDED = ("model.bin", "config.json", "tokenizer.json")
_BATCH = 8
"""Windows decoded at once: the default of WhisperX's command line."""
_WITHOUT_SPACES = frozenset({"ja", "zh"})  # whisperx.alignment.LANGUAGES_WITHOUT_SPACES
_ENDS = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*$")
_AGAIN = "`dropscribe backends install whisperx` makes its environment anew."


class WhisperX:
    """See `dropscribe.backends.Backend`. WhisperX's own defaults: beam search with five beams, temperature 0."""

    name = "whisperx"

    def __init__(self, aligner: str = "auto", diarizer: str = "") -> None:
        """Take what the settings say.

        Args:
            aligner: a wav2vec2 model on this machine, repository or folder; `auto`: the language's own if it is here.
            diarizer: a pyannote pipeline on this machine, repository or folder; empty: none.
        """
        self._aligner_wanted, self._diarizer_wanted = aligner, diarizer
        self._pipeline: Any = None
        self._aligners: dict[str, Any] = {}
        self._diarizer: Any = None
        self._known: tuple[weakref.ref[Any], Any] | None = None
        """The sound that was diarized last, which need not stay for that, and who speaks when in it."""
        self._device = "cpu"
        self._batch = _BATCH

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load a CTranslate2 folder. See `Backend.load`.

        Raises also EnvironmentFaultError `backend-broken` when the environment does not hold together, and
        `model-missing`, `weights-refused` or `model-unusable` for the aligner or the diarizer that is set.
        """
        self.close()
        missing = [name for name in _NEEDED if not (folder / name).is_file()]
        if missing:
            raise unusable(folder, f"{', '.join(missing)} not found")
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # read at import; else it reports its use over the network
        try:
            import ctranslate2
            import whisperx.alignment
            import whisperx.asr
        except Exception as error:  # a clash of versions shows as anything
            raise _clash(error) from error
        self._device = "cuda" if not safe and ctranslate2.get_cuda_device_count() else "cpu"
        kinds = ctranslate2.get_supported_compute_types(self._device)
        order = ("float16", "int8_float32", "float32") if self._device == "cuda" else ("int8", "float32")
        kind = next(k for k in order if k in kinds)
        self._batch = 1 if safe else batch or _BATCH
        try:
            self._pipeline = whisperx.asr.load_model(
                str(folder),
                self._device,
                compute_type=kind,
                vad_model=_given_stretches(),
                threads=threads,
                local_files_only=True,
            )
        except Exception as error:  # tokenizers raises plain Exception
            raise unusable(folder, error) from error
        if self._diarizer_wanted:
            self._diarizer = self._load_diarizer(self._diarizer_wanted)
        if self._aligner_wanted != "auto":
            self._load_aligner("en")  # whether it can be loaded is the same for every language
        return Loaded(
            device=f"{'gpu' if self._device == 'cuda' else 'cpu'} {kind}",
            multilingual=bool(self._pipeline.model.model.is_multilingual),
            versions=_versions("whisperx", "ctranslate2", "torch", "pyannote-audio"),
        )

    def detect_languages(self, audio: NDArray[np.float32], windows: Sequence[Window]) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`."""
        return languages(self._pipeline.model, audio, windows)

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and `engine-failed`."""
        try:
            aligner = self._load_aligner(options.language or "en") if options.task == "transcribe" else None
            turns = self._turns(audio) if self._diarizer and done < len(windows) else None
            # A batch is made of whole windows and of the same ones wherever the work goes on.
            for first in range(done // self._batch * self._batch, len(windows), self._batch):
                batch = windows[first : first + self._batch]
                texts = self._decode(audio, batch, options)
                for window, (text, logprob) in list(zip(batch, texts, strict=True))[max(0, done - first) :]:
                    yield window, self._segments(audio, window, text, logprob, options, aligner, turns)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise failed(error) from error

    def close(self) -> None:
        """See `Backend.close`."""
        self._pipeline = self._diarizer = self._known = None
        self._aligners = {}

    def _decode(
        self, audio: NDArray[np.float32], batch: Sequence[Window], options: Options
    ) -> list[tuple[str, float]]:
        """Return for each window its text and mean log-probability."""
        sounds = [copied(audio, window) for window in batch]
        edges = np.cumsum([0, *map(len, sounds)])
        # WhisperX goes from seconds to samples by cutting off: half a sample more brings it to the right one.
        seconds = ((edges + 0.5) / SAMPLE_RATE).tolist()
        pipeline = self._pipeline
        pipeline.vad_model.stretches = [{"start": start, "end": end} for start, end in itertools.pairwise(seconds)]
        pipeline.options.initial_prompt = options.initial_prompt
        made = pipeline.transcribe(
            np.concatenate(sounds), batch_size=self._batch, language=options.language, task=options.task
        )
        return [(str(found["text"]), float(found["avg_logprob"])) for found in made["segments"]]

    def _segments(
        self,
        audio: NDArray[np.float32],
        window: Window,
        text: str,
        logprob: float,
        options: Options,
        aligner: Any,
        turns: Any,
    ) -> list[Segment]:
        text = " ".join(text.split())
        if not text:
            return []
        space = "" if options.language in _WITHOUT_SPACES else " "
        words = _aligned(copied(audio, window), text, aligner, self._device) if aligner else []
        words = words or [Said(word) for word in (text.split() if space else text)]
        raws = []
        for sentence in sentences(fill_in(words, (window.end - window.start) / SAMPLE_RATE)):
            timed = [(space + word.word, word.start, word.end, word.score) for word in sentence]
            joined = "".join(word for word, *_ in timed)
            ratio = len(joined.encode()) / len(zlib.compress(joined.encode()))
            raws.append(Raw(timed[0][1], timed[-1][2], joined, timed, logprob, ratio, math.nan, 0.0))
        segments = shaped(window, raws)
        return segments if turns is None else _told_apart(segments, turns)

    def _turns(self, audio: NDArray[np.float32]) -> Any:
        """Return who speaks when in the whole sound: found out once, though parts of it are heard again and again."""
        if self._known is None or self._known[0]() is not audio:
            self._known = (weakref.ref(audio), self._diarizer(np.array(audio, dtype=np.float32)))
        return self._known[1]

    def _load_aligner(self, language: str) -> Any:
        """Return the aligner for a language, None when there is none. Raises EnvironmentFaultError for one set."""
        if language not in self._aligners:
            wanted = self._aligner_wanted
            try:
                self._aligners[language] = _aligner(language, None if wanted == "auto" else wanted, self._device)
            except EnvironmentFaultError as error:
                if wanted != "auto":
                    raise
                self._aligners[language] = None
                _log.warning("aligner.missing", language=language, code=error.code, reason=str(error))
        return self._aligners[language]

    def _load_diarizer(self, wanted: str) -> Any:
        from whisperx.diarize import DiarizationPipeline

        folder = _here(wanted, "The diarizer")
        try:
            return DiarizationPipeline(model_name=str(folder), device=self._device)
        except Exception as error:  # a library of libraries
            raise _refused(folder, error) from error


@dataclass(frozen=True, slots=True)
class Said:
    """A word of a window; its times in seconds from the start of the window, NaN where nobody told them."""

    word: str
    start: float = math.nan
    end: float = math.nan
    score: float = math.nan


def fill_in(words: Sequence[Said], length: float) -> list[Said]:
    """Return the words of a window of `length` seconds with times for those that have none.

    Between two words with times, or the edges of the window, the time is shared by letters. The score of such a word
    stays NaN: that marks it.
    """
    found: list[Said] = []
    edge = 0.0
    for known, group in itertools.groupby(words, lambda word: not math.isnan(word.start + word.end)):
        some = list(group)
        if known:
            found += some
            edge = max(edge, some[-1].end)
            continue
        rest = words[len(found) + len(some) :]
        room = max(0.0, (rest[0].start if rest else length) - edge)
        letters = [0, *itertools.accumulate(len(word.word) + 1 for word in some)]
        for word, low, high in zip(some, letters, letters[1:], strict=False):
            start, end = (edge + room * at / letters[-1] for at in (low, high))
            found.append(Said(word.word, start, end))
        edge += room
    return found


def sentences(words: Sequence[Said]) -> Iterator[list[Said]]:
    """Yield the words in sentences: one ends with a full stop, unless a small letter follows."""
    first = 0
    for number, word in enumerate(words, 1):
        if number == len(words) or (_ENDS.search(word.word) and not words[number].word[:1].islower()):
            yield list(words[first:number])
            first = number


def _given_stretches() -> Any:
    """Return what stands in for WhisperX's own speech detection: it finds what it was told."""
    from whisperx.vads.vad import Vad

    class Given(Vad):  # type: ignore[misc]
        def __init__(self) -> None:
            self.stretches: list[dict[str, float]] = []

        @staticmethod
        def preprocess_audio(audio: Any) -> Any:
            return audio

        @staticmethod
        def merge_chunks(segments: Any, *_: Any, **__: Any) -> Any:
            return segments

        def __call__(self, _: Any) -> list[dict[str, float]]:
            return self.stretches

    return Given()


def _aligned(sound: NDArray[np.float32], text: str, aligner: Any, device: str) -> list[Said]:
    """Return the words of `text` with the times the aligner gives them; none when it cannot."""
    import whisperx.alignment

    model, metadata = aligner
    whole = [{"start": 0.0, "end": len(sound) / SAMPLE_RATE, "text": text}]
    try:
        made = whisperx.alignment.align(whole, model, metadata, sound, device)
    except (RuntimeError, ValueError, IndexError) as error:
        _log.warning("aligner.failed", reason=f"{type(error).__name__}: {error}")
        return []
    words = []
    for word in made["word_segments"]:
        times = (word.get("start"), word.get("end"), word.get("score"))  # without a score they are guessed
        words.append(Said(word["word"], *map(float, times)) if None not in times else Said(word["word"]))
    return words


def _aligner(language: str, wanted: str | None, device: str) -> Any:
    """Return (model, metadata) of WhisperX's aligner. Raises EnvironmentFaultError when it is not to be had here."""
    import whisperx.alignment

    class Whole:
        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    # WhisperX cuts sentences with weights of nltk's that it would download; we cut them ourselves.
    whisperx.alignment.nltk_load = lambda _: Whole()
    own = whisperx.alignment.DEFAULT_ALIGN_MODELS_TORCH | whisperx.alignment.DEFAULT_ALIGN_MODELS_HF
    name = wanted or own.get(language)
    if name is None:
        why = f"WhisperX has no aligner for the language {language}."
        raise EnvironmentFaultError("model-unknown", why, "Set `backends.whisperx.aligner`.")
    import torch
    import torchaudio

    if name in torchaudio.pipelines.__all__:
        file = Path(torch.hub.get_dir(), "checkpoints", getattr(torchaudio.pipelines, name)._path)  # noqa: SLF001
        if not file.is_file():
            raise _missing("The aligner", name, f"Put {file.name} into {file.parent}.")
        place = file
    else:
        place = _here(name, "The aligner")
        name = str(place)
    try:
        return whisperx.alignment.load_align_model(language, device, model_name=name, model_cache_only=True)
    except Exception as error:  # a library of libraries
        raise _refused(place, error) from error


def _here(name: str, what: str) -> Path:
    """Return the folder of a model that is on this machine. Raises EnvironmentFaultError `model-missing`."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:  # not there, or no name of a repository
        cure = f"`hf download {name}` fetches it, with HF_TOKEN where its owner asks for one."
        raise _missing(what, name, cure) from error


def _missing(what: str, name: str, cure: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("model-missing", f"{what} {name} is not on this machine.", cure)


def _told_apart(segments: list[Segment], turns: Any) -> list[Segment]:
    """Return the segments with the speakers that WhisperX assigns to them."""
    from whisperx.diarize import assign_word_speakers

    plain = [
        {"start": s.start, "end": s.end, "words": [{"start": w.start, "end": w.end} for w in s.words]}
        for s in segments
    ]
    marked = assign_word_speakers(turns, {"segments": plain})["segments"]
    found = []
    for segment, mark in zip(segments, marked, strict=True):
        pairs = zip(segment.words, mark["words"], strict=True)
        words = tuple(replace(word, speaker=one.get("speaker")) for word, one in pairs)
        found.append(replace(segment, words=words, speaker=mark.get("speaker")))
    return found


def _chain(error: BaseException) -> str:
    """Return what was raised, and what that came from, as text."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 10:
        parts.append(f"{type(seen).__name__}: {seen}")
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def _clash(error: Exception) -> JobError:
    """Return why the environment cannot be imported, as an error for a person."""
    first = str(error).strip().partition("\n")[0]
    message = f"WhisperX's environment in {sys.prefix} does not hold together: {type(error).__name__}: {first}."
    return EnvironmentFaultError("backend-broken", message, _AGAIN)


def _refused(place: Path, error: Exception) -> JobError:
    """Return why a checkpoint of the aligner or the diarizer cannot be loaded, as an error for a person."""
    said = _chain(error)
    if "weights_only" in said or "Weights only load failed" in said:
        return EnvironmentFaultError(
            "weights-refused",
            f"PyTorch {version('torch')} refuses to read {place}: it holds more than weights (weights_only).",
            "Take one saved as safetensors or with plain weights only.",
        )
    return unusable(place, error)


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

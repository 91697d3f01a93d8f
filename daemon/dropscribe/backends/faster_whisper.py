"""The faster-whisper engine: CTranslate2 on a CUDA GPU where one works, else on the CPU in 8-bit integers.

Guarantees: opens no network connection (every file must be in the folder); what is heard in a window depends on that
window alone: no text is carried over, and sampling is seeded by the window's index. How a number in it is spelled,
`two` or `2`, depends on the texts of the other windows of its chain (`_numbers`).

Windows are encoded and decoded several at once, without timestamp tokens. On the CPU a window's text and scores are
the same to the last bit in a batch of any size. Words are aligned one window at a time: CTranslate2's `align` gives
other times in other batches, and is no faster in one.

On the CPU several batches are on their way at once, each on a few threads: a text grows token by token, which more
threads hardly make faster (`_shares`).
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from dropscribe.backends import Loaded
from dropscribe.backends.drafts import Draft, guarded, merged, raw
from dropscribe.backends.number_normalisation import CHAIN, Number, behind, has_figures, numbers
from dropscribe.backends.results import copied, failed, languages, shaped, unusable
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.transcript import Segment

_log = Log()

_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without a tokenizer the library would download one

_BEAMS = 5
_HYPOTHESES = 5  # of which the likeliest is taken, when sampling; both numbers are faster-whisper's defaults

_MANY = {"cpu": 2, "cuda": 16}
"""Windows in a batch."""

_FEW = {"cpu": 1, "cuda": 8}
"""The same for weights over `_LARGE` bytes: with large-v3 a window takes half a gigabyte while it is decoded."""

_RATHER = 0.5
"""Probability from which on a figure is likelier than everything else together."""

_LARGE = 1 << 30

_MOST_THREADS = 8
_MOST_WORKERS = 4
_MOST_LARGE_WORKERS = 2  # for the memory of their batches


class FasterWhisper:
    """See `dropscribe.backends.Backend`. Beam search with five beams, the thresholds of OpenAI's Whisper."""

    name = "faster-whisper"

    def __init__(self) -> None:
        self._model: Any = None
        self._loaded_again: Any = None
        self._batch = 1
        self._workers = 1
        self._pool: ThreadPoolExecutor | None = None
        self._spellers: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load a CTranslate2 folder. See `Backend.load`."""
        self.close()
        missing = [name for name in _NEEDED if not (folder / name).is_file()]
        if missing:
            raise unusable(folder, f"{', '.join(missing)} not found")
        large = (folder / "model.bin").stat().st_size > _LARGE
        workers, intra = _shares(threads, batch, large=large)
        _heap(keep=False)  # before there are threads of the model, each of which would have one of its own
        try:
            model, device = (None if safe else _on_gpu(folder)) or _on_cpu(folder, workers, intra)
        except Exception as error:  # tokenizers raises plain Exception
            raise unusable(folder, error) from error
        self._model = model
        where = model.model.device
        self._workers = workers if where == "cpu" else 1
        self._batch = _whole(batch // self._workers) if batch else (_FEW if large else _MANY)[where]
        self._loaded_again = functools.partial(
            ctranslate2.models.Whisper,
            str(folder),
            device=where,
            compute_type=model.model.compute_type,
            inter_threads=self._workers,
            intra_threads=intra,
        )
        self._pool = ThreadPoolExecutor(self._workers, "batch")
        # Threads of their own: behind the batches that are ahead, a chain would wait until those are decoded.
        self._spellers = ThreadPoolExecutor(self._workers, "spell")
        _heap(keep=True)  # not while 8-bit weights are made from larger ones
        return Loaded(
            device=device,
            multilingual=bool(model.model.is_multilingual),
            versions={name: version(name) for name in ("faster-whisper", "ctranslate2")},
        )

    def detect_languages(self, audio: NDArray[np.float32], windows: Sequence[Window]) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`."""
        return languages(self._model, audio, windows)

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and `engine-failed`."""
        chain = CHAIN if options.normalise_numbers else 1
        edges = _edges(len(windows), self._batch, self._workers)
        whole = list(itertools.pairwise(edges))[bisect.bisect_right(edges, done // chain * chain) - 1 :]
        work = (functools.partial(_Batch, self._model, self._seed, audio, windows, part, options) for part in whole)
        ahead: collections.deque[Future[_Batch]] = collections.deque()
        try:
            # Twice as many as there are threads for them: none waits while an earlier one takes long.
            ahead.extend(self._begun(self._pool, itertools.islice(work, 2 * self._workers)))
            batches: list[_Batch] = []  # of the chain in hand
            held: collections.deque[_Batch] = collections.deque()
            for _, last in whole:
                with _faults():
                    batches.append(ahead[0].result())
                    self._running.discard(ahead.popleft())
                    ahead.extend(self._begun(self._pool, itertools.islice(work, 1)))
                held.append(batches[-1])
                complete = not last % chain or last == len(windows)
                if complete and options.normalise_numbers:
                    with _faults():
                        self._spell(batches)
                while held and (complete or not held[0].unplaced):
                    with _faults():
                        batch = held.popleft()
                        found = batch.segments(max(0, done - batch.first))
                    yield from found
                if complete:
                    batches = []
        finally:
            for future in ahead:
                future.cancel()
            wait(ahead)
            self._running.difference_update(ahead)
            if not self._running:
                _give_back()

    def _begun(self, pool: ThreadPoolExecutor | None, work: Iterable[Callable[[], Any]]) -> list[Future[Any]]:
        """Set the threads of `pool` to work."""
        assert pool is not None  # noqa: S101 (a model is loaded)
        begun = [pool.submit(each) for each in work]
        self._running.update(begun)
        return begun

    def _spell(self, batches: Sequence[_Batch]) -> None:
        """Have numbers in these batches, which are whole chains, spelled alike, and the words around them placed."""
        drafts = {batch.first + row: draft for batch in batches for row, draft in enumerate(batch.drafts)}
        work = (functools.partial(batch.spell, drafts) for batch in batches if batch.unplaced)
        begun = self._begun(self._spellers, work)
        wait(begun)
        self._running.difference_update(begun)
        for future in begun:
            future.result()

    def close(self) -> None:
        """See `Backend.close`."""
        for pool in filter(None, (self._pool, self._spellers)):
            pool.shutdown()
        self._model = self._loaded_again = self._pool = self._spellers = None
        _give_back()

    def _seed(self, seed: int) -> None:
        """Make what is sampled next depend on `seed` alone.

        CTranslate2 reads its seed once, when a thread of the model first samples (`random.cc`). So the model is
        loaded again (tiny.en: about half a second on a busy machine; larger ones not measured), once no other batch
        is at work. The old weights go first: there may be no room.
        """
        wait(self._running)
        self._model.model.unload_model()
        ctranslate2.set_random_seed(seed)
        self._model.model = self._loaded_again()


class _Batch:
    """Some windows that are encoded and decoded at once; made by a thread of its own, asked by the backend's."""

    def __init__(
        self,
        model: Any,
        seed: Callable[[int], None],
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        part: tuple[int, int],
        options: Options,
    ) -> None:
        self.first, last = part
        self._model = model
        self._seed = seed
        self._windows = windows[self.first : last]
        self._guarded = options.retry
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task=options.task, language=options.language
        )
        self._language = "en" if options.task == "translate" else options.language or ""
        self._before: list[int] = (
            self._tokenizer.encode(f" {options.initial_prompt.strip()}") if options.initial_prompt else []
        )
        self._prompt: list[int] = model.get_prompt(self._tokenizer, self._before, without_timestamps=True)
        self._suppressed = list(get_suppressed_tokens(self._tokenizer, [-1]))
        extractor = model.feature_extractor
        samples = [copied(audio, window) for window in self._windows]
        # The silence that fills a window up is heard as sound: zeros in the mel spectrogram, which no sound has, cost
        # up to two more words in a hundred.
        mels = [extractor(sound, padding=extractor.n_samples - len(sound)) for sound in samples]
        self._encoded = model.encode(np.stack(mels))
        self._frames = [-(-len(sound) // extractor.hop_length) for sound in samples]
        self._host: NDArray[np.float32] | None = None
        decoded = self._generate(self._encoded, len(samples), beam_size=_BEAMS)
        self.drafts = [self._draft(each, 0.0) for each in decoded]
        self.unplaced: dict[int, list[Number]] = {}
        """Rows whose words wait for `spell`, with the numbers in them."""
        self._placed: dict[int, list[tuple[str, float, float, float]]] = {}
        for row, draft in enumerate(self.drafts):
            if draft.doubtful and self._guarded:
                continue
            if options.normalise_numbers and (known := self._numbers(draft)):
                self.unplaced[row] = known
            else:
                self._placed[row] = self._words(row, draft)

    def spell(self, drafts: Mapping[int, Draft]) -> None:
        """Write numbers in figures where `drafts`, of whole chains by their places, make that likelier; place words.

        A word becomes a figure where that is likelier behind the texts around than everything else together, and all
        of them do if that makes the window's text likelier. (The MLX engine weighs again with those that became
        figures; here each time would cost a tenth of the window.)
        """
        telling = [place for place, draft in sorted(drafts.items()) if draft.trusted and has_figures(draft.text)]
        for row, known in self.unplaced.items():
            draft = self.drafts[row]
            # The engine adds three tokens: what begins a prompt, that there are no timestamps, and the text's end.
            room = self._model.max_length - 3 - len(self._tokenizer.sot_sequence) - len(draft.tokens)
            before = behind(self.first + row, drafts, telling, self._before, room)
            if before and draft.trusted:
                self.drafts[row] = self._in_figures(row, known, before)
            self._placed[row] = self._words(row, self.drafts[row])

    def segments(self, first: int = 0) -> list[tuple[Window, list[Segment]]]:
        """Decode again what trips a guard, and return each window from the `first` with its segments."""
        if first >= len(self._windows):
            return []
        drafts = guarded(self._decode, len(self._windows), again=self._guarded)
        rows = list(enumerate(zip(self._windows, drafts, strict=True)))[first:]
        return [(window, shaped(window, raw(draft, self._words(row, draft)))) for row, (window, draft) in rows]

    def _numbers(self, draft: Draft) -> list[Number]:
        words, pieces = self._tokenizer.split_to_word_tokens(draft.tokens)
        return numbers(words, pieces, self._language)

    def _in_figures(self, row: int, known: Sequence[Number], before: Sequence[int]) -> Draft:
        """Return the draft of a row with those of its numbers in figures that are likelier so behind `before`."""
        draft = self.drafts[row]
        start = [self._tokenizer.sot_prev, *before, *self._tokenizer.sot_sequence]

        def weighed(tokens: list[int]) -> NDArray[np.float64]:
            # The probabilities alone: two frames leave nothing to align, which would take a third of the time.
            (found,) = self._model.model.align(self._alone(row), start, [tokens], [2], median_filter_width=1)
            return np.clip(np.array(found.text_token_probs, np.float64), 1e-30, 1.0)

        left = list(known)
        while left:
            tokens, places = self._replaced(draft.tokens, left)
            sure = weighed(tokens)
            fitting = [number for number, place in zip(left, places, strict=True) if sure[place] > _RATHER]
            if len(fitting) == len(left):
                likelier = np.log(sure).sum() > np.log(weighed(draft.tokens)).sum()
                text = self._tokenizer.decode(tokens).strip()
                return dataclasses.replace(draft, tokens=tokens, text=text) if likelier else draft
            left = fitting
        return draft

    def _replaced(self, tokens: Sequence[int], known: Sequence[Number]) -> tuple[list[int], list[int]]:
        """Return the tokens with figures for the numbers, and where each figure begins."""
        new: list[int] = []
        places, edge = [], 0
        for number in known:
            new += tokens[edge : number.first]
            places.append(len(new))
            new += self._tokenizer.encode(f" {number.figure}")
            edge = number.last
        return [*new, *tokens[edge:]], places

    def _decode(self, rows: Sequence[int], temperature: float) -> list[Draft]:
        """Return what the beam search found; or sample, each of `rows` alone and from its own seed."""
        if not temperature:
            return [self.drafts[row] for row in rows]
        drafts = []
        for row in rows:
            self._seed(10 * self._windows[row].index + round(5 * temperature))
            (found,) = self._generate(
                self._alone(row),
                1,
                beam_size=1,
                num_hypotheses=_HYPOTHESES,
                sampling_topk=0,
                sampling_temperature=temperature,
            )
            drafts.append(self._draft(found, temperature))
        return drafts

    def _generate(self, encoded: Any, rows: int, **how: Any) -> Any:
        return self._model.model.generate(
            encoded,
            [self._prompt] * rows,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **how,
        )

    def _draft(self, found: Any, temperature: float) -> Draft:
        tokens = found.sequences_ids[0]
        return Draft(
            tokens=[token for token in tokens if token < self._tokenizer.eot],
            text=self._tokenizer.decode(tokens).strip(),
            # The score is the mean over the tokens without the end of the text, whose probability is in it.
            avg_logprob=found.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=found.no_speech_prob,
            temperature=temperature,
        )

    def _words(self, row: int, draft: Draft) -> list[tuple[str, float, float, float]]:
        """Return the words with their times from the decoder's attention, seconds from the start of the window."""
        if row in self._placed:
            return self._placed[row]
        if draft.silent or not draft.tokens:
            return []
        (pieces,) = self._model.find_alignment(self._tokenizer, [draft.tokens], self._alone(row), [self._frames[row]])
        return merged([(p["word"], float(p["start"]), float(p["end"]), float(p["probability"])) for p in pieces])

    def _alone(self, row: int) -> Any:
        """Return the encoder's output for one window."""
        if self._host is None:
            self._host = np.asarray(self._encoded.to_device(ctranslate2.Device.cpu))
        return ctranslate2.StorageView.from_array(self._host[row : row + 1])


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Raise what CTranslate2 raises as a fault of the engine."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        raise failed(error) from error


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


def _shares(threads: int, batch: int, *, large: bool) -> tuple[int, int]:
    """Return how many batches are decoded at once on the CPU, and on how many threads each.

    `threads` and `batch` bound all of them together; 0 is no wish. Measured (base, int8, 16 windows, beam 5): two
    batches of 2 took 0.67 of the time of one batch of 4 on 2 cores, 0.73 on 4; four of 2 took 0.48 on 8 cores.
    """
    cores = threads or min(_MOST_THREADS, _cores())
    most = min(_MOST_LARGE_WORKERS if large else _MOST_WORKERS, batch or _MOST_WORKERS)
    workers = min(most, cores, max(2, cores // 2))
    return workers, cores // workers


def _heap(*, keep: bool) -> None:
    """Have all threads share one heap, and the C library `keep` what CTranslate2 frees between two layers, or not.

    By default glibc maps such blocks, a hundred megabytes each time, anew, and the kernel clears every page of them.
    Measured (base, 12 windows, 2 cores): 14.1 s instead of 15.6, and less memory at the most. A thread's own heap
    cannot hold such blocks. The numbers are those of `malloc.h`, and `keep=False` sets glibc's defaults; other C
    libraries have no `mallopt`.
    """
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    wanted = {arena_max: 1, mmap_max: 0 if keep else 65536, trim_threshold: 1 << 30 if keep else 1 << 17}
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in wanted.items():
            mallopt(name, value)


def _give_back() -> None:
    """Return what the heap keeps to the system: with base two thirds of the process."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _edges(windows: int, batch: int, workers: int) -> list[int]:
    """Return where batches begin and end: what is left for the last round is shared out, so that none works alone."""
    rest = windows % (batch * workers)
    share, more = divmod(rest, workers)
    sizes = [batch] * ((windows - rest) // batch) + [share + 1] * more + [share] * (workers - more if share else 0)
    return [0, *itertools.accumulate(sizes)]


def _whole(batch: int) -> int:
    """Return the most windows, `batch` or fewer, that divide a chain or that chains divide."""
    return batch // CHAIN * CHAIN if batch >= CHAIN else 1 << max(batch, 1).bit_length() - 1


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_cpu(folder: Path, workers: int, threads: int) -> tuple[Any, str]:
    kinds = ctranslate2.get_supported_compute_types("cpu")
    kind = "int8" if "int8" in kinds else "float32"
    model = faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type=kind, cpu_threads=threads, num_workers=workers
    )
    return model, f"cpu {kind}"

"""The faster-whisper engine: CTranslate2 on a CUDA GPU where one works, else on the CPU in 8-bit
integers.

Guarantees: opens no network connection (every file must be in the folder); the text of a window
depends on that window alone: no text is carried over, and sampling is seeded by the window's
index. Only how a number in it is spelled, `two` or `2`, depends on the texts of the other windows
of its chain (`number_normalisation`).

Windows are encoded and decoded several at once, without timestamp tokens. On the CPU a window's
text and scores are the same to the last bit in a batch of any size. Words are aligned one window
at a time: CTranslate2's `align` gives other times in other batches, and is no faster in one.

On the CPU several batches are decoded at once, each on a few threads: a text grows token by token,
which more threads hardly make faster (`ctranslate2_device.share_threads`). A recording of one window
gets all threads (`FasterWhisper._share_threads`).
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import functools
import itertools
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import ctranslate2

from dropscribe.backends import SAMPLE_RATE, Loaded
from dropscribe.backends.ctranslate2_device import (
    has_eight_bits,
    load_on_cpu,
    load_on_gpu,
    share_for_one,
    share_threads,
)
from dropscribe.backends.ctranslate2_languages import (
    detect_part_languages,
    detect_window_language,
    encode_silence,
    encode_window,
    to_array,
)
from dropscribe.backends.encodings import KeptEncodings
from dropscribe.backends.engine_errors import to_engine_error, to_load_error
from dropscribe.backends.faster_whisper_batch import Batch
from dropscribe.backends.heap import share_heap, trim_heap
from dropscribe.backends.letter_heads import link_model
from dropscribe.backends.number_normalisation import CHAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Hearing, Languages, Options, Part, Window
    from dropscribe.transcript import Segment

REQUIRED_FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without a tokenizer the library would download one."""
BATCH = {"cpu": 2, "cuda": 16}
"""Windows in a batch."""
BATCH_FOR_LARGE = {"cpu": 1, "cuda": 8}
"""The same for large weights: with large-v3 a window takes half a gigabyte while it is decoded."""
LARGE_BYTES = 1 << 30
"""Larger weights are large."""
_ONE_WINDOW = 30 * SAMPLE_RATE


class FasterWhisper:
    """See `dropscribe.backends.Backend`. Beam search with five beams, the thresholds of OpenAI's
    Whisper.
    """

    name = "faster-whisper"

    def __init__(self, eight_bits: Callable[[], Path | None] | None = None) -> None:
        """Load nothing yet.

        `eight_bits` gives a file with the weights in 8-bit integers, those that CTranslate2 would make
        of the model at every load.
        """
        self._eight_bits = eight_bits
        self._model: Any = None
        self._load_again: Any = None
        self._shares = ((1, 1), (1, 1))  # for many windows, for one: workers and the threads of each
        self._share = self._shares[0]
        self._batch = 1
        self._workers = 1
        self._decoders: ThreadPoolExecutor | None = None
        self._normalisers: ThreadPoolExecutor | None = None
        self._scorers: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()
        self._kept = KeptEncodings()
        self._silence: NDArray[np.float32] | None = None

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load a CTranslate2 folder. See `Backend.load`."""
        self.close()
        missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
        if missing:
            raise to_load_error(folder, f"{', '.join(missing)} not found")
        large = (folder / "model.bin").stat().st_size > LARGE_BYTES
        limit, (workers, threads_each) = threads, share_threads(threads, batch, large=large)
        share_heap(keep=False)  # before the model has threads, each of which would have its own heap
        try:
            weights, found = None, None
            if not safe:
                with link_model(folder) as linked:
                    found = load_on_gpu(linked)
                if found is None and self._eight_bits is not None and has_eight_bits():
                    weights = self._eight_bits()
            if found is None:
                with link_model(folder, weights) as linked:
                    found = load_on_cpu(linked, workers, threads_each)
            model, device = found
        except Exception as error:  # tokenizers raises plain Exception
            raise to_load_error(folder, error) from error
        self._model = model
        kind = model.model.device
        self._workers = workers if kind == "cpu" else 1
        automatic = (BATCH_FOR_LARGE if large else BATCH)[kind]
        self._batch = fit_batch_to_chains(batch // self._workers) if batch else automatic
        self._share = (self._workers, threads_each)
        self._shares = (self._share, self._share if weights is None else share_for_one(limit))
        self._load_again = functools.partial(
            _load_weights, folder, weights, device=kind, compute_type=model.model.compute_type
        )
        self._decoders = ThreadPoolExecutor(self._workers, "batch")
        # Separate threads: after the batches that are queued, a chain would wait until those are
        # decoded.
        self._normalisers = ThreadPoolExecutor(self._workers, "spell")
        self._scorers = ThreadPoolExecutor(self._workers, "score")
        share_heap(keep=True)  # not while 8-bit weights are made from larger ones
        return Loaded(
            device=device,
            multilingual=bool(model.model.is_multilingual),
            versions={name: version(name) for name in ("faster-whisper", "ctranslate2")},
        )

    def detect_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], *, silence_s: float | None = None
    ) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`. Several windows at once, on as many threads as batches."""

        def detect(window: Window) -> dict[str, float]:
            keep = functools.partial(self._kept.keep, audio, window)
            return detect_window_language(self._model, audio, window, silence_s=silence_s, keep=keep)

        assert self._decoders is not None  # noqa: S101 (a model is loaded)
        self._share_threads(audio)
        return self._decoders.map(detect, windows)

    def hear_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], parts: Sequence[Sequence[Part]]
    ) -> Iterator[list[Languages]]:
        """See `Backend.hear_languages`. Several windows at once, on as many threads as batches."""
        silence = self._read_silence()

        def hear(window: Window, parts: Sequence[Part]) -> list[Languages]:
            with _convert_errors():
                encoded = self._kept.look_up(audio, window)
                if encoded is None:
                    encoded = encode_window(self._model, audio, window)
                    self._kept.keep(audio, window, encoded)
                return detect_part_languages(self._model, to_array(encoded)[0], parts, silence)

        assert self._decoders is not None  # noqa: S101 (a model is loaded)
        return self._decoders.map(hear, windows, parts)

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
        self._share_threads(audio)
        chain = CHAIN if options.normalise_numbers else 1
        edges = divide_into_batches(len(windows), self._batch, self._workers)
        parts = list(itertools.pairwise(edges))[bisect.bisect_right(edges, done // chain * chain) - 1 :]
        assert self._scorers is not None  # noqa: S101 (a model is loaded)
        new = functools.partial(Batch, self._model, self._seed, self._kept, self._scorers, audio, windows)
        hear = None if hearing is None else functools.partial(self._hear_batch, hearing, self._read_silence())
        work = (functools.partial(new, part, options, hear=hear) for part in parts)
        queued: collections.deque[Future[Batch]] = collections.deque()
        try:
            # Twice as many as there are threads for them: none waits while an earlier one takes
            # long.
            queued.extend(self._submit(self._decoders, itertools.islice(work, 2 * self._workers)))
            current_chain: list[Batch] = []
            unfinished: collections.deque[Batch] = collections.deque()
            for _, last in parts:
                with _convert_errors():
                    current_chain.append(queued[0].result())
                    self._running.discard(queued.popleft())
                    queued.extend(self._submit(self._decoders, itertools.islice(work, 1)))
                unfinished.append(current_chain[-1])
                is_complete = not last % chain or last == len(windows)
                if is_complete and options.normalise_numbers:
                    with _convert_errors():
                        self._normalise_numbers(current_chain)
                while unfinished and (is_complete or not unfinished[0].pending):
                    with _convert_errors():
                        batch = unfinished.popleft()
                        finished = batch.finish(max(0, done - batch.first))
                    yield from finished
                if is_complete:
                    current_chain = []
        finally:
            for future in queued:
                future.cancel()
            wait(queued)
            self._running.difference_update(queued)
            if not self._running:
                trim_heap()

    def close(self) -> None:
        """See `Backend.close`."""
        for pool in filter(None, (self._decoders, self._normalisers, self._scorers)):
            pool.shutdown()
        self._model = self._load_again = self._decoders = self._normalisers = self._scorers = None
        self._kept, self._silence = KeptEncodings(), None
        trim_heap()

    def _read_silence(self) -> NDArray[np.float32]:
        """Return what the encoder gives for silence."""
        if self._silence is None:
            with _convert_errors():
                self._silence = encode_silence(self._model)
        return self._silence

    def _hear_batch(
        self, hearing: Hearing, silence: NDArray[np.float32], first: int, encoded: NDArray[np.float32]
    ) -> None:
        """Hear the languages of the windows from place `first` on, encoded in one batch."""
        for place, rows in enumerate(encoded, first):
            hearing.heard[place] = detect_part_languages(self._model, rows, hearing.parts[place], silence)

    def _submit(self, pool: ThreadPoolExecutor | None, work: Iterable[Callable[[], Any]]) -> list[Future[Any]]:
        """Set the threads of `pool` to work."""
        assert pool is not None  # noqa: S101 (a model is loaded)
        futures = [pool.submit(each) for each in work]
        self._running.update(futures)
        return futures

    def _normalise_numbers(self, batches: Sequence[Batch]) -> None:
        """Normalise the numbers in these batches, which are whole chains, and time the words
        around them.
        """
        drafts = {batch.first + row: draft for batch in batches for row, draft in enumerate(batch.drafts)}
        work = (functools.partial(batch.normalise_numbers, drafts) for batch in batches if batch.pending)
        futures = self._submit(self._normalisers, work)
        wait(futures)
        self._running.difference_update(futures)
        for future in futures:
            future.result()

    def _seed(self, seed: int) -> None:
        """Make what is sampled next depend on `seed` alone.

        CTranslate2 reads its seed once, when a thread of the model first samples (`random.cc`). So
        the model is loaded again (tiny.en: about half a second on a busy machine; larger ones not
        measured), once no other batch is at work. The old weights go first: there may be no room.
        """
        wait(self._running)
        self._model.model.unload_model()
        ctranslate2.set_random_seed(seed)
        self._reload()

    def _share_threads(self, audio: NDArray[np.float32]) -> None:
        """Share the threads as suits a recording: all of them encode one that has no more than a window.

        CTranslate2 takes their number when a model is loaded. From kept 8-bit weights that is done in a
        tenth of the time of a window; without these, and while another recording is at work, all
        stays as it is.
        """
        share = self._shares[len(audio) <= _ONE_WINDOW]
        if share != self._share and not self._running:
            self._share = share
            self._model.model.unload_model()
            self._reload()

    def _reload(self) -> None:
        workers, threads = self._share
        self._model.model = self._load_again(inter_threads=workers, intra_threads=threads)


def _load_weights(folder: Path, weights: Path | None, **how: Any) -> Any:
    with link_model(folder, weights) as linked:
        return ctranslate2.models.Whisper(str(linked), **how)


def divide_into_batches(windows: int, batch: int, workers: int) -> list[int]:
    """Return where batches begin and end. The last round is shared out, so that no worker is alone
    at the end.
    """
    rest = windows % (batch * workers)
    share, more = divmod(rest, workers)
    sizes = [batch] * ((windows - rest) // batch) + [share + 1] * more + [share] * (workers - more if share else 0)
    return [0, *itertools.accumulate(sizes)]


def fit_batch_to_chains(batch: int) -> int:
    """Return the most windows, `batch` or fewer, that divide a chain or that chains divide."""
    return batch // CHAIN * CHAIN if batch >= CHAIN else 1 << max(batch, 1).bit_length() - 1


@contextlib.contextmanager
def _convert_errors() -> Iterator[None]:
    """Raise what CTranslate2 raises as an error for a person."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        raise to_engine_error(error) from error

"""The MLX engine: mlx-whisper's model and tokenizer on Apple Silicon, also on MLX's CPU and CUDA
builds for Linux.

Guarantees: opens no network connection (the library's own loader, which may download, is not
called); prints nothing; sampling is seeded by the window's index. What MLX holds beyond the model
is given back after every recording.

Windows are decoded in batches, with a beam search, without timestamp tokens (`mlx_decoder`). The
windows of a batch that fail a check are decoded again at rising temperatures, from the sound that
is already encoded. No window is decoded with the text of another as its prompt. But the spelling
of numbers would change from one to the next: where the model, after texts around that have
figures, would rather write a figure than the word it wrote, the figure is taken (`mlx_figures`).
"""

from __future__ import annotations

import functools
import itertools
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from dropscribe.backends import SAMPLE_RATE, Loaded
from dropscribe.backends.drafts import Draft, decode_with_retries, merge_pieces, to_raw_segments
from dropscribe.backends.encodings import SILENCE_S, KeptEncodings, count_encoded_samples, find_frames
from dropscribe.backends.engine_errors import to_engine_error, to_load_error
from dropscribe.backends.letters import spell_text
from dropscribe.backends.mlx_aligner import Aligner
from dropscribe.backends.mlx_decoder import Decoder
from dropscribe.backends.mlx_encoder import FRAMES, HOP, Encoder
from dropscribe.backends.mlx_figures import AT_ONCE, FigureNormaliser
from dropscribe.backends.mlx_layers import select_rows
from dropscribe.backends.mlx_search import Rules
from dropscribe.backends.mlx_weights import read_model
from dropscribe.backends.number_normalisation import CHAIN, PROMPT_TOKENS
from dropscribe.backends.results import EngineWord, build_segments, copy_window

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # numba warns of what it finds on some machines
    import mlx_whisper.audio
    import mlx_whisper.tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Hearing, Languages, Options, Part, Window
    from dropscribe.backends.mlx_decoder import TextScores
    from dropscribe.backends.mlx_layers import Memory
    from dropscribe.backends.results import RawSegment
    from dropscribe.transcript import Segment

MOST_WINDOWS = {"gpu": 32, "cpu": 16}
"""Windows decoded at once: a GPU's steps take hardly longer for more of them."""
MEMORY_SHARE = 0.25
"""Share of the device's memory for one batch."""
CACHE_BYTES = 512 << 20
"""Freed buffers that MLX may keep; without a limit a process grew to 17 GB."""
_STEP_S = 5.0
"""Seconds; MLX takes its time with each new shape, and rows of one length share a batch."""

_PARTS_AT_ONCE = 32
"""Parts of windows whose languages are heard at once; on a GPU always so many, for MLX takes its time
with each new shape."""
_PART_STEPS = 250
"""Steps of the encoder's output that each of them has: 5 s. Of a longer one the first."""

_DEVICE = mx.default_device()
"""The GPU where there is one."""


class MLX:
    """See `dropscribe.backends.Backend`. Beam search with five beams, the thresholds of OpenAI's
    Whisper.
    """

    name = "mlx"

    def __init__(self) -> None:
        """Load nothing yet."""
        self._model: Any = None
        self._encoder: Any = None
        self._decoder: Any = None
        self._aligner: Any = None
        self._batch = 1
        self._gpu = False
        self._kept = KeptEncodings()
        self._silence: Any = None

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load an MLX folder, float16 on a GPU and float32 on a CPU. See `Backend.load`."""
        del threads  # MLX has no such setting
        self.close()
        mx.set_cache_limit(CACHE_BYTES)
        mx.set_default_device(mx.Device(mx.cpu) if safe else _DEVICE)
        self._gpu = gpu = mx.default_device().type == mx.gpu
        dtype = mx.float16 if gpu else mx.float32  # on a CPU, MLX is several times slower in float16
        if gpu:
            mx.enable_compile()
        else:
            mx.disable_compile()  # it would need a C++ compiler on this machine, and take a minute
        try:
            self._model = read_model(folder, dtype)
            filters = mlx_whisper.audio.mel_filters(self._model.dims.n_mels)
        except Exception as error:  # the library raises RuntimeError, ValueError, KeyError, TypeError, OSError
            raise to_load_error(folder, error) from error
        self._encoder = Encoder(self._model, filters, dtype)
        self._decoder = Decoder(self._model, dtype)
        self._aligner = Aligner(self._model, dtype)
        self._batch = batch or choose_batch(self._decoder.estimate_row_bytes())
        return Loaded(
            device="gpu float16" if gpu else "cpu float32",
            multilingual=bool(self._model.is_multilingual),
            versions={name: version(name) for name in ("mlx", "mlx-whisper")},
        )

    def detect_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], *, silence_s: float | None = None
    ) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`."""
        if not self._model.is_multilingual:
            yield from ({"en": 1.0} for _ in windows)
            return
        tokenizer = self._make_tokenizer("en", "transcribe")
        for first in range(0, len(windows), self._batch):
            part = windows[first : first + self._batch]
            sounds = [copy_window(audio, window) for window in part]
            found: dict[int, dict[str, float]] = {}
            for frames, places in group_by_frames([len(sound) for sound in sounds], silence_s):
                try:
                    features = self._encoder.encode([sounds[place] for place in places], frames)
                    rows = self._decoder.detect_languages(features, tokenizer.sot, tokenizer.all_language_tokens)
                except (RuntimeError, ValueError, MemoryError) as error:
                    raise to_engine_error(error) from error
                for row, place in enumerate(places):
                    if frames == FRAMES:
                        self._kept.keep(audio, part[place], features[row : row + 1])
                    found[place] = dict(zip(tokenizer.all_language_codes, rows[row].tolist(), strict=True))
            yield from (found[place] for place in range(len(part)))

    def hear_languages(
        self, audio: NDArray[np.float32], windows: Sequence[Window], parts: Sequence[Sequence[Part]]
    ) -> Iterator[list[Languages]]:
        """See `Backend.hear_languages`."""
        for first in range(0, len(windows), self._batch):
            part = windows[first : first + self._batch]
            try:
                features = self._encode(
                    [copy_window(audio, window) for window in part],
                    [self._kept.look_up(audio, window) for window in part],
                )
                for row, window in enumerate(part):
                    self._kept.keep(audio, window, features[row : row + 1])
                found = self._hear_parts(features, parts[first : first + self._batch])
            except (RuntimeError, ValueError, MemoryError) as error:
                raise to_engine_error(error) from error
            yield from found

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
        step = max(self._batch // CHAIN, 1) * CHAIN if options.normalise_numbers else self._batch
        try:
            for first in range(done // step * step, len(windows), step):
                part = windows[first : first + step]
                try:
                    raw_segments = self._transcribe_chains(audio, part, options, first, hearing)
                    mx.synchronize()  # errors of Metal may surface late: here, not after the windows are published
                except (RuntimeError, ValueError, MemoryError) as error:
                    raise to_engine_error(error) from error
                for place, (window, found) in enumerate(zip(part, raw_segments, strict=True), first):
                    if place >= done:
                        yield window, build_segments(window, found)
        finally:
            mx.clear_cache()

    def close(self) -> None:
        """See `Backend.close`."""
        self._model = self._encoder = self._decoder = self._aligner = None
        self._kept, self._silence = KeptEncodings(), None
        mx.clear_cache()

    def _make_tokenizer(self, language: str | None, task: str) -> Any:
        return mlx_whisper.tokenizer.get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=language, task=task
        )

    def _encode(self, sounds: Sequence[NDArray[np.float32]], kept: Sequence[Any | None]) -> Any:
        """Return the encoder's output for all windows, made of what was `kept` where that is."""
        new = [sound for sound, old in zip(sounds, kept, strict=True) if old is None]
        encoded: Any = self._encoder.encode(new) if new else None
        if len(new) == len(sounds):
            return encoded
        made = iter(mx.split(encoded, len(new)) if new else ())
        return mx.concatenate([next(made) if old is None else old for old in kept])

    def _hear_parts(self, features: Any, parts: Sequence[Sequence[Part]]) -> list[list[Languages]]:
        """Return the languages of the parts of each window, whose encoder's output `features` is.

        All parts have one shape: what was encoded of a shorter one is repeated, which the
        decoder's attention weighs like that of a longer one.
        """
        if not self._model.is_multilingual:
            return [[{"en": 1.0} for _ in each] for each in parts]
        if self._silence is None:
            sound = np.zeros(SAMPLE_RATE, np.float32)
            self._silence = self._encoder.encode([sound], SILENCE_S * SAMPLE_RATE // HOP)[0]
        places = [(row, *find_frames(part)) for row, each in enumerate(parts) for part in each]
        tokenizer = self._make_tokenizer("en", "transcribe")
        codes = tokenizer.all_language_codes
        found: list[Languages] = []
        for begin in range(0, len(places), _PARTS_AT_ONCE):
            some = places[begin : begin + _PARTS_AT_ONCE]
            filled = [*some, *[some[-1]] * (_PARTS_AT_ONCE - len(some) if self._gpu else 0)]
            rows = mx.array([row for row, _, _ in filled])[:, None]
            steps = [low + np.arange(_PART_STEPS) % (high - low) for _, low, high in filled]
            silence = mx.broadcast_to(self._silence, (len(filled), *self._silence.shape))
            sounds = mx.concatenate([features[rows, mx.array(np.stack(steps))], silence], axis=1)
            heard = self._decoder.detect_languages(sounds, tokenizer.sot, tokenizer.all_language_tokens)
            found += [dict(zip(codes, row.tolist(), strict=True)) for row in heard[: len(some)]]
        each_found = iter(found)
        return [list(itertools.islice(each_found, len(each))) for each in parts]

    def _transcribe_chains(
        self,
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        options: Options,
        first: int,
        hearing: Hearing | None,
    ) -> list[list[RawSegment]]:
        """Return the segments of each window. The chains of `windows` are whole; batches are parts
        of them. `first` is the place of the first one.
        """
        tokenizer = self._make_tokenizer(options.language, options.task)
        start = np.array(tokenizer.sot_sequence_including_notimestamps, np.int32)
        prefix = np.concatenate([encode_prompt(tokenizer, options.initial_prompt), start])
        rules = build_rules(tokenizer, self._model.dims.n_vocab, len(prefix) - len(start))
        sounds = [copy_window(audio, window) for window in windows]
        batches = [range(low, min(low + self._batch, len(windows))) for low in range(0, len(windows), self._batch)]
        kept = [self._kept.take(audio, window) for window in windows]
        features = mx.concatenate(
            [self._encode([sounds[row] for row in batch], [kept[row] for row in batch]) for batch in batches]
        )
        if hearing is not None:
            found = self._hear_parts(features, hearing.parts[first : first + len(windows)])
            hearing.heard.update(enumerate(found, first))
        whole = self._decoder.compute_memory(features) if len(batches) == 1 else None

        def compute_memory(rows: Sequence[int]) -> Memory:
            # That of a whole chain may not fit; computed again from what is encoded it costs a
            # tenth of the encoding.
            if whole:
                return select_rows(whole, rows, len(windows))
            return self._decoder.compute_memory(features[mx.array(list(rows))])  # type: ignore[no-any-return]

        def decode(batch: range, memory: Memory, places: Sequence[int], temperature: float) -> list[Draft]:
            # On a GPU a single row takes other kernels, which round otherwise: its neighbours
            # would matter.
            rows = [*places, *places] if self._gpu and len(places) == 1 else places
            prefixes = np.tile(prefix, (len(rows), 1))
            memory = select_rows(memory, rows, len(batch))
            if temperature == 0:
                found = self._decoder.search(memory, prefixes, rules)
            else:
                seeds = [10 * windows[batch[row]].index + round(5 * temperature) for row in rows]
                found = self._decoder.sample(memory, prefixes, rules, temperature, seeds)
            return [
                Draft(
                    tokens=each.tokens,
                    text=tokenizer.decode(each.tokens),
                    avg_logprob=float(np.mean(each.logprobs)),
                    no_speech_prob=each.no_speech_prob,
                    temperature=temperature,
                    probabilities=np.exp(each.logprobs[: len(each.tokens)]).tolist(),
                )
                for each in found[: len(places)]
            ]

        drafts = []
        for batch in batches:
            decode_rows = functools.partial(decode, batch, compute_memory(batch))
            drafts += decode_with_retries(decode_rows, len(batch), retry=options.retry)
        if options.normalise_numbers:

            def score(rows: Sequence[int], prefixes: Any, texts: Any, figures: Sequence[int]) -> list[TextScores]:
                memory = compute_memory(rows)
                return self._decoder.score_texts(memory, prefixes, texts, tokenizer.eot, figures)  # type: ignore[no-any-return]

            prompt, room = prefix[: -len(start)], self._model.dims.n_text_ctx
            at_once = min(AT_ONCE, self._batch)
            drafts = FigureNormaliser(tokenizer, start, prompt, room, score, at_once).normalise(drafts)
        words: dict[int, list[EngineWord]] = {}
        for batch in batches:
            rows = [row for row in batch if drafts[row].tokens and not drafts[row].is_silent]
            if not rows:
                continue
            words |= self._time_words(tokenizer, {row: drafts[row] for row in rows}, start, compute_memory, sounds)
        return [to_raw_segments(draft, words.get(row, [])) for row, draft in enumerate(drafts)]

    def _time_words(
        self,
        tokenizer: Any,
        drafts: Mapping[int, Draft],
        start: NDArray[np.int32],
        compute_memory: Callable[[Sequence[int]], Memory],
        sounds: Sequence[NDArray[np.float32]],
    ) -> dict[int, list[EngineWord]]:
        """Return the words of these rows with their times, from one pass over the spelled texts."""
        room = self._model.dims.n_text_ctx - len(start) - 1
        pieces = {row: tokenizer.split_to_word_tokens(draft.tokens) for row, draft in drafts.items()}
        parts = [
            (row, part)
            for row in drafts
            # `tokenizer.encode` also looks for special tokens, which takes 20 times as long.
            for part in spell_text(pieces[row][0], pieces[row][1], tokenizer.encoding.encode_ordinary, room)
        ]
        rows = [row for row, _ in parts]
        times = self._aligner.time_tokens(
            compute_memory(rows),
            np.tile(start, (len(rows), 1)),
            [part.tokens for _, part in parts],
            tokenizer.eot,
            [-(-len(sounds[row]) // HOP) for row in rows],
        )
        edges: dict[int, list[tuple[float, float]]] = {row: [] for row in drafts}
        for (row, part), each in zip(parts, times, strict=True):
            edges[row] += [(float(each[begin]), float(each[end])) for begin, end in itertools.pairwise(part.edges)]
        return {
            row: build_words(pieces[row][0], pieces[row][1], drafts[row].probabilities, edges[row]) for row in drafts
        }


def group_by_frames(lengths: Sequence[int], silence_s: float | None) -> list[tuple[int, list[int]]]:
    """Return the windows, whose `lengths` in samples these are, by the frames that are encoded to
    detect their language.
    """
    groups: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        frames = count_encoded_samples(length, silence_s, step_s=_STEP_S) // HOP
        groups.setdefault(frames, []).append(place)
    return list(groups.items())


def choose_batch(row_bytes: int) -> int:
    """Return how many windows to decode at once on this device."""
    device = mx.device_info()
    names = ("max_recommended_working_set_size", "total_memory")  # Metal's, CUDA's; a CPU has neither
    memory = next((int(device[name]) for name in names if device.get(name)), 0)
    if mx.default_device().type != mx.gpu or not memory:
        return MOST_WINDOWS["cpu"]
    return max(1, min(MOST_WINDOWS["gpu"], int(MEMORY_SHARE * memory) // row_bytes))


def encode_prompt(tokenizer: Any, text: str | None) -> NDArray[np.int32]:
    """Return the tokens of a prompt, with the one that begins a prompt; none without a text."""
    if not text or not text.strip():
        return np.array([], np.int32)
    tokens = tokenizer.encode(" " + text.strip())[-PROMPT_TOKENS:]
    return np.array([tokenizer.sot_prev, *tokens], np.int32)


def build_rules(tokenizer: Any, vocabulary: int, start: int) -> Rules:
    """Return OpenAI's rules for a text without timestamps: no marks of sounds, no special tokens,
    not empty.

    `start` is where in the prefix the transcript starts.
    """
    never = {*tokenizer.non_speech_tokens, *range(tokenizer.eot + 1, vocabulary)}
    always = np.zeros(vocabulary, np.float32)
    always[sorted(never)] = -np.inf
    first = always.copy()
    first[[*tokenizer.encode(" "), tokenizer.eot]] = -np.inf
    return Rules(mx.array(always), mx.array(first), start, tokenizer.no_speech, tokenizer.eot)


def build_words(
    texts: Sequence[str],
    pieces: Sequence[Sequence[int]],
    probabilities: Sequence[float],
    times: Sequence[tuple[float, float]],
) -> list[EngineWord]:
    """Return the words that pieces make.

    Args:
        texts: The pieces as text.
        pieces: Their tokens.
        probabilities: Of all tokens.
        times: Start and end of each piece in seconds.
    """
    edges = [0, *itertools.accumulate(map(len, pieces))]
    return merge_pieces(
        [
            EngineWord(text, start, end, float(np.mean(probabilities[first:last])))
            for text, (first, last), (start, end) in zip(texts, itertools.pairwise(edges), times, strict=True)
        ]
    )

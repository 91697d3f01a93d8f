"""The MLX engine: mlx-whisper's model and tokenizer on Apple Silicon, also on MLX's CPU and CUDA builds for Linux.

Guarantees: opens no network connection (the library's own loader, which may download, is not called); prints
nothing; sampling is seeded by the window's place. What MLX holds beyond the model is given back after every
recording.

Windows are decoded in batches, with a beam search, without timestamp tokens: `_mlx_decoder` says how. The windows
of a batch that trip a guard are decoded again at rising temperatures, from the sound that is already encoded.
Nothing is decoded behind the text of another window. But how numbers are spelled would change from one to the next:
where, behind texts around it that have figures, the model would rather write a figure than the word it wrote, the
figure is taken.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

from dropscribe.backends import Loaded
from dropscribe.backends.drafts import Draft, guarded, merged, raw
from dropscribe.backends.mlx_decoder import HOP, Decoder, Rules
from dropscribe.backends.number_normalisation import CHAIN, PROMPT_TOKENS, behind
from dropscribe.backends.results import copied, failed, shaped, unusable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # numba warns of what it finds on some machines
    import mlx_whisper.audio
    import mlx_whisper.tokenizer
    import mlx_whisper.whisper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.backends.results import Raw
    from dropscribe.transcript import Segment

_WEIGHTS = ("weights.safetensors", "model.safetensors", "weights.npz")
_GROUP = 64  # weights that share a scale when quantised, as in mlx-whisper's converter
_MOST_WINDOWS = {"gpu": 32, "cpu": 16}
"""Windows at once: a GPU's steps take hardly longer for more of them."""
_MEMORY_SHARE = 0.25  # of the device's memory, for one batch
_CACHE = 512 << 20  # bytes of freed buffers that MLX may keep; without a limit a process grew to 17 GB

_ROUNDS = 8  # of spelling a chain; two or three are enough, but nothing says that it ends
_RATHER = math.log(0.5)  # a figure that is likelier than everything else together
_PASS = 16  # texts weighed at once

_DEVICE = mx.default_device()
"""The GPU where there is one."""


class MLX:
    """See `dropscribe.backends.Backend`. Beam search with five beams, the thresholds of OpenAI's Whisper."""

    name = "mlx"

    def __init__(self) -> None:
        self._model: Any = None
        self._decoder: Any = None
        self._batch = 1
        self._gpu = False

    def load(self, folder: Path, *, threads: int = 0, safe: bool = False, batch: int = 0) -> Loaded:
        """Load an MLX folder, float16 on a GPU and float32 on a CPU. See `Backend.load`."""
        del threads  # MLX has no such setting
        self.close()
        mx.set_cache_limit(_CACHE)
        mx.set_default_device(mx.Device(mx.cpu) if safe else _DEVICE)
        self._gpu = gpu = mx.default_device().type == mx.gpu
        dtype = mx.float16 if gpu else mx.float32  # on a CPU, MLX is several times slower in float16
        if gpu:
            mx.enable_compile()
        else:
            mx.disable_compile()  # it would need a C++ compiler on this machine, and take a minute
        try:
            self._model = _read(folder, dtype)
            filters = mlx_whisper.audio.mel_filters(self._model.dims.n_mels)
        except Exception as error:  # the library raises RuntimeError, ValueError, KeyError, TypeError, OSError
            raise unusable(folder, error) from error
        self._decoder = Decoder(self._model, filters, dtype)
        self._batch = batch or _fitting(self._decoder.row_bytes())
        return Loaded(
            device="gpu float16" if gpu else "cpu float32",
            multilingual=bool(self._model.is_multilingual),
            versions={name: version(name) for name in ("mlx", "mlx-whisper")},
        )

    def detect_languages(self, audio: NDArray[np.float32], windows: Sequence[Window]) -> Iterator[dict[str, float]]:
        """See `Backend.detect_languages`."""
        tokenizer = self._tokenizer("en", "transcribe")
        for first in range(0, len(windows), self._batch):
            part = windows[first : first + self._batch]
            if not self._model.is_multilingual:
                yield from ({"en": 1.0} for _ in part)
                continue
            try:
                features = self._decoder.features([copied(audio, window) for window in part])
                heard = self._decoder.languages(features, tokenizer.sot, tokenizer.all_language_tokens)
            except (RuntimeError, ValueError, MemoryError) as error:
                raise failed(error) from error
            for row in heard:
                yield dict(zip(tokenizer.all_language_codes, row.tolist(), strict=True))

    def transcribe(
        self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options, *, done: int = 0
    ) -> Iterator[tuple[Window, list[Segment]]]:
        """See `Backend.transcribe`. Raises EngineFaultError `out-of-memory` and `engine-failed`."""
        step = max(self._batch // CHAIN, 1) * CHAIN if options.normalise_numbers else self._batch
        try:
            for first in range(done // step * step, len(windows), step):
                part = windows[first : first + step]
                try:
                    raws = self._decoded(audio, part, options)
                    mx.synchronize()  # errors of Metal may surface late: here, not after the windows are published
                except (RuntimeError, ValueError, MemoryError) as error:
                    raise failed(error) from error
                for place, (window, found) in enumerate(zip(part, raws, strict=True), first):
                    if place >= done:
                        yield window, shaped(window, found)
        finally:
            mx.clear_cache()

    def close(self) -> None:
        """See `Backend.close`."""
        self._model = self._decoder = None
        mx.clear_cache()

    def _tokenizer(self, language: str | None, task: str) -> Any:
        return mlx_whisper.tokenizer.get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=language, task=task
        )

    def _decoded(self, audio: NDArray[np.float32], windows: Sequence[Window], options: Options) -> list[list[Raw]]:
        """Return what was said in each window. The chains of `windows` are whole; batches are parts of them."""
        tokenizer = self._tokenizer(options.language, options.task)
        start = np.array(tokenizer.sot_sequence_including_notimestamps, np.int32)
        prefix = np.concatenate([_prompt(tokenizer, options.initial_prompt), start])
        rules = _rules(tokenizer, self._model.dims.n_vocab, len(prefix) - len(start))
        sounds = [copied(audio, window) for window in windows]
        batches = [range(low, min(low + self._batch, len(windows))) for low in range(0, len(windows), self._batch)]
        features = mx.concatenate([self._decoder.features([sounds[row] for row in batch]) for batch in batches])
        whole = self._decoder.memory(features) if len(batches) == 1 else None

        def memory(rows: Sequence[int]) -> Any:
            # That of a whole chain may not fit; made anew from what is encoded it costs a tenth of the encoding.
            return _rows(whole, rows, len(windows)) if whole else self._decoder.memory(features[mx.array(list(rows))])

        def decode(batch: range, heard: Any, places: Sequence[int], temperature: float) -> list[Draft]:
            # On a GPU one row alone takes other kernels, which round otherwise: it would matter who is beside it.
            rows = [*places, *places] if self._gpu and len(places) == 1 else places
            prefixes = np.tile(prefix, (len(rows), 1))
            heard = _rows(heard, rows, len(batch))
            if temperature == 0:
                found = self._decoder.search(heard, prefixes, rules)
            else:
                seeds = [10 * windows[batch[row]].index + round(5 * temperature) for row in rows]
                found = self._decoder.sample(heard, prefixes, rules, temperature, seeds)
            return [
                Draft(
                    each.tokens,
                    tokenizer.decode(each.tokens),
                    float(np.mean(each.logprobs)),
                    each.no_speech_prob,
                    temperature,
                    np.exp(each.logprobs[: len(each.tokens)]).tolist(),
                )
                for each in found[: len(places)]
            ]

        drafts = []
        for batch in batches:
            one = functools.partial(decode, batch, memory(batch))
            drafts += guarded(one, len(batch), again=options.retry)
        if options.normalise_numbers:

            def weigh(rows: Sequence[int], prefixes: Any, texts: Any, figures: Sequence[int]) -> list[Any]:
                return self._decoder.weighed(memory(rows), prefixes, texts, tokenizer.eot, figures)  # type: ignore[no-any-return]

            most = min(_PASS, self._batch)
            spelling = _Figures(tokenizer, start, prefix[: -len(start)], self._model.dims.n_text_ctx, weigh, most)
            drafts = spelling.take(drafts)
        spoken = [[row for row in batch if drafts[row].tokens and not drafts[row].silent] for batch in batches]
        words: dict[int, list[tuple[str, float, float, float]]] = {}
        for rows in filter(None, spoken):
            times = self._decoder.times(
                memory(rows),
                np.tile(start, (len(rows), 1)),
                [drafts[row].tokens for row in rows],
                tokenizer.eot,
                [-(-len(sounds[row]) // HOP) for row in rows],
            )
            words |= {row: _words(tokenizer, drafts[row], each) for row, each in zip(rows, times, strict=True)}
        return [raw(draft, words.get(row, [])) for row, draft in enumerate(drafts)]


class _Figures:
    """Writes a number in figures where other texts of the recording make that the likelier spelling.

    A window alone is spelled as its own sentences suggest: `two` here, `2` there. OpenAI's `transcribe` decodes every
    window behind the text before, which costs the batch and lets loops spread. Here finished texts are only weighed
    behind those around them that have figures, and only words become figures. What a window gives depends on the
    drafts of its chain, not on how many are decoded or weighed at once.
    """

    def __init__(
        self,
        tokenizer: Any,
        start: NDArray[np.int32],
        prompt: NDArray[np.int32],
        room: int,
        weigh: Callable[[Sequence[int], Any, Any, Sequence[int]], list[Any]],
        most: int = _PASS,
    ) -> None:
        """Take what starts a transcript, the tokens of the prompt before it, how many the model can read in all.

        `weigh(rows, prefixes, texts, figures)` is `Decoder.weighed` for those rows, `most` of them at once.
        """
        self._tokenizer = tokenizer
        self._start = start.tolist()
        self._prompt = prompt.tolist()[1:]
        self._room = room
        self._weigh = weigh
        self._most = most
        self._figures = _figures(tokenizer.encoding, tokenizer.eot)
        self._tell = frozenset(self._figures)

    def take(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return `drafts`, the windows of one chain after the other, with the figures."""
        found = list(drafts)
        trusted = [row for row, draft in enumerate(drafts) if draft.tokens and draft.trusted]
        known: dict[int, list[int]] = {}
        for _ in range(_ROUNDS):
            telling = [row for row in trusted if not self._tell.isdisjoint(found[row].tokens)]
            prefixes = {row: self._prefix(row, found, telling) for row in trusted}
            stale = [row for row, prefix in prefixes.items() if prefix != known.get(row, [])]
            if not stale:
                break
            known = prefixes
            for row in stale:
                found[row] = drafts[row]  # a text is spelled anew from its draft when those around it have changed
            behind = [row for row in stale if prefixes[row]]
            for first in range(0, len(behind), self._most):
                rows = behind[first : first + self._most]
                for row, draft in zip(rows, self._spelled(rows, drafts, prefixes), strict=True):
                    found[row] = draft
        return found

    def _prefix(self, row: int, found: Sequence[Draft], telling: Sequence[int]) -> list[int]:
        """Return what stands before the text of a row; nothing where none of `telling` is another of its chain."""
        room = self._room - 1 - len(self._start) - len(found[row].tokens)
        given = behind(row, found, telling, self._prompt, room)
        return [self._tokenizer.sot_prev, *given, *self._start] if given else []

    def _spelled(self, rows: Sequence[int], drafts: Sequence[Draft], prefixes: dict[int, list[int]]) -> list[Draft]:
        """Return the drafts of `rows` with what becomes a figure behind their prefixes, all of it or nothing."""
        texts = {row: list(drafts[row].tokens) for row in rows}
        weights = self._weights(rows, prefixes, texts)
        first = {row: float(weights[row][0].sum()) for row in rows}
        live = list(rows)
        while live:  # a figure makes the next number a figure
            live = [row for row in live if self._replaced(texts[row], weights[row])]
            weights.update(self._weights(live, prefixes, texts))
        found = []
        for row in rows:
            draft, tokens, own = drafts[row], texts[row], weights[row][0]
            if tokens != draft.tokens and float(own.sum()) > first[row]:
                sure = np.exp(own[: len(tokens)]).tolist()
                draft = dataclasses.replace(
                    draft, tokens=tokens, text=self._tokenizer.decode(tokens), probabilities=sure
                )
            found.append(draft)
        return found

    def _weights(self, rows: Sequence[int], prefixes: dict[int, list[int]], texts: dict[int, list[int]]) -> Any:
        if not rows:
            return {}
        given = [prefixes[row] for row in rows], [texts[row] for row in rows]
        return dict(zip(rows, self._weigh(rows, *given, self._figures), strict=True))

    def _replaced(self, tokens: list[int], weights: Any) -> bool:
        """Put a figure in the place of each word of `tokens` that it is likelier than; return whether any was."""
        _, figures, sure = weights
        count = len(tokens)
        if not np.any((sure[:count] > _RATHER) & (figures[:count] != tokens)):
            return False  # mostly so; to tell the words apart takes longer than to weigh them
        words, pieces = self._tokenizer.split_to_word_tokens(tokens)
        edges = [0, *itertools.accumulate(map(len, pieces))]
        fitting = [
            (first, last)
            for word, (first, last) in zip(words, itertools.pairwise(edges), strict=True)
            if word.startswith(" ") and word.strip().isalpha() and sure[first] > _RATHER
        ]
        for first, last in reversed(fitting):
            tokens[first:last] = [int(figures[first])]
        return bool(fitting)


@functools.cache
def _figures(encoding: Any, end: int) -> list[int]:
    """Return the tokens before `end` that are a number in figures, with the space before."""
    texts = ((token, encoding.decode([token])) for token in range(end))
    return [token for token, text in texts if text[:1] == " " and text[1:].isascii() and text[1:].isdigit()]


def _fitting(row_bytes: int) -> int:
    """Return how many windows to decode at once on this device."""
    device = mx.device_info()
    names = ("max_recommended_working_set_size", "total_memory")  # Metal's, CUDA's; a CPU has neither
    memory = next((int(device[name]) for name in names if device.get(name)), 0)
    if mx.default_device().type != mx.gpu or not memory:
        return _MOST_WINDOWS["cpu"]
    return max(1, min(_MOST_WINDOWS["gpu"], int(_MEMORY_SHARE * memory) // row_bytes))


def _rows(memory: list[Any], rows: Sequence[int], count: int) -> list[Any]:
    if len(rows) == count:
        return memory
    chosen = mx.array(list(rows))
    return [(keys[chosen], values[chosen]) for keys, values in memory]


def _prompt(tokenizer: Any, text: str | None) -> NDArray[np.int32]:
    """Return the tokens of what comes before a transcript; none without a text."""
    if not text or not text.strip():
        return np.array([], np.int32)
    tokens = tokenizer.encode(" " + text.strip())[-PROMPT_TOKENS:]
    return np.array([tokenizer.sot_prev, *tokens], np.int32)


def _rules(tokenizer: Any, vocabulary: int, start: int) -> Rules:
    """Return OpenAI's rules for a text without timestamps: no marks of sounds, no special tokens, not empty."""
    never = {*tokenizer.non_speech_tokens, *range(tokenizer.eot + 1, vocabulary)}
    always = np.zeros(vocabulary, np.float32)
    always[sorted(never)] = -np.inf
    first = always.copy()
    first[[*tokenizer.encode(" "), tokenizer.eot]] = -np.inf
    return Rules(mx.array(always), mx.array(first), start, tokenizer.no_speech, tokenizer.eot)


def _words(tokenizer: Any, draft: Draft, times: NDArray[np.float64]) -> list[tuple[str, float, float, float]]:
    """Return (word, start, end, probability) of each word of a draft, of whose tokens `times` are the edges."""
    texts, pieces = tokenizer.split_to_word_tokens(draft.tokens)
    edges = [0, *itertools.accumulate(map(len, pieces))]
    return merged(
        [
            (text, float(times[first]), float(times[last]), float(np.mean(draft.probabilities[first:last])))
            for text, (first, last) in zip(texts, itertools.pairwise(edges), strict=True)
        ]
    )


def quantise(source: Path, target: Path, bits: int) -> None:
    """Write the model in `source` into the folder `target` with every matrix of it in 4 or 8 bits.

    As mlx-whisper's converter does: groups of 64 weights share a scale and an offset; convolutions, norms and
    positions stay in float16. Runs on the CPU. Bringing it to the disk and publishing it whole is the caller's.

    Raises: ValueError when it is quantised already; what reading a model raises.
    """
    device = mx.default_device()
    mx.set_default_device(mx.Device(mx.cpu))
    try:
        config = _config(source)
        if "quantization" in config:
            msg = "it is quantised already"
            raise ValueError(msg)
        model = _read(source, mx.float16)
        how = {"group_size": _GROUP, "bits": bits}
        nn.quantize(model, **how)
        flat: Any = tree_flatten(model.parameters())
        mx.save_safetensors(str(target / "weights.safetensors"), dict(flat), {"format": "mlx"})
    finally:
        mx.set_default_device(device)
    text = json.dumps({**config, "quantization": how}, indent=1)
    (target / "config.json").write_text(text + "\n", encoding="utf-8")


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _read(folder: Path, dtype: mx.Dtype) -> Any:
    """Build the model from `config.json` and whichever weights file is there; the library reads two of the three."""
    config = _config(folder)
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

"""Whisper on MLX for many windows at once: spectrogram, encoder, beam search, and when each token was said.

Guarantees: a row of a batch is computed from that row alone; every window is encoded once; nothing is read back from
the device while a text grows, but for one flag a step that is two steps old, so the device never waits.

It works on the modules and weights of `mlx_whisper.whisper.Whisper`, whose own `decode` reads every token back at
each step and whose `find_alignment` encodes the window again. The attention that places the words is taken from one
pass of the decoder over the finished texts, up to the last layer that has alignment heads, without the vocabulary.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FRAMES = 3000
"""Frames of 10 ms in a window of 30 s."""

HOP = 160
"""Samples of one frame."""

BEAMS = 5
"""Texts that a beam search follows at once."""

_FFT = 400  # samples
_TOKEN_SECONDS = 0.02  # one step of the encoder
_MOST_TOKENS = 224  # half of Whisper's text context: what OpenAI's `decode` allows
_LAG = 2  # steps that the flag which ends a batch is old when it is read
_WIDTH = 64  # tokens; texts that are weighed are filled up to a multiple: a device takes its time with each new shape
_WEIGHED = 256  # tokens whose scores of the whole vocabulary are looked at once
_ATTENTION_BYTES = 256 << 20  # of one copy of the text's attention that is worked on at once
_ENCODING_BYTES = 1 << 30  # of the encoder's attention in one layer, in half and in single precision


@dataclass(frozen=True, slots=True)
class Decoded:
    """One text that came of one window."""

    tokens: list[int]
    """Without special ones."""
    logprobs: list[float]
    """One a token, and that of the end if it was reached."""
    no_speech_prob: float


class Decoder:
    """One model, ready for batches."""

    def __init__(self, model: Any, filters: mx.array, dtype: mx.Dtype) -> None:
        """Take a `mlx_whisper.whisper.Whisper` and its mel filters, shape (mels, 201)."""
        self._model = model
        self._filters = filters
        self._dtype = dtype
        self._heads: dict[int, list[int]] = {}
        for layer, head in model.alignment_heads.tolist():
            self._heads.setdefault(layer, []).append(head)
        self._encode = mx.compile(self._encoder)
        self._step = mx.compile(self._one)
        self._choose = mx.compile(_chosen)

    def row_bytes(self) -> int:
        """Return about how much memory one row of a batch takes at its widest, in bytes: base 80 MB, turbo 130 MB."""
        dims, size = self._model.dims, self._dtype.size
        sound = (2 * dims.n_text_layer + 1) * dims.n_audio_ctx * dims.n_text_state * size
        # Keys and values of every beam, old and new while a step runs.
        text = 4 * BEAMS * dims.n_text_layer * dims.n_text_ctx * dims.n_text_state * size
        return int(sound + text + 8 * dims.n_vocab * 4)

    def features(self, rows: Sequence[NDArray[np.float32]]) -> mx.array:
        """Encode windows of samples, shape (samples,) each: shape (rows, 1500, state).

        A few at a time: more make the encoder no faster, but it holds the attention of all of them at once where
        MLX has no fused kernel for it. On a GPU one row alone takes other kernels, which round otherwise: it is
        encoded beside itself, or it would matter how many there are.
        """
        dims = self._model.dims
        at_once = max(1, _ENCODING_BYTES // (dims.n_audio_head * dims.n_audio_ctx**2 * 6))
        parts: list[mx.array] = []
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            alone = len(part) == 1 and mx.default_device().type == mx.gpu
            mel = self.spectrogram([*part, *part] if alone else part)
            mx.eval(parts[-1:])  # the device was at work on these until now
            parts.append(self._encode(mel)[: len(part)])
            mx.async_eval(parts[-1])  # type: ignore[no-untyped-call]
        mx.eval(parts[-1])
        return mx.concatenate(parts) if len(parts) > 1 else parts[0]

    def spectrogram(self, rows: Sequence[NDArray[np.float32]]) -> mx.array:
        """Return Whisper's log-mel spectrogram of each row, shape (rows, 3000, mels), silent beyond its samples.

        The formula is that of OpenAI's `log_mel_spectrogram` of a row filled up with zeros. (Its `transcribe` fills
        up the spectrogram with zeros instead, which is no silence: the errors grow by half.)
        """
        longest = max(len(row) for row in rows)
        width = min(FRAMES, -(-longest // HOP) + 2) * HOP  # two frames more hear the end of the sound
        samples = np.zeros((len(rows), width + _FFT), np.float32)
        for place, row in zip(samples, rows, strict=True):
            part = row[:width]
            place[_FFT // 2 : _FFT // 2 + len(part)] = part
            head = part[1 : _FFT // 2 + 1][::-1]
            place[_FFT // 2 - len(head) : _FFT // 2] = head
        frames = width // HOP
        audio = mx.array(samples)
        cut = mx.as_strided(audio, (len(rows), frames, _FFT), (width + _FFT, HOP, 1))
        power = mx.square(mx.abs(mx.fft.rfft(cut * mx.array(_hann()))))
        log = mx.log10(mx.maximum(power @ self._filters.T, 1e-10))
        floor = mx.maximum(log.max(axis=(1, 2), keepdims=True) - 8.0, -10.0)
        rest = mx.broadcast_to(floor, (len(rows), FRAMES - frames, log.shape[2]))
        return ((mx.concatenate([mx.maximum(log, floor), rest], axis=1) + 4.0) / 4.0).astype(self._dtype)

    def languages(self, features: mx.array, start: int, codes: Sequence[int]) -> NDArray[np.float32]:
        """Return the probability of each language, shape (rows, len(codes)).

        `start` is the token that begins a transcript, `codes` those of the languages.
        """
        tokens = mx.full((features.shape[0], 1), start, dtype=mx.int32)
        hidden, _ = self._pass(tokens, self.memory(features))
        logits = self._logits(hidden[:, -1:])[:, 0]
        return np.array(mx.softmax(logits[:, mx.array(list(codes))], axis=-1))

    def memory(self, features: mx.array) -> list[tuple[mx.array, mx.array]]:
        """Return what every layer of the text decoder remembers of the sound: keys and values by head."""
        heads = self._model.dims.n_text_head
        return [
            (_split(block.cross_attn.key(features), heads), _split(block.cross_attn.value(features), heads))
            for block in self._model.decoder.blocks
        ]

    def search(
        self, memory: list[tuple[mx.array, mx.array]], prefix: NDArray[np.int32], rules: Rules, beams: int = BEAMS
    ) -> list[Decoded]:
        """Decode every row with a beam search; a text ends when its end is the likeliest of all ways on.

        OpenAI's `BeamSearchDecoder` collects every end among the better ways and stops at five of them. Without
        timestamp tokens the end of each sentence offers one, and long windows were cut short: 41 % word errors
        in Spanish instead of 30 %.

        Args:
            memory: of `memory`.
            prefix: Shape (rows, tokens): what stands before the text, the same length in each row.
            rules: Which tokens may come.
            beams: Texts that are followed at once; 1 takes the likeliest token each time.
        """
        most, scores, state, silence = self._opened(memory, prefix, rules, beams)
        rows, given = prefix.shape
        flat = [array for pair in memory for array in pair]
        # All beams of a row begin alike: only the first of them counts.
        total = mx.broadcast_to(mx.where(mx.arange(beams) == 0, 0.0, -mx.inf), (rows, beams))
        done = mx.zeros((rows,), dtype=mx.bool_)
        lines = mx.broadcast_to(mx.arange(beams)[None, :, None], (rows, beams, given + most))
        token = mx.zeros((rows, beams), dtype=mx.int32)
        found, sums, flags = [], [], []
        for index in range(most):
            if index:
                scores, state = self._step(token, mx.array([given + index - 1]), rules.always, lines, state, flat)
            best, worth, token, parent, total = self._choose(scores, total, mx.array(rules.end))
            lines = mx.take_along_axis(lines, parent[:, :, None], axis=1)
            done = done | (best[:, 0] % scores.shape[2] == rules.end)
            found.append(best)
            sums.append(worth)
            flags.append(mx.all(done))
            mx.async_eval(best, worth, token, total, done, lines, flags[-1], state)  # type: ignore[no-untyped-call]
            if index >= _LAG and flags[index - _LAG].item():
                break
        ways = np.array(mx.stack(found, axis=1))
        worths = np.array(mx.stack(sums, axis=1))
        return [
            Decoded(*_best(ways[row], worths[row], rules.end, self._model.dims.n_vocab, beams), float(silent))
            for row, silent in enumerate(np.array(silence))
        ]

    def sample(
        self,
        memory: list[tuple[mx.array, mx.array]],
        prefix: NDArray[np.int32],
        rules: Rules,
        temperature: float,
        seeds: Sequence[int],
    ) -> list[Decoded]:
        """Decode every row by chance: as `search`, but equal seeds, one a row, draw equal texts."""
        most, scores, state, silence = self._opened(memory, prefix, rules, 1)
        rows, given = prefix.shape
        flat = [array for pair in memory for array in pair]
        lines = mx.zeros((rows, 1, given + most), dtype=mx.int32)
        keys = [mx.random.split(mx.random.key(seed), most) for seed in seeds]
        done = mx.zeros((rows, 1), dtype=mx.bool_)
        token = mx.zeros((rows, 1), dtype=mx.int32)
        tokens, logprobs, flags = [], [], []
        for index in range(most):
            if index:
                scores, state = self._step(token, mx.array([given + index - 1]), rules.always, lines, state, flat)
            chance = [mx.random.gumbel(scores.shape[1:], key=key[index]) for key in keys]
            token = mx.argmax(scores / temperature + mx.stack(chance), axis=-1)
            token = mx.where(done, rules.end, token)
            done = token == rules.end
            chosen = mx.take_along_axis(scores, token[:, :, None], axis=-1)[:, :, 0]
            tokens.append(token)
            logprobs.append(chosen - mx.logsumexp(scores, axis=-1))
            flags.append(mx.all(done))
            mx.async_eval(token, logprobs[-1], flags[-1], state)  # type: ignore[no-untyped-call]
            if index >= _LAG and flags[index - _LAG].item():
                break
        table = np.array(mx.concatenate(tokens, axis=1))
        weights = np.array(mx.concatenate(logprobs, axis=1))
        found = []
        for row, silent in enumerate(np.array(silence)):
            ends = np.flatnonzero(table[row] == rules.end)
            count = int(ends[0]) if len(ends) else table.shape[1]
            found.append(Decoded(table[row, :count].tolist(), weights[row, : count + 1].tolist(), float(silent)))
        return found

    def _opened(
        self, memory: list[tuple[mx.array, mx.array]], prefix: NDArray[np.int32], rules: Rules, beams: int
    ) -> tuple[int, mx.array, list[mx.array], mx.array]:
        """Read the prefixes.

        Return how many tokens may follow, the scores of the first, shape (rows, beams, vocabulary), the keys and
        values with room for the rest, shape (rows, heads, beams, length, state), and the probability of no speech.
        """
        given = prefix.shape[1]
        most = min(_MOST_TOKENS, self._model.dims.n_text_ctx - given)
        hidden, own = self._pass(mx.array(prefix), memory)
        logits = self._logits(mx.stack([hidden[:, rules.start], hidden[:, -1]], axis=1))
        silence = mx.softmax(logits[:, 0], axis=-1)[:, rules.no_speech]
        scores = mx.repeat(logits[:, 1:] + rules.first, beams, axis=1)
        state = [
            mx.pad(mx.repeat(array[:, :, None], beams, axis=2), [(0, 0), (0, 0), (0, 0), (0, most), (0, 0)])
            for pair in own
            for array in pair
        ]
        return most, scores, state, silence

    def weighed(
        self,
        memory: list[tuple[mx.array, mx.array]],
        prefixes: Sequence[Sequence[int]],
        texts: Sequence[Sequence[int]],
        end: int,
        others: Sequence[int],
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]]:
        """Return how likely finished texts are, in one pass.

        Args:
            memory: of `memory`.
            prefixes: What stands before each text; any lengths.
            texts: The tokens of each row, without special ones.
            end: The token that ends a text.
            others: Tokens to compare with.

        Returns:
            For each row, one value for each token and one for the end: the natural logarithm of its probability, and
            which of `others` is the likeliest in its place with the logarithm of its probability.
        """
        counts = [len(prefix) + len(text) for prefix, text in zip(prefixes, texts, strict=True)]
        width = min(_rounded(max(counts), _WIDTH), self._model.dims.n_text_ctx)
        table = np.full((len(texts), width), end, np.int32)
        for line, prefix, text in zip(table, prefixes, texts, strict=True):
            line[: len(prefix) + len(text)] = [*prefix, *text]
        hidden, _ = self._pass(mx.array(table), memory)
        # Only where a text stands, of all rows one after the other; the last is repeated to fill up a piece.
        places = [
            (row, place)
            for row, (prefix, count) in enumerate(zip(prefixes, counts, strict=True))
            for place in range(len(prefix) - 1, count)
        ]
        tokens = [token for text in texts for token in (*text, end)]
        more = _rounded(len(places), _WEIGHED) - len(places)
        at = np.array(places + places[-1:] * more).T
        own = np.array(tokens + tokens[-1:] * more)
        chosen = mx.array(list(others))
        parts = []
        for first in range(0, len(own), _WEIGHED):
            part = slice(first, first + _WEIGHED)
            logits = self._logits(hidden[mx.array(at[0, part]), mx.array(at[1, part])])
            sums = mx.logsumexp(logits, axis=-1)
            near = logits[:, chosen]
            best = mx.argmax(near, axis=-1)
            ours = mx.take_along_axis(logits, mx.array(own[part])[:, None], axis=-1)[:, 0]
            parts.append((ours - sums, chosen[best], near.max(axis=-1) - sums))
            mx.async_eval(*parts[-1])  # type: ignore[no-untyped-call]
        edges = np.cumsum([len(text) + 1 for text in texts])
        split = [np.split(np.array(mx.concatenate(list(column))), edges)[:-1] for column in zip(*parts, strict=True)]
        return list(zip(*split, strict=True))

    def times(
        self,
        memory: list[tuple[mx.array, mx.array]],
        prefix: NDArray[np.int32],
        texts: Sequence[Sequence[int]],
        end: int,
        frames: Sequence[int],
    ) -> list[NDArray[np.float64]]:
        """Return for each row the seconds at which its tokens begin, and at last where the last one ends.

        Args:
            memory: of `memory`.
            prefix: Shape (rows, tokens): what starts a transcript, without a prompt.
            texts: The tokens of each row, without special ones.
            end: The token that ends a text.
            frames: Frames of 10 ms that each row's sound lasts.
        """
        rows, given = prefix.shape
        width = max(len(text) for text in texts)
        table = np.full((rows, given + width + 1), end, np.int32)
        table[:, :given] = prefix
        for row, text in zip(table, texts, strict=True):
            row[given : given + len(text)] = text
        seen = [min(FRAMES, count) // 2 for count in frames]
        most = max(seen)
        heads = sum(map(len, self._heads.values()))
        at_once = max(1, _ATTENTION_BYTES // (heads * table.shape[1] * most * 4))
        found: list[NDArray[np.float64]] = []
        for first in range(0, rows, at_once):
            part = slice(first, min(rows, first + at_once))
            counts = [given + len(text) + 1 for text in texts[part]]
            weights = self._attention(
                mx.array(table[part]), [(k[part], v[part]) for k, v in memory], counts, seen[part]
            )
            # The query of a token asks for the one after it: from the last of the prefix to the last of the text.
            matrices = np.array(weights[:, given - 1 : -1])
            starts = _path(-matrices, [len(text) + 1 for text in texts[part]], seen[part])
            found += [row * _TOKEN_SECONDS for row in starts]
        return found

    def _attention(
        self, tokens: mx.array, memory: list[tuple[mx.array, mx.array]], counts: Sequence[int], seen: Sequence[int]
    ) -> mx.array:
        """Return how much each token looks at each 20 ms, mean of the alignment heads; shape (rows, tokens, frames).

        As in OpenAI's `find_alignment`: softmax over the frames, normalised over the tokens, median of seven frames.
        """
        heads = self._model.dims.n_text_head
        most = max(seen)
        audible = mx.arange(most)[None, :] < mx.array(list(seen))[:, None]
        counted = (mx.arange(tokens.shape[1])[None, :] < mx.array(list(counts))[:, None]).astype(mx.float32)
        x = self._embedded(tokens)
        total: Any = 0.0
        last = max(self._heads)
        for layer, block in enumerate(self._model.decoder.blocks[: last + 1]):
            x = x + self._itself(block, x)[0]
            keys, values = memory[layer]
            query = _split(block.cross_attn.query(block.cross_attn_ln(x)), heads)
            if layer in self._heads:
                chosen = mx.array(self._heads[layer])
                scale = query.shape[-1] ** -0.5
                near = (query[:, chosen] * scale) @ keys[:, chosen, :most].swapaxes(-1, -2)
                total = total + _sharpened(near.astype(mx.float32), audible, counted)
            if layer < last:
                x = x + block.cross_attn.out(_attended(query, keys, values))
                x = x + _mlp(block, x)
        return mx.divide(total, sum(map(len, self._heads.values())))

    def _encoder(self, mel: mx.array) -> mx.array:
        encoder, heads = self._model.encoder, self._model.dims.n_audio_head
        x = nn.gelu(encoder.conv1(mel))
        x = nn.gelu(encoder.conv2(x))
        x = x + encoder._positional_embedding  # noqa: SLF001 (it has no other name)
        for block in encoder.blocks:
            y = block.attn_ln(x)
            attn = block.attn
            x = x + attn.out(
                _attended(_split(attn.query(y), heads), _split(attn.key(y), heads), _split(attn.value(y), heads))
            )
            x = x + _mlp(block, x)
        return encoder.ln_post(x)  # type: ignore[no-any-return]

    def _embedded(self, tokens: mx.array) -> mx.array:
        return self._model.decoder.token_embedding(tokens) + self._places(mx.arange(tokens.shape[1]))  # type: ignore[no-any-return]

    def _places(self, positions: mx.array) -> mx.array:
        return self._model.decoder.positional_embedding[positions].astype(self._dtype)  # type: ignore[no-any-return]

    def _itself(self, block: Any, x: mx.array) -> tuple[mx.array, tuple[mx.array, mx.array]]:
        """Return what a block's tokens take from those before them, and the keys and values."""
        heads, attn = self._model.dims.n_text_head, block.attn
        y = block.attn_ln(x)
        keys, values = _split(attn.key(y), heads), _split(attn.value(y), heads)
        return attn.out(_attended(_split(attn.query(y), heads), keys, values, "causal")), (keys, values)

    def _pass(
        self, tokens: mx.array, memory: list[tuple[mx.array, mx.array]]
    ) -> tuple[mx.array, list[tuple[mx.array, mx.array]]]:
        """Run the decoder over whole texts; return its states, shape (rows, tokens, state), and keys and values."""
        x = self._embedded(tokens)
        own = []
        for block, (keys, values) in zip(self._model.decoder.blocks, memory, strict=True):
            y, pair = self._itself(block, x)
            own.append(pair)
            x = x + y
            query = _split(block.cross_attn.query(block.cross_attn_ln(x)), self._model.dims.n_text_head)
            x = x + block.cross_attn.out(_attended(query, keys, values))
            x = x + _mlp(block, x)
        return x, own

    def _one(
        self,
        token: mx.array,
        position: mx.array,
        mask: mx.array,
        lines: mx.array,
        state: list[mx.array],
        memory: list[mx.array],
    ) -> tuple[mx.array, list[mx.array]]:
        """One step: from the tokens at `position`, shape (rows, beams), to the scores of the next, with `mask` added.

        The beams of a row share its sound: they are queries to the same memory. Their own past is never moved when
        a beam goes on from another: `lines`, shape (rows, beams, length), tells for each place whose past it is.
        """
        heads = self._model.dims.n_text_head
        rows, beams = token.shape
        length = state[0].shape[3]
        places, each = mx.arange(length), mx.arange(beams)
        lines = mx.where(places == position, each[None, :, None], lines)
        past = (lines[:, :, None] == each[None, None, :, None]) & (places <= position)
        past = past.reshape(rows, 1, beams, beams * length)
        x = self._model.decoder.token_embedding(token) + self._places(position)
        after = []
        for layer, block in enumerate(self._model.decoder.blocks):
            attn = block.attn
            y = block.attn_ln(x)
            keys = mx.slice_update(state[2 * layer], _split(attn.key(y), heads)[:, :, :, None], position, (3,))
            values = mx.slice_update(
                state[2 * layer + 1], _split(attn.value(y), heads)[:, :, :, None], position, (3,)
            )
            after += [keys, values]
            flat = (rows, heads, beams * length, -1)
            x = x + attn.out(_attended(_split(attn.query(y), heads), keys.reshape(flat), values.reshape(flat), past))
            query = _split(block.cross_attn.query(block.cross_attn_ln(x)), heads)
            x = x + block.cross_attn.out(_attended(query, memory[2 * layer], memory[2 * layer + 1]))
            x = x + _mlp(block, x)
        return self._logits(x) + mask, after

    def _logits(self, hidden: mx.array) -> mx.array:
        decoder = self._model.decoder
        return decoder.token_embedding.as_linear(decoder.ln(hidden)).astype(mx.float32)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tokens may come; masks are added to the scores, shape (vocabulary,)."""

    always: mx.array
    first: mx.array
    """For the first token of a text."""
    start: int
    """Where in the prefix the transcript starts: there the model tells whether anybody speaks."""
    no_speech: int
    """The token that says that nobody does."""
    end: int
    """The token that ends a text."""


@functools.cache
def _hann() -> NDArray[np.float32]:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


def _rounded(count: int, step: int) -> int:
    return -(-count // step) * step


def _split(x: mx.array, heads: int) -> mx.array:
    """(rows, length, state) -> (rows, heads, length, state / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _attended(query: mx.array, keys: mx.array, values: mx.array, mask: Any = None) -> mx.array:
    """Attention of every head, joined again: (rows, length, state)."""
    scale = query.shape[-1] ** -0.5
    found = mx.fast.scaled_dot_product_attention(query, keys, values, scale=scale, mask=mask)
    return found.transpose(0, 2, 1, 3).reshape(query.shape[0], query.shape[2], -1)


def _mlp(block: Any, x: mx.array) -> mx.array:
    return block.mlp2(nn.gelu(block.mlp1(block.mlp_ln(x))))  # type: ignore[no-any-return]


def _chosen(
    scores: mx.array, total: mx.array, end: mx.array
) -> tuple[mx.array, mx.array, mx.array, mx.array, mx.array]:
    """One choice of a beam search.

    Args:
        scores: Shape (rows, beams, vocabulary).
        total: Logarithm of the probability of each beam so far, shape (rows, beams).
        end: The token that ends a text.

    Returns:
        The best 2 * beams ways on, beam * vocabulary + token, and their totals, both shape (rows, 2 * beams), best
        first; of those that do not end the best: token, beam it goes on from and total, shape (rows, beams).
    """
    rows, beams, vocabulary = scores.shape
    ways = total[:, :, None] + scores - mx.logsumexp(scores, axis=-1, keepdims=True)
    # The best are in the pieces with the best best: a sort of pieces, then of what is in them, instead of everything.
    pieces = -(-beams * vocabulary // _PIECE)
    wide = mx.pad(
        ways.reshape(rows, -1), [(0, 0), (0, pieces * _PIECE - beams * vocabulary)], constant_values=-mx.inf
    ).reshape(rows, pieces, _PIECE)
    likely = mx.argsort(-wide.max(axis=-1), axis=-1)[:, : 2 * beams]
    near = mx.take_along_axis(wide, likely[:, :, None], axis=1).reshape(rows, -1)
    order = mx.argsort(-near, axis=-1)[:, : 2 * beams]
    worth = mx.take_along_axis(near, order, axis=-1)
    best = mx.take_along_axis(likely, order // _PIECE, axis=-1) * _PIECE + order % _PIECE
    ends = best % vocabulary == end
    kept = mx.argsort(mx.where(ends, 2 * beams, 0) + mx.arange(2 * beams), axis=-1)[:, :beams]
    on = mx.take_along_axis(best, kept, axis=-1)
    return best, worth, on % vocabulary, on // vocabulary, mx.take_along_axis(worth, kept, axis=-1)


_PIECE = 256


def _best(
    ways: NDArray[np.int32], worths: NDArray[np.float32], end: int, vocabulary: int, beams: int
) -> tuple[list[int], list[float]]:
    """Return the tokens of the text, and the logarithm of the probability of each and of its end.

    `ways` and `worths` are what `_chosen` gave for one row at every step, shape (steps, 2 * beams). A text that has
    not ended is the likeliest of those that go on.
    """
    ends = ways % vocabulary == end
    last = np.flatnonzero(ends[:, 0])
    step = int(last[0]) if len(last) else len(ways)
    sums = [float(worths[step, 0])] if len(last) else []
    beam = int(ways[step, 0]) // vocabulary if len(last) else 0
    tokens = []
    for before in range(step - 1, -1, -1):
        place = np.flatnonzero(~ends[before])[:beams][beam]
        sums.append(float(worths[before, place]))
        beam, token = divmod(int(ways[before, place]), vocabulary)
        tokens.append(token)
    return tokens[::-1], np.diff(sums[::-1], prepend=0.0).tolist()


@mx.compile
def _sharpened(near: mx.array, audible: mx.array, counted: mx.array) -> mx.array:
    """(rows, heads, tokens, frames) -> (rows, tokens, frames), summed over the heads."""
    weights = mx.softmax(mx.where(audible[:, None, None], near, -mx.inf), axis=-1)
    count = counted.sum(axis=1)[:, None, None, None]
    kept = counted[:, None, :, None]
    mean = (weights * kept).sum(axis=2, keepdims=True) / count
    spread = mx.sqrt((mx.square(weights - mean) * kept).sum(axis=2, keepdims=True) / count)
    normal = mx.where(audible[:, None, None], (weights - mean) / mx.maximum(spread, 1e-10), 0.0)
    return _median(normal).sum(axis=1)


def _median(x: mx.array) -> mx.array:
    """Median of seven neighbours along the last axis, which is mirrored at its ends.

    By comparisons alone, an exchange sort of seven: they make one kernel, where sorting would need seven copies.
    """
    reach = 3
    if x.shape[-1] <= reach:
        return x
    wide = mx.concatenate([x[..., 1 : reach + 1][..., ::-1], x, x[..., -reach - 1 : -1][..., ::-1]], axis=-1)
    seven = [wide[..., k : k + x.shape[-1]] for k in range(2 * reach + 1)]
    for low, high in _EXCHANGES:
        seven[low], seven[high] = mx.minimum(seven[low], seven[high]), mx.maximum(seven[low], seven[high])
    return seven[reach]


_EXCHANGES = tuple(
    (low, low + 1) for turn in range(7) for low in range(turn % 2, 6, 2)
)  # odd-even transposition sort: seven turns sort seven values


def _path(costs: NDArray[np.float32], lengths: Sequence[int], widths: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return for each row the frame at which the cheapest way through its matrix enters each token.

    Dynamic time warping as in OpenAI's `dtw`: a step goes one token on, one frame on, or both. A token that begins
    at frame k and lasts to j costs the sum of its frames, so the least cost of ending at j is found with one
    running sum and one running minimum, for all frames and rows at once.

    Args:
        costs: Shape (rows, tokens, frames).
        lengths: Tokens of each row that count.
        widths: Frames of each row that count.
    """
    rows, tokens, frames = costs.shape
    order = sorted(range(rows), key=lambda row: -lengths[row])  # the longest first: the others drop out behind them
    least = np.empty((tokens, rows, frames))  # cost of the way up to each token when it ends at each frame
    enters = np.empty((tokens, rows, frames))
    for token in range(max(lengths)):
        live = sum(length > token for length in lengths)
        enter, ends = enters[token, :live], least[token, :live]
        if token == 0:
            enter[:] = np.inf
            enter[:, 0] = 0.0
        else:
            before = least[token - 1, :live]
            enter[:, 0] = before[:, 0]  # the token before ends in the same frame, or in the one before
            np.minimum(before[:, 1:], before[:, :-1], out=enter[:, 1:])
        total = np.cumsum(costs[order[:live], token], axis=1, dtype=np.float64)
        enter[:, 1:] -= total[:, :-1]
        np.minimum.accumulate(enter, axis=1, out=ends)
        ends += total
    found = [np.zeros(length) for length in lengths]
    for place, row in enumerate(order):
        last = widths[row] - 1
        for token in range(lengths[row] - 1, 0, -1):
            start = int(np.argmin(enters[token, place, : last + 1]))
            found[row][token] = start
            before = least[token - 1, place]
            last = start - 1 if start > 0 and before[start - 1] <= before[start] else start
    return found

"""Whisper's text decoder on MLX, for many windows at once: beam search, sampling, scores of
finished texts.

Guarantees: a row of a batch is computed from that row alone; nothing is read back from the device
while a text grows, but for one flag a step that is two steps old, so the device never waits.

It works on the modules and weights of `mlx_whisper.whisper.Whisper`, whose own `decode` reads
every token back at each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
import numpy as np

from dropscribe.backends.mlx_layers import (
    attend,
    attend_to_past,
    embed_positions,
    embed_tokens,
    feed_forward,
    query_sound,
    split_heads,
)
from dropscribe.backends.mlx_search import Decoded, choose_beams, trace_best_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.backends.mlx_layers import Memory
    from dropscribe.backends.mlx_search import Rules

BEAMS = 5
"""Texts that a beam search follows at once."""

_MOST_TOKENS = 224
"""Half of Whisper's text context: what OpenAI's `decode` allows."""
_FLAG_AGE = 2
"""Steps after which the flag that ends a batch is read."""
_WIDTH = 64
"""Tokens; texts that are scored are filled up to a multiple: a device takes its time with each new
shape."""
_SCORED_AT_ONCE = 256
"""Tokens whose scores of the whole vocabulary are in memory at once."""


class TextScores(NamedTuple):
    """How likely one finished text is. One value for each token and one for the end."""

    logprobs: NDArray[np.float32]
    """Natural logarithm of the probability."""
    alternatives: NDArray[np.int32]
    """The likeliest of the compared tokens in the same place."""
    alternative_logprobs: NDArray[np.float32]


class _Start(NamedTuple):
    """The prefixes, read by the decoder."""

    most: int
    """Tokens that may follow."""
    scores: mx.array
    """Of the first token, shape (rows, beams, vocabulary)."""
    state: list[mx.array]
    """Keys and values with room for the rest, shape (rows, heads, beams, length, state)."""
    no_speech: mx.array
    """Probability of no speech, shape (rows,)."""


class Decoder:
    """The text decoder of one model, ready for batches."""

    def __init__(self, model: Any, dtype: mx.Dtype) -> None:
        """Take a `mlx_whisper.whisper.Whisper`."""
        self._model = model
        self._dtype = dtype
        self._heads = model.dims.n_text_head
        self._step = mx.compile(self._run_step)
        self._choose = mx.compile(choose_beams)

    def estimate_row_bytes(self) -> int:
        """Return about how much memory one row of a batch takes at its widest, in bytes: base 80
        MB, turbo 130 MB.
        """
        dims, size = self._model.dims, self._dtype.size
        sound = (2 * dims.n_text_layer + 1) * dims.n_audio_ctx * dims.n_text_state * size
        # Keys and values of every beam, old and new while a step runs.
        text = 4 * BEAMS * dims.n_text_layer * dims.n_text_ctx * dims.n_text_state * size
        return int(sound + text + 8 * dims.n_vocab * 4)

    def compute_memory(self, features: mx.array) -> Memory:
        """Return what every layer keeps of the sound: keys and values by head.

        `features` are of `Encoder.encode`.
        """
        return [
            (
                split_heads(block.cross_attn.key(features), self._heads),
                split_heads(block.cross_attn.value(features), self._heads),
            )
            for block in self._model.decoder.blocks
        ]

    def detect_languages(self, features: mx.array, start: int, codes: Sequence[int]) -> NDArray[np.float32]:
        """Return the probability of each language, shape (rows, len(codes)).

        `start` is the token that begins a transcript, `codes` those of the languages.
        """
        tokens = mx.full((features.shape[0], 1), start, dtype=mx.int32)
        hidden, _ = self._read(tokens, self.compute_memory(features))
        logits = self._logits(hidden[:, -1:])[:, 0]
        return np.array(mx.softmax(logits[:, mx.array(list(codes))], axis=-1))

    def search(self, memory: Memory, prefix: NDArray[np.int32], rules: Rules, beams: int = BEAMS) -> list[Decoded]:
        """Decode every row with a beam search; a text ends when its end is the likeliest of all
        continuations.

        OpenAI's `BeamSearchDecoder` collects every end among the better continuations and stops at
        five of them. Without timestamp tokens the end of each sentence offers one, and long
        windows were cut short: 41 % word errors in Spanish instead of 30 %.

        Args:
            memory: Of `compute_memory`.
            prefix: Shape (rows, tokens): what precedes the text, the same length in each row.
            rules: Which tokens may come.
            beams: Texts that are followed at once; 1 takes the likeliest token each time.
        """
        most, scores, state, no_speech = self._start(memory, prefix, rules, beams)
        rows, given = prefix.shape
        flat = [array for pair in memory for array in pair]
        # All beams of a row begin alike: only the first of them counts.
        total = mx.broadcast_to(mx.where(mx.arange(beams) == 0, 0.0, -mx.inf), (rows, beams))
        done = mx.zeros((rows,), dtype=mx.bool_)
        lines = mx.broadcast_to(mx.arange(beams)[None, :, None], (rows, beams, given + most))
        token = mx.zeros((rows, beams), dtype=mx.int32)
        choices, totals, flags = [], [], []
        for index in range(most):
            if index:
                scores, state = self._step(token, mx.array([given + index - 1]), rules.always, lines, state, flat)
            best, worth, token, parent, total = self._choose(scores, total, mx.array(rules.end))
            lines = mx.take_along_axis(lines, parent[:, :, None], axis=1)
            done = done | (best[:, 0] % scores.shape[2] == rules.end)
            choices.append(best)
            totals.append(worth)
            flags.append(mx.all(done))
            mx.async_eval(best, worth, token, total, done, lines, flags[-1], state)  # type: ignore[no-untyped-call]
            if index >= _FLAG_AGE and flags[index - _FLAG_AGE].item():
                break
        table = np.array(mx.stack(choices, axis=1))
        worths = np.array(mx.stack(totals, axis=1))
        vocabulary = self._model.dims.n_vocab
        return [
            Decoded(*trace_best_text(table[row], worths[row], rules.end, vocabulary, beams), float(silent))
            for row, silent in enumerate(np.array(no_speech))
        ]

    def sample(
        self, memory: Memory, prefix: NDArray[np.int32], rules: Rules, temperature: float, seeds: Sequence[int]
    ) -> list[Decoded]:
        """Decode every row by chance: as `search`, but equal seeds, one a row, draw equal
        texts.
        """
        most, scores, state, no_speech = self._start(memory, prefix, rules, 1)
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
            if index >= _FLAG_AGE and flags[index - _FLAG_AGE].item():
                break
        table = np.array(mx.concatenate(tokens, axis=1))
        weights = np.array(mx.concatenate(logprobs, axis=1))
        found = []
        for row, silent in enumerate(np.array(no_speech)):
            ends = np.flatnonzero(table[row] == rules.end)
            count = int(ends[0]) if len(ends) else table.shape[1]
            found.append(Decoded(table[row, :count].tolist(), weights[row, : count + 1].tolist(), float(silent)))
        return found

    def score_texts(
        self,
        memory: Memory,
        prefixes: Sequence[Sequence[int]],
        texts: Sequence[Sequence[int]],
        end: int,
        compared: Sequence[int],
    ) -> list[TextScores]:
        """Return how likely finished texts are, in one pass.

        Args:
            memory: Of `compute_memory`.
            prefixes: What precedes each text; any lengths.
            texts: The tokens of each row, without special ones.
            end: The token that ends a text.
            compared: Tokens to compare with.
        """
        counts = [len(prefix) + len(text) for prefix, text in zip(prefixes, texts, strict=True)]
        width = min(_round_up(max(counts), _WIDTH), self._model.dims.n_text_ctx)
        table = np.full((len(texts), width), end, np.int32)
        for line, prefix, text in zip(table, prefixes, texts, strict=True):
            line[: len(prefix) + len(text)] = [*prefix, *text]
        hidden, _ = self._read(mx.array(table), memory)
        # Only the places of a text, of all rows in one list; the last is repeated to fill up a
        # piece.
        places = [
            (row, place)
            for row, (prefix, count) in enumerate(zip(prefixes, counts, strict=True))
            for place in range(len(prefix) - 1, count)
        ]
        tokens = [token for text in texts for token in (*text, end)]
        more = _round_up(len(places), _SCORED_AT_ONCE) - len(places)
        at = np.array(places + places[-1:] * more).T
        own = np.array(tokens + tokens[-1:] * more)
        chosen = mx.array(list(compared))
        parts = []
        for first in range(0, len(own), _SCORED_AT_ONCE):
            part = slice(first, first + _SCORED_AT_ONCE)
            logits = self._logits(hidden[mx.array(at[0, part]), mx.array(at[1, part])])
            sums = mx.logsumexp(logits, axis=-1)
            near = logits[:, chosen]
            best = mx.argmax(near, axis=-1)
            ours = mx.take_along_axis(logits, mx.array(own[part])[:, None], axis=-1)[:, 0]
            parts.append((ours - sums, chosen[best], near.max(axis=-1) - sums))
            mx.async_eval(*parts[-1])  # type: ignore[no-untyped-call]
        edges = np.cumsum([len(text) + 1 for text in texts])
        split = [np.split(np.array(mx.concatenate(list(column))), edges)[:-1] for column in zip(*parts, strict=True)]
        return [TextScores(*row) for row in zip(*split, strict=True)]

    def _start(self, memory: Memory, prefix: NDArray[np.int32], rules: Rules, beams: int) -> _Start:
        """Read the prefixes."""
        given = prefix.shape[1]
        most = min(_MOST_TOKENS, self._model.dims.n_text_ctx - given)
        hidden, own = self._read(mx.array(prefix), memory)
        logits = self._logits(mx.stack([hidden[:, rules.start], hidden[:, -1]], axis=1))
        no_speech = mx.softmax(logits[:, 0], axis=-1)[:, rules.no_speech]
        scores = mx.repeat(logits[:, 1:] + rules.first, beams, axis=1)
        state = [
            mx.pad(mx.repeat(array[:, :, None], beams, axis=2), [(0, 0), (0, 0), (0, 0), (0, most), (0, 0)])
            for pair in own
            for array in pair
        ]
        return _Start(most, scores, state, no_speech)

    def _read(self, tokens: mx.array, memory: Memory) -> tuple[mx.array, Memory]:
        """Run the decoder over whole texts; return its states, shape (rows, tokens, state), and
        keys and values.
        """
        x = embed_tokens(self._model, tokens, self._dtype)
        own = []
        for block, (keys, values) in zip(self._model.decoder.blocks, memory, strict=True):
            y, pair = attend_to_past(block, x, self._heads)
            own.append(pair)
            x = x + y
            x = x + block.cross_attn.out(attend(query_sound(block, x, self._heads), keys, values))
            x = x + feed_forward(block, x)
        return x, own

    def _run_step(
        self,
        token: mx.array,
        position: mx.array,
        mask: mx.array,
        lines: mx.array,
        state: list[mx.array],
        memory: list[mx.array],
    ) -> tuple[mx.array, list[mx.array]]:
        """One step: from the tokens at `position`, shape (rows, beams), to the scores of the next,
        with `mask` added.

        The beams of a row share its sound: they are queries to the same memory. Their own past is
        never moved when a beam continues another: `lines`, shape (rows, beams, length), says for
        each place whose past it is.
        """
        heads = self._heads
        rows, beams = token.shape
        length = state[0].shape[3]
        places, each = mx.arange(length), mx.arange(beams)
        lines = mx.where(places == position, each[None, :, None], lines)
        past = (lines[:, :, None] == each[None, None, :, None]) & (places <= position)
        past = past.reshape(rows, 1, beams, beams * length)
        x = self._model.decoder.token_embedding(token) + embed_positions(self._model, position, self._dtype)
        after = []
        for layer, block in enumerate(self._model.decoder.blocks):
            attention = block.attn
            y = block.attn_ln(x)
            new_keys = split_heads(attention.key(y), heads)[:, :, :, None]
            new_values = split_heads(attention.value(y), heads)[:, :, :, None]
            keys = mx.slice_update(state[2 * layer], new_keys, position, (3,))
            values = mx.slice_update(state[2 * layer + 1], new_values, position, (3,))
            after += [keys, values]
            flat = (rows, heads, beams * length, -1)
            query = split_heads(attention.query(y), heads)
            x = x + attention.out(attend(query, keys.reshape(flat), values.reshape(flat), past))
            x = x + block.cross_attn.out(
                attend(query_sound(block, x, heads), memory[2 * layer], memory[2 * layer + 1])
            )
            x = x + feed_forward(block, x)
        return self._logits(x) + mask, after

    def _logits(self, hidden: mx.array) -> mx.array:
        decoder = self._model.decoder
        return decoder.token_embedding.as_linear(decoder.ln(hidden)).astype(mx.float32)  # type: ignore[no-any-return]


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step

"""When each token was spoken: the attention of Whisper's decoder to the sound, and the cheapest
path through it.

The attention is taken from one pass of the decoder over the finished texts, up to the last layer
that has alignment heads, without the vocabulary. mlx-whisper's own `find_alignment` encodes the
window again for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from dropscribe.backends.letter_heads import choose_heads
from dropscribe.backends.letters import TOKEN_SECONDS
from dropscribe.backends.mlx_encoder import FRAMES
from dropscribe.backends.mlx_layers import attend, attend_to_past, embed_tokens, feed_forward, query_sound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.backends.mlx_layers import Memory

_ATTENTION_BYTES = 256 << 20
"""Of one copy of the text's attention that is worked on at once."""


class Aligner:
    """The alignment heads of one model."""

    def __init__(self, model: Any, dtype: mx.Dtype) -> None:
        """Take a `mlx_whisper.whisper.Whisper`."""
        self._model = model
        self._dtype = dtype
        self._heads: dict[int, list[int]] = {}
        for layer, head in choose_heads(model.alignment_heads.tolist()):
            self._heads.setdefault(layer, []).append(head)

    def time_tokens(
        self,
        memory: Memory,
        prefix: NDArray[np.int32],
        texts: Sequence[Sequence[int]],
        end: int,
        frames: Sequence[int],
    ) -> list[NDArray[np.float64]]:
        """Return for each row the seconds at which its tokens begin, and at last where the last
        one ends.

        Args:
            memory: Of `Decoder.compute_memory`.
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
        steps = [min(FRAMES, count) // 2 for count in frames]
        heads = sum(map(len, self._heads.values()))
        at_once = max(1, _ATTENTION_BYTES // (heads * table.shape[1] * max(steps) * 4))
        found: list[NDArray[np.float64]] = []
        for first in range(0, rows, at_once):
            part = slice(first, min(rows, first + at_once))
            counts = [given + len(text) + 1 for text in texts[part]]
            weights = self._measure_attention(
                mx.array(table[part]), [(k[part], v[part]) for k, v in memory], counts, steps[part]
            )
            # The query of a token asks for the one after it: from the last of the prefix to the
            # last of the text.
            matrices = np.array(weights[:, given - 1 : -1])
            starts = find_cheapest_path(-matrices, [len(text) + 1 for text in texts[part]], steps[part])
            found += [row * TOKEN_SECONDS for row in starts]
        return found

    def _measure_attention(
        self, tokens: mx.array, memory: Memory, counts: Sequence[int], steps: Sequence[int]
    ) -> mx.array:
        """Return how much each token attends to each 20 ms, mean of the alignment heads; shape
        (rows, tokens, steps).

        As in OpenAI's `find_alignment`: softmax over the steps, normalised over the tokens; but the
        median of three steps, for the tokens are letters.
        """
        heads = self._model.dims.n_text_head
        most = max(steps)
        is_sound = mx.arange(most)[None, :] < mx.array(list(steps))[:, None]
        is_text = (mx.arange(tokens.shape[1])[None, :] < mx.array(list(counts))[:, None]).astype(mx.float32)
        x = embed_tokens(self._model, tokens, self._dtype)
        total: Any = 0.0
        last = max(self._heads)
        for layer, block in enumerate(self._model.decoder.blocks[: last + 1]):
            x = x + attend_to_past(block, x, heads)[0]
            keys, values = memory[layer]
            query = query_sound(block, x, heads)
            if layer in self._heads:
                chosen = mx.array(self._heads[layer])
                scale = query.shape[-1] ** -0.5
                scores = (query[:, chosen] * scale) @ keys[:, chosen, :most].swapaxes(-1, -2)
                total = total + _sharpen(scores.astype(mx.float32), is_sound, is_text)
            if layer < last:
                x = x + block.cross_attn.out(attend(query, keys, values))
                x = x + feed_forward(block, x)
        return mx.divide(total, sum(map(len, self._heads.values())))


@mx.compile
def _sharpen(scores: mx.array, is_sound: mx.array, is_text: mx.array) -> mx.array:
    """(rows, heads, tokens, steps) -> (rows, tokens, steps), summed over the heads."""
    weights = mx.softmax(mx.where(is_sound[:, None, None], scores, -mx.inf), axis=-1)
    count = is_text.sum(axis=1)[:, None, None, None]
    kept = is_text[:, None, :, None]
    mean = (weights * kept).sum(axis=2, keepdims=True) / count
    spread = mx.sqrt((mx.square(weights - mean) * kept).sum(axis=2, keepdims=True) / count)
    normal = mx.where(is_sound[:, None, None], (weights - mean) / mx.maximum(spread, 1e-10), 0.0)
    return filter_median(normal).sum(axis=1)


def filter_median(x: mx.array) -> mx.array:
    """Return the median of each value and its two neighbours along the last axis, which is mirrored
    at its ends. By comparisons alone: they make one kernel.
    """
    if x.shape[-1] <= 1:
        return x
    left = mx.concatenate([x[..., 1:2], x[..., :-1]], axis=-1)
    right = mx.concatenate([x[..., 1:], x[..., -2:-1]], axis=-1)
    return mx.maximum(mx.minimum(left, x), mx.minimum(mx.maximum(left, x), right))


def find_cheapest_path(
    costs: NDArray[np.float32], lengths: Sequence[int], widths: Sequence[int]
) -> list[NDArray[np.float64]]:
    """Return for each row the frame at which the cheapest path through its matrix enters each
    token.

    Dynamic time warping as in OpenAI's `dtw`: a step goes one token on, one frame on, or both. A
    token that begins at frame k and lasts to j costs the sum of its frames, so the least cost of
    ending at j is found with one running sum and one running minimum, for all frames and rows at
    once.

    Args:
        costs: Shape (rows, tokens, frames).
        lengths: Tokens of each row that count.
        widths: Frames of each row that count.
    """
    rows, tokens, frames = costs.shape
    order = sorted(range(rows), key=lambda row: -lengths[row])  # the longest first: shorter ones drop out at the end
    least = np.empty((tokens, rows, frames))  # cost of the path up to each token when it ends at each frame
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

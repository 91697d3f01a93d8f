"""The parts of Whisper's layers that our encoder, decoder and aligner share.

They work on the modules and weights of `mlx_whisper.whisper.Whisper`. Shapes: (rows, length,
state), and by head (rows, heads, length, state / heads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

KeysValues = tuple[mx.array, mx.array]
"""Keys and values of one layer, by head."""
Memory = list[KeysValues]
"""What every layer of the text decoder keeps of the sound."""


def split_heads(x: mx.array, heads: int) -> mx.array:
    """(rows, length, state) -> (rows, heads, length, state / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def attend(query: mx.array, keys: mx.array, values: mx.array, mask: Any = None) -> mx.array:
    """Return the attention of every head, joined again: (rows, length, state)."""
    scale = query.shape[-1] ** -0.5
    found = mx.fast.scaled_dot_product_attention(query, keys, values, scale=scale, mask=mask)
    return found.transpose(0, 2, 1, 3).reshape(query.shape[0], query.shape[2], -1)


def feed_forward(block: Any, x: mx.array) -> mx.array:
    """Return what the two dense layers of a block add."""
    return block.mlp2(nn.gelu(block.mlp1(block.mlp_ln(x))))  # type: ignore[no-any-return]


def attend_to_past(block: Any, x: mx.array, heads: int) -> tuple[mx.array, KeysValues]:
    """Return what a block's tokens take from those before them, and their keys and values."""
    attention = block.attn
    y = block.attn_ln(x)
    keys, values = split_heads(attention.key(y), heads), split_heads(attention.value(y), heads)
    return attention.out(attend(split_heads(attention.query(y), heads), keys, values, "causal")), (keys, values)


def query_sound(block: Any, x: mx.array, heads: int) -> mx.array:
    """Return what a block's tokens ask of the sound, by head."""
    return split_heads(block.cross_attn.query(block.cross_attn_ln(x)), heads)


def embed_positions(model: Any, positions: mx.array, dtype: mx.Dtype) -> mx.array:
    """Return the embedding of places in the text."""
    return model.decoder.positional_embedding[positions].astype(dtype)  # type: ignore[no-any-return]


def embed_tokens(model: Any, tokens: mx.array, dtype: mx.Dtype) -> mx.array:
    """Return the embedding of texts from their first token on; `tokens` has shape (rows,
    tokens).
    """
    places = embed_positions(model, mx.arange(tokens.shape[1]), dtype)
    return model.decoder.token_embedding(tokens) + places  # type: ignore[no-any-return]


def select_rows(memory: Memory, rows: Sequence[int], count: int) -> Memory:
    """Return the memory of these rows, of `count` rows. A row may be asked for twice."""
    if list(rows) == list(range(count)):
        return memory
    chosen = mx.array(list(rows))
    return [(keys[chosen], values[chosen]) for keys, values in memory]

"""Whisper's spectrogram and encoder on MLX, for many windows at once.

Guarantees: a row of a batch is computed from that row alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn

from dropscribe.backends.mlx_layers import attend, feed_forward, split_heads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FRAMES = 3000
"""Frames of 10 ms in a window of 30 s."""
HOP = 160
"""Samples of one frame."""

_FFT = 400  # samples
_ATTENTION_BYTES = 1 << 30
"""Of the attention in one layer at most, in half and in single precision."""


class Encoder:
    """The encoder of one model."""

    def __init__(self, model: Any, filters: mx.array, dtype: mx.Dtype) -> None:
        """Take a `mlx_whisper.whisper.Whisper` and its mel filters, shape (mels, 201)."""
        self._model = model
        self._filters = filters
        self._dtype = dtype
        self._run = mx.compile(self._run_layers)

    def encode(self, rows: Sequence[NDArray[np.float32]], frames: int = FRAMES) -> mx.array:
        """Encode windows of samples, shape (samples,) each: shape (rows, frames / 2, state).

        `frames`, fewer than 3000, leave out the silence that fills a window up: enough to detect a
        language.

        A few at a time: more make the encoder no faster, but it holds the attention of all of them
        at once where MLX has no fused kernel for it. On a GPU a single row takes other kernels,
        which round otherwise: it is encoded twice in one batch, or it would matter how many rows
        there are.
        """
        dims = self._model.dims
        at_once = max(1, _ATTENTION_BYTES // (dims.n_audio_head * dims.n_audio_ctx**2 * 6))
        parts: list[mx.array] = []
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            is_single = len(part) == 1 and mx.default_device().type == mx.gpu
            mel = self.compute_spectrogram([*part, *part] if is_single else part, frames)
            mx.eval(parts[-1:])  # the device was at work on these until now
            parts.append(self._run(mel)[: len(part)])
            mx.async_eval(parts[-1])  # type: ignore[no-untyped-call]
        mx.eval(parts[-1])
        return mx.concatenate(parts) if len(parts) > 1 else parts[0]

    def compute_spectrogram(self, rows: Sequence[NDArray[np.float32]], frames: int = FRAMES) -> mx.array:
        """Return Whisper's log-mel spectrogram of each row, shape (rows, frames, mels), silent
        beyond its samples.

        The formula is that of OpenAI's `log_mel_spectrogram` of a row filled up with zeros. (Its
        `transcribe` fills up the spectrogram with zeros instead, which is no silence: the errors
        grow by half.)
        """
        longest = max(len(row) for row in rows)
        width = min(frames, -(-longest // HOP) + 2) * HOP  # two more frames contain the end of the sound
        samples = np.zeros((len(rows), width + _FFT), np.float32)
        for place, row in zip(samples, rows, strict=True):
            part = row[:width]
            place[_FFT // 2 : _FFT // 2 + len(part)] = part
            head = part[1 : _FFT // 2 + 1][::-1]
            place[_FFT // 2 - len(head) : _FFT // 2] = head
        audio = mx.array(samples)
        cut = mx.as_strided(audio, (len(rows), width // HOP, _FFT), (width + _FFT, HOP, 1))
        power = mx.square(mx.abs(mx.fft.rfft(cut * mx.array(_hann_window()))))
        log = mx.log10(mx.maximum(power @ self._filters.T, 1e-10))
        floor = mx.maximum(log.max(axis=(1, 2), keepdims=True) - 8.0, -10.0)
        rest = mx.broadcast_to(floor, (len(rows), frames - width // HOP, log.shape[2]))
        return ((mx.concatenate([mx.maximum(log, floor), rest], axis=1) + 4.0) / 4.0).astype(self._dtype)

    def _run_layers(self, mel: mx.array) -> mx.array:
        encoder, heads = self._model.encoder, self._model.dims.n_audio_head
        x = nn.gelu(encoder.conv1(mel))
        x = nn.gelu(encoder.conv2(x))
        x = x + encoder._positional_embedding[: x.shape[1]]  # noqa: SLF001 (it has no other name)
        for block in encoder.blocks:
            y = block.attn_ln(x)
            attention = block.attn
            query, keys = split_heads(attention.query(y), heads), split_heads(attention.key(y), heads)
            x = x + attention.out(attend(query, keys, split_heads(attention.value(y), heads)))
            x = x + feed_forward(block, x)
        return encoder.ln_post(x)  # type: ignore[no-any-return]


@functools.cache
def _hann_window() -> NDArray[np.float32]:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)

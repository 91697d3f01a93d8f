"""Which sound a recording holds, whatever its name, its tags and its container are.

Guarantees: equal samples give an equal digest, on every machine; memory does not grow with the
recording.

The samples are those that the later stages get, at 16 kHz: where the channels are kept for them,
these count too. They come from the decoder's own version, so an update of FFmpeg may change the
digest of a lossy recording; then it is transcribed once more, and nothing wrong is published.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dropscribe.worker.decoding import Decoded

_BLOCK = 1 << 20
"""Samples that are read at once: 4 MB of each channel."""


def digest_sound(decoded: Decoded) -> str:
    """Return the digest of a decoded recording: BLAKE2b, 32 hexadecimal digits.

    It takes about a second for ten hours on each channel.
    """
    digest = hashlib.blake2b(f"{decoded.channels} {len(decoded.samples)}".encode(), digest_size=16)
    for samples in (decoded.samples, decoded.channel_samples):
        if samples is not None:
            for first in range(0, len(samples), _BLOCK):
                digest.update(np.ascontiguousarray(samples[first : first + _BLOCK], dtype="<f4").data)
    return digest.hexdigest()

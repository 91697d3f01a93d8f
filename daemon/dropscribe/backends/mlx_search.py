"""Beam search: which tokens may come next, the choice of one step, and the text that results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE = 256
"""Scores that are sorted at once."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tokens may come; masks are added to the scores, shape (vocabulary,)."""

    always: mx.array
    first: mx.array
    """For the first token of a text."""
    start: int
    """Where in the prefix the transcript starts: there the model says whether anybody speaks."""
    no_speech: int
    """The token that says that nobody does."""
    end: int
    """The token that ends a text."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One text of one window."""

    tokens: list[int]
    """Without special ones."""
    logprobs: list[float]
    """One a token, and that of the end if it was reached."""
    no_speech_prob: float


def choose_beams(
    scores: mx.array, total: mx.array, end: mx.array
) -> tuple[mx.array, mx.array, mx.array, mx.array, mx.array]:
    """Choose the continuations of one step of a beam search.

    Args:
        scores: Shape (rows, beams, vocabulary).
        total: Logarithm of the probability of each beam so far, shape (rows, beams).
        end: The token that ends a text.

    Returns:
        The best 2 * beams continuations, beam * vocabulary + token, and their totals, both shape
        (rows, 2 * beams), best first; of those that do not end the best: token, beam it continues
        and total, shape (rows, beams).
    """
    rows, beams, vocabulary = scores.shape
    continuations = total[:, :, None] + scores - mx.logsumexp(scores, axis=-1, keepdims=True)
    # To sort everything takes long. The best are in the pieces with the highest maxima: sort the
    # pieces by their maximum, then only what is in the first of them.
    pieces = -(-beams * vocabulary // _PIECE)
    wide = mx.pad(
        continuations.reshape(rows, -1),
        [(0, 0), (0, pieces * _PIECE - beams * vocabulary)],
        constant_values=-mx.inf,
    ).reshape(rows, pieces, _PIECE)
    likely = mx.argsort(-wide.max(axis=-1), axis=-1)[:, : 2 * beams]
    near = mx.take_along_axis(wide, likely[:, :, None], axis=1).reshape(rows, -1)
    order = mx.argsort(-near, axis=-1)[:, : 2 * beams]
    totals = mx.take_along_axis(near, order, axis=-1)
    best = mx.take_along_axis(likely, order // _PIECE, axis=-1) * _PIECE + order % _PIECE
    ends = best % vocabulary == end
    kept = mx.argsort(mx.where(ends, 2 * beams, 0) + mx.arange(2 * beams), axis=-1)[:, :beams]
    on = mx.take_along_axis(best, kept, axis=-1)
    return best, totals, on % vocabulary, on // vocabulary, mx.take_along_axis(totals, kept, axis=-1)


def trace_best_text(
    choices: NDArray[np.int32], totals: NDArray[np.float32], end: int, vocabulary: int, beams: int
) -> tuple[list[int], list[float]]:
    """Return the tokens of the text, and the logarithm of the probability of each and of its end.

    A text that has not ended is the likeliest of those that go on.

    Args:
        choices: The continuations that `choose_beams` gave for one row at every step, shape
            (steps, 2 * beams).
        totals: Their totals, same shape.
        end: The token that ends a text.
        vocabulary: Size of the vocabulary.
        beams: Texts that were followed at once.
    """
    ends = choices % vocabulary == end
    last = np.flatnonzero(ends[:, 0])
    step = int(last[0]) if len(last) else len(choices)
    sums = [float(totals[step, 0])] if len(last) else []
    beam = int(choices[step, 0]) // vocabulary if len(last) else 0
    tokens = []
    for before in range(step - 1, -1, -1):
        place = np.flatnonzero(~ends[before])[:beams][beam]
        sums.append(float(totals[before, place]))
        beam, token = divmod(int(choices[before, place]), vocabulary)
        tokens.append(token)
    return tokens[::-1], np.diff(sums[::-1], prepend=0.0).tolist()

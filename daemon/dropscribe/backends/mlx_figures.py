"""Number normalisation of the MLX engine: a number is written in figures where the texts around
make that likelier.

A window alone is spelled as its own sentences suggest: `two` here, `2` there. OpenAI's
`transcribe` decodes every window with the text before it as its prompt, which costs the batch and
lets loops spread. Here finished texts are only rescored after those around them that have figures,
and only words become figures.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.backends.number_normalisation import build_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dropscribe.backends.drafts import Draft
    from dropscribe.backends.mlx_decoder import TextScores

ROUNDS = 8
"""Rounds over a chain at most; two or three are enough, but nothing says that it ends."""
LIKELIER = math.log(0.5)
"""A figure over this is likelier than everything else together."""
AT_ONCE = 16
"""Texts scored at once."""


class FigureNormaliser:
    """Rescores the texts of chains.

    What a window gives depends on the drafts of its chain, not on how many are decoded or scored
    at once.
    """

    def __init__(
        self,
        tokenizer: Any,
        start: NDArray[np.int32],
        prompt: NDArray[np.int32],
        room: int,
        score: Callable[[Sequence[int], Any, Any, Sequence[int]], list[TextScores]],
        at_once: int = AT_ONCE,
    ) -> None:
        """Prepare for one transcript.

        Args:
            tokenizer: mlx-whisper's.
            start: Tokens that start a transcript.
            prompt: Tokens of the prompt before it, with the one that begins a prompt; or none.
            room: Tokens that the model can read in all.
            score: `score(rows, prefixes, texts, figures)` is `Decoder.score_texts` for those rows.
            at_once: Rows that it takes at once.
        """
        self._tokenizer = tokenizer
        self._start = start.tolist()
        self._prompt = prompt.tolist()[1:]
        self._room = room
        self._score = score
        self._at_once = at_once
        self._figures = list_figure_tokens(tokenizer.encoding, tokenizer.eot)
        self._figure_set = frozenset(self._figures)

    def normalise(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return `drafts`, the windows of one chain after the other, with the figures."""
        found = list(drafts)
        trusted = [row for row, draft in enumerate(drafts) if draft.tokens and draft.is_trusted]
        known: dict[int, list[int]] = {}
        for _ in range(ROUNDS):
            with_figures = [row for row in trusted if not self._figure_set.isdisjoint(found[row].tokens)]
            prefixes = {row: self._build_prefix(row, found, with_figures) for row in trusted}
            stale = [row for row, prefix in prefixes.items() if prefix != known.get(row, [])]
            if not stale:
                break
            known = prefixes
            for row in stale:
                found[row] = drafts[row]  # a text starts again from its draft when those around it have changed
            prompted = [row for row in stale if prefixes[row]]
            for first in range(0, len(prompted), self._at_once):
                rows = prompted[first : first + self._at_once]
                for row, draft in zip(rows, self._rewrite(rows, drafts, prefixes), strict=True):
                    found[row] = draft
        return found

    def _build_prefix(self, row: int, found: Sequence[Draft], with_figures: Sequence[int]) -> list[int]:
        """Return what precedes the text of a row; nothing where no other text of its chain has
        figures.
        """
        room = self._room - 1 - len(self._start) - len(found[row].tokens)
        context = build_context(row, found, with_figures, self._prompt, room)
        return [self._tokenizer.sot_prev, *context, *self._start] if context else []

    def _rewrite(self, rows: Sequence[int], drafts: Sequence[Draft], prefixes: dict[int, list[int]]) -> list[Draft]:
        """Return the drafts of `rows` with what becomes a figure after their prefixes, all of it
        or nothing.
        """
        texts = {row: list(drafts[row].tokens) for row in rows}
        scores = self._score_rows(rows, prefixes, texts)
        before = {row: float(scores[row].logprobs.sum()) for row in rows}
        live = list(rows)
        while live:  # a figure makes the next number a figure
            live = [row for row in live if self._replace_words(texts[row], scores[row])]
            scores.update(self._score_rows(live, prefixes, texts))
        found = []
        for row in rows:
            draft, tokens, logprobs = drafts[row], texts[row], scores[row].logprobs
            if tokens != draft.tokens and float(logprobs.sum()) > before[row]:
                probabilities = np.exp(logprobs[: len(tokens)]).tolist()
                text = self._tokenizer.decode(tokens)
                draft = dataclasses.replace(draft, tokens=tokens, text=text, probabilities=probabilities)
            found.append(draft)
        return found

    def _score_rows(
        self, rows: Sequence[int], prefixes: dict[int, list[int]], texts: dict[int, list[int]]
    ) -> dict[int, TextScores]:
        if not rows:
            return {}
        given = [prefixes[row] for row in rows], [texts[row] for row in rows]
        return dict(zip(rows, self._score(rows, *given, self._figures), strict=True))

    def _replace_words(self, tokens: list[int], scores: TextScores) -> bool:
        """Put a figure in the place of each word of `tokens` that it is likelier than; return
        whether any was.
        """
        figures, logprobs = scores.alternatives, scores.alternative_logprobs
        count = len(tokens)
        if not np.any((logprobs[:count] > LIKELIER) & (figures[:count] != tokens)):
            return False  # mostly so; to find the words takes longer than to score them
        words, pieces = self._tokenizer.split_to_word_tokens(tokens)
        edges = [0, *itertools.accumulate(map(len, pieces))]
        likely = [
            (first, last)
            for word, (first, last) in zip(words, itertools.pairwise(edges), strict=True)
            if word.startswith(" ") and word.strip().isalpha() and logprobs[first] > LIKELIER
        ]
        for first, last in reversed(likely):
            tokens[first:last] = [int(figures[first])]
        return bool(likely)


@functools.cache
def list_figure_tokens(encoding: Any, end: int) -> list[int]:
    """Return the tokens before `end` that are a number in figures, with the space before."""
    texts = ((token, encoding.decode([token])) for token in range(end))
    return [token for token, text in texts if text[:1] == " " and text[1:].isascii() and text[1:].isdigit()]

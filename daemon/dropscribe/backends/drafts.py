"""What decoding many windows at once needs, whatever the engine: drafts, their guards, and the words of a draft.

Guarantees: a draft that trips a guard is decoded again, alone among its neighbours, at rising temperatures;
what comes of a window does not depend on the windows beside it. No model library is imported.

The thresholds and temperatures are those of OpenAI's `transcribe` (compression ratio 2.4, mean log probability
-1.0, no speech 0.6; 0.0 to 1.0 in steps of 0.2), which the batched pipelines of other engines leave out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dropscribe.backends.results import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""What is tried, in order, after greedy decoding or beam search."""

_MOST_REPEATED = 2.4
_LEAST_LOGPROB = -1.0
_NO_SPEECH = 0.6

_OPENING = "\"'“¿([{-«"
_CLOSING = "\"'.。,，!！?？:：;”)]}、»«"  # noqa: RUF001 (as in the source)
_SPACED = "?!:;»"
"""Marks that French writes behind a space."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One decoding of one window."""

    tokens: list[int]
    """Tokens of the text, no special ones."""
    text: str
    avg_logprob: float
    """Mean natural logarithm of the probability of a token, the end included."""
    no_speech_prob: float
    temperature: float
    probabilities: list[float] = field(default_factory=list)
    """One for each token, where the engine gives them as it decodes."""

    @property
    def compression_ratio(self) -> float:
        """Bytes of the text by bytes when compressed: high in a loop."""
        plain = self.text.encode()
        return len(plain) / len(zlib.compress(plain))

    @property
    def silent(self) -> bool:
        """Whether the model heard nobody speak, and does not believe in what it wrote either."""
        return self.no_speech_prob > _NO_SPEECH and self.avg_logprob < _LEAST_LOGPROB

    @property
    def doubtful(self) -> bool:
        """Whether to decode again: the text runs in a loop, or the model does not believe in it."""
        return not self.silent and (self._loops or self.avg_logprob < _LEAST_LOGPROB)

    @property
    def trusted(self) -> bool:
        """Whether it is neither silent nor doubtful."""
        return not (self.silent or self.doubtful)

    @property
    def _loops(self) -> bool:
        return loops(self.text)


def loops(text: str) -> bool:
    """Whether a text runs in a loop, told by how well it compresses."""
    # One byte for each letter: the two bytes of Cyrillic alone lift right text over a limit found with Latin.
    places = {letter: place for place, letter in enumerate(dict.fromkeys(text))}
    plain = bytes(places[letter] % 256 for letter in text)
    return len(plain) / len(zlib.compress(plain)) > _MOST_REPEATED


def guarded(
    decode: Callable[[Sequence[int], float], Sequence[Draft]], rows: int, *, again: bool = True
) -> list[Draft]:
    """Decode `rows` windows with `decode(rows, temperature)`, those that trip a guard again unless not `again`.

    A window of which every draft is doubtful keeps the likeliest of those that do not loop, else the likeliest.
    """
    drafts = [[draft] for draft in decode(range(rows), 0.0)]
    for temperature in TEMPERATURES if again else ():
        doubted = [row for row in range(rows) if drafts[row][-1].doubtful]
        if not doubted:
            break
        for row, draft in zip(doubted, decode(doubted, temperature), strict=True):
            drafts[row].append(draft)
    return [
        tried[-1] if not tried[-1].doubtful else max(tried, key=lambda d: (not d._loops, d.avg_logprob))  # noqa: SLF001
        for tried in drafts
    ]


def raw(draft: Draft, words: list[tuple[str, float, float, float]]) -> list[Raw]:
    """Return the window's one segment; none when nobody speaks.

    `words`: (word, start, end, probability), seconds from the start of the window.
    """
    if draft.silent or not draft.text.strip():
        return []
    start, end = (words[0][1], words[-1][2]) if words else (0.0, float("inf"))
    return [
        Raw(
            start,
            end,
            draft.text,
            words,
            draft.avg_logprob,
            draft.compression_ratio,
            draft.no_speech_prob,
            draft.temperature,
        )
    ]


def joined(texts: Sequence[str]) -> list[list[int]]:
    """Return which pieces of a text make one word each: opening marks go with the next piece, closing ones before.

    `texts` are the pieces as the tokenizer's `split_to_word_tokens` gives them; the marks are those of OpenAI's
    `merge_punctuations`, and those of French (`quoi ?`, `« oui »`).
    """
    groups: list[list[int]] = []
    opening = False
    for index, text in enumerate(texts):
        mark, spaced = text.strip(), text.startswith(" ")
        # French has `« oui »`, German `»ja«`: a mark behind a space opens if a word follows right behind it.
        clings = index + 1 < len(texts) and texts[index + 1][:1].isalnum()
        opens = spaced and bool(mark) and (all(c in _OPENING for c in mark) or (mark == "»" and clings))
        closes = bool(mark) and not opens and all(c in _CLOSING for c in mark)
        if groups and (opening or (closes and (not spaced or mark[0] in _SPACED))):
            groups[-1].append(index)
        else:
            groups.append([index])
        opening = opens
    return groups


def merged(pieces: Sequence[tuple[str, float, float, float]]) -> list[tuple[str, float, float, float]]:
    """Return the words that `pieces`, (text, start, end, probability), make as `joined` says.

    A word's times and probability are those of its letters: a mark beside it often takes a pause for its own.
    """
    words = []
    for group in joined([text for text, *_ in pieces]):
        own = next((i for i in group if any(map(str.isalnum, pieces[i][0]))), group[0])
        words.append(("".join(pieces[i][0] for i in group), *pieces[own][1:]))
    return words

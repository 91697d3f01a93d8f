"""What decoding many windows at once needs, whatever the engine: drafts, their checks, and the
words of a draft.

Guarantees: a draft that fails a check is decoded again at rising temperatures, and the other
windows of its batch are not; what a window gives does not depend on the windows next to it. No model library is
imported.
"""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dropscribe.backends.results import EngineWord, RawSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """The limits beyond which a draft is decoded again.

    They are those of OpenAI's `transcribe`. The batched pipelines of other engines do not check
    them.
    """

    compression_ratio: float = 2.4
    """More is a repetition loop."""
    avg_logprob: float = -1.0
    """With less the model does not believe in its text."""
    no_speech_prob: float = 0.6
    """With more nobody speaks, unless the model believes in its text."""


LIMITS = DraftLimits()

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""What is tried, in order, after greedy decoding or beam search: as OpenAI's `transcribe`."""

_OPENING = "\"'“¿([{-«"
_CLOSING = "\"'.。,，!！?？:：;”)]}、»«"  # noqa: RUF001 (as in the source)
_SPACED = "?!:;»"
_JOINERS = "\u200d\u200c"
"""Punctuation that French writes after a space."""


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
        """Bytes of the text by bytes when compressed: high in a repetition loop."""
        plain = self.text.encode()
        return len(plain) / len(zlib.compress(plain))

    @property
    def is_silent(self) -> bool:
        """Whether the model detects no speech, and does not believe in what it wrote either."""
        return self.no_speech_prob > LIMITS.no_speech_prob and self.avg_logprob < LIMITS.avg_logprob

    @property
    def is_suspicious(self) -> bool:
        """Whether to decode again: a repetition loop, or a text in which the model does not
        believe.
        """
        return not self.is_silent and (is_repetition_loop(self.text) or self.avg_logprob < LIMITS.avg_logprob)

    @property
    def is_trusted(self) -> bool:
        """Whether it is neither silent nor suspicious."""
        return not (self.is_silent or self.is_suspicious)


def is_repetition_loop(text: str) -> bool:
    """Return whether a text repeats itself, judged by how well it compresses."""
    # One byte for each letter: the two bytes of Cyrillic alone lift right text over a limit found
    # with Latin.
    places = {letter: place for place, letter in enumerate(dict.fromkeys(text))}
    plain = bytes(places[letter] % 256 for letter in text)
    return len(plain) / len(zlib.compress(plain)) > LIMITS.compression_ratio


def decode_with_retries(
    decode: Callable[[Sequence[int], float], Sequence[Draft]], rows: int, *, retry: bool = True
) -> list[Draft]:
    """Return the draft of each window that is kept.

    A window of which every draft is suspicious keeps the likeliest of those that do not loop, else
    the likeliest.

    Args:
        decode: Called with the rows to decode and the temperature; gives a draft for each.
        rows: How many windows there are.
        retry: Whether to decode suspicious windows again.
    """
    drafts = [[draft] for draft in decode(range(rows), 0.0)]
    for temperature in TEMPERATURES if retry else ():
        suspicious = [row for row in range(rows) if drafts[row][-1].is_suspicious]
        if not suspicious:
            break
        for row, draft in zip(suspicious, decode(suspicious, temperature), strict=True):
            drafts[row].append(draft)
    return [_choose_draft(tried) for tried in drafts]


def _choose_draft(tried: Sequence[Draft]) -> Draft:
    if not tried[-1].is_suspicious:
        return tried[-1]
    return max(tried, key=lambda draft: (not is_repetition_loop(draft.text), draft.avg_logprob))


def to_raw_segments(draft: Draft, words: list[EngineWord]) -> list[RawSegment]:
    """Return the window's one segment; none when nobody speaks."""
    if draft.is_silent or not draft.text.strip():
        return []
    start, end = (words[0].start, words[-1].end) if words else (0.0, float("inf"))
    segment = RawSegment(
        start=start,
        end=end,
        text=draft.text,
        words=words,
        avg_logprob=draft.avg_logprob,
        compression_ratio=draft.compression_ratio,
        no_speech_prob=draft.no_speech_prob,
        temperature=draft.temperature,
    )
    return [segment]


def group_pieces(texts: Sequence[str]) -> list[list[int]]:
    """Return which pieces of a text make one word each: opening marks go to the next piece,
    closing ones to the last, and no letter is parted from its vowel signs.

    `texts` are the pieces as the tokenizer's `split_to_word_tokens` gives them; the marks are
    those of OpenAI's `merge_punctuations`, and those of French (`quoi ?`, `« oui »`).
    """
    groups: list[list[int]] = []
    opening = False
    for index, text in enumerate(texts):
        mark, spaced = text.strip(), text.startswith(" ")
        # French has `« oui »`, German `»ja«`: a mark after a space opens if a word follows it
        # without one.
        clings = index + 1 < len(texts) and texts[index + 1][:1].isalnum()
        # A vowel sign is no word, nor is a blank: the one goes with its letter, the other stands before a word.
        attaches = text[:1] in _JOINERS or unicodedata.category(text[:1] or " ").startswith("M")
        blank_at_end = not mark and index + 1 == len(texts)
        opens = spaced and bool(mark) and (all(c in _OPENING for c in mark) or (mark == "»" and clings))
        closes = bool(mark) and not opens and all(c in _CLOSING for c in mark)
        if groups and (opening or attaches or blank_at_end or (closes and (not spaced or mark[0] in _SPACED))):
            groups[-1].append(index)
        else:
            groups.append([index])
        opening = opens or not mark or text[-1:] == _JOINERS[0]
    return groups


def merge_pieces(pieces: Sequence[EngineWord]) -> list[EngineWord]:
    """Return the words that the pieces make as `group_pieces` says.

    A word's times and probability are those of its letters: punctuation next to it often takes a
    pause for its own.
    """
    words = []
    for group in group_pieces([piece.text for piece in pieces]):
        letters = next((i for i in group if any(map(str.isalnum, pieces[i].text))), group[0])
        words.append(pieces[letters]._replace(text="".join(pieces[i].text for i in group)))
    return words

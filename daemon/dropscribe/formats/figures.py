"""Writing numbers in figures: the setting `numbers`, applied to a finished transcript.

Guarantees: a pure function; only words that are a number change; joined, the words of a segment are
its text; a number has the time of its words; the setting is recorded among the transcript's options.

Whisper writes `1234` here and `one two three four` there, as a window's own sentences suggest. In
figures both are the same. The other way round is not offered: a text with `1984` does not say
whether somebody said a year, an amount, or one figure after the other.

`one` stays where no other number is next to it: it mostly is no number. So do ordinals: `second` is
a noun, too. Three or more single figures without a mark between them are one number, as Whisper
itself writes them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.formats.replacements import Match, rewrite_segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.transcript import Transcript

LANGUAGES = ("en", "fr", "es", "pt", "de", "nl", "da", "it")
"""What text2num knows."""
RUN = 3
"""So many single figures without a mark between them are one number."""


def write_figures(transcript: Transcript) -> Transcript:
    """Return the transcript with its numbers in figures, in the languages of `LANGUAGES`.

    A transcript that says that this was done already is returned as it is.
    """
    engine = transcript.engine
    if engine.options.get("numbers") == "digits":
        return transcript
    segments = []
    for segment in transcript.segments:
        language = segment.language or transcript.language or ""
        find = functools.partial(find_numbers, language=language)
        segments.append(rewrite_segment(segment, find) if language in LANGUAGES else segment)
    return dataclasses.replace(
        transcript,
        text=" ".join(segment.text for segment in segments),
        segments=tuple(segments),
        engine=dataclasses.replace(engine, options={**engine.options, "numbers": "digits"}),
    )


@dataclass(frozen=True, slots=True)
class _Token:
    """A word without its marks, as text2num wants it."""

    word: str
    start: int
    """In the text."""
    end: int
    follows_mark: bool
    """Whether a mark is between it and the word before."""

    def text(self) -> str:
        return self.word

    def nt_separated(self, previous: _Token) -> bool:  # noqa: ARG002 (text2num calls it so)
        return self.follows_mark

    def not_a_number_part(self) -> bool:
        return False


def find_numbers(text: str, language: str) -> Iterator[Match]:
    """Yield the numbers in words of a text, in order, with their figures."""
    import text_to_num

    tokens = _split_words(text)
    found: list[Any] = [
        each
        for each in text_to_num.find_numbers(tokens, language, threshold=0.0)
        if not each.is_ordinal and not any(token.word[:1].isdigit() for token in tokens[each.start : each.end])
    ]
    edges = {each.start for each in found} & {each.end for each in found}  # between two numbers
    found = [each for each in found if each.text != "1" or not edges.isdisjoint((each.start, each.end))]
    for run in _group_runs(found, tokens):
        start, end = tokens[run[0].start].start, tokens[run[-1].end - 1].end
        yield Match(start, end, "".join(each.text for each in run))


def _split_words(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    edge = 0
    for found in re.finditer(r"[^\W_](?:[\w'\u2019-]*[^\W_])?", text):
        follows_mark = bool(text[edge : found.start()].strip())
        tokens.append(_Token(found[0], *found.span(), follows_mark))
        edge = found.end()
    return tokens


def _group_runs(found: list[Any], tokens: list[_Token]) -> Iterator[list[Any]]:
    """Yield numbers, those that are figures said one by one together."""

    def is_single(each: Any) -> bool:
        return all(figure.isdigit() for figure in each.text) and (len(each.text) == 1 or each.text[0] == "0")

    runs: list[list[Any]] = []
    for each in found:
        last = runs[-1][-1] if runs else None
        follows = last is not None and last.end == each.start and not tokens[each.start].follows_mark
        if follows and is_single(each) and is_single(last):
            runs[-1].append(each)
        else:
            runs.append([each])
    for run in runs:
        if sum(len(each.text) for each in run) >= RUN:
            yield run
        else:
            yield from ([each] for each in run)

"""Phrases of Japanese, Chinese and Thai, which put no spaces between words: lines are best broken
between them.

The phrases are BudouX's, whose models were trained for this. It finds phrases in Japanese and
words in Chinese and Thai. BudouX and a model of it are loaded with the first text of their
language, and kept.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.transcript import Transcript


class PhraseSplitter:
    """Splits the text of one transcript into phrases, by the language that is spoken."""

    def __init__(self, transcript: Transcript) -> None:
        """Take the language and the characters of a transcript."""
        self._transcript = transcript
        self._parsers: dict[str, Callable[[str], list[str]] | None] = {}

    def split(self, text: str, language: str | None) -> list[str] | None:
        """Return the phrases of a text, which joined are the text, or None where its language has
        no model.

        Args:
            text: one line.
            language: what is spoken here; None for the language of the transcript.
        """
        language = language or self._transcript.language
        if language not in self._parsers:
            model = choose_model(language, self._transcript.text)
            self._parsers[language] = None if model is None else _load_parser(model)
        parse = self._parsers[language]
        return None if parse is None else parse(text)


def choose_model(language: str, text: str) -> str | None:
    """Return the name of BudouX's model for a language, None where there is none.

    Whisper's `zh` and `yue` say nothing of the characters: the text shows whether they are
    simplified or traditional.
    """
    if language in {"ja", "th"}:
        return language
    if language not in {"zh", "yue"}:
        return None
    simplified = traditional = 0
    for character in set(text):
        if character >= "\u4e00":
            common, taiwanese = _can_encode(character, "gb2312"), _can_encode(character, "big5")
            simplified += common and not taiwanese
            traditional += taiwanese and not common
    if simplified == traditional:
        return "zh-hans" if language == "zh" else "zh-hant"
    return "zh-hans" if simplified > traditional else "zh-hant"


def _can_encode(character: str, encoding: str) -> bool:
    """GB 2312 holds simplified characters only, Big5 traditional ones only; many are in both."""
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@functools.cache
def _load_parser(model: str) -> Callable[[str], list[str]]:
    import budoux

    load = {
        "ja": budoux.load_default_japanese_parser,
        "th": budoux.load_default_thai_parser,
        "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser,
    }[model]
    return load().parse

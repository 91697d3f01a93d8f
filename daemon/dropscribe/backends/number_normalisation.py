"""How numbers are spelled alike in windows that know nothing of each other: `two` here and `2` there.

A finished text is weighed once more behind the texts around it that have figures (`beside`). An engine that tells no
more than how likely a given text is needs to know which words are numbers (`numbers`); one that tells what would be
likelier does not. No model library is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dropscribe.backends.drafts import Draft

PROMPT_TOKENS = 223
"""What OpenAI's `decode` leaves room for before a text."""
CHAIN = 4
"""Windows, one after the other, that are spelled alike: all are decoded before one with a number is given out.

Longer chains gain nothing: with 4, 8 and 16 the error rates of en fr es it ru sum up to 58.3, 58.5 and 58.3 (base,
int8), with MLX on a GPU to 62.7, 63.1 and 63.1.
"""

_WORDS = """
en zero one two three four five six seven eight nine ten
es cero uno dos tres cuatro cinco seis siete ocho nueve diez
fr zéro un deux trois quatre cinq six sept huit neuf dix
it zero uno due tre quattro cinque sei sette otto nove dieci
ru ноль один два три четыре пять шесть семь восемь девять десять
de null eins zwei drei vier fünf sechs sieben acht neun zehn
pt zero um dois três quatro cinco seis sete oito nove dez
nl nul één twee drie vier vijf zes zeven acht negen tien
pl zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć
uk нуль один два три чотири п'ять шість сім вісім дев'ять десять
sv noll ett två tre fyra fem sex sju åtta nio tio
da nul et to tre fire fem seks syv otte ni ti
no null en to tre fire fem seks syv åtte ni ti
fi nolla yksi kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän kymmenen
cs nula jedna dva tři čtyři pět šest sedm osm devět deset
ro zero unu doi trei patru cinci șase șapte opt nouă zece
ca zero un dos tres quatre cinc sis set vuit nou deu
hu nulla egy kettő három négy öt hat hét nyolc kilenc tíz
tr sıfır bir iki üç dört beş altı yedi sekiz dokuz on
id nol satu dua tiga empat lima enam tujuh delapan sembilan sepuluh
"""  # noqa: RUF001
"""From 0 to 10, by Whisper's code of the language. Longer ones are more than one word in most languages."""

_FIGURES = {
    language: {word: str(number) for number, word in enumerate(words)}
    for language, *words in map(str.split, _WORDS.strip().splitlines())
}

_FIGURE = re.compile(r"(?<!\S)\d")


@dataclass(frozen=True, slots=True)
class Number:
    """A word of a text that is a number."""

    first: int
    """Its first token."""
    last: int
    """One past its last."""
    figure: str


def numbers(words: Sequence[str], pieces: Sequence[Sequence[int]], language: str) -> list[Number]:
    """Return the numbers from 0 to 10 among `words`, with the tokens of each as `pieces`; none in other languages."""
    figures = _FIGURES.get(language, {})
    found, edge = [], 0
    for word, tokens in zip(words, pieces, strict=True):
        figure = figures.get(word.strip().casefold()) if word.startswith(" ") else None
        if figure is not None:
            found.append(Number(edge, edge + len(tokens), figure))
        edge += len(tokens)
    return found


def has_figures(text: str) -> bool:
    """Whether a word of the text begins with a figure."""
    return _FIGURE.search(text) is not None


def beside(place: int, drafts: Mapping[int, Draft] | Sequence[Draft], telling: Sequence[int]) -> list[int]:
    """Return the tokens of the other texts of `telling` in the chain of the window at `place`, those before it last.

    `telling` are places in order; chains are counted from place 0.
    """
    own = [other for other in telling if other // CHAIN == place // CHAIN and other != place]
    return [token for other in sorted(own, key=lambda other: other < place) for token in drafts[other].tokens]


def behind(
    place: int,
    drafts: Mapping[int, Draft] | Sequence[Draft],
    telling: Sequence[int],
    prompt: Sequence[int],
    room: int,
) -> list[int]:
    """Return what the text at `place` is weighed behind, `room` tokens at most: `prompt`, and the end of `beside`.

    Nothing where no other text tells, or where there is no room for it.
    """
    texts = beside(place, drafts, telling)
    left = min(PROMPT_TOKENS, room) - len(prompt)
    return [*prompt, *texts[-left:]] if texts and left > 0 else []

"""What follows from the probabilities of languages that a model gives: pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dropscribe.backends import Languages


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """How many windows are asked for their language, and what is concluded."""

    most: int = 8
    """At most so many windows are asked before the first is transcribed: all of a short recording.
    What they cost is their encoding, which is kept for the transcript (`encodings.MOST_WINDOWS`)."""
    clear: float = 0.75
    """Probability of a long recording's language from which on its other windows are not asked
    before the first is transcribed."""
    brief: tuple[tuple[float, float], ...] = ((1.0, 0.8), (7.0, 0.7))
    """Seconds of silence behind a clip, instead of those that fill up 30 s, and the probability
    from which on the language is believed that is detected so; else the next is tried. Of 158
    clips of 0.7 to 15 s in five languages, 138 were believed at the first with 1 s, for 0.11 of
    the cost, 149 with 5 to 10 s, for 0.26: all of them had the same language by the whole window,
    from 0.7 and from 0.5 on (base). Sound cut off after 3 s is no such evidence: 3 differed."""
    possible: float = 0.6
    """Probability in a part from which on its speech speaks for a language,"""
    possible_s: float = 3.0
    """and the seconds of such speech that a language needs to be considered at all."""
    floor: float = 0.01
    """A lower probability counts as this: the model is sure of much that is not so."""
    enough_s: float = 4.0
    """Seconds of speech that the model needs to be believed; fewer count in proportion, more up to
    half as much again."""
    switch: float = 4.0
    """What a change of language costs, as the logarithm of a ratio of probabilities: 1 to 55."""

    rare: float = 0.8
    """Probability that a language of `RARE` must reach to be taken."""
    doubtful: float = 0.5
    """Probability of a recording's language below which the language is said to be uncertain: all
    others together are likelier."""


RULES = LanguageRules()

RARE = frozenset(
    [
        "la",
        "sa",
        "nn",
        "haw",
        "mi",
        "jw",
        "su",
        "ln",
        "sn",
        "yo",
        "so",
        "mg",
        "br",
        "oc",
        "fo",
        "lb",
        "yi",
        "tk",
        "ba",
        "tt",
        "bo",
        "ht",
    ]
)
"""Languages that Whisper heard little of: it takes others for them more often than it hears them."""
_NEGLIGIBLE = 0.001
"""A lower probability of a language is not kept."""


@dataclass(frozen=True, slots=True)
class Detection:
    """The languages that the model found in one stretch."""

    seconds: float
    """Of speech in it."""
    probabilities: Mapping[str, float]
    """By language."""

    @property
    def best(self) -> str:
        """The likeliest language."""
        return max(self.probabilities, key=lambda language: self.probabilities[language])


def restrict(probabilities: Mapping[str, float], candidates: Sequence[str]) -> dict[str, float]:
    """Return the probabilities of the candidates; of all if there are none, or none that the model
    knows.
    """
    known = {language: p for language, p in probabilities.items() if not candidates or language in candidates}
    if not sum(known.values()):
        known = dict(probabilities)
    total = sum(known.values())
    return {language: p / total for language, p in known.items()}


def find_main_language(detections: Sequence[Detection], candidates: Sequence[str] = ()) -> tuple[str, float]:
    """Return the likeliest language of all stretches, each weighted by its speech, and its mean
    probability.

    One of `RARE` must be likelier than `RULES.rare`, or be among the `candidates`.
    """
    weight = sum(each.seconds for each in detections)
    mean: dict[str, float] = {}
    for each in detections:
        for language, p in each.probabilities.items():
            mean[language] = mean.get(language, 0.0) + p * (each.seconds / weight if weight else 1 / len(detections))
    usual = [
        language for language, p in mean.items() if language not in RARE or language in candidates or p >= RULES.rare
    ]
    best = max(usual or mean, key=lambda language: mean[language])
    return best, round(min(1.0, mean[best]), 4)


def find_runner_up(detections: Sequence[Detection], best: str, probability: float) -> str:
    """Return the language that is likeliest after the `best` one, where that is in doubt; else
    none.
    """
    others = sorted({language for each in detections for language in each.probabilities} - {best})
    if probability >= RULES.doubtful or not others:
        return ""
    return max(others, key=lambda x: sum(each.seconds * each.probabilities.get(x, 0.0) for each in detections))


def find_possible(detections: Sequence[Detection], main: str, candidates: Sequence[str] = ()) -> list[str]:
    """Return the languages that parts of a recording may be in: `main`, and those that enough of
    its speech clearly speaks for.
    """
    seconds: dict[str, float] = {}
    for each in detections:
        if not each.probabilities:
            continue
        best = each.best
        least = RULES.rare if best in RARE and best not in candidates else RULES.possible
        if each.probabilities[best] >= least:
            seconds[best] = seconds.get(best, 0.0) + each.seconds
    return sorted({main} | {language for language, total in seconds.items() if total >= RULES.possible_s})


def smooth_languages(detections: Sequence[Detection], possible: Sequence[str]) -> list[str]:
    """Return the language of each stretch: the likeliest sequence of `possible` ones, when changes
    cost. (Viterbi's algorithm.)

    A short stretch alone must be all but certain to be in another language than its neighbours;
    several in a row need less.
    """

    def score(heard: Detection, language: str) -> float:
        weight = min(1.5, heard.seconds / RULES.enough_s)
        return weight * math.log(max(RULES.floor, heard.probabilities.get(language, 0.0)))

    if not detections:
        return []
    scores = dict.fromkeys(possible, 0.0)
    paths: list[dict[str, str]] = []
    for number, heard in enumerate(detections):
        if number:
            best = max(possible, key=lambda language: scores[language])
            paths.append({x: x if scores[x] >= scores[best] - RULES.switch else best for x in possible})
            scores = {x: max(scores[x], scores[best] - RULES.switch) for x in possible}
        scores = {x: scores[x] + score(heard, x) for x in possible}
    found = [max(possible, key=lambda x: scores[x])]
    for path in reversed(paths):
        found.append(path[found[-1]])
    return found[::-1]


def compact(languages: Mapping[str, float]) -> Languages:
    """Return the languages that matter, rounded: equal wherever they were heard."""
    return {language: round(p, 4) for language, p in languages.items() if p >= _NEGLIGIBLE}

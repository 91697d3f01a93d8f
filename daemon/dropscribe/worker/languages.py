"""The stage "decide language": which language is spoken, and where, when there are several.

Guarantees: decided on speech from all over the recording, never on its beginning alone; one odd
stretch does not make a recording mixed; the same recording and model give the same answer. The
backend gives probabilities; what follows from them are pure functions.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker.vad import Span
from dropscribe.worker.windows import Cutting, cut_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Backend
    from dropscribe.worker.speech import Speech

UNKNOWN = "und"
"""The language of a recording in which nobody speaks."""


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """How many windows are asked for their language, and what is concluded."""

    fewest: int = 2
    """At least so many windows are asked,"""
    most: int = 8
    """at most so many,"""
    one_in: int = 4
    """else one in so many. Each costs a run of the encoder; transcribing a window takes one as
    well."""
    clear: float = 0.75
    """Probability of a recording's language from which on its windows are not asked one by one."""
    other: float = 0.6
    """Probability of another language in one window from which on all of them are asked."""
    brief: tuple[tuple[float, float], ...] = ((1.0, 0.8), (7.0, 0.7))
    """Seconds of silence behind a clip, instead of those that fill up 30 s, and the probability
    from which on the language is believed that is detected so; else the next is tried. Of 158
    clips of 0.7 to 15 s in five languages, 138 were believed at the first with 1 s, for 0.11 of
    the cost, 149 with 5 to 10 s, for 0.26: all of them had the same language by the whole window,
    from 0.7 and from 0.5 on (base). Sound cut off after 3 s is no such evidence: 3 differed."""
    stretch_silence_s: float = 1.0
    """Seconds of silence behind a stretch of a recording that may be mixed."""
    sure: float = 0.9
    """Probability of a stretch's language from which on it counts as one language."""
    possible: float = 0.5
    """Probability that a language must reach somewhere to be considered at all."""
    floor: float = 0.01
    """A lower probability counts as this."""
    enough_s: float = 4.0
    """Seconds of speech that the model needs to be believed; fewer count in proportion."""
    switch: float = 2.2
    """What a change of language costs, as the logarithm of a ratio of probabilities: 1 to 9."""


RULES = LanguageRules()

_CLOSER = Cutting(limit=12.0, bridge=1.5, gap=1.5)
"""How a recording that may be mixed is cut: not across a pause in which another language may
begin."""
_FINER = Cutting(limit=6.0, bridge=0.6, gap=0.6)
"""How that is cut again where the language may change; less is too little for Whisper to tell it.
With base, in 204 s of prompts in four languages, the language was right for 84 % of the speech
without this, and for 96 % with it."""


@dataclass(frozen=True, slots=True)
class Detection:
    """The languages that the model found in one stretch."""

    seconds: float
    """Of speech in it."""
    probabilities: Mapping[str, float]
    """By language; they sum to 1."""

    @property
    def best(self) -> str:
        """The likeliest language."""
        return max(self.probabilities, key=lambda language: self.probabilities[language])


@dataclass(frozen=True, slots=True)
class SpokenLanguages:
    """What is spoken in a recording."""

    language: str
    """The one that most is spoken in."""
    probability: float | None
    """How sure that is, in a mixed recording where that one is spoken; None when it was not
    asked."""
    windows: tuple[Window, ...]
    """What is transcribed window by window; in a mixed recording no window holds two languages."""
    languages: tuple[str, ...]
    """That of each window."""

    @property
    def mixed(self) -> bool:
        """Whether there are several."""
        return len(set(self.languages)) > 1

    def group(self) -> Iterator[tuple[str, int, int]]:
        """Yield each language with the windows that follow each other in it: the first, and one
        past the last.
        """
        first = 0
        for language, group in itertools.groupby(self.languages):
            last = first + sum(1 for _ in group)
            yield language, first, last
            first = last


def decide_languages(
    backend: Backend,
    speech: Speech,
    windows: Sequence[Window],
    *,
    language: str = "auto",
    candidates: Sequence[str] = (),
    mixed: str = "auto",
    heartbeat: Callable[[float], None] | None = None,
) -> SpokenLanguages:
    """Return the languages of a recording and its windows, which are others in a mixed recording.

    Args:
        backend: With a model.
        speech: The recording.
        windows: Its windows if it is in one language.
        language: The one that is set, or `auto`.
        candidates: Those that can occur; none: all.
        mixed: `never` one language a recording, `always` one a stretch, `auto` if windows disagree
            clearly.
        heartbeat: Called now and then with the place that is worked on, seconds of the recording.
    """
    if language != "auto" or len(candidates) == 1:
        return _use_one(language if language != "auto" else candidates[0], None, windows)
    if not windows:
        return _use_one(UNKNOWN, None, windows)

    def detect(chosen: Sequence[Window], silence_s: float | None = None) -> list[Detection]:
        return list(_detect(backend, speech, chosen, candidates, heartbeat, silence_s))

    if mixed != "always":
        detections = detect(_spread(windows))
        best, probability = find_main_language(detections)
        if mixed == "never" or (probability >= RULES.clear and not has_other_language(detections, best)):
            return _use_one(best, probability, windows)
    closer = speech.cut_windows(_CLOSER)
    stretches = list(zip(closer, detect(closer, RULES.stretch_silence_s), strict=True))
    # Where the language may change inside a stretch, the languages of its parts are detected.
    parts = {window: cut for window in find_unsure(speech, stretches) if len(cut := _divide(speech, window)) > 1}
    finer = [part for cut in parts.values() for part in cut]
    stretches = [pair for pair in stretches if pair[0] not in parts]
    stretches += zip(finer, detect(finer, RULES.stretch_silence_s), strict=True)
    stretches.sort(key=lambda pair: speech.sort_key(pair[0]))
    best, probability = find_main_language([detection for _, detection in stretches])
    pairs: list[tuple[Window, str]] = []
    in_best: list[Detection] = []
    for channel, spans in enumerate(speech.channel_spans):
        own = [pair for pair in stretches if speech.find_channel(pair[0].start) == channel]
        smooth = smooth_languages([detection for _, detection in own], best)
        in_best += [detection for (_, detection), each in zip(own, smooth, strict=True) if each == best]
        known = [(window, each) for (window, _), each in zip(own, smooth, strict=True)]
        pairs += join_stretches(speech, spans, known)
    if {each for _, each in pairs} == {best}:
        return _use_one(best, probability, windows)
    pairs.sort(key=lambda pair: speech.sort_key(pair[0]))
    numbered = tuple(dataclasses.replace(window, index=index) for index, (window, _) in enumerate(pairs))
    probability = find_main_language(in_best)[1] if in_best else probability
    return SpokenLanguages(best, probability, numbered, tuple(each for _, each in pairs))


def decide_briefly(
    backend: Backend,
    sound: NDArray[np.float32],
    windows: Sequence[Window],
    candidates: Sequence[str] = (),
) -> list[tuple[str, float] | None]:
    """Return the language of each window and its probability at a fraction of the cost; None where
    the model is not sure enough, and `decide_languages` is asked.

    Args:
        backend: With a model.
        sound: Shape (samples,), 16 kHz.
        windows: Of `sound`.
        candidates: The languages that can occur; none: all.
    """
    found: list[tuple[str, float] | None] = [None] * len(windows)
    for silence_s, sure in RULES.brief:
        waiting = [place for place, each in enumerate(found) if each is None]
        detected = backend.detect_languages(sound, [windows[place] for place in waiting], silence_s=silence_s)
        for place, probabilities in zip(waiting, detected, strict=True):
            known = restrict(probabilities, candidates)
            language = max(known, key=lambda each: known[each])
            if known[language] >= sure:
                found[place] = (language, round(min(1.0, known[language]), 4))
    return found


def _detect(
    backend: Backend,
    speech: Speech,
    windows: Sequence[Window],
    candidates: Sequence[str],
    heartbeat: Callable[[float], None] | None,
    silence_s: float | None = None,
) -> Iterator[Detection]:
    """Yield the languages of each window."""
    spans = speech.spans
    found = backend.detect_languages(speech.samples, windows, silence_s=silence_s)
    for window, probabilities in zip(windows, found, strict=True):
        seconds = sum(span.end - span.start for span in _clip_spans(spans, window)) / SAMPLE_RATE
        yield Detection(seconds, restrict(probabilities, candidates))
        if heartbeat is not None:
            heartbeat(speech.find_bounds(window)[1] / SAMPLE_RATE)


def restrict(probabilities: Mapping[str, float], candidates: Sequence[str]) -> dict[str, float]:
    """Return the probabilities of the candidates; of all if there are none, or none that the model
    knows.
    """
    known = {language: p for language, p in probabilities.items() if not candidates or language in candidates}
    if not sum(known.values()):
        known = dict(probabilities)
    total = sum(known.values())
    return {language: p / total for language, p in known.items()}


def find_main_language(detections: Sequence[Detection]) -> tuple[str, float]:
    """Return the likeliest language of all stretches, each weighted by its speech, and its mean
    probability.
    """
    weight = sum(each.seconds for each in detections)
    mean: dict[str, float] = {}
    for each in detections:
        for language, p in each.probabilities.items():
            mean[language] = mean.get(language, 0.0) + p * (each.seconds / weight if weight else 1 / len(detections))
    best = max(mean, key=lambda language: mean[language])
    return best, round(min(1.0, mean[best]), 4)


def has_other_language(detections: Sequence[Detection], language: str) -> bool:
    """Whether some stretch is so surely in another language that all are worth asking."""
    return any(each.best != language and each.probabilities[each.best] >= RULES.other for each in detections)


def find_unsure(speech: Speech, stretches: Sequence[tuple[Window, Detection]]) -> Iterator[Window]:
    """Yield the stretches that may hold two languages: the model is not sure, or a neighbour is in
    another.
    """
    for channel in range(len(speech.channel_spans)):
        own = [pair for pair in stretches if speech.find_channel(pair[0].start) == channel]
        for i, (window, detection) in enumerate(own):
            near = {other.best for _, other in own[max(0, i - 1) : i + 2]}
            if len(near) > 1 or detection.probabilities[detection.best] < RULES.sure:
                yield window


def smooth_languages(detections: Sequence[Detection], main: str) -> list[str]:
    """Return the language of each stretch: the likeliest sequence, when changes cost, also to and
    from `main`.

    One stretch alone must be all but certain to be in another language than its neighbours; two in
    a row need less. (Viterbi's algorithm.)
    """
    possible = sorted({main} | {h.best for h in detections if h.probabilities[h.best] >= RULES.possible})

    def score(h: Detection, language: str) -> float:
        weight = min(1.0, h.seconds / RULES.enough_s)
        return weight * math.log(max(RULES.floor, h.probabilities.get(language, 0.0)))

    scores = {language: 0.0 if language == main else -RULES.switch for language in possible}
    paths: list[dict[str, str]] = []
    for number, h in enumerate(detections):
        if number:
            best = max(possible, key=lambda language: scores[language])
            paths.append({x: x if scores[x] >= scores[best] - RULES.switch else best for x in possible})
            scores = {x: max(scores[x], scores[best] - RULES.switch) for x in possible}
        scores = {x: scores[x] + score(h, x) for x in possible}
    if not detections:
        return []
    last = max(possible, key=lambda x: scores[x] - (0.0 if x == main else RULES.switch))
    found = [last]
    for path in reversed(paths):
        found.append(path[found[-1]])
    return found[::-1]


def join_stretches(
    speech: Speech, spans: Sequence[Span], stretches: Sequence[tuple[Window, str]]
) -> Iterator[tuple[Window, str]]:
    """Yield the windows of one channel, where `spans` is spoken, that hold one language each, and
    which.

    `stretches` are those of this channel whose language is known; neighbours in one language
    become one again.
    """
    for language, group in itertools.groupby(stretches, key=lambda pair: pair[1]):
        run = [window for window, _ in group]
        whole = Window(0, run[0].start, run[-1].end)
        for window in cut_windows(speech.samples, list(_clip_spans(spans, whole))):
            yield window.cut(0, whole.start, whole.end), language


def _use_one(language: str, probability: float | None, windows: Sequence[Window]) -> SpokenLanguages:
    return SpokenLanguages(language, probability, tuple(windows), (language,) * len(windows))


def _spread(windows: Sequence[Window]) -> list[Window]:
    """Return some windows from all over: of equal parts of the recording the longest window
    each.
    """
    count = min(len(windows), max(RULES.fewest, min(RULES.most, len(windows) // RULES.one_in)))
    edges = [len(windows) * part // count for part in range(count + 1)]
    return [max(windows[a:b], key=lambda w: w.end - w.start) for a, b in itertools.pairwise(edges)]


def _divide(speech: Speech, window: Window) -> list[Window]:
    """Divide a stretch into smaller ones."""
    found = cut_windows(speech.samples, list(_clip_spans(speech.spans, window)), _FINER)
    return [part.cut(0, window.start, window.end) for part in found]


def _clip_spans(spans: Sequence[Span], window: Window) -> Iterator[Span]:
    """Yield the parts of the spans, which are in order, that are in the window."""
    for index in range(bisect.bisect_right(spans, window.start, key=lambda span: span.end), len(spans)):
        if spans[index].start >= window.end:
            break
        yield Span(max(spans[index].start, window.start), min(spans[index].end, window.end))

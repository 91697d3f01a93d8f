"""Which language is spoken, and where, when there are several.

Guarantees: decided on speech from all over the recording, never on its beginning alone; one odd stretch does not make
a recording mixed; the same recording and model give the same answer. What the model hears comes from the backend;
what follows from it are pure functions.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker import vad
from dropscribe.worker.vad import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dropscribe.backends import Backend
    from dropscribe.worker.channels import Sound

UNKNOWN = "und"
"""What is said of a recording in which nobody speaks."""

FEWEST, SHARE, MOST = 2, 4, 8
"""Windows that are listened to for the language: one in `SHARE`, but at least `FEWEST` and at most `MOST`. Each costs
a run of the encoder, of which transcribing a window takes one."""

_CLOSER = vad.Cutting(limit=12.0, bridge=1.5, gap=1.5)
"""How a recording that may be mixed is cut: not across a pause in which another language may begin."""
_FINER = vad.Cutting(limit=6.0, bridge=0.6, gap=0.6)
"""How that is cut again where the language may change; less is too little for Whisper to tell it. With base, in 204 s
of prompts in four languages, the language was right for 84 % of the speech without this, and for 96 % with it."""
_CLEAR = 0.75  # probability of a recording's language, from which on its windows are not doubted
_SURE = 0.9  # probability of a stretch's language, from which on it is taken for one language
_OTHER = 0.6  # probability of another language in one window, from which on all of them are listened to
_FLOOR = 0.01  # probability below which the model's word is not taken for more than this
_ENOUGH = 4.0  # seconds of speech that the model needs to be believed; fewer count in proportion
_SWITCH = 2.2  # what a change of language costs, as the logarithm of a ratio of probabilities: 1 to 9
_POSSIBLE = 0.5  # probability that a language must reach somewhere to be thought of at all


@dataclass(frozen=True, slots=True)
class Heard:
    """What the model made of one stretch."""

    seconds: float
    """Of speech in it."""
    probabilities: Mapping[str, float]
    """By language; they sum to 1."""

    @property
    def best(self) -> str:
        """The likeliest language."""
        return max(self.probabilities, key=lambda language: self.probabilities[language])


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is spoken in a recording."""

    language: str
    """The one that most is spoken in."""
    probability: float | None
    """How sure that is, in a mixed recording where that one is spoken; None when it was not asked."""
    windows: tuple[Window, ...]
    """What is transcribed window by window; in a mixed recording no window holds two languages."""
    languages: tuple[str, ...]
    """That of each window."""


def decide(
    backend: Backend,
    sound: Sound,
    windows: Sequence[Window],
    *,
    language: str = "auto",
    candidates: Sequence[str] = (),
    mixed: str = "auto",
    heartbeat: Callable[[float], None] | None = None,
) -> Spoken:
    """Return the languages of `sound` and its windows, which a mixed recording has others of.

    Args:
        backend: With a model.
        sound: The recording.
        windows: Its windows if it is in one language.
        language: The one that is set, or `auto`.
        candidates: Those that can occur; none: all.
        mixed: `never` one language a recording, `always` one a stretch, `auto` if windows disagree clearly.
        heartbeat: Called now and then with the place that is listened to, seconds of the recording.
    """
    if language != "auto" or len(candidates) == 1:
        return _one(language if language != "auto" else candidates[0], None, windows)
    if not windows:
        return _one(UNKNOWN, None, windows)

    spoken = sound.spans

    def hear(chosen: Sequence[Window]) -> list[Heard]:
        found = []
        for window, told in zip(chosen, backend.detect_languages(sound.samples, chosen), strict=True):
            seconds = sum(span.end - span.start for span in _inside(spoken, window)) / SAMPLE_RATE
            found.append(Heard(seconds, restricted(told, candidates)))
            if heartbeat is not None:
                heartbeat(sound.times(window)[1] / SAMPLE_RATE)
        return found

    if mixed != "always":
        heard = hear(_spread(windows))
        best, probability = overall(heard)
        if mixed == "never" or (probability >= _CLEAR and not disagree(heard, best)):
            return _one(best, probability, windows)
    closer = sound.windows(_CLOSER)
    stretches = list(zip(closer, hear(closer), strict=True))
    # Where the language may change inside a stretch, its parts are listened to.
    parts = {window: cut for window in unsure(sound, stretches) if len(cut := _parts(sound, window)) > 1}
    finer = [part for cut in parts.values() for part in cut]
    stretches = [pair for pair in stretches if pair[0] not in parts]
    stretches = sorted([*stretches, *zip(finer, hear(finer), strict=True)], key=lambda pair: sound.place(pair[0]))
    best, probability = overall([heard for _, heard in stretches])
    pairs: list[tuple[Window, str]] = []
    in_best: list[Heard] = []
    for channel, spans in enumerate(sound.speech):
        own = [pair for pair in stretches if sound.channel(pair[0].start) == channel]
        found = smoothed([heard for _, heard in own], best)
        in_best += [heard for (_, heard), each in zip(own, found, strict=True) if each == best]
        pairs += joined(sound, spans, [(window, each) for (window, _), each in zip(own, found, strict=True)])
    if {each for _, each in pairs} == {best}:
        return _one(best, probability, windows)
    pairs.sort(key=lambda pair: sound.place(pair[0]))
    numbered = tuple(dataclasses.replace(window, index=index) for index, (window, _) in enumerate(pairs))
    return Spoken(best, overall(in_best)[1] if in_best else probability, numbered, tuple(each for _, each in pairs))


def runs(spoken: Spoken) -> Iterator[tuple[str, int, int]]:
    """Yield each language with the windows that follow each other in it: the first, and one past the last."""
    first = 0
    for language, group in itertools.groupby(spoken.languages):
        last = first + sum(1 for _ in group)
        yield language, first, last
        first = last


def restricted(told: Mapping[str, float], candidates: Sequence[str]) -> dict[str, float]:
    """Return the probabilities of the candidates; of all if there are none, or none that the model knows."""
    known = {language: p for language, p in told.items() if not candidates or language in candidates}
    if not sum(known.values()):
        known = dict(told)
    total = sum(known.values())
    return {language: p / total for language, p in known.items()}


def overall(heard: Sequence[Heard]) -> tuple[str, float]:
    """Return the likeliest language of all stretches, each by its speech, and its mean probability."""
    weight = sum(h.seconds for h in heard)
    mean: dict[str, float] = {}
    for h in heard:
        for language, p in h.probabilities.items():
            mean[language] = mean.get(language, 0.0) + p * (h.seconds / weight if weight else 1 / len(heard))
    best = max(mean, key=lambda language: mean[language])
    return best, round(min(1.0, mean[best]), 4)


def disagree(heard: Sequence[Heard], language: str) -> bool:
    """Whether some stretch is so surely in another language that all are worth listening to."""
    return any(h.best != language and h.probabilities[h.best] >= _OTHER for h in heard)


def unsure(sound: Sound, stretches: Sequence[tuple[Window, Heard]]) -> Iterator[Window]:
    """Yield the stretches that may hold two languages: the model is not sure, or a neighbour is in another."""
    for channel in range(len(sound.speech)):
        own = [pair for pair in stretches if sound.channel(pair[0].start) == channel]
        for i, (window, heard) in enumerate(own):
            near = {other.best for _, other in own[max(0, i - 1) : i + 2]}
            if len(near) > 1 or heard.probabilities[heard.best] < _SURE:
                yield window


def smoothed(heard: Sequence[Heard], main: str) -> list[str]:
    """Return the language of each stretch: the likeliest sequence, when changes cost, also to and from `main`.

    One stretch alone must be all but certain to be in another language than its neighbours; two in a row need
    less. (Viterbi's algorithm.)
    """
    possible = sorted({main} | {h.best for h in heard if h.probabilities[h.best] >= _POSSIBLE})

    def weighed(h: Heard, language: str) -> float:
        return min(1.0, h.seconds / _ENOUGH) * math.log(max(_FLOOR, h.probabilities.get(language, 0.0)))

    scores = {language: 0.0 if language == main else -_SWITCH for language in possible}
    paths: list[dict[str, str]] = []
    for number, h in enumerate(heard):
        if number:
            best = max(possible, key=lambda language: scores[language])
            paths.append({x: x if scores[x] >= scores[best] - _SWITCH else best for x in possible})
            scores = {x: max(scores[x], scores[best] - _SWITCH) for x in possible}
        scores = {x: scores[x] + weighed(h, x) for x in possible}
    if not heard:
        return []
    last = max(possible, key=lambda x: scores[x] - (0.0 if x == main else _SWITCH))
    found = [last]
    for path in reversed(paths):
        found.append(path[found[-1]])
    return found[::-1]


def joined(sound: Sound, spans: Sequence[Span], told: Sequence[tuple[Window, str]]) -> Iterator[tuple[Window, str]]:
    """Yield the windows of one channel, where `spans` is spoken, that hold one language each, and which.

    `told` are the stretches of this channel whose language is known; neighbours in one language become one again.
    """
    for language, group in itertools.groupby(told, key=lambda pair: pair[1]):
        run = [window for window, _ in group]
        whole = Window(0, run[0].start, run[-1].end)
        for window in vad.windows(sound.samples, list(_inside(spans, whole))):
            yield window.cut(0, whole.start, whole.end), language


def _one(language: str, probability: float | None, windows: Sequence[Window]) -> Spoken:
    return Spoken(language, probability, tuple(windows), (language,) * len(windows))


def _spread(windows: Sequence[Window]) -> list[Window]:
    """Return some windows from all over: of equal parts of the recording the longest window each."""
    count = min(len(windows), max(FEWEST, min(MOST, len(windows) // SHARE)))
    edges = [len(windows) * part // count for part in range(count + 1)]
    return [max(windows[a:b], key=lambda w: w.end - w.start) for a, b in itertools.pairwise(edges)]


def _parts(sound: Sound, window: Window) -> list[Window]:
    """Return a stretch in smaller ones."""
    found = vad.windows(sound.samples, list(_inside(sound.spans, window)), _FINER)
    return [part.cut(0, window.start, window.end) for part in found]


def _inside(spans: Sequence[Span], window: Window) -> Iterator[Span]:
    """Yield what of the spans, which are in order, lies in the window."""
    for index in range(bisect.bisect_right(spans, window.start, key=lambda span: span.end), len(spans)):
        if spans[index].start >= window.end:
            break
        yield Span(max(spans[index].start, window.start), min(spans[index].end, window.end))

"""The stage "decide language": which language is spoken, and where, when there are several.

Guarantees: every window gives evidence, from what is encoded for its transcript anyway; one odd
stretch does not make a recording mixed; no window holds two languages; the same recording and model
give the same answer, also after a kill. The backend gives probabilities; what follows from them are
pure functions.

A long recording is decided on samples from all over it (`decide_languages`). What those missed is
heard while its windows are transcribed (`LanguageWatch`): then the rest is planned anew.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.backends import SAMPLE_RATE, Hearing, Window
from dropscribe.worker.language_evidence import (
    RULES,
    Detection,
    compact,
    find_main_language,
    find_possible,
    find_runner_up,
    restrict,
    smooth_languages,
)
from dropscribe.worker.vad import Span
from dropscribe.worker.windows import Cutting, cut_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Backend, Languages, Part
    from dropscribe.worker.speech import Speech

UNKNOWN = "und"
"""The language of a recording in which nobody speaks."""


_PARTS = Cutting(limit=5.0, bridge=0.6, gap=0.6)
"""How windows are divided into parts that are asked for their language. Less is too little for
Whisper to tell it; where the parts are longer, a change is found later."""


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
    runner_up: str = ""
    """The second likeliest language, where `probability` leaves the first in doubt."""

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
        mixed: `never` one language a recording, `always` one a stretch, `auto` if parts disagree
            clearly.
        heartbeat: Called now and then with the place that is worked on, seconds of the recording.
    """
    if language != "auto" or len(candidates) == 1:
        return _use_one(language if language != "auto" else candidates[0], windows)
    if not windows:
        return _use_one(UNKNOWN, windows)
    asked = _spread(windows)
    detections = list(_detect(backend, speech, asked, candidates, heartbeat))
    best, probability = find_main_language(detections, candidates)
    runner_up = find_runner_up(detections, best, probability)
    one = SpokenLanguages(best, probability, tuple(windows), (best,) * len(windows), runner_up)
    if mixed == "never" or set(detections[0].probabilities) == {best}:  # an English model knows no other
        return one
    listener = Listener(backend, speech, windows, candidates, heartbeat)
    if len(asked) < len(windows) and mixed != "always":
        listener.hear(asked)
        if probability >= RULES.clear and not listener.contradicts(best):
            return one
    listener.hear(windows)
    return listener.plan(one)


class Listener:
    """What is heard of the languages of a recording, part by part of its windows."""

    def __init__(
        self,
        backend: Backend,
        speech: Speech,
        windows: Sequence[Window],
        candidates: Sequence[str] = (),
        heartbeat: Callable[[float], None] | None = None,
    ) -> None:
        """Take a recording of which nothing is heard yet. The arguments are those of
        `decide_languages`.
        """
        self._backend = backend
        self._speech = speech
        self._windows = windows
        self._candidates = candidates
        self._heartbeat = heartbeat
        self._read: dict[int, tuple[Languages, ...]] = {}
        self._parts = [_divide(speech, window) for window in windows]
        spans = speech.spans
        self._seconds = [[_measure_speech(spans, part) for part in parts] for parts in self._parts]
        self.hearing = Hearing(
            [
                [_place_part(window, part) for part in parts]
                for window, parts in zip(windows, self._parts, strict=True)
            ]
        )

    def hear(self, windows: Sequence[Window]) -> None:
        """Ask some of the windows, but those that were heard already."""
        places = [each.index for each in windows if not self.read(each.index)]
        asked = [self._windows[place] for place in places]
        found = self._backend.hear_languages(
            self._speech.samples, asked, [self.hearing.parts[place] for place in places]
        )
        for place, heard in zip(places, found, strict=True):
            self.hearing.heard[place] = heard
            if self._heartbeat is not None:
                self._heartbeat(self._speech.find_bounds(self._windows[place])[1] / SAMPLE_RATE)

    def read(self, place: int) -> tuple[Languages, ...]:
        """Return what was heard of a window, in the form in which it is kept and judged."""
        if place not in self._read and place in self.hearing.heard:
            self._read[place] = tuple(compact(restrict(each, self._candidates)) for each in self.hearing.heard[place])
        return self._read.get(place, ())

    def recall(self, place: int, heard: Sequence[Languages]) -> None:
        """Take what `read` returned of a window in earlier work."""
        if len(heard) == len(self._parts[place]):
            self._read[place] = tuple(heard)

    def smooth(self, main: str, places: range | None = None) -> list[tuple[int, Window, Detection, str]]:
        """Return the parts that were heard, of each channel in order of time: the window's place,
        the part, what was heard, and its language, smoothed.

        Args:
            main: The language of the recording until now.
            places: The windows that count; None: all that were heard.
        """
        channels: list[list[tuple[int, Window, Detection]]] = [[] for _ in self._speech.channel_spans]
        for place in range(len(self._windows)) if places is None else places:
            rows = zip(self._parts[place], self._seconds[place], self.read(place), strict=False)
            own = [(place, part, Detection(seconds, heard)) for part, seconds, heard in rows]
            channels[self._speech.find_channel(self._windows[place].start)] += own
        possible = find_possible([heard for rows in channels for _, _, heard in rows], main, self._candidates)
        return [
            (*row, language)
            for rows in channels
            for row, language in zip(rows, smooth_languages([heard for _, _, heard in rows], possible), strict=True)
        ]

    def contradicts(self, language: str, places: range | None = None) -> bool:
        """Whether parts of these windows are in another language."""
        return any(each[-1] != language for each in self.smooth(language, places))

    def plan(self, one: SpokenLanguages) -> SpokenLanguages:
        """Return the languages of a recording of which every window was heard.

        The windows before the first that is in another language than `one`, the plan until now,
        stay as they are.
        """
        said = self.smooth(one.language)
        first = min((place for place, _, _, language in said if language != one.language), default=None)
        if first is None:
            return one
        pairs: list[tuple[Window, str]] = []
        for channel, spans in enumerate(self._speech.channel_spans):
            rest = [
                (part, language)
                for place, part, _, language in said
                if place >= first and self._speech.find_channel(part.start) == channel
            ]
            pairs += join_stretches(self._speech, spans, rest)
        pairs.sort(key=lambda pair: self._speech.sort_key(pair[0]))
        new = [dataclasses.replace(window, index=first + index) for index, (window, _) in enumerate(pairs)]
        seconds: dict[str, float] = {}
        sure: dict[str, float] = {}
        for _, _, heard, language in said:
            seconds[language] = seconds.get(language, 0.0) + heard.seconds
            sure[language] = sure.get(language, 0.0) + heard.seconds * heard.probabilities.get(language, 0.0)
        best = max(seconds, key=lambda language: seconds[language])
        return SpokenLanguages(
            best,
            round(min(1.0, sure[best] / (seconds[best] or 1.0)), 4),
            (*self._windows[:first], *new),
            (*[one.language] * first, *[language for _, language in pairs]),
        )


class LanguageWatch:
    """Hears the languages of a recording while it is transcribed, and plans anew where the plan does
    not hold.

    That is at most once: then every window is heard.
    """

    def __init__(
        self, listener: Listener, spoken: SpokenLanguages, heard: Sequence[Sequence[Languages]] = ()
    ) -> None:
        """Take the plan in force, which is one language, and what was `heard` of the windows that
        are done.
        """
        self._listener = listener
        self._spoken = spoken
        self._is_open = not spoken.mixed
        for place, each in enumerate(heard):
            listener.recall(place, each)

    @property
    def hearing(self) -> Hearing | None:
        """What the engine is to hear; None if nothing."""
        return self._listener.hearing if self._is_open else None

    def read(self, place: int) -> tuple[Languages, ...]:
        """Return what was heard of a window."""
        return self._listener.read(place) if self._is_open else ()

    def reconsider(self, done: int) -> SpokenLanguages | None:
        """Return what is spoken, when the `done` windows contradict the plan; None if they do not."""
        # What the engine heard ahead does not count: how far that is depends on its pace.
        if not self._is_open or not self._listener.contradicts(self._spoken.language, range(done)):
            return None
        self._listener.hear(self._spoken.windows)
        self._is_open = False
        plan = self._listener.plan(self._spoken)
        return None if plan is self._spoken else plan


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
) -> Iterator[Detection]:
    """Yield the languages of each window."""
    spans = speech.spans
    found = backend.detect_languages(speech.samples, windows)
    for window, probabilities in zip(windows, found, strict=True):
        yield Detection(_measure_speech(spans, window), restrict(probabilities, candidates))
        if heartbeat is not None:
            heartbeat(speech.find_bounds(window)[1] / SAMPLE_RATE)


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


def _use_one(language: str, windows: Sequence[Window]) -> SpokenLanguages:
    return SpokenLanguages(language, None, tuple(windows), (language,) * len(windows))


def _spread(windows: Sequence[Window]) -> list[Window]:
    """Return some windows from all over: of equal parts of the recording the longest window
    each.
    """
    count = min(len(windows), RULES.most)
    edges = [len(windows) * part // count for part in range(count + 1)]
    return [max(windows[a:b], key=lambda w: w.end - w.start) for a, b in itertools.pairwise(edges)]


def _divide(speech: Speech, window: Window) -> list[Window]:
    """Divide a window into the parts that are asked for their language."""
    found = cut_windows(speech.samples, list(_clip_spans(speech.spans, window)), _PARTS)
    return [part.cut(0, window.start, window.end) for part in found]


def _place_part(window: Window, part: Window) -> Part:
    """Return where a part is in the kept sound of its window."""

    def place(sample: int) -> int:
        return (
            sample - window.start - sum(min(last, sample) - first for first, last in window.omitted if first < sample)
        )

    return place(part.start), place(part.end)


def _measure_speech(spans: Sequence[Span], window: Window) -> float:
    """Return the seconds of speech in a window."""
    return sum(span.end - span.start for span in _clip_spans(spans, window)) / SAMPLE_RATE


def _clip_spans(spans: Sequence[Span], window: Window) -> Iterator[Span]:
    """Yield the parts of the spans, which are in order, that are in the window."""
    for index in range(bisect.bisect_right(spans, window.start, key=lambda span: span.end), len(spans)):
        if spans[index].start >= window.end:
            break
        yield Span(max(spans[index].start, window.start), min(spans[index].end, window.end))

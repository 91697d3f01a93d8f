"""When each word is spoken: the engine's times, aligned with the sound.

Guarantees: text and order stay, words do not overlap, no time leaves the window; what a window
gives depends on that window alone; memory does not grow with the recording. Pure functions, the
same for every backend.

Whisper finds words by its attention. Inside speech that is good to some 30 ms, where the engine gives
it the text letter by letter (`backends.letters`). But a word next to a pause often takes a part of
the pause or ends early, and among many pauses whole runs of words slip. So the sound decides beside
pauses, the letters inside speech: `align_words` weighs them in one dynamic programme.

1. `sound`, with `spectrum` and `segmentation`: the sound segments of the window, from energy over
   noise. Where noise or music hides them, there is only the detected speech.
2. `durations`: how long each word usually takes.
3. `alignment`: the times that the engine, the sound and the lengths of words speak least against.
4. `confidence`: how far they agree.

`sentences` then divides the segments of the transcript into sentences.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from dropscribe.worker.word_times.alignment import place_words
from dropscribe.worker.word_times.confidence import rate_times
from dropscribe.worker.word_times.durations import estimate_durations
from dropscribe.worker.word_times.intervals import clip_speech
from dropscribe.worker.word_times.segmentation import SoundSegment
from dropscribe.worker.word_times.sentences import keep_words, remove_overlaps, split_sentences
from dropscribe.worker.word_times.sound import Sound, measure_sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Window
    from dropscribe.transcript import Segment
    from dropscribe.worker.vad import Span

__all__ = [
    "Sound",
    "SoundSegment",
    "align_window",
    "align_words",
    "clip_speech",
    "keep_words",
    "measure_sound",
    "remove_overlaps",
    "split_sentences",
]


def align_window(
    samples: NDArray[np.float32], window: Window, segments: Iterable[Segment], spans: Sequence[Span]
) -> list[Segment]:
    """Return the segments of `window` with the times of their words aligned with the sound.

    Args:
        samples: The recording, shape (samples,), 16 kHz; only what is around the window is read.
        window: Where the segments are from.
        segments: As the engine gave them; those without words stay as they are.
        spans: Detected speech of the whole recording, as the VAD gives it.
    """
    segments = list(segments)
    if not any(segment.words for segment in segments):
        return segments
    return align_words(segments, measure_sound(samples, window, spans))


def align_words(segments: Sequence[Segment], sound: Sound) -> list[Segment]:
    """Return the segments with the times of their words aligned with the sound segments of
    `sound`.
    """
    words = [word for segment in segments for word in segment.words]
    if not words:
        return list(segments)
    usual_lengths = estimate_durations(words, sound.segments)
    times = place_words(words, usual_lengths, sound)
    ratings = rate_times(words, times, usual_lengths, sound)
    placed = iter(
        dataclasses.replace(word, start=round(start, 3), end=round(end, 3), time_confidence=round(rating, 2))
        for word, (start, end), rating in zip(words, times, ratings, strict=True)
    )
    found = []
    for segment in segments:
        own = tuple(itertools.islice(placed, len(segment.words)))
        found.append(dataclasses.replace(segment, start=own[0].start, end=own[-1].end, words=own) if own else segment)
    return found

"""When each word is spoken: the engine's times, aligned with the sound.

Guarantees: text and order stay, words do not overlap, no time leaves the window; what a window
gives depends on that window alone; memory does not grow with the recording. Pure functions, the
same for every backend.

Whisper finds words by its attention. Inside a sentence that is good to some 50 ms, but a word next
to a pause often takes a part of the pause or ends early, and among many pauses whole runs of words
slip. So `align_words` takes these steps, one module each:

1. `sound`, with `spectrum` and `segmentation`: the sound segments of the window, from energy over
   noise.
2. `durations`: how long each word usually takes.
3. `alignment`: words assigned to sound segments, in order, at the lowest cost.
4. `engine_times`: the engine's lag and its gaps for punctuation removed, where the sound is clear.
5. `snapping`: the first word of a segment begins with it, the last ends with it.

`sentences` then divides the segments of the transcript into sentences.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from dropscribe.worker.word_times.alignment import assign_words
from dropscribe.worker.word_times.durations import estimate_durations
from dropscribe.worker.word_times.engine_times import close_punctuation_gaps, estimate_lag, remove_lag
from dropscribe.worker.word_times.intervals import clip_speech
from dropscribe.worker.word_times.segmentation import SoundSegment
from dropscribe.worker.word_times.sentences import keep_words, remove_overlaps, split_sentences
from dropscribe.worker.word_times.snapping import SNAPPING, snap_words
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
    usual_lengths = estimate_durations(words, sound.segments)
    original = words
    groups = assign_words(words, usual_lengths, sound.segments)
    if sound.headroom >= SNAPPING.clear_headroom:
        if lag := estimate_lag(words, groups, sound.segments):
            words = remove_lag(words, lag)
            groups = assign_words(words, usual_lengths, sound.segments)
        words, groups = close_punctuation_gaps(words, groups, sound)
    times = snap_words(words, usual_lengths, groups, sound, outside=original)
    placed = iter(
        dataclasses.replace(word, start=round(start, 3), end=round(end, 3))
        for word, (start, end) in zip(words, times, strict=True)
    )
    found = []
    for segment in segments:
        own = tuple(itertools.islice(placed, len(segment.words)))
        found.append(dataclasses.replace(segment, start=own[0].start, end=own[-1].end, words=own) if own else segment)
    return found

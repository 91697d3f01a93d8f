"""The stages of one window around its recheck: transcribe, place words, divide into sentences.

Guarantees: words are placed and sentences divided from the window alone. What the engine says of it
may depend on windows nearby in one way, the spelling of numbers; that is as `Backend.transcribe`
promises, so work that resumes after a kill gives the same.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.worker import word_times

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.backends import Backend, Hearing, Options, Window
    from dropscribe.transcript import Notice, Segment
    from dropscribe.worker.vad import Span
    from dropscribe.worker.word_times import Sound

_AHEAD = 32
"""Windows whose sound is analysed before the engine is done with them: a batch of a GPU."""


@dataclass(frozen=True, slots=True)
class WindowContext:
    """What the stages of a window need, but for the window itself."""

    backend: Backend
    samples: NDArray[np.float32]
    """Shape (samples,), 16 kHz."""
    spans: Sequence[Span]
    """Where somebody speaks in `samples`."""
    options: Options


@dataclass(frozen=True, slots=True)
class WindowText:
    """One window with its text: the value that goes from stage to stage."""

    window: Window
    segments: Sequence[Segment]
    """Times in seconds of `WindowContext.samples`."""
    sound: Sound
    """Where in the window there is sound."""
    notices: Sequence[Notice] = ()


def transcribe(
    context: WindowContext, windows: Sequence[Window], *, done: int = 0, hearing: Hearing | None = None
) -> Generator[WindowText, None, None]:
    """Yield each window but the first `done`, in order, as the engine transcribes it.

    While the engine, perhaps a GPU, is at work, the sound of the next windows is analysed. Errors
    are those of `Backend.transcribe`; `hearing` is what that is to hear.
    """
    with ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2))) as pool:
        ahead = (
            pool.submit(word_times.measure_sound, context.samples, window, context.spans) for window in windows[done:]
        )
        analyses = collections.deque(itertools.islice(ahead, _AHEAD))
        try:
            for window, segments in context.backend.transcribe(
                context.samples, windows, context.options, done=done, hearing=hearing
            ):
                sound = analyses.popleft().result()
                analyses.extend(itertools.islice(ahead, 1))
                yield WindowText(window, segments, sound)
        finally:
            pool.shutdown(cancel_futures=True)


def make_window_text(context: WindowContext, window: Window, segments: Sequence[Segment]) -> WindowText:
    """Return the text of a window that was transcribed in another way, with its sound analysed."""
    return WindowText(window, segments, word_times.measure_sound(context.samples, window, context.spans))


def place_words(text: WindowText) -> WindowText:
    """Align the words with the sound. Without word times (a translation may have none) nothing
    changes.
    """
    return dataclasses.replace(text, segments=word_times.align_words(text.segments, text.sound))


def split_sentences(text: WindowText) -> WindowText:
    """Divide the segments where sentences end."""
    return dataclasses.replace(text, segments=word_times.split_sentences(text.segments))

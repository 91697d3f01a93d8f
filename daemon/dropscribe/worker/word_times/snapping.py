"""The edges of word groups snapped to the sound, and the words of each group placed between
them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropscribe.worker.word_times.alignment import COSTS
from dropscribe.worker.word_times.segmentation import DEPTH, SEGMENTATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropscribe.transcript import Word
    from dropscribe.worker.word_times.alignment import WordGroup
    from dropscribe.worker.word_times.intervals import Interval
    from dropscribe.worker.word_times.segmentation import SoundSegment
    from dropscribe.worker.word_times.sound import Sound


@dataclass(frozen=True, slots=True)
class SnappingTuning:
    """How far edges may move. Lengths are in seconds."""

    clear_headroom: float = 20.0
    """Decibels of headroom from which on a pause is the speaker's, not one of the noise."""
    longest_release: float = 0.15
    """A shorter sound after a short pause, without its own word, is the end of the word before
    (`sept`)."""
    least_ends: int = 3
    """Groups with an end in one window that it takes to know how early the engine ends words."""
    most_correction: float = 0.06
    """By which an end in noise may be moved towards the engine's."""
    reach_in_noise: float = 0.6
    """By which the outer edge of a word may be moved outwards in noise: less than
    `SEGMENTATION.reach`, for there an edge may be another sound's."""
    longest_moved: float = 2.5
    """Times its usual length that a word may get by sound that the engine did not give it: what is
    longer has a filler or a breath in it, which has no word. Not for figures, which are not spelled
    for the engine, so that it knows little of their ends."""
    speech_margin: float = 0.1
    """By which a word may leave the detected speech where no sound segments are seen: the detection
    begins late and ends early."""
    shortest: float = 0.3
    """Share of its usual length that every word keeps."""


SNAPPING = SnappingTuning()


def bound_words(words: Sequence[Word], speech: Sequence[Interval]) -> list[Word]:
    """Return the words without what is outside detected speech.

    Nothing else bounds the first and the last word of a window. A word that is outside speech
    altogether stays where it is.
    """
    found = []
    for word in words:
        low, high = word.start, word.end
        own = [(a, b) for a, b in speech if a < word.end and b > word.start]
        if own:
            low = max(low, own[0][0] - SNAPPING.speech_margin)
            high = min(high, own[-1][1] + SNAPPING.speech_margin)
        found.append(dataclasses.replace(word, start=low, end=high))
    return found


def snap_words(
    words: Sequence[Word],
    usual_lengths: NDArray[np.float64],
    groups: Sequence[WordGroup],
    sound: Sound,
    *,
    outside: Sequence[Word],
) -> list[Interval]:
    """Return the time of each word, in order and without overlap.

    The first word of a group begins with its sound segments, the last ends with them.

    Args:
        words: With the engine's times, corrected.
        usual_lengths: Seconds that each word usually takes, shape (words,).
        groups: The words in groups with their sound segments, in order.
        sound: What the window sounds like.
        outside: The words with the times that those outside every sound segment keep.
    """
    times: list[Interval] = [(word.start, word.end) for word in outside]
    is_noisy = sound.headroom < SNAPPING.clear_headroom
    reach = SEGMENTATION.reach if sound.headroom >= DEPTH else SNAPPING.reach_in_noise
    ends = _find_group_ends(words, groups, sound.segments, is_noisy=is_noisy)
    edge = 0.0
    for group in groups:
        part = slice(group.first, group.last)
        if group.segments is None:
            placed = times[part]
        else:
            low = _find_group_start(sound.segments[group.segments[0]], words[group.first], is_noisy=is_noisy)
            placed = _place_words(words[part], usual_lengths[part], low, ends[group.segments], reach)
        for number, (start, end) in enumerate(placed, group.first):
            begin = max(start, edge)
            edge = max(begin, end)
            times[number] = (begin, edge)
    return times


def _find_group_start(segment: SoundSegment, word: Word, *, is_noisy: bool) -> float:
    """Return where a group begins, of which this is the first segment and the first word.

    If the engine has all of the word before the detected speech, in the same sound, the detection
    was late. In noise, sound before what both engine and detection found belongs to something
    else.
    """
    if is_noisy and word.start >= segment.start + segment.undetected_start:
        return segment.start + segment.undetected_start
    if word.end > segment.start:
        return segment.start
    return max(segment.start - segment.extends_before, word.start)


def _find_group_ends(
    words: Sequence[Word], groups: Sequence[WordGroup], segments: Sequence[SoundSegment], *, is_noisy: bool
) -> dict[tuple[int, int], float]:
    """Return where each group ends, by its segments."""
    taken = {group.segments[0] for group in groups if group.segments is not None}
    ends = {}
    for group in groups:
        if group.segments is not None:
            segment = segments[_include_release(segments, group.segments[1], taken)]
            word = words[group.last - 1]
            certain_end = segment.end - segment.undetected_end
            ends[group.segments] = certain_end if is_noisy and word.end <= certain_end else segment.end
    return _correct_noisy_ends(words, groups, ends, segments) if is_noisy else ends


def _include_release(segments: Sequence[SoundSegment], last: int, taken: set[int]) -> int:
    """Return the segment that ends the word which ends in segment `last`: a stop may be released
    after a pause.
    """
    if last + 1 < len(segments) and last + 1 not in taken:
        after = segments[last + 1]
        is_near = after.start - segments[last].end < COSTS.longest_pause_inside
        if is_near and after.end - after.start < SNAPPING.longest_release:
            return last + 1
    return last


def _correct_noisy_ends(
    words: Sequence[Word],
    groups: Sequence[WordGroup],
    ends: dict[tuple[int, int], float],
    segments: Sequence[SoundSegment],
) -> dict[tuple[int, int], float]:
    """Return the ends of groups, in noise, moved half way to where the engine has them.

    A voice in the background prolongs the sound and the detected speech, and loud noise drowns an
    end. The engine is early by about as much everywhere in a window. So the two are wrong for
    different reasons.
    """
    early = {
        group.segments: ends[group.segments] - words[group.last - 1].end
        for group in groups
        if group.segments is not None
    }
    if len(early) < SNAPPING.least_ends:
        return ends
    usual = float(np.median(list(early.values())))
    limit = SNAPPING.most_correction
    corrected = {}
    for (first, last), end in ends.items():
        moved = end + min(max((usual - early[first, last]) / 2, -limit), limit)
        following = segments[last + 1].start if last + 1 < len(segments) else end
        corrected[first, last] = min(max(moved, (segments[first].start + end) / 2), max(following, end))
    return corrected


def _place_words(
    words: Sequence[Word], usual_lengths: NDArray[np.float64], low: float, high: float, reach: float
) -> list[Interval]:
    """Return the times of words that are spoken between `low` and `high`.

    Args:
        words: With the engine's times.
        usual_lengths: Seconds that each word usually takes.
        low: Where the sound of the words begins.
        high: Where it ends.
        reach: Seconds by which the outer edges may be moved outwards.
    """
    start, end = words[0].start, words[-1].end
    if end <= low or start >= high:  # nothing is known but the order
        room = min(high - low, SNAPPING.longest_moved * float(usual_lengths.sum()))
        first = low if end <= low else high - room
        cuts = first + room * np.concatenate([[0.0], np.cumsum(usual_lengths)]) / usual_lengths.sum()
        return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
    # A sentence that the engine left out may be before or after: no word is drawn out over it.
    first = low if start - low < reach else start
    spelled = not any(map(str.isdigit, words[-1].word))
    usual = float(usual_lengths[-1])
    is_filled = spelled and high - end > usual and high - words[-1].start > SNAPPING.longest_moved * usual
    last = high if high - end < reach and not is_filled else end
    least = SNAPPING.shortest * usual_lengths
    if least.sum() > last - first:
        least *= (last - first) / least.sum()
    starts = np.clip([word.start for word in words], first, last)
    ends = np.clip([word.end for word in words], first, last)
    starts[0], ends[-1] = first, last
    for i in range(len(words)):
        if i:
            starts[i] = max(starts[i], ends[i - 1])
        ends[i] = max(ends[i], starts[i] + least[i])
    ends[-1] = last
    for i in range(len(words) - 1, -1, -1):
        if i < len(words) - 1:
            ends[i] = min(ends[i], starts[i + 1])
        starts[i] = max(min(starts[i], ends[i] - least[i]), first)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))

"""Who says which word: a transcript and the turns of its speakers, brought together.

Guarantees: standard library only; no word is lost or changed; a segment ends where another person begins, between two
words; words of a channel are given to people on that channel only.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe.formats.turns import order_turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.transcript import Notice, Segment, Speaker, Transcript, Word


@dataclass(frozen=True, slots=True)
class _Turns:
    """All turns of some people, in order of their start."""

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    names: tuple[str, ...]
    longest: float

    @classmethod
    def of(cls, speakers: Sequence[Speaker]) -> _Turns:
        turns = sorted((t.start, t.end, speaker.name) for speaker in speakers for t in speaker.turns)
        starts, ends, names = zip(*turns, strict=True) if turns else ((), (), ())
        return cls(starts, ends, names, max((end - start for start, end, _ in turns), default=0.0))

    def find(self, start: float, end: float, before: str | None) -> str | None:
        """Return who speaks most between two times; else whoever speaks nearest.

        Where two speak for equally long it is whoever spoke `before`.
        """
        shares: dict[str, float] = {}
        first = bisect.bisect_left(self.starts, start - self.longest)
        last = bisect.bisect_right(self.starts, end)
        for place in range(first, last):
            shared = min(end, self.ends[place]) - max(start, self.starts[place])
            if shared > 0:
                shares[self.names[place]] = shares.get(self.names[place], 0.0) + shared
        if shares:
            most = max(shares.values())
            if before is not None and shares.get(before, 0.0) >= 0.99 * most:
                return before
            return next(name for name, share in shares.items() if share == most)
        near = range(max(0, first - 1), min(len(self.names), last + 1))
        nearest = min(near, key=lambda p: max(self.starts[p] - end, start - self.ends[p]), default=None)
        return before if nearest is None else self.names[nearest]


def assign_speakers(
    transcript: Transcript, speakers: Sequence[Speaker], channels: Sequence[str] = (), *, labelled: bool = True
) -> Transcript:
    """Return a transcript with its speakers, and with their names at its words and segments.

    Args:
        transcript: As the engine wrote it; where each channel was transcribed by itself, words carry its name.
        speakers: In order of appearance.
        channels: The channel of each speaker; none where all channels were mixed.
        labelled: Whether words and segments are to carry the names.
    """
    transcript = dataclasses.replace(transcript, speakers=tuple(speakers))
    if not labelled or not speakers:
        return transcript
    pairs = list(zip(channels, speakers, strict=True)) if channels else []
    by_channel: dict[str | None, _Turns] = {
        channel: _Turns.of([speaker for own, speaker in pairs if own == channel]) for channel in set(channels)
    }
    mix = None if channels else _Turns.of(speakers)
    segments: list[Segment] = []
    before: str | None = None
    for segment in transcript.segments:
        turns = mix or by_channel.get(segment.speaker)
        parts = [segment] if turns is None else list(_divide(segment, turns, before))
        segments += parts
        before = parts[-1].speaker
    if channels:
        segments = order_turns(segments)
    numbered = tuple(dataclasses.replace(segment, id=index) for index, segment in enumerate(segments))
    return dataclasses.replace(transcript, segments=numbered)


def _divide(segment: Segment, turns: _Turns, before: str | None) -> Iterator[Segment]:
    """Yield the parts of a segment, each said by one person."""
    if not segment.words:
        yield dataclasses.replace(segment, speaker=turns.find(segment.start, segment.end, before))
        return
    words: list[Word] = []
    for word in segment.words:
        before = turns.find(word.start, word.end, before)
        words.append(dataclasses.replace(word, speaker=before))
    parts = [tuple(part) for _, part in itertools.groupby(words, key=lambda word: word.speaker)]
    if len(parts) == 1:
        yield dataclasses.replace(segment, words=parts[0], speaker=before)
        return
    for part in parts:
        text = "".join(word.word for word in part).strip()
        yield dataclasses.replace(
            segment, start=part[0].start, end=part[-1].end, text=text, words=part, speaker=part[0].speaker
        )


def list_stretches(transcript: Transcript) -> dict[str, list[tuple[float, float]]]:
    """Return when each speaker speaks, by name, in order of appearance: by turns, else by segments."""
    if transcript.speakers:
        return {speaker.name: [(turn.start, turn.end) for turn in speaker.turns] for speaker in transcript.speakers}
    found: dict[str, list[tuple[float, float]]] = {}
    for segment in transcript.segments:
        if segment.speaker is not None:
            found.setdefault(segment.speaker, []).append((segment.start, segment.end))
    return found


def rename_speakers(transcript: Transcript, names: dict[str, str]) -> Transcript:
    """Return a transcript in which speakers have other names. Two who get the same name stay two speakers.

    Args:
        transcript: Any.
        names: The new name of each old one; others stay.
    """

    def new(name: str | None) -> str | None:
        return name if name is None else names.get(name, name)

    segments = tuple(
        dataclasses.replace(
            segment,
            speaker=new(segment.speaker),
            words=tuple(dataclasses.replace(word, speaker=new(word.speaker)) for word in segment.words),
        )
        for segment in transcript.segments
    )
    speakers = transcript.speakers
    if speakers is not None:
        speakers = tuple(dataclasses.replace(each, name=names.get(each.name, each.name)) for each in speakers)
    warnings = tuple(_rename_in_notice(notice, names) for notice in transcript.warnings)
    return dataclasses.replace(transcript, segments=segments, speakers=speakers, warnings=warnings)


_ABOUT_SPEAKERS = frozenset({"speaker-unsure", "two-speak", "voice-unsure"})
"""Codes of the notices that name speakers."""


def _rename_in_notice(notice: Notice, names: dict[str, str]) -> Notice:
    if notice.code not in _ABOUT_SPEAKERS or not names:
        return notice
    # The longest first: one name may begin with another.
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    detail = re.sub(rf"(?<!\w)(?:{known})(?!\w)", lambda found: names[found.group()], notice.detail)
    return dataclasses.replace(notice, detail=detail)

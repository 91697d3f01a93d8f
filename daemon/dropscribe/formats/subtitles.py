"""SubRip (.srt) and WebVTT (.vtt): one cue a segment, on at most as many lines as it needs.

Guarantees: cues are in order, never of zero length, and never overlap; text cannot end a cue or open a tag.
WebVTT: W3C, "WebVTT: The Web Video Text Tracks Format". SubRip has no standard; a blank line ends a cue.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.transcript import Transcript

LINE = 42
"""Characters a line, the usual limit for subtitles (BBC and Netflix guidelines: 37 to 42)."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Text shown from `start` to `end`, in milliseconds."""

    start: int
    end: int
    text: str


def srt(transcript: Transcript) -> str:
    """Return SubRip text."""
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text.replace('-->', '->')}\n\n"
        for number, cue in enumerate(_cues(transcript), 1)
    )


def vtt(transcript: Transcript) -> str:
    """Return WebVTT text; `&`, `<` and `>` are written as character references."""
    body = "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escape(cue.text)}\n\n" for cue in _cues(transcript)
    )
    return f"WEBVTT\n\n{body}"


def _cues(transcript: Transcript) -> Iterator[Cue]:
    starts = [round(s.start * 1000) for s in transcript.segments]
    previous = 0
    for i, segment in enumerate(transcript.segments):
        start = max(starts[i], previous)
        end = max(round(segment.end * 1000), start + 1)
        if i + 1 < len(starts) and starts[i + 1] > start:
            end = min(end, starts[i + 1])
        previous = end
        # Wrapping also folds line breaks, which could otherwise end the cue.
        text = "\n".join(textwrap.wrap(segment.text, LINE, break_on_hyphens=False))
        if text:
            yield Cue(start, end, text)


def _clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""The forms a transcript is written in: each is a pure function from a `Transcript` to text.

Guarantees: no format can fail on any text or any finite times; nothing a speaker says can break a file's syntax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.formats.subtitles import srt, vtt
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARAGRAPH_PAUSE = 2.0
"""Seconds of silence that begin a new paragraph in plain text."""


def txt(transcript: Transcript) -> str:
    """Return the text in paragraphs: a pause of `PARAGRAPH_PAUSE` begins a new one."""
    paragraphs: list[list[str]] = []
    end = float("-inf")
    for segment in transcript.segments:
        if segment.start - end >= PARAGRAPH_PAUSE:
            paragraphs.append([])
        paragraphs[-1].append(" ".join(segment.text.split()))
        end = segment.end
    return "\n\n".join(" ".join(lines) for lines in paragraphs) + "\n"


RENDERERS: Mapping[str, Callable[[Transcript], str]] = {
    "txt": txt,
    "srt": srt,
    "vtt": vtt,
    "json": Transcript.to_json,
}
"""Name of the format, which is also its suffix, and its function. JSON is last: its file completes the set."""

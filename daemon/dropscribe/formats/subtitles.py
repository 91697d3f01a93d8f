"""Subtitles: SubRip (.srt) and WebVTT (.vtt).

Guarantees: text cannot end a cue or open a tag. `cues` guarantees the rest.

WebVTT: W3C, "WebVTT: The Web Video Text Tracks Format", cue text and voice spans. SubRip has no
standard.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from dropscribe.formats.cues import make_cues
from dropscribe.formats.times import format_timestamp

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

UNTAGGED = str.maketrans("<>{}\\", "\u2039\u203a()/")
"""SubRip has no escape, and players take `<i>`, `{\\an8}` and `\\N` for commands: other signs
replace theirs."""


def render_srt(transcript: Transcript) -> str:
    """Return SubRip text; a change of speaker is written as `Name: ` before the words."""
    return "".join(
        f"{number}\n{format_timestamp(cue.start, ',')} --> {format_timestamp(cue.end, ',')}\n"
        f"{_escape_srt_lines(cue.lines)}\n\n"
        for number, cue in enumerate(make_cues(transcript, labelled=True), 1)
    )


def render_vtt(transcript: Transcript) -> str:
    """Return WebVTT text; speakers are voices (`<v Name>`); `&`, `<` and `>` are written as
    character references.
    """
    body = "".join(
        f"{format_timestamp(cue.start, '.')} --> {format_timestamp(cue.end, '.')}\n"
        f"{_open_voice(cue.speaker)}{_escape_vtt_lines(cue.lines)}\n\n"
        for cue in make_cues(transcript)
    )
    return f"WEBVTT\n\n{body}"


def _escape_srt_lines(lines: tuple[str, ...]) -> str:
    return "\n".join(map(_mark_direction, lines)).translate(UNTAGGED)


def _mark_direction(line: str) -> str:
    """Return a line of Arabic or Hebrew marked as right-to-left; other lines as they are.

    Players set SubRip from the left, which puts a full stop at the wrong end (UAX 9: U+202B
    embeds, U+202C ends). WebVTT needs no marks: there each cue takes its direction from its first
    letter.
    """
    strong = next((kind for kind in map(unicodedata.bidirectional, line) if kind in {"L", "R", "AL"}), "L")
    return line if strong == "L" else f"\u202b{line}\u202c"


def _escape_vtt_lines(lines: tuple[str, ...]) -> str:
    return _escape_vtt("\n".join(lines))


def _open_voice(speaker: str | None) -> str:
    return f"<v {_escape_vtt(speaker)}>" if speaker else ""


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

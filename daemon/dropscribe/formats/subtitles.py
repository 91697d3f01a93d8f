"""Subtitles: SubRip (.srt), WebVTT (.vtt) and Advanced SubStation Alpha (.ass).

Guarantees: text cannot end a cue or open a tag. `cues` guarantees the rest.

WebVTT: W3C, "WebVTT: The Web Video Text Tracks Format", cue text and voice spans. SubRip has no
standard; nor has Advanced SubStation Alpha: its header is what libass takes.
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


_ASS_BREAK = "\\N"
_ASS_HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 0
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, \
MarginV, Encoding
Style: Default,Arial,60,&H00FFFFFF,&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,60,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def render_srt(transcript: Transcript, *, labelled: bool = True) -> str:
    """Return SubRip text; `labelled`: a change of speaker is written as `Name: ` before the words."""
    return "".join(
        f"{number}\n{format_timestamp(cue.start, ',')} --> {format_timestamp(cue.end, ',')}\n"
        f"{_escape_srt_lines(cue.lines)}\n\n"
        for number, cue in enumerate(make_cues(transcript, labelled=labelled), 1)
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


def render_ass(transcript: Transcript) -> str:
    """Return Advanced SubStation Alpha; speakers are named before the words and in their own field."""
    return _ASS_HEAD + "".join(
        f"Dialogue: 0,{_format_ass_time(cue.start)},{_format_ass_time(max(cue.end, cue.start + 10))},Default,"
        f"{(cue.speaker or '').replace(',', ';').translate(UNTAGGED)},0,0,0,,"
        f"{_ASS_BREAK.join(line.translate(UNTAGGED) for line in cue.lines)}\n"
        for cue in make_cues(transcript, labelled=True)
    )


def _format_ass_time(milliseconds: int) -> str:
    """Return hours, minutes, seconds and hundredths, cut."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest // 10:02}"


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

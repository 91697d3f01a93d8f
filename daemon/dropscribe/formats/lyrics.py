"""LRC, the format of synchronised lyrics, which music players show along with the sound.

Guarantees: lines are in order of time; nothing a speaker says can be taken for a time or a tag.
There is no standard: `[mm:ss.xx]` before each line and the ID tags are as in the first format of
1998, which every player reads. Its later per-word times are left out: players that do not know
them show them as text.
"""

from __future__ import annotations

import itertools
from pathlib import PurePath
from typing import TYPE_CHECKING

from dropscribe.formats.cues import make_cues
from dropscribe.formats.utterances import clean_text

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

_BRACKETS = str.maketrans("[]<>", "()\u2039\u203a")
"""LRC has no escape, and players drop `[Music]` as a tag they do not know: brackets become round
or pointed."""
CLEAR_MS = 1000
"""Milliseconds of silence after which an empty line takes the last one off the screen."""


def render_lrc(transcript: Transcript) -> str:
    """Return a line for each subtitle cue; minutes go on past 99. Centiseconds, cut."""
    name = PurePath(transcript.source.name)
    lines = [
        f"[ti:{clean_text(name.stem or str(name)).translate(_BRACKETS)}]",
        f"[length:{_format_minutes(round(transcript.duration * 1000))[:-3]}]",
        "[re:Dropscribe]",
    ]
    cues = make_cues(transcript, labelled=True)
    for cue, following in itertools.zip_longest(cues, cues[1:]):
        lines.append(f"[{_format_minutes(cue.start)}]{' '.join(cue.lines).translate(_BRACKETS)}")
        if following is None or following.start - cue.end >= CLEAR_MS:
            lines.append(f"[{_format_minutes(cue.end)}]")
    return "\n".join(lines) + "\n"


def _format_minutes(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 60:02}:{seconds % 60:02}.{rest // 10:02}"

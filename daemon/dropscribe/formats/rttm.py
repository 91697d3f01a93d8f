"""RTTM: who speaks when, one line a turn, as programs read it that compare or train on speakers.

Guarantees: ten fields in every line, whatever a speaker is called; standard library only. The format is of NIST's
"The Rich Transcription 2009 (RT-09) Meeting Recognition Evaluation Plan", of which only SPEAKER lines are written:
words are in the other formats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dropscribe.formats.utterances import clean_text, split_utterances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.transcript import Transcript

_UNKNOWN = "speaker"
_JOIN = 0.5
"""Seconds between two utterances of one speaker that are one turn, where the transcript holds no turns."""


def render_rttm(transcript: Transcript) -> str:
    """Return a line for each turn, in order of time; of a transcript without turns, for each stretch of words."""
    name = _clean_field(transcript.source.name.rpartition(".")[0] or transcript.source.name) or "recording"
    lines = []
    for start, end, who, confidence in sorted(_list_turns(transcript)):
        sure = "<NA>" if confidence is None else f"{confidence:.3f}"
        lines.append(f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> {who} {sure} <NA>\n")
    return "".join(lines)


def _list_turns(transcript: Transcript) -> Iterator[tuple[float, float, str, float | None]]:
    """Yield start, end, speaker and confidence of each turn."""
    if transcript.speakers:
        for speaker in transcript.speakers:
            who = _clean_field(speaker.name) or _UNKNOWN
            for turn in speaker.turns:
                if _is_time(turn.start) and _is_time(turn.end):
                    yield turn.start, max(turn.start, turn.end), who, turn.confidence
        return
    open_turns: dict[str, tuple[float, float]] = {}
    for said in split_utterances(transcript):
        who = _clean_field(said.speaker or "") or _UNKNOWN
        start, end = said.start, max(said.start, said.end)
        if who in open_turns and start - open_turns[who][1] < _JOIN:
            open_turns[who] = (open_turns[who][0], max(end, open_turns[who][1]))
            continue
        if who in open_turns:
            yield *open_turns[who], who, None
        open_turns[who] = (start, end)
    for who, (start, end) in open_turns.items():
        yield start, end, who, None


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds)


def _clean_field(text: str) -> str:
    """Return text as one field: fields are separated by spaces."""
    return "_".join(clean_text(text).split())

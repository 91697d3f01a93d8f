"""What a subtitle may be: lines, columns, times and speed, and where these figures come from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

_SHORTEST_WORD = 300
"""Least milliseconds for each word of a cue that may hold only a few: at 200 words a minute."""


SETTING = "subtitle_"
"""Begins the names of the settings for subtitles, which a transcript has among its options."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a subtitle may be. Times in milliseconds. A letter is a column, a full-width sign two,
    a mark above none.

    Sources: [N] Netflix, "Timed Text Style Guide: General Requirements", "Subtitle Timing
    Guidelines" and the guides of the languages; [B] BBC, "Subtitle Guidelines"; [S] Szarkowska and
    Gerber-Morón, "Viewers can keep up with fast subtitles", PLoS ONE 13(6), 2018, who tested 12,
    16 and 20 characters a second.
    """

    lines: int = 2
    """Lines of a cue [N, B]."""
    line: int = 42
    """Columns of a line [N]."""
    shortest: int = 1000
    """Shortest time a cue is shown; [N] allows 5/6 s."""
    longest: int = 7000
    """Longest time a cue is shown [N]."""
    comfortable: float = 15.0
    """Columns a second that are aimed at; about the 160 to 180 words a minute of [B]."""
    fastest: float = 20.0
    """Columns a second that are not exceeded [N for adults, S]."""
    gap: int = 83
    """Least time between two cues: two frames at 24 a second, so that the eye sees the change [N]."""
    jerky: int = 1000
    """A shorter gap than this is closed to `gap`: it would flicker [B 4.5; N closes up to half a
    second]."""
    silence: int = 1000
    """Longest time a cue is shown without a word: a longer pause ends it, and so does the same
    time after its last word.

    [B] allows 1.5 s, [N] half a second; a cue of one short word needs nearly one to reach
    `shortest`.
    """
    shift: int = 250
    """How far a cue may begin before or after its first word, when reading needs it: 6 frames; [B]
    allows 1.5 s."""

    words: int = 0
    """Words of a cue at most, for short cues; 0: as many as fit."""

    @classmethod
    def of(cls, transcript: Transcript) -> Limits:
        """Return the limits that a transcript's own settings and its language come to."""
        found = {name.removeprefix(SETTING): value for name, value in transcript.engine.options.items() if value}
        limits = cls().tighten(transcript.language)
        changes: dict[str, int] = {}
        if isinstance(columns := found.get("columns"), str):
            changes["line"] = int(columns)
        if isinstance(lines := found.get("lines"), str):
            changes["lines"] = int(lines)
        if isinstance(seconds := found.get("seconds"), str):
            changes["longest"] = round(float(seconds) * 1000)
        if isinstance(words := found.get("words"), str):
            changes["words"] = int(words)
            changes["shortest"] = min(limits.shortest, int(words) * _SHORTEST_WORD)
        return dataclasses.replace(limits, **changes)

    def tighten(self, language: str) -> Limits:
        """Return the limits of a language where they are tighter than these, and these elsewhere."""
        line, fastest = _LANGUAGES.get(language, (self.line, self.fastest))
        return dataclasses.replace(
            self,
            line=min(self.line, line),
            fastest=min(self.fastest, fastest),
            comfortable=min(self.comfortable, fastest * 0.75),
        )


_LANGUAGES = {
    "zh": (32, 18.0),
    "yue": (32, 18.0),
    "ja": (26, 20.0),
    "ko": (32, 20.0),
    "th": (35, 20.0),
}
"""Columns of a line and columns a second, by language, from [N]: 16 full-width signs a line and 9
a second in Chinese, 16 a line in Korean, 13 a line in Japanese, 35 columns in Thai. Netflix's 4
signs a second in Japanese are for translations, which may leave out; words as they were spoken
cannot keep them."""

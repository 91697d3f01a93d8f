"""The words of a transcript cut into cues that read well on a screen, for subtitles and lyrics.

Guarantees, whatever the words and their times: every word is shown once, in order; a cue has at
most `Limits.lines` lines of at most `Limits.line` columns, and no more than `Limits.words` words
unless they cannot be parted; cues are at least 1 ms long and never
overlap. And, whatever the words, if their times are such as speech has: no cue is longer than
`Limits.longest`, begins more than `Limits.shift` away from its first word or is shown for more
than `Limits.silence` without a word.

Three steps: `atoms` makes the pieces that no cut divides, `cutting` chooses the cuts, `timing`
sets the times. The cuts of the whole stretch between two silences are chosen at once.

When somebody speaks faster than can be read, something gives way, in this order: the comfortable
speed; the exact beginning, by up to `Limits.shift`; `Limits.fastest`; last of all
`Limits.shortest`. Words, their order, the lines, the gaps and the longest time never do. Two
people who speak at once are shown one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.formats.cues.atoms import make_atoms
from dropscribe.formats.cues.cutting import Cutter, Draft, split_stretches
from dropscribe.formats.cues.limits import Limits
from dropscribe.formats.cues.timing import Cue, set_times

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

__all__ = ["Cue", "Limits", "make_cues"]


def make_cues(transcript: Transcript, limits: Limits | None = None, *, labelled: bool = False) -> list[Cue]:
    """Return the cues of a transcript.

    Args:
        transcript: what was said. Segments without words get times from their own.
        limits: what a cue may be; by default those of the guides, tighter where the language has
            tighter ones, and what the transcript's own settings say.
        labelled: write each change of speaker as `Name: ` in the text.
    """
    limits = Limits.of(transcript) if limits is None else limits
    drafts: list[Draft] = []
    for atoms, following in split_stretches(make_atoms(transcript, limits, labelled=labelled), limits):
        drafts.extend(Cutter(atoms, following, limits).cut())
    return set_times(drafts, limits)

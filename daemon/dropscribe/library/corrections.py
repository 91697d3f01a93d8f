"""What a person corrects in a transcript, as edits, and a transcript after them.

Guarantees: pure functions; edits are made again on the transcript they were made on with the same result, so nothing
of the original has to be changed to keep them; an edit that does not fit is reported and changes nothing; what is not
corrected keeps its words, times and probabilities.

Edits name what they change by its time and by what was there. So they can also be made on a new transcript of the
same recording: where the model wrote the same words at the same time they are corrected again, where it wrote the
corrected ones nothing is to be done, and anything else is reported for a person to look at.
"""

from __future__ import annotations

import dataclasses
import functools
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from dropscribe.errors import UsageError
from dropscribe.formats.phrases import PhraseSplitter
from dropscribe.formats.review import review
from dropscribe.formats.speakers import rename_speakers
from dropscribe.formats.utterances import clean_text, spread_words
from dropscribe.library.alignment import compare, write_words
from dropscribe.library.folding import split_tokens
from dropscribe.transcript import Edit, Notice, Speaker, Turn, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dropscribe.library.alignment import Splitter
    from dropscribe.transcript import Correction, Passage, Segment, Transcript

WORDS, NAME, TURN, ACCEPT = "words", "name", "turn", "accept"
"""The kinds of edits: see `transcript.Edit`."""
NOT_MADE = "correction-not-made"
"""Code of the notice for an edit that does not fit any more."""
_NEAR = 3.0
"""Seconds between where words were and where they may be in another transcript of the same recording: word times of
two models differ by tenths of a second, and of words that are there several times the nearest ones count."""
_SLIVER = 0.2
"""Seconds of a turn that are no turn when all around them is somebody else's: the turns of voices and the edges of
words differ by so much."""
_ALIKE = 0.5
"""Share of the words of an accepted passage that must be there still."""
_INSIDE = 0.5
"""Share of a passage that was accepted before it is not listed any more."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A transcript after its corrections."""

    transcript: Transcript
    unfit: tuple[Edit, ...]
    """Edits that do not fit it; `transcript.warnings` names each of them."""


# Making edits


def edit_words(transcript: Transcript, segment: int, text: str) -> tuple[Edit, ...]:
    """Return the edits that give a segment another text; none where it is the same.

    Args:
        transcript: as it is now.
        segment: number of the segment.
        text: what the whole segment is to say; empty takes it out.
    """
    return _find_word_edits(transcript, segment, segment + 1, text)


def edit_text(transcript: Transcript, text: str) -> tuple[Edit, ...]:
    """Return the edits that give the whole transcript another text."""
    return _find_word_edits(transcript, 0, len(transcript.segments), text)


def rename_speaker(transcript: Transcript, old: str, new: str) -> Edit:
    """Return the edit that calls a speaker otherwise everywhere; with a name that is there two become one.

    Raises: UsageError when nobody has the old name, or the new one is empty.
    """
    turns = [(s.end - s.start, s.start, s.end) for s in transcript.segments if s.speaker == old]
    turns += [
        (t.end - t.start, t.start, t.end)
        for each in transcript.speakers or ()
        if each.name == old
        for t in each.turns
    ]
    if not turns:
        names = list_names(transcript)
        raise UsageError(f"Nobody is called {old} here.", f"Speakers: {', '.join(names) or 'none'}.")
    _, start, end = max(turns)
    return Edit(NAME, start, end, old, _check_name(new))


def move_turn(transcript: Transcript, first: int, last: int, speaker: str) -> Edit:
    """Return the edit that lets somebody else say the segments from `first` to `last`.

    Raises: UsageError when the name is empty, or there are no such segments.
    """
    segments = transcript.segments[first : last + 1] if 0 <= first <= last else ()
    if not segments:
        raise UsageError(f"There is no segment {first}.", f"There are {len(transcript.segments)}.")
    start, end = segments[0].start, max(segment.end for segment in segments)
    return move_time(transcript, start, end, speaker)


def move_time(transcript: Transcript, start: float, end: float, speaker: str) -> Edit:
    """Return the edit that lets somebody else say what is said between two times, in seconds."""
    said = [s for s in transcript.segments if start <= (s.start + s.end) / 2 <= end]
    before = Counter(s.speaker or "" for s in said).most_common(1)
    return Edit(TURN, start, end, before[0][0] if before else "", _check_name(speaker))


def accept_passage(transcript: Transcript, start: float, end: float) -> Edit:
    """Return the edit that says that a passage is right as it is."""
    return Edit(ACCEPT, start, end, _read_between(transcript.segments, start, end), "")


def list_names(transcript: Transcript) -> list[str]:
    """Return the names of the speakers in order of appearance."""
    named = [speaker.name for speaker in transcript.speakers or ()]
    said = (word.speaker or segment.speaker for segment in transcript.segments for word in segment.words)
    return list(dict.fromkeys([*named, *(s.speaker for s in transcript.segments if s.speaker), *filter(None, said)]))


def _check_name(name: str) -> str:
    cleaned = clean_text(name)
    if not cleaned:
        raise UsageError("A speaker needs a name.")
    return cleaned


def _find_word_edits(transcript: Transcript, first: int, last: int, text: str) -> tuple[Edit, ...]:
    chosen = transcript.segments[first:last]
    words = [(word, number) for number, segment in enumerate(chosen, first) for word in _list_words(segment)]
    compared = compare([word.word for word, _ in words], text)
    edits: list[Edit] = []
    for change in compared.changes:
        i, j, start, end = change.first, change.last, change.start, change.end
        if i == j and words:  # text was only added: it goes to the word before it on the same line, else to the next
            i, j = _choose_neighbour(compared.places, text, i, start, end)
            place = compared.places[i]
            if place is not None:
                start, end = min(start, place[0]), max(end, place[1])
        written = text[start:end]
        for part, new in _divide(words[i:j], written):
            before = _join(part)
            if before != new.strip():
                edits.append(Edit(WORDS, part[0].start, part[-1].end, before, new.strip()))
    return tuple(edits)


def _choose_neighbour(
    places: Sequence[tuple[int, int] | None], text: str, at: int, start: int, end: int
) -> tuple[int, int]:
    before = places[at - 1] if at else None
    after = places[at] if at < len(places) else None
    if before is None or (after is not None and "\n" in text[before[1] : start] and "\n" not in text[end : after[0]]):
        return (at, at + 1) if at < len(places) else (at - 1, at)
    return at - 1, at


def _divide(words: Sequence[tuple[Word, int]], text: str) -> list[tuple[list[Word], str]]:
    """Return words that are in several segments by segment, each with its part of the text that replaces them."""
    numbers = list(dict.fromkeys(number for _, number in words))
    parts = [[word for word, own in words if own == number] for number in numbers]
    if len(parts) < 2:
        return [(part, text) for part in parts]
    written = write_words([word for word, _ in words], text)
    begins = [part[0].start for part in parts]
    texts: list[list[Word]] = [[] for _ in parts]
    at = 0
    for word in written:
        at = max(at, bisect_right(begins, word.start + 1e-6) - 1, 0)
        texts[at].append(word)
    return [(part, "".join(word.word for word in new)) for part, new in zip(parts, texts, strict=True)]


def _list_words(segment: Segment) -> tuple[Word, ...]:
    """Return the words of a segment, with times in proportion where the engine gave none."""
    if segment.words:
        return segment.words
    return tuple(
        Word(f" {t.text}", t.start, t.end) for t in spread_words(clean_text(segment.text), segment.start, segment.end)
    )


def _join(words: Sequence[Word]) -> str:
    return "".join(word.word for word in words).strip()


def _read_between(segments: Sequence[Segment], start: float, end: float) -> str:
    """Return the words whose middle is between two times."""
    return _join([
        word
        for segment in segments
        if segment.end >= start and segment.start <= end
        for word in _list_words(segment)
        if start <= (word.start + word.end) / 2 <= end
    ])  # fmt: skip


# Making a transcript of them


def correct(transcript: Transcript, corrections: Sequence[Correction]) -> Corrected:
    """Return a transcript after corrections: those that hold are made, all of them are listed in it.

    Args:
        transcript: as it was without them; what it lists already comes first.
        corrections: in order.
    """
    if not corrections:
        return Corrected(transcript, ())
    desk = _Desk(transcript)
    holding = [correction for correction in corrections if correction.undone is None]
    edits = [edit for correction in holding for edit in correction.edits]
    unfit = tuple(edit for correction in holding for edit in desk.make_all(correction.edits))
    made = dataclasses.replace(
        desk.finish(),
        warnings=(*transcript.warnings, *map(_describe_unfit, unfit)),
        corrections=(*(transcript.corrections or ()), *corrections),
    )
    if transcript.review is not None:
        made = dataclasses.replace(made, review=_review_again(made, edits))
    return Corrected(made, unfit)


def _describe_unfit(edit: Edit) -> Notice:
    what = {WORDS: f"“{edit.before}” was corrected to “{edit.after}” here"}.get(
        edit.kind, f"this was given to {edit.after} here"
    )
    detail = f"Before it was transcribed again, {what}; the new words are others, so it was not done again."
    return Notice(NOT_MADE, edit.start, edit.end, detail)


def _review_again(transcript: Transcript, edits: Iterable[Edit]) -> tuple[Passage, ...]:
    """Return the passages to listen to again, without those that were accepted."""
    accepted = [edit for edit in edits if edit.kind == ACCEPT and _still_says(transcript, edit)]

    def is_accepted(passage: Passage) -> bool:
        shared = sum(max(0.0, min(passage.end, e.end) - max(passage.start, e.start)) for e in accepted)
        return shared >= _INSIDE * (passage.end - passage.start)

    return tuple(passage for passage in review(transcript) if not is_accepted(passage))


def _still_says(transcript: Transcript, edit: Edit) -> bool:
    now, before = split_tokens(_read_between(transcript.segments, edit.start, edit.end)), split_tokens(edit.before)
    return now == before or SequenceMatcher(None, before, now, autojunk=False).ratio() >= _ALIKE


class _Desk:
    """A transcript that is being corrected."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._segments = list(transcript.segments)
        self._speakers = transcript.speakers
        self._split = PhraseSplitter(transcript)

    def make_all(self, edits: Iterable[Edit]) -> list[Edit]:
        """Make edits in order; names that follow each other are given at once, so that two can be exchanged.

        Returns those that do not fit; they have changed nothing.
        """
        unfit: list[Edit] = []
        for kind, group in groupby(edits, key=lambda edit: edit.kind):
            match kind:
                case "words":
                    unfit += [edit for edit in group if not self._write(edit)]
                case "name":
                    unfit += self._rename(list(group))
                case "turn":
                    unfit += [edit for edit in group if not self._move(edit)]
        return unfit

    def finish(self) -> Transcript:
        """Return the transcript."""
        segments = tuple(dataclasses.replace(segment, id=i) for i, segment in enumerate(self._segments))
        text = " ".join(segment.text for segment in segments)
        return dataclasses.replace(self._transcript, segments=segments, text=text, speakers=self._speakers)

    def _write(self, edit: Edit) -> bool:
        near = [
            (i, word, place)
            for i, segment in enumerate(self._segments)
            if segment.start - _NEAR <= edit.end and segment.end + _NEAR >= edit.start
            for place, word in enumerate(_list_words(segment))
        ]
        found = _find_words(near, edit.before, edit.start, edit.end)
        if found is None:
            return edit.after != "" and _find_words(near, edit.after, edit.start, edit.end) is not None
        first, last = found
        parts = _divide([(word, i) for i, word, _ in near[first:last]], edit.after)
        numbers = list(dict.fromkeys(i for i, _, _ in near[first:last]))
        for number, (_, text) in reversed(list(zip(numbers, parts, strict=True))):
            places = [place for i, _, place in near[first:last] if i == number]
            self._rewrite(number, places[0], places[-1] + 1, text)
        return True

    def _rewrite(self, number: int, first: int, last: int, text: str) -> None:
        """Write other words into a segment, in place of those from `first` to before `last`."""
        segment = self._segments[number]
        old = _list_words(segment)
        language = segment.language
        split: Splitter = functools.partial(self._split.split, language=language)
        new = write_words(old[first:last], text, split)
        words = (*old[:first], *new, *old[last:])
        if not words:
            del self._segments[number]
            return
        if not first:
            words = (dataclasses.replace(words[0], word=_lead(old[0].word) + words[0].word.lstrip()), *words[1:])
        spaced = _join(old) == segment.text
        written = _join(words) if spaced or " " not in segment.text else " ".join(w.word.strip() for w in words)
        self._segments[number] = dataclasses.replace(segment, text=written, words=words if segment.words else ())

    def _rename(self, edits: Sequence[Edit]) -> list[Edit]:
        current = self.finish()
        names, unfit = {}, []
        known = list_names(current)
        for edit in edits:
            # Who spoke then: made anew, a transcript may call somebody else `Speaker 1`.
            old = _find_speaker(current.segments, edit.start, edit.end) or edit.before
            if old in known:
                names[old] = edit.after
            else:
                unfit.append(edit)
        renamed = rename_speakers(current, names)
        self._segments = list(renamed.segments)
        self._speakers = None if renamed.speakers is None else _merge_speakers(renamed.speakers)
        return unfit

    def _move(self, edit: Edit) -> bool:
        segments: list[Segment] = []
        moved = False
        for segment in self._segments:
            parts = (
                _hand_over(segment, edit) if segment.end >= edit.start and segment.start <= edit.end else [segment]
            )
            moved |= parts != [segment] or any(_is_inside(s.start, s.end, edit) for s in parts)
            segments += parts
        if moved:
            self._segments = segments
            if self._speakers is not None:
                self._speakers = _move_speech(self._speakers, edit)
        return moved


def _lead(word: str) -> str:
    return word[: len(word) - len(word.lstrip())]


def _find_words(
    near: Sequence[tuple[int, Word, int]], wanted: str, start: float, end: float
) -> tuple[int, int] | None:
    """Return the first of the words that spell a text, and the one behind the last: exactly, else but for marks.

    Where they are there more than once, those nearest to the times count.
    """
    key = "".join(split_tokens(wanted)) or wanted
    letters = ["".join(split_tokens(word.word)) or word.word.strip() for _, word, _ in near]
    best: tuple[bool, float, int, int] | None = None
    for first in range(len(near)):
        joined, last = letters[first], first + 1
        while len(joined) < len(key) and last < len(near):
            joined += letters[last]
            last += 1
        if joined != key:
            continue
        words = [word for _, word, _ in near[first:last]]
        off = abs(words[0].start - start) + abs(words[-1].end - end)
        if abs(words[0].start - start) > _NEAR:
            continue
        found = (_join(words) != wanted, off, first, last)
        best = found if best is None or found < best else best
    return None if best is None else best[2:]


def _find_speaker(segments: Sequence[Segment], start: float, end: float) -> str | None:
    """Return who says most between two times."""
    shares: Counter[str] = Counter()
    for segment in segments:
        shared = min(segment.end, end) - max(segment.start, start)
        if shared > 0 and segment.speaker:
            shares[segment.speaker] += round(shared * 1000)
    return shares.most_common(1)[0][0] if shares else None


def _is_inside(start: float, end: float, edit: Edit) -> bool:
    return edit.start <= (start + end) / 2 <= edit.end


def _hand_over(segment: Segment, edit: Edit) -> list[Segment]:
    """Return a segment, of which somebody else says what is inside an edit, in parts that one person says."""
    if not segment.words:
        inside = _is_inside(segment.start, segment.end, edit)
        return [dataclasses.replace(segment, speaker=edit.after) if inside else segment]
    words = [
        dataclasses.replace(word, speaker=edit.after) if _is_inside(word.start, word.end, edit) else word
        for word in segment.words
    ]
    changed = [word is not old for word, old in zip(words, segment.words, strict=True)]
    if not any(changed):
        return [segment]
    if all(changed):
        return [dataclasses.replace(segment, words=tuple(words), speaker=edit.after)]
    cuts = [0, *(i for i in range(1, len(words)) if changed[i] != changed[i - 1]), len(words)]
    parts = []
    for first, last in pairwise(cuts):
        part = tuple(words[first:last])
        parts.append(
            dataclasses.replace(
                segment,
                start=part[0].start if first else segment.start,
                end=part[-1].end if last < len(words) else segment.end,
                text=_join(part),
                words=part,
                speaker=edit.after if changed[first] else segment.speaker,
            )
        )
    return parts


def _merge_speakers(speakers: Sequence[Speaker]) -> tuple[Speaker, ...]:
    """Return speakers in which each name is there once."""
    names = list(dict.fromkeys(speaker.name for speaker in speakers))
    if len(names) == len(speakers):
        return tuple(speakers)
    merged = []
    for name in names:
        same = [speaker for speaker in speakers if speaker.name == name]
        turns = tuple(sorted((t for speaker in same for t in speaker.turns), key=lambda t: t.start))
        merged.append(
            dataclasses.replace(
                same[0],
                seconds=round(sum(speaker.seconds for speaker in same), 3),
                share=round(sum(speaker.share for speaker in same), 4),
                confidence=min(speaker.confidence for speaker in same),
                turns=turns,
            )
        )
    return tuple(merged)


def _move_speech(speakers: Sequence[Speaker], edit: Edit) -> tuple[Speaker, ...]:
    """Return speakers, of whom another one speaks between two times: a person said so, so it is sure."""
    found = []
    for speaker in speakers:
        turns = []
        for turn in speaker.turns:
            for start, end in ((turn.start, min(turn.end, edit.start)), (max(turn.start, edit.end), turn.end)):
                if end - start > _SLIVER:
                    turns.append(dataclasses.replace(turn, start=start, end=end))
        found.append(dataclasses.replace(speaker, turns=tuple(turns)))
    if edit.after not in [speaker.name for speaker in found]:
        found.append(Speaker(edit.after, 0.0, 0.0, 1.0))
    found = [
        dataclasses.replace(
            speaker,
            turns=tuple(sorted((*speaker.turns, Turn(edit.start, edit.end, 1.0)), key=lambda turn: turn.start)),
        )
        if speaker.name == edit.after
        else speaker
        for speaker in found
    ]
    found = [speaker for speaker in found if speaker.turns]
    seconds = [sum(turn.end - turn.start for turn in speaker.turns) for speaker in found]
    total = sum(seconds) or 1.0
    found = [
        dataclasses.replace(speaker, seconds=round(own, 3), share=round(own / total, 4))
        for speaker, own in zip(found, seconds, strict=True)
    ]
    return tuple(sorted(found, key=lambda speaker: speaker.turns[0].start))

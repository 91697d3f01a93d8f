"""Segments of several speakers in one order."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.formats import turns
from dropscribe.transcript import Segment, Word


def segment(speaker: str | None, *words: tuple[str, float, float]) -> Segment:
    said = tuple(Word(f" {text}", start, end, 0.9, speaker) for text, start, end in words)
    text = " ".join(text for text, _, _ in words)
    return Segment(0, said[0].start, said[-1].end, text, said, -0.2, 1.1, 0.01, 0.0, speaker)


def test_a_segment_ends_where_somebody_else_begins_in_its_pause() -> None:
    host = segment("Host", ("How", 0.0, 0.2), ("old?", 0.2, 0.5), ("And", 2.0, 2.2), ("where?", 2.2, 2.6))
    guest = segment("Guest", ("Nine.", 0.9, 1.4))
    parts = turns.order_turns([host, guest])
    assert [(p.speaker, p.text, p.start, p.end) for p in parts] == [
        ("Host", "How old?", 0.0, 0.5),
        ("Guest", "Nine.", 0.9, 1.4),
        ("Host", "And where?", 2.0, 2.6),
    ]
    assert parts[1] is guest
    assert parts[0].words + parts[2].words == host.words


def test_who_speaks_into_the_words_of_another_cuts_nothing() -> None:
    host = segment("Host", ("I", 0.0, 0.2), ("mean", 0.25, 0.6), ("this", 0.7, 1.0))
    guest = segment("Guest", ("Yes", 0.3, 0.5))
    assert turns.order_turns([guest, host]) == [host, guest]


def test_one_speaker_or_none_stays_as_it_is() -> None:
    alone = [segment("Host", ("b", 1.0, 1.1), ("c", 5.0, 5.1)), segment("Host", ("a", 0.0, 0.1))]
    assert turns.order_turns(alone) == alone
    nobody = [dataclasses.replace(s, speaker=None) for s in alone]
    assert turns.order_turns(nobody) == nobody


times = st.floats(0, 60).map(lambda seconds: round(seconds, 3))
spoken = st.builds(
    lambda speaker, edges: segment(
        speaker, *((f"w{i}", a, b) for i, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=False)))
    ),
    st.sampled_from(["Host", "Guest", None]),
    st.lists(times, min_size=2, max_size=12).map(sorted),
)


@given(st.lists(spoken, max_size=6))
def test_no_word_is_lost_or_said_by_somebody_else(segments: list[Segment]) -> None:
    parts = turns.order_turns(segments)
    for speaker in ("Host", "Guest", None):
        before = sorted((w.start, w.end, w.word) for s in segments if s.speaker == speaker for w in s.words)
        assert sorted((w.start, w.end, w.word) for p in parts if p.speaker == speaker for w in p.words) == before
    if len({s.speaker for s in segments if s.speaker}) > 1:
        assert [p.start for p in parts] == sorted(p.start for p in parts)
    for part in parts:
        assert part.text == "".join(w.word for w in part.words).strip()

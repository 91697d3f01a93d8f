"""Windows: their promises, by property."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.backends import SAMPLE_RATE, Window
from dropscribe.worker.vad import Span
from dropscribe.worker.windows import MAX_WINDOW, Cutting, cut_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECOND = SAMPLE_RATE


@st.composite
def talk(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """Return the length of a recording, and spans in it: any lengths, pauses from none to long."""
    steps = draw(
        st.lists(
            st.tuples(
                st.one_of(st.integers(0, SECOND), st.integers(0, 20 * SECOND)),
                st.one_of(st.integers(1, 5 * SECOND), st.integers(1, 100 * SECOND)),
            ),
            max_size=40,
        )
    )
    position, spans = 0, []
    for pause, length in steps:
        spans.append(Span(position + pause, position + pause + length))
        position = spans[-1].end
    return position + draw(st.integers(0, 10 * SECOND)), spans


def quiet(length: int) -> NDArray[np.float32]:
    """Return samples that take no memory, however many."""
    return np.broadcast_to(np.float32(0), (length,))


class TestWindows:
    @given(talk())
    def test_in_order_without_overlap_short_enough_and_over_all_speech(self, made: tuple[int, list[Span]]) -> None:
        length, spans = made
        windows = cut_windows(quiet(length), spans)
        assert [w.index for w in windows] == list(range(len(windows)))
        assert all(0 <= w.start < w.end <= length for w in windows)
        assert all(sum(b - a for a, b in w.kept_spans) <= MAX_WINDOW for w in windows)
        assert all(a.end <= b.start for a, b in itertools.pairwise(windows))
        covered = np.zeros(length // 100 + 1, bool)
        for window in windows:
            covered[window.start // 100 : window.end // 100 + 1] = True
        assert all(covered[s.start // 100 : s.end // 100 + 1].all() for s in spans)

    @given(talk())
    def test_only_of_pauses_is_anything_left_out_and_no_more_than_must_be(self, made: tuple[int, list[Span]]) -> None:
        length, spans = made
        gap = int(Cutting().gap * SECOND)
        for window in cut_windows(quiet(length), spans):
            if not window.omitted:
                continue
            own = [span for span in spans if span.end > window.start and span.start < window.end]
            pauses = [(before.end, after.start) for before, after in itertools.pairwise(own)]
            cut = [next((a, b) for a, b in pauses if a < first and last < b) for first, last in window.omitted]
            left = {first - a + b - last for (a, b), (first, last) in zip(cut, window.omitted, strict=True)}
            assert all(
                0 <= (b - last) - (first - a) <= 1 for (a, b), (first, last) in zip(cut, window.omitted, strict=True)
            )
            assert len(left) == 1
            assert all(gap <= min(left) < b - a for a, b in cut)
            assert all(b - a <= min(left) for a, b in pauses if (a, b) not in cut)
            kept = sum(last - first for first, last in window.kept_spans)
            assert kept <= MAX_WINDOW
            assert left == {gap} or -len(cut) < kept - (MAX_WINDOW - SECOND // 2) <= 0

    def test_the_longest_pauses_of_a_window_are_shortened(self) -> None:
        spans = [Span(int(a * SECOND), int(b * SECOND)) for a, b in [(1, 10), (16, 24), (25, 29), (33, 37)]]
        (only,) = cut_windows(quiet(41 * SECOND), spans)
        # 25 s of speech, 0.3 s before and behind it, 0.5 s unfilled: 3.9 s are left for pauses of
        # 6, 1 and 4 s.
        assert only.edges == [round(edge * SECOND) for edge in (0.7, 10.725, 15.275, 29.725, 32.275, 37.3)]

    @given(talk())
    def test_no_window_bridges_a_long_silence_or_cuts_speech_without_need(self, made: tuple[int, list[Span]]) -> None:
        length, spans = made
        windows = cut_windows(quiet(length), spans)
        for before, after in itertools.pairwise(spans):
            if after.start - before.end > Cutting().bridge * SECOND:
                assert not any(w.start < before.end and w.end > after.start for w in windows)
        for span in spans:
            if span.end - span.start <= MAX_WINDOW:
                assert any(w.start <= span.start and span.end <= w.end for w in windows)

    @given(talk())
    def test_two_neighbours_that_fit_together_are_not_cut_at_a_short_pause(
        self, made: tuple[int, list[Span]]
    ) -> None:
        length, spans = made
        windows = cut_windows(quiet(length), spans)
        for before, after in itertools.pairwise(windows):
            if after.end - before.start <= MAX_WINDOW and after.start - before.end < 0.2 * SECOND:
                # Joined they would be one window less and one bad cut less, so somewhere a long
                # pause was bridged.
                assert any(
                    b.start - a.end > Cutting().bridge * SECOND
                    for a, b in itertools.pairwise(spans)
                    if before.start <= a.end and b.start <= after.end
                )

    def test_the_longest_pause_near_the_end_is_the_place_to_cut(self) -> None:
        edges = [(0, 8), (8.2, 16), (16.2, 24), (25.7, 29), (29.1, 40)]
        spans = [Span(int(a * SECOND), int(b * SECOND)) for a, b in edges]
        first, second = cut_windows(quiet(41 * SECOND), spans)
        assert (first.start, first.end) == (0, int(24.3 * SECOND))
        assert (second.start, second.end) == (int(25.4 * SECOND), int(40.3 * SECOND))

    def test_a_window_takes_along_the_pauses_around_it(self) -> None:
        (only,) = cut_windows(quiet(20 * SECOND), [Span(5 * SECOND, 8 * SECOND)])
        assert only == Window(0, int(4.7 * SECOND), int(8.3 * SECOND))

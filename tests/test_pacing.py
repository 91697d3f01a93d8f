"""Where there are no events: the pauses between scans follow from what a scan costs."""

from __future__ import annotations

import pytest

from dropscribe.supervisor.pacing import POLLING_LIMITS, PollingPace


@pytest.mark.parametrize(
    ("took", "worked", "pause"),
    [
        (0.0, 0.0, POLLING_LIMITS.least_s),  # a small inbox
        (0.02, 0.02, 10.0),  # 2,000 files on a disk: the processor decides
        (1.0, 0.001, 20.0),  # a slow server: the time decides
        (3.0, 3.0, 60.0),  # never longer than the setting
    ],
)
def test_a_scan_that_costs_more_is_made_less_often(took: float, worked: float, pause: float) -> None:
    clock, processor = iter([100.0, 100.0 + took]), iter([1.0, 1.0 + worked])
    pace = PollingPace(60.0, lambda: next(clock), lambda: next(processor))
    pace.begin()
    pace.end()
    assert pace.pause_s == pytest.approx(pause)

"""The progress bar: as wide as the terminal, and never without the phase."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from dropscribe.cli.console import ProgressBar
from dropscribe.supervisor.publisher import Progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_tells_the_phase_its_percent_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)  # here: pytest sets its own after the fixtures
    with ProgressBar() as bar:
        bar.show_progress(Progress("talk.wav", float("nan"), 0.0, phase="decoding"))
        bar.show_progress(Progress("talk.wav", float("nan"), 60.0, phase="transcribing", percent=40.0, left_s=90.0))
        bar.show_progress(Progress("one.wav", float("nan"), 0.0, phase="transcribing", percent=50.0, together=4))
    written = terminal.getvalue()
    assert "talk.wav: decoding" in written
    assert "talk.wav: transcribing  40%" in written
    assert "about 1 min 30 s left" in written
    assert "one.wav and 3 others: transcribing  50%" in written

"""Output for people and programs: messages, JSON, and a progress bar.

Guarantees: data goes to stdout, messages and the bar to stderr; the bar is drawn on a terminal only; a file name
cannot send control characters to the terminal (`log_bridge.sanitize`).
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from dropscribe.log_bridge import sanitize

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from tqdm import tqdm

    from dropscribe.supervisor.publisher import Progress

_NARROWEST = 12
"""Columns for the name left of the bar, at least; else a third of the terminal. Of a longer name the
end is shown.
"""
_WITH_PERCENT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
_WITHOUT_PERCENT = "{desc} {elapsed}{postfix}"


def say(text: str) -> None:
    """Print a message for a person to stderr."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print data for a program to stdout. Paths and other objects become text."""
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def count_recordings(count: int) -> str:
    """Return `1 recording`, `2 recordings`."""
    return f"{count} recording{'' if count == 1 else 's'}"


def count_others(count: int) -> str:
    """Return `1 other`, `2 others`."""
    return f"{count} other{'' if count == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Return a duration with its two largest units: `2 h 5 min`, `5 min 30 s`, `30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressBar:
    """A progress bar on stderr, for one recording or download after another.

    It is as wide as the terminal, also when that changes. Leaving the context removes it.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._name = ""
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show_progress(self, progress: Progress) -> None:
        """Show how far the daemon is with a recording, or print what came of it."""
        if progress.outcome:
            self.close()
            say(f"{sanitize(progress.file)}: {progress.outcome}")
        elif progress.phase:
            others = f" and {count_others(progress.together - 1)}" if progress.together > 1 else ""
            self.show_phase(progress.file + others, progress.phase, progress.percent, progress.left_s)

    def show_phase(self, name: str, phase: str, percent: float | None, left_s: float | None) -> None:
        """Show how far a phase of the work on a recording is, and what is left of the whole."""
        if not self._terminal:
            return
        key = f"{name}: {phase}"
        if self._bar is None or self._name != key:
            self.close()
            self._name = key
            shown = sanitize(name)[-max(_NARROWEST, shutil.get_terminal_size().columns // 3) :]
            self._bar = self._make_bar(f"{shown}: {phase}", known=percent is not None)
        if percent is not None:
            if self._bar.total is None:
                self._bar.total, self._bar.bar_format = 100.0, _WITH_PERCENT
            self._bar.n = min(100.0, percent)
        left = "" if left_s is None else f"about {format_duration(left_s)} left"
        self._bar.set_postfix_str(left, refresh=False)
        self._bar.refresh()

    def show_seconds(self, name: str, done: float, total: float) -> None:
        """Show how many seconds of a recording are done."""
        self._show(name, done, total, "s")

    def show_download(self, model: str, done: int, total: int) -> None:
        """Show how many bytes of a model are downloaded."""
        self._show(f"model {model}", done, total, "B")

    def refresh(self) -> None:
        """Draw the bar again: time has passed, or the terminal has another width."""
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _make_bar(self, description: str, *, known: bool) -> tqdm[NoReturn]:
        from tqdm import tqdm

        return tqdm(
            total=100.0 if known else None,
            desc=description,
            bar_format=_WITH_PERCENT if known else _WITHOUT_PERCENT,
            dynamic_ncols=True,
            leave=False,
        )

    def _show(self, name: str, done: float, total: float, unit: str) -> None:
        if not self._terminal:
            return
        from tqdm import tqdm

        if self._bar is None or self._name != name:
            self.close()
            self._name = name
            times_only = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self._bar = tqdm(
                total=total,
                desc=sanitize(name)[-max(_NARROWEST, shutil.get_terminal_size().columns // 3) :],
                unit=unit,
                unit_scale=unit == "B",
                bar_format=times_only if unit == "s" else None,
                dynamic_ncols=True,
                leave=False,
            )
        self._bar.update(max(0, min(done, total) - self._bar.n))

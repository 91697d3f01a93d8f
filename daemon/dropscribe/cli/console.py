"""Output for people and programs: messages, JSON, and a progress bar.

Guarantees: data goes to stdout, messages and the bar to stderr; the bar is drawn on a terminal only; a file name
cannot send control characters to the terminal (`log_bridge.sanitize`).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from dropscribe.log_bridge import sanitize

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from tqdm import tqdm

    from dropscribe.supervisor.publisher import Progress

_NAME_WIDTH = 40
"""Columns for the name left of the bar; of a longer one the end is shown."""


def say(text: str) -> None:
    """Print a message for a person to stderr."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print data for a program to stdout. Paths and other objects become text."""
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def count_recordings(count: int) -> str:
    """Return `1 recording`, `2 recordings`."""
    return f"{count} recording{'' if count == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Return a duration with its two largest units: `2 h 5 min`, `5 min 30 s`, `30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressBar:
    """A progress bar on stderr, for one recording or download after another. Leaving the context removes it."""

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
        else:
            self.show_seconds(progress.file, progress.done_s, progress.audio_s)

    def show_seconds(self, name: str, done: float, total: float) -> None:
        """Show how many seconds of a recording are done."""
        self._show(name, done, total, "s")

    def show_download(self, model: str, done: int, total: int) -> None:
        """Show how many bytes of a model are downloaded."""
        self._show(f"model {model}", done, total, "B")

    def close(self) -> None:
        """Remove the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

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
                desc=sanitize(name)[-_NAME_WIDTH:],
                unit=unit,
                unit_scale=unit == "B",
                bar_format=times_only if unit == "s" else None,
                leave=False,
            )
        self._bar.update(max(0, min(done, total) - self._bar.n))

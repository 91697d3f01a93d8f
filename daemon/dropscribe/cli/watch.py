"""`dropscribe status --watch`: the report on a screen that is drawn again, until Ctrl-C.

Guarantees: it fits a terminal of 60 columns and any height, and follows when that changes; what a file is called
gives the terminal no orders; the journal is only read. Where there is no terminal one report is printed.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.cells import set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dropscribe import settings
from dropscribe.cli.console import count_others, count_recordings, format_duration
from dropscribe.errors import Exit
from dropscribe.log_bridge import sanitize
from dropscribe.supervisor import lookup
from dropscribe.supervisor.journal import State
from dropscribe.supervisor.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType

    from dropscribe.settings import Settings
    from dropscribe.supervisor.status import CurrentRecording, StatusReport

_SECONDS = 1.0
"""Between two looks: the daemon writes how far it is once a second."""
_TITLE = 9
"""Columns of the first column."""
_SHOWN = 5
"""Recordings of each kind that are shown where there is room."""


def watch_status() -> int:
    """Show what the daemon does until a person ends it."""
    chosen = settings.load().settings
    console = Console(highlight=False)
    running = False
    view = Live(console=console, screen=console.is_terminal, auto_refresh=False)
    with contextlib.suppress(KeyboardInterrupt), view as live:
        while True:
            report = read_status(chosen, stale=False)
            running = report.running
            live.update(render(report, _read_done(chosen), console.height), refresh=True)
            if not console.is_terminal:
                break
            time.sleep(_SECONDS)
    return Exit.OK if running else Exit.NOT_RUNNING


def _read_done(chosen: Settings) -> list[tuple[str, str, float | None]]:
    """Return the recordings that were done last: when, name and speed."""
    with lookup.read_journal(chosen) as journal:
        found = [] if journal is None else journal.recordings.list_in(State.DONE, limit=_SHOWN, newest=True)
    return [(lookup.format_minute(r.changed)[-5:], lookup.format_name(r), r.speed) for r in found]


def render(report: StatusReport, done: Sequence[tuple[str, str, float | None]], height: int) -> RenderableType:
    """Return a report for a terminal of so many lines: what matters most first."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=_TITLE, no_wrap=True, style="dim")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    lines = list(_list_rows(report, done))
    for title, cell in lines[: max(height - 2, 1)]:
        table.add_row(title, cell)
    return Group(table, Text("Ctrl-C ends this view.", style="dim"))


def _list_rows(
    report: StatusReport, done: Sequence[tuple[str, str, float | None]]
) -> Iterator[tuple[str, RenderableType]]:
    state = f"running (process {report.pid})" if report.running else "not running"
    yield "Daemon", Text(f"{state}{', paused' if report.paused else ''}", "green" if report.running else "yellow")
    for trouble in filter(None, [report.trouble.reason if report.trouble else "", report.inbox_trouble]):
        yield "Waiting", Text(trouble, "red", overflow="fold", no_wrap=False)
    if report.current is None:
        yield "Now", Text("nothing", "dim")
    for title, current in (("Now", report.current), ("Between", report.interrupted)):
        if current is not None:
            yield from _list_current(title, current)
    yield "Queue", Text(count_recordings(report.counts.get("queued", 0)))
    for queued in report.queue[:_SHOWN]:
        yield "", _shorten(queued.file)
    for i, (when, name, speed) in enumerate(done):
        measured = f"  {speed:.1f} x" if speed else ""
        yield "" if i else "Done", _shorten(name, f"{when}  ", measured)
    counts = [f"{report.counts[name]} {name}" for name in ("done", "failed", "waiting") if report.counts.get(name)]
    yield "Counts", Text(", ".join(counts) or "nothing seen yet")
    for i, note in enumerate((*report.failures, *report.waiting, *report.hooks)[:_SHOWN]):
        yield "" if i else "Failed", _shorten(note.file)
        yield "", Text(sanitize(note.reason), "dim")
    engine = report.engine or "not in memory"
    yield "Model", Text(f"{report.model}: {sanitize(engine)}", "dim")


def _list_current(title: str, current: CurrentRecording) -> Iterator[tuple[str, RenderableType]]:
    others = f" and {count_others(current.together - 1)}" if current.together > 1 else ""
    yield title, _shorten(current.file, "", others)
    left = "" if current.eta_s is None else f", about {format_duration(current.eta_s)} left"
    percent = "" if current.percent is None else f" {current.percent:.0f} %"
    attempt = f", attempt {current.attempt}" if current.attempt > 1 else ""
    yield "", Text(f"{current.phase}{percent}{left}{attempt}")
    if current.percent is not None:
        yield "", ProgressBar(total=100.0, completed=current.percent)


class _Shortened:
    """A name of which the end is shown where there is no room, between texts that stay."""

    def __init__(self, name: str, before: str, after: str) -> None:
        self._parts = before, sanitize(name), after

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        before, name, after = (Text(part) for part in self._parts)
        room = options.max_width - before.cell_len - after.cell_len
        if name.cell_len > room:
            name = Text(set_cell_size(name.plain[::-1], max(room - 1, 0))[::-1]) if room > 1 else Text("")
            name = Text("…") + name
        yield Text.assemble(before, name, after, no_wrap=True, overflow="ellipsis", end="")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, sum(Text(part).cell_len for part in self._parts))


def _shorten(name: str, before: str = "", after: str = "") -> _Shortened:
    return _Shortened(name, before, after)

"""`dropscribe status` and `dropscribe why`: what the daemon does, and what happened to one file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import count_others, format_duration, print_json
from dropscribe.errors import Exit
from dropscribe.log_bridge import sanitize
from dropscribe.supervisor.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.cli import commands
    from dropscribe.supervisor.status import CurrentRecording, StaleRecording, StatusReport

_KINDS = {
    "name": "by name",
    "content": "without a suffix and no recording",
    "unfinished": "unfinished by name",
    "link": "by being a link",
    "special": "by being a pipe or a device",
}
"""Why files are passed over, behind their number."""
_QUEUE_SHOWN = 5
"""How many recordings of the queue the text names; the JSON names more."""
_STALE_SHOWN = 5
"""How many stale recordings the text names; the JSON names all."""


def show_status(arguments: commands.Status) -> int:
    """Print what the daemon does; the exit code says whether it runs, and whether something keeps it from working."""
    if arguments.watch:
        from dropscribe.cli.watch import watch_status

        return watch_status()
    report = read_status(settings.load().settings)
    if arguments.json:
        print_json(dataclasses.asdict(report))
    else:
        for line in _format_report(report):
            print(line)
    if not report.running:
        return Exit.NOT_RUNNING
    return Exit.DEGRADED if report.trouble or report.inbox_trouble else Exit.OK


def show_why(arguments: commands.Why) -> int:
    """Print what happened to a file, and why."""
    from dropscribe.supervisor.explanation import explain

    found = explain(settings.load().settings, arguments.file)
    if arguments.json:
        print_json({"file": str(arguments.file), "state": found.state, "reason": found.reason})
    else:
        print(sanitize(found.reason))
    return Exit.OK


def _format_report(report: StatusReport) -> Iterator[str]:
    state = f"running (process {report.pid})" if report.running else "not running"
    yield f"Daemon    {state}{', paused' if report.paused else ''}"
    yield f"Inbox     {report.inbox}"
    yield f"Outbox    {report.outbox}"
    for name, folder in report.elsewhere.items():
        yield f"          here `{name}` is {sanitize(folder)}: the daemon was started with other settings"
    if report.backend:
        yield f"Backend   {report.backend}: {report.backend_reason}"
    yield f"Model     {report.model}{': ' + report.engine if report.engine else ' (not in memory)'}"
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items() if count)
    if report.hooks_failed:
        counts += f", {report.hooks_failed} hook{'s' if report.hooks_failed > 1 else ''} failed"
    yield f"Counts    {counts or 'nothing seen yet'}"
    if report.passed_over:
        kinds = ", ".join(f"{count} {_KINDS.get(kind, kind)}" for kind, count in report.passed_over.items())
        yield f"Ignored   {kinds}; `dropscribe why` tells of each"
    if report.current is not None:
        yield f"Now       {_format_current(report.current)}"
    if report.interrupted is not None:
        yield f"Between   the windows of {_format_current(report.interrupted)}"
    yield from _format_queue(report)
    if report.trouble is not None:
        yield f"Waiting   {report.trouble.reason}"
    if report.inbox_trouble:
        yield f"Waiting   {report.inbox_trouble}"
    for title, notes in (
        ("Unread", report.waiting),
        ("Failed", report.failures),
        ("Hook", report.hooks),
        ("Stays", report.staying),
    ):
        for note in notes:
            yield f"{title:<9} {sanitize(note.file)} ({note.when}): {sanitize(note.reason)}"
    if report.language_uncertain:
        yield f"Language  uncertain in {report.language_uncertain}: their `warnings` and `dropscribe why` tell"
    yield from _format_stale(report.stale)


def _format_current(current: CurrentRecording) -> str:
    percent = "" if current.percent is None else f" {current.percent:.0f} %"
    eta = "" if current.eta_s is None else f", about {format_duration(current.eta_s)} left"
    attempt = f", attempt {current.attempt}" if current.attempt > 1 else ""
    others = f" and {count_others(current.together - 1)} together with it" if current.together > 1 else ""
    return f"{sanitize(current.file)}{others}: {current.phase}{percent}{eta}{attempt}"


def _format_queue(report: StatusReport) -> Iterator[str]:
    title = "Next"
    for queued in report.queue[:_QUEUE_SHOWN]:
        priority = f" (priority {queued.priority})" if queued.priority else ""
        yield f"{title:<9} {sanitize(queued.file)}{priority}"
        title = ""
    more = report.counts.get("queued", 0) - _QUEUE_SHOWN
    if more > 0:
        yield f"          and {more} more"


def _format_stale(stale: tuple[StaleRecording, ...]) -> Iterator[str]:
    for recording in stale[:_STALE_SHOWN]:
        changed = ", ".join(recording.changed)
        yield f"Stale     {sanitize(recording.file)} ({recording.when}): since then changed: {changed}"
    if stale:
        more = len(stale) - _STALE_SHOWN
        rest = f"; {more} more are stale" if more > 0 else ""
        yield f"          `dropscribe redo --stale` transcribes them again{rest}"

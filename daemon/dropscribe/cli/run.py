"""`dropscribe run`: the daemon in the foreground."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from dropscribe import logs, settings
from dropscribe.cli.console import ProgressBar, say
from dropscribe.errors import Exit
from dropscribe.supervisor import loop
from dropscribe.supervisor.signals import handle_signals

if TYPE_CHECKING:
    from dropscribe.cli import commands


def run_daemon(arguments: commands.Run) -> int:
    """Watch the inbox until a signal ends it, or, with `--once`, until the inbox is worked off."""
    chosen = settings.load(arguments.flags).settings
    if not arguments.once:
        _run_until_stopped(chosen)
        return Exit.OK
    summary = _run_once(chosen)
    parts = [f"{summary.done} done", f"{summary.failed} failed"]
    if summary.waiting:
        parts.append(f"{summary.waiting} waiting")
    say(f"{', '.join(parts)}. Outbox: {chosen.outbox}")
    if summary.outage is not None:
        raise summary.outage
    return Exit.FAILED if summary.failed else Exit.OK


def _run_until_stopped(chosen: settings.Settings) -> None:
    logs.configure(chosen, console=sys.stderr if sys.stderr.isatty() else None)
    with contextlib.closing(loop.Supervisor(chosen)) as supervisor:
        handle_signals(supervisor)
        say(f"Watching {chosen.inbox}; transcripts appear in {chosen.outbox}. Log: {chosen.logs / logs.NAME}")
        supervisor.run()


def _run_once(chosen: settings.Settings) -> loop.Summary:
    logs.configure(chosen)
    with ProgressBar() as bar:
        supervisor = loop.Supervisor(chosen, once=True, progress=bar.show_progress)
        with contextlib.closing(supervisor):
            handle_signals(supervisor)
            return supervisor.run()

"""`dropscribe run`: the daemon in the foreground."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import structlog

from dropscribe import logs, settings
from dropscribe.cli.console import ProgressBar, say
from dropscribe.errors import Exit, UsageError
from dropscribe.log_bridge import sanitize
from dropscribe.models import catalogue
from dropscribe.supervisor import handover, locks, loop
from dropscribe.supervisor.hook_process import find_missing_programs
from dropscribe.supervisor.locks import AlreadyRunningError
from dropscribe.supervisor.signals import handle_signals

if TYPE_CHECKING:
    from dropscribe.cli import commands

_LOOK_SECONDS = 2.0
"""Between two tries to become the daemon while another one runs."""
_HOOKS_SHOWN = 3
"""How many hooks that failed are named; `status` names more."""


def run_daemon(arguments: commands.Run) -> int:
    """Watch the inbox until a signal ends it, or, with `--once`, until the inbox is worked off."""
    loaded = settings.load(arguments.flags)
    chosen = loaded.settings
    for name, program in find_missing_programs(chosen).items():
        say(f"dropscribe: {loaded.origin[name]}: `{name}`: {program} is not there or may not be executed.")
    try:
        catalogue.check_setting(chosen.model, chosen.backend)
    except UsageError as error:
        if arguments.once:
            raise
        say(f"dropscribe: {error.message} Recordings wait until it is there.\n            {error.cure}")
    if not arguments.once:
        _run_until_stopped(chosen, wait=arguments.wait)
        return Exit.OK
    summary = _run_once(chosen, wait=arguments.wait)
    parts = [f"{summary.done} done", f"{summary.failed} failed"]
    if summary.waiting:
        parts.append(f"{summary.waiting} waiting")
    if summary.hooks:
        parts.append(f"{len(summary.hooks)} hooks failed" if len(summary.hooks) > 1 else "1 hook failed")
    say(f"{', '.join(parts)}. Outbox: {chosen.outbox}")
    for problem in summary.hooks[:_HOOKS_SHOWN]:
        say(f"            {sanitize(problem)}")
    if summary.outage is not None:
        raise summary.outage
    return Exit.FAILED if summary.failed or summary.hooks else Exit.OK


def _run_until_stopped(chosen: settings.Settings, *, wait: bool) -> None:
    logs.configure(chosen, console=sys.stderr if sys.stderr.isatty() else None)
    with contextlib.closing(_take_over(chosen) if wait else loop.Supervisor(chosen)) as supervisor:
        handle_signals(supervisor)
        say(f"Watching {chosen.inbox}; transcripts appear in {chosen.outbox}. Log: {chosen.logs / logs.NAME}")
        supervisor.run()


def _take_over(chosen: settings.Settings) -> loop.Supervisor:
    """Return the daemon as soon as no other one has this inbox or this state. A signal ends the wait."""
    said = False
    while True:
        try:
            return loop.Supervisor(chosen)
        except AlreadyRunningError as error:
            if not said:
                say(f"{error.message} Waiting until it ends.")
                structlog.get_logger().info("daemon.waits", reason=error.message)
                said = True
            time.sleep(_LOOK_SECONDS)


def _run_once(chosen: settings.Settings, *, wait: bool) -> loop.Summary:
    logs.configure(chosen)
    with ProgressBar() as bar:
        try:
            supervisor = loop.Supervisor(chosen, once=True, progress=bar.show_progress)
        except AlreadyRunningError as error:
            if not wait or not locks.is_running(chosen.state):  # or it has the same inbox and another state
                cure = "It takes what is in the inbox by itself; with --wait this command ends when it has."
                raise AlreadyRunningError(error.message, cure) from None
            say(f"{error.message} Waiting until it has worked off the inbox.")
            return handover.wait_for_daemon(chosen)
        with contextlib.closing(supervisor):
            handle_signals(supervisor)
            return supervisor.run()

"""`dropscribe logs`: the end of the log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dropscribe import logs, settings
from dropscribe.errors import DropscribeError, Exit

if TYPE_CHECKING:
    from dropscribe.cli import commands


def show_log(arguments: commands.Logs) -> int:
    """Print the log: for people on a terminal, the JSON lines themselves in a pipe."""
    path = settings.load().settings.logs / logs.NAME
    if not path.exists() and not arguments.follow:
        raise DropscribeError(f"There is no log yet: {path}.", "The daemon writes it: `dropscribe run`.")
    terminal, colors = sys.stdout.isatty(), logs.use_colors(sys.stdout)
    for line in logs.tail(path, arguments.lines, follow=arguments.follow):
        text = logs.render_line(line, colors=colors) if terminal else line.rstrip("\n")
        print(text, flush=arguments.follow)
    return Exit.OK

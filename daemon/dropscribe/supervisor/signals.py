"""Signals that end the daemon. The handlers only record; the loop acts."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.supervisor.loop import Supervisor


def handle_signals(supervisor: Supervisor) -> None:
    """Let SIGTERM and SIGINT end the loop, and SIGHUP too: a closed terminal is a stop, not a
    crash.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: supervisor.stop(signal.Signals(n).name))

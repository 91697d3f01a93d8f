"""`dropscribe serve` and `dropscribe open`: the library in the browser.

Guarantees: nothing listens until one of them is called; what `open` starts goes on without the terminal, and ends
when nobody has used it for half a day.
"""

from __future__ import annotations

import subprocess
import sys
import time
import webbrowser
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import say
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.web import server

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.cli import commands

IDLE_HOURS = 12.0
"""What `open` starts ends after so long without a request: a page that is shown asks all the time."""
START_SECONDS = 30.0
"""A slow machine under load takes a few seconds."""


def serve(arguments: commands.Serve) -> int:
    """Serve until the process is ended."""
    loaded = settings.load(arguments.flags)

    def show(address: server.Address, token: str) -> None:
        shared = "" if arguments.host else ", for this machine alone"
        say(f"The library is at {address.url}?token={token}{shared}. Ctrl-C ends it.")
        say(f"Other programs: base URL {address.url}v1, API key {token}")

    server.serve(
        loaded,
        port=arguments.port,
        host=arguments.host,
        token=arguments.token,
        idle_hours=arguments.until_idle,
        started=show,
    )
    return Exit.OK


def open_library(arguments: commands.Open) -> int:
    """Open the library in the browser; start its server if none runs."""
    chosen = settings.load().settings
    path = "" if arguments.file is None else _find_page(chosen, arguments.file)
    address = server.find_server(chosen.state) or _start(chosen.state)
    if arguments.print:
        print(f"{address.url}{path}?token={address.token}")
        return Exit.OK
    answer = address.ask("POST", "/api/ticket")
    if answer is None:
        raise DropscribeError("The server does not answer.", "`dropscribe serve` shows what it says.")
    if not webbrowser.open(f"{address.url}{path}?token={answer['ticket']}"):
        say("No browser can be opened from here. Open this address yourself:")
        print(f"{address.url}{path}?token={address.token}")
    return Exit.OK


def _find_page(chosen: settings.Settings, file: Path) -> str:
    """Return the path of a recording's page. Raises: UsageError."""
    from dropscribe.supervisor.explanation import explain
    from dropscribe.web import transcripts

    number = transcripts.find_number(chosen, file)
    if number is None:
        raise UsageError(f"{file} is not in the library.", explain(chosen, file).reason)
    return f"r/{number}"


def _start(state: Path) -> server.Address:
    """Start a server that outlives this process; on the usual port, else on any."""
    for port in (server.PORT, 0):
        command = [sys.executable, "-m", "dropscribe", "serve", "--port", str(port), "--until-idle", str(IDLE_HOURS)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if (found := server.find_server(state)) is not None:
                return found
            time.sleep(0.05)
        process.kill()
        process.wait()
    raise DropscribeError("The server did not start.", "`dropscribe serve` shows why.")

"""Notifications on the desktop: what is done and what failed, several at once where many end together.

Guarantees: a recording's name is shown, never what was said; no name is read as a command, an
option or markup; the loop never waits for the program that shows it; where there is none, or no
desktop, the log says so once and nothing else happens.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from html import escape
from typing import TYPE_CHECKING

import structlog

from dropscribe.log_bridge import sanitize

if TYPE_CHECKING:
    from dropscribe.settings import Settings
    from dropscribe.supervisor.publisher import Progress

TITLE = "Dropscribe"
QUIET_SECONDS = 5.0
"""So long after the last recording that ended, a notification is shown: more may be about to end."""
LONGEST_SECONDS = 60.0
"""So long after the first one it is shown in any case."""
_SHOW_SECONDS = 10.0
"""How long the program may take: a desktop that does not answer must not collect processes."""
_NAMED = 3
"""How many recordings a notification names."""
_SCRIPT = (
    *("-e", "on run argv"),
    *("-e", "display notification (item 2 of argv) with title (item 1 of argv)"),
    *("-e", "end run"),
)
"""AppleScript that takes the texts as arguments, so that no name is a part of the program."""


class Notifications:
    """The notifications of one daemon. Every method is called by the thread of the loop."""

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.notify
        self._done: list[str] = []
        self._failed: list[str] = []
        self._first = self._last = 0.0
        self._shown: tuple[subprocess.Popen[bytes], float] | None = None
        self._complained = False
        self._log = structlog.get_logger()

    def take(self, progress: Progress) -> None:
        """Note a recording that has ended, if a person is to hear of it."""
        if not progress.outcome or self._wanted == "none":
            return
        is_done = progress.outcome == "done"
        if is_done and self._wanted == "failed":
            return
        self._last = time.monotonic()
        self._first = self._first if self._done or self._failed else self._last
        (self._done if is_done else self._failed).append(progress.file)

    def tick(self) -> None:
        """Show what has come together, once nothing more seems to come."""
        self._look_at_shown()
        if not (self._done or self._failed) or self._shown is not None:
            return
        now = time.monotonic()
        if now - self._last >= QUIET_SECONDS or now - self._first >= LONGEST_SECONDS:
            self._show()

    def close(self) -> None:
        """Show what is left, and let go of the program that shows it."""
        if self._done or self._failed:
            self._show()
        if self._shown is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._shown[0].wait(1.0)
            self._shown[0].kill()
            self._look_at_shown()

    def _show(self) -> None:
        body = write_body(self._done, self._failed)
        self._done, self._failed = [], []
        try:
            process = subprocess.Popen(
                make_command(sys.platform, body),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._complain(f"{error.filename}: {error.strerror}")
            return
        self._shown = process, time.monotonic() + _SHOW_SECONDS

    def _look_at_shown(self) -> None:
        if self._shown is None:
            return
        process, until = self._shown
        if process.poll() is None and time.monotonic() < until:
            return
        process.kill()
        code = process.wait()
        self._shown = None
        if code:
            self._complain(f"its program ended with {code}")

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._log.warning("notification.failed", reason=reason)
        self._complained = True


def write_body(done: list[str], failed: list[str]) -> str:
    """Return one sentence or two on the recordings that are done and those that failed."""
    return " ".join(
        f"{_list_names(names)} {verb[len(names) > 1]}."
        for names, verb in ((failed, ("failed", "failed")), (done, ("is transcribed", "are transcribed")))
        if names
    )


def make_command(system: str, body: str) -> list[str]:
    """Return the command that shows a text on this system (`sys.platform`)."""
    if system == "darwin":
        return ["osascript", *_SCRIPT, TITLE, body]
    return ["notify-send", f"--app-name={TITLE}", "--", TITLE, escape(body, quote=False)]  # a body is markup


def _list_names(names: list[str]) -> str:
    shown = [sanitize(name) for name in names[:_NAMED]]
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

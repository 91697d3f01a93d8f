"""`status --watch`: a screen that fits, follows the terminal's width, and ends with Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from dropscribe.cli.watch import render
from dropscribe.supervisor.status import (
    CurrentRecording,
    OutageNote,
    QueuedRecording,
    RecordingNote,
    StatusReport,
)

if TYPE_CHECKING:
    from house import House

LONG = "interviews/2026/a very long name of a recording, 東京タワー, of the annual meeting in Helsinki.m4a"
REPORT = StatusReport(
    running=True,
    pid=4711,
    paused=False,
    inbox="/in",
    outbox="/out",
    model="large-v3-turbo",
    engine="mlx gpu float16",
    counts={"queued": 7, "done": 12, "failed": 1, "waiting": 0},
    current=CurrentRecording(LONG, "transcribing", 41.7, 3700, 100.0, 7200.0, 2, 3),
    queue=tuple(QueuedRecording(f"{i} {LONG}", 0, "") for i in range(7)),
    trouble=OutageNote("disk-full", "The disk of the outbox is full: free some space on it.", 0.0),
    failures=(RecordingNote(f"\x1b[2J{LONG}", "no-audio", "It has no sound.", "2026-11-29 10:00"),),
)
DONE = [("10:01", LONG, 12.3), ("09:58", "short.m4a", None)]


def draw(width: int, height: int = 40) -> list[str]:
    """Return the lines of the report on a terminal of a size."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(render(REPORT, DONE, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_line_fits_the_terminal(width: int) -> None:
    from dropscribe.formats.line_breaking import count_columns

    assert max(count_columns(line) for line in draw(width)) <= width


@pytest.mark.parametrize("width", [60, 80])
def test_what_matters_is_there_at_any_usual_width(width: int) -> None:
    text = "\n".join(draw(width))
    for part in ("running (process 4711)", "transcribing 42 %, about 1 h 1 min left", "7 recordings", "12.3 x"):
        assert part in text
    assert "Helsinki.m4a and 2 others" in text  # the end of a name tells it from others
    assert "The disk of the outbox is full" in text
    assert "\x1b" not in text


def test_a_low_terminal_shows_what_matters_most() -> None:
    lines = draw(80, 6)
    assert len(lines) <= 6
    assert "running" in lines[0]
    assert "Ctrl-C" in lines[-1]


def test_it_follows_the_terminal_and_ends_with_ctrl_c(house: House) -> None:
    house.drop("a recording with a name that is longer than forty columns.wav", "Said.")
    house.run()
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = house.environ() | {"TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):
        environ.pop(name, None)
    command = [sys.executable, "-m", "dropscribe", "status", "--watch"]
    with subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            assert b"longer than forty columns.wav" in read_until(ours, b"longer than forty columns.wav")
            ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
            cut = "Done [^…]*…[^…]*wav".encode()
            assert re.search(cut, read_until(ours, cut))
            process.send_signal(signal.SIGINT)
            rest = read_until(ours, None)
            assert process.wait() == 3  # there is no daemon
        finally:
            process.kill()
    os.close(ours)
    assert b"\x1b[?1049l" in rest  # the screen is as it was
    assert b"Traceback" not in rest


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Return what is shown until a pattern is there, or until the end; a minute without it is enough."""
    shown, end = b"", time.monotonic() + 60
    while wanted is None or not re.search(wanted, shown):
        if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        try:
            more = os.read(terminal, 4096)
        except OSError:  # Linux: nobody has the other end open any more
            break
        if not more:
            break
        shown += more
    return shown


def test_in_a_pipe_it_is_printed_once(house: House) -> None:
    done = house.call("status", "--watch")
    assert done.returncode == 3
    assert "not running" in done.stdout

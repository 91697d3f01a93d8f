"""The script for SwiftBar and xbar, run by a shell with the real program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor import requests

if TYPE_CHECKING:
    from house import House

SCRIPT = Path(__file__).parents[1] / "packaging/menu-bar/dropscribe.10s.sh"
SHORT = f"#!{sys.executable}\n"
LONG = f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''\n"
"""The first lines of a program that pip or uv installs, the second where the path is long or has a space."""


def show(house: House, start: str = SHORT) -> list[str]:
    """Return the lines of the menu."""
    program = house.inbox.parent / "bin/dropscribe"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"{start}import sys\nfrom dropscribe.cli.main import main\nsys.exit(main())\n")
    program.chmod(0o755)
    path = f"{program.parent}:/usr/bin:/bin"
    environ = house.environ() | {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([str(SCRIPT)], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("start", [SHORT, LONG], ids=["short", "long"])
def test_it_shows_what_waits_and_what_failed_and_offers_to_try_again(house: House, start: str) -> None:
    house.drop('a | bad "one"\n.wav', "!fail recording no-audio")
    house.drop("bad.wav", "!fail recording no-audio")
    house.drop("good.wav", "Said.")
    house.run()
    house.drop("next.wav", "Said.")
    house.queue()
    lines = show(house, start)
    assert lines[:3] == ["⚠️ 1", "---", "Dropscribe is not running."]
    assert "Next: next.wav" in lines
    assert "Done: 1" in lines
    program = house.inbox.parent / "bin/dropscribe"
    assert (
        f'--Try again | bash="{program}" param1="retry" param2="{house.inbox}/bad.wav" terminal=false refresh=true'
        in lines
    )
    assert "--Try again" in lines  # of a name that the menu cannot quote
    assert 'Failed: a │ bad "one" .wav' in lines
    assert all("|" not in line or "bash=" in line for line in lines)


def test_a_paused_daemon_can_be_resumed(house: House) -> None:
    house.run()
    requests.pause(house.settings.state)
    lines = show(house)
    assert lines[0] == "⏸"
    assert any(line.startswith("Resume | bash=") for line in lines)


def test_a_program_that_is_not_there_or_gives_no_report_is_said(house: House) -> None:
    environ = house.environ() | {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([str(SCRIPT)], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "The command dropscribe is not found."
    (house.settings.state / "journal.sqlite3").mkdir(parents=True)
    assert "gave no report" in show(house)[-1]

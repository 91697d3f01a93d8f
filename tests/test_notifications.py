"""Notifications: which, how many, and that no name is more than a name."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.notifications import make_command, write_body

if TYPE_CHECKING:
    from pathlib import Path

    from house import House

SHOW = """#!{python} -IS
import json, sys
with open({file!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""
"""A `notify-send` or `osascript` that notes what it is to show."""


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what was shown, a JSON list a line."""
    folder, shown = tmp_path / "bin", tmp_path / "shown"
    folder.mkdir()
    for name in ("notify-send", "osascript"):
        (folder / name).write_text(SHOW.format(python=sys.executable, file=str(shown)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return shown


def read_shown(desktop: Path) -> list[str]:
    """Return the text of each notification."""
    return [json.loads(line)[-1] for line in desktop.read_text().splitlines()] if desktop.exists() else []


def drop_three(house: House) -> None:
    house.drop("one.wav", "Unmistakable.")
    house.drop("two.wav", "Words.")
    house.drop("bad.wav", "!fail recording no-audio")


@pytest.mark.parametrize(
    ("notify", "texts"),
    [
        (
            "all",
            {
                "bad.wav failed. one.wav and two.wav are transcribed.",
                "bad.wav failed. two.wav and one.wav are transcribed.",
            },
        ),
        ("failed", {"bad.wav failed."}),
        ("none", set()),
    ],
)
def test_what_ends_together_is_one_notification(house: House, desktop: Path, notify: str, texts: set[str]) -> None:
    drop_three(house)
    house.run(notify=notify)
    shown = read_shown(desktop)
    assert len(shown) == min(1, len(texts))
    assert set(shown) <= texts


def test_without_a_desktop_the_log_says_so_once_and_work_goes_on(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    drop_three(house)
    assert house.run(notify="all").done == 2
    assert len(house.events("notification.failed")) == 1


def test_of_many_recordings_three_are_named() -> None:
    assert write_body([], ["a", "b", "c", "d", "e"]) == "a, b, c and 2 more failed."
    assert write_body(["talk.m4a"], []) == "talk.m4a is transcribed."


def test_no_name_is_an_option_a_command_or_markup() -> None:
    name = '-e "do shell script \\"rm\\"" & <b>\x1b[2J.wav'
    body = write_body([name], [])
    command = make_command("darwin", body)
    assert command[-1] == body
    assert not any(name[:10] in word for word in command[:-1])
    assert "\x1b" not in body
    linux = make_command("linux", body)
    assert linux[2] == "--"
    assert "<b>" not in linux[-1]

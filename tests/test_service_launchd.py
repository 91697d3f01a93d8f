"""The service on macOS, against a launchctl that is a real process."""

from __future__ import annotations

import dataclasses
import plistlib
from typing import TYPE_CHECKING

import pytest

from dropscribe.errors import UsageError
from dropscribe.service import (
    Outcome,
    ServiceError,
    Status,
)
from service_managers import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def mac(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "macos")


def test_launchd_installs(mac: Machine) -> None:
    path = mac.home / "Library/LaunchAgents/app.dropscribe.plist"
    assert mac.manager().install(mac.spec) == Outcome("installed", f"Installed as {path}, and started.")
    assert mac.state()["calls"] == [
        ["print", "gui/501/app.dropscribe"],
        ["enable", "gui/501/app.dropscribe"],
        ["bootstrap", "gui/501", str(path)],
        ["print", "gui/501/app.dropscribe"],
    ]
    assert path.read_bytes() == mac.manager().render(mac.spec)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert mac.spec.crash_log.parent.is_dir()
    assert mac.manager().status(mac.spec) == Status(
        installed=True, running=True, pid=1, enabled=True, detail="running", file=path, differs=False
    )


def test_launchd_restarts_an_unchanged_one(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.calls()
    assert mac.manager().install(mac.spec).action == "restarted"
    assert mac.calls() == ["print", "enable", "kickstart -k"]


def test_launchd_replaces_one_that_differs_and_waits_until_the_old_one_is_gone(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(slow=3)
    mac.calls()
    other = dataclasses.replace(mac.spec, interpreter="/other/bin/python")
    assert mac.manager().status(other).differs
    mac.calls()
    assert mac.manager().install(other).action == "replaced"
    assert mac.calls() == ["print", "enable", "bootout", *["print"] * 4, "bootstrap", "print"]
    assert mac.slept == [0.25] * 3
    assert plistlib.loads(mac.manager().path().read_bytes())["ProgramArguments"][0] == "/other/bin/python"


def test_launchd_loads_one_whose_file_is_there_already(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.manager().stop()
    mac.calls()
    assert mac.manager().install(mac.spec).action == "started"
    assert mac.calls() == ["print", "enable", "bootstrap", "print"]


def test_launchd_that_never_lets_go_is_an_error_after_a_bounded_wait(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(slow=100_000)
    with pytest.raises(ServiceError, match=r"not let go of the service within 21 s \(Boot-out failed: 36"):
        mac.manager(patience=1.0).stop()
    assert mac.now == 21


def test_launchd_error_5_twice_and_then_fine(mac: Machine) -> None:
    mac.set(errors={"bootstrap": [[5, "Bootstrap failed: 5: Input/output error"]] * 2})
    assert mac.manager().install(mac.spec).action == "installed"
    assert mac.calls() == ["print", "enable", *["bootstrap", "print"] * 2, "bootstrap", "print"]
    assert mac.slept == [0.5, 1.0]


def test_launchd_error_5_for_ever_is_reported(mac: Machine) -> None:
    mac.set(errors={"bootstrap": [[5, "Bootstrap failed: 5: Input/output error"]] * 9})
    with pytest.raises(ServiceError) as caught:
        mac.manager().install(mac.spec)
    assert caught.value.message == "`launchctl bootstrap` failed: Bootstrap failed: 5: Input/output error."
    assert caught.value.cure == (
        "Look at `launchctl print gui/501/app.dropscribe` and try again. "
        "Over ssh: log in at the Mac's own screen first."
    )
    assert mac.slept == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_launchd_over_ssh_without_a_session_says_where_to_go(mac: Machine) -> None:
    text = "Bootstrap failed: 125: Domain does not support specified action"
    mac.set(errors={"bootstrap": [[125, text]]})
    with pytest.raises(ServiceError, match="at the Mac's own screen"):
        mac.manager().install(mac.spec)
    assert mac.slept == []


def test_launchd_is_not_for_root(mac: Machine) -> None:
    with pytest.raises(UsageError, match="without sudo"):
        mac.manager(uid=0).install(mac.spec)
    assert mac.calls() == []
    assert not mac.manager().path().exists()


def test_launchd_start_stop_restart_uninstall(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.calls()
    assert mac.manager().start() == Outcome("nothing", "It is running already, as process 1.")
    assert mac.calls() == ["print"]
    assert mac.manager().restart().action == "restarted"
    assert mac.calls() == ["print", "kickstart -k"]
    assert mac.manager().stop().action == "stopped"
    assert mac.calls() == ["print", "bootout", "print"]
    assert mac.manager().stop() == Outcome("nothing", "It was not running.")
    stopped = mac.manager().status(mac.spec)
    assert (stopped.installed, stopped.running, stopped.detail) == (True, False, "not loaded")
    mac.calls()
    assert mac.manager().restart().action == "started"
    assert mac.calls() == ["print", "print", "enable", "bootstrap", "print"]
    assert mac.manager().uninstall().action == "uninstalled"
    assert mac.calls() == ["print", "bootout", "print"]
    assert not mac.manager().path().exists()
    assert mac.manager().uninstall() == Outcome("nothing", "It was not installed.")


def test_launchd_starts_one_that_is_loaded_but_waits(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(state="spawn scheduled", pid=0, last="2")
    status = mac.manager().status()
    assert (status.running, status.pid, status.detail) == (False, None, "spawn scheduled, last exit code 2")
    mac.calls()
    assert mac.manager().start().action == "started"
    assert mac.calls() == ["print", "enable", "kickstart -k"]


# What people reported of launchctl, each in the words that it said there


def test_launchd_error_37_while_the_old_one_ends_is_waited_out(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(errors={"bootstrap": [[37, "Bootstrap failed: 37: Operation already in progress"]] * 2})
    mac.calls()
    other = dataclasses.replace(mac.spec, interpreter="/other/bin/python")
    assert mac.manager().install(other).action == "replaced"
    assert mac.calls()[-5:] == ["bootstrap", "print", "bootstrap", "print", "bootstrap"] or mac.state()["pid"] == 2
    assert mac.slept == [0.5, 1.0]


def test_launchd_error_113_of_one_that_has_gone_meanwhile_loads_it(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    text = 'Could not find service "app.dropscribe" in domain for user gui: 501'
    mac.set(errors={"kickstart": [[113, text]]})
    mac.calls()
    assert mac.manager().restart().action == "restarted"
    assert mac.calls() == ["print", "kickstart -k", "bootstrap", "print"]


@pytest.mark.parametrize(
    ("code", "text"),
    [(125, "Domain does not support specified action"), (112, "Could not find domain for user gui: 501")],
)
def test_launchd_without_a_session_on_the_screen_says_where_to_go_and_writes_nothing(
    mac: Machine, code: int, text: str
) -> None:
    mac.set(errors={"print": [[code, text]]})
    with pytest.raises(ServiceError) as caught:
        mac.manager().install(mac.spec)
    assert "at the Mac's own screen" in caught.value.cure
    assert not mac.manager().path().exists()


def test_launchd_that_loads_and_does_not_start_is_told_to(mac: Machine) -> None:
    mac.set(forgets=1)
    mac.manager().install(mac.spec)
    assert mac.calls() == ["print", "enable", "bootstrap", "print", "kickstart"]
    assert mac.manager().status().running

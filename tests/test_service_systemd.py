"""The service on Linux, against a systemctl and a loginctl that are real processes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from dropscribe.service import (
    Outcome,
    ServiceError,
    Status,
)
from service_managers import NO_BUS, Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def linux(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "linux")


def test_systemd_installs(linux: Machine) -> None:
    path = linux.home / ".config/systemd/user/dropscribe.service"
    assert linux.manager().install(linux.spec) == Outcome("installed", f"Installed as {path}, and started.")
    assert linux.calls() == ["show", "daemon-reload", "enable --now", "loginctl show-user 501"]
    assert path.read_bytes() == linux.manager().render(linux.spec)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert linux.manager().status(linux.spec) == Status(
        installed=True, running=True, pid=1, enabled=True, detail="active (running)", file=path, differs=False
    )


def test_systemd_installs_again_and_replaces_one_that_differs(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.calls()
    assert linux.manager().install(linux.spec).action == "restarted"
    steps = ["show", "daemon-reload", "enable --now", "restart", "loginctl show-user 501"]
    assert linux.calls() == steps
    other = dataclasses.replace(linux.spec, interpreter="/other/bin/python")
    assert linux.manager().status(other).differs
    linux.calls()
    assert linux.manager().install(other).action == "replaced"
    assert linux.calls() == steps
    assert b"ExecStart=/other/bin/python -m dropscribe run --wait\n" in linux.manager().path().read_bytes()


@pytest.mark.parametrize(
    ("linger", "lead"),
    [("no", "Lingering is off: the service"), ("", "Whether lingering is on could not be")],
)
def test_systemd_says_when_the_service_would_end_with_the_login(linux: Machine, linger: str, lead: str) -> None:
    linux.set(linger=linger)
    outcome = linux.manager().install(linux.spec)
    assert outcome.action == "installed"
    assert len(outcome.notes) == 1
    assert outcome.notes[0].startswith(lead)
    assert "`loginctl enable-linger`" in outcome.notes[0]


def test_systemd_without_loginctl_still_installs(linux: Machine) -> None:
    (linux.bin / "loginctl").unlink()
    outcome = linux.manager().install(linux.spec)
    assert (outcome.action, len(outcome.notes)) == ("installed", 1)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (NO_BUS, "XDG_RUNTIME_DIR=/run/user/501"),
        (
            "Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS",
            "log in as your",
        ),
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "a container"),
    ],
)
def test_systemd_without_a_bus_writes_nothing_and_says_what_to_do(linux: Machine, said: str, cure: str) -> None:
    linux.set(errors={"show": [[1, said]]})
    with pytest.raises(ServiceError, match=cure) as caught:
        linux.manager().install(linux.spec)
    assert said.rstrip(".") in caught.value.message
    assert not (linux.home / ".config").exists()


def test_systemd_that_looks_elsewhere_says_so(linux: Machine) -> None:
    environ = {"XDG_CONFIG_HOME": str(linux.home / "elsewhere")}
    with pytest.raises(ServiceError, match="unset XDG_CONFIG_HOME"):
        linux.manager(environ=environ).install(linux.spec)


def test_systemd_start_that_fails_is_reported_with_where_to_look(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.set(state="failed", pid=0, last="exit-code", errors={"start": [[1, "Job for it failed."]]})
    assert linux.manager().status().detail == "failed (failed), last result exit-code 2"
    with pytest.raises(ServiceError) as caught:
        linux.manager().start()
    assert str(caught.value) == (
        "`systemctl --user start` failed: Job for it failed. Look at `systemctl --user status "
        "dropscribe.service` and `journalctl --user -u dropscribe.service`."
    )


def test_systemd_start_stop_restart_uninstall(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.calls()
    assert linux.manager().start() == Outcome("nothing", "It is running already, as process 1.")
    assert linux.calls() == ["show"]
    assert linux.manager().restart().action == "restarted"
    assert linux.calls() == ["show", "restart", "loginctl show-user 501"]
    assert linux.manager().stop().action == "stopped"
    assert linux.calls() == ["show", "stop"]
    assert linux.manager().stop() == Outcome("nothing", "It was not running.")
    linux.calls()
    assert linux.manager().start().action == "started"
    assert linux.calls() == ["show", "start", "loginctl show-user 501"]
    assert linux.manager().uninstall().action == "uninstalled"
    assert linux.calls() == ["disable --now", "daemon-reload", "reset-failed"]
    assert not linux.manager().path().exists()
    assert linux.manager().uninstall() == Outcome("nothing", "It was not installed.")
    assert linux.calls() == []

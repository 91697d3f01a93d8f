"""What both service managers do alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropscribe.service import (
    ServiceError,
)
from service_managers import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["macos", "linux"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_what_is_not_installed_cannot_be_commanded(machine: Machine, command: str) -> None:
    with pytest.raises(ServiceError, match=r"not installed as a service\. Run `dropscribe service install`"):
        getattr(machine.manager(), command)()


def test_the_status_of_what_is_not_installed(machine: Machine) -> None:
    status = machine.manager().status(machine.spec)
    assert (status.installed, status.running, status.pid, status.enabled, status.differs) == (
        False,
        False,
        None,
        False,
        False,
    )


def test_a_program_that_hangs_is_ended(machine: Machine) -> None:
    verb = {"macos": "print", "linux": "show"}[machine.platform]
    machine.set(hang=verb)
    with pytest.raises(ServiceError, match=rf"{verb} .*gave no answer within 1 s"):
        machine.manager(patience=1.0).install(machine.spec)
    assert not machine.manager().path().exists()


def test_a_missing_program_is_reported(machine: Machine) -> None:
    for program in machine.bin.iterdir():
        program.unlink()
    with pytest.raises(ServiceError, match="cannot be run here: No such file or directory"):
        machine.manager().install(machine.spec)
    assert not machine.manager().path().exists()


def test_a_folder_that_cannot_be_written_is_reported(machine: Machine) -> None:
    machine.manager().path().parent.parent.mkdir(parents=True)
    machine.manager().path().parent.write_text("a file where the folder should be")
    with pytest.raises(ServiceError, match=r"cannot be (made|written)"):
        machine.manager().install(machine.spec)

"""`dropscribe service`: the daemon as a background service of launchd or systemd."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from dropscribe import service, settings
from dropscribe.cli.console import print_json, say
from dropscribe.errors import Exit

if TYPE_CHECKING:
    from dropscribe.cli import commands


def control_service(arguments: commands.Service) -> int:
    """Print the service file, show the state of the service, or change it."""
    chosen = settings.load().settings
    manager = service.choose_manager(arguments.platform if arguments.action == "print" else None)
    spec = service.make_spec(os.environ, sys.executable, logs=chosen.logs, platform=arguments.platform)
    if arguments.action == "print":
        sys.stdout.buffer.write(manager.render(spec))
        return Exit.OK
    if arguments.action == "status":
        return _show_status(manager, spec, as_json=arguments.json)
    if arguments.action == "install":
        from dropscribe.supervisor import folders

        folders.make_folders(chosen)
        chosen.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        outcome = manager.install(spec)
    else:
        change = {
            "uninstall": manager.uninstall,
            "start": manager.start,
            "stop": manager.stop,
            "restart": manager.restart,
        }
        outcome = change[arguments.action]()
    say(outcome.detail)
    left_out = service.list_notes(os.environ) if arguments.action == "install" else ()
    for note in (*outcome.notes, *left_out):
        say(note)
    return Exit.OK


def _show_status(manager: service.Manager, spec: service.Spec, *, as_json: bool) -> int:
    found = manager.status(spec)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print(f"{found.detail} ({manager.name}: {found.file})")
        if found.differs:
            print("The installed file is not what would be written now: `dropscribe service install` renews it.")
    return Exit.OK if found.running else Exit.NOT_RUNNING

"""`dropscribe backends`: the engines, and the environment of the one that needs its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.backends import installation, listing
from dropscribe.cli.console import print_json, say
from dropscribe.errors import Exit

if TYPE_CHECKING:
    from dropscribe.cli import commands


def list_backends(arguments: commands.ListBackends) -> int:
    """Print every engine: whether it is installed, whether it is used and why, its versions."""
    rows = listing.list_backends(settings.load().settings)
    if arguments.json:
        print_json([dataclasses.asdict(row) for row in rows])
        return Exit.OK
    for row in rows:
        versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
        state = "installed" if row.installed else "not installed"
        print(f"{row.backend:<15} {state:<14} {row.device:<4} {row.why}")
        for detail in (versions, row.python or "", row.error):
            if detail:
                print(f"{'':<15} {detail}")
    return Exit.OK


def install_backend(arguments: commands.InstallBackend) -> int:
    """Create the environment of an engine and print its interpreter."""
    print(installation.install_environment(settings.load().settings, say, arguments.python, again=arguments.again))
    return Exit.OK


def remove_backend(arguments: commands.RemoveBackend) -> int:
    """Remove the environment of an engine."""
    removed = installation.remove_environment(settings.load().settings)
    say(f"The environment of {arguments.backend} is {'removed' if removed else 'not there'}.")
    return Exit.OK

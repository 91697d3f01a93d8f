"""`dropscribe config` and `dropscribe completion`: the settings, and a completion script."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe import settings
from dropscribe.cli.console import print_json, say
from dropscribe.errors import Exit, UsageError

if TYPE_CHECKING:
    from dropscribe.cli import commands


def show_config(arguments: commands.Config) -> int:
    """Print where the settings file is, check the settings, or show every setting and where it comes from."""
    if arguments.action == "path":
        print(settings.find_config_path())
        return Exit.OK
    loaded = settings.load(arguments.flags)
    if arguments.action == "check":
        return _check(loaded)
    if arguments.file is not None:
        loaded = _merge_profiles(loaded, arguments.file)
    _show(loaded, as_json=arguments.json)
    return Exit.OK


def print_completion(arguments: commands.Completion) -> int:
    """Print a completion script for a shell."""
    import shtab

    from dropscribe.cli import parser

    print(shtab.complete(parser.build_parser(), arguments.shell))
    return Exit.OK


def _check(loaded: settings.Loaded) -> int:
    """Check model, hooks and every profile in the inbox; the other settings were checked when they were loaded."""
    from dropscribe.models import catalogue
    from dropscribe.supervisor import profiles
    from dropscribe.supervisor.hook_process import find_missing_programs

    chosen = loaded.settings
    errors: list[UsageError] = list(profiles.check_all(chosen))
    try:
        catalogue.check_setting(chosen.model, chosen.backend)
    except UsageError as error:
        errors.insert(0, UsageError(f"{loaded.name_place('model')}: `model`: {error.message}", error.cure))
    for name, program in find_missing_programs(chosen).items():
        msg = f"{loaded.origin[name]}: `{name}`: {program} is not there or may not be executed."
        errors.append(UsageError(msg, "Write the whole path of a program; `~` and variables are not expanded."))
    for found in errors:
        say(f"{found.message}\n    {found.cure}")
    if errors:
        return Exit.USAGE
    path = settings.find_config_path()
    say(f"The settings are fine ({path}{'' if path.exists() else ', which does not exist: all defaults'}).")
    return Exit.OK


def _merge_profiles(loaded: settings.Loaded, path: Path) -> settings.Loaded:
    """Return the settings of one recording or folder of the inbox, which need not exist yet."""
    from dropscribe.supervisor import profiles
    from dropscribe.supervisor.lookup import locate_in_inbox

    chosen, merged = loaded.settings, profiles.Profiles(loaded.settings)
    if path.is_dir() and (within := locate_in_inbox(chosen, path / "x")) is not None:
        return merged.resolve_folder(PurePath(within).parent, loaded.origin)
    if (relative := locate_in_inbox(chosen, path)) is not None:
        return merged.resolve(PurePath(relative), loaded.origin)
    raise UsageError(f"{path} does not lie in the inbox {chosen.inbox}.", "Profiles apply only there.")


def _show(loaded: settings.Loaded, *, as_json: bool) -> None:
    values = {name: getattr(loaded.settings, name) for name in settings.FIELDS}
    if as_json:
        print_json(
            {
                name: {"value": str(value) if isinstance(value, Path) else value, "from": loaded.origin[name]}
                for name, value in values.items()
            }
        )
        return
    lines = {name: f"{key} = {settings.to_toml(values[name])}" for key, name in settings.KEYS.items()}
    width = max(map(len, lines.values()))
    for name, line in lines.items():
        print(f"{line:<{width}}  # {loaded.origin[name]}")

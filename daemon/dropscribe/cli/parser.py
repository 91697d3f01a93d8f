"""The argument parser.

Guarantees: `parse` returns one immutable value whose class stands for the command, so that mypy knows what every
command receives; only the arguments of the command that was called are built, so that `dropscribe --help` stays
fast.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe import __version__
from dropscribe.cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FLAG = "set_"
"""Before the name of a setting in argparse's namespace."""
_DAEMON_SETTINGS = (
    *(
        "inbox",
        "outbox",
        "permissions",
        "together",
        "recursive",
        "settle_seconds",
        "scan_seconds",
        "observer",
        "after",
        "archive",
    ),
    *("notify", "on_done", "on_failed", "webhook", "hook_seconds", "hook_tries"),
)
"""Settings without meaning for `transcribe`."""


def parse(argv: Sequence[str]) -> commands.Command | None:
    """Return the command in `argv` with its arguments, or None when `argv` names none.

    Raises: SystemExit after `--help` and `--version`, and with code 2 for arguments that are wrong.
    """
    called = next((argument for argument in argv if not argument.startswith("-")), "")
    values = vars(build_parser(called).parse_args(argv))
    kind: Any = values.get("kind")
    if kind is None:
        return None
    values["flags"] = {
        name.removeprefix(_FLAG): value
        for name, value in values.items()
        if name.startswith(_FLAG) and value is not None
    }
    command: commands.Command = kind(**{name: values[name] for name in kind._fields})
    return command


def build_parser(called: str | None = None) -> argparse.ArgumentParser:
    """Return the parser.

    Args:
        called: the command that gets its arguments; the others have only a line in the help. None: every command.
    """
    parser = argparse.ArgumentParser(
        prog="dropscribe",
        description="Drop a recording into a folder; its transcript appears in another.",
        epilog="`dropscribe COMMAND --help` shows the options of a command. Settings: `dropscribe config show`.",
    )
    parser.add_argument("--version", action="version", version=f"dropscribe {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for name, (add_arguments, text) in _COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text)
        if called in {None, name}:
            add_arguments(command)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Run)
    text = "transcribe what is in the inbox, then end (exit code 1 if any recording or hook failed)"
    parser.add_argument("--once", action="store_true", help=text)
    text = (
        "where a daemon runs already: with --once wait until it has transcribed what is in the inbox, "
        "else wait until it ends and take its place"
    )
    parser.add_argument("--wait", action="store_true", help=text)
    _add_setting_flags(parser)


def _add_transcribe(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Transcribe)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write files there, in every format that is set"
    )
    parser.add_argument("-f", "--format", default="txt", help="format on stdout (default: txt)")
    _add_json(parser)
    _add_setting_flags(parser, without=_DAEMON_SETTINGS)


def _add_export(parser: argparse.ArgumentParser) -> None:
    from dropscribe import settings
    from dropscribe.cli.transcribe import EXPORT_FORMATS

    parser.set_defaults(kind=commands.Export)
    parser.add_argument("transcript", type=Path, metavar="TRANSCRIPT.json")
    text = f"one or more of {', '.join(EXPORT_FORMATS)}, with commas between"
    names = "whether .srt names speakers: true (default) or false"
    parser.add_argument("--srt-speakers", default="true", metavar="VALUE", help=names)
    parser.add_argument("--to", required=True, metavar="FORMATS", help=text)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write there (default: the folder of the JSON)"
    )
    _add_setting_flags(parser, without=[name for name in settings.FIELDS if not name.startswith("subtitle_")])


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Status)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--watch", action="store_true", help="keep showing it, until Ctrl-C")
    _add_json(which)


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Why)
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_json(parser)


def _add_retry(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Retry)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("files", nargs="*", type=Path, metavar="FILE", default=[])
    which.add_argument("--all", action="store_true", help="everything that failed")


def _add_skip(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Skip)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


def _add_redo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Redo)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", default=[])
    parser.add_argument("--stale", action="store_true", help="only those whose settings have changed since")


def _add_speakers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Speakers)
    parser.add_argument("file", type=Path, metavar="FILE", help="a finished recording")
    parser.add_argument("names", nargs="*", metavar="OLD=NEW", help='another name: "Speaker 1=Anna"')
    _add_json(parser)


def _add_voices(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.ListVoices, json=False)
    actions = parser.add_subparsers(metavar="ACTION")

    def add(name: str, kind: Any, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(kind=kind)
        return action

    text = "Teach a voice, with the person's consent: it is biometric data, and stays on this machine."
    teach = add("add", commands.AddVoice, text)
    teach.add_argument("name", metavar="NAME", help="what the person is called; again for one more sample")
    teach.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recording in which nobody else speaks")
    text = "take the voice of a speaker in the recording of this transcript"
    teach.add_argument("--from", dest="transcript", type=Path, metavar="TRANSCRIPT.json", help=text)
    teach.add_argument("--speaker", metavar="SPEAKER", help='with --from: which one, such as "Speaker 2"')
    _add_json(add("list", commands.ListVoices, "Show whose voices are known."))
    add("remove", commands.RemoveVoice, "Forget a voice.").add_argument("name", metavar="NAME")


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Search)
    text = 'words that a sentence has; "a phrase", begin*, NEAR(budget cut, 8), OR, NOT'
    parser.add_argument("words", nargs="*", metavar="WORDS", help=text)
    parser.add_argument("--speaker", default="", metavar="NAME", help="only what this person says")
    parser.add_argument(
        "--since", default="", metavar="DATE", help="only recordings from then on: 2026-05-01, 2026-05"
    )
    parser.add_argument("--language", default="", metavar="CODE", help="only what is said in this language")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    parser.add_argument("--rebuild", action="store_true", help="make the index again from every transcript first")
    _add_json(parser)


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Apply)
    which = parser.add_mutually_exclusive_group(required=True)
    text = "an output that was edited by hand: .txt, .times.txt, .lines.txt, .srt or .vtt"
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help=text)
    which.add_argument("--undo", type=Path, metavar="RECORDING", help="take back the last correction of a recording")
    _add_json(parser)


def _add_summarize(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Summarize)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a .json of the outbox; others are ignored"
    )
    text = "a server with OpenAI's chat endpoint, such as Ollama's http://127.0.0.1:11434/v1"
    parser.add_argument("--endpoint", required=True, metavar="URL", help=text)
    parser.add_argument("--model", default="", metavar="NAME", help="default: the first that the server lists")
    text = "the server may be another machine: what was said leaves this one"
    parser.add_argument("--allow-remote", action="store_true", help=text)
    text = "seconds to wait for one answer (default: 600)"
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help=text)


def _add_memos(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Memos)
    text = "where the recordings are (default: Voice Memos' own folder)"
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help=text)
    parser.add_argument("--list", action="store_true", help="show them with their titles, and copy none")
    parser.add_argument("--json", action="store_true", help="with --list: print JSON")


def _add_pause(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Pause)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Resume)


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Logs)
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing lines as they are written")
    parser.add_argument(
        "-n", "--lines", type=int, default=50, metavar="N", help="start with the last N (default: 50)"
    )


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Doctor)
    _add_json(parser)
    text = "print Markdown for an issue, with a list of what only a person can try; no names of recordings"
    parser.add_argument("--report", action="store_true", help=text)
    _add_setting_flags(parser)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    from dropscribe import settings

    parser.set_defaults(kind=commands.Bench)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recording (default: a sample)")
    text = "only this one; may be given more than once"
    parser.add_argument("--model", dest="models", action="append", default=[], metavar="MODEL", help=text)
    engines = settings.FIELDS["backend"].metadata["choices"][1:]
    parser.add_argument("--backend", choices=engines, help="only this engine")
    parser.add_argument("--download", action="store_true", help="download the named models that are missing")
    _add_json(parser)


def _add_models(parser: argparse.ArgumentParser) -> None:
    from dropscribe import settings

    parser.set_defaults(kind=commands.ListModels, backend=None, json=False)
    actions = parser.add_subparsers(metavar="ACTION")

    def add(name: str, kind: Any, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(kind=kind)
        return action

    listing = add(
        "list", commands.ListModels, "Show the known models; of those on this machine size, origin and last use."
    )
    pull = add("pull", commands.PullModel, "Download a model.")
    text = "Quantise a model for MLX, so that it is smaller: it is then used as NAME-4bit or NAME-8bit."
    quantize = add("quantize", commands.QuantizeModel, text)
    remove = add("remove", commands.RemoveModel, "Remove a model from the disk.")
    verify = add("verify", commands.VerifyModel, "Read a model's files again and compare their digests.")
    path = add("path", commands.LocateModel, "Print the folder of a model that is on this machine.")
    for action in (pull, quantize, verify, path):
        action.add_argument("model", nargs="?", metavar="MODEL", help="default: the setting `model`")
    remove.add_argument("model", metavar="MODEL")
    text = "also from the cache that other programs share, and while the daemon uses it"
    remove.add_argument("--yes", action="store_true", help=text)
    quantize.add_argument("--bits", type=int, choices=(4, 8), required=True, help="bits per weight")
    for action in (listing, pull, quantize, remove, verify, path):
        action.add_argument("--backend", choices=settings.BACKENDS, help="default: the one this machine takes")
        _add_json(action)


def _add_backends(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.ListBackends)
    _add_json(parser)
    actions = parser.add_subparsers(metavar="ACTION")
    text = "Show every engine."
    listing = actions.add_parser("list", help=text, description=text)
    listing.set_defaults(kind=commands.ListBackends)
    _add_json(listing)
    text = "Create the separate Python environment of an engine that needs one."
    install = actions.add_parser("install", help=text, description=text)
    install.set_defaults(kind=commands.InstallBackend)
    text = "Remove that environment."
    remove = actions.add_parser("remove", help=text, description=text)
    remove.set_defaults(kind=commands.RemoveBackend)
    for action in (install, remove):
        action.add_argument("backend", choices=("whisperx",))
    install.add_argument("--python", default="", help="interpreter or version to create it with (default: this one)")
    install.add_argument("--again", action="store_true", help="replace the environment if it exists")


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Service)
    parser.add_argument("action", choices=("install", "uninstall", "start", "stop", "restart", "status", "print"))
    parser.add_argument("--platform", choices=("macos", "linux"), help="for `print`: default is this machine's")
    parser.add_argument("--json", action="store_true", help="for `status`: print JSON")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Serve)
    text = "default: 8737; 0: any that is free"
    parser.add_argument("--port", type=int, default=8737, metavar="N", help=text)
    text = "an address of this machine at which others may reach it; needs --token (default: this machine alone)"
    parser.add_argument("--host", default="", metavar="ADDRESS", help=text)
    text = "what a visitor must know, 16 characters or more (default: a random one, kept in the state folder)"
    parser.add_argument("--token", default="", metavar="TEXT", help=text)
    text = "end after so long without a request (default: never)"
    parser.add_argument("--until-idle", type=float, default=0.0, metavar="HOURS", help=text)
    _add_setting_flags(parser)


def _add_open(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Open)
    text = "a finished recording (default: the library)"
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=text)
    parser.add_argument("--print", action="store_true", help="print the address instead of opening it")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Config)
    parser.add_argument("action", choices=("show", "check", "path"))
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="for `show`: the settings of this recording or folder"
    )
    parser.add_argument("--json", action="store_true", help="for `show`: print JSON")
    _add_setting_flags(parser)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(kind=commands.Completion)
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_setting_flags(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    from dropscribe import settings

    group = parser.add_argument_group("settings", "These take precedence over the settings file and the environment.")
    for name, item in settings.FIELDS.items():
        if name not in without:
            text = item.metadata["text"].replace("\n", " ").replace("%", "%%")
            group.add_argument(f"--{name.replace('_', '-')}", dest=_FLAG + name, metavar="VALUE", help=text)


_COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "run": (_add_run, "Watch the inbox and transcribe what is dropped there."),
    "transcribe": (_add_transcribe, "Transcribe files now, without the daemon."),
    "export": (_add_export, "Write a finished transcript in other formats, from its JSON alone."),
    "status": (_add_status, "Show what the daemon does."),
    "why": (_add_why, "Say in one sentence what happened to a file."),
    "retry": (_add_retry, "Try again what failed: recordings and their hooks."),
    "skip": (_add_skip, "Do not transcribe recordings that wait or are being transcribed; `retry` takes them back."),
    "redo": (_add_redo, "Transcribe finished recordings again; the older outputs are kept in `_old`."),
    "speakers": (_add_speakers, "Show who speaks in a finished recording, or give them other names."),
    "voices": (_add_voices, "Voices that are known by name in new recordings: teach, list or forget them."),
    "search": (_add_search, "Find sentences in all transcripts."),
    "apply": (_add_apply, "Correct a transcript from a text that was edited by hand; the other formats follow."),
    "summarize": (_add_summarize, "Write title, summary and chapters, by a language model on this machine."),
    "memos": (_add_memos, "Copy Apple's Voice Memos into the inbox, with their titles as names."),
    "pause": (_add_pause, "Stop transcribing until `resume`, across restarts. Finished windows are kept."),
    "resume": (_add_resume, "Continue after `pause`."),
    "logs": (_add_logs, "Show the log: for people on a terminal, JSON lines in a pipe."),
    "doctor": (_add_doctor, "Check that everything is in place, by doing it."),
    "bench": (_add_bench, "Measure the speed and the memory of each engine and model on this machine."),
    "models": (_add_models, "Whisper models: list, download, quantise, verify or remove them."),
    "backends": (
        _add_backends,
        "The engines: which are installed, which one is used and why; install or remove.",
    ),
    "service": (_add_service, "Run the daemon in the background, from login on."),
    "open": (_add_open, "Show the library in the browser: everything, what runs, each transcript with its sound."),
    "serve": (_add_serve, "Serve the library, and an endpoint for other programs, to this machine alone."),
    "config": (_add_config, "Show, check or find the settings."),
    "completion": (_add_completion, "Print a completion script for your shell."),
}

"""The command line.

Guarantees: data goes to stdout, messages to stderr; `--json` wherever a program may read it; the exit codes are those
of `dropscribe.errors.Exit`; an expected error is one or two lines, never a traceback. Nothing heavy is imported until
a command needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import secrets
import sqlite3
import sys
import threading
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe import __version__, backends, settings
from dropscribe.errors import DropscribeError, Exit, NotRunningError, UsageError
from dropscribe.formats import RENDERERS
from dropscribe.log_bridge import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.cli.bench import Row
    from dropscribe.settings import Settings
    from dropscribe.supervisor.inbox import Inbox
    from dropscribe.supervisor.journal import Hook, Journal, Leaving, Recording
    from dropscribe.supervisor.profiles import Profiles

_INBOX_SECONDS = 20
"""How long `status` looks at the files in the inbox; 10,000 on a local disk take less than one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A name that is no text, a word that the terminal has no letters for; as JSON escapes them, too.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return int(arguments.function(arguments))
    except DropscribeError as error:
        _say(f"dropscribe: {error.message}")
        if error.cure:
            _say(f"            {error.cure}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `dropscribe logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except (OSError, sqlite3.Error) as error:
        if arguments.command == "run":  # that is our fault
            raise
        if isinstance(error, OSError):
            _say(f"dropscribe: {error.filename}: {error.strerror}." if error.filename else f"dropscribe: {error}.")
        else:
            _say(f"dropscribe: The journal cannot be read: {error}.")
            _say("            `dropscribe doctor` looks closer.")
        return Exit.FAILED


_OTHERS = tuple(name for name in RENDERERS if name != "json")
"""The formats that are made from the JSON."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="dropscribe",
        description="Drop a recording into a folder; its transcript appears in another.",
        epilog="`dropscribe COMMAND --help` tells more. Settings: `dropscribe config show`.",
    )
    parser.add_argument("--version", action="version", version=f"dropscribe {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=name, function=function)
        return made

    run = command("run", _run, "Watch the inbox and transcribe what is dropped there.")
    run.add_argument(
        "--once", action="store_true", help="work off what is there, then end (1 if any recording failed)"
    )
    _setting_flags(run)

    transcribe = command("transcribe", _transcribe, "Transcribe files now, without the daemon.")
    transcribe.add_argument("files", nargs="+", type=Path, metavar="FILE")
    transcribe.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write files there, in every format set"
    )
    transcribe.add_argument("-f", "--format", default="txt", help="format on stdout (default: txt)")
    daemons = ("inbox", "outbox", "recursive", "settle_seconds", "scan_seconds", "observer", "after", "archive")
    hooks = ("on_done", "on_failed", "webhook", "hook_seconds", "hook_tries")
    _setting_flags(transcribe, without=(*daemons, *hooks))

    export = command("export", _export, "Make another format of a finished transcript, from its JSON alone.")
    export.add_argument("transcript", type=Path, metavar="TRANSCRIPT.json")
    export.add_argument(
        "--to", required=True, metavar="FORMATS", help=f"comma-separated; any of {', '.join(_OTHERS)}"
    )
    export.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write there (default: beside the JSON)")

    status = command("status", _status, "Show what the daemon does.")
    why = command("why", _why, "Say in one sentence what became of a file.")
    why.add_argument("file", type=Path, metavar="FILE")
    retry = command("retry", _retry, "Try again what failed: recordings, and their hooks.")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("files", nargs="*", type=Path, metavar="FILE", default=[])
    which.add_argument("--all", action="store_true", help="everything that failed")
    redo = command("redo", _redo, "Transcribe finished recordings again; the older outputs are kept in `_old`.")
    redo.add_argument("files", nargs="*", type=Path, metavar="FILE", default=[])
    redo.add_argument(
        "--stale", action="store_true", help="those whose settings have changed since; no more than that"
    )
    command("pause", _pause, "Stop transcribing, across restarts, until `resume`. Finished parts are kept.")
    command("resume", _resume, "Go on after `pause`.")

    logs = command("logs", _logs, "Show the log: for people on a terminal, JSON lines in a pipe.")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines are written")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="start with the last N (default: 50)")

    doctor = command("doctor", _doctor, "Check that everything is in place, by doing it.")
    _setting_flags(doctor)

    bench = command("bench", _bench, "Measure how fast each engine and model on this machine is, and its memory.")
    bench.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recording (default: a sample)")
    bench.add_argument(
        "--model", action="append", default=[], metavar="MODEL", help="only this one; may be given more than once"
    )
    bench.add_argument(
        "--backend", choices=settings.FIELDS["backend"].metadata["choices"][1:], help="only this engine"
    )
    bench.add_argument("--download", action="store_true", help="fetch the models named that are not here")

    models = command("models", _models_list, "Whisper models: show, fetch, quantise, check or remove them.")
    actions = models.add_subparsers(metavar="ACTION")
    for name, function, text in (
        ("list", _models_list, "Show the known models, and of those on this machine size, origin and last use."),
        ("pull", _models_pull, "Download a model."),
        ("quantize", _models_quantize, "Make a model smaller, for MLX: it is then used as NAME-4bit or NAME-8bit."),
        ("remove", _models_remove, "Remove a model from the disk."),
        ("verify", _models_verify, "Read a model's files again and compare their digests."),
        ("path", _models_path, "Print the folder of a model that is on this machine."),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(function=function)
        if name == "remove":
            action.add_argument("model", metavar="MODEL")
            action.add_argument(
                "--yes", action="store_true", help="also from the cache that other programs share, and while in use"
            )
        elif name != "list":
            action.add_argument("model", nargs="?", metavar="MODEL", help="default: the setting `model`")
        if name == "quantize":
            action.add_argument("--bits", type=int, choices=(4, 8), required=True, help="size of a weight")
        action.add_argument("--backend", choices=backends.NAMES, help="default: the one this machine takes")
        action.add_argument("--json", action="store_true", help="print JSON")

    known = command(
        "backends", _backends_list, "The engines: which are there, which is taken and why; install or remove one."
    )
    known.add_argument("--json", action="store_true", help="print JSON")
    ways = known.add_subparsers(metavar="ACTION")
    way = ways.add_parser("list", help="Show every engine.", description="Show every engine.")
    way.set_defaults(function=_backends_list)
    way.add_argument("--json", action="store_true", help="print JSON")
    for name, function, text in (
        ("install", _backends_install, "Make the environment of an engine that has one of its own."),
        ("remove", _backends_remove, "Remove that environment."),
    ):
        way = ways.add_parser(name, help=text, description=text)
        way.set_defaults(function=function)
        way.add_argument("backend", choices=("whisperx",))
        if name == "install":
            way.add_argument("--python", default="", help="interpreter or version to make it of (default: this one)")
            way.add_argument("--again", action="store_true", help="make it anew, also when it is there")

    service = command("service", _service, "Run the daemon in the background, from login on.")
    service.add_argument("action", choices=("install", "uninstall", "start", "stop", "restart", "status", "print"))
    service.add_argument("--platform", choices=("macos", "linux"), help="for `print`: default is this machine's")
    service.add_argument("--json", action="store_true", help="for `status`: print JSON")

    config = command("config", _config, "Show, check or find the settings.")
    config.add_argument("action", choices=("show", "check", "path"))
    config.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="for `show`: what holds for this recording"
    )
    config.add_argument("--json", action="store_true", help="for `show`: print JSON")
    _setting_flags(config)

    completion = command("completion", _completion, "Print a completion script for your shell.")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))

    for made in (transcribe, status, why, doctor, bench):
        made.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _setting_flags(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    group = parser.add_argument_group("settings", "These take precedence over the settings file and the environment.")
    for name, item in settings.FIELDS.items():
        if name not in without:
            summary = item.metadata["text"].replace("\n", " ").replace("%", "%%")
            group.add_argument(f"--{name.replace('_', '-')}", dest=f"set_{name}", metavar="VALUE", help=summary)


def _settings(arguments: argparse.Namespace) -> Settings:
    flags = {k.removeprefix("set_"): v for k, v in vars(arguments).items() if k.startswith("set_")}
    return settings.load(flags).settings


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def _colors() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


# run, transcribe


def _run(arguments: argparse.Namespace) -> int:
    from dropscribe import logs
    from dropscribe.supervisor.loop import Supervisor, handle_signals

    chosen = _settings(arguments)
    terminal = sys.stderr.isatty()
    logs.configure(chosen, console=sys.stderr if terminal and not arguments.once else None)
    bar = _Bar(terminal) if arguments.once else None
    supervisor = Supervisor(chosen, once=arguments.once, progress=bar.show if bar else lambda _: None)
    handle_signals(supervisor)
    if not arguments.once:
        _say(f"Watching {chosen.inbox}; transcripts appear in {chosen.outbox}. Log: {chosen.logs / logs.NAME}")
    try:
        summary = supervisor.run()
    finally:
        supervisor.close()
        if bar:
            bar.close()
    if arguments.once:
        parts = [f"{summary.done} done", f"{summary.failed} failed"]
        parts += [f"{summary.waiting} waiting"] if summary.waiting else []
        _say(", ".join(parts) + f". Outbox: {chosen.outbox}")
        if summary.trouble is not None:
            raise summary.trouble
        return Exit.FAILED if summary.failed else Exit.OK
    return Exit.OK


class _Bar:
    """A progress bar for one recording after another, on stderr."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._file = ""
        self._bar: Any = None

    def show(self, progress: Any) -> None:
        """Take in a `delivery.Progress`."""
        if self._terminal and not progress.outcome:
            self._move(progress.file, progress.done_s, progress.audio_s, "s")
        if progress.outcome:
            self.close()
            _say(f"{sanitize(progress.file)}: {progress.outcome}")

    def _move(self, name: str, done: float, total: float, unit: str) -> None:
        from tqdm import tqdm

        if self._bar is None or self._file != name:
            self.close()
            self._file = name
            form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self._bar = tqdm(
                total=total,
                desc=sanitize(name)[-40:],
                unit=unit,
                unit_scale=unit == "B",
                bar_format=form if unit == "s" else None,
                leave=False,
            )
        self._bar.update(max(0, min(done, total) - self._bar.n))

    def download(self, model: str, done: int, total: int) -> None:
        """Show how far a download is."""
        if self._terminal:
            self._move(f"model {model}", done, total, "B")

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _transcribe(arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import outbox

    chosen = _settings(arguments)
    if arguments.format not in RENDERERS:
        msg = f"There is no format {arguments.format}."
        raise UsageError(msg, "Formats: " + ", ".join(RENDERERS))
    form = "json" if arguments.json else arguments.format
    bar = _Bar(sys.stderr.isatty())
    failed = 0
    try:
        for path, outcome in _transcripts(chosen, arguments.files, bar):
            bar.close()
            if isinstance(outcome, DropscribeError):
                failed += 1
                _say(f"{path}: {outcome}")
            elif arguments.output is None:
                if len(arguments.files) > 1 and form != "json":
                    print(f"== {path}")
                sys.stdout.write(RENDERERS[form](outcome))
                sys.stdout.flush()
            else:
                arguments.output.mkdir(parents=True, exist_ok=True)
                contents = {name: RENDERERS[name](outcome) for name in chosen.formats}
                base = outbox.bases(PurePath(path.name))[0]
                for published in outbox.publish(arguments.output, base, contents, {}):
                    print(arguments.output / published.path)
    finally:
        bar.close()
    return Exit.FAILED if failed else Exit.OK


def _export(arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import outbox
    from dropscribe.transcript import Transcript

    path = arguments.transcript
    wanted = [name.strip() for name in arguments.to.split(",") if name.strip()]
    for name in wanted:
        if name not in _OTHERS:
            raise UsageError(f"There is no format {name} to export to.", f"Formats: {', '.join(_OTHERS)}.")
    try:
        transcript = Transcript.from_json(path.read_bytes())
    except OSError as error:
        raise DropscribeError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        cure = "Give the .json that stands in the outbox beside the text."
        raise DropscribeError(f"{path} is no transcript of Dropscribe.", cure) from None
    folder = arguments.output or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: RENDERERS[name](transcript) for name in wanted}
    for published in outbox.publish(folder, path.stem, contents, {}):
        print(folder / published.path)
    return Exit.OK


def _transcripts(chosen: Settings, files: Sequence[Path], bar: _Bar) -> Any:
    """Yield each file with its transcript or the error about it, one worker for all."""
    import queue
    import tempfile
    from datetime import datetime

    from dropscribe import protocol
    from dropscribe.errors import EnvironmentFaultError, Fault, JobError, RecordingFaultError
    from dropscribe.supervisor import assembly, worker_process
    from dropscribe.supervisor.inbox import Stat, digest
    from dropscribe.supervisor.publisher import Progress
    from dropscribe.transcript import Source

    request = worker_process.make_request(chosen, download=True)
    messages: queue.SimpleQueue[worker_process.Message] = queue.SimpleQueue()
    worker = None
    with tempfile.TemporaryDirectory(prefix="dropscribe-") as folder:
        try:
            for number, path in enumerate(files):
                try:
                    found = path.stat()
                    sha256 = digest(path.resolve(), Stat(found.st_size, found.st_mtime_ns)) or ""
                except OSError as failure:
                    yield path, RecordingFaultError("unreadable", f"It cannot be read: {failure.strerror}.")
                    continue
                except EnvironmentFaultError as failure:  # in iCloud: the others go on
                    yield path, failure
                    continue
                source = Source(path.name, str(path.absolute()), sha256, found.st_size)
                if worker is None:
                    worker = worker_process.Worker(messages.put)
                recording = protocol.RecordingFile(number, str(path.resolve()), str(Path(folder) / f"{number}.f32"))
                worker.send(protocol.TranscribeJob(recording=recording, request=request))
                windows: list[protocol.WindowDone] = []
                while True:
                    match messages.get().event:
                        case protocol.Exited(how=how, stderr=stderr):
                            worker = None
                            why = f"The engine's process ended with {how}."
                            yield path, JobError("worker-died", why, stderr[-500:])
                            break
                        case protocol.Decoded() as decoded:
                            pass
                        case protocol.Loaded() as loaded:
                            pass
                        case protocol.Planned() as planned:
                            pass
                        case protocol.Downloading(model=model, done=done, total=total):
                            bar.download(model, done, total)
                        case protocol.Fallback(backend=backend, reason=reason):
                            _say(f"dropscribe: {backend} is passed over: {reason}")
                        case protocol.WindowDone() as window:
                            windows.append(window)
                            bar.show(Progress(path.name, window.end_s, decoded.audio_s))
                        case protocol.Failed() as failed:
                            error = JobError(failed.code, failed.message, failed.cure)
                            if failed.fault == Fault.ENVIRONMENT and not windows:
                                raise error
                            yield path, error
                            break
                        case protocol.Finished():
                            transcript = assembly.assemble_transcript(
                                source, decoded, loaded, planned, windows, chosen
                            )
                            now = datetime.now().astimezone()
                            yield (
                                path,
                                assembly.finish_transcript(
                                    transcript, path, found.st_mtime_ns, chosen.replacements, now
                                ),
                            )
                            break
        finally:
            if worker is not None:
                worker.kill()


# status, why, retry, pause


def _journal(chosen: Settings) -> Journal | None:
    from dropscribe.supervisor.journal import Journal

    path = chosen.state / "journal.sqlite3"
    try:
        return Journal(path, readonly=True) if path.exists() else None
    except sqlite3.Error as error:
        msg = f"The journal {path} cannot be read: {error}."
        raise DropscribeError(msg, "`dropscribe doctor` looks closer.") from None


def _status(arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import loop
    from dropscribe.supervisor.hooks import WAYS
    from dropscribe.supervisor.journal import State

    chosen = settings.load().settings
    alive = loop.running(chosen.state)
    journal = _journal(chosen)
    facts: dict[str, Any] = {
        "running": alive,
        "pid": None,
        "paused": (chosen.state / loop.PAUSED).exists(),
        "inbox": str(chosen.inbox),
        "outbox": str(chosen.outbox),
        "backend": "",
        "backend_reason": "",
        "model": chosen.model,
        "engine": "",
        "counts": {},
        "current": None,
        "trouble": None,
        "inbox_trouble": "",
        "waiting": [],
        "failures": [],
        "hooks": [],
        "staying": [],
        "stale": [],
    }
    if journal is not None:
        trouble = journal.meta("trouble")
        counts = journal.counts()
        if not alive:  # it was killed: the next start goes on with what it was at
            counts[State.QUEUED] += counts[State.RUNNING]
            counts[State.RUNNING] = 0
        facts |= {
            "pid": int(journal.meta("pid") or 0) or None if alive else None,
            "backend": journal.meta("backend"),
            "backend_reason": journal.meta("backend_reason"),
            "model": journal.meta("model") or chosen.model,
            "engine": journal.meta("engine") if alive else "",
            "counts": {str(state): count for state, count in counts.items()},
            "trouble": json.loads(trouble) if trouble and alive else None,
            "inbox_trouble": journal.meta("inbox_trouble") if alive else "",
            "waiting": [_brief(r) for r in journal.all(State.WAITING, limit=5, newest=True)],
            "failures": [_brief(r) for r in journal.all(State.FAILED, limit=5, newest=True)],
            "hooks": [_failed_hook(journal, hook) for hook in journal.hooks(*WAYS, given_up=True, limit=5)],
            "staying": [_brief(r) | {"code": "", "reason": why} for r, why in journal.staying(limit=5)],
            "stale": _stale(chosen, journal)[0],
        }
        current = journal.all(State.RUNNING, limit=1) if alive else []
        if current:
            facts["current"] = _current(current[0], journal.meta("phase"), time.time())
        journal.close()
    if arguments.json:
        _print_json(facts)
    else:
        _show_status(facts)
    if not alive:
        return Exit.NOT_RUNNING
    return Exit.DEGRADED if facts["trouble"] or facts["inbox_trouble"] else Exit.OK


def _brief(recording: Recording) -> dict[str, Any]:
    return {
        "file": _shown(recording),
        "code": recording.code,
        "reason": recording.reason,
        "when": _clock(recording.changed),
    }


def _failed_hook(journal: Journal, hook: Hook) -> dict[str, Any]:
    recording = journal.get(hook.recording)
    reason = f"`{hook.way}` failed {_times(hook.tries)}: {hook.problem}"
    return _brief(recording) | {"code": hook.way, "reason": reason}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _in_force(chosen: Settings, journal: Journal) -> Profiles:
    """Return the profiles over what the daemon runs with; while it does not run, over what it would start with."""
    from dropscribe.supervisor import loop, profiles

    running = loop.running(chosen.state)
    return profiles.Profiles(profiles.restored(journal.meta("settings"), chosen) if running else chosen)


def _stale(chosen: Settings, journal: Journal) -> tuple[list[dict[str, Any]], int]:
    """Return the recordings that are done with settings that are no longer in force, the newest first.

    Recordings that are neither in the inbox nor in the archive are only counted: nothing can be done.
    """
    from dropscribe.supervisor import disposal
    from dropscribe.supervisor.journal import State

    looked, inbox, done = _in_force(chosen, journal), _inbox(chosen), journal.all(State.DONE, newest=True)
    places = journal.places()  # the journal may be asked from this thread alone
    found: list[dict[str, Any]] = []
    away: list[Recording] = []

    def look() -> None:
        for recording in done:
            names = looked.changed(recording.name, recording.settings)
            if names and disposal.look(inbox, recording, places.get(recording.id)) is not None:
                found.append({"file": _shown(recording), "changed": names, "when": _clock(recording.changed)})
            elif names:
                away.append(recording)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_INBOX_SECONDS)  # a volume that is gone may hold a look at it for ever, and `status` must tell so
    return list(found), len(away)


def _current(recording: Recording, phase: str, now: float) -> dict[str, Any]:
    """Return how far the recording in progress is; `eta_s` is null while nothing can be said."""
    elapsed = now - (recording.started or now)
    percent = eta = None
    if recording.audio_s and phase == "transcribing":
        percent = round(100 * recording.done_s / recording.audio_s, 1)
        if recording.done_s > 0:
            eta = round(elapsed * (recording.audio_s - recording.done_s) / recording.done_s)
    return {
        "file": _shown(recording),
        "phase": phase,
        "percent": percent,
        "eta_s": eta,
        "elapsed_s": round(elapsed, 1),
        "audio_s": recording.audio_s,
        "attempt": recording.attempts,
    }


def _show_status(facts: dict[str, Any]) -> None:
    state = "not running" if not facts["running"] else f"running (process {facts['pid']})"
    print(f"Daemon    {state}{', paused' if facts['paused'] else ''}")
    print(f"Inbox     {facts['inbox']}\nOutbox    {facts['outbox']}")
    if facts["backend"]:
        print(f"Backend   {facts['backend']}: {facts['backend_reason']}")
    print(f"Model     {facts['model']}{': ' + facts['engine'] if facts['engine'] else ' (not in memory)'}")
    counts = {name: count for name, count in facts["counts"].items() if count}
    print("Counts    " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing seen yet"))
    if current := facts["current"]:
        percent = "" if current["percent"] is None else f" {current['percent']:.0f} %"
        eta = "" if current["eta_s"] is None else f", about {_duration(current['eta_s'])} left"
        again = f", attempt {current['attempt']}" if current["attempt"] > 1 else ""
        print(f"Now       {sanitize(current['file'])}: {current['phase']}{percent}{eta}{again}")
    if facts["trouble"]:
        print(f"Waiting   {facts['trouble']['reason']}")
    if facts["inbox_trouble"]:
        print(f"Waiting   {facts['inbox_trouble']}")
    for title, rows in (
        ("Unread", facts["waiting"]),
        ("Failed", facts["failures"]),
        ("Hook", facts["hooks"]),
        ("Stays", facts["staying"]),
    ):
        for row in rows:
            print(f"{title:<9} {sanitize(row['file'])} ({row['when']}): {sanitize(row['reason'])}")
    for row in facts["stale"][:5]:
        print(f"Stale     {sanitize(row['file'])} ({row['when']}): since then changed: {', '.join(row['changed'])}")
    if more := len(facts["stale"]):
        rest = f"; {more - 5} more are stale" if more > 5 else ""
        print(f"          `dropscribe redo --stale` makes them again{rest}")


def _shown(recording: Recording) -> str:
    return recording.path.decode("utf-8", "replace")


def _clock(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _relative(chosen: Settings, path: Path) -> str | None:
    """Return a path as the journal names it, or None when it does not lie in the inbox."""
    inbox = os.path.realpath(chosen.inbox)
    parent = os.path.realpath(path.absolute().parent)
    if parent != inbox and not parent.startswith(inbox + os.sep):
        return None
    return str(PurePath(parent, path.name).relative_to(inbox))


def _inbox(chosen: Settings) -> Inbox:
    from dropscribe.supervisor.inbox import Inbox

    return Inbox(chosen.inbox, chosen.recursive, chosen.outbox)


def _why(arguments: argparse.Namespace) -> int:
    chosen = settings.load().settings
    state, reason = explain(chosen, arguments.file)
    if arguments.json:
        _print_json({"file": str(arguments.file), "state": state, "reason": reason})
    else:
        print(sanitize(reason))
    return Exit.OK


def explain(chosen: Settings, path: Path) -> tuple[str, str]:
    """Return the state of any path and one sentence that says why it is so."""
    from dropscribe.supervisor import loop
    from dropscribe.supervisor.inbox import refusal
    from dropscribe.supervisor.journal import State

    relative = _relative(chosen, path)
    if relative is None and not path.exists() and not path.is_absolute():
        relative = str(path)  # a name as `status` shows it
    if relative is None:
        return "outside", f"It does not lie in the inbox {chosen.inbox}."
    real = chosen.inbox / relative
    journal = _journal(chosen)
    recording = journal.find(_inbox(chosen).key(relative)) if journal else None
    if recording is None or journal is None:
        if real.is_symlink():
            return "ignored", "It is a symbolic link: links are not followed; put the recording itself here."
        if not real.exists():
            return "unknown", "There is no such file in the inbox, and none was seen under this name."
        if not real.is_file():
            return "ignored", "It is not a regular file."
        if (refused := refusal(PurePath(relative))) is not None:
            return "ignored", f"It {refused}."
        if not chosen.recursive and len(PurePath(relative).parts) > 1:
            return "ignored", "It lies in a subfolder, and the setting `recursive` is off."
        if os.path.realpath(real).startswith(os.path.realpath(chosen.outbox) + os.sep):
            return "ignored", "It lies in the outbox."
        if not loop.running(chosen.state):
            return "unseen", "The daemon is not running: `dropscribe run`, or `dropscribe service start`."
        return (
            "settling",
            f"It is still changing or was just seen; it is taken {chosen.settle_seconds:g} s after its last change.",
        )
    when = _clock(recording.changed)
    files = sorted(journal.outputs(recording.id))
    beside = journal.beside(recording.id)
    position = sum(1 for r in journal.all(State.RUNNING, State.QUEUED) if r.changed < recording.changed)
    trouble = journal.meta("trouble")
    hooks, leaving = journal.hooks_of(recording.id), journal.leaving(recording.id)
    changed = _in_force(chosen, journal).changed(recording.name, recording.settings)
    journal.close()
    match recording.state:
        case State.DONE:
            text = (
                f"Done on {when}: {', '.join(f for f in files if not f.endswith('.error.txt'))} in {chosen.outbox}."
            )
            for new, old in beside.items():
                text += f" {old} was changed by a person and is left alone; the new version is {new}."
            if changed:
                away = leaving is not None and leaving.state == "moved" and leaving.way != "archive"
                how = "put back into the inbox it is made anew" if away else "`dropscribe redo` makes it anew"
                text += f" Since then changed: {', '.join(changed)}; {how}."
        case State.FAILED:
            text = f"Failed on {when} ({recording.code}): {recording.reason}"
        case State.WAITING:
            text = f"It cannot be read at present ({recording.code}): {recording.reason} It is tried again by itself."
        case State.RUNNING if not loop.running(chosen.state):
            text = "It was being transcribed when the daemon was killed; the next start goes on with it."
        case State.RUNNING:
            text = "It is being transcribed now: `dropscribe status` shows how far."
        case State.PUBLISHING:
            text = "It is transcribed; its files are about to be written."
        case State.GONE:
            text = f"It left the inbox before it was transcribed ({when})."
        case State.QUEUED:
            text = f"It waits in the queue; {position} come before it."
            if recording.reason:
                text += f" Last try: {recording.reason}"
    if recording.state in {State.QUEUED, State.PUBLISHING}:
        if not loop.running(chosen.state):
            text += " The daemon is not running."
        elif (chosen.state / loop.PAUSED).exists():
            text += " The daemon is paused: `dropscribe resume`."
        elif trouble:
            text += f" The daemon waits: {json.loads(trouble)['reason']}"
    if recording.state in {State.DONE, State.FAILED}:
        text += "".join(f" {_about_hook(hook)}" for hook in hooks if hook.problem)
        if leaving is not None:
            text += f" {_about_source(leaving, waits=bool(hooks))}"
    return str(recording.state), text


def _about_hook(hook: Hook) -> str:
    failed = f"The hook `{hook.way}` failed {_times(hook.tries)}: {hook.problem}"
    return (
        f"{failed} `dropscribe retry` runs it again." if hook.given_up else f"{failed} It is tried again by itself."
    )


def _about_source(leaving: Leaving, *, waits: bool) -> str:
    if leaving.state == "moved":
        return f"Then the recording was {_moved(leaving)}, as set."
    if leaving.state == "kept":
        return f"The recording stays in the inbox: {leaving.reason}"
    to_be = {"archive": "archived", "trash": "put into the trash", "delete": "deleted"}[leaving.way]
    why = leaving.reason or ("its hooks come first." if waits else "its turn comes.")
    return f"The recording is to be {to_be} and waits: {why}"


def _moved(leaving: Leaving) -> str:
    done = {"archive": f"archived as {leaving.place}", "trash": "put into the trash", "delete": "deleted"}
    return done[leaving.way]


def _ask(chosen: Settings, *requests: dict[str, Any]) -> str:
    """Leave requests for the daemon; return what to say of when it acts on them, empty when it does so now."""
    from dropscribe.supervisor import loop, outbox

    for request in requests:
        name = f"{time.time_ns()}-{secrets.token_hex(4)}.json"
        outbox.write(chosen.state, f"{loop.REQUESTS}/{name}", json.dumps(request).encode())
    return "" if loop.running(chosen.state) else " The daemon is not running: it does so when it starts."


def _retry(arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor.hooks import WAYS
    from dropscribe.supervisor.journal import State

    chosen = settings.load().settings
    journal = _journal(chosen)
    failed = {r.id for r in journal.all(State.FAILED)} if journal else set()
    if journal:
        failed |= {hook.recording for hook in journal.hooks(*WAYS, given_up=True)}
    wanted: list[str | None] = []
    for path in arguments.files:
        relative = _relative(chosen, path) or str(path)
        recording = journal.find(_inbox(chosen).key(relative)) if journal else None
        if recording is None or recording.id not in failed:
            _, reason = explain(chosen, path)
            raise UsageError(f"{path} did not fail.", reason)
        wanted.append(relative)
    if arguments.all:
        wanted = [None]
    later = _ask(chosen, *({"retry": entry} for entry in wanted))
    count = len(failed) if arguments.all else len(wanted)
    _say(f"{count} recording{'' if count == 1 else 's'} will be tried again.{later}")
    return Exit.OK


def _redo(arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import disposal
    from dropscribe.supervisor.journal import State

    if not arguments.files and not arguments.stale:
        raise UsageError("Nothing to transcribe again was named.", "Give files, or --stale.")
    chosen = settings.load().settings
    journal = _journal(chosen)
    rows, away = _stale(chosen, journal) if journal and arguments.stale else ([], 0)
    stale = {row["file"] for row in rows}
    names = []
    for path in arguments.files:
        relative = _relative(chosen, path) or str(path)
        recording = journal.find(_inbox(chosen).key(relative)) if journal else None
        if recording is None or journal is None or recording.state not in {State.DONE, State.FAILED}:
            _, reason = explain(chosen, path)
            raise UsageError(f"{path} is not done yet.", reason)
        if disposal.look(_inbox(chosen), recording, journal.place(recording.id)) is None:
            leaving = journal.leaving(recording.id)
            why = "is no longer in the inbox"
            if leaving is not None and leaving.state == "moved":
                why = f"was {_moved(leaving)}, as set, and is not there now"
            raise UsageError(f"{path} {why}.", "Put it back to have it transcribed again.")
        if not arguments.stale or _shown(recording) in stale:
            names.append(relative)
    count = len(names) if arguments.files else len(stale)
    request = {"redo": names if arguments.files else None, "stale": arguments.stale}
    later = _ask(chosen, request) if count else ""
    _say(f"{count} recording{'' if count == 1 else 's'} will be transcribed again.{later}")
    if away and not arguments.files:
        _say(f"{away} more would be, but the recording is neither in the inbox nor in the archive.")
    return Exit.OK


def _pause(_arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import loop, outbox

    chosen = settings.load().settings
    chosen.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    outbox.write(chosen.state, loop.PAUSED, b"")
    _say("Paused. Nothing is transcribed until `dropscribe resume`.")
    return Exit.OK


def _resume(_arguments: argparse.Namespace) -> int:
    from dropscribe.supervisor import loop

    chosen = settings.load().settings
    (chosen.state / loop.PAUSED).unlink(missing_ok=True)
    if not loop.running(chosen.state):
        raise NotRunningError(
            "No longer paused, but the daemon is not running.", "Start it: `dropscribe service start`."
        )
    _say("No longer paused.")
    return Exit.OK


def _logs(arguments: argparse.Namespace) -> int:
    from dropscribe import logs

    chosen = settings.load().settings
    path = chosen.logs / logs.NAME
    if not path.exists() and not arguments.follow:
        raise DropscribeError(f"There is no log yet: {path}.", "The daemon writes it: `dropscribe run`.")
    for line in logs.tail(path, arguments.lines, follow=arguments.follow):
        text = logs.pretty(line, colors=_colors()) if sys.stdout.isatty() else line.rstrip("\n")
        print(text, flush=arguments.follow)
    return Exit.OK


# doctor


def _doctor(arguments: argparse.Namespace) -> int:
    from dropscribe.cli import doctor

    checks = []
    for check in doctor.examine(_settings(arguments)):
        checks.append(check)
        if not arguments.json:
            print(f"{check.verdict:<5} {check.name:<10} {check.detail}", flush=True)
            if check.cure:
                print(f"{'':<16} {check.cure}")
    if arguments.json:
        _print_json([{n: getattr(c, n) for n in ("name", "verdict", "detail", "cure")} for c in checks])
    return Exit.FAILED if any(c.verdict == "fail" for c in checks) else Exit.OK


# bench


def _bench(arguments: argparse.Namespace) -> int:
    from dropscribe.cli import bench
    from dropscribe.supervisor import loop
    from dropscribe.supervisor.publisher import Progress

    chosen = settings.load().settings
    if arguments.file is None:
        # The sample is English, whatever the settings say of other recordings.
        chosen = dataclasses.replace(chosen, language="en", task="transcribe", prompt="", glossary=(), channels=())
    elif not arguments.file.is_file():
        raise UsageError(f"There is no recording {arguments.file}.")
    pairs = bench.pairs(chosen, arguments.model, arguments.backend)
    if loop.running(chosen.state):
        _say("The daemon is running. What it transcribes meanwhile makes these figures worse.")
    bar = _Bar(sys.stderr.isatty())
    rows = []
    with contextlib.nullcontext(arguments.file) if arguments.file else bench.sample() as path:
        for number, (backend, model) in enumerate(pairs, 1):
            _say(f"{number} of {len(pairs)}: {backend} {model}")

            def tell(what: str, done: float, total: float) -> None:
                bar.show(Progress(what, done, total))

            try:
                row = bench.measure(path, backend, model, chosen, download=arguments.download, tell=tell)
            finally:
                bar.close()
            rows.append(row)
            if not arguments.json:
                if number == 1:
                    print(f"{'engine':<15} {'model':<20} {'device':<14} {'load':>8} {'speed':>10} {'memory':>10}")
                print(_measured(row), flush=True)
    if arguments.json:
        _print_json([dataclasses.asdict(row) for row in rows])
    else:
        _say("Speed is in times real time. How many errors a model makes is not measured: larger ones make fewer.")
    return Exit.FAILED if all(row.failure for row in rows) else Exit.OK


def _measured(row: Row) -> str:
    name = row.model if len(row.model) <= 20 else "…" + row.model[-19:]
    start = f"{row.backend:<15} {name:<20} "
    if row.failure:
        return start + row.failure
    memory = f"{row.memory_bytes / 1e6:.0f} MB"
    if row.device_bytes is not None:
        memory += f", arrays {row.device_bytes / 1e6:.0f} MB"
    return start + f"{row.device:<14} {row.load_s:>6.1f} s {row.speed:>8.1f} x {memory:>10}"


# config, completion


def _config(arguments: argparse.Namespace) -> int:
    path = settings.config_path()
    if arguments.action == "path":
        print(path)
        return Exit.OK
    from dropscribe.supervisor import profiles

    flags = {k.removeprefix("set_"): v for k, v in vars(arguments).items() if k.startswith("set_")}
    loaded = settings.load(flags)
    if arguments.action == "check":
        wrong = list(profiles.check(loaded.settings))
        for error in wrong:
            _say(f"{error.message}\n    {error.cure}")
        if wrong:
            return Exit.USAGE
        _say(f"The settings are fine ({path}{'' if path.exists() else ', which does not exist: all defaults'}).")
        return Exit.OK
    if arguments.file is not None:
        inbox, looked = loaded.settings.inbox, profiles.Profiles(loaded.settings)
        relative = _relative(loaded.settings, arguments.file / "x") if arguments.file.is_dir() else None
        if relative is not None:
            loaded = looked.of_folder(PurePath(relative).parent, loaded.origin)
        elif (relative := _relative(loaded.settings, arguments.file)) is not None:
            loaded = looked.of(PurePath(relative), loaded.origin)
        else:
            raise UsageError(f"{arguments.file} does not lie in the inbox {inbox}.", "Profiles apply there alone.")
    values = {name: getattr(loaded.settings, name) for name in settings.FIELDS}
    if arguments.json:
        rows = {
            name: {"value": str(v) if isinstance(v, Path) else v, "from": loaded.origin[name]}
            for name, v in values.items()
        }
        _print_json(rows)
    else:
        lines = {name: f"{key} = {settings.to_toml(values[name])}" for key, name in settings.KEYS.items()}
        width = max(map(len, lines.values()))
        for name, line in lines.items():
            print(f"{line:<{width}}  # {loaded.origin[name]}")
    return Exit.OK


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(build_parser(), arguments.shell))
    return Exit.OK


# models


def _model_and_backend(arguments: argparse.Namespace) -> tuple[str, str]:
    from dropscribe import backends

    chosen = settings.load().settings
    line = backends.choose_here(chosen)
    backend = arguments.backend or (line[0].name if line else "faster-whisper")
    return getattr(arguments, "model", None) or chosen.model, backend


def _models_list(arguments: argparse.Namespace) -> int:
    from dropscribe.models.store import ModelStore

    backend = getattr(arguments, "backend", None)
    rows = [row for row in ModelStore().list_models() if backend in {None, row.backend}]
    if getattr(arguments, "json", False):
        names = ("name", "backend", "repo", "origin", "source", "used", "path", "bytes")
        _print_json([{name: getattr(row, name) for name in names} for row in rows])
        return Exit.OK
    for row in rows:
        size = f"{row.bytes / 1e6:.0f} MB" if row.bytes else ""
        origin = f"{row.origin}: {row.source}" if row.origin else f"not here: {row.repo}"
        last = f" (used {_clock(row.used)})" if row.used else ""
        print(f"{row.name:<20} {row.backend:<15} {size:>8}  {origin}{last}")
    return Exit.OK


def _models_quantize(arguments: argparse.Namespace) -> int:
    from dropscribe.models.catalogue import name_quantised

    model, backend = _model_and_backend(arguments)
    if arguments.backend is None:
        backend = "mlx"
    if backend != "mlx":
        raise UsageError(f"{backend} quantises by itself when it loads a model.", "This is for the backend mlx.")
    arguments.model, arguments.backend = name_quantised(model, arguments.bits), backend
    return _models_pull(arguments)


def _models_remove(arguments: argparse.Namespace) -> int:
    from dropscribe.models.store import ModelStore

    model, backend = _model_and_backend(arguments)
    if not arguments.yes and _in_use(model, backend):
        raise DropscribeError(
            f"The running daemon uses the model {model}.",
            "Stop it first, or add --yes: it keeps what is in memory, and gets the model again later.",
        )
    removed = ModelStore().remove_model(model, backend, shared=arguments.yes)
    if arguments.json:
        _print_json({"path": removed.path, "bytes": removed.bytes})
    else:
        _say(f"Removed {removed.path}: {removed.bytes / 1e6:.0f} MB.")
    return Exit.OK


def _in_use(model: str, backend: str) -> bool:
    """Return whether a running daemon has this model in memory, or is set to load it."""
    from dropscribe.models.store import ModelStore
    from dropscribe.supervisor import loop

    chosen = settings.load().settings
    journal = _journal(chosen) if loop.running(chosen.state) else None
    if journal is None:
        return False
    loaded = journal.meta("engine").partition(" on ")[0]
    journal.close()
    try:
        store = ModelStore()
        folder = store.find_path(model, backend)
        return any(store.find_path(name, backend) == folder for name in {loaded, chosen.model} - {""})
    except DropscribeError:
        return False


def _models_pull(arguments: argparse.Namespace) -> int:
    from dropscribe.models.store import ModelStore

    model, backend = _model_and_backend(arguments)
    bar = _Bar(sys.stderr.isatty())
    try:
        found = ModelStore().pull_model(model, backend, lambda p: bar.download(p.model, p.done_bytes, p.total_bytes))
    finally:
        bar.close()
    if arguments.json:
        names = ("name", "path", "revision", "origin")
        _print_json({name: getattr(found, name) for name in names} | {"backend": backend})
    else:
        _say(f"{found.name} for {backend} is here ({found.origin}).")
        print(found.path)
    return Exit.OK


def _models_verify(arguments: argparse.Namespace) -> int:
    from dropscribe.models.store import ModelStore

    report = ModelStore().verify_model(*_model_and_backend(arguments))
    if arguments.json:
        files = [{"name": f.name, "bytes": f.bytes, "ok": f.ok} for f in report.files]
        _print_json({"name": report.model.name, "path": report.model.path, "ok": report.ok, "files": files})
    else:
        print(report.model.path)
        for file in report.files:
            verdict = {True: "ok", False: "DAMAGED", None: "no digest known"}[file.ok]
            print(f"{file.name:<26} {file.bytes / 1e6:>9.1f} MB  {verdict}")
    if report.ok:
        return Exit.OK
    raise DropscribeError(
        f"The model {report.model.name} is damaged.", f"`dropscribe models pull {report.model.name}`."
    )


def _models_path(arguments: argparse.Namespace) -> int:
    from dropscribe.models.store import ModelStore

    found = ModelStore().find_path(*_model_and_backend(arguments))
    if arguments.json:
        _print_json({"path": found})
    else:
        print(found)
    return Exit.OK


# backends


def _backends_list(arguments: argparse.Namespace) -> int:
    from dropscribe.backends import environments

    rows = environments.listed(settings.load().settings)
    if arguments.json:
        _print_json(rows)
        return Exit.OK
    for row in rows:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        state = "installed" if row["installed"] else "not installed"
        print(f"{row['backend']:<15} {state:<14} {row['device']:<4} {row['why']}")
        for detail in (versions, row["python"] or "", row["error"]):
            if detail:
                print(f"{'':<15} {detail}")
    return Exit.OK


def _backends_install(arguments: argparse.Namespace) -> int:
    from dropscribe.backends import environments

    print(environments.install(settings.load().settings, _say, arguments.python, again=arguments.again))
    return Exit.OK


def _backends_remove(arguments: argparse.Namespace) -> int:
    from dropscribe.backends import environments

    there = environments.remove(settings.load().settings)
    _say(f"The environment of {arguments.backend} is {'removed' if there else 'not there'}.")
    return Exit.OK


# service


def _service(arguments: argparse.Namespace) -> int:
    from dropscribe import service

    chosen = settings.load().settings
    manager = service.choose_manager(arguments.platform if arguments.action == "print" else None)
    spec = service.make_spec(os.environ, sys.executable, logs=chosen.logs, platform=arguments.platform)
    if arguments.action == "print":
        sys.stdout.buffer.write(manager.render(spec))
        return Exit.OK
    if arguments.action == "status":
        found = manager.status(spec)
        if arguments.json:
            names = ("installed", "running", "pid", "enabled", "detail", "file", "differs")
            _print_json({name: getattr(found, name) for name in names})
        else:
            print(f"{found.detail} ({manager.name}: {found.file})")
            if found.differs:
                print("The installed file is not what would be written now: `dropscribe service install` renews it.")
        return Exit.OK if found.running else Exit.NOT_RUNNING
    if arguments.action == "install":
        from dropscribe.supervisor import loop

        loop.make_folders(chosen)
        chosen.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        outcome = manager.install(spec)
    else:
        outcome = {
            "uninstall": manager.uninstall,
            "start": manager.start,
            "stop": manager.stop,
            "restart": manager.restart,
        }[arguments.action]()
    _say(outcome.detail)
    for note in outcome.notes:
        _say(note)
    return Exit.OK

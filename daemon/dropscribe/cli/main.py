"""The command line: one command in, one exit code out.

Guarantees: data goes to stdout, messages to stderr; the exit codes are those of `dropscribe.errors.Exit`; an expected
error is one or two lines, never a traceback; the module of a command is imported when that command is called, and no
other.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, assert_never

from dropscribe.cli import commands, parser
from dropscribe.errors import DropscribeError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command = parser.parse(sys.argv[1:] if argv is None else argv)
    if command is None:
        parser.build_parser("").print_help(sys.stderr)
        return Exit.USAGE
    if not (isinstance(command, commands.Status) and command.watch):
        # structlog imports rich where it is installed: 5 MB and 60 ms, of which only `--watch` has any use.
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A file name that is not text, or a character that the terminal's encoding lacks, is printed escaped.
        sys.stdout.reconfigure(errors="backslashreplace")
    import sqlite3

    from dropscribe.cli.console import say

    try:
        return int(_call(command))
    except DropscribeError as error:
        say(f"dropscribe: {error.message}")
        if error.cure:
            say(f"            {error.cure}")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `dropscribe logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except (OSError, sqlite3.Error) as error:
        if isinstance(command, commands.Run):  # the daemon handles these itself: one that arrives here is a defect
            raise
        if isinstance(error, OSError):
            say(f"dropscribe: {error.filename}: {error.strerror}." if error.filename else f"dropscribe: {error}.")
        else:
            say(f"dropscribe: The journal cannot be read: {error}.")
            say("            `dropscribe doctor` looks closer.")
        return Exit.FAILED


def _call(command: commands.Command) -> int:
    """Import the module of a command and call it."""
    match command:
        case commands.Run():
            from dropscribe.cli import run

            return run.run_daemon(command)
        case commands.Transcribe():
            from dropscribe.cli import transcribe

            return transcribe.transcribe(command)
        case commands.Export():
            from dropscribe.cli import transcribe

            return transcribe.export(command)
        case commands.Status():
            from dropscribe.cli import status

            return status.show_status(command)
        case commands.Why():
            from dropscribe.cli import status

            return status.show_why(command)
        case commands.Retry():
            from dropscribe.cli import requests

            return requests.retry(command)
        case commands.Skip():
            from dropscribe.cli import requests

            return requests.skip(command)
        case commands.Redo():
            from dropscribe.cli import requests

            return requests.redo(command)
        case commands.AddVoice() | commands.ListVoices() | commands.RemoveVoice():
            from dropscribe.cli import voices

            return voices.run(command)
        case commands.Speakers():
            from dropscribe.cli import speakers

            return speakers.speakers(command)
        case commands.Search():
            from dropscribe.cli import search

            return search.search(command)
        case commands.Apply():
            from dropscribe.cli import apply

            return apply.apply(command)
        case commands.Summarize():
            from dropscribe.cli import summarize

            return summarize.summarize(command)
        case commands.Memos():
            from dropscribe.cli import memos

            return memos.copy_memos(command)
        case commands.Pause():
            from dropscribe.cli import requests

            return requests.pause()
        case commands.Resume():
            from dropscribe.cli import requests

            return requests.resume()
        case commands.Logs():
            from dropscribe.cli import logs

            return logs.show_log(command)
        case commands.Doctor():
            from dropscribe.cli import doctor

            return doctor.show_checks(command)
        case commands.Bench():
            from dropscribe.cli import bench

            return bench.show_measurements(command)
        case commands.ListModels():
            from dropscribe.cli import models

            return models.list_models(command)
        case commands.PullModel():
            from dropscribe.cli import models

            return models.pull_model(command)
        case commands.QuantizeModel():
            from dropscribe.cli import models

            return models.quantize_model(command)
        case commands.RemoveModel():
            from dropscribe.cli import models

            return models.remove_model(command)
        case commands.VerifyModel():
            from dropscribe.cli import models

            return models.verify_model(command)
        case commands.LocateModel():
            from dropscribe.cli import models

            return models.locate_model(command)
        case commands.ListBackends():
            from dropscribe.cli import backends

            return backends.list_backends(command)
        case commands.InstallBackend():
            from dropscribe.cli import backends

            return backends.install_backend(command)
        case commands.RemoveBackend():
            from dropscribe.cli import backends

            return backends.remove_backend(command)
        case commands.Service():
            from dropscribe.cli import service

            return service.control_service(command)
        case commands.Serve():
            from dropscribe.cli import serve

            return serve.serve(command)
        case commands.Open():
            from dropscribe.cli import serve

            return serve.open_library(command)
        case commands.Config():
            from dropscribe.cli import config

            return config.show_config(command)
        case commands.Completion():
            from dropscribe.cli import config

            return config.print_completion(command)
        case _:
            assert_never(command)

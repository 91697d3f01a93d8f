"""`dropscribe summarize`: title, summary and chapters of a transcript, by a language model on this machine.

Guarantees: the transcript is only read; a file that a person edited is never overwritten: the new one gets a number.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.cli.console import say
from dropscribe.cli.transcribe import read_transcript_file
from dropscribe.errors import Exit, UsageError
from dropscribe.library import summary
from dropscribe.supervisor import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.cli import commands

_FACT = "DROPSCRIBE_FACT_TRANSCRIPT"
"""Where a hook finds the path of the transcript."""


def summarize(arguments: commands.Summarize) -> int:
    """Write the summary of a transcript next to it, and print the path of each file."""
    path = _choose_transcript(arguments.files)
    transcript = read_transcript_file(path)
    key = os.environ.get("OPENAI_API_KEY", "") if arguments.allow_remote else ""
    endpoint = summary.Endpoint(
        arguments.endpoint, remote=arguments.allow_remote, key=key, timeout_s=arguments.timeout
    )
    model = arguments.model or endpoint.find_model()

    def report(done: int, of: int) -> None:
        if of > 1:
            say(f"{path.name}: {done} of {of} questions are answered.")

    made = summary.render(summary.summarize(transcript, endpoint, model, report))
    base = path.name.removesuffix(".json")
    for file in outbox.publish(path.parent, base, made, _find_unedited(path.parent, base)):
        print(path.parent / file.path)
    return Exit.OK


def _choose_transcript(files: Sequence[Path]) -> Path:
    """Return the transcript among the paths that a person or a hook gives: of a recording and all its outputs.

    Raises: UsageError when there is none.
    """
    named = os.environ.get(_FACT)
    if named and Path(named) in files:
        return Path(named)
    found = [path for path in files if path.name.endswith(".json") and not path.name.endswith(summary.SUFFIXES)]
    if not found:
        raise UsageError("There is no transcript among these files.", "Give the .json that is in the outbox.")
    return min(found, key=lambda path: len(path.name))  # `talk.json` and not `talk.podcast.json`


def _find_unedited(folder: Path, base: str) -> dict[str, str]:
    """Return the digests of the files of an older summary that are as they were written."""
    try:
        older = summary.render(summary.parse((folder / f"{base}.summary.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    names = (base, *(f"{base} ({number})" for number in range(2, 10)))  # next to one that was edited
    return {
        f"{name}.{suffix}": hashlib.sha256(text.encode()).hexdigest()
        for suffix, text in older.items()
        for name in names
    }

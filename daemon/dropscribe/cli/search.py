"""`dropscribe search`: sentences in all transcripts, with file and time, best first."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from dropscribe import settings
from dropscribe.cli.console import print_json, say
from dropscribe.errors import DropscribeError, Exit, UsageError
from dropscribe.formats.times import format_clock
from dropscribe.library.index import Filters
from dropscribe.log_bridge import sanitize
from dropscribe.supervisor import indexing, lookup

if TYPE_CHECKING:
    from dropscribe.cli import commands
    from dropscribe.library.index import Hit, Index
    from dropscribe.settings import Settings

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def search(arguments: commands.Search) -> int:
    """Print the sentences that are found; the exit code is 1 where there is none."""
    if arguments.since and not _DATE.fullmatch(arguments.since):
        raise UsageError(f"{arguments.since} is no date.", "Write it as 2026-05-01, 2026-05 or 2026.")
    if arguments.limit < 1:
        raise UsageError("At least one sentence is to be shown.", "Give --limit a number from 1 on.")
    chosen = settings.load().settings
    filters = Filters(speaker=arguments.speaker, since=arguments.since, language=arguments.language)
    with indexing.open_index(chosen) as index:
        refresh(chosen, index, rebuild=arguments.rebuild)
        if arguments.rebuild and not arguments.words:
            return Exit.OK
        hits = index.search(_join_words(arguments.words), filters, limit=arguments.limit)
    if arguments.json:
        print_json([_describe(chosen, hit) for hit in hits])
    else:
        for hit in hits:
            _print_hit(hit)
        if not hits:
            say("Nothing was found.")
    return Exit.OK if hits else Exit.FAILED


def _join_words(words: list[str]) -> str:
    """Return the words as one query; an argument that the shell was given in quotation marks is one, too."""
    return " ".join(words)


def refresh(chosen: Settings, index: Index, *, rebuild: bool = False) -> None:
    """Add what is not in the index yet. Without the outbox what is indexed is searched as it is."""
    try:
        with lookup.read_journal(chosen) as journal:
            documents = list(indexing.list_documents(chosen, journal))
            if rebuild:
                index.clear()
            changes = index.refresh(documents, report=lambda count: say(f"Transcripts in the index: {count} so far."))
    except DropscribeError as error:
        if rebuild:
            raise
        say(f"dropscribe: {error.message} What was indexed before is searched.")
        return
    if rebuild:
        say(f"Transcripts in the index: {index.count_entries()}.")
        for path in changes.unreadable:
            say(f"{sanitize(path)} is no transcript of Dropscribe.")


def _describe(chosen: Settings, hit: Hit) -> dict[str, Any]:
    return {
        "transcript": str(chosen.outbox / hit.entry.path),
        "recording": hit.entry.source,
        "recorded_at": hit.entry.recorded,
        "start": hit.start,
        "end": hit.end,
        "speaker": hit.speaker or None,
        "language": hit.language,
        "text": hit.text,
        "matches": [list(match) for match in hit.matches],
        "score": round(hit.score, 6),
    }


def _print_hit(hit: Hit) -> None:
    text = _mark(hit) if sys.stdout.isatty() else hit.text
    who = f"{sanitize(hit.speaker)}: " if hit.speaker else ""
    print(f"{sanitize(hit.entry.source)} {format_clock(hit.start)}  {who}{text}")


def _mark(hit: Hit) -> str:
    """Return the text with what was looked for in bold, where colours are not unwanted."""
    import os

    if os.environ.get("NO_COLOR"):
        return hit.text
    parts, done = [], 0
    for start, end in hit.matches:
        parts += [hit.text[done:start], "\033[1m", hit.text[start:end], "\033[0m"]
        done = end
    return "".join(parts) + hit.text[done:]

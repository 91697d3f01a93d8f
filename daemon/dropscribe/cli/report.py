"""`dropscribe doctor --report`: what to paste into an issue.

Guarantees: no name of a recording and nothing that was said; the home folder is `~`; what the
service gets is named by variable, without values.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dropscribe.cli.doctor import Check

_TAIL_BYTES = 1 << 18
"""So much of the log's end is read: some thousand events."""
_TRY = (
    "A recording dropped into the inbox with the Finder or the file manager has its transcript.",
    "The same for a large one that is copied for a while, and for one that comes over the network.",
    "After logging out and in again the daemon runs (`dropscribe service status`).",
    "After sleep with the lid closed in the middle of a recording it goes on.",
    "Mac: the inbox in Documents or iCloud Drive: a prompt comes; what `dropscribe doctor` says before and after.",
    "Mac: a recording that is only in iCloud (a cloud in the Finder) is waited for, and `dropscribe why` says so.",
    'A notification comes with `notify = "all"`; a hook (`on_done`) runs.',
    "The speed that `dropscribe bench` shows, and the GPU in Activity Monitor or nvidia-smi.",
)
"""What only a person at the machine can try."""


def format_report(checks: Sequence[Check], log: Path) -> str:
    """Return the report.

    Args:
        checks: what `doctor` found.
        log: the log file.
    """
    return "\n".join(_hide_home(line) for line in _write_lines(checks, log)) + "\n"


def _write_lines(checks: Sequence[Check], log: Path) -> Iterator[str]:
    yield "## Checked"
    yield ""
    yield f"{platform.machine()}, {os.cpu_count()} processors, {platform.python_implementation()}"
    yield ""
    for check in checks:
        mark = "x" if check.verdict == "ok" else " "
        cure = f" {check.cure}" if check.cure else ""
        yield f"- [{mark}] {check.verdict} {check.name}: {' '.join(check.detail.split())}{cure}"
    yield ""
    kept = sorted(name for name in os.environ if service.is_kept(name))
    yield f"Variables that a service would get: {', '.join(kept) or 'none'}"
    events = ", ".join(f"{name} {count}" for name, count in sorted(_count_events(log).items()))
    yield f"Events at the end of the log: {events or 'none'}"
    yield ""
    yield "## To try"
    yield ""
    yield from (f"- [ ] {text}" for text in _TRY)


def _count_events(log: Path) -> Counter[str]:
    """Return how often each event is in the log's end. Their names are ours; nothing else is read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().splitlines()[1:]
    except OSError:
        return Counter()
    return Counter(_read_names(lines))


def _read_names(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        try:
            name = json.loads(line)["event"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(name, str) and name.replace(".", "").replace("_", "").isalpha():
            yield name


def _hide_home(text: str) -> str:
    return text.replace(str(Path.home()), "~")

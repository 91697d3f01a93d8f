"""The journal: every recording that was seen, its state and the reason for it, in one SQLite file.

`Journal` holds the steps that a recording takes. What concerns one table is in the table's own
class, which the journal has as an attribute: `recordings`, `results`, `outputs`, `hooks`,
`sources` and `corrections`.

Guarantees: one writer, the daemon (the command line opens it read-only); every method that changes
something is one transaction, on the disk when it returns; a recording is in exactly one state. A
finished transcript is kept here, so that the same recording under another name is published again
and not transcribed again.
"""

from dropscribe.supervisor.journal.database import JournalError
from dropscribe.supervisor.journal.journal import Journal
from dropscribe.supervisor.journal.records import (
    GUEST,
    AdoptedSet,
    DisposalWay,
    Hook,
    HookWay,
    InboxFile,
    KnownFile,
    Leaving,
    LeavingState,
    NewHook,
    Recording,
    State,
    format_mark,
)
from dropscribe.supervisor.journal.schema import FILE_NAME, VERSION

__all__ = [
    "FILE_NAME",
    "GUEST",
    "VERSION",
    "AdoptedSet",
    "DisposalWay",
    "Hook",
    "HookWay",
    "InboxFile",
    "Journal",
    "JournalError",
    "KnownFile",
    "Leaving",
    "LeavingState",
    "NewHook",
    "Recording",
    "State",
    "format_mark",
]

"""The file of the journal: opened, brought up to date, and written one transaction at a time.

No WAL: SQLite before 3.51.3 can corrupt a WAL with two connections that write or checkpoint.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from dropscribe.errors import DropscribeError
from dropscribe.supervisor.journal import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class JournalError(DropscribeError):
    """The journal cannot be opened."""


class Database:
    """An open SQLite file.

    Every method may raise sqlite3.OperationalError (disk full, read-only, gone).
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open `path`, making it if need be.

        Raises: JournalError when it is of a newer program; sqlite3.DatabaseError when it is
        damaged.
        """
        target = path.absolute().as_uri() + ("?mode=ro" if readonly else "")
        self._connection = sqlite3.connect(target, uri=True, timeout=10, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._transactions = 0
        try:
            self._prepare(path, readonly=readonly)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path, *, readonly: bool) -> None:
        if schema.read_version(self._connection) > schema.VERSION:
            msg = f"The journal {path} was written by a newer version of Dropscribe."
            raise JournalError(msg, "Update Dropscribe.")
        if readonly:
            schema.stand_in_for_missing_tables(self._connection)
            return
        self._connection.execute("PRAGMA journal_mode = TRUNCATE")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA fullfsync = ON")
        schema.migrate(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a query that changes nothing."""
        return self._connection.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Let the block's changes be made together or not at all.

        A transaction inside another one is a part of it.
        """
        if self._transactions:
            yield self._connection
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._transactions += 1
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors (disk full) have rolled back already
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._transactions -= 1

    def check_integrity(self) -> None:
        """Read the whole file and raise sqlite3.DatabaseError when it is damaged."""
        verdict = self.read("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        self.read("SELECT count(*) FROM recordings").fetchone()  # a file that was emptied is whole, too

"""The tables of the journal, and the steps that bring an older file up to date.

A new version of the schema is one more step at the end of `STEPS`: no earlier step and no table
above it is edited. `tests/data/journals` has a file of every version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

FILE_NAME = "journal.sqlite3"
"""Of the journal, in the state folder."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,      -- names the file: Inbox.key
    path BLOB NOT NULL,            -- relative to the inbox, as the file system spells it
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    result TEXT,                   -- key into results
    state TEXT NOT NULL,
    code TEXT NOT NULL DEFAULT '', -- of the last failure, or of what is waited for
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    base BLOB,                     -- output name without suffix, decided once
    seen REAL NOT NULL,            -- times are seconds since the epoch
    changed REAL NOT NULL,
    started REAL,
    audio_s REAL,
    done_s REAL NOT NULL DEFAULT 0,
    speed REAL
);
CREATE INDEX recordings_by_state ON recordings (state, changed, id);
CREATE INDEX recordings_by_result ON recordings (result);
CREATE TABLE bases (base BLOB PRIMARY KEY, recording INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE results (key TEXT PRIMARY KEY, transcript BLOB NOT NULL, made REAL NOT NULL);
CREATE TABLE outputs (path BLOB PRIMARY KEY, recording INTEGER NOT NULL, sha256 TEXT NOT NULL, beside BLOB)
    WITHOUT ROWID;
CREATE TABLE checkpoints (result TEXT NOT NULL, part INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (result, part)) WITHOUT ROWID;
"""
"""Version 1."""

STEPS = (
    """
    -- JSON of the settings that made the outputs, or are making them (result_options); empty when not known
    ALTER TABLE recordings ADD COLUMN settings TEXT NOT NULL DEFAULT '';
    -- asked for again: the mark under which the older outputs are kept; empty when not asked for
    ALTER TABLE recordings ADD COLUMN redo TEXT NOT NULL DEFAULT '';
    -- whether a stored result will not do
    ALTER TABLE recordings ADD COLUMN anew INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE hooks (
        id INTEGER PRIMARY KEY,
        recording INTEGER NOT NULL,
        way TEXT NOT NULL,             -- HookWay: the setting
        facts TEXT NOT NULL,           -- JSON, with paths as os.fsdecode gives them
        tries INTEGER NOT NULL DEFAULT 0,
        given_up INTEGER NOT NULL DEFAULT 0,
        problem TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX hooks_by_recording ON hooks (recording);
    CREATE TABLE sources (
        recording INTEGER PRIMARY KEY,
        way TEXT NOT NULL,             -- DisposalWay
        state TEXT NOT NULL,           -- LeavingState
        target BLOB,                   -- absolute path of where it goes or is
        reason TEXT NOT NULL DEFAULT ''
    );
    """,
    """
    -- whether the file has another content than the one that the outputs, if there are any, were made of
    ALTER TABLE recordings ADD COLUMN other INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- whether a person took the file away: what comes under its name is another recording
    ALTER TABLE recordings ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- the setting: of those that are queued, the highest is first
    ALTER TABLE recordings ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX recordings_by_turn ON recordings (state, priority DESC, changed, id);
    -- digest of the decoded samples : fingerprint of the settings; the same whatever file holds the sound
    ALTER TABLE results ADD COLUMN sound TEXT NOT NULL DEFAULT '';
    CREATE INDEX results_by_sound ON results (sound);
    """,
    """
    CREATE TABLE corrections (
        id INTEGER PRIMARY KEY,
        recording INTEGER NOT NULL,
        sha256 TEXT NOT NULL,          -- of the content that was corrected
        correction TEXT NOT NULL       -- JSON: transcript.Correction
    );
    CREATE INDEX corrections_by_recording ON corrections (recording);
    """,
)
"""Each makes a version of the schema out of the one before it, from version 2 on."""

VERSION = 1 + len(STEPS)
"""Value of SQLite's `user_version`; a journal of a newer program is refused."""


def read_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema that a file has; 0 for an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date in one transaction."""
    if steps := (SCHEMA, *STEPS)[read_version(connection) :]:
        connection.executescript(f"BEGIN IMMEDIATE; {''.join(steps)} PRAGMA user_version = {VERSION}; COMMIT;")


def stand_in_for_missing_tables(connection: sqlite3.Connection) -> None:
    """Give a reader of an older file the tables that came later, empty and for this connection
    alone.

    The daemon that has the file open is of an older program, or has not started since the update.
    """
    version = read_version(connection)
    if version > 0:
        tables = re.findall(r"CREATE (TABLE[^;]+;)", "".join(STEPS[version - 1 :]))
        connection.executescript("".join(f"CREATE TEMP {table}" for table in tables))

"""The tables of the index, and what its file can be like.

A new version of the tables is a new `VERSION`: an index of another one is made again.
"""

from __future__ import annotations

import sqlite3
import unicodedata

VERSION = f"1 {unicodedata.unidata_version}"
"""Of the tables and of what `folding` makes of a text. An index of another version is made again."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,     -- of the JSON, relative to the outbox
    size INTEGER NOT NULL,         -- of that file, with its time: what tells that it has changed
    mtime_ns INTEGER NOT NULL,
    source BLOB NOT NULL,          -- the recording, as the transcript names it
    recorded TEXT NOT NULL,        -- ISO 8601 date, with the time where it is known
    duration REAL NOT NULL,
    language TEXT NOT NULL,
    speakers TEXT NOT NULL,        -- JSON
    model TEXT NOT NULL,
    words INTEGER NOT NULL,
    passages INTEGER NOT NULL,     -- to listen to again
    corrected INTEGER NOT NULL,    -- by a person
    hidden INTEGER NOT NULL DEFAULT 0  -- a newer transcript of the same recording is there
);
CREATE INDEX documents_by_source ON documents (source);
CREATE TABLE sentences (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL,
    start REAL NOT NULL,
    end REAL NOT NULL,
    speaker TEXT NOT NULL,
    language TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX sentences_by_document ON sentences (document);
CREATE VIRTUAL TABLE terms USING fts5 (text, content = '', tokenize = 'ascii');
"""


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error is about what is in the file; not about its disk, or about another process."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def read_version(connection: sqlite3.Connection) -> str:
    """Return the version of an index; empty for a file that has none."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if there is None:
        return ""
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    return "" if row is None else str(row["value"])

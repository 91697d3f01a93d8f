"""The index of every transcript: which sentences have which words.

Guarantees: it is a copy and no more, made again from the transcripts whenever it is damaged, of another version or
gone; a transcript is in it whole or not at all; several processes may read and write it at once; no writer waits for
another longer than `timeout_s`.

A sentence is what one person says in one segment. Its words are in a table of SQLite's FTS5 that keeps no text of its
own: the text is stored once, in `sentences`. What `folding` cuts is given to it with spaces between; the tokenizer
`ascii` cuts nowhere else, in any version of SQLite.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.errors import DropscribeError
from dropscribe.formats.utterances import split_utterances
from dropscribe.library.folding import split_tokens
from dropscribe.library.index_file import SCHEMA, VERSION, is_damage, read_version
from dropscribe.library.query import find_matches, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from dropscribe.library.query import Phrase
    from dropscribe.transcript import Transcript

FILE_NAME = "search.sqlite3"
"""Of the index, in the state folder."""
_BATCH_SECONDS = 0.5
"""Transcripts are added for so long in one transaction when many are: others get in between."""
_RANKED = 10_000
"""Sentences that are ranked. Of a word that is in more, every sentence is about as good; the newest are taken."""
_MOST_NAMES = 900
"""Speakers that one query names: older SQLite takes 999 values."""


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript that can be indexed."""

    path: str
    """Of its JSON, relative to the outbox."""
    size: int
    """Bytes of that file; with `mtime_ns` it tells whether it has changed. -1 where it is not in the outbox."""
    mtime_ns: int
    load: Callable[[], Transcript]
    """Reads it. Raises OSError, or ValueError, KeyError, TypeError or AttributeError where it is no transcript."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A transcript that is indexed."""

    path: str
    """Of its JSON, relative to the outbox."""
    source: str
    """The recording: relative to the inbox, or absolute."""
    recorded: str
    """ISO 8601: date, with the time where it is known; of the JSON's last change where nothing is."""
    duration: float
    """Seconds."""
    language: str
    speakers: tuple[str, ...]
    """In order of appearance."""
    model: str
    words: int
    passages: int
    """How many are to be listened to again."""
    corrected: bool
    """Whether a person corrected it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A sentence that was found."""

    entry: Entry
    start: float
    """Seconds."""
    end: float
    speaker: str
    """Empty where nobody is known."""
    language: str
    text: str
    matches: tuple[tuple[int, int], ...]
    """Where in the text what was looked for is: first character and the one behind."""
    score: float
    """The higher, the better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which sentences count. Empty: all."""

    speaker: str = ""
    """A name or the beginning of one of its words, in any case."""
    since: str = ""
    """ISO 8601 date or the beginning of one (2026, 2026-05): recorded then or later."""
    language: str = ""
    folder: str = ""
    """Relative to the outbox: its transcripts and those below."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What `refresh` did."""

    added: int
    """New transcripts and those that had changed."""
    removed: int
    unreadable: tuple[str, ...]
    """Paths of JSON files that are no transcripts or cannot be read at present."""


class IndexUnavailableError(DropscribeError):
    """The index cannot be used at present: its disk is full or gone, or another process holds it for too long."""


class Index:
    """The open index: a context manager that closes it. It belongs to the thread that opened it."""

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        """Open `path`, making it if need be; one that is damaged or of another version is made again, empty.

        Raises: IndexUnavailableError.
        """
        self._path = path
        self._timeout_s = timeout_s
        self.is_new = False
        """Whether it was made just now: `refresh` fills it."""
        with self._explain():
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and not is_damage(error):
                    raise
                self._discard()
                self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is made again
            connection.execute("PRAGMA mmap_size = 268435456")
            if read_version(connection) != VERSION:
                connection.execute("BEGIN IMMEDIATE")
                if read_version(connection) != VERSION:  # nobody else has made it meanwhile
                    for (name,) in connection.execute(
                        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOTNULL"
                        " AND name NOT LIKE 'terms_%' AND name NOT LIKE 'sqlite_%'"
                    ).fetchall():
                        connection.execute(f"DROP TABLE {name}")
                    for statement in SCHEMA.split(";\n"):
                        if statement.strip():
                            connection.execute(statement)
                    connection.execute("INSERT INTO meta VALUES ('version', ?)", (VERSION,))
                    self.is_new = True
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _discard(self) -> None:
        for name in (self._path.name, self._path.name + "-journal"):
            self._path.with_name(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            msg = f"The index {self._path} cannot be used: {error}."
            raise IndexUnavailableError(msg, "Look at its disk. Transcribing goes on without it.") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Let the block's changes be made together or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # Writing

    def add(self, document: Document) -> None:
        """Put a transcript into the index, in place of what it has under that path.

        Raises: IndexUnavailableError; what `Document.load` raises. The index is as before then.
        """
        transcript = document.load()
        with self._healing(), self._writing():
            self._insert(document, transcript)

    def refresh(self, documents: Iterable[Document], *, report: Callable[[int], None] = lambda _: None) -> Changes:
        """Make the index agree with these transcripts: add what is new or changed, remove what is gone.

        Args:
            documents: all there are.
            report: called with how many were added so far.

        Raises: IndexUnavailableError.
        """
        with self._healing():
            known = {
                os.fsdecode(row["path"]): (row["size"], row["mtime_ns"])
                for row in self._connection.execute("SELECT path, size, mtime_ns FROM documents")
            }
            unreadable: list[str] = []
            added = 0
            started = 0.0
            try:
                for document in documents:
                    if known.pop(document.path, None) == (document.size, document.mtime_ns):
                        continue
                    try:
                        transcript = document.load()
                    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                        unreadable.append(document.path)
                        known[document.path] = (0, 0)
                        continue
                    if not self._connection.in_transaction:
                        self._connection.execute("BEGIN IMMEDIATE")
                        started = time.monotonic()
                    self._insert(document, transcript)
                    added += 1
                    if time.monotonic() - started > _BATCH_SECONDS:
                        self._connection.execute("COMMIT")
                        report(added)
                gone = [path for path in known if self._find(path) is not None]
                if gone and not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                for path in gone:
                    self._remove(path)
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return Changes(added, len(gone), tuple(unreadable))

    def clear(self) -> None:
        """Make it empty. Raises: IndexUnavailableError."""
        with self._explain():
            self._connection.close()
            self._discard()
            self._connection = self._open()

    @contextlib.contextmanager
    def _healing(self) -> Iterator[None]:
        """Empty an index that turns out to be damaged, so that the next `refresh` fills it."""
        with self._explain():
            try:
                yield
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.clear()
                raise sqlite3.OperationalError("it was damaged and is made again: ask once more") from None

    def _find(self, path: str) -> int | None:
        row = self._connection.execute("SELECT id FROM documents WHERE path = ?", (os.fsencode(path),)).fetchone()
        return None if row is None else row["id"]

    def _remove(self, path: str) -> None:
        number = self._find(path)
        if number is None:
            return
        rows = self._connection.execute("SELECT id, text FROM sentences WHERE document = ?", (number,)).fetchall()
        self._connection.executemany(
            "INSERT INTO terms (terms, rowid, text) VALUES ('delete', ?, ?)",
            [(row["id"], " ".join(split_tokens(row["text"]))) for row in rows],
        )
        self._connection.execute("DELETE FROM sentences WHERE document = ?", (number,))
        source = self._connection.execute(
            "DELETE FROM documents WHERE id = ? RETURNING source", (number,)
        ).fetchone()["source"]
        self._choose(source)

    def _insert(self, document: Document, transcript: Transcript) -> None:
        self._remove(document.path)
        said = list(split_utterances(transcript))
        source = os.fsencode(transcript.source.path)
        row = self._connection.execute(
            "INSERT INTO documents (path, size, mtime_ns, source, recorded, duration, language, speakers, model,"
            " words, passages, corrected) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                os.fsencode(document.path),
                document.size,
                document.mtime_ns,
                source,
                transcript.source.recorded_at or time.strftime("%Y-%m-%d", time.localtime(document.mtime_ns / 1e9)),
                transcript.duration,
                transcript.language,
                json.dumps(list(dict.fromkeys(u.speaker for u in said if u.speaker)), ensure_ascii=False),
                transcript.engine.model,
                sum(len(u.tokens) for u in said),
                len(transcript.review or ()),
                bool(transcript.corrections),
            ),
        )
        number = row.lastrowid
        last = self._connection.execute("SELECT coalesce(max(id), 0) FROM sentences").fetchone()[0]
        self._connection.executemany(
            "INSERT INTO sentences VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (last + i, number, u.start, u.end, u.speaker or "", u.language or transcript.language, u.text)
                for i, u in enumerate(said, 1)
            ],
        )
        self._connection.executemany(
            "INSERT INTO terms (rowid, text) VALUES (?, ?)",
            [(last + i, " ".join(split_tokens(u.text))) for i, u in enumerate(said, 1)],
        )
        self._choose(source)

    def _choose(self, source: bytes) -> None:
        """Let only the newest transcript of a recording be found."""
        self._connection.execute(
            "UPDATE documents SET hidden = (id != (SELECT id FROM documents WHERE source = :source"
            " ORDER BY mtime_ns DESC, id DESC LIMIT 1)) WHERE source = :source",
            {"source": source},
        )

    # Reading

    def search(self, text: str, filters: Filters | None = None, *, limit: int = 20, offset: int = 0) -> list[Hit]:
        """Return the sentences that a query finds, best first. See `query` for what can be asked.

        Raises: UsageError for a query that cannot be read; IndexUnavailableError.
        """
        query = parse_query(text)
        where, values = self._write_filters(filters)
        with self._healing():
            rows = self._connection.execute(
                "SELECT s.start, s.end, s.speaker, s.language, s.text, f.score, d.path, d.source, d.recorded,"  # noqa: S608 (ours)
                " d.duration, d.language AS main, d.speakers, d.model, d.words, d.passages, d.corrected"
                " FROM (SELECT s.id, bm25(terms) AS score FROM terms JOIN sentences s ON s.id = terms.rowid"
                f" JOIN documents d ON d.id = s.document WHERE terms MATCH ? AND NOT d.hidden{where}"
                " ORDER BY terms.rowid DESC LIMIT ?) f JOIN sentences s USING (id)"
                " JOIN documents d ON d.id = s.document ORDER BY f.score, d.recorded DESC, s.id LIMIT ? OFFSET ?",
                (query.expression, *values, _RANKED, limit, offset),
            ).fetchall()
        return [_make_hit(row, query.phrases) for row in rows]

    def count(self, text: str, filters: Filters | None = None) -> int:
        """Return how many sentences a query finds. Raises: as `search`."""
        query = parse_query(text)
        where, values = self._write_filters(filters)
        with self._healing():
            found: int = self._connection.execute(
                "SELECT count(*) FROM terms JOIN sentences s ON s.id = terms.rowid"  # noqa: S608 (ours)
                f" JOIN documents d ON d.id = s.document WHERE terms MATCH ? AND NOT d.hidden{where}",
                (query.expression, *values),
            ).fetchone()[0]
        return found

    def list_entries(self, filters: Filters | None = None, *, limit: int = -1, offset: int = 0) -> list[Entry]:
        """Return the transcripts, those recorded last first. Raises: IndexUnavailableError."""
        where, values = self._write_filters(filters, sentences=False)
        with self._healing():
            rows = self._connection.execute(
                "SELECT d.*, d.language AS main FROM documents d"  # noqa: S608 (ours)
                f" WHERE NOT d.hidden{where} ORDER BY d.recorded DESC, d.id DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        return [_make_entry(row) for row in rows]

    def _write_filters(self, filters: Filters | None, *, sentences: bool = True) -> tuple[str, list[Any]]:
        """Return filters as SQL and its values."""
        names: dict[str, None] = {}
        if filters is not None and filters.speaker:
            with self._healing():
                for row in self._connection.execute("SELECT DISTINCT speakers FROM documents"):
                    names |= dict.fromkeys(json.loads(row["speakers"]))
        return _write_filters(filters or Filters(), list(names), sentences=sentences)

    def count_entries(self) -> int:
        """Return how many transcripts there are. Raises: IndexUnavailableError."""
        with self._healing():
            found: int = self._connection.execute("SELECT count(*) FROM documents WHERE NOT hidden").fetchone()[0]
        return found


def _write_filters(filters: Filters, speakers: Sequence[str], *, sentences: bool = True) -> tuple[str, list[Any]]:
    where = ""
    values: list[Any] = []
    if filters.speaker:
        names = [name for name in speakers if _spell_name(filters.speaker) in _spell_name(name)][:_MOST_NAMES]
        if sentences:
            where += f" AND s.speaker IN ({', '.join('?' * len(names))})"
            values += names
        else:
            where += f" AND ({' OR '.join(['instr(d.speakers, ?)'] * len(names)) or 'FALSE'})"
            values += [json.dumps(name, ensure_ascii=False) for name in names]
    if filters.since:
        where += " AND d.recorded >= ?"
        values.append(filters.since)
    if filters.language:
        where += f" AND {'s.language' if sentences else 'd.language'} = ?"
        values.append(filters.language.lower())
    if filters.folder:
        folder = os.fsencode(filters.folder.rstrip("/") + "/")
        where += " AND d.path >= ? AND d.path < ?"
        values += [folder, folder[:-1] + b"0"]  # "0" comes right behind "/"
    return where, values


def _spell_name(name: str) -> str:
    """Return a name, or several, with a space before each word: it is found by the beginning of any."""
    return "".join(f" {token}" for token in split_tokens(name))


def _make_entry(row: sqlite3.Row) -> Entry:
    return Entry(
        path=os.fsdecode(row["path"]),
        source=os.fsdecode(row["source"]),
        recorded=row["recorded"],
        duration=row["duration"],
        language=row["main"],
        speakers=tuple(json.loads(row["speakers"])),
        model=row["model"],
        words=row["words"],
        passages=row["passages"],
        corrected=bool(row["corrected"]),
    )


def _make_hit(row: sqlite3.Row, phrases: Sequence[Phrase]) -> Hit:
    return Hit(
        entry=_make_entry(row),
        start=row["start"],
        end=row["end"],
        speaker=row["speaker"],
        language=row["language"],
        text=row["text"],
        matches=tuple(find_matches(row["text"], tuple(phrases))),
        score=-row["score"],
    )

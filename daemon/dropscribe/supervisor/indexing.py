"""The index of transcripts and the outbox, brought together: for the daemon, the command line and the page.

Guarantees: publishing never waits for the index, and no failure of the index reaches the daemon: it is logged, and
what is missing is added by the next one who searches.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe.errors import DropscribeError
from dropscribe.supervisor import names, outbox
from dropscribe.supervisor.correcting import ORIGINAL, read_transcript
from dropscribe.supervisor.journal import State
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dropscribe.library.index import Document, Index
    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Journal, Recording

CLOSE_SECONDS = 5.0
"""How long the end of the daemon waits for what is being indexed; the rest is added later."""
_OTHERS = (f".{ORIGINAL}", ".whisperx.json", ".cpp.json", ".podcast.json", ".summary.json", ".chapters.json")
"""Suffixes of JSON files next to a transcript that are none to be found."""


def open_index(settings: Settings) -> Index:
    """Open the index of these settings. Raises: IndexUnavailableError."""
    from dropscribe.library.index import FILE_NAME, Index  # not before something is published: the daemon stays small

    return Index(settings.state / FILE_NAME)


def list_documents(settings: Settings, journal: Journal | None) -> Iterator[Document]:
    """Yield every transcript: those in the outbox, and those of the journal whose JSON is not there.

    Raises: DropscribeError when the outbox is not there: then nothing is known of what is in it.
    """
    from dropscribe.library.index import Document

    folder = settings.outbox
    volume = journal is not None and journal.get_meta("outbox_volume") == names.decode_name(folder)
    if not folder.is_dir() or (volume and not os.path.ismount(folder)):
        raise DropscribeError(
            f"The outbox {folder} is not there.", "Mount its volume, or look at the setting `outbox`."
        )
    there = set()
    for document in _walk(str(folder), ""):
        there.add(document.path)
        yield document
    for recording in [] if journal is None else journal.recordings.list_in(State.DONE):
        path = None if recording.base is None else f"{recording.base}.json"
        if path is not None and path not in there and recording.result is not None:
            load = functools.partial(_load_stored, settings, journal, recording)
            yield Document(path, -1, round(recording.changed * 1e9), load)


def _walk(folder: str, below: str) -> Iterator[Document]:
    """Yield the transcripts of a folder and those below, but for hidden ones and older versions."""
    from dropscribe.library.index import Document

    with os.scandir(os.path.join(folder, below)) as entries:  # noqa: PTH118 (thousands of them)
        found = sorted(entries, key=lambda entry: entry.name)
    every = {entry.name for entry in found}
    for entry in found:
        path = os.path.join(below, entry.name)  # noqa: PTH118
        if entry.name.startswith(".") or (not below and entry.name in {names.OLD, names.FAILED}):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, path)
        elif entry.name.endswith(".json") and not _is_other(entry.name, every) and entry.is_file():
            stat = entry.stat()
            yield Document(path, stat.st_size, stat.st_mtime_ns, functools.partial(_load_file, Path(folder, path)))


def _is_other(name: str, every: Collection[str]) -> bool:
    """Return whether a JSON file belongs to the transcript of another name among all that are in its folder."""
    return any(name.endswith(suffix) and name.removesuffix(suffix) + ".json" in every for suffix in _OTHERS)


def _load_file(path: Path) -> Transcript:
    return Transcript.from_json(path.read_bytes())


def _load_stored(settings: Settings, journal: Journal | None, recording: Recording) -> Transcript:
    transcript = None if journal is None else read_transcript(journal, recording, settings)
    if transcript is None:
        raise FileNotFoundError(recording.base)
    return transcript


class Indexer:
    """The thread of a daemon that puts what is published into the index."""

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        import structlog  # 4 MB that a server, which only reads the index, can do without

        self._settings = settings
        self._paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger()

    def add(self, published: list[outbox.Published]) -> None:
        """Let the JSON among what was published, which is the last, be indexed soon."""
        path = next((p.path for p in reversed(published) if p.path.endswith(".json")), None)
        if path is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="indexer", daemon=True)
            self._thread.start()
        self._paths.put(path)

    def close(self) -> None:
        """Wait for what is being indexed, but not for long."""
        if self._thread is not None:
            self._paths.put(None)
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def _work(self) -> None:
        while (path := self._paths.get()) is not None:
            try:
                self._index(path)
            except (
                DropscribeError,
                OSError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                RecursionError,
            ) as error:
                self._log.warning("index.behind", file=names.decode_name(PurePath(path)), reason=str(error))

    def _index(self, path: str) -> None:
        from dropscribe.library.index import Document

        file = self._settings.outbox / path
        stat = file.stat()
        with open_index(self._settings) as index:
            index.add(Document(path, stat.st_size, stat.st_mtime_ns, functools.partial(_load_file, file)))

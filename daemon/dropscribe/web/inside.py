"""Files inside one of our folders, and no other: opened, and sent in pieces.

Guarantees: no path leads out, by `..`, as an absolute path or through a symbolic link at any place; what is opened is
a regular file.
"""

from __future__ import annotations

import email.utils
import os
import re
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

PIECE = 1 << 18
"""Bytes that are read at once: some seconds of sound."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TYPES = {
    ".3gp": "audio/3gpp",
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".mka": "audio/x-matroska",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".qta": "video/quicktime",
    ".wav": "audio/wav",
    ".wave": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
}
"""What browsers play, by suffix. Python's own table depends on the machine."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading."""

    descriptor: int
    name: str
    size: int
    mtime_ns: int


def open_inside(root: Path, relative: PurePath) -> OpenFile:
    """Open a file of a folder.

    Raises: OSError, also for a path that leads out or through a link.
    """
    parts = relative.parts
    if not parts or relative.is_absolute() or any(part in {"", ".", ".."} for part in parts):
        raise FileNotFoundError(str(relative))
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as stack:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the folder itself may be behind a link
        stack.callback(os.close, folder)
        for part in parts[:-1]:
            folder = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            stack.callback(os.close, folder)
        descriptor = os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=folder)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(str(relative))
    return OpenFile(descriptor, parts[-1], found.st_size, found.st_mtime_ns)


def open_below(roots: list[Path], path: Path) -> OpenFile:
    """Open a file by its absolute path, which must lie in one of the folders. Raises: OSError."""
    for root in roots:
        if path.is_relative_to(root):
            return open_inside(root, path.relative_to(root))
    raise FileNotFoundError(str(path))


def send_file(file: OpenFile, headers: Mapping[str, str], *, save_as: str = "") -> Response:
    """Return the answer with a file, or with the part of it that a range asks for. The file is closed with it.

    Args:
        file: the file.
        headers: of the request, in lower case.
        save_as: a name for the browser to save it under; empty where it is to be played.
    """
    tag = f'"{file.mtime_ns:x}-{file.size:x}"'
    kind = _TYPES.get(PurePath(file.name).suffix.lower(), "application/octet-stream")
    answer = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "ETag": tag,
        "Last-Modified": email.utils.formatdate(file.mtime_ns / 1e9, usegmt=True),
    }
    if save_as:
        kind = "application/octet-stream"
        quoted = email.utils.encode_rfc2231(save_as, "utf-8")
        answer["Content-Disposition"] = f"attachment; filename*={quoted}"
    begin, end, status = 0, file.size, 200
    asked = headers.get("range", "")
    if asked and headers.get("if-range", tag) in {tag, answer["Last-Modified"]}:
        part = _read_range(asked, file.size)
        if part is None:
            os.close(file.descriptor)
            return Response(status_code=416, headers={"Content-Range": f"bytes */{file.size}"})
        if part != (0, file.size) or _RANGE.fullmatch(asked):
            begin, end = part
            status = 206
            answer["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
    answer["Content-Length"] = str(end - begin)
    return _FileAnswer(file.descriptor, begin, end, status, answer, kind)


class _FileAnswer(StreamingResponse):
    """A part of an open file, which is closed however the answer ends."""

    def __init__(
        self, descriptor: int, begin: int, end: int, status: int, headers: Mapping[str, str], kind: str
    ) -> None:
        super().__init__(_read(descriptor, begin, end), status, headers, kind)
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "HEAD":
                await Response(status_code=self.status_code, headers=dict(self.headers))(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


def _read_range(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last; None for none. What is no range known here asks for all."""
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or found.group() == "bytes=-":
        return 0, size
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    begin, end = int(first), min(int(last) + 1 if last else size, size)
    return (begin, end) if begin < end else None


async def _read(descriptor: int, begin: int, end: int) -> AsyncIterator[bytes]:
    while begin < end:
        piece = await anyio.to_thread.run_sync(os.pread, descriptor, min(PIECE, end - begin), begin)
        if not piece:  # it was cut meanwhile
            return
        begin += len(piece)
        yield piece

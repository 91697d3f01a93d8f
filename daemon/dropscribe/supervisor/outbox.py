"""Putting a set of outputs into the outbox.

Guarantees: a file is there whole or not at all, and on the disk before the call returns; the JSON comes last, so a
JSON means that its set is complete; a file that is not ours, or that a person has changed since, is never
overwritten: the new version goes beside it under a free name.

Accepted: between the look at an old file and the rename over it a person could still save it; the window is
microseconds wide.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dropscribe import crash, files

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILED = "_failed"
"""Folder in the outbox for the records of recordings that could not be transcribed."""
OLD = "_old"
"""Folder in the outbox for older versions of outputs."""
TEMPORARY = ".dropscribe-"
"""Prefix of files that are being written; one that a crash left behind may be removed."""
NAME_BYTES = 255
"""Longest file name on ext4, APFS, HFS+ and NTFS alike, in UTF-8 bytes."""
_ROOM = len(".whisperx.json") + len(" (999)")
"""Bytes kept free for the longest suffix and for the number of a file that goes beside another."""


@dataclass(frozen=True, slots=True)
class Published:
    """A file that was written, to be remembered."""

    path: str
    """Relative to the outbox."""
    sha256: str
    beside: str | None = None
    """The file of a person's that holds the name it should have had, relative to the outbox."""


def readable(name: str | PurePath) -> str:
    """Return a file's name as text that any encoder takes: names need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def fold(path: str | PurePath) -> str:
    """Return the form under which two paths are the same file on a case-insensitive, normalising disk."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def bases(recording: PurePath) -> list[str]:
    """Return the output names a recording may take, best first, relative to the outbox and without suffix.

    `talk.m4a` gives `talk`, then `talk.m4a`, then `talk.m4a (2)` and so on. Names too long for a disk are cut and
    end in a hash of the whole.
    """
    wanted = [recording.stem, recording.name, *(f"{recording.name} ({n})" for n in range(2, 100))]
    return [str(recording.parent / _fit(name)) for name in wanted]


def _fit(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) + _ROOM <= NAME_BYTES:
        return name
    mark = "~" + hashlib.sha256(encoded).hexdigest()[:12]
    cut = encoded[: NAME_BYTES - _ROOM - len(mark)].decode("utf-8", "ignore")
    return cut.rstrip() + mark


def publish(
    outbox: Path,
    base: str,
    contents: Mapping[str, str],
    known: Mapping[str, str],
) -> list[Published]:
    """Write a set of files `base.SUFFIX` and return what was written.

    Args:
        outbox: the folder, which must exist.
        base: name relative to it, without suffix.
        contents: text by suffix (`json`, `txt`, …); `json` is written last whatever the order.
        known: digest by relative path of files that we wrote: only those may be replaced, while they are as written.

    Raises: OSError when the disk is full, read-only, gone, …; files already written stay and are replaced next time.
    """
    done = []
    for suffix in sorted(contents, key=lambda s: s == "json"):
        name, text = f"{base}.{suffix}", contents[suffix].encode("utf-8", "replace")
        digest = hashlib.sha256(text).hexdigest()
        free = _free_name(outbox, base, suffix, digest, known)
        write(outbox, free, text)
        done.append(Published(free, digest, name if free != name else None))
    return done


def keep(outbox: Path, base: str, known: Mapping[str, str], mark: str) -> list[str]:
    """Copy a set of outputs to where older versions stay, and return which are there now, as they were named.

    `a/talk.txt` becomes `_old/a/talk MARK.txt`. Copied is what is still as we wrote it: what a person changed stays
    where it is, and the new version goes beside it. Done again after a crash it makes no second copy, for the new
    files that are there by then are not the known ones.

    Args:
        outbox: the folder.
        base: name of the set relative to it, without suffix.
        known: digest by relative path of the files of the set.
        mark: tells this version from others.

    Raises: OSError as `publish`.
    """
    kept = []
    old = PurePath(OLD) / PurePath(base).parent / _fit(f"{PurePath(base).name} {mark}")
    for path, digest in sorted(known.items(), key=lambda item: item[0].endswith(".json")):
        data = _unchanged(outbox / path, digest) if path.startswith(base) else None
        if data is not None:
            number, _, suffix = path.removeprefix(base).partition(".")
            write(outbox, _free_name(outbox, f"{old}{number}", suffix, digest, {}), data)
            kept.append(path)
    return kept


def remove(outbox: Path, known: Mapping[str, str]) -> None:
    """Remove those of our files that are still as we wrote them. Raises: OSError."""
    for path, digest in known.items():
        if _unchanged(outbox / path, digest) is not None:
            (outbox / path).unlink(missing_ok=True)


def _unchanged(path: Path, digest: str) -> bytes | None:
    """Return what a file of ours holds, or None when it is gone or another one now."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _free_name(outbox: Path, base: str, suffix: str, digest: str, known: Mapping[str, str]) -> str:
    for number in range(1, 1000):
        candidate = f"{base}.{suffix}" if number == 1 else f"{base} ({number}).{suffix}"
        try:
            if not stat.S_ISREG((outbox / candidate).lstat().st_mode):
                continue
            found = hashlib.sha256((outbox / candidate).read_bytes()).hexdigest()
        except FileNotFoundError:
            return candidate
        except PermissionError:  # it is somebody else's
            continue
        if found in {digest, known.get(candidate)}:
            return candidate
    msg = f"no free name beside {base}.{suffix}"
    raise FileExistsError(msg)


def write(outbox: Path, name: PurePath | str, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, and make its folders inside the outbox.

    Raises: OSError. An outbox that was taken away meanwhile is not made anew: the files would lie where its volume is
    mounted again.
    """
    path = outbox / name
    for folder in list(PurePath(name).parents)[-2::-1]:
        (outbox / folder).mkdir(exist_ok=True)
    files.write_atomically(path, data, prefix=TEMPORARY, reach=crash.reach)


def failure_path(recording: PurePath) -> str:
    """Return where the record of a failure goes, relative to the outbox."""
    return str(Path(FAILED) / recording.parent / (_fit(recording.name) + ".error.txt"))


_RECORD = """\
{name} could not be transcribed.

What happened: {reason}
Reason code:   {code}
Recording:     {source}
When:          {when}

The recording is untouched. It is tried again when it changes, or with:
    dropscribe retry {quoted}
"""


def failure_record(source: str, code: str, reason: str, when: str) -> str:
    """Return the text of the record of a failure; `source` is the recording's path as text."""
    name, quoted = PurePath(source).name, shlex.quote(source)
    return _RECORD.format(name=name, reason=reason, code=code, source=source, when=when, quoted=quoted)


def is_failure_record(source: str, text: str) -> bool:
    """Return whether a text is the record of a failure of this recording as we write it, whatever failed and when."""
    filler = {"code": "\0", "reason": "\0", "when": "\0"}
    pattern = re.escape(failure_record(source, **filler)).replace(re.escape("\0"), ".*")
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def sweep(outbox: Path) -> int:
    """Remove temporary files that a crash left behind, in the whole outbox; return how many."""
    count = 0
    for folder, _, names in os.walk(outbox):
        for name in names:
            if name.startswith(TEMPORARY) and name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118 (os.walk gives strings)
                    count += 1
    return count

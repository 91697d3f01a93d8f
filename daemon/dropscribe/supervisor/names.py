"""Names of files: as text, folded as a disk folds them, and those that outputs may have."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path, PurePath

from dropscribe.settings import FORMATS

NAME_BYTES = 255
"""Longest file name on ext4, APFS, HFS+ and NTFS alike, in UTF-8 bytes."""
_ROOM = max(len(f".{name}") for name in FORMATS) + len(" (999)")
"""Bytes kept free for the longest suffix of a format and for the number of a file whose name is
taken."""
FAILED = "_failed"
"""Folder in the outbox for the records of recordings that could not be transcribed."""
OLD = "_old"
"""Folder in the outbox for older versions of outputs."""


def decode_name(name: str | PurePath) -> str:
    """Return a file's name as text that any encoder takes: names need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def fold_case(path: str | PurePath) -> str:
    """Return the form under which two paths are the same file on a case-insensitive, normalising
    disk.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def list_bases(recording: PurePath, template: str = "{stem}", language: str = "") -> list[str]:
    """Return the output names a recording may take, best first, relative to the outbox and without
    suffix.

    `talk.m4a` gives `talk`, then `talk.m4a`, then `talk.m4a (2)` and so on. Names too long for a
    disk are cut and end in a hash of the whole.

    Args:
        recording: its path, relative to the inbox.
        template: the setting `names`.
        language: the code of the language of the text.
    """
    stems = [recording.stem, recording.name, *(f"{recording.name} ({n})" for n in range(2, 100))]
    whole = [recording.name, *stems[1:]]
    fields = [{"stem": stem, "name": name, "language": language} for stem, name in zip(stems, whole, strict=True)]
    wanted = dict.fromkeys(_fill_template(template, field) for field in fields)
    return [str(recording.parent / cut_name(name)) for name in wanted]


def _fill_template(template: str, fields: dict[str, str]) -> str:
    """Return a template with its fields; braces in what is filled in stay."""
    return re.sub(r"\{(\w+)\}", lambda found: fields[found[1]], template)


def cut_name(name: str) -> str:
    """Return a name that leaves room for suffixes: a long one is cut and ends in a hash of the
    whole.
    """
    encoded = os.fsencode(name)
    if len(encoded) + _ROOM <= NAME_BYTES:
        return name
    mark = "~" + hashlib.sha256(encoded).hexdigest()[:12]
    cut = encoded[: NAME_BYTES - _ROOM - len(mark)].decode("utf-8", "ignore")
    return cut.rstrip() + mark


def old_version_base(base: str, mark: str) -> PurePath:
    """Return the name, without suffix, of an older version of a set of outputs, relative to the
    outbox.
    """
    return PurePath(OLD) / PurePath(base).parent / cut_name(f"{PurePath(base).name} {mark}")


def failure_path(recording: PurePath) -> str:
    """Return where the record of a failure goes, relative to the outbox."""
    return str(Path(FAILED) / recording.parent / (cut_name(recording.name) + ".error.txt"))

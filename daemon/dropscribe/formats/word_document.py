"""A document for word processors (.docx), written by python-docx, which comes with the extra `docx`.

Guarantees: the same transcript gives the same bytes, so that the outbox knows its own file again;
text is text, never a field or a link.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePath
from typing import TYPE_CHECKING

from dropscribe.formats.text import split_paragraphs
from dropscribe.formats.times import format_clock
from dropscribe.formats.utterances import clean_text

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip archive can have, for each of its files."""


def render_docx(transcript: Transcript) -> bytes:
    """Return the paragraphs, each after its time and speaker, under the recording's name as the title.

    Raises: ImportError where python-docx is not installed.
    """
    import docx

    document = docx.Document()
    name = clean_text(transcript.source.name)
    document.add_heading(PurePath(name).stem or name, 0)
    for paragraph in split_paragraphs(transcript):
        written = document.add_paragraph()
        written.add_run(f"[{format_clock(paragraph.start)}] ").italic = True
        if paragraph.speaker:
            written.add_run(f"{paragraph.speaker}: ").bold = True
        written.add_run(paragraph.text)
    facts = document.core_properties
    facts.title, facts.author, facts.comments, facts.language = name[:255], "Dropscribe", "", transcript.language
    made = io.BytesIO()
    document.save(made)
    return _fix_dates(made)


def _fix_dates(archive: io.BytesIO) -> bytes:
    """Return an archive whose files all have one date."""
    fixed = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(zipfile.ZipInfo(item.filename, _EPOCH), old.read(item), zipfile.ZIP_DEFLATED)
    return fixed.getvalue()

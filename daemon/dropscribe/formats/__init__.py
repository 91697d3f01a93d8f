"""The forms a transcript is written in: each is a pure function from a `Transcript` to text.

Guarantees: no format can fail on any text or any finite times; nothing a speaker says can break a file's syntax; no
word is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.formats.annotation import eaf, textgrid
from dropscribe.formats.data import cpp_json, csv_table, podcast_json, tsv_table, whisperx_json
from dropscribe.formats.html import html
from dropscribe.formats.lyrics import lrc
from dropscribe.formats.subtitles import srt, vtt
from dropscribe.formats.text import md, times_txt, txt
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RENDERERS: Mapping[str, Callable[[Transcript], str]] = {
    "txt": txt,
    "times.txt": times_txt,
    "md": md,
    "html": html,
    "srt": srt,
    "vtt": vtt,
    "lrc": lrc,
    "csv": csv_table,
    "tsv": tsv_table,
    "whisperx.json": whisperx_json,
    "cpp.json": cpp_json,
    "podcast.json": podcast_json,
    "TextGrid": textgrid,
    "eaf": eaf,
    "json": Transcript.to_json,
}
"""Name of the format, which is also what is put after the base name and a dot, and its function.

JSON is last: its file completes the set. Every other can be made from it.
"""

"""The formats a transcript is written in: each is a pure function from a `Transcript` to text.

Guarantees: no format can fail on any text or any finite times; nothing a speaker says can break a
file's syntax; no word is lost.

To add a format, write such a function in a module of this package, and enter it in these places:

- `RENDERERS` below (`BINARY_RENDERERS` where it is no text), and `settings.FORMATS`, in the same
  order: from these the settings, profiles, the command line and the outbox take it, and the tests
  that hold the guarantees run over it;
- `config/default.toml`, which is made from the settings, and the table of formats in
  `config/README.md`: tests compare both;
- a parser that is not ours in the extra `test` of `pyproject.toml`, and a test that reads the
  format with it;
- `CHANGELOG.md`; and `.github/SECURITY.md` where what a speaker says could be read as syntax.

Most functions begin with one of these:

- `utterances.split_utterances`: what was said, by segment and speaker, as clean text and as words
  with times;
- `cues.make_cues`: the same cut into lines and cues that read well on a screen;
- `review.list_passages`: the passages that a person should listen to again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.formats.annotation import render_eaf, render_textgrid
from dropscribe.formats.data import (
    render_cpp_json,
    render_csv,
    render_podcast_json,
    render_tsv,
    render_whisperx_json,
)
from dropscribe.formats.lyrics import render_lrc
from dropscribe.formats.page import render_html
from dropscribe.formats.rttm import render_rttm
from dropscribe.formats.subtitles import render_ass, render_srt, render_vtt
from dropscribe.formats.text import render_lines_txt, render_markdown, render_times_txt, render_txt
from dropscribe.formats.word_document import render_docx
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RENDERERS: Mapping[str, Callable[[Transcript], str]] = {
    "txt": render_txt,
    "times.txt": render_times_txt,
    "lines.txt": render_lines_txt,
    "md": render_markdown,
    "html": render_html,
    "srt": render_srt,
    "vtt": render_vtt,
    "ass": render_ass,
    "lrc": render_lrc,
    "csv": render_csv,
    "tsv": render_tsv,
    "whisperx.json": render_whisperx_json,
    "cpp.json": render_cpp_json,
    "podcast.json": render_podcast_json,
    "TextGrid": render_textgrid,
    "eaf": render_eaf,
    "rttm": render_rttm,
    "json": Transcript.to_json,
}
"""Name of the format, which is also the suffix of its files, and its function.

JSON is last: its file completes the set. Every other can be made from it.
"""
BINARY_RENDERERS: Mapping[str, Callable[[Transcript], bytes]] = {"docx": render_docx}
"""The same for formats that are no text."""


def render(name: str, transcript: Transcript, *, srt_speakers: bool = True) -> bytes:
    """Return a transcript in one format of either kind; `srt_speakers` is the setting.

    Raises: ImportError where the library of the format is not installed.
    """
    if name in BINARY_RENDERERS:
        return BINARY_RENDERERS[name](transcript)
    text = RENDERERS[name](transcript) if name != "srt" else render_srt(transcript, labelled=srt_speakers)
    return text.encode("utf-8", "replace")

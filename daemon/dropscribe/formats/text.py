"""Text to read: paragraphs, with or without times, and Markdown.

Guarantees: nothing a speaker says becomes a heading, a link, a tag or a field of the front matter.
Markdown: CommonMark 0.31; the front matter is YAML 1.1 and 1.2 alike; `#t=SECONDS` is W3C "Media
Fragments URI 1.0".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from dropscribe.formats.line_breaking import SENTENCE_ENDS
from dropscribe.formats.passages import PassageIndex
from dropscribe.formats.review import list_passages
from dropscribe.formats.times import accept_date, accept_datetime, format_clock
from dropscribe.formats.utterances import clean_text, join_texts, split_utterances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.transcript import Transcript

PARAGRAPH_PAUSE = 2.0
"""Seconds of silence that begin a new paragraph."""
LONG = 600
"""Characters after which a paragraph ends with the next sentence: some people never pause."""

_MARKUP = re.compile(r"[\\`*_\[\]<>&~$|!]")
"""What means something in the middle of a line of Markdown (or of its usual extensions)."""


_CLOSING = "\"'\u201d\u2019\u00bb\u203a)]}\u300d\u300f\uff09"
"""What may stand behind the mark that ends a sentence."""
_GUESSED = {"name": '"file name"', "mtime": '"last change of the file"'}
"""What the front matter says of a date that the recording itself does not carry."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text that stands together."""

    text: str
    start: float
    speaker: str | None


def render_txt(transcript: Transcript) -> str:
    """Return the text in paragraphs: `PARAGRAPH_PAUSE`, another speaker or language, or `LONG`
    begins a new one.
    """
    return "\n\n".join(_write_paragraph(p) for p in split_paragraphs(transcript)) + "\n"


def render_times_txt(transcript: Transcript) -> str:
    """Return the same paragraphs, each after the time it begins at: `[00:01:23] …`."""
    return (
        "\n\n".join(f"[{format_clock(p.start)}] {_write_paragraph(p)}" for p in split_paragraphs(transcript)) + "\n"
    )


def render_lines_txt(transcript: Transcript) -> str:
    """Return a sentence a line, whatever pauses are in it; another speaker begins a new line.

    A segment ends with a sentence or at a pause, so one that ends with no mark goes on in the next.
    """
    lines: list[str] = []
    who: tuple[str | None, str | None] = (None, None)
    for said in split_utterances(transcript):
        before = lines[-1].rstrip(_CLOSING) if lines else ""
        is_over = before[-1:] in SENTENCE_ENDS or len(before) >= LONG or said.begins is not None
        if lines and before and not is_over and (said.speaker, said.language) == who:
            lines[-1] = join_texts(lines[-1], said.text)
        else:
            named = said.speaker if said.speaker and said.speaker != who[0] else None
            lines.append(f"{named}: {said.text}" if named else said.text)
        who = (said.speaker, said.language)
    return "\n".join(lines) + "\n"


def render_markdown(transcript: Transcript) -> str:
    """Return Markdown with YAML front matter; the time before each paragraph links into the
    recording next to it.
    """
    name = transcript.source.name
    recorded = transcript.source.recorded_at
    known = accept_datetime(recorded) or accept_date(recorded)
    several = dict.fromkeys([transcript.language, *(s.language for s in transcript.segments if s.language)])
    fields = {
        "title": _quote_yaml(PurePath(name).stem or name),
        "date": None if recorded is None else known or _quote_yaml(recorded),
        "date_from": _GUESSED.get(transcript.source.recorded_from or ""),
        "source": _quote_yaml(name),
        "duration": _quote_yaml(format_clock(transcript.duration)),
        "language": _quote_yaml(transcript.language),
        "languages": f"[{', '.join(map(_quote_yaml, several))}]" if len(several) > 1 else None,
        "model": _quote_yaml(transcript.engine.model),
    }
    front = "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)
    # With `safe` empty a name such as `a:b.m4a` is no scheme and `100%.m4a` no escape.
    link = quote(name.encode("utf-8", "replace"), safe="")
    body = "".join(
        f"\n[{format_clock(p.start)}]({link}#t={max(0, int(p.start))})"
        f"{f' **{escape_markdown(p.speaker)}:**' if p.speaker else ''} {escape_markdown(p.text)}\n"
        for p in split_paragraphs(transcript)
    )
    return f"---\n{front}---\n{body}{_list_review(transcript, link)}"


def _list_review(transcript: Transcript, link: str) -> str:
    """Return the passages to listen to again as a numbered list, the worst first, or nothing."""
    passages = list_passages(transcript)
    if not passages:
        return ""
    spoken = (
        (" " if token.spaced or not i else "", token)
        for u in split_utterances(transcript)
        for i, token in enumerate(u.tokens)
    )
    words = PassageIndex(passages).quote(spoken)
    lines = ["\n## Where to listen again\n\n"]
    for i, passage in enumerate(passages):
        # Whole seconds around it: every player of media fragments reads those.
        place = f"{link}#t={int(passage.start)},{math.ceil(passage.end)}"
        said = f' "{escape_markdown(words[i])}"' if i in words else ""
        lines.append(
            f"{i + 1}. [{format_clock(passage.start)}]({place}){said} {escape_markdown(clean_text(passage.why))}\n"
        )
    return "".join(lines)


def _write_paragraph(paragraph: Paragraph) -> str:
    return f"{paragraph.speaker}: {paragraph.text}" if paragraph.speaker else paragraph.text


def split_paragraphs(transcript: Transcript) -> Iterator[Paragraph]:
    """Yield the text in paragraphs, in order; see `render_txt`."""
    text, start, end = "", 0.0, 0.0
    who: tuple[str | None, str | None] = (None, None)
    for said in split_utterances(transcript):
        full = len(text) >= LONG and text[-1:] in SENTENCE_ENDS
        goes_on = (said.speaker, said.language) == who and said.begins != "paragraph"
        if text and goes_on and said.begins:  # to say so takes a while: it is no pause
            text = f"{text}\n{said.text}"
        elif text and goes_on and not full and said.start - end < PARAGRAPH_PAUSE:
            text = join_texts(text, said.text)
        else:
            if text:
                yield Paragraph(text, start, who[0])
            text, start, who = said.text, said.start, (said.speaker, said.language)
        end = said.end
    if text:
        yield Paragraph(text, start, who[0])


def escape_markdown(text: str) -> str:
    """Return a clean text as the middle of a line of Markdown."""
    # A paragraph begins with a link and is one line, so nothing in it can begin a heading, a list
    # or a rule; a line of its own begins behind a hard break, with a space that cannot be seen.
    return _MARKUP.sub(r"\\\g<0>", text).replace("\n", "\\\n\u200b")


def _quote_yaml(text: str) -> str:
    """Return a double-quoted scalar. Every character that is not plainly printable is escaped:
    YAML allows few.
    """
    escaped = (c if c.isprintable() and c not in '"\\' else _escape_yaml(c) for c in text)
    return f'"{"".join(escaped)}"'


def _escape_yaml(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    if 0xD800 <= code < 0xE000:  # a name that is no UTF-8: a lone surrogate cannot be written
        return "\ufffd"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

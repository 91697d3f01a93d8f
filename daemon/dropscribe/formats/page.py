"""One page (.html) that plays the recording next to its words.

Guarantees: one file, no server, no network: the policy in its head refuses everything but the
page's own script and style (by their digests) and sound from the same place, from `file:` or
chosen by hand. Nothing that a speaker says, and no file name, becomes markup or script. Without
scripts the text is there to read; without the recording everything but playing works. Every word
of every segment is in the page, once.

The text is plain text in paragraphs. The words' places and times are given next to it as numbers,
and the script lights words by painting over the text: three hours are some thousand elements, not
thirty thousand (`page.js`).

The recording is in the inbox and the page in the outbox. So the page looks for it next to itself,
then where the inbox and the archive are when the folders have their usual names, then at the
absolute path that `dropscribe transcribe` knows; else the reader chooses it or drops it onto the
page.

The server (`dropscribe.web`) shows the same page, with its own script and style as files of its own
and the recording at an address of its own: `Served`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import string
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dropscribe.formats.line_breaking import SENTENCE_ENDS
from dropscribe.formats.passages import PassageIndex
from dropscribe.formats.review import list_passages
from dropscribe.formats.text import LONG, PARAGRAPH_PAUSE
from dropscribe.formats.utterances import clean_text, needs_no_space, split_utterances
from dropscribe.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.formats.utterances import Token
    from dropscribe.transcript import Passage, Transcript

TOO_LONG = 1200
"""Characters after which a paragraph ends with the next segment, sentence or not."""
FOLDERS = ("Inbox", "Archive")
"""Names, as set by default, of the folders next to the outbox in which the recording may be."""

COLOURS = 8
"""Colours of speakers in `page.css`; with more people they come again."""

_LANGUAGE = re.compile("[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """What one person says without a break."""

    speaker: str | None
    language: str | None
    tokens: list[tuple[str, Token]]
    """The words, each with the space before it or nothing. At least one."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a page has that a server shows: its policy is in the server's own header."""

    sound: str
    """Address of the recording."""
    top: str
    """Markup before the heading."""
    style: str
    """Markup at the end of the head: links to the style."""
    script: str
    """Markup at the end of the body: links to the scripts."""


def render_html(transcript: Transcript, served: Served | None = None) -> str:
    """Return the page: one file, or what a server shows."""
    passages = list_passages(transcript)
    paragraphs = _split_paragraphs(transcript)
    marks = PassageIndex(passages)
    voices = _list_voices(transcript, paragraphs)
    style, script = read_resource("page.css"), read_resource("page.js")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_write_policy(style, script)}">\n'
    return string.Template(read_resource("page.html")).substitute(
        policy="" if served else policy,
        top=served.top if served else "",
        style=served.style if served else f"<style>{style}</style>",
        script=served.script if served else f"<script>{script}</script>",
        generator=_escape("Dropscribe " + transcript.engine.versions.get("dropscribe", "")),
        title=_escape(transcript.source.name),
        facts=_write_facts(transcript),
        lang=_write_lang(transcript.language),
        text="\n".join(
            _write_paragraph(p, before, marks, voices)
            for before, p in zip([None, *paragraphs], paragraphs, strict=False)
        )
        or '<p class="empty">No words.</p>',
        speakers=_write_speakers(transcript, voices),
        review=_write_review(passages, paragraphs, marks),
        data=_write_data(transcript, passages, paragraphs, None if served is None else served.sound),
    )


def list_paragraphs(transcript: Transcript) -> list[list[Word]]:
    """Return the words of each paragraph of the page, each with the space before it."""
    return [
        [Word(space + token.text, token.start, token.end) for space, token in paragraph.tokens]
        for paragraph in _split_paragraphs(transcript)
    ]


@functools.cache
def read_resource(name: str) -> str:
    """Return `page.css`, `page.js` or `page.html`."""
    return files("dropscribe.formats").joinpath(name).read_text("utf-8")


def _write_policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy. `file:` counts only where the page itself was opened
    from a disk.
    """

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return "; ".join([
        "default-src 'none'",
        f"script-src {digest(script)}",
        f"style-src {digest(style)}",
        "media-src 'self' file: blob:",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ])  # fmt: skip


def _write_lang(language: str | None) -> str:
    return f' lang="{language}"' if language and _LANGUAGE.fullmatch(language) else ""


def _escape(text: str) -> str:
    return escape(clean_text(text))


def _split_paragraphs(transcript: Transcript) -> list[_Paragraph]:
    """Return the words in paragraphs: by speaker, by pause, and so that none grows too long."""
    found: list[_Paragraph] = []
    length, end, last = 0, 0.0, ""
    for said in split_utterances(transcript):
        new = (
            not found
            or (said.speaker, said.language) != (found[-1].speaker, found[-1].language)
            or said.start - end >= PARAGRAPH_PAUSE
            or length >= (LONG if last[-1:] in SENTENCE_ENDS else TOO_LONG)
        )
        if new:
            found.append(_Paragraph(said.speaker, said.language, []))
            length = 0
        # Between two segments there is a space where the writing system has any.
        lead = "" if new or needs_no_space(last[-1:], said.text[:1]) else " "
        found[-1].tokens.extend((" " * token.spaced if i else lead, token) for i, token in enumerate(said.tokens))
        length, end, last = length + len(said.text) + 1, said.end, said.text
    return found


def _list_voices(transcript: Transcript, paragraphs: Sequence[_Paragraph]) -> dict[str, int]:
    """Return the number of each speaker who says a word, in the order in which they first speak."""
    spoken = dict.fromkeys(p.speaker for p in paragraphs if p.speaker)
    known = [speaker.name for speaker in transcript.speakers or () if speaker.name in spoken]
    return {name: number for number, name in enumerate(dict.fromkeys([*known, *spoken]))}


def _write_speakers(transcript: Transcript, voices: dict[str, int]) -> str:
    """Return the list of speakers, each with a button that shows this one's words alone and one for another name.

    The script shows it: without, it can do nothing.
    """
    if not voices:
        return ""
    facts = {speaker.name: speaker for speaker in transcript.speakers or ()}
    items = []
    for name, number in voices.items():
        known, share, hint = facts.get(name), "", "Show this speaker alone"
        if known is not None:
            share = f' <span class="share">{known.share:.0%}</span>'
            hint += f"; sure to {known.confidence:.0%}"
            if known.voice is not None and not known.voice.certain:
                hint += f"; sounds somewhat like {known.voice.name}"
        shown = _escape(name)
        items.append(
            f'<div data-voice="{number % COLOURS}" data-speaker="{shown}">'
            f'<button type="button" class="who" aria-pressed="false" title="{_escape(hint)}">'
            f'<span class="name" dir="auto">{shown}</span>{share}</button>'
            f'<button type="button" class="rename" aria-label="Rename {shown}" title="Another name">✎</button></div>'
        )
    return f'<div id="speakers" role="group" aria-label="Speakers" hidden>{"".join(items)}</div>'


def _write_paragraph(
    paragraph: _Paragraph, before: _Paragraph | None, marks: PassageIndex, voices: dict[str, int]
) -> str:
    """Return a paragraph; its speaker is named where it is not the one before."""
    who = paragraph.speaker
    name = (
        f'<p class="speaker" dir="auto">{_escape(who)}</p>' if who and not (before and before.speaker == who) else ""
    )
    data = f' data-speaker="{_escape(who)}" data-voice="{voices[who] % COLOURS}"' if who else ""
    pieces = []
    for which, group in groupby(paragraph.tokens, key=lambda pair: marks.find(pair[1])):
        text = escape("".join(space + token.text for space, token in group))
        if which is None:
            pieces.append(text)
        else:
            lead = " " if text.startswith(" ") else ""  # the space before a passage is not of it
            why = _escape(marks.passages[which].why)
            pieces.append(f'{lead}<mark data-passage="{which}" title="{why}">{text.removeprefix(" ")}</mark>')
    shown = format_length(paragraph.tokens[0][1].start)
    return (
        f'<section class="part"{data}>{name}'
        f'<button type="button" class="at" aria-label="Play from {shown}">{shown}</button>'
        f'<p class="line" dir="auto"{_write_lang(paragraph.language)}><span>{"".join(pieces)}</span></p></section>'
    )


def _write_review(passages: Sequence[Passage], paragraphs: Sequence[_Paragraph], marks: PassageIndex) -> str:
    if not passages:
        return '<p class="none">No passage is doubtful by what the model says of itself.</p>'
    spoken = ((space if i else " ", token) for p in paragraphs for i, (space, token) in enumerate(p.tokens))
    words = marks.quote(spoken)
    items = []
    for i, passage in enumerate(passages):
        quoted = words.get(i)
        said = f'<span class="words" dir="auto">{escape(quoted)}</span>' if quoted else ""
        items.append(
            f'<li data-passage="{i}"><button type="button"><span class="when">{format_length(passage.start)}</span> '
            f'{said}<span class="why">{_escape(passage.why)}</span></button></li>'
        )
    return (
        f"<details open><summary>Where to listen again ({len(passages)})</summary>"
        f'<ol aria-label="Doubtful passages, the worst first">{"".join(items)}</ol></details>'
    )


def _write_facts(transcript: Transcript) -> str:
    recorded = (transcript.source.recorded_at or "")[:16].replace("T", " ")
    if transcript.source.recorded_from == "mtime":
        recorded = f"recorded {recorded} or before"
    engine = transcript.engine
    facts = [
        recorded,
        format_length(transcript.duration),
        f"language {transcript.language}",
        f"transcribed by {PurePosixPath(engine.model).name or engine.model} ({engine.backend})",
    ]
    shown = [_escape(fact) for fact in facts if fact]
    notices = [f"<br>{_escape(notice.detail)}" for notice in transcript.warnings]
    return " · ".join(shown) + "".join(notices)


def _write_data(
    transcript: Transcript, passages: Sequence[Passage], paragraphs: Sequence[_Paragraph], sound: str | None
) -> str:
    """Return what the script works on, as JSON that is safe in a script element.

    `words`: for each paragraph four integers a word: characters (UTF-16) to skip and to take,
    milliseconds since the start of the word before it in the page, milliseconds it lasts.
    """
    rows = []
    clock = 0
    for paragraph in paragraphs:
        row = []
        for space, token in paragraph.tokens:
            start = round(token.start * 1000)
            lasts = max(round(token.end * 1000) - start, 0)
            row += [len(space), len(token.text.encode("utf-16-le")) // 2, start - clock, lasts]
            clock = start
        rows.append(row)
    data: dict[str, Any] = {
        "name": clean_text(transcript.source.name),
        "bytes": transcript.source.bytes,
        "duration": transcript.duration,
        "file": "" if PurePosixPath(transcript.source.path).is_absolute() else clean_text(transcript.source.path),
        "places": [sound]
        if sound
        else list(dict.fromkeys(_list_places(transcript.source.name, transcript.source.path))),
        "passages": [[round(p.start, 3), round(p.end, 3)] for p in passages],
        "words": rows,
    }
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _list_places(name: str, path: str) -> Iterator[str]:
    """Yield the addresses at which the recording may be, seen from the page."""
    yield _escape_address(name)
    place = PurePosixPath(path)
    if place.is_absolute():
        yield "file://" + "/".join(_escape_address(part) for part in str(place).split("/"))
    elif ".." not in place.parts and place.parts:
        for folder in FOLDERS:
            yield "/".join([*[".."] * len(place.parts), folder, *map(_escape_address, place.parts)])


def _escape_address(name: str) -> str:
    try:
        raw = name.encode("utf-8", "surrogateescape")  # the bytes of a file name that is no text
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "replace")
    return quote(raw, safe="")


def format_length(seconds: float) -> str:
    """Return a time as people write it, cut to the second: `1:02:03`, `2:03`."""
    whole = int(max(seconds, 0.0))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"

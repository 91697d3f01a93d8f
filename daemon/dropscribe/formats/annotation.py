"""Annotations for linguists: Praat TextGrid and the ELAN annotation format (EAF 3.0).

Guarantees: both open without an import dialogue; each speaker has a tier of utterances and one of
words; intervals of a tier are in order, at least 1 ms long and never overlap, as both programs
demand. Times that overlap within a tier are moved for that by as little as it takes; everything
else keeps its time, to the millisecond.

TextGrid: "TextGrid file formats" in Praat's manual, full text format. EAF: the schema EAFv3.0.xsd
of the Max Planck Institute for Psycholinguistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from dropscribe.formats.times import accept_datetime, to_milliseconds
from dropscribe.formats.utterances import split_utterances

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.formats.utterances import Utterance
    from dropscribe.transcript import Transcript


@dataclass(slots=True)
class _Interval:
    """Milliseconds, at least one."""

    start: int
    end: int
    text: str
    words: list[_Interval]


def render_textgrid(transcript: Transcript) -> str:
    """Return a TextGrid in Praat's full text format; times in seconds with at most three decimals."""
    voices = list(_list_voices(transcript))
    end = max([to_milliseconds(transcript.duration), 1, *(i.end for _, intervals in voices for i in intervals)])
    tiers = []
    for name, intervals in voices or [("", [])]:
        tiers.append((name or "utterances", intervals))
        tiers.append((f"{name} words".strip(), [word for interval in intervals for word in interval.words]))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0 ",
        f"xmax = {_format_seconds(end)} ",
        "tiers? <exists> ",
        f"size = {len(tiers)} ",
        "item []: ",
    ]
    for number, (name, intervals) in enumerate(tiers, 1):
        filled = list(_fill_gaps(intervals, end))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier" ',
            f"        name = {_quote_praat(name)} ",
            "        xmin = 0 ",
            f"        xmax = {_format_seconds(end)} ",
            f"        intervals: size = {len(filled)} ",
        ]
        for place, interval in enumerate(filled, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {_format_seconds(interval.start)} ",
                f"            xmax = {_format_seconds(interval.end)} ",
                f"            text = {_quote_praat(interval.text)} ",
            ]
    return "\n".join(lines) + "\n"


def render_eaf(transcript: Transcript) -> str:
    """Return an ELAN document that plays the recording next to it; the words' tier is included in
    the utterances'.
    """
    slots: list[str] = []
    tiers: list[str] = []
    count = 0

    def write_annotation(interval: _Interval) -> str:
        nonlocal count
        count += 1
        for time in (interval.start, interval.end):
            slots.append(f'        <TIME_SLOT TIME_SLOT_ID="ts{len(slots) + 1}" TIME_VALUE="{time}"/>\n')
        return (
            f'        <ANNOTATION>\n            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}"'
            f' TIME_SLOT_REF1="ts{len(slots) - 1}" TIME_SLOT_REF2="ts{len(slots)}">\n'
            f"                <ANNOTATION_VALUE>{escape(interval.text)}</ANNOTATION_VALUE>\n"
            "            </ALIGNABLE_ANNOTATION>\n        </ANNOTATION>\n"
        )

    for name, intervals in list(_list_voices(transcript)) or [("", [])]:
        title, words = name or "utterances", f"{name} words".strip()
        participant = f" PARTICIPANT={quoteattr(name)}" if name else ""
        upper = "".join(map(write_annotation, intervals))
        lower = "".join(write_annotation(word) for interval in intervals for word in interval.words)
        tiers.append(
            f'    <TIER LINGUISTIC_TYPE_REF="utterance"{participant} TIER_ID={quoteattr(title)}>\n'
            f"{upper}    </TIER>\n"
        )
        tiers.append(
            f'    <TIER LINGUISTIC_TYPE_REF="word" PARENT_REF={quoteattr(title)}{participant}'
            f" TIER_ID={quoteattr(words)}>\n{lower}    </TIER>\n"
        )
    # The schema demands a date; the epoch means "not known".
    date = accept_datetime(transcript.source.recorded_at) or "1970-01-01T00:00:00Z"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ANNOTATION_DOCUMENT AUTHOR="" DATE="{date}" FORMAT="3.0" VERSION="3.0"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        f"{_write_header(transcript, count)}"
        f"    <TIME_ORDER>\n{''.join(slots)}    </TIME_ORDER>\n"
        f"{''.join(tiers)}"
        '    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="utterance" TIME_ALIGNABLE="true"/>\n'
        '    <LINGUISTIC_TYPE CONSTRAINTS="Included_In" GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="word"'
        ' TIME_ALIGNABLE="true"/>\n'
        "    <CONSTRAINT DESCRIPTION=\"Time alignable annotations within the parent annotation's time interval,"
        ' gaps are allowed" STEREOTYPE="Included_In"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    )


_MIME = {
    "wav": "audio/x-wav",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/*",
    "webm": "video/*",
}
"""ELAN's own names for what it plays; the rest is `audio/*`."""


def _write_header(transcript: Transcript, annotations: int) -> str:
    source = transcript.source
    relative = "./" + quote(source.name.encode("utf-8", "replace"), safe="")
    path = Path(source.path)
    # ELAN looks next to the document when the first address leads nowhere.
    address = path.as_uri() if path.is_absolute() else relative
    mime = _MIME.get(PurePath(source.name).suffix[1:].lower(), "audio/*")
    return (
        '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f"        <MEDIA_DESCRIPTOR MEDIA_URL={quoteattr(address)} MIME_TYPE={quoteattr(mime)}"
        f" RELATIVE_MEDIA_URL={quoteattr(relative)}/>\n"
        f'        <PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>\n'
        "    </HEADER>\n"
    )


def _list_voices(transcript: Transcript) -> Iterator[tuple[str, list[_Interval]]]:
    """Yield each speaker's name, unique and safe as a tier's, and what they said; an unknown one's
    name is empty.
    """
    spoken: dict[str | None, list[Utterance]] = {}
    for said in split_utterances(transcript):
        spoken.setdefault(said.speaker, []).append(said)
    # ELAN wants unique names, and the tiers of words take some as well.
    taken: set[str] = {"words", "utterances"} if None in spoken else set()
    for speaker, utterances in spoken.items():
        base = name = speaker or ""
        number = 1
        while {name, f"{name} words"} & taken and (name or number > 1):
            number += 1
            name = f"{base} ({number})".strip()
        taken |= {name, f"{name} words"}
        yield name, _arrange(utterances)


def _arrange(utterances: Sequence[Utterance]) -> list[_Interval]:
    """Return what one person said as intervals that follow one another, with room for each word of
    1 ms at least.
    """
    arranged: list[_Interval] = []
    for said, following in zip(utterances, [*utterances[1:], None], strict=True):
        start = max(to_milliseconds(said.start), arranged[-1].end if arranged else 0)
        least = start + len(said.tokens)
        end = max(to_milliseconds(said.end), least)
        if following is not None:
            end = max(least, min(end, max(to_milliseconds(following.start), start)))
        words: list[_Interval] = []
        for place, token in enumerate(said.tokens):
            left = len(said.tokens) - place - 1
            begins = max(min(to_milliseconds(token.start), end - left - 1), words[-1].end if words else start)
            ends = max(begins + 1, min(to_milliseconds(token.end), end - left))
            if left:
                ends = max(begins + 1, min(ends, to_milliseconds(said.tokens[place + 1].start)))
            words.append(_Interval(begins, ends, token.text, []))
        arranged.append(_Interval(start, end, said.text, words))
    return arranged


def _fill_gaps(intervals: Sequence[_Interval], end: int) -> Iterator[_Interval]:
    """Yield the intervals with empty ones between them, from 0 to the end without a gap."""
    at = 0
    for interval in intervals:
        if interval.start > at:
            yield _Interval(at, interval.start, "", [])
        yield interval
        at = interval.end
    if at < end:
        yield _Interval(at, end, "", [])


def _format_seconds(time: int) -> str:
    whole, rest = divmod(time, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def _quote_praat(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'

"""Annotations for linguists: Praat TextGrid and the ELAN annotation format (EAF 3.0).

Guarantees: both open without an import dialogue; each speaker has a tier of utterances and one of words; intervals
of a tier are in order, at least 1 ms long and never overlap, as both programs demand. Times that overlap within a
tier are moved for that by as little as it takes; everything else keeps its time, to the millisecond.

TextGrid: "TextGrid file formats" in Praat's manual, full text format. EAF: the schema EAFv3.0.xsd of the Max Planck
Institute for Psycholinguistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from dropscribe.formats.spoken import dated, milliseconds, utterances

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropscribe.formats.spoken import Utterance
    from dropscribe.transcript import Transcript


@dataclass(slots=True)
class _Interval:
    """Milliseconds, at least one."""

    start: int
    end: int
    text: str
    words: list[_Interval]


def textgrid(transcript: Transcript) -> str:
    """Return a TextGrid in Praat's full text format; times in seconds with at most three decimals."""
    voices = list(_voices(transcript))
    end = max([milliseconds(transcript.duration), 1, *(i.end for _, laid in voices for i in laid)])
    tiers = []
    for name, laid in voices or [("", [])]:
        tiers.append((name or "utterances", laid))
        tiers.append((f"{name} words".strip(), [word for interval in laid for word in interval.words]))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0 ",
        f"xmax = {_seconds(end)} ",
        "tiers? <exists> ",
        f"size = {len(tiers)} ",
        "item []: ",
    ]
    for number, (name, laid) in enumerate(tiers, 1):
        filled = list(_filled(laid, end))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier" ',
            f"        name = {_praat(name)} ",
            "        xmin = 0 ",
            f"        xmax = {_seconds(end)} ",
            f"        intervals: size = {len(filled)} ",
        ]
        for place, interval in enumerate(filled, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {_seconds(interval.start)} ",
                f"            xmax = {_seconds(interval.end)} ",
                f"            text = {_praat(interval.text)} ",
            ]
    return "\n".join(lines) + "\n"


def eaf(transcript: Transcript) -> str:
    """Return an ELAN document that plays the recording beside it; the words' tier lies within the utterances'."""
    slots: list[str] = []
    tiers: list[str] = []
    count = 0

    def annotation(interval: _Interval) -> str:
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

    for name, laid in list(_voices(transcript)) or [("", [])]:
        title, words = name or "utterances", f"{name} words".strip()
        participant = f" PARTICIPANT={quoteattr(name)}" if name else ""
        upper = "".join(map(annotation, laid))
        lower = "".join(annotation(word) for interval in laid for word in interval.words)
        tiers.append(
            f'    <TIER LINGUISTIC_TYPE_REF="utterance"{participant} TIER_ID={quoteattr(title)}>\n'
            f"{upper}    </TIER>\n"
        )
        tiers.append(
            f'    <TIER LINGUISTIC_TYPE_REF="word" PARENT_REF={quoteattr(title)}{participant}'
            f" TIER_ID={quoteattr(words)}>\n{lower}    </TIER>\n"
        )
    # The schema demands a date; the epoch stands for "not known".
    date = dated(transcript.source.recorded_at) or "1970-01-01T00:00:00Z"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ANNOTATION_DOCUMENT AUTHOR="" DATE="{date}" FORMAT="3.0" VERSION="3.0"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        f"{_header(transcript, count)}"
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


def _header(transcript: Transcript, annotations: int) -> str:
    source = transcript.source
    relative = "./" + quote(source.name.encode("utf-8", "replace"), safe="")
    path = Path(source.path)
    # ELAN looks beside the document when the first address leads nowhere.
    address = path.as_uri() if path.is_absolute() else relative
    mime = _MIME.get(PurePath(source.name).suffix[1:].lower(), "audio/*")
    return (
        '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f"        <MEDIA_DESCRIPTOR MEDIA_URL={quoteattr(address)} MIME_TYPE={quoteattr(mime)}"
        f" RELATIVE_MEDIA_URL={quoteattr(relative)}/>\n"
        f'        <PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>\n'
        "    </HEADER>\n"
    )


def _voices(transcript: Transcript) -> Iterator[tuple[str, list[_Interval]]]:
    """Yield each speaker's name, unique and safe as a tier's, and what they said; an unknown one's name is empty."""
    spoken: dict[str | None, list[Utterance]] = {}
    for said in utterances(transcript):
        spoken.setdefault(said.speaker, []).append(said)
    # ELAN wants unique names, and the tiers of words take some as well.
    taken: set[str] = {"words", "utterances"} if None in spoken else set()
    for speaker, told in spoken.items():
        base = name = speaker or ""
        number = 1
        while {name, f"{name} words"} & taken and (name or number > 1):
            number += 1
            name = f"{base} ({number})".strip()
        taken |= {name, f"{name} words"}
        yield name, _laid(told)


def _laid(told: Sequence[Utterance]) -> list[_Interval]:
    """Return what one person said as intervals that follow one another, with room for each word of 1 ms at least."""
    found: list[_Interval] = []
    for said, following in zip(told, [*told[1:], None], strict=True):
        start = max(milliseconds(said.start), found[-1].end if found else 0)
        least = start + len(said.tokens)
        end = max(milliseconds(said.end), least)
        if following is not None:
            end = max(least, min(end, max(milliseconds(following.start), start)))
        words: list[_Interval] = []
        for place, token in enumerate(said.tokens):
            left = len(said.tokens) - place - 1
            begins = max(min(milliseconds(token.start), end - left - 1), words[-1].end if words else start)
            ends = max(begins + 1, min(milliseconds(token.end), end - left))
            if left:
                ends = max(begins + 1, min(ends, milliseconds(said.tokens[place + 1].start)))
            words.append(_Interval(begins, ends, token.text, []))
        found.append(_Interval(start, end, said.text, words))
    return found


def _filled(laid: Sequence[_Interval], end: int) -> Iterator[_Interval]:
    """Yield the intervals with empty ones between them, from 0 to the end without a hole."""
    at = 0
    for interval in laid:
        if interval.start > at:
            yield _Interval(at, interval.start, "", [])
        yield interval
        at = interval.end
    if at < end:
        yield _Interval(at, end, "", [])


def _seconds(time: int) -> str:
    whole, rest = divmod(time, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def _praat(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'

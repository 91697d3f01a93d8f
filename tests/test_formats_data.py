"""Data for other programs, against their schemas and read by parsers that are not ours."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import jsonschema
from hypothesis import given

from any_speech import (
    letters,
    named,
    said,
)
from dropscribe.formats import RENDERERS
from examples import TWO, transcripts

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript

_TIMES = {"start": {"type": "number"}, "end": {"type": "number"}, "speaker": {"type": "string"}}
_WORDS = {
    "type": "array",
    "items": {
        "required": ["word", "start", "end"],
        "properties": _TIMES | {"word": {"type": "string"}, "score": {"type": "number"}},
        "additionalProperties": False,
    },
}
WHISPERX = {
    "required": ["segments", "word_segments", "language"],
    "additionalProperties": False,
    "properties": {
        "segments": {
            "type": "array",
            "items": {
                "required": ["start", "end", "text", "words"],
                "properties": _TIMES
                | {"text": {"type": "string"}, "words": _WORDS, "avg_logprob": {"type": "number"}},
                "additionalProperties": False,
            },
        },
        "word_segments": _WORDS,
        "language": {"type": "string"},
    },
}


@given(named | transcripts)
def test_whisperx_json_has_its_fields_and_every_word(made: Transcript) -> None:
    data = json.loads(RENDERERS["whisperx.json"](made))
    jsonschema.validate(data, WHISPERX)
    assert [s["text"] for s in data["segments"]] == [s.text for s in made.segments]
    words = [w for s in made.segments for w in s.words]
    assert [w["word"] for w in data["word_segments"]] == [w.word.strip() for w in words]
    assert data["word_segments"] == [w for s in data["segments"] for w in s["words"]]


@given(named | transcripts)
def test_cpp_json_has_its_fields_and_every_word(made: Transcript) -> None:
    data = json.loads(RENDERERS["cpp.json"](made))
    assert data["result"] == {"language": made.language}
    for segment, row in zip(made.segments, data["transcription"], strict=True):
        assert row["text"].strip() == segment.text.strip()
        assert [t["text"] for t in row["tokens"]] == [w.word for w in segment.words]
        for part in (row, *row["tokens"]):
            for edge in ("from", "to"):
                hours, minutes, seconds = part["timestamps"][edge].split(":")
                whole, _, rest = seconds.partition(",")
                clock = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1000 + int(rest)
                assert clock == part["offsets"][edge]


def test_cpp_json_as_it_is_written() -> None:
    data = json.loads(RENDERERS["cpp.json"](TWO))
    assert data["params"] == {"model": "base", "language": "auto", "translate": False}
    assert data["transcription"][0] == {
        "timestamps": {"from": "00:00:00,500", "to": "00:00:01,250"},
        "offsets": {"from": 500, "to": 1250},
        "text": " Hello, you.",
        "tokens": [
            {
                "text": " Hello,",
                "timestamps": {"from": "00:00:00,500", "to": "00:00:00,900"},
                "offsets": {"from": 500, "to": 900},
                "id": -1,
                "p": 0.99,
                "t_dtw": -1.0,
            },
            {
                "text": " you.",
                "timestamps": {"from": "00:00:00,950", "to": "00:00:01,250"},
                "offsets": {"from": 950, "to": 1250},
                "id": -1,
                "p": 0.5,
                "t_dtw": -1.0,
            },
        ],
    }


PODCAST = {
    "required": ["version", "segments"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "1.0.0"},
        "segments": {
            "type": "array",
            "items": {
                "required": ["startTime", "endTime", "body"],
                "additionalProperties": False,
                "properties": {
                    "speaker": {"type": "string"},
                    "startTime": {"type": "number", "minimum": 0},
                    "endTime": {"type": "number", "minimum": 0},
                    "body": {"type": "string", "minLength": 1},
                },
            },
        },
    },
}


@given(named)
def test_podcast_json_has_its_fields_and_every_letter(made: Transcript) -> None:
    data = json.loads(RENDERERS["podcast.json"](made))
    jsonschema.validate(data, PODCAST)
    assert letters("".join(row["body"] for row in data["segments"])) == said(made)


@given(named)
def test_csv_and_tsv_keep_every_letter(made: Transcript) -> None:
    rows = list(csv.DictReader(io.StringIO(RENDERERS["csv"](made), newline="")))
    assert letters("".join(row["text"] for row in rows)) == said(made)
    assert all(int(row["start"]) <= int(row["end"]) for row in rows)
    head, *lines = RENDERERS["tsv"](made).split("\n")[:-1]
    assert head == "start\tend\ttext"
    assert [line.split("\t")[:2] for line in lines] == [[row["start"], row["end"]] for row in rows]
    assert letters("".join(line.split("\t")[2] for line in lines)) == said(made)

"""The transcript's JSON form, and the schema that is shipped with it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given

from dropscribe.transcript import Notice, Passage, Transcript, Word
from examples import TWO, transcripts

SCHEMA = Path(__file__).parent.parent / "config" / "transcript.schema.json"


def schema() -> dict[str, Any]:
    """Make the schema from the dataclasses; the docstrings under their fields become descriptions."""
    made = _adapter().json_schema()
    _describe(made)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made from daemon/dropscribe/transcript.py by `python tests/test_transcript.py`.",
    }
    return head | made


def _adapter() -> pydantic.TypeAdapter[Transcript]:
    return pydantic.TypeAdapter(Transcript)


def _describe(made: dict[str, Any]) -> None:
    import ast

    import dropscribe.transcript as module

    assert module.__file__
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        target = made if node.name == "Transcript" else made["$defs"][node.name]
        target.pop("title", None)
        target["description"] = ast.get_docstring(node)
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert isinstance(field.target, ast.Name)
                assert isinstance(text.value, ast.Constant)
                described = target["properties"][field.target.id]
                described.pop("title", None)
                described["description"] = text.value.value


def test_the_shipped_schema_is_made_from_the_dataclasses() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema()


def test_every_field_is_described() -> None:
    made = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for part in (made, *made["$defs"].values()):
        assert all(field.get("description") for field in part["properties"].values())


def test_the_schema_refuses_what_is_wrong() -> None:
    good = json.loads(TWO.to_json())
    shipped = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.validate(good, shipped)
    for change in ({"segments": [{"id": 0}]}, {"duration": "long"}, {"text": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | change, shipped)


@given(transcripts)
def test_json_comes_back_as_it_was_and_fits_the_schema(transcript: Transcript) -> None:
    text = transcript.to_json()
    assert Transcript.from_json(text) == transcript
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_readers_ignore_fields_they_do_not_know() -> None:
    data = json.loads(TWO.to_json())
    data["added_later"] = 1
    data["segments"][0]["words"][0]["added_later"] = 1
    assert Transcript.from_json(json.dumps(data)) == TWO


def test_a_transcript_of_an_older_version_is_read_and_written_as_it_was() -> None:
    """What a journal that is made again compares with the files that are there."""
    assert TWO.review is None
    assert not {"review", "recorded_from"} & (json.loads(TWO.to_json()).keys() | json.loads(TWO.to_json())["source"])
    assert Transcript.from_json(TWO.to_json()).to_json() == TWO.to_json()


def test_the_review_list_is_spans_with_reasons() -> None:
    made = dataclasses.replace(TWO, review=(Passage(1.0, 2.5, "loop", "Again and again.", 3.5),))
    assert json.loads(made.to_json())["review"] == [
        {"start": 1.0, "end": 2.5, "kind": "loop", "why": "Again and again.", "score": 3.5}
    ]
    assert Transcript.from_json(made.to_json()) == made
    jsonschema.validate(json.loads(made.to_json()), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_each_segment_of_a_mixed_recording_tells_its_language() -> None:
    english, german = TWO.segments
    mixed = dataclasses.replace(
        TWO,
        segments=(dataclasses.replace(english, language="en"), dataclasses.replace(german, language="de")),
    )
    assert [segment["language"] for segment in json.loads(mixed.to_json())["segments"]] == ["en", "de"]
    assert Transcript.from_json(mixed.to_json()) == mixed
    jsonschema.validate(json.loads(mixed.to_json()), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_no_nan_gets_into_the_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(TWO, warnings=(Notice("x", float("nan"), 1.0, ""),)).to_json()


def test_it_is_a_superset_of_verbose_json() -> None:
    data = json.loads(TWO.to_json())
    assert {"text", "language", "duration", "segments"} <= data.keys()
    verbose = {"id", "start", "end", "text", "avg_logprob", "compression_ratio", "no_speech_prob", "temperature"}
    assert verbose <= data["segments"][0].keys()
    assert data["segments"][0]["words"][1] == {
        "word": " you.",
        "start": 0.95,
        "end": 1.25,
        "probability": 0.5,
        "speaker": "Host",
    }
    assert "speaker" not in data["segments"][0]["words"][0]
    assert "language" not in data["segments"][0]
    assert Word(" Hello,", 0.5, 0.9, 0.99).speaker is None


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

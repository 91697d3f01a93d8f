"""Jobs and events between supervisor and worker: what is written is read again, whatever it
holds.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropscribe import protocol
from dropscribe.protocol import Plan, ProtocolError, Resume, WindowDone

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    dict[str, str]: st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    dict[str, float]: st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=3),
    dict[str, Any]: st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type that the protocol's dataclasses are made of."""
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, types.UnionType):
        return st.one_of(*(st.none() if each is type(None) else values(each) for each in typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return st.lists(values(typing.get_args(kind)[0]), max_size=3).map(tuple)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


@settings(max_examples=200, deadline=None)
@given(values(protocol.Job))
def test_a_job_is_read_as_it_was_written(job: protocol.Job) -> None:
    line = protocol.encode_job(job)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert protocol.decode_job(line) == job


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1000), values(protocol.WrittenEvent))
def test_an_event_is_read_as_it_was_written(job: int, event: protocol.WrittenEvent) -> None:
    line = protocol.encode_event(job, event)
    assert line.count("\n") == 1
    assert protocol.decode_event(line) == (job, event)


def test_every_event_has_a_name_of_its_own() -> None:
    kinds = typing.get_args(protocol.Event)
    assert len({kind.event for kind in kinds}) == len(kinds)
    names = [each for each in vars(protocol).values() if isinstance(each, type) and hasattr(each, "event")]
    assert set(names) == set(kinds)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "this is no JSON",
        "[1, 2]",
        "1",
        '{"event": 1}',
        '{"event": "finished"}',
        '{"event": "no such thing", "job": 1}',
        '{"event": [], "job": 1}',
        '{"event": "finished", "job": null}',
        '{"event": "window", "job": 1}',
        '{"event": "planned", "job": 1, "plan": []}',
        '{"event": "exit", "job": 0, "code": 0, "how": "a child does not say that itself"}',
    ],
)
def test_a_line_that_a_library_printed_is_no_event(line: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_event(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        '{"job": 1, "op": "check"}',
        '{"job": 1, "op": "transcribe", "model": "tiny", "backends": [], "path": "a"}',
        '{"job": 1, "op": "dance", "model": "tiny", "backends": []}',
        '{"job": 0, "op": "pack", "model": "tiny", "backends": [], "recordings": {"job": 1}}',
    ],
)
def test_what_is_no_job_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_job(line)


def test_keys_of_another_version_are_ignored_and_missing_ones_have_their_defaults() -> None:
    segment = {"id": 0, "start": 0.0, "end": 1.0, "text": "Yes.", "mood": "fine"}
    line = {"event": "window", "job": 7, "index": 0, "start_s": 0.0, "end_s": 1.0, "seconds": 0.5, "colour": "red"}
    number, event = protocol.decode_event(json.dumps(line | {"segments": [segment]}))
    assert number == 7
    assert isinstance(event, WindowDone)
    assert (event.segments[0].text, event.segments[0].words, event.warnings) == ("Yes.", (), ())


PLAN = Plan(samples=48000, windows=((0, 16000), (16000, 20000, 24000, 48000)), voices=(0, 0), languages=("en", "en"))


def test_a_checkpoint_is_flat_json_and_resumed_from() -> None:
    planned = protocol.Planned(plan=PLAN, done=0, language="en", language_probability=0.9, speech_s=2.0, plan_s=0.1)
    checkpoint = planned.to_checkpoint()
    assert checkpoint["windows"] == [[0, 16000], [16000, 20000, 24000, 48000]]
    assert checkpoint["language"] == "en"
    read = json.loads(json.dumps(checkpoint)) | {"done": 1}
    assert Resume.from_json(read) == Resume(plan=PLAN, done=1, language="en", language_probability=0.9)


def test_the_checkpoints_of_an_older_version_are_read() -> None:
    """As a daemon of version 0.1.0 has written them, before windows had warnings and plans had
    channels.
    """
    plan = {
        "samples": 48000,
        "windows": [[0, 48000]],
        "backend": "mlx",
        "device": "gpu",
        "folder": "/m",
        "revision": None,
    }
    resume = Resume.from_json(plan | {"language": "en", "language_probability": None, "done": 1})
    assert (resume.plan.backend, resume.plan.voices) == ("mlx", ())
    window = WindowDone.from_json({"index": 0, "start_s": 0.0, "end_s": 3.0, "seconds": 0.2, "segments": []})
    assert window.to_json() == {
        "index": 0,
        "start_s": 0.0,
        "end_s": 3.0,
        "seconds": 0.2,
        "segments": [],
        "warnings": [],
        "heard": [],
    }
    with pytest.raises(ProtocolError):
        Resume.from_json({"windows": 3, "done": 1})

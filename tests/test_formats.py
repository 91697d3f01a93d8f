"""Every format on any text and any times. The files test_formats_*.py read each with a parser that is not ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from any_speech import (
    named,
)
from dropscribe.formats import RENDERERS
from examples import transcript, transcripts

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript


def test_the_names_are_suffixes_and_json_is_last() -> None:
    assert list(RENDERERS)[-1] == "json"
    assert all(re.fullmatch(r"[A-Za-z]+(\.[a-z]+)?", name) for name in RENDERERS)
    assert len({name.lower() for name in RENDERERS}) == len(RENDERERS)


@given(named | transcripts)
def test_no_format_fails_and_each_gives_the_same_twice(made: Transcript) -> None:
    for render in RENDERERS.values():
        text = render(made)
        assert text == render(made)
        assert not text or text.endswith("\n")


@pytest.mark.parametrize("name", RENDERERS)
def test_nothing_said_is_no_error(name: str) -> None:
    assert name in {"srt", "rttm"} or RENDERERS[name](transcript([]))

"""TextGrid and ELAN, read by parsers that are not ours."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from any_speech import (
    letters,
    named,
    read_eaf,
    read_textgrid,
    said,
    tiled,
)
from dropscribe.formats import RENDERERS
from examples import TWO

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript


def by_speaker(made: Transcript) -> list[str]:
    """Return what each speaker said, whatever their names became."""
    found: dict[str | None, str] = {}
    for row in json.loads(RENDERERS["podcast.json"](made))["segments"]:
        speaker = row.get("speaker")
        found[speaker] = found.get(speaker, "") + letters(row["body"])
    return sorted(found.values())


@pytest.mark.filterwarnings("ignore:codecs.open:DeprecationWarning")  # of the parser, from Python 3.14 on
@given(named)
def test_a_textgrid_keeps_every_letter_of_each_speaker(made: Transcript) -> None:
    tiers = read_textgrid(RENDERERS["TextGrid"](made))
    tiers_text = {}
    for name, tier in tiers.items():
        spans = [(i.minTime, i.maxTime) for i in tier]
        assert tiled(spans)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
        assert (spans[0][0], spans[-1][1]) == (0, tier.maxTime)
        tiers_text[name] = letters("".join(i.mark for i in tier))
    assert sorted(tiers_text.values()) == sorted(2 * by_speaker(made)) or not made.segments or not said(made)


@given(named)
def test_an_elan_document_keeps_every_letter_of_each_speaker(made: Transcript) -> None:
    document = read_eaf(RENDERERS["eaf"](made))
    tiers_text = []
    for name in document.get_tier_names():
        rows = sorted(document.get_annotation_data_for_tier(name))
        assert tiled((row[0], row[1]) for row in rows)
        tiers_text.append(letters("".join(row[2] for row in rows)))
        parent = document.get_parameters_for_tier(name).get("PARENT_REF")
        if parent:
            outer = document.get_annotation_data_for_tier(parent)
            assert all(any(a[0] <= row[0] and row[1] <= a[1] for a in outer) for row in rows)
    assert sorted(tiers_text) == sorted(2 * by_speaker(made)) or not said(made)


def test_an_elan_document_finds_the_recording_and_its_words() -> None:
    document = read_eaf(RENDERERS["eaf"](TWO))
    assert document.media_descriptors == [
        {"MEDIA_URL": "./talk.m4a", "MIME_TYPE": "audio/*", "RELATIVE_MEDIA_URL": "./talk.m4a"}
    ]
    assert document.adocument["DATE"] == "2026-08-19T10:00:00+02:00"
    assert document.get_annotation_data_for_tier("Host") == [(500, 1250, "Hello, you.")]
    assert document.get_annotation_data_for_tier("Host words") == [(500, 900, "Hello,"), (950, 1250, "you.")]
    assert document.get_annotation_data_for_tier("utterances")[0][:2] == (4000, 6500)
    assert document.get_parameters_for_tier("words")["PARENT_REF"] == "utterances"

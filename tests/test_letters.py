"""Texts spelled letter by letter: what is spelled, what stays as it is, and how long texts are cut."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from dropscribe.backends.letter_heads import choose_heads, link_model
from dropscribe.backends.letters import spell_text, split_letters

if TYPE_CHECKING:
    from pathlib import Path


def encode(text: str) -> list[int]:
    """One token a character, a space together with the letter behind it."""
    return [ord(letter) for letter in text.strip()]


def test_a_word_is_spelled_and_its_letters_own_its_time() -> None:
    (part,) = spell_text([" the", " cat", "."], [[1], [2, 3], [4]], encode, 100)
    assert part.tokens == [*encode("the"), *encode("cat"), 4]
    assert part.edges == [0, 3, 6, 7]


def test_what_is_between_the_first_and_the_last_letter_stays_together() -> None:
    encoded: list[str] = []

    def note(text: str) -> list[int]:
        encoded.append(text)
        return [len(encoded)]

    (part,) = spell_text([" letters"], [[1, 2]], note, 100)
    assert encoded == [" l", "etter", "s"]
    assert part.tokens == [1, 2, 3]


def test_figures_signs_and_letters_cut_apart_stay_as_they_are() -> None:
    pieces = [[1], [2], [3], [4]]
    (part,) = spell_text([" 2026", " %", " 3rd", "\ufffd"], pieces, encode, 100)
    assert part.tokens == [1, 2, 3, 4]


def test_a_text_longer_than_the_context_is_cut_at_words_and_every_word_is_spelled_once() -> None:
    texts = [" letters"] * 30
    pieces = [[index] for index in range(1000, 1030)]
    parts = spell_text(texts, pieces, encode, 100)
    assert all(len(part.tokens) <= 100 for part in parts)
    spelled = [part.first + index for part in parts for index in range(len(part.edges) - 1)]
    assert spelled == list(range(30))
    for part in parts:
        for begin, end in itertools.pairwise(part.edges):
            assert part.tokens[begin:end] == encode("letters")
        assert part.tokens[: part.edges[0]] == list(range(1000, 1000 + part.first))


def test_a_text_that_leaves_no_room_for_letters_keeps_its_pieces() -> None:
    pieces = [[index] for index in range(90)]
    (part,) = spell_text([" loop"] * 90, pieces, encode, 100)
    assert part.tokens == list(range(90))


def test_marks_that_combine_stay_with_their_letter() -> None:
    assert split_letters("e\u0301te") == ["e\u0301", "t", "e"]
    assert split_letters("हिन्दी") == ["हि", "न्", "दी"]


def test_a_model_whose_own_heads_do_not_follow_letters_is_loaded_with_others(tmp_path: Path) -> None:
    own = [[1, 0], [2, 0], [2, 5], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]]
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": own, "lang_ids": [1]}))
    (tmp_path / "model.bin").write_bytes(b"weights")
    with link_model(tmp_path) as linked:
        config = json.loads((linked / "config.json").read_bytes())
        assert config == {"alignment_heads": [list(head) for head in choose_heads(own)], "lang_ids": [1]}
        assert config["alignment_heads"] != own
        assert (linked / "model.bin").read_bytes() == b"weights"
    assert not linked.exists()
    assert json.loads((tmp_path / "config.json").read_bytes())["alignment_heads"] == own


def test_another_model_is_loaded_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": [[4, 1], [3, 1]]}))
    with link_model(tmp_path) as linked:
        assert linked == tmp_path

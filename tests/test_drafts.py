"""Which drafts of a window are trusted, and which words their pieces make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.backends.drafts import (
    TEMPERATURES,
    Draft,
    decode_with_retries,
    group_pieces,
    merge_pieces,
    to_raw_segments,
)
from dropscribe.backends.results import EngineWord

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = "Ask not what your country can do for you, ask what you can do for your country."
LOOP = "I'm sorry. " * 20
MENU = (
    "Для прослушивания следующего сообщения нажмите шесть. Для повторного прослушивания сообщения нажмите пять. "
    "Для прослушивания предыдущего сообщения нажмите четыре. Для удаления или восстановления сообщения нажмите ноль. "
    "Для выхода из голосовой почты нажмите решетку."
)


def draft(text: str, avg_logprob: float = -0.2, no_speech_prob: float = 0.0, temperature: float = 0.0) -> Draft:
    return Draft([1], text, avg_logprob, no_speech_prob, temperature)


def test_a_draft_is_suspicious_when_it_loops_or_is_improbable() -> None:
    assert not draft(SAID).is_suspicious
    assert draft(LOOP).is_suspicious
    assert draft(SAID, avg_logprob=-1.2).is_suspicious


def test_a_menu_read_out_in_cyrillic_is_no_loop() -> None:
    assert draft(MENU).compression_ratio > 2.4
    assert not draft(MENU).is_suspicious
    assert draft("Нажмите шесть. " * 20).is_suspicious


def test_silence_is_not_decoded_again_and_gives_nothing() -> None:
    quiet = draft("Thank you.", avg_logprob=-1.5, no_speech_prob=0.9)
    assert quiet.is_silent
    assert not quiet.is_suspicious
    assert to_raw_segments(quiet, []) == []
    assert to_raw_segments(draft(" "), []) == []


def test_only_suspicious_windows_are_decoded_again_until_one_draft_is_trusted() -> None:
    asked: list[tuple[list[int], float]] = []

    def decode(rows: Sequence[int], temperature: float) -> list[Draft]:
        asked.append((list(rows), temperature))
        return [draft(SAID if row == 0 or temperature > 0.1 * row else LOOP, temperature=temperature) for row in rows]

    assert [found.temperature for found in decode_with_retries(decode, 4)] == [0.0, 0.2, 0.4, 0.4]
    assert asked == [([0, 1, 2, 3], 0.0), ([1, 2, 3], 0.2), ([2, 3], 0.4)]


def test_of_suspicious_drafts_the_likeliest_without_a_loop_stays() -> None:
    def decode(rows: Sequence[int], temperature: float) -> list[Draft]:
        text = LOOP if temperature in {0.0, 0.4} else SAID
        return [draft(text, -0.1 if text == LOOP else -1 - temperature, temperature=temperature) for _ in rows]

    (found,) = decode_with_retries(decode, 1)
    assert (found.text, found.temperature) == (SAID, TEMPERATURES[0])


def test_marks_go_with_their_word_and_leave_its_times_alone() -> None:
    assert group_pieces([" He", " said", ",", " “", "yes", ".”", " -", "no"]) == [[0], [1, 2], [3, 4, 5], [6, 7]]
    assert group_pieces([" Qui", " ?", " «", " Moi", " ».", " Oui"]) == [[0, 1], [2, 3, 4], [5]]
    assert group_pieces([" Er", ":", " »", "Ja", "«", ",", " so"]) == [[0, 1], [2, 3, 4, 5], [6]]
    assert group_pieces([" ?", " ...", " si", ":", ' "', "oui"]) == [[0], [1], [2, 3], [4, 5]]
    pieces = [
        (" said", 0.0, 0.4, 0.9),
        (",", 0.4, 1.9, 0.5),
        (" (", 1.9, 2.0, 0.1),
        ("yes", 2.0, 2.4, 0.8),
        (".", 2.4, 3.0, 0.3),
    ]
    assert merge_pieces([EngineWord(*piece) for piece in pieces]) == [
        (" said,", 0.0, 0.4, 0.9),
        (" (yes.", 2.0, 2.4, 0.8),
    ]


def test_no_letter_is_parted_from_its_vowel_signs_and_no_word_is_blank() -> None:
    def words(*pieces: str) -> list[str]:
        return ["".join(pieces[i] for i in group) for group in group_pieces(pieces)]

    assert words(" ह", "ि", "न", "्", "द", "ी") == [" हि", "न्", "दी"]
    assert words("ท", "ี", "่", "น", "ี", "่") == ["ที่", "นี่"]
    assert words(" ", "नमस्ते", " ") == [" नमस्ते "]
    assert words("क", "्", "\u200d", "ष") == ["क्\u200dष"]

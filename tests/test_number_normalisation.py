"""Which words are numbers, and which texts are the context of a number."""

from __future__ import annotations

from dropscribe.backends.drafts import Draft
from dropscribe.backends.number_normalisation import Number, collect_chain_tokens, find_numbers, has_figures


def test_the_words_that_are_numbers_are_found_by_language() -> None:
    words, pieces = [" Нажмите", " один", ",", " Два", "один"], [[1, 2], [3], [4], [5, 6], [7]]
    assert find_numbers(words, pieces, "ru") == [Number(2, 3, "1"), Number(4, 6, "2")]
    assert find_numbers(words, pieces, "en") == find_numbers(words, pieces, "ja") == []
    assert has_figures("Dial 8500.")
    assert not has_figures("The mp3 of one.")


def test_the_context_of_a_number_is_the_other_texts_of_its_chain() -> None:
    drafts = [Draft([place], "", 0.0, 0.0, 0.0) for place in range(8)]
    assert collect_chain_tokens(5, drafts, [2, 3, 4, 5, 6, 7]) == [6, 7, 4]
    assert collect_chain_tokens(5, drafts, [3, 5, 8]) == []

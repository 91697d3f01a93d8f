"""The search of the page, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from examples import transcript
from page_browser import Page, browsers, make_segment, save_page, with_source

if TYPE_CHECKING:
    from pathlib import Path


@browsers
def test_search_counts_and_goes_round(talk: Page) -> None:
    talk.quiet()
    talk.press("/")
    assert talk.js("return document.activeElement.id") == "query"
    talk.press("Country")
    talk.until("document.getElementById('count').textContent === '1 / 2'")
    assert talk.shown("found") == ["country", "country"]
    talk.press(Keys.ENTER)
    assert talk.find("count").text == "2 / 2"
    node = "[...CSS.highlights.get('chosen')][0].startContainer"
    assert talk.js(f"return {node}.parentElement.closest('.part').dataset.speaker") == "Guest"
    talk.press(Keys.ENTER)
    assert talk.find("count").text == "1 / 2"
    ActionChains(talk.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    assert talk.find("count").text == "2 / 2"
    talk.find("previous-hit").click()
    assert talk.find("count").text == "1 / 2"
    talk.find("next-hit").click()
    assert talk.find("count").text == "2 / 2"
    assert talk.now == 0, "letters in the search are no keys of the player"
    query = talk.find("query")
    query.send_keys(" n?")
    talk.until("document.getElementById('count').textContent === 'none'")
    assert not talk.find("next-hit").is_enabled()
    query.send_keys(Keys.ESCAPE)
    assert talk.find("count").text == ""
    assert talk.shown("found") == []
    assert talk.js("return document.activeElement === document.body")


@browsers
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("cafe", ["Café", "CAFÉ"]),
        ("ÉTÉ", ["été"]),
        ("all the way", ["all the\xa0way"]),
        ("made by", ["made by"]),
        ("世界", ["世界"]),
        ("<b>", ["<b>"]),
    ],
)
def test_search_finds_what_a_person_means(page: Page, tmp_path: Path, query: str, found: list[str]) -> None:
    words = ["Café", "CAFÉ", "l'été", "all", "the\xa0way", "made", "by", "你好世界", "<b>"]
    spoken = [(word, i / 2, i / 2 + 0.4, 0.1 if word == "made" else 0.99) for i, word in enumerate(words)]
    page.open(save_page(tmp_path, with_source(transcript([make_segment(spoken)], duration=11.0), "jfk.opus")))
    page.ready()
    page.find("query").send_keys(query)
    page.until("document.getElementById('count').textContent !== ''")
    assert page.shown("found") == found

"""A page of three hours stays quick, and follows what is spoken, in a real browser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from examples import transcript
from page_browser import Page, browsers, make_segment, save_page, with_source

if TYPE_CHECKING:
    from pathlib import Path

    from dropscribe.transcript import Transcript


def long_talk(words: int = 30_000) -> Transcript:
    spoken, at, text = (
        [],
        0.0,
        ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "waits", "for", "what", "may"],
    )
    for number in range(words // 15):
        row = []
        for i in range(15):
            word = f"w{number * 15 + i}" if i == 7 else text[(number + i) % len(text)]
            row.append(
                (
                    word + "." * (i == 14),
                    round(at, 2),
                    round(at + 0.3, 2),
                    0.1 if number % 40 == 0 and i < 3 else 0.98,
                )
            )
            at += 0.35
        at += 0.15 + 2.5 * (number % 12 == 11)
        spoken.append(make_segment(row, number, f"Speaker {number // 37 % 3}"))
    return with_source(transcript(spoken, duration=round(at + 1, 2)), "jfk.opus")


@browsers
def test_three_hours_are_few_elements_of_which_few_have_a_layout(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, long_talk(), sound=None))
    page.until("!document.getElementById('missing').hidden")
    assert page.js("return document.getElementById('text').textContent.match(/w[0-9]+/g).length") == 2000
    assert page.js("return document.getElementsByTagName('*').length") < 3000

    def visible() -> int:
        script = """return [...document.querySelectorAll('.line span')]
            .filter(each => each.checkVisibility({contentVisibilityAuto: true})).length"""
        return int(page.js(script))

    page.until("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert 1 <= visible() < 30
    page.click("w29917")
    assert page.shown("spoken") == ["w29917"]
    assert page.js("return document.querySelectorAll('.part.now').length") == 1
    assert visible() < 60
    page.find("query").send_keys("the")
    page.until("document.getElementById('count').textContent.includes('/')")
    assert int(page.find("count").text.split("/")[1]) > 1500
    assert len(page.shown("found")) <= 2000
    assert visible() < 60
    page.console()


@browsers
def test_a_word_far_away_is_brought_into_view(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, long_talk(), sound=None))
    page.until("!document.getElementById('missing').hidden")
    for wanted in ("w29917", "w7", "w15007"):
        page.find("query").clear()
        page.find("query").send_keys(wanted, Keys.ENTER)
        page.until(f"[...CSS.highlights.get('chosen')].map(r => r.toString()).join() === '{wanted}'")
        page.until(
            "(() => { const box = [...CSS.highlights.get('chosen')][0].getBoundingClientRect();"
            "return box.height > 0 && box.top >= document.getElementById('bar').getBoundingClientRect().bottom"
            " && box.bottom <= innerHeight; })()"
        )
    page.console()


@browsers
def test_while_it_plays_the_page_follows_until_the_reader_scrolls(page: Page, tmp_path: Path) -> None:
    spoken = [make_segment([(f"w{i}", i / 4, i / 4 + 0.2, 0.99)], i, f"Speaker {i % 2}") for i in range(44)]
    page.open(save_page(tmp_path, with_source(transcript(spoken, duration=11.0), "jfk.opus")))
    page.ready()
    page.find("play").click()
    page.until("scrollY > 100 && document.getElementById('media').currentTime > 4")
    lit = page.js("return [...CSS.highlights.get('spoken')][0].getBoundingClientRect().top / innerHeight")
    assert 0 < lit < 1
    page.until(f"scrollY > {page.js('return scrollY')} + 3")  # while it glides to the next words
    ActionChains(page.driver).scroll_by_amount(0, -3000).perform()
    page.until("!document.getElementById('follow').hidden && scrollY < 100")
    before = page.now
    deadline = time.monotonic() + 20
    while page.now < before + 1 and time.monotonic() < deadline:
        assert page.js("return scrollY") < 100, "it stays where the reader went"
    page.find("follow").click()
    page.until("document.getElementById('follow').hidden && scrollY > 100")

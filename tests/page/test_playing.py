"""The page in a real browser plays, lights the word that is spoken and obeys clicks and keys."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from page_browser import JFK_WORDS, Page, browsers


@browsers
@pytest.mark.parametrize(
    ("word", "nth", "start"), [("Americans", 0, 1.76), ("country", 1, 10.22), ("fellow", 0, 1.46), ("ask", 1, 8.06)]
)
def test_a_click_on_a_word_plays_from_there(talk: Page, word: str, nth: int, start: float) -> None:
    talk.click(word, nth)
    talk.until("!document.getElementById('media').paused")
    talk.js("document.getElementById('media').pause()")
    assert start <= talk.now < start + 2.0
    talk.js("document.getElementById('media').currentTime = arguments[0]", start)
    talk.until("!document.getElementById('media').seeking")
    assert [each.strip(".") for each in talk.shown("spoken")] == [word]


@browsers
def test_the_word_that_is_spoken_is_lit(talk: Page) -> None:
    talk.find("play").click()
    talk.driver.set_script_timeout(30)
    samples: list[list[Any]] = talk.driver.execute_async_script(
        """
        const done = arguments[0];
        const media = document.getElementById("media");
        const found = [];
        // A task of its own after the page's frame: the page has painted what the sample finds.
        const look = () => requestAnimationFrame(() => setTimeout(() => {
          found.push([media.currentTime, [...CSS.highlights.get("spoken")].map(r => r.toString())]);
          if (media.currentTime < 5.2) look(); else { media.pause(); done(found); }
        }));
        look();
        """
    )
    words = [each for spoken in JFK_WORDS for each in spoken]
    checked = set()
    for at, lit in samples:
        # A frame is 16 ms, on a busy machine more: what was lit shortly before counts, what comes later does not.
        right = [[text] for text, start, end, _ in words if start - 0.02 <= at <= end + 0.25]
        assert lit in right or at < 0.3, (at, lit)
        checked.update(lit)
    assert checked >= {"And", "so", "Americans", "ask", "not", "what"}
    assert len(samples) > 20


@browsers
def test_the_keys(talk: Page) -> None:
    talk.quiet()
    talk.press(" ")
    talk.until("!document.getElementById('media').paused")
    assert talk.find("play").get_attribute("aria-label") == "Pause"
    talk.press(" ")
    talk.until("document.getElementById('media').paused")
    talk.js("document.getElementById('media').currentTime = 0")
    talk.press(Keys.ARROW_RIGHT)
    assert talk.now == pytest.approx(5, abs=0.01)
    talk.press(Keys.ARROW_RIGHT)
    assert talk.now == pytest.approx(10, abs=0.01)
    talk.press(Keys.ARROW_LEFT)
    assert talk.now == pytest.approx(5, abs=0.01)
    ActionChains(talk.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert talk.now == pytest.approx(5.7, abs=0.01)
    assert talk.shown("spoken") == ["your"]
    talk.press("]", "]", "[")
    assert talk.js("return document.getElementById('media').playbackRate") == 1.25
    assert talk.js("return document.getElementById('speed').value") == "1.25"
    talk.press("?")
    assert talk.find("help").is_displayed()
    talk.press("n")
    assert talk.now == pytest.approx(5.7, abs=0.01)
    talk.press(Keys.ESCAPE)
    assert not talk.find("help").is_displayed()
    talk.press("?")
    talk.find("help").find_element(By.TAG_NAME, "button").click()
    assert not talk.find("help").is_displayed()
    assert talk.console() == []


@browsers
def test_n_and_p_go_through_the_marked_passages_in_order_of_time(talk: Page) -> None:
    marks = talk.js("return [...document.querySelectorAll('mark')].map(mark => mark.textContent)")
    assert marks == ["my fellow", "ask what"]
    talk.quiet()

    def here() -> list[str]:
        found = talk.js("return [...document.querySelectorAll('mark.here')].map(mark => mark.textContent)")
        assert len(talk.driver.find_elements(By.CSS_SELECTOR, "li[aria-current]")) == len(found)
        return [str(each) for each in found]

    talk.press("n")
    assert talk.now == pytest.approx(0.66, abs=0.01)
    assert here() == ["my fellow"]
    talk.press("n")
    assert talk.now == pytest.approx(7.66, abs=0.01)
    assert here() == ["ask what"]
    talk.press("n")
    assert talk.now == pytest.approx(7.66, abs=0.01)
    assert "last" in talk.find("status").text
    talk.press("p")
    assert talk.now == pytest.approx(0.66, abs=0.01)
    assert here() == ["my fellow"]
    talk.press("p")
    assert "first" in talk.find("status").text
    # The list has the worst first, and a click on it plays.
    items = talk.driver.find_elements(By.CSS_SELECTOR, "aside li button")
    assert [item.find_element(By.CLASS_NAME, "words").text for item in items] == ["my fellow", "ask what"]
    items[1].click()
    talk.until("!document.getElementById('media').paused")
    assert talk.now >= 7.65


@browsers
def test_a_selection_is_not_taken_for_a_click(talk: Page) -> None:
    first, last = talk.place("Americans"), talk.place("country")
    actions = ActionBuilder(talk.driver)
    pointer = actions.pointer_action
    pointer.move_to_location(round(first["x"]), round(first["y"])).pointer_down()  # type: ignore[no-untyped-call]
    pointer.move_to_location(round(last["x"]), round(last["y"])).pointer_up()  # type: ignore[no-untyped-call]
    actions.perform()
    assert len(talk.js("return getSelection().toString()")) > 10
    assert talk.paused
    assert talk.now == 0

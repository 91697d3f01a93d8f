"""Speakers on the page: colours, one alone, another name, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from page_browser import TALK, Page, browsers, save_page, with_source

if TYPE_CHECKING:
    from pathlib import Path


def shown_lines(page: Page) -> list[str]:
    found = page.js(
        "return [...document.querySelectorAll('.part')].filter(p => p.offsetHeight).map(p => p.dataset.speaker)"
    )
    return [str(each) for each in found]


def buttons(page: Page, kind: str) -> list[object]:
    return list(page.driver.find_elements(By.CSS_SELECTOR, f"#speakers .{kind}"))


@browsers
def test_each_speaker_has_a_colour_that_can_be_read(talk: Page) -> None:
    contrast = """
        const light = (rgb) => rgb.match(/\\d+/g).slice(0, 3).map(Number)
          .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
          .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const paper = light(getComputedStyle(document.documentElement).backgroundColor);
        const label = document.querySelector(".speaker");
        const part = label.closest(".part");
        return [...Array(8).keys()].map((i) => {
          part.dataset.voice = i;
          const ink = light(getComputedStyle(label).color);
          return [getComputedStyle(label).color, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)];
        });
    """
    for scheme in ("light", "dark"):
        talk.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        found = talk.js(contrast)
        assert len({colour for colour, _ in found}) == 8
        assert min(ratio for _, ratio in found) >= 4.5, scheme


@browsers
def test_one_speaker_alone_is_shown_searched_and_copied(talk: Page) -> None:
    assert shown_lines(talk) == ["Host", "Guest"]
    host, guest = buttons(talk, "who")
    guest.click()  # type: ignore[attr-defined]
    assert shown_lines(talk) == ["Guest"]
    assert guest.get_attribute("aria-pressed") == "true"  # type: ignore[attr-defined]
    talk.quiet()
    talk.press("/")
    talk.press("country")
    talk.until("document.getElementById('count').textContent === '1 / 1'")
    talk.find("copy").click()
    assert "Copied 1 paragraph " in talk.find("status").text
    # A doubtful passage of somebody else shows everybody again.
    talk.quiet()
    talk.press("n")
    assert shown_lines(talk) == ["Host", "Guest"]
    host.click()  # type: ignore[attr-defined]
    host.click()  # type: ignore[attr-defined]
    assert shown_lines(talk) == ["Host", "Guest"]


@browsers
def test_another_name_is_shown_and_the_command_that_keeps_it(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, with_source(TALK, "jfk.opus", "it's/jfk.opus")))
    page.ready()
    buttons(page, "rename")[0].click()  # type: ignore[attr-defined]
    page.press("Jack", Keys.ENTER)
    command = "dropscribe speakers 'it'\\''s/jfk.opus' 'Host=Jack'"
    page.until("!document.getElementById('keep').hidden")
    assert page.find("command").text == command
    assert page.js("return document.querySelector('.speaker').textContent") == "Jack"
    page.find("new-name").send_keys(Keys.CONTROL, "a")
    page.find("new-name").send_keys("Guest", Keys.ENTER)
    assert "Somebody else" in page.find("status").text
    assert page.find("command").text == command


@browsers
def test_who_shows_the_page_can_take_a_new_name(talk: Page) -> None:
    talk.js(
        """
        document.addEventListener("dropscribe:rename", (event) => {
          event.preventDefault();
          document.documentElement.dataset.taken = JSON.stringify(event.detail);
        });
        """
    )
    buttons(talk, "rename")[1].click()  # type: ignore[attr-defined]
    talk.press("Jane", Keys.ENTER)
    talk.until("!document.getElementById('naming').open")
    assert talk.js("return document.documentElement.dataset.taken") == '{"old":"Guest","new":"Jane"}'
    assert talk.find("keep").get_attribute("hidden") is not None

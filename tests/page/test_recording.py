"""Where the page finds its recording, and what it does without, in a real browser."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import DATA
from page_browser import TALK, Page, browsers, save_page, with_source

if TYPE_CHECKING:
    from pathlib import Path


@browsers
def test_without_the_recording_everything_but_playing_works(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, sound=None))
    page.until("!document.getElementById('missing').hidden")
    assert "jfk.opus does not lie beside this page" in page.find("missing").text
    assert not page.find("play").is_enabled()
    page.click("Americans")
    assert page.shown("spoken") == ["Americans"]
    page.quiet()
    page.press(" ")
    assert "choose it" in page.find("status").text
    page.press("n")
    assert page.js("return document.querySelector('mark.here').textContent") == "ask what"
    page.press(Keys.ARROW_LEFT)
    assert page.find("clock").text == "0:02 / 0:11"
    page.console()


@browsers
def test_a_chosen_file_plays_from_where_the_reader_is(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, sound=None))
    page.until("!document.getElementById('missing').hidden")
    page.click("country")
    page.find("file").send_keys(str(DATA / "jfk.opus"))
    page.ready()
    page.until("document.getElementById('media').currentTime > 6")
    assert page.now == pytest.approx(6.02, abs=0.01)
    assert not page.find("missing").is_displayed()
    assert page.js("return document.getElementById('media').src").startswith("blob:")
    page.click("Americans")
    page.until("!document.getElementById('media').paused && document.getElementById('media').currentTime > 1.76")
    assert "Americans" in page.shown("spoken") or page.now > 2.28
    page.console()


@browsers
def test_another_file_is_played_but_not_believed(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, sound=None))
    page.until("!document.getElementById('missing').hidden")
    page.find("file").send_keys(str(DATA / "conference.flac"))
    page.ready()
    assert page.find("missing").text.startswith("The chosen file lasts 0:03, the transcribed one 0:11.")
    page.find("file").send_keys(str(tmp_path / "jfk.html"))
    page.until("document.getElementById('missing').textContent.includes('cannot play')")
    page.find("file").send_keys(str(DATA / "jfk.opus"))
    page.ready()
    page.until("document.getElementById('missing').hidden")
    page.console()


@browsers
def test_a_dropped_file_is_taken(page: Page, tmp_path: Path) -> None:
    page.open(save_page(tmp_path, sound=None))
    page.until("!document.getElementById('missing').hidden")
    page.js(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
        const dropped = new DataTransfer();
        dropped.items.add(new File([bytes], "jfk.opus", {type: "audio/ogg"}));
        const over = new DragEvent("dragover", {bubbles: true, cancelable: true, dataTransfer: dropped});
        document.querySelector("#text").dispatchEvent(over);
        window.taken = over.defaultPrevented;
        document.querySelector("#text").dispatchEvent(new DragEvent("drop", {
          bubbles: true, cancelable: true, dataTransfer: dropped,
        }));
        """,
        base64.b64encode((DATA / "jfk.opus").read_bytes()).decode(),
    )
    page.ready()
    assert page.js("return window.taken")
    assert not page.find("missing").is_displayed()
    page.console()


@browsers
@pytest.mark.parametrize("where", ["Inbox", "Archive"])
def test_the_recording_is_found_in_the_inbox_and_in_the_archive(page: Page, tmp_path: Path, where: str) -> None:
    for folder in (f"{where}/a b", "Outbox/a b"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(DATA / "jfk.opus", tmp_path / where / "a b" / "x#1.opus")
    page.open(save_page(tmp_path / "Outbox" / "a b", with_source(TALK, "x#1.opus", "a b/x#1.opus"), sound=None))
    page.ready()
    assert page.js("return document.getElementById('media').src").endswith(f"/{where}/a%20b/x%231.opus")
    assert not page.find("missing").is_displayed()
    page.console()


@browsers
def test_the_text_is_there_when_scripts_are_off(page: Page, tmp_path: Path) -> None:
    page.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(save_page(tmp_path))
        body = page.driver.find_element(By.TAG_NAME, "body").text
    finally:
        page.cdp("Emulation.setScriptExecutionDisabled", value=False)
    assert "And so my fellow Americans ask not" in body
    assert "Scripts are off" in body
    assert not page.find("bar").is_displayed()

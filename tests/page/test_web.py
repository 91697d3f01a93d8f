"""The library of `dropscribe serve` in a real browser, with a daemon behind it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import DATA
from page_browser import JFK_WORDS, TALK, Page, browsers
from web_server import PATIENCE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = browsers

SOUND = DATA / "jfk.opus"
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Server]:
    flags = {
        "model": str(tiny_en),
        "backend": "faster-whisper",
        "settle_seconds": "0.1",
        "batch": "2",
        "threads": "2",
    }
    made = Server(tmp_path_factory.mktemp("web"), flags=flags)
    made.add("shows/talk.opus", TALK, sound=SOUND, now=1000.0)
    made.add("corrected.opus", TALK, sound=SOUND, now=2000.0)
    made.add("broken.mp3", failed="No sound was found in it. Export it again.", now=3000.0)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run"], env=made.environ, stderr=subprocess.DEVNULL
    )
    made.start()
    yield made
    made.stop()
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(PATIENCE)


@pytest.fixture
def web(page: Page, server: Server) -> Page:
    ticket = server.ask("/api/ticket", "POST").json["ticket"]
    page.driver.get(f"{server.url}/?token={ticket}")
    page.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
    return page


def visit(page: Page, server: Server, path: str) -> None:
    page.driver.get("about:blank")
    page.driver.get(f"{server.url}{path}")


def resize(page: Page, size: str, *, dark: bool = False) -> None:
    width, height = SIZES[size]
    page.cdp(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=size == "phone"
    )
    scheme = "dark" if dark else "light"
    page.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


@pytest.fixture
def sized(web: Page) -> Iterator[Page]:
    yield web
    web.cdp("Emulation.clearDeviceMetricsOverride")


def line(page: Page, name: str) -> str:
    return f"[...document.querySelectorAll('#uploads li')].find(li => li.textContent.includes({json.dumps(name)}))"


def find_problems(page: Page) -> list[dict[str, Any]]:
    spec = find_spec("axe_core_python")
    assert spec is not None
    assert spec.origin is not None
    page.js((Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations))"
    )
    return [problem for problem in found if problem["impact"] in {"serious", "critical"}]


def test_the_token_is_not_kept_in_the_address(web: Page, server: Server) -> None:
    assert web.driver.current_url == f"{server.url}/"
    assert web.js("return document.cookie") == ""


def test_a_word_that_is_clicked_is_heard_from_the_server(web: Page, server: Server) -> None:
    web.requests()
    visit(web, server, "/r/1")
    web.ready()
    web.click("country")
    web.until("!document.getElementById('media').paused")
    assert 5.9 < web.now < 8
    asked = {url for url in web.requests() if not url.startswith(("data:", "about:"))}
    assert asked
    assert all(url.startswith(server.url) for url in asked)
    assert web.console() == []


def test_an_address_with_a_time_leads_to_that_second(web: Page, server: Server) -> None:
    visit(web, server, "/r/1#t=6.5")
    web.ready()
    web.until("Math.abs(document.getElementById('media').currentTime - 6.5) < 0.1")


def test_recordings_that_are_added_are_transcribed_and_bad_ones_say_why(
    web: Page, server: Server, tmp_path: Path
) -> None:
    letter, talk = tmp_path / "letter.mp3", tmp_path / "added talk.opus"
    paper = tmp_path / "paper.pdf"
    letter.write_bytes(b"Dear all")
    paper.write_bytes(b"%PDF")
    talk.write_bytes(SOUND.read_bytes())
    web.find("files").send_keys("\n".join(map(str, (letter, paper, talk))))
    web.until(f"{line(web, 'added talk.opus')}?.classList.contains('good')")
    web.until(f"{line(web, 'letter.mp3')}?.textContent.includes('no recording')")
    web.until(f"{line(web, 'paper.pdf')}?.textContent.includes('not among the known suffixes')")
    limit = time.monotonic() + PATIENCE
    while not (server.outbox / "added talk.json").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    # The list renews itself when the daemon has done it.
    web.until("[...document.querySelectorAll('#listing a')].some(a => a.textContent === 'added talk.opus')")
    assert "your country" in (server.outbox / "added talk.txt").read_text()
    assert [entry for entry in web.console() if "415 (Unsupported" not in entry] == []


def test_a_button_asks_the_daemon_for_what_it_says(web: Page, server: Server) -> None:
    web.find("pause").click()
    web.until("document.getElementById('pause').textContent === 'Resume'")
    assert (server.state / "paused").exists()
    web.find("pause").click()
    web.until("document.getElementById('pause').textContent === 'Pause'")
    assert not (server.state / "paused").exists()


def test_words_and_speakers_are_corrected_in_place_and_taken_back(web: Page, server: Server) -> None:
    before = (server.outbox / "corrected.srt").read_text()
    visit(web, server, "/r/2")
    web.ready()
    web.find("correct").click()
    web.click("Americans")
    field = web.driver.find_element(By.CSS_SELECTOR, ".editor textarea")
    said = " ".join(word[0] for word in JFK_WORDS[0])
    assert field.get_attribute("value") == said
    field.clear()
    field.send_keys(said.replace("fellow Americans", "dear citizens"))
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    web.until("document.querySelector('dialog.offer[open]')")
    web.driver.find_element(By.XPATH, "//button[text()='Only here']").click()
    web.until("document.getElementById('above')?.dataset.state === '1-1' && document.readyState === 'complete'")
    assert "dear citizens" in web.find("text").text
    assert "dear citizens" in (server.outbox / "corrected.srt").read_text().replace("\n", " ")
    assert "fellow Americans" in (server.outbox / "corrected.original.json").read_text()
    # The times of words that are as they were have not moved.
    web.find("correct").click()
    web.ready()
    web.click("country")
    assert 5.9 < web.now < 8
    web.press(" ")
    web.find("undo").click()
    web.until("document.getElementById('above')?.dataset.state === '1-0' && document.readyState === 'complete'")
    assert "fellow Americans" in web.find("text").text
    assert (server.outbox / "corrected.srt").read_text() == before
    assert web.console() == []


def test_a_turn_is_moved_and_a_passage_accepted_with_the_keyboard_alone(web: Page, server: Server) -> None:
    visit(web, server, "/r/1")
    web.ready()
    doubtful = web.js("return document.querySelectorAll('aside li').length")
    web.quiet()
    web.press("e")
    web.until("document.activeElement.tagName === 'TEXTAREA'")
    web.press(Keys.TAB, "Guest")
    assert web.js("return document.activeElement.value") == "Guest"
    web.press(Keys.TAB, Keys.ENTER)
    web.until("document.getElementById('above')?.dataset.state === '1-1' && document.readyState === 'complete'")
    assert web.js("return [...document.querySelectorAll('.part')].map(p => p.dataset.speaker)") == ["Guest"] * len(
        web.driver.find_elements(By.CSS_SELECTOR, ".part")
    )
    web.ready()
    button = web.driver.find_element(By.XPATH, "(//aside//button[text()='It is right'])[1]")
    web.js("arguments[0].focus()", button)
    web.press(Keys.ENTER)
    web.until("document.getElementById('above').dataset.state === '2-2'")
    assert web.js("return document.querySelectorAll('aside li').length") == doubtful - 1


def test_a_speaker_who_is_renamed_on_the_page_is_renamed_in_the_files(web: Page, server: Server) -> None:
    visit(web, server, "/r/2")
    web.ready()
    before = web.find("above").get_attribute("data-state")
    web.driver.find_element(By.CSS_SELECTOR, "#speakers [data-speaker='Guest'] .rename").click()
    web.press("Jacqueline", Keys.ENTER)
    web.until(f"document.getElementById('above')?.dataset.state !== '{before}' && document.readyState === 'complete'")
    assert "Jacqueline" in web.find("text").text
    assert "Jacqueline: " in (server.outbox / "corrected.srt").read_text()


def test_a_passage_is_played_in_a_loop(web: Page, server: Server) -> None:
    visit(web, server, "/r/2")
    web.ready()
    web.driver.find_element(By.CSS_SELECTOR, "aside button.loop").click()
    web.until("!document.getElementById('media').paused")
    start, end = web.js("return JSON.parse(document.getElementById('data').textContent).passages[0]")
    web.js(
        "window.turns = 0; document.getElementById('media').addEventListener('seeked', () => { window.turns += 1; })"
    )
    web.until("window.turns >= 2")
    assert start - 0.5 < web.now < end + 0.6


def test_a_sentence_that_is_found_is_heard_where_it_stands(web: Page, server: Server) -> None:
    visit(web, server, "/search?q=country")
    web.driver.find_element(By.CSS_SELECTOR, "button.hear").click()
    web.until("!document.getElementById('player').paused && document.getElementById('player').currentTime > 0.05")
    web.driver.find_element(By.CSS_SELECTOR, "button.hear").click()
    web.until("document.getElementById('player').paused")
    assert web.console() == []


@pytest.mark.parametrize("path", ["/", "/r/1", "/search?q=country", "/settings", "/doctor"])
def test_every_page_fits_a_phone_and_is_read_by_a_screen_reader(sized: Page, server: Server, path: str) -> None:
    for size, dark in (("desk", False), ("phone", True)):
        resize(sized, size, dark=dark)
        visit(sized, server, path)
        assert sized.js("return document.documentElement.scrollWidth <= innerWidth")
        assert [(p["id"], p["nodes"][0]["html"]) for p in find_problems(sized)] == []


def test_the_keyboard_reaches_the_content_first(web: Page, server: Server) -> None:
    visit(web, server, "/")
    web.press(Keys.TAB)
    assert web.js("return document.activeElement.textContent") == "To the content"
    web.press(Keys.ENTER)
    assert web.driver.current_url.endswith("#text")

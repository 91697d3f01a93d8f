"""The page in a real browser, with a real recording, from a disk as a person opens it.

What the page says of itself is not believed: words are found in the document by their text, clicked by their place on
the screen, and what is lit is read from the browser's own highlights.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from conftest import DATA
from dropscribe.formats.page import render_html
from dropscribe.transcript import Segment, Transcript, Word
from examples import transcript

if TYPE_CHECKING:
    from pathlib import Path

    from selenium import webdriver

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

browsers = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not installed")

# jfk.opus as Whisper tiny.en transcribes it; two passages are made unsure.
JFK_WORDS = [
    [
        ("And", 0.02, 0.74, 0.68), ("so", 0.74, 1.06, 0.98), ("my", 1.06, 1.46, 0.1), ("fellow", 1.46, 1.76, 0.2),
        ("Americans", 1.76, 2.28, 0.89), ("ask", 2.28, 3.88, 0.8), ("not", 3.88, 4.56, 0.85),
        ("what", 4.56, 5.7, 0.89), ("your", 5.7, 6.02, 0.98), ("country", 6.02, 6.36, 1.0),
        ("can", 6.36, 6.76, 1.0), ("do", 6.76, 7.02, 1.0), ("for", 7.02, 7.26, 0.99), ("you", 7.26, 8.06, 0.99),
    ],
    [
        ("ask", 8.06, 8.66, 0.2), ("what", 8.66, 8.94, 0.3), ("you", 8.94, 9.28, 0.99), ("can", 9.28, 9.5, 1.0),
        ("do", 9.5, 9.72, 1.0), ("for", 9.72, 9.92, 1.0), ("your", 9.92, 10.22, 0.99),
        ("country.", 10.22, 10.44, 1.0),
    ],
]  # fmt: skip


def make_segment(
    spoken: list[tuple[str, float, float, float]], number: int = 0, speaker: str | None = None
) -> Segment:
    words = tuple(Word(f" {text}", start, end, probability) for text, start, end, probability in spoken)
    text = " ".join(each[0] for each in spoken)
    return Segment(number, spoken[0][1], spoken[-1][2], text, words, speaker=speaker)


def with_source(made: Transcript, name: str, path: str | None = None, size: int = 43868) -> Transcript:
    return dataclasses.replace(
        made, source=dataclasses.replace(made.source, name=name, path=path or name, bytes=size), warnings=()
    )


TALK = with_source(
    transcript(
        [make_segment(JFK_WORDS[0], 0, "Host"), make_segment(JFK_WORDS[1], 1, "Guest")],
        duration=11.0,
    ),
    "jfk.opus",
)


@dataclass
class Page:
    """A page in the browser, and what a person can do with it."""

    driver: webdriver.Chrome

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())

    def js(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def until(self, condition: str) -> Any:
        """Wait until an expression is true, and return it."""
        return WebDriverWait(self.driver, 20, 0.02).until(lambda _: self.js(f"return ({condition})"), condition)

    def ready(self) -> None:
        self.until("document.getElementById('media').readyState >= 3")

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    @property
    def now(self) -> float:
        return float(self.js("return document.getElementById('media').currentTime"))

    @property
    def paused(self) -> bool:
        return bool(self.js("return document.getElementById('media').paused"))

    def shown(self, name: str) -> list[str]:
        """Return the texts that the browser paints in one of the page's highlights."""
        found = self.js("return [...CSS.highlights.get(arguments[0])].map(r => r.toString())", name)
        return [str(each) for each in found]

    def place(self, text: str, nth: int = 0) -> dict[str, float]:
        """Return the middle of the nth place of a text on the screen, scrolled to."""
        found = self.js(
            """
            const [wanted, nth] = arguments;
            let left = nth;
            for (const line of document.querySelectorAll("#text .line")) {
              const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
              for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                let at = -1;
                while ((at = node.data.indexOf(wanted, at + 1)) >= 0) {
                  if (left-- > 0) continue;
                  const range = document.createRange();
                  range.setStart(node, at);
                  range.setEnd(node, at + wanted.length);
                  line.scrollIntoView({block: "center"});
                  const box = range.getBoundingClientRect();
                  if (box.top < 150 || box.bottom > innerHeight) scrollBy(0, box.top - innerHeight / 2);
                  const last = range.getBoundingClientRect();
                  return {x: last.left + last.width / 2, y: last.top + last.height / 2};
                }
              }
            }
            return null;
            """,
            text,
            nth,
        )
        assert found, f"not in the page: {text}"
        return {name: float(value) for name, value in found.items()}

    def click(self, text: str, nth: int = 0) -> None:
        place = self.place(text, nth)
        actions = ActionBuilder(self.driver)
        actions.pointer_action.move_to_location(round(place["x"]), round(place["y"])).click()  # type: ignore[no-untyped-call]
        actions.perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def quiet(self) -> None:
        """Let the keyboard speak to the page, not to a field."""
        self.js("document.activeElement.blur()")

    def console(self) -> list[str]:
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last look."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def cdp(self, command: str, **given: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, given)


def save_page(folder: Path, made: Transcript = TALK, *, sound: str | None = "jfk.opus") -> Path:
    """Put a page into a folder, and the recording next to it."""
    path = folder / "jfk.html"
    path.write_text(render_html(made), encoding="utf-8")
    if sound:
        shutil.copy(DATA / sound, folder / made.source.name)
    return path

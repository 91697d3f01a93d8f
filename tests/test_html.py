"""The page in a real browser, with a real recording, from a disk as a person opens it.

What the page says of itself is not believed: words are found in the document by their text, clicked by their place on
the screen, and what is lit is read from the browser's own highlights.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from conftest import DATA
from dropscribe.formats.page import render_html
from dropscribe.formats.utterances import split_utterances
from dropscribe.transcript import Segment, Transcript, Word
from examples import transcript, transcripts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

browsers = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not installed")

# jfk.opus as Whisper tiny.en heard it; two passages are made doubtful.
HEARD = [
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


def said(spoken: list[tuple[str, float, float, float]], number: int = 0, speaker: str | None = None) -> Segment:
    words = tuple(Word(f" {text}", start, end, probability) for text, start, end, probability in spoken)
    text = " ".join(each[0] for each in spoken)
    return Segment(number, spoken[0][1], spoken[-1][2], text, words, speaker=speaker)


def named(made: Transcript, name: str, path: str | None = None, size: int = 43868) -> Transcript:
    return dataclasses.replace(
        made, source=dataclasses.replace(made.source, name=name, path=path or name, bytes=size), warnings=()
    )


TALK = named(
    transcript([said(HEARD[0], 0, "Host"), said(HEARD[1], 1, "Guest")], duration=11.0), "jfk.opus"
)  # fmt: skip


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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "mute-audio", "window-size=1200,900",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # A BLAS that is preloaded for MLX ends Chromium's renderer.
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER, env=environ))
    yield Page(driver)
    driver.quit()


@pytest.fixture
def page(browser: Page) -> Page:
    browser.driver.get("about:blank")
    browser.cdp("Emulation.setEmulatedMedia", features=[])
    browser.driver.set_window_size(1200, 900)
    browser.console()
    browser.requests()
    return browser


def laid(folder: Path, made: Transcript = TALK, *, sound: str | None = "jfk.opus") -> Path:
    """Put a page into a folder, and the recording beside it."""
    path = folder / "jfk.html"
    path.write_text(render_html(made), encoding="utf-8")
    if sound:
        shutil.copy(DATA / sound, folder / made.source.name)
    return path


@pytest.fixture
def talk(page: Page, tmp_path: Path) -> Page:
    page.open(laid(tmp_path))
    page.js("localStorage.clear(); delete document.documentElement.dataset.theme")
    page.ready()
    return page


# ---- The file


class _Reader(HTMLParser):
    """Reads the page with a parser that is not ours."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.bodies: list[str] = []
        self.tags: set[str] = set()
        self.policy = ""
        self._line = 0
        self._raw = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        assert not [name for name in found if name.startswith("on") or name == "style"]
        if tag == "meta" and found.get("http-equiv"):
            self.policy = found["content"] or ""
        if tag in {"script", "style"}:
            self._raw = tag
            self.scripts.append(found | {"tag": tag})
            self.bodies.append("")
        if tag == "p" and found.get("class") == "line":
            self.lines.append("")
            self._line = 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._line = 0
        if tag == self._raw:
            self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.bodies[-1] += data
        elif self._line:
            self.lines[-1] += data


@given(transcripts)
def test_every_word_is_in_the_page_once_and_found_by_its_numbers(made: Transcript) -> None:
    read = _Reader(render_html(made))
    tokens = [token for each in split_utterances(made) for token in each.tokens]
    data = json.loads(read.bodies[1])
    assert len(data["words"]) == len(read.lines)
    found, clock = [], 0
    for line, row in zip(read.lines, data["words"], strict=True):
        units, at = line.encode("utf-16-le"), 0
        for skip, take, since, lasts in zip(*[iter(row)] * 4, strict=True):
            at += skip
            clock += since
            found.append((units[2 * at : 2 * (at + take)].decode("utf-16-le"), clock, lasts))
            at += take
        assert 2 * at == len(units)
    assert found == [
        (t.text, round(t.start * 1000), max(0, round(t.end * 1000) - round(t.start * 1000))) for t in tokens
    ]


@given(transcripts)
def test_the_markup_is_the_same_whatever_is_said(made: Transcript) -> None:
    read = _Reader(render_html(made))
    assert [(s["tag"], s.get("id")) for s in read.scripts] == [("style", None), ("script", "data"), ("script", None)]
    assert read.tags <= _Reader(render_html(TALK)).tags | {"br", "mark", "details", "summary", "ol", "li"}


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    read = _Reader(render_html(TALK))
    rules = dict(rule.split(" ", 1) for rule in read.policy.split("; "))
    style, _, script = (
        f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in read.bodies
    )
    assert rules == {
        "default-src": "'none'",
        "script-src": script,
        "style-src": style,
        "media-src": "'self' file: blob:",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert not re.search(r"<!--|</script", read.bodies[2])


def test_the_same_transcript_gives_the_same_page() -> None:
    assert render_html(TALK) == render_html(TALK)


def test_where_the_recording_may_lie() -> None:
    def places(name: str, path: str) -> list[str]:
        return list(json.loads(_Reader(render_html(named(TALK, name, path))).bodies[1])["places"])

    assert places("a b#1?.m4a", "x/y/a b#1?.m4a") == [
        "a%20b%231%3F.m4a",
        "../../../Inbox/x/y/a%20b%231%3F.m4a",
        "../../../Archive/x/y/a%20b%231%3F.m4a",
    ]
    assert places("t:1.m4a", "t:1.m4a") == ["t%3A1.m4a", "../Inbox/t%3A1.m4a", "../Archive/t%3A1.m4a"]
    assert places("é.m4a", "/home/é.m4a") == ["%C3%A9.m4a", "file:///home/%C3%A9.m4a"]
    assert places("\udce9.m4a", "../\udce9.m4a") == ["%E9.m4a"]
    assert places("javascript:alert(1)", "../x")[0] == "javascript%3Aalert%281%29"


# ---- The page


@browsers
def test_it_opens_without_a_complaint_and_asks_for_nothing_but_the_recording(talk: Page, tmp_path: Path) -> None:
    base = tmp_path.as_uri()
    assert set(talk.requests()) <= {f"{base}/jfk.html", f"{base}/jfk.opus", "data:,"}
    assert talk.console() == []
    assert talk.driver.title == "jfk.opus"
    assert not talk.find("missing").is_displayed()
    assert talk.find("clock").text == "0:00 / 0:11"


@browsers
def test_the_browser_refuses_whatever_else_is_tried_from_the_page(talk: Page) -> None:
    talk.requests()
    tried = talk.js(
        """
        const seen = [];
        document.addEventListener("securitypolicyviolation", event => seen.push(event.effectiveDirective));
        const tries = [
          () => fetch("https://example.org/x").catch(() => {}),
          () => { new Image().src = "https://example.org/x.png"; },
          () => { const m = document.createElement("video"); m.src = "https://example.org/x.mp4"; m.load(); },
          () => document.body.append(Object.assign(document.createElement("script"), {src: "data:,pwned=1"})),
          () => { const s = document.createElement("style"); s.textContent = "p{}"; document.body.append(s); },
          () => { document.body.setAttribute("style", "color:red"); },
          () => document.body.append(Object.assign(document.createElement("iframe"), {src: "https://example.org"})),
          () => { document.querySelector("h1").innerHTML = "<b>x</b>"; },
          () => { document.querySelector("h1").setAttribute("onclick", "window.pwned=1"); },
        ];
        for (const each of tries) { try { each(); } catch (error) { seen.push(error.name); } }
        window.seen = seen;
        return tries.length;
        """
    )
    assert tried == 9
    wanted = {"connect-src", "img-src", "media-src", "style-src-elem", "style-src-attr", "frame-src", "TypeError"}
    talk.until(f"{json.dumps(sorted(wanted))}.every(each => window.seen.includes(each))")
    assert not talk.js("return window.pwned")
    assert not [
        url for url in talk.requests() if not url.startswith(("file:", "data:", "blob:", "https://example.org"))
    ]
    talk.console()


NASTY = [
    "</script><script>window.pwned = 1</script>",
    "<!-- <script>",
    "</span></p></main><img src=x onerror=window.pwned=1>",
    "\"'`><svg onload=window.pwned=1>",
    "${window.pwned=1} $title $$ {{x}}",
    "one\u2028two\u2029three\x85four",
    "&lt;b&gt; &amp; &#x3c; &copy",
    "\u202eאמת עליכם\u202c مرحبا بالعالم",
    "👩\u200d👩\u200d👧\u200d👦 🇩🇪 e\u0301 \U0001f600",
    "\x00\x1b[31m\ufffe\x7f",
    "javascript:window.pwned=1",
    "]]> <![CDATA[ <?xml ?>",
]


@browsers
def test_nothing_that_is_said_becomes_markup_or_script(page: Page, tmp_path: Path) -> None:
    spoken = [
        Segment(
            i,
            i,
            i + 0.9,
            text,
            tuple(
                Word(f" {word}", i + n / 10, i + n / 10 + 0.1, 0.1 + n / 10, speaker=text)
                for n, word in enumerate(text.split())
            ),
            speaker=text,
        )
        for i, text in enumerate(NASTY)
    ]
    made = named(transcript(spoken, duration=12.0), "<!--<script>&'\"$x.opus", "a/</script>.opus")
    made = dataclasses.replace(
        made,
        language='"><script>',
        engine=dataclasses.replace(made.engine, model="<i>", backend="</title>"),
        warnings=(*TALK.warnings, *(dataclasses.replace(w, detail="</p><script>") for w in transcript([]).warnings)),
    )
    page.open(laid(tmp_path, made))
    page.ready()
    assert page.console() == []
    assert not page.js("return window.pwned")
    assert page.js("return document.scripts.length") == 2
    assert page.js("return document.querySelectorAll('img, iframe, #text svg, #text b, #text script').length") == 0
    assert page.js("return [...document.querySelectorAll('#text .line')].map(line => line.textContent)") == [
        each.text for each in split_utterances(made)
    ]
    assert page.js("return [...document.querySelectorAll('.speaker')].map(name => name.textContent)") == [
        each.speaker for each in split_utterances(made)
    ]
    assert page.driver.title == "<!--<script>&'\"$x.opus"
    # And every word is where the script thinks: emoji and marks are several units long.
    page.click("\U0001f600")
    page.until("[...CSS.highlights.get('spoken')].map(r => r.toString()).includes('\U0001f600')")
    page.click("עליכם")
    page.until("[...CSS.highlights.get('spoken')].some(r => r.toString().startsWith('עליכם'))")


# ---- Playing


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
    words = [each for spoken in HEARD for each in spoken]
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
def test_n_and_p_go_through_the_doubtful_passages_in_order_of_time(talk: Page) -> None:
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


# ---- Search


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
    page.open(laid(tmp_path, named(transcript([said(spoken)], duration=11.0), "jfk.opus")))
    page.ready()
    page.find("query").send_keys(query)
    page.until("document.getElementById('count').textContent !== ''")
    assert page.shown("found") == found


# ---- Without the recording beside it


@browsers
def test_without_the_recording_everything_but_playing_works(page: Page, tmp_path: Path) -> None:
    page.open(laid(tmp_path, sound=None))
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
    page.open(laid(tmp_path, sound=None))
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
    page.open(laid(tmp_path, sound=None))
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
    page.open(laid(tmp_path, sound=None))
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
    page.open(laid(tmp_path / "Outbox" / "a b", named(TALK, "x#1.opus", "a b/x#1.opus"), sound=None))
    page.ready()
    assert page.js("return document.getElementById('media').src").endswith(f"/{where}/a%20b/x%231.opus")
    assert not page.find("missing").is_displayed()
    page.console()


@browsers
def test_the_text_is_there_when_scripts_are_off(page: Page, tmp_path: Path) -> None:
    page.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(laid(tmp_path))
        body = page.driver.find_element(By.TAG_NAME, "body").text
    finally:
        page.cdp("Emulation.setScriptExecutionDisabled", value=False)
    assert "And so my fellow Americans ask not" in body
    assert "Scripts are off" in body
    assert not page.find("bar").is_displayed()


# ---- Looks, copying, help from the system


def paper(page: Page) -> str:
    return str(page.js("return getComputedStyle(document.documentElement).backgroundColor"))


@browsers
def test_dark_as_the_system_has_it_or_as_the_reader_wants(talk: Page) -> None:
    light = paper(talk)
    talk.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = paper(talk)
    assert (light, dark) == ("rgb(252, 251, 248)", "rgb(22, 24, 27)")
    assert talk.find("theme").get_attribute("aria-pressed") == "true"
    talk.find("theme").click()
    assert paper(talk) == light
    talk.driver.refresh()
    assert paper(talk) == light, "what the reader chose stays"
    talk.quiet()
    talk.press("d")
    assert paper(talk) == dark
    assert talk.find("theme").get_attribute("aria-pressed") == "true"
    talk.js("localStorage.clear()")


@browsers
def test_copying_gives_times_and_speakers(talk: Page) -> None:
    def pasted() -> str:
        query = talk.find("query")
        query.clear()
        query.send_keys(Keys.CONTROL, "v")
        return str(query.get_attribute("value"))

    talk.find("copy").click()
    assert "Copied 2 paragraphs" in talk.find("status").text
    assert pasted().strip() == (  # the field has one line
        "[0:00] Host: And so my fellow Americans ask not what your country can do for you"
        " [0:08] Guest: ask what you can do for your country."
    )
    talk.quiet()
    talk.js(
        """
        const lines = document.querySelectorAll("#text .line");
        const walker = document.createTreeWalker(lines[0], NodeFilter.SHOW_TEXT);
        let node = walker.nextNode();
        while (!node.data.includes("country")) node = walker.nextNode();
        const range = document.createRange();
        range.setStart(node, node.data.indexOf("country"));
        range.setEnd(lines[1].querySelector("mark").firstChild, 3);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        """
    )
    talk.press("c")
    assert pasted().strip() == "[0:06] Host: country can do for you [0:08] Guest: ask"


@browsers
def test_every_control_has_a_name_and_shows_its_focus(talk: Page) -> None:
    nodes = talk.cdp("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "combobox", "searchbox", "link", "DisclosureTriangle"}
    controls = [
        (n["role"]["value"], n["name"]["value"]) for n in nodes if not n["ignored"] and n["role"]["value"] in roles
    ]
    assert {"Play", "Position", "Speed", "Search the transcript", "Play from 0:00"} <= {name for _, name in controls}
    assert all(name for _, name in controls)
    talk.js("document.activeElement.blur(); getSelection().removeAllRanges()")
    reached = []
    for _ in range(20):
        talk.press(Keys.TAB)
        found = talk.js(
            """
            const one = document.activeElement;
            const shown = one.id === "query" ? one.closest("form") : one;
            const style = getComputedStyle(shown);
            const plain = style.outlineStyle === "none" && shown === one;
            return [one.id || one.className || one.tagName, !plain];
            """
        )
        if found[0] == "BODY":
            break
        reached.append(found[0])
        assert found[1], f"{found[0]} does not show that it has the focus"
    assert reached[:4] == ["back", "play", "forward", "seek"]
    assert {"query", "copy", "theme", "ask", "at"} <= set(reached)


@browsers
def test_nothing_is_wider_than_a_narrow_window(talk: Page) -> None:
    talk.cdp("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=False)
    try:
        talk.driver.refresh()
        talk.ready()
        assert talk.js("return document.documentElement.scrollWidth") <= 320
        assert talk.js("return document.getElementById('seek').offsetWidth") > 200
        assert not talk.js("return document.querySelector('aside details').open")
    finally:
        talk.cdp("Emulation.clearDeviceMetricsOverride")


# ---- Three hours


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
        spoken.append(said(row, number, f"Speaker {number // 37 % 3}"))
    return named(transcript(spoken, duration=round(at + 1, 2)), "jfk.opus")


@browsers
def test_three_hours_are_few_elements_of_which_few_are_laid_out(page: Page, tmp_path: Path) -> None:
    page.open(laid(tmp_path, long_talk(), sound=None))
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
    page.open(laid(tmp_path, long_talk(), sound=None))
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
    spoken = [said([(f"w{i}", i / 4, i / 4 + 0.2, 0.99)], i, f"Speaker {i % 2}") for i in range(44)]
    page.open(laid(tmp_path, named(transcript(spoken, duration=11.0), "jfk.opus")))
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

"""The page in a real browser: it asks for nothing but the recording, and nothing that is said becomes script."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from dropscribe.formats.utterances import split_utterances
from dropscribe.transcript import Segment, Word
from examples import transcript
from page_browser import TALK, Page, browsers, save_page, with_source

if TYPE_CHECKING:
    from pathlib import Path


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
    made = with_source(transcript(spoken, duration=12.0), "<!--<script>&'\"$x.opus", "a/</script>.opus")
    made = dataclasses.replace(
        made,
        language='"><script>',
        engine=dataclasses.replace(made.engine, model="<i>", backend="</title>"),
        warnings=(*TALK.warnings, *(dataclasses.replace(w, detail="</p><script>") for w in transcript([]).warnings)),
    )
    page.open(save_page(tmp_path, made))
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

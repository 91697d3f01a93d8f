"""The page as a file: every word is in it once, nothing that is said becomes markup, the policy is tight."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from hypothesis import given

from dropscribe.formats.page import render_html
from dropscribe.formats.utterances import split_utterances
from examples import transcripts
from page_browser import TALK, with_source

if TYPE_CHECKING:
    from dropscribe.transcript import Transcript


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


def test_where_the_recording_may_be() -> None:
    def places(name: str, path: str) -> list[str]:
        return list(json.loads(_Reader(render_html(with_source(TALK, name, path))).bodies[1])["places"])

    assert places("a b#1?.m4a", "x/y/a b#1?.m4a") == [
        "a%20b%231%3F.m4a",
        "../../../Inbox/x/y/a%20b%231%3F.m4a",
        "../../../Archive/x/y/a%20b%231%3F.m4a",
    ]
    assert places("t:1.m4a", "t:1.m4a") == ["t%3A1.m4a", "../Inbox/t%3A1.m4a", "../Archive/t%3A1.m4a"]
    assert places("é.m4a", "/home/é.m4a") == ["%C3%A9.m4a", "file:///home/%C3%A9.m4a"]
    assert places("\udce9.m4a", "../\udce9.m4a") == ["%E9.m4a"]
    assert places("javascript:alert(1)", "../x")[0] == "javascript%3Aalert%281%29"

"""How the page looks, copies, and speaks to the system's aids, in a real browser."""

from __future__ import annotations

from selenium.webdriver.common.keys import Keys

from page_browser import Page, browsers


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

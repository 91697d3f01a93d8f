"""A browser for all tests of the page, and the page of a short speech in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver

from page_browser import CHROMIUM, DRIVER, Page, save_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
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


@pytest.fixture
def talk(page: Page, tmp_path: Path) -> Page:
    page.open(save_page(tmp_path))
    page.js("localStorage.clear(); delete document.documentElement.dataset.theme")
    page.ready()
    return page

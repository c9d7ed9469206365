"""Debian's Chromium before a gateway of the whole system's; one of each for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.site import Site, open_site
from tests.browser.visits import Visits
from tools.page_picture import CHROMIUM, launch
from tools.stack import Servers


@pytest.fixture(scope="package")
def site(servers: Servers) -> Iterator[Site]:
    """Give the gateway, with something on each of its pages."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    servers.start()
    with open_site(servers) as site:
        yield site


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Browser]:
    """Give the browser. While Playwright runs it has an event loop, beside which no other test can have one."""
    del site  # what takes longest to start fails first
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of screenshots, named by page, theme and width: for people to look at."""
    return tmp_path_factory.mktemp("screens", numbered=False)


@pytest.fixture
def visits(site: Site, chromium: Browser) -> Iterator[Visits]:
    """Open pages as one person or another; they are closed after the test."""
    with Visits(site, chromium) as visits:
        yield visits

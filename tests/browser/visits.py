"""Pages as people open them, with what the browser's console had to say."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from playwright.sync_api import Browser, BrowserContext, FilePayload, Locator, Page, expect

from tests.browser.site import ADA, Site, photo
from tests.support.gateway_visitors import ADMIN

WAIT: Final = 30_000.0
"""Milliseconds that anything on a page may take."""
TABS: Final = 80
Who = Literal["", "ada", "admin"]

expect.set_options(timeout=WAIT)


class Visits:
    """Opens pages; each person has a browser context of their own."""

    def __init__(self, site: Site, browser: Browser) -> None:
        self.site = site
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        """Errors and breaches of the pages' policy that the console showed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for context in self._contexts:
            context.close()

    def open(self, path: str, who: Who = "", *, script: bool = True) -> Page:
        """Open a page as somebody; without `script` the browser has no JavaScript."""
        context = self._browser.new_context(java_script_enabled=script, base_url=self.site.url)
        context.set_default_timeout(WAIT)
        self._contexts.append(context)
        if who:
            # Signed in already, by the programs' own way through the form.
            visitor = self.site.ada if who == "ada" else self.site.admin
            context.add_cookies(
                [
                    {"name": each.name, "value": each.value or "", "url": self.site.url}
                    for each in visitor.session.cookies
                ]
            )
        page = context.new_page()
        page.on("console", lambda message: self._listen(message.type, f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: self._listen("error", f"{page.url}: {error}"))
        # Listened to from the beginning: Chromium takes a while until it hands file choosers over.
        page.on("filechooser", lambda chooser: None)  # noqa: ARG005 - `choose` is told of each as well
        page.goto(path)
        return page

    def _listen(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


def sign_in(page: Page, site: Site, who: Who) -> None:
    """Fill in the form of the page that is open, with the keyboard alone."""
    address = ADA if who == "ada" else ADMIN
    go_to(page, page.get_by_label("E-mail address"))
    page.keyboard.type(address)
    page.keyboard.press("Tab")
    page.keyboard.type(site.passwords[address])
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)


def go_to(page: Page, wanted: Locator) -> None:
    """Go to an element with the tabulator, as whoever has no mouse."""
    for _ in range(TABS):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    msg = f"the tabulator never comes to {wanted}"
    raise AssertionError(msg)


def choose(page: Page, *files: FilePayload) -> None:
    """Choose files with the keyboard."""
    go_to(page, page.locator("input[type=file]"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(list(files))


def picture(number: int, name: str = "") -> FilePayload:
    """Return a photo to choose."""
    return payload(name or f"photo-{number}.jpg", photo(number))


def payload(name: str, data: bytes) -> FilePayload:
    """Return a file to choose."""
    return {"name": name, "mimeType": mimetypes.guess_type(name)[0] or "application/octet-stream", "buffer": data}


def take(page: Page, folder: Path, name: str) -> None:
    """Keep how a page looks."""
    page.screenshot(path=folder / f"{name}.png", full_page=True)

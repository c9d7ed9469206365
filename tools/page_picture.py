"""README's picture of the page: the demo's photos, classified by EfficientNet-Lite0, as Chromium shows them.

python -m tools.page_picture [docs/page.webp]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Playwright, sync_playwright

from tools.photos import sample
from tools.stack import Servers, Stack, orderly_end

MODEL: Final = "efficientnet-lite0"
PHOTOS: Final = ("chelsea", "coffee", "rocket")
CHROMIUM: Final = Path("/usr/bin/chromium")
WINDOW: Final = {"width": 1120, "height": 700}
LONGEST: Final = 900
WAIT_MILLISECONDS: Final = 60_000
QUALITY: Final = 82


def main() -> None:
    """Start what the page needs, photograph it, write the picture."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/page.webp")
    with orderly_end(), Servers(models=[MODEL]) as servers:
        servers.start()
        with Stack(servers) as stack:
            url = stack.start_gateway(gateway_anonymous="user").url
            with sync_playwright() as playwright:
                browser = launch(playwright)
                page = browser.new_page(base_url=url, viewport=WINDOW, color_scheme="light")  # type: ignore[arg-type]
                photographed = _classified(page)
                browser.close()
    Image.open(io.BytesIO(photographed)).convert("RGB").save(output, "WEBP", quality=QUALITY, method=6)
    print(f"{output}: {output.stat().st_size:,} bytes")


def launch(playwright: Playwright) -> Browser:
    """Start Debian's Chromium."""
    # Root may start it only so, and containers have a small /dev/shm.
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])


def _classified(page: Page) -> bytes:
    """Return a PNG of the page with its results."""
    page.goto("/")
    page.locator("input[type=file]").set_input_files([_photo(name) for name in PHOTOS])
    page.get_by_role("button", name="Classify").click()
    page.locator("#results .card").first.wait_for(timeout=WAIT_MILLISECONDS)
    # From the top, however long the page is: what a person came for is there.
    page.locator("body").click(position={"x": 5, "y": 5})
    return page.screenshot(full_page=True)


def _photo(name: str) -> FilePayload:
    picture = sample(name).copy()
    picture.thumbnail((LONGEST, LONGEST))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=90)
    return {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": written.getvalue()}


if __name__ == "__main__":
    main()

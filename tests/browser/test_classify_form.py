"""The Classify form with script: drop, paste, choose, take away, send, and what goes wrong on the way."""

from __future__ import annotations

import base64
from typing import Final

from playwright.sync_api import FilePayload, Page, Route, expect

from tests.browser.site import LARGEST
from tests.browser.visits import Visits, choose, go_to, payload, picture

# What a person's hands do elsewhere than in the page: files come with the event.
GIVE: Final = """(target, [kind, files]) => {
    const transfer = new DataTransfer();
    for (const [name, data] of files) {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/jpeg", lastModified: 1 }));
    }
    const more = { bubbles: true, cancelable: true };
    target.dispatchEvent(kind === "paste"
        ? new ClipboardEvent(kind, { clipboardData: transfer, ...more })
        : new DragEvent(kind, { dataTransfer: transfer, ...more }));
}"""


def give(page: Page, kind: str, *files: FilePayload) -> None:
    """Drop or paste pictures."""
    sent = [[each["name"], base64.b64encode(each["buffer"]).decode()] for each in files]
    page.locator("form.drop").evaluate(GIVE, [kind, sent])


def test_pictures_are_dropped_pasted_chosen_and_taken_away(visits: Visits) -> None:
    page = visits.open("/", "ada")
    form, chosen = page.locator("form.drop"), page.get_by_role("list", name="Chosen pictures").get_by_role("listitem")
    expect(chosen).to_have_count(0)
    give(page, "dragover", picture(1))
    expect(form).to_have_class("drop over")
    give(page, "drop", picture(1), picture(2))
    expect(form).to_have_class("drop")
    expect(chosen).to_have_count(2)
    give(page, "drop", picture(2))
    give(page, "paste", picture(3, "image.png"))
    choose(page, picture(4))
    expect(chosen).to_have_count(4)
    expect(chosen.nth(2)).to_contain_text("pasted-1-image.png")
    expect(page.get_by_role("status")).to_have_text("4 pictures chosen.")
    assert chosen.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    go_to(page, page.get_by_role("button", name="Remove photo-1.jpg"))
    page.keyboard.press("Enter")
    expect(chosen).to_have_count(3)
    expect(page.get_by_role("status")).to_have_text("photo-1.jpg is taken away, 3 pictures left.")
    expect(page.get_by_role("button", name="Remove photo-2.jpg")).to_be_focused()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#results .card")).to_have_count(3)
    expect(page.get_by_role("heading", name="Results")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("3 pictures classified.")
    expect(chosen).to_have_count(0)
    assert visits.complaints == []


def test_too_many_or_too_large_are_refused_before_they_are_sent(visits: Visits) -> None:
    page = visits.open("/", "ada")
    choose(page, *(picture(number) for number in range(11)))
    expect(page.get_by_role("alert")).to_have_text(
        "Please upload no more than 9 files. Left out: photo-9.jpg, photo-10.jpg."
    )
    expect(page.get_by_role("button", name="Remove")).to_have_count(9)
    page.reload()
    choose(page, payload("large.jpg", bytes(2 * LARGEST)))
    expect(page.get_by_role("alert")).to_contain_text("large.jpg has 2 MiB, 1 at most are taken")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)


def test_it_says_how_far_it_is(visits: Visits) -> None:
    page = visits.open("/", "ada")
    held: list[Route] = []
    page.route("**/", lambda route: held.append(route))  # noqa: PLW0108 - it takes no builtin
    choose(page, picture(1), picture(2))
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("2 pictures")
    for button in ("Classify", "Remove photo-1.jpg"):
        expect(page.get_by_role("button", name=button)).to_be_disabled()
    held[0].continue_()
    expect(page.locator("#results .card")).to_have_count(2)
    expect(page.get_by_role("progressbar")).to_be_hidden()


def test_a_network_that_fails_is_told_and_nothing_is_lost(visits: Visits) -> None:
    page = visits.open("/", "ada")
    choose(page, picture(1))
    page.context.set_offline(True)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway can't be reached. Your pictures are still chosen")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    page.context.set_offline(False)
    page.keyboard.press("Enter")
    expect(page.locator("#results .card")).to_have_count(1)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_gateway_that_is_busy_says_when_to_come_back(visits: Visits) -> None:
    page = visits.open("/", "ada")
    problem = '{"title": "Service Unavailable", "status": 503, "detail": "the queue is full"}'
    page.route("**/", lambda route: route.fulfill(status=503, headers={"Retry-After": "4"}, body=problem))
    choose(page, picture(1))
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_have_text(
        "the queue is full. Your pictures are still chosen: press Classify again in 4 s."
    )

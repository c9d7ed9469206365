"""What people come for, with the keyboard alone, without JavaScript, and live."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.site import ADA, BUCKET, SEEING, Site, holiday
from tests.browser.visits import Visits, choose, go_to, payload, picture, sign_in

SOURCE: Final = f"s3://{BUCKET}/holiday/"


def press(page: Page, name: str) -> None:
    """Press the first button of that name with the keyboard."""
    go_to(page, page.get_by_role("button", name=name, exact=True).first)
    page.keyboard.press("Enter")


def test_sign_in_classify_and_report_with_the_keyboard_alone(visits: Visits) -> None:
    page = visits.open("/")
    go_to(page, page.get_by_role("link", name="Sign in"))
    page.keyboard.press("Enter")
    sign_in(page, visits.site, "ada")
    choose(page, picture(5), picture(6))
    press(page, "Classify")
    expect(page.get_by_role("heading", name="Results")).to_be_focused()
    go_to(page, page.locator("#results summary").first)
    page.keyboard.press("Enter")
    go_to(page, page.get_by_label("What is it?").first)
    page.keyboard.type("my own label")
    press(page, "Send report")
    thanks = page.get_by_text("Thank you: kept as my own label.")
    expect(thanks).to_be_focused()
    expect(page.locator("#results summary")).to_have_count(1)
    assert visits.complaints == []


def test_a_job_is_submitted_paused_and_cancelled_with_the_keyboard_alone(visits: Visits) -> None:
    page = visits.open("/jobs", "ada")
    go_to(page, page.get_by_label("Source"))
    page.keyboard.type(f"{SOURCE}none/")
    go_to(page, page.get_by_label("Watch", exact=False))
    page.keyboard.press("Space")
    press(page, "Submit")
    expect(page.get_by_role("heading", name=re.compile(r"Job \d+"))).to_be_visible()
    press(page, "Pause")
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    press(page, "Resume")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    press(page, "Cancel for good")
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    assert visits.complaints == []


def test_all_of_it_works_without_script(visits: Visits) -> None:
    site = visits.site
    page = visits.open("/login", script=False)
    page.get_by_label("E-mail address").fill(ADA)
    page.get_by_label("Password").fill(site.passwords[ADA])
    page.get_by_role("button", name="Sign in").click()
    page.locator("input[type=file]").set_input_files([picture(7), picture(8)])
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#results .card")).to_have_count(2)
    page.locator("#results summary").first.click()
    page.get_by_label("What is it?").first.fill("a circle")
    page.get_by_role("button", name="Send report").first.click()
    expect(page.get_by_text("Thank you: your report is kept.")).to_be_visible()
    page.goto("/reports")
    expect(page.get_by_role("cell", name="a circle")).to_be_visible()
    page.goto("/")
    page.locator("input[type=file]").set_input_files([picture(number) for number in range(10)])
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("Please upload no more than 9 files.")).to_be_visible()
    page.goto("/batch")
    page.locator("input[type=file]").set_input_files([payload("plain.zip", holiday(3))])
    page.get_by_role("button", name="Classify all").click()
    reload_until(page, page.url, "prediction.json")
    page.goto("/jobs")
    page.get_by_label("Source").fill(SOURCE)
    page.get_by_role("button", name="Submit").click()
    reload_until(page, page.url, "Ended")
    page.get_by_role("link", name="Results", exact=True).click()
    expect(page.locator(".card")).to_have_count(10)
    page.get_by_label("Part of the name").fill("07")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".card")).to_have_count(1)


def reload_until(page: Page, url: str, said: str) -> None:
    """Reload a page, as people without script do, until something stands on it."""
    for _ in range(300):
        if page.get_by_text(said, exact=True).count():
            return
        page.goto(url)
    msg = f"{url} never says {said!r}"
    raise AssertionError(msg)


def test_jobs_are_followed_live(visits: Visits) -> None:
    site = visits.site
    everything = visits.open("/jobs", "ada")
    csrf = {"X-CSRF-Token": site.ada.csrf("/")}
    job = site.ada.send("POST", "/api/v1/jobs", json={"source": SOURCE}, headers=csrf).json()["id"]
    row = everything.locator(f"#job-{job}")
    expect(row).to_be_visible()
    one = visits.open(f"/jobs/{job}", "ada")
    for there in (row, one.locator(f"#job-{job}")):
        expect(there.locator(".tag").first).to_have_text("done")
        expect(there).to_contain_text("12 of 12")
    assert visits.complaints == []


def test_an_archive_is_followed_from_its_first_byte_to_its_pictures(visits: Visits) -> None:
    page = visits.open("/batch", "ada")
    held: list[Route] = []
    page.route("**/api/v1/uploads", lambda route: held.append(route))  # noqa: PLW0108 - it takes no builtin
    go_to(page, page.get_by_label("Choose a zip or tar of pictures"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([payload("live.zip", holiday(5))])
    press(page, "Classify all")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("button", name="Classify all")).to_be_disabled()
    held[0].continue_()
    page.wait_for_url(re.compile("/batch/[0-9a-f]{32}$"))
    expect(page.locator(".card img")).to_have_count(5)
    expect(page.get_by_role("link", name="prediction.json")).to_be_visible()
    assert visits.complaints == []


def test_strangers_see_the_pictures_of_their_own_archive(visits: Visits) -> None:
    page = visits.open("/batch")
    page.get_by_label("Choose a zip or tar of pictures").set_input_files([payload("strange.zip", holiday(2))])
    page.get_by_role("button", name="Classify all").click()
    pictures = page.locator(".card img")
    expect(pictures).to_have_count(2)
    for each in pictures.all():
        assert each.evaluate(
            "image => { image.loading = 'eager'; return image.decode().then(() => image.naturalWidth); }"
        )
    assert visits.complaints == []


@pytest.mark.parametrize("typed", ["cat", "egyptian_c"])
def test_the_labels_of_the_model_are_offered(visits: Visits, typed: str) -> None:
    page = visits.open(f"/pictures/{visits.site.picture}", "ada")
    page.get_by_text("Report incorrect answer").click()
    field = page.get_by_label("What is it?")
    field.press_sequentially(typed)
    offered = page.locator("datalist option")
    expect(page.locator("datalist option[value='Egyptian cat']")).to_have_count(1)
    assert all(typed.replace("_", " ") in str(each.get_attribute("value")).lower() for each in offered.all())
    assert visits.complaints == []


def test_labels_come_page_after_page(site: Site) -> None:
    where = f"/api/v1/models/{SEEING.replace('@', '/')}/labels"
    known = site.ada.get(where.removesuffix("/labels")).json()["labels"]
    found, cursor = [], ""
    while True:
        answer = site.ada.get(where, params={"limit": 300, "cursor": cursor}).json()
        found += answer["labels"]
        cursor = answer["next"]
        if cursor is None:
            break
    assert found == known
    some = site.ada.get(where, params={"text": "TERRIER", "limit": 3}).json()
    assert (len(some["labels"]), some["next"] is None) == (3, False)
    assert all("terrier" in label.lower() for label in some["labels"])
    assert site.ada.get("/api/v1/models/none/1/labels").status_code == 404
    assert site.ada.get(where, params={"cursor": "x"}).status_code == 400


def test_a_report_that_cannot_be_kept_is_told_in_its_form(visits: Visits) -> None:
    page = visits.open(f"/pictures/{visits.site.picture}", "ada")
    page.get_by_text("Report incorrect answer").click()
    page.get_by_label("What is it?").fill("a square")
    page.context.set_offline(True)
    page.get_by_role("button", name="Send report").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was kept: send it again")
    page.context.set_offline(False)
    page.get_by_role("button", name="Send report").click()
    expect(page.get_by_text("Thank you: kept as a square.")).to_be_visible()

"""Each page in a real browser: nothing in its console, no serious fault for axe, and it fits on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visits import Visits, Who, choose, payload, picture, take

WIDTHS: Final = {"desk": 1280, "phone": 360}
OPENED: Final = 3
"""So many of what can be opened: the API's page has dozens that are all alike."""
WIDER: Final = "all => all.filter(each => each.scrollWidth > each.clientWidth).length"
GRAVE: Final = {"serious", "critical"}

PAGES: Final[dict[str, tuple[str, Who]]] = {
    "classify": ("/", "ada"),
    "picture": ("/pictures/{picture}", "ada"),
    "why": ("/pictures/{picture}/why", "ada"),
    "batch": ("/batch", "ada"),
    "batch-done": ("/batch/{upload}", "ada"),
    "jobs": ("/jobs", "ada"),
    "job": ("/jobs/{job}", "ada"),
    "results": ("/jobs/{job}/results", "ada"),
    "no-results": ("/jobs/{job}/results?label=nothing", "ada"),
    "differences": ("/differences?before={job}&after={repeated}", "ada"),
    "no-differences": ("/differences?before={job}&after={repeated}&kind=gone", "ada"),
    "repeated-job": ("/jobs/{repeated}", "ada"),
    "quarantine": ("/jobs/{job}/quarantine", "ada"),
    "models": ("/models", "admin"),
    "model": ("/models/efficientnet-lite0/1.0", "admin"),
    "trainings": ("/trainings", "admin"),
    "trials": ("/trials", "admin"),
    "trial": ("/trials/{trial}", "admin"),
    "drift": ("/drift", "admin"),
    "drifted": ("/drift/noop/1.0", "admin"),
    "reports": ("/reports", "ada"),
    "reports-of-all": ("/reports", "admin"),
    "account": ("/account", "ada"),
    "users": ("/users", "admin"),
    "sign-in": ("/login", ""),
    "sign-up": ("/signup", ""),
    "docs": ("/docs", ""),
    "stranger": ("/", ""),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound_and_fits(visits: Visits, screens: Path, name: str) -> None:
    path, who = PAGES[name]
    site = visits.site
    places = {name: getattr(site, name) for name in ("picture", "job", "repeated", "upload", "trial")}
    page = visits.open(path.format_map(places), who)
    expect(page.locator("h1").first).to_be_visible()
    for each in page.locator("details").all()[:OPENED]:
        each.evaluate("element => { element.open = true; }")
    check(page, screens, name)
    assert visits.complaints == []


def test_results_are_sound_and_fit(visits: Visits, screens: Path) -> None:
    """Of each kind: good ones, one without an answer, one from the cache."""
    page = visits.open("/", "ada")
    choose(page, picture(1), picture(2), payload("notes.png", b"no picture"))
    expect(page.get_by_text("no preview")).to_be_visible()
    check(page, screens, "classify-chosen")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("Not classified")).to_be_visible()
    page.get_by_text("Report incorrect answer").first.click()
    check(page, screens, "classify-results")
    assert visits.complaints == []


@pytest.mark.parametrize(("path", "status"), [("/pictures/4000000000", 404), ("/users", 403), ("/jobs/x", 422)])
def test_what_goes_wrong_is_sound_too(visits: Visits, screens: Path, path: str, status: int) -> None:
    page = visits.open(path, "ada")
    expect(page.get_by_role("alert")).to_be_visible()
    check(page, screens, f"error-{status}")


def check(page: Page, screens: Path, name: str) -> None:
    """See that a page is sound in both themes, and as wide as its window; keep how it looks."""
    faults = []
    settle(page)
    for width_name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            take(page, screens, f"{name}-{theme}-{width}")
            if width_name == "desk":
                faults += [f"{theme}: {fault}" for fault in faults_of(page, theme)]
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        hidden = page.locator(".wide:has(> .stacked)").evaluate_all(WIDER)
        if hidden and width_name == "phone":
            faults.append(f"{hidden} tables that are stacked on a phone still go out of view")
        if wide > width:
            faults.append(f"{wide} pixels wide in a window of {width}: {widest(page)}")
    assert faults == []


def settle(page: Page) -> None:
    """Wait for the pictures that are in view."""
    for each in page.locator("main img").all():
        each.scroll_into_view_if_needed()
    page.wait_for_load_state("load")


def faults_of(page: Page, theme: str) -> list[str]:
    """Return what axe finds that keeps people out; in the dark only colours differ."""
    of_colours = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **of_colours}).response["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


def widest(page: Page) -> list[str]:
    """Return the elements that stand out at the right."""
    script = """() => Array.from(document.querySelectorAll("main *, header *"))
        .filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".wide"))
        .map(each => each.outerHTML.slice(0, 120)).slice(0, 5)"""
    found: list[str] = page.evaluate(script)
    return [re.sub(r"\s+", " ", each) for each in found]

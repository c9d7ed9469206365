"""The page of a model: a card may say much, little or nothing, and what it says is shown as text."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.doors.person import Person, Role
from gateway.pages.models import told_of
from gateway.pages.render import environment
from sluice.domain import Model
from sluice.ledger.serving import VersionState

CARD = {"description": "Tells <b>drugs</b>.", "licence": "MIT", "made": "2026-11-27", "metrics": {"accuracy": 0.97}}
ADMIN = Person(1, "Ada", "ada@example.com", Role.ADMIN)


def shown(card: dict[str, Any], *, retired: bool = False, failed: str = "", told: VersionState | None = None) -> str:
    """Return what stands between the page's head and foot."""
    told_by_row = {"live": False, "card": card, "retired": retired, "failed": failed}
    model = Model(1, "drugs", "1.0", "d" * 64, {"crop": 224}, ["drug", "other"], **told_by_row)  # type: ignore[arg-type]
    template = environment().get_template("model.html")
    context = {"model": model, "live": None, "preprocessing": "{}", "person": ADMIN, "csrf": "c", "told": told}
    context |= told_of(card)
    return "".join(template.blocks["content"](template.new_context(context)))


def test_a_card_is_shown() -> None:
    page = shown(CARD)
    assert "Tells &lt;b&gt;drugs&lt;/b&gt;." in page
    for text in ("<dt>Licence</dt>", "MIT", "2026-11-27", "accuracy", "0.97", "Make it live"):
        assert text in page


@pytest.mark.parametrize("card", [{}, {"description": 1, "metrics": [1], "licence": None, "architecture": {}}])
def test_a_card_that_says_nothing_is_no_error(card: dict[str, Any]) -> None:
    page = shown(card)
    assert "drugs@1.0" in page
    assert "Metrics" not in page


def test_a_retired_version_cannot_be_made_live() -> None:
    page = shown(CARD, retired=True)
    assert "retired" in page
    assert "Make it live" not in page


def test_a_version_that_is_not_served_everywhere_cannot_be_made_live_yet() -> None:
    page = shown(CARD, told=VersionState("published", 1, 2, "pod-b: it fetches <it>"))
    assert "1 of 2 TorchServes serve it (pod-b: it fetches &lt;it&gt;)" in page
    assert "Make it live" not in page
    assert "Make it live" in shown(CARD, told=VersionState("served", 2, 2, ""))
    assert "Make it live" in shown(CARD, told=VersionState("registered", 0, 0, ""))


def test_a_version_that_cannot_be_loaded_says_why() -> None:
    page = shown(CARD, failed="its weights are <cut off>")
    assert "be loaded: its weights are &lt;cut off&gt;" in page
    assert "Make it live" not in page

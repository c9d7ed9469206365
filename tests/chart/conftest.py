"""Fixtures for tests of the chart; none needs a cluster."""

from __future__ import annotations

import pytest

from tests.chart.rendered import PROFILES, Rendered, program, render


@pytest.fixture(scope="session", autouse=True)
def _helm() -> None:
    """Report missing programs once, rather than in each test."""
    if not program("helm").exists():
        pytest.exit(f"no {program('helm')}: run `scripts/cluster build --only kube-score actionlint`", returncode=2)


@pytest.fixture
def default() -> Rendered:
    """Return the resources that `helm install` without values creates."""
    return render()


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> Rendered:
    """Return the chart rendered with each of the profiles in turn."""
    return render(PROFILES[request.param])

"""Servers of these tests' own: they are killed here, and serve one small model, so that they are soon back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.stack import Servers


@pytest.fixture(scope="session")
def mortal_servers() -> Iterator[Servers]:
    """Hold the servers; each test starts what it needs."""
    with Servers(models=["noop"]) as servers:
        yield servers

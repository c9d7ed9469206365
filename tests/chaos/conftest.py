"""Servers of these tests' own: they are killed here, and serve one small model, so that they are soon back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.stack import Servers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person silence processes for longer than a test takes: `pytest tests/chaos --silent-seconds 180`."""
    parser.addoption(
        "--silent-seconds", type=float, default=0.0, help="how long a silenced consumer stays so, at least"
    )


@pytest.fixture(scope="session")
def mortal_servers() -> Iterator[Servers]:
    """Hold the servers; each test starts what it needs."""
    with Servers(models=["noop"]) as servers:
        yield servers

"""Private servers for these tests, which kill them; they serve one small model, so that they restart quickly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.stack import Servers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let people choose how long processes are silent: `pytest tests/chaos --silent-seconds 180`."""
    parser.addoption(
        "--silent-seconds", type=float, default=0.0, help="how long a silenced consumer stays so, at least"
    )


@pytest.fixture(scope="session")
def mortal_servers() -> Iterator[Servers]:
    """Hold the servers; each test starts what it needs."""
    with Servers(models=["noop"], in_memory=True) as servers:
        yield servers

"""What tests of upgrades share: tables of a release before, and processes that work while tables change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from sluice.ledger import Database, schema
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import ask
from tools.stack import Servers

WAIT_SECONDS: Final = 120.0


def tables_at(servers: Servers, database: str, revision: str) -> Settings:
    """Create a database with the tables of a revision, and return what reaches it."""
    servers.start(servers.database)
    settings = read_settings(database_url=servers.database.create(database), database_patience=30.0)
    schema.upgrade(settings, revision)
    return settings


def rows_of(database: Database, tables: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of some tables."""
    return {table: ask(database, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


@contextmanager
def working(*turns: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Run processes meanwhile; the yielded function waits until each has done a whole step from then on."""
    ended = threading.Event()
    done = [0] * len(turns)
    moved = threading.Condition()

    def work(worker: int) -> None:
        try:
            while not ended.is_set():
                turns[worker]()
                with moved:
                    done[worker] += 1
                    moved.notify_all()
        finally:
            ended.set()
            with moved:
                moved.notify_all()

    def go_on() -> None:
        with moved:
            goal = [count + 2 for count in done]
            reached = moved.wait_for(
                lambda: ended.is_set() or all(count >= least for count, least in zip(done, goal, strict=True)),
                WAIT_SECONDS,
            )
        assert reached, f"turns {done} of {goal}"

    with ThreadPoolExecutor(len(turns)) as pool:
        running = [pool.submit(work, worker) for worker in range(len(turns))]
        try:
            yield go_on
        finally:
            ended.set()
        for worker in running:
            worker.result()

"""What tests of upgrades share: any statement, and processes that work while tables change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from sluice.ledger import Database, LedgerCursor

WAIT_SECONDS: Final = 120.0


def ask(database: Database, statement: str, *values: object) -> list[dict[str, Any]]:
    def work(cursor: LedgerCursor) -> list[dict[str, Any]]:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())

    return database.run(work)


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

"""How coroutines share a connection to the ledger, and wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, cast

import pytest

from producer.ledger import LedgerConnections
from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable, TablesMissing
from sluice.ledger import AsyncLedger
from sluice.settings import read_settings
from sluice.telemetry import Health

LIMIT_SECONDS = 60.0


class PlayedDatabase:
    """A connection that fails on demand, and may be used by one caller at a time."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.threads: set[str] = set()
        self.closed = threading.Event()
        self._in_use = False

    def run(self, work: Callable[..., object], *arguments: object, **named: object) -> object:
        assert not self._in_use
        self._in_use = True
        try:
            self.threads.add(threading.current_thread().name)
            if self.errors:
                raise self.errors.pop(0)
            return work("cursor", *arguments, **named)
        finally:
            self._in_use = False

    def close(self) -> None:
        assert not self._in_use
        self.closed.set()


class HeldGate:
    """A statement that takes until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()
        self.is_passed = False

    def __call__(self, _: object) -> None:
        self.begun.set()
        assert self.opened.wait(LIMIT_SECONDS)
        self.is_passed = True


def played(database: PlayedDatabase, on_wait: Callable[[str], None] | None = None) -> AsyncLedger:
    return AsyncLedger(cast("Any", database), "played", on_wait)


def run(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await work

    asyncio.run(bounded())


def told(cursor: object, first: int, *, second: str) -> tuple[object, int, str]:
    return cursor, first, second


def test_a_function_is_called_with_a_cursor_and_its_arguments_in_a_thread() -> None:
    database = PlayedDatabase()

    async def ask() -> None:
        ledger = played(database)
        assert await ledger.run(told, 1, second="2") == ("cursor", 1, "2")
        ledger.close()

    run(ask())
    assert database.threads == {"played_0"}


def test_one_is_served_at_a_time_in_the_order_of_asking() -> None:
    served: list[int] = []

    async def ask() -> None:
        ledger, gate = played(PlayedDatabase()), HeldGate()
        asked = [asyncio.create_task(ledger.run(gate))]
        asked += [asyncio.create_task(ledger.run(lambda _, n=n: served.append(n))) for n in range(20)]  # type: ignore[misc]
        await asyncio.to_thread(gate.begun.wait)
        assert not served
        gate.opened.set()
        await asyncio.gather(*asked)
        ledger.close()

    run(ask())
    assert served == list(range(20))


def test_who_is_cancelled_is_not_served_unless_its_transaction_has_begun() -> None:
    """A transaction that has begun ends in its thread, and the next caller waits for that."""
    served: list[str] = []

    async def ask() -> None:
        ledger, gate = played(PlayedDatabase()), HeldGate()
        begun = asyncio.create_task(ledger.run(gate))
        waiting = asyncio.create_task(ledger.run(lambda _: served.append("cancelled")))
        await asyncio.to_thread(gate.begun.wait)
        begun.cancel()
        waiting.cancel()
        await asyncio.wait({begun, waiting})
        assert begun.cancelled()
        assert waiting.cancelled()
        following = asyncio.create_task(ledger.run(lambda _: gate.is_passed))
        gate.opened.set()
        assert await following
        ledger.close()

    run(ask())
    assert not served


def test_a_connection_is_closed_after_the_statement_under_way_and_nobody_waits_for_it() -> None:
    database, gate = PlayedDatabase(), HeldGate()

    async def ask() -> None:
        ledger = played(database)
        asked = asyncio.create_task(ledger.run(gate))
        await asyncio.to_thread(gate.begun.wait)
        ledger.close()
        assert not database.closed.is_set()
        asked.cancel()

    run(ask())
    gate.opened.set()
    assert database.closed.wait(LIMIT_SECONDS)


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), TablesMissing("empty"), LedgerError("refused")])
def test_an_error_is_raised_by_a_ledger_that_does_not_wait(error: Exception) -> None:
    async def ask() -> None:
        ledger = played(PlayedDatabase(error))
        with pytest.raises(type(error), match=str(error)):
            await ledger.run(told, 1, second="2")
        ledger.close()

    run(ask())


def test_an_absent_database_is_waited_for_and_why_is_told() -> None:
    whys: list[str] = []

    async def ask() -> None:
        ledger = played(PlayedDatabase(LedgerUnavailable("away"), TablesMissing("empty")), whys.append)
        assert await ledger.run(told, 1, second="2") == ("cursor", 1, "2")
        ledger.close()

    run(ask())
    assert whys == ["away", "empty", ""]


@pytest.mark.parametrize("error", [ConfigurationError("wrong password"), LedgerError("refused")])
def test_what_no_waiting_mends_is_raised_all_the_same(error: Exception) -> None:
    whys: list[str] = []

    async def ask() -> None:
        ledger = played(PlayedDatabase(error), whys.append)
        with pytest.raises(type(error), match=str(error)):
            await ledger.run(told, 1, second="2")
        ledger.close()

    run(ask())
    assert not whys


def test_what_a_producers_connection_waits_for_is_said_until_it_answers() -> None:
    """Its other connections may continue: for example, one can still write while another finds no disk space."""
    health = Health()
    full = LedgerUnavailable("the disk is full")
    databases = chain([PlayedDatabase(), PlayedDatabase(), PlayedDatabase(full)], iter(PlayedDatabase, None))
    connections = LedgerConnections(read_settings(), health, connect=lambda _: cast("Any", next(databases)))

    async def ask() -> None:
        writing = asyncio.create_task(connections.write.run(told, 1, second="2"))
        while not connections.why_waiting():  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)
        await connections.read.run(told, 1, second="2")
        assert connections.why_waiting() == "the disk is full"
        assert health.reasons() == {"ledger-write": "the disk is full"}
        await writing
        assert connections.why_waiting() == ""
        assert health.reasons() == {}
        connections.close()

    run(ask())

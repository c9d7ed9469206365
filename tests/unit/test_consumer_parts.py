"""The consumer's arithmetic and containers, and what it does without a model or with locked rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as some

from consumer.cache import AnswerCache
from consumer.commit import LOCKED_SECONDS, CommitStage
from consumer.credit import FIRST_WINDOW, LEAST_WINDOW, CreditAccount, CreditPacer
from consumer.decode import UNUSABLE, DecodeStage
from consumer.held import HeldObject
from consumer.ledger import CommittedRows, ConsumerLedger
from consumer.pipeline import Pipeline
from consumer.queues import ByteBudget, StageQueue
from sluice.domain import Model
from sluice.inference import Answer
from sluice.ledger import Prediction, models
from sluice.protocol import WorkItem
from sluice.settings import read_settings
from tests.support.consumer_fakes import PREPROCESSING, model


class Nobody:
    """A lessor that ignores everything."""

    is_lost = False

    def __init__(self) -> None:
        self.back: dict[int, str] = {}

    def done(self, ids: object) -> None:
        pass

    def failed(self, failures: object) -> None:
        pass

    def give_back(self, ids: Sequence[int], why: str = "") -> None:
        self.back |= dict.fromkeys(ids, why)


class RowlessLedger:
    """A ledger without models; another transaction may hold locks on its predictions' rows."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.locked: set[int] = set()
        self.told: list[int] = []

    async def model(self, number: int) -> None:
        self.asked.append(number)

    async def commit(self, rows: Sequence[Prediction], _: object) -> CommittedRows:
        ids = {row.object_id for row in rows}
        return CommittedRows(ids - self.locked, ids & self.locked)

    async def tell_of_locked(self, count: int) -> None:
        self.told.append(count)


class OneModel:
    """A connection whose only model has this preprocessing."""

    def __init__(self, preprocessing: dict[str, object]) -> None:
        self.row = replace(model(), preprocessing=preprocessing)

    async def call(self, _: object, work: object, *__: object) -> Model | list[Model]:
        return [self.row] if work is models.list_models else self.row


def held(number: int = 1, sha256: bytes = b"", model: int = 1) -> HeldObject:
    item = WorkItem(id=number, job=1, model=model, source="s", key=b"", etag="", size=0, inline=True, alone=False)
    return HeldObject(item, Nobody(), 0.0, sha256=sha256)


class TestPace:
    def test_it_begins_small_and_follows_the_speed(self) -> None:
        pace = CreditPacer(256, 2.0, 0.0)
        assert pace.window == FIRST_WINDOW
        for tick in range(1, 100):
            pace.finished(10)
            pace.tick(tick * 0.25, busy=True)
        assert pace.window == 80

    def test_it_stays_between_its_bounds(self) -> None:
        pace = CreditPacer(256, 2.0, 0.0)
        pace.finished(100_000)
        pace.tick(1.0, busy=True)
        assert pace.window == 256
        for tick in range(2, 100):
            pace.tick(float(tick), busy=True)
        assert pace.window == LEAST_WINDOW
        assert CreditPacer(2, 2.0, 0.0).window == 2

    def test_idle_time_is_no_slowness(self) -> None:
        pace = CreditPacer(256, 2.0, 0.0)
        pace.finished(100)
        pace.tick(1.0, busy=True)
        before = pace.window
        pace.tick(1000.0, busy=False)
        assert pace.window == before

    @given(some.lists(some.tuples(some.integers(0, 500), some.integers(0, 64), some.booleans()), max_size=60))
    def test_credit_never_falls_and_bounds_what_is_held(self, steps: list[tuple[int, int, bool]]) -> None:
        """I4, from the consumer's side: whatever the windows, no more is promised than the largest of them."""
        account = CreditAccount()
        largest = 0
        for window, finished, arrives in steps:
            largest = max(largest, window)
            before = account.limit
            account.extend(window)
            assert account.limit >= before
            if arrives:
                account.received = account.limit
            account.finished += min(finished, account.held)
            assert account.limit - account.finished <= max(largest, account.limit - before + largest)
            assert 0 <= account.held <= largest
            assert account.open >= 0


class TestLane:
    def test_it_hands_over_in_order_and_in_parts(self) -> None:
        async def scene() -> None:
            queue = StageQueue("test")
            queue.put_now([held(number) for number in range(5)])
            assert [one.item.id for one in await queue.take(2)] == [0, 1]
            assert [one.item.id for one in queue.take_now(9, lambda one: one.item.id % 2 == 0)] == [2, 4]
            assert [one.item.id for one in queue.take_now(9)] == [3]
            assert not queue.take_now(9)

        asyncio.run(scene())

    def test_a_full_lane_keeps_its_writer_waiting(self) -> None:
        async def scene() -> None:
            queue = StageQueue("test", limit=2)
            await queue.put([held(1), held(2)])
            writer = asyncio.create_task(queue.put([held(3)]))
            await asyncio.sleep(0)
            assert not writer.done()
            queue.take_now(1)
            await writer
            assert len(queue) == 2

        asyncio.run(scene())


class TestRoom:
    def test_bytes_wait_until_others_are_gone(self) -> None:
        async def scene() -> None:
            budget = ByteBudget(100)
            await budget.reserve(60)
            second = asyncio.create_task(budget.reserve(60))
            await asyncio.sleep(0)
            assert not second.done()
            budget.release(60)
            await second
            budget.add(60)
            assert budget.is_full

        asyncio.run(scene())

    def test_whoever_waits_for_room_lets_others_run(self) -> None:
        async def scene() -> None:
            budget = ByteBudget(100)
            budget.add(150)
            reader = asyncio.create_task(budget.wait())
            await asyncio.sleep(0.01)
            assert not reader.done()
            budget.release(20)
            await asyncio.sleep(0.01)
            assert not reader.done()
            budget.release(40)
            await reader

        asyncio.run(scene())

    def test_an_object_larger_than_the_room_comes_when_it_is_alone(self) -> None:
        async def scene() -> None:
            budget = ByteBudget(100)
            await budget.reserve(10)
            large = asyncio.create_task(budget.reserve(1000))
            await asyncio.sleep(0)
            assert not large.done()
            budget.release(10)
            await large
            assert budget.is_full

        asyncio.run(scene())


class TestCache:
    def test_the_first_works_and_the_others_wait(self) -> None:
        cache = AnswerCache(10)
        first, second, third = (held(number, b"x") for number in (1, 2, 3))
        assert not cache.ask(first)
        assert cache.ask(second)
        assert cache.ask(third)
        assert (first.leads, second.waits, third.waits) == (True, True, True)
        first.answer = Answer(((3, 0.123456), (1, 0.5)))
        assert cache.settle(first) == [second, third]
        later = held(4, b"x")
        assert cache.ask(later)
        assert (later.answer, later.waits) == (first.answer, False)

    def test_another_model_is_another_question(self) -> None:
        cache = AnswerCache(10)
        assert not cache.ask(held(1, b"x", model=1))
        assert not cache.ask(held(2, b"x", model=2))

    def test_without_an_answer_the_next_one_works(self) -> None:
        cache = AnswerCache(10)
        first = held(1, b"x")
        cache.ask(first)
        assert cache.settle(first) == []
        assert not cache.ask(held(2, b"x"))

    def test_the_least_recently_asked_is_forgotten(self) -> None:
        cache = AnswerCache(2)
        for name in (b"a", b"b"):
            one = held(1, name)
            cache.ask(one)
            one.answer = Answer(((0, 1.0),))
            cache.settle(one)
        assert cache.recall(held(2, b"a"))
        third = held(3, b"c")
        third.answer = Answer(((0, 1.0),))
        cache.settle(third)
        assert len(cache) == 2
        assert cache.recall(held(4, b"a"))
        assert not cache.recall(held(5, b"b"))

    @pytest.mark.parametrize("count", [1, 2])
    def test_off_is_off(self, count: int) -> None:
        cache = AnswerCache(0)
        for number in range(count):
            assert not cache.ask(held(number, b"x"))
        assert cache.settle(held(9, b"x")) == []


def test_what_has_an_unusable_model_goes_back_at_once_and_says_why() -> None:
    """With a reason its job waits, so that it doesn't delay other jobs' objects; the ledger is queried once."""

    async def decode_them() -> None:
        ledger, nobody = RowlessLedger(), Nobody()
        stage = DecodeStage(read_settings(), Pipeline(read_settings()), cast("Any", ledger))
        chunk = [held(1, model=4242), held(2, model=7), held(3, model=4242)]
        for each in chunk:
            each.lessor = nobody
        assert await stage.decode(chunk) == []
        stage.close()
        assert ledger.asked == [4242, 7]
        assert nobody.back == {
            1: UNUSABLE.format(number=4242),
            2: UNUSABLE.format(number=7),
            3: UNUSABLE.format(number=4242),
        }

    asyncio.run(decode_them())


def test_a_model_that_cannot_be_used_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Its objects come repeatedly; it is logged again if it was usable in between, or has another error."""
    connection = OneModel({})
    ledger = ConsumerLedger(cast("Any", connection))

    def lines() -> int:
        return "".join(capsys.readouterr()).count("a model's row can't be used")

    async def ask() -> None:
        for _ in range(2):
            assert await ledger.model(1) is None
            assert await ledger.likely_models() == []

    asyncio.run(ask())
    assert lines() == 1
    connection.row = replace(connection.row, preprocessing={**PREPROCESSING, "version": 99})
    asyncio.run(ask())
    assert lines() == 1
    connection.row = replace(connection.row, preprocessing=PREPROCESSING)
    assert asyncio.run(ledger.likely_models()) == [connection.row]
    connection.row = replace(connection.row, preprocessing={**PREPROCESSING, "version": 99})
    asyncio.run(ask())
    assert lines() == 1


def test_rows_that_stay_locked_are_told_of() -> None:
    """Rows that were only just locked aren't reported: others are committing them."""
    ledger, now = RowlessLedger(), [0.0]
    settings = read_settings()
    stage = CommitStage("tested", Pipeline(settings), cast("Any", ledger), lambda _: None, clock=lambda: now[0])
    answered = [held(number) for number in (1, 2, 3)]
    for each in answered:
        each.model, each.answer = model(), Answer(((0, 0.9),))

    async def commit(*which: int) -> list[HeldObject]:
        return await stage.commit([answered[index] for index in which])

    ledger.locked = {2, 3}
    assert asyncio.run(commit(0, 1)) == answered[1:2]
    now[0] = LOCKED_SECONDS
    assert asyncio.run(commit(1, 2)) == answered[1:]
    assert ledger.told == [1]
    ledger.locked = {3}
    assert asyncio.run(commit(1, 2)) == answered[2:]
    now[0] = 2 * LOCKED_SECONDS
    assert asyncio.run(commit(2)) == answered[2:]
    assert ledger.told == [1, 1]

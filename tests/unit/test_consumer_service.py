"""A whole consumer between a fake producer, a fake TorchServe and a ledger in memory."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from consumer.ledger import CommittedRows
from consumer.service import ConsumerService
from sluice.domain import Model
from sluice.errors import LedgerUnavailable
from sluice.ledger import Prediction
from sluice.protocol import Bye, Done, Error, Pong, encode
from sluice.settings import Settings, read_settings
from sluice.telemetry import Health
from tests.support.consumer_fakes import FakeProducer, FakeTorchServe, good, model, png


class FakeLedger:
    """The ledger as a dictionary; `away` makes it unavailable, `locked` are rows that another transaction holds."""

    def __init__(self) -> None:
        self.rows: dict[int, Prediction] = {}
        self.away = False
        self.locked: set[int] = set()

    async def model(self, number: int) -> Model | None:
        return model(number) if number == 1 else None

    async def likely_models(self) -> Sequence[Model]:
        return [model()]

    async def commit(self, rows: Sequence[Prediction], _: object) -> CommittedRows:
        if self.away:
            raise LedgerUnavailable("gone")
        ids = {row.object_id for row in rows}
        new = ids - self.rows.keys() - self.locked
        self.rows.update({row.object_id: row for row in rows if row.object_id in new})
        return CommittedRows(new, ids & self.locked)

    async def tell_of_locked(self, count: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        pass


class Running:
    """A service in its own thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ledger = FakeLedger()
        self.loop = asyncio.new_event_loop()
        self.error: BaseException | None = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it again
            self.error = error
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        self.service = ConsumerService(self._settings, Health(), cast("Any", self.ledger))
        self.ready.set()
        await self.service.run()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.service.stop)

    def join(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.loop.close()
        if self.error is not None:
            raise self.error


@pytest.fixture
def producer() -> Iterator[FakeProducer]:
    fake = FakeProducer()
    yield fake
    fake.close()


@pytest.fixture
def torchserve() -> Iterator[FakeTorchServe]:
    with FakeTorchServe().running() as fake:
        yield fake


@contextmanager
def consumer(producer: FakeProducer, torchserve: FakeTorchServe, **others: object) -> Iterator[Running]:
    """Return a running consumer: it has sent HELLO and asks for work."""
    given = {"heartbeat": 1.0, "torchserve_patience": 1.0, "decode_threads": 2, "name": "tested", **others}
    settings = read_settings(producers=(producer.address,), torchserve=(torchserve.url,), **given)
    running = Running(settings)
    running.thread.start()
    running.ready.wait()
    try:
        assert producer.until(lambda: producer.limit > 0)
        yield running
    finally:
        running.stop()
        producer.until(lambda: producer.left or not running.thread.is_alive())
        running.join()


def test_objects_become_predictions(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve) as running:
        producer.lease({number: png(number) for number in range(1, 7)})
        assert producer.until(lambda: producer.done == set(range(1, 7)))
        assert {number: row.label for number, row in running.ledger.rows.items()} == {
            number: f"label {number}" for number in range(1, 7)
        }
        row = running.ledger.rows[3]
        assert row.top == (("label 3", 0.75), ("label 0", 0.25))
        assert (row.score, row.model_id, row.job_id, row.consumer) == (0.75, 1, 1, "tested")


def test_equal_bytes_are_inferred_once(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    """They may arrive at the same moment or later."""
    with consumer(producer, torchserve) as running:
        asked = sum(torchserve.seen)
        producer.lease(dict.fromkeys(range(1, 6), png(9)))
        assert producer.until(lambda: len(producer.done) == 5)
        producer.lease(dict.fromkeys(range(6, 9), png(9)))
        assert producer.until(lambda: len(producer.done) == 8)
        assert len({row.label for row in running.ledger.rows.values()}) == 1
        assert sum(torchserve.seen) == asked + 1


def test_a_bad_object_fails_with_its_reason_and_no_other_with_it(
    producer: FakeProducer, torchserve: FakeTorchServe
) -> None:
    with consumer(producer, torchserve):
        producer.lease({1: png(1), 2: b"<html>no image</html>", 3: b"", 4: png(4)[:60], 5: png(5), 6: b""})
        assert producer.until(lambda: len(producer.done) + len(producer.failed) == 6)
        assert producer.done == {1, 5}
        assert producer.failed == {2: "not_an_image", 3: "empty", 4: "truncated", 6: "empty"}


def test_an_image_that_the_model_refuses_alone_fails_alone(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    def picky(images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as FakeTorchServe.answer
        if any(image[0, 0, 0] == 66 for image in images):
            return 500, {"code": 500}
        return good(images)

    torchserve.answer = picky
    with consumer(producer, torchserve):
        producer.lease({number: png(number) for number in range(64, 70)})
        assert producer.until(lambda: len(producer.done) + len(producer.failed) == 6)
        assert producer.failed == {66: "rejected_by_model"}


def test_work_goes_back_when_no_prediction_comes_and_is_asked_for_again_when_one_does(
    producer: FakeProducer, torchserve: FakeTorchServe
) -> None:
    """I5: an absent or full TorchServe costs no object anything."""
    with consumer(producer, torchserve):
        for status in (503, 404, 500):
            torchserve.answer = lambda _, status=status: (status, {"code": status})  # type: ignore[misc]
            producer.returned.clear()
            first = producer.sent + 1
            producer.lease({number: png(number) for number in range(first, first + 3)})
            assert producer.until(lambda first=first: producer.returned == {first, first + 1, first + 2})  # type: ignore[misc]
            limit = producer.limit
            assert not producer.until(lambda limit=limit: producer.limit > limit, 0.5)  # type: ignore[misc]
            torchserve.answer = good
            assert producer.until(lambda limit=limit: producer.limit > limit)  # type: ignore[misc]
        assert not producer.failed


def test_it_tells_the_producer_why_it_asks_for_nothing(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve, torchserve_patience=0.2) as running:
        assert producer.why == ""
        torchserve.answer = lambda _: (503, {})
        producer.lease({1: png(1)})
        assert producer.until(lambda: "answers 503" in producer.why)
        torchserve.answer = good
        assert producer.until(lambda: producer.why == "")
        running.service._note_commit("the database is away")
        assert producer.until(lambda: producer.why == "the database is away")
        running.service._note_commit("x" * 1000)
        assert producer.until(lambda: producer.why == "x" * 300)


def test_another_archive_under_the_same_name_commits_nothing(
    producer: FakeProducer, torchserve: FakeTorchServe
) -> None:
    with consumer(producer, torchserve) as running:
        torchserve.answer = lambda images: good(images, digest="e" * 64)
        producer.lease({1: png(1)})
        assert producer.until(lambda: producer.returned == {1})
        assert not running.ledger.rows


def test_what_is_alone_is_alone(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve, batch_wait=0.5):
        torchserve.seen.clear()
        producer.lease({1: png(1), 2: png(2)})
        producer.lease({3: png(3)}, alone=True)
        assert producer.until(lambda: producer.done == {1, 2, 3})
        assert sorted(torchserve.seen) in ([1, 2], [1, 1, 1])


def test_a_ledger_that_is_away_loses_nothing(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve) as running:
        running.ledger.away = True
        producer.lease({1: png(1)})
        assert not producer.until(lambda: bool(producer.done or producer.returned or producer.failed), 1.0)
        running.ledger.away = False
        assert producer.until(lambda: producer.done == {1})


def test_a_locked_row_keeps_no_other_from_its_end(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    """The rest is committed and reported at once; locked rows follow when they are free."""
    with consumer(producer, torchserve) as running:
        running.ledger.locked = {2, 3}
        producer.lease({number: png(number) for number in range(1, 6)})
        assert producer.until(lambda: producer.done == {1, 4, 5})
        assert producer.until(lambda: REGISTRY.get_sample_value("sluice_locked") == 2)
        running.ledger.locked = set()
        assert producer.until(lambda: producer.done == {1, 2, 3, 4, 5})
        assert running.ledger.rows.keys() == producer.done
    assert REGISTRY.get_sample_value("sluice_locked") == 0


def test_sigterm_finishes_what_is_begun_and_says_bye(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve) as running:
        producer.lease({number: png(number) for number in range(1, 9)})
        assert producer.until(lambda: producer.received == 8)
        running.stop()
        assert producer.until(lambda: producer.left)
        assert producer.done | producer.returned == set(range(1, 9))
        assert not producer.done & producer.returned
    assert running.ledger.rows.keys() == producer.done


def test_what_crosses_its_bye_finds_a_consumer_that_is_still_there(
    producer: FakeProducer, torchserve: FakeTorchServe
) -> None:
    """A send to a missing consumer would count as a death for all of its objects."""
    producer.answers_bye = False
    with consumer(producer, torchserve) as running:
        running.stop()
        assert producer.until(lambda: producer.left)
        producer.lease({1: png(1), 2: png(2)})
        assert not producer.until(lambda: bool(producer.returned or producer.done), 0.3)
        producer.send(Bye())
    assert not producer.returned | producer.done | running.ledger.rows.keys()


def test_a_producer_that_answers_no_bye_keeps_nobody(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    producer.answers_bye = False
    with consumer(producer, torchserve) as running:
        running.stop()
        assert producer.until(lambda: producer.left)


def test_a_drain_that_takes_too_long_gives_back(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    with consumer(producer, torchserve, drain_seconds=2.2) as running:
        running.ledger.away = True
        producer.lease({1: png(1), 2: png(2)})
        assert not producer.until(lambda: bool(producer.done), 0.5)
        running.stop()
        assert producer.until(lambda: producer.left)
    assert producer.returned == {1, 2}


@pytest.mark.parametrize("end", ["restart", "bye", "unknown", "silence"])
def test_a_lost_session_is_followed_by_another(producer: FakeProducer, torchserve: FakeTorchServe, end: str) -> None:
    with consumer(producer, torchserve, heartbeat=0.4):
        first = producer.peer
        if end == "bye":
            producer.send(Bye())
        elif end == "unknown":
            producer.send(Error(code="unknown_session", detail=""))
        elif end == "silence":
            producer.answers_pings = False
        else:
            producer.restart()
        assert producer.until(lambda: producer.peer not in (b"", first))
        producer.answers_pings = True
        assert producer.until(lambda: producer.limit > 0)
        producer.lease({1: png(1)})
        assert producer.until(lambda: producer.done == {1})


def test_credit_grows_with_speed_and_is_never_exceeded(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    """I4 is the producer's duty, but the consumer also rejects everything beyond its credit."""
    with consumer(producer, torchserve):
        assert producer.limit == 8
        number = 0
        while number < 400:
            budget = producer.limit - producer.sent
            if budget:
                producer.lease(
                    {number + n: png((number + n) % 250, n % 250, number % 250) for n in range(1, budget + 1)}
                )
                number += budget
            assert producer.until(lambda: producer.limit > producer.sent)
        assert producer.limit - len(producer.done) > 8
        assert producer.until(lambda: len(producer.done) == number)
        producer.lease({10_000 + n: png(n % 256) for n in range(600)})
        assert producer.until(lambda: "malformed" in producer.errors)
        assert len(producer.done) == number


def test_a_hostile_producer_crashes_nothing(producer: FakeProducer, torchserve: FakeTorchServe) -> None:
    chance = random.Random(7)
    honest = [encode(Pong()), encode(Done(ids=[1])), encode(Error(code="x", detail="y"))]
    with consumer(producer, torchserve) as running:
        for _ in range(500):
            frames = [bytearray(frame) for frame in chance.choice(honest)]
            match chance.randrange(4):
                case 0:
                    frames = [bytearray(os.urandom(chance.randrange(40))) for _ in range(chance.randrange(1, 5))]
                case 1:
                    frame = chance.choice([frame for frame in frames if frame])
                    frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
                case 2:
                    frames.append(bytearray(chance.randrange(1000)))
                case _:
                    frames[1] = frames[1][: chance.randrange(len(frames[1]) + 1)]
            producer.send_frames([bytes(frame) for frame in frames])
            producer.until(lambda: True)
        assert producer.until(lambda: "malformed" in producer.errors)
        assert producer.until(lambda: producer.limit > 0 and running.thread.is_alive())
        assert not running.ledger.rows

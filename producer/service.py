"""The producer's whole life: wait for the ledger, own the shard, stream; when told to stop, say BYE, flush, leave."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Final

from producer.backlog import Backlog
from producer.books import Books
from producer.control import Control
from producer.flow import Flow
from producer.leases import Leases
from producer.lister import Lister
from producer.messages import Messages
from producer.notified import Notified
from producer.router import Router
from producer.shard import ShardLock, ShardTaken
from producer.sources import Sources
from producer.verdicts import Verdicts
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics
from sluice.telemetry.health import Health

log = get_logger()

TICK_SECONDS: Final = 0.5
FLUSH_SECONDS: Final = 5.0


class Stopped(Exception):
    """Raised inside the task group when the process was told to stop."""


async def produce(settings: Settings, health: Health) -> None:
    """Own the shard and stream it, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    beating = asyncio.create_task(_beat(health))
    lock = ShardLock(settings, health)
    try:
        await _until(stop, lock.arrive())
        while not stop.is_set():
            if await _until(stop, lock.acquire()):
                try:
                    await _stream(settings, health, lock, stop)
                except* ShardTaken as taken:
                    log.error("stepping down", error=str(taken.exceptions[0]))  # noqa: TRY400 - says it all
    finally:
        beating.cancel()
        await lock.close()
    log.info("stopped")


async def _stream(settings: Settings, health: Health, lock: ShardLock, stop: asyncio.Event) -> None:
    """Stream the shard's objects while this process owns it."""
    backlog, leases = Backlog(), Leases(settings.heartbeat)
    reading, writing = Books(settings, health, "read"), Books(settings, health, "write")
    messages = Messages()
    sources, verdicts = Sources(settings, messages), Verdicts(writing, backlog)
    flow = Flow(settings, reading, backlog=backlog, leases=leases, sources=sources, verdicts=verdicts)
    lister = Lister(lock, sources, flow.more)
    books = Books(settings, health, "control")
    control = Control(
        settings, books, backlog=backlog, flow=flow, leases=leases, lister=lister, sources=sources, messages=messages
    )
    try:
        with Router(settings, leases, flow) as router:
            flow.send, verdicts.written = router.send, flow.wake
            health.set("socket", ok=True, why="")
            try:
                async with asyncio.TaskGroup() as tasks:
                    for work in (
                        lock.prove(),
                        control.run(),
                        flow.run(),
                        verdicts.run(),
                        router.receive(),
                        router.guard(),
                        _tick(leases, flow),
                        _stop_when(stop),
                    ):
                        tasks.create_task(work)
                    if settings.notifications_queue and settings.shard == 0:
                        queue = settings.notifications_queue
                        tasks.create_task(Notified(settings, queue, lock, sources, flow.more).run())
            except* Stopped:
                log.info("stopping", in_flight=leases.in_flight)
            finally:
                health.set("socket", ok=False, why="stopping")
                router.farewell()
        await _flush(verdicts)
    finally:
        sources.close()
        for each in (reading, writing, books):
            await each.close()


async def _flush(verdicts: Verdicts) -> None:
    """Write the verdicts that are waiting. Those lost here are found again: their objects are still pending."""
    writer = asyncio.create_task(verdicts.run())
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await verdicts.flushed()
    except TimeoutError:
        log.warning("verdicts left unwritten: the objects will be tried again")
    finally:
        writer.cancel()


async def _tick(leases: Leases, flow: Flow) -> None:
    """Notice silent consumers, and show how things stand."""
    while True:
        now = time.monotonic()
        for loss in leases.expire(now):
            flow.died(loss)
        if leases.ready:
            flow.wake()
        metrics.IN_FLIGHT.set(leases.in_flight)
        metrics.CREDIT.set(leases.credit)
        metrics.CONSUMERS.set(len(leases.sessions))
        metrics.QUEUE_DEPTH.labels(queue="ready").set(leases.ready)
        metrics.QUEUE_DEPTH.labels(queue="in_hand").set(flow.in_hand)
        metrics.QUEUE_DEPTH.labels(queue="bytes").set(leases.bytes)
        await asyncio.sleep(TICK_SECONDS)


async def _beat(health: Health) -> None:
    while True:
        health.tick()
        await asyncio.sleep(1.0)


async def _stop_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Run `work` to its end, or until told to stop; says whether it ended."""
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()
        stopping.cancel()

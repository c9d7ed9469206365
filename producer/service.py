"""The life of a producer: wait for the ledger, own the shard, stream; when told to stop, send BYE, flush, exit."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from functools import partial
from typing import Final

from producer.backlog import Backlog
from producer.control import JobControl
from producer.dispatcher import Dispatcher
from producer.drift import DriftWatcher
from producer.failures import FailureWriter
from producer.inbox import Inbox
from producer.leases import LeaseTable
from producer.ledger import LedgerConnections
from producer.lister import JobLister
from producer.messages import JobMessages
from producer.notifications import NotificationWriter
from producer.router import Router
from producer.shard import ShardLock
from producer.sources import JobSources, why_unusable
from producer.trials import TrialControl
from sluice.errors import ShardTaken
from sluice.protocol.curve import check_keys
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics
from sluice.telemetry.health import Health, serve

log = get_logger()

TICK_SECONDS: Final = 0.5
FLUSH_SECONDS: Final = 5.0


class StopRequested(Exception):
    """Raised when the process is told to stop: it ends the task group."""


async def serve_until_stopped(settings: Settings) -> None:
    """Own the shard and stream it, until SIGTERM or SIGINT."""
    log.info("producer starts", **settings.shown())
    check_keys(settings)
    health = Health()
    for name in ("shard", "socket"):
        health.set(name, ok=False, why="starting")
    serve(settings, health)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    beating = asyncio.create_task(_beat(health))
    connections = LedgerConnections(settings, health)
    lock = ShardLock(settings.shard, connections.lock, health)
    try:
        await _until(stop, lock.arrive())
        while not stop.is_set():
            if await _until(stop, lock.acquire(partial(why_unusable, settings))):
                try:
                    await _stream(settings, health, connections, lock, stop)
                except* ShardTaken as taken:
                    log.error("stepping down", error=str(taken.exceptions[0]))  # noqa: TRY400 - says it all
    finally:
        beating.cancel()
        connections.close()
    log.info("stopped")


async def _stream(
    settings: Settings, health: Health, connections: LedgerConnections, lock: ShardLock, stop: asyncio.Event
) -> None:
    """Stream the shard's objects while this process owns it."""
    backlog, leases = Backlog(), LeaseTable(settings.heartbeat)
    messages = JobMessages()
    trials = TrialControl(settings, connections)
    awake, router = asyncio.Event(), Router(settings, leases, trial_of=trials.of_job)
    sources, failures = JobSources(settings, messages), FailureWriter(connections.write, backlog, written=awake.set)
    dispatcher = Dispatcher(
        settings,
        connections.read,
        backlog=backlog,
        leases=leases,
        sources=sources,
        failures=failures,
        awake=awake,
        send=router.send,
    )
    inbox = Inbox(leases, dispatcher, router.answer)
    lister = JobLister(lock, sources, dispatcher.more)
    control = JobControl(
        settings,
        connections,
        backlog=backlog,
        dispatcher=dispatcher,
        leases=leases,
        lister=lister,
        sources=sources,
        messages=messages,
        trials=trials,
    )
    try:
        with router:
            health.set("socket", ok=True, why="")
            try:
                async with asyncio.TaskGroup() as tasks:
                    for work in (
                        lock.prove(),
                        control.run(),
                        trials.run(),
                        dispatcher.run(),
                        failures.run(),
                        router.receive(inbox.take),
                        router.guard(),
                        watch_consumers(leases, dispatcher),
                        DriftWatcher(settings, connections.drift).run(),
                        _stop_when(stop),
                    ):
                        tasks.create_task(work)
                    if settings.notifications_queue and settings.shard == 0:
                        queue = settings.notifications_queue
                        tasks.create_task(NotificationWriter(settings, queue, lock, sources, dispatcher.more).run())
            except* StopRequested:
                log.info("stopping", in_flight=leases.in_flight)
            finally:
                health.set("socket", ok=False, why="stopping")
                router.farewell()
        await _flush(failures)
    finally:
        sources.close()


async def _flush(failures: FailureWriter) -> None:
    """Write the waiting failures. If some are lost here, their objects are still pending and fail again."""
    writer = asyncio.create_task(failures.run())
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await failures.flushed()
    except TimeoutError:
        log.warning("failures weren't written: the objects will be retried")
    finally:
        writer.cancel()


async def watch_consumers(leases: LeaseTable, dispatcher: Dispatcher) -> None:
    """Notice silent consumers, and update the metrics."""
    due = time.monotonic()
    while True:
        now = time.monotonic()
        # While this process stood still (SIGSTOP, a machine that was moved) nobody was heard, and all may be alive.
        leases.excuse(now - due)
        due = now + TICK_SECONDS
        for loss in leases.expire(now):
            dispatcher.died(loss)
        if leases.ready:
            dispatcher.wake()
        metrics.IN_FLIGHT.set(leases.in_flight)
        metrics.CREDIT.set(leases.credit)
        metrics.CONSUMERS.set(len(leases.sessions))
        metrics.QUEUE_DEPTH.labels(queue="ready").set(leases.ready)
        metrics.QUEUE_DEPTH.labels(queue="in_hand").set(dispatcher.in_hand)
        metrics.QUEUE_DEPTH.labels(queue="bytes").set(leases.bytes)
        await asyncio.sleep(TICK_SECONDS)


async def _beat(health: Health) -> None:
    while True:
        health.tick()
        await asyncio.sleep(1.0)


async def _stop_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise StopRequested


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Run `work` to its end, or until told to stop; return whether it ended."""
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

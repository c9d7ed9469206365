"""Many simulated consumers in a few processes: they speak the protocol and answer at once, but classify nothing.

Each has a connection, a session and heartbeats of its own, as a real consumer has. What is theirs to do otherwise (to
fetch, decode, infer) is left out, so that the producer is what limits a measurement. With a database they commit what
they answer, in the transaction that consumers use.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

import zmq
import zmq.asyncio

from sluice.ledger import Database, Prediction, predictions
from sluice.protocol import Bye, Credit, Done, Error, Hello, Message, Ping, Pong, Work, WorkItem, decode, encode
from sluice.protocol.sockets import receive_now, send_now
from sluice.settings import Settings

TOP: Final = tuple((f"label-{place}", 0.9 / (place + 1)) for place in range(5))
MESSAGES_A_TURN: Final = 32
START_SECONDS: Final = 120.0
COMMIT_ROWS: Final = 1000
AT_ONCE: Final = 30


@dataclass(slots=True)
class CrowdCounts:
    """What consumers received and noticed; counts from the beginning."""

    images: int = 0
    bytes: int = 0
    messages: int = 0
    lost: int = 0
    """Sessions that the producer ended, or that missed a message."""
    silences: list[float] = field(default_factory=list)
    """Seconds from each PING to its PONG."""

    def add(self, other: CrowdCounts) -> None:
        """Add what others counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True)
class CrowdPlan:
    """What a process of consumers does."""

    settings: Settings
    consumers: int
    window: int
    commits: bool


class SimulatedConsumer:
    """One consumer: a DEALER that answers WORK with DONE, and keeps its session alive."""

    def __init__(self, context: zmq.asyncio.Context, plan: CrowdPlan, counts: CrowdCounts, writer: CrowdWriter) -> None:
        self._plan = plan
        self._counts = counts
        self._writer = writer
        self._name = f"simulated-{os.getpid()}-{os.urandom(4).hex()}"
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.routing_id = os.urandom(16)
        self._socket.connect(plan.settings.producers[0])
        self._said = self._heard = self._received = self._finished = 0
        self._asked_at: float | None = None
        self.is_greeted = asyncio.Event()

    async def run(self) -> None:
        """Take and answer work until cancelled, then say BYE."""
        self._say(Hello(self._name, os.urandom(16), 1))
        self._say(Credit(self._plan.window, 0))
        self._say(Ping(self._said))
        beating = asyncio.create_task(self._beat())
        try:
            while True:
                work = self._hear(await self._socket.recv_multipart())
                for _ in range(MESSAGES_A_TURN):
                    waiting = receive_now(self._socket)
                    if waiting is None:
                        break
                    work += self._hear(waiting)
                if work:
                    self._writer.take(self, work)
                await asyncio.sleep(0)
        finally:
            beating.cancel()
            self._socket.linger = 1000
            self._say(Bye())
            self._socket.close()

    def finished(self, ids: list[int]) -> None:
        """Say that objects are done, and ask for as many others."""
        self._finished += len(ids)
        self._say(Done(ids))
        self._say(Credit(self._finished + self._plan.window, self._received))

    async def _beat(self) -> None:
        await asyncio.sleep(self._plan.settings.heartbeat * random.random())  # noqa: S311 - spreads the PINGs
        while True:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
            self._say(Ping(self._said))
            await asyncio.sleep(self._plan.settings.heartbeat)

    def _hear(self, frames: list[bytes]) -> list[WorkItem]:
        self._heard += 1
        self._counts.messages += 1
        message, payloads = decode(frames)
        if isinstance(message, Work):
            self._received += len(message.items)
            self._counts.images += len(message.items)
            self._counts.bytes += sum(map(len, payloads))
            return message.items
        if isinstance(message, Pong):
            if self._asked_at is not None:
                self._counts.silences.append(time.monotonic() - self._asked_at)
                self._asked_at = None
            self._counts.lost += message.sent not in {None, self._heard - 1}
            self.is_greeted.set()
        self._counts.lost += isinstance(message, Bye | Error)
        return []

    def _say(self, message: Message) -> None:
        if send_now(self._socket, encode(message)) is None:
            self._said += 1


class CrowdWriter:
    """Says at once that objects are done, or commits those of all consumers of its process first."""

    def __init__(self, plan: CrowdPlan) -> None:
        self._database = Database(plan.settings) if plan.commits else None
        self._waiting: list[tuple[SimulatedConsumer, WorkItem]] = []
        self._filled = asyncio.Event()

    def take(self, consumer: SimulatedConsumer, work: list[WorkItem]) -> None:
        """Take objects that a consumer received."""
        if self._database is None:
            consumer.finished([item.id for item in work])
        else:
            self._waiting += ((consumer, item) for item in work)
            self._filled.set()

    async def run(self) -> None:
        """Commit what waits, forever."""
        while self._database is not None:
            await self._filled.wait()
            some, self._waiting = self._waiting[:COMMIT_ROWS], self._waiting[COMMIT_ROWS:]
            if not self._waiting:
                self._filled.clear()
            rows = [
                Prediction(i.id, i.job, i.model, *TOP[0], TOP, os.urandom(32), "simulated", measures=None)
                for _, i in some
            ]
            await asyncio.to_thread(self._database.run, predictions.commit, rows)
            done: dict[SimulatedConsumer, list[int]] = {}
            for consumer, item in some:
                done.setdefault(consumer, []).append(item.id)
            for consumer, ids in done.items():
                consumer.finished(ids)


class ConsumerCrowd:
    """So many consumers, in a few processes; a context manager."""

    def __init__(self, settings: Settings, consumers: int, *, window: int, processes: int, commits: bool) -> None:
        self._processes: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        spawning = multiprocessing.get_context("spawn")
        processes = min(processes, consumers)
        for number in range(processes):
            share = len(range(number, consumers, processes))
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_work, args=(CrowdPlan(settings, share, window, commits), theirs))
            self._processes.append((process, ours))

    def __enter__(self) -> Self:
        """Start them; return when the producer knows all of them."""
        for process, _ in self._processes:
            process.start()
        if not all(ours.poll(START_SECONDS) and ours.recv() for _, ours in self._processes):
            self.__exit__(None, None, None)
            raise SystemExit(f"not all consumers were answered in {START_SECONDS:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, ours in self._processes:
            with suppress(OSError):
                ours.send("leave")
        for process, _ in self._processes:
            process.join(10)
            process.kill()

    def counts(self) -> CrowdCounts:
        """Return what all of them counted so far."""
        for _, ours in self._processes:
            ours.send("count")
        total = CrowdCounts()
        for _, ours in self._processes:
            total.add(ours.recv())
        return total


def _work(plan: CrowdPlan, parent: Connection) -> None:
    """Be a process of consumers, until the parent tells it to leave, or is gone."""
    asyncio.run(_be_consumers(plan, parent))


async def _be_consumers(plan: CrowdPlan, parent: Connection) -> None:
    context = zmq.asyncio.Context()
    context.set(zmq.MAX_SOCKETS, plan.consumers + 16)
    counts, writer = CrowdCounts(), CrowdWriter(plan)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.run())]
        consumers: list[SimulatedConsumer] = []
        for number in range(plan.consumers):
            consumers.append(SimulatedConsumer(context, plan, counts, writer))
            tasks.append(group.create_task(consumers[-1].run()))
            # A producer lets only so many connections be without a session.
            if number % AT_ONCE == 0 or number == plan.consumers - 1:
                await consumers[-1].is_greeted.wait()
        for each in consumers:
            await each.is_greeted.wait()
        counts.silences.clear()
        parent.send("greeted")
        await _serve(parent, counts)
        for task in tasks:
            task.cancel()
    context.term()


async def _serve(parent: Connection, counts: CrowdCounts) -> None:
    """Answer the parent's questions until it says to leave."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(parent.fileno(), asked.set)
    while True:
        await asked.wait()
        asked.clear()
        if not parent.poll():
            continue  # the loop told of a question twice
        try:
            if parent.recv() == "leave":
                return
        except EOFError:
            return
        parent.send(counts)


def silence_of(silences: Sequence[float], share: float) -> float:
    """Return a quantile of the seconds from PING to PONG; 0 if there was none."""
    return sorted(silences)[min(len(silences) - 1, int(len(silences) * share))] if silences else 0.0

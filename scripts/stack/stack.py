"""All of Sluice on this machine, in a private folder and on free ports: what the demo, the bench and the tests run on.

with Stack(models=["noop"]) as stack:      # database with tables, S3, TorchServe, the first model live
    stack.s3.fill("photos", ...)
    stack.start_workers(consumers=2)
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

from scripts.stack.database import DatabaseServer
from scripts.stack.leash import Leash
from scripts.stack.ports import free_port
from scripts.stack.server import Server
from scripts.stack.storage import S3Server
from scripts.stack.torchserve import TorchServe, archive_of, card_of
from scripts.stack.workers import Worker
from sluice.ledger import Database, models, schema
from sluice.settings import Settings, read_settings

DATABASE: Final = "sluice"


class Stack:
    """The servers, then the workers; leaving ends all of it in order and removes the folder."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("noop",),
        settings: Mapping[str, object] | None = None,
        torchserve_workers: int = 1,
        keep: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`settings` are for every process; the first of `models` is made live; `say` hears of each server."""
        # Short: a socket's path may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-"))
        self.workers: list[Worker] = []
        self._more_settings = dict(settings or {})
        self._say = say
        self._leash = Leash(None if keep else self.folder)
        self.database = DatabaseServer(self.folder, self._leash)
        self.s3 = S3Server(self.folder, self._leash)
        archives = [archive_of(model) for model in models]
        self.torchserve = TorchServe(self.folder, self._leash, archives, workers=torchserve_workers)
        self.bind = f"tcp://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        """Start the servers, side by side."""
        try:
            begun = time.monotonic()
            self.torchserve.start()
            self.s3.start()
            self.database.start()
            for server in (self.database, self.s3, self.torchserve):
                server.wait_ready()
                self._say(f"{server.name} is ready ({time.monotonic() - begun:.0f} s)")
            self.database.create(DATABASE)
            schema.upgrade(self.settings)
            self.register_models()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            self.show_logs()
        self.close()

    @property
    def servers(self) -> list[Server]:
        """Everything, in the order of stopping."""
        consumers = [worker for worker in self.workers if worker.module == "consumer"]
        producers = [worker for worker in self.workers if worker.module == "producer"]
        return [*consumers, *producers, self.torchserve, self.s3, self.database]

    @property
    def producers(self) -> list[Worker]:
        """The producers, by shard."""
        return [worker for worker in self.workers if worker.module == "producer"]

    @property
    def consumers(self) -> list[Worker]:
        """The consumers, in the order in which they were added."""
        return [worker for worker in self.workers if worker.module == "consumer"]

    @property
    def settings(self) -> Settings:
        """What this process needs to reach the stack as the workers do."""
        return read_settings(**self._common())

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, for the `sluice` command; the S3 account is among them."""
        named = {f"SLUICE_{name.upper()}": str(value) for name, value in self._common().items()}
        return {**named, **self.s3.environment}

    def register_models(self) -> None:
        """Make every archive known to the ledger, and the first one live."""
        with Database(self.settings) as database:
            for number, archive in enumerate(self.torchserve.archives):
                card = card_of(archive)
                what = [card[part] for part in ("name", "version", "digest", "preprocessing", "labels")]
                database.run(lambda cursor, what=what: models.register(cursor, *what))  # type: ignore[misc]
                if number == 0:
                    database.run(lambda cursor, what=what: models.promote(cursor, *what[:2]))  # type: ignore[misc]

    def add_producer(self, **settings: object) -> Worker:
        """Add a producer, not started yet."""
        name = f"producer-{len(self.producers)}"
        return self._add(
            Worker(name, "producer", self.folder, self._leash, {**self._common(), **settings}, self.s3.environment)
        )

    def add_consumer(self, **settings: object) -> Worker:
        """Add a consumer, not started yet."""
        name = f"consumer-{len(self.consumers)}"
        return self._add(
            Worker(name, "consumer", self.folder, self._leash, {**self._common(), **settings}, self.s3.environment)
        )

    def start_workers(self, consumers: int = 2) -> None:
        """Add and start one producer and some consumers, and wait until they would work."""
        added = [self.add_producer(), *(self.add_consumer() for _ in range(consumers))]
        for worker in added:
            worker.start()
        for worker in added:
            worker.wait_ready()
            self._say(f"{worker.name} is ready")

    def show_logs(self) -> None:
        """Print the end of each log, for the one who looks for a fault."""
        for server in self.servers:
            print(f"--- {server.name}: the end of its log\n{server.log_tail()}", file=sys.stderr)

    def close(self) -> None:
        """Stop consumers, producers, then servers; then the folder goes."""
        for worker in self.workers:
            worker.terminate()
        for server in self.servers:
            server.stop()
        self._leash.close()

    def _add(self, worker: Worker) -> Worker:
        self.workers.append(worker)
        return worker

    def _common(self) -> dict[str, object]:
        return {
            "database_url": self.database.url(DATABASE),
            "s3_endpoint": self.s3.endpoint,
            "bind": self.bind,
            "producers": self.bind,
            "torchserve": self.torchserve.address,
            **self._more_settings,
        }


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that context managers get to clean up."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

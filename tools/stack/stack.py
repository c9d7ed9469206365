"""A complete Sluice on those servers: a database with its tables, producers, consumers and gateways.

with Servers(models=["noop"]) as servers:
    servers.start()
    with Stack(servers) as stack:
        servers.s3.fill("photos", ...)
        stack.start_workers(consumers=2)
        requests.get(stack.start_gateway(gateway_anonymous="user").url)
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sluice.ledger import Database, models, schema
from sluice.settings import Settings, read_settings
from tools.stack.ports import free_port, give_back
from tools.stack.server import Server, plain_environment
from tools.stack.servers import Servers
from tools.stack.torchserve import TorchServe, card_of
from tools.stack.workers import Gateway, Worker, start_all

START_CONSUMERS: Final = 2


class Stack:
    """A separate ledger and the processes that use it; leaving stops the processes, producers last."""

    def __init__(self, servers: Servers, database: str = "sluice", **settings: object) -> None:
        """`database` is the name of the new one; `settings` apply to every process."""
        self.servers = servers
        self.database = database
        self.producers: list[Worker] = []
        self.consumers: list[Worker] = []
        self.gateways: list[Gateway] = []
        self.agents: list[Worker] = []
        self.trainers: list[Worker] = []
        self.admin_password = secrets.token_urlsafe(12)
        """The password of the first admin, whom gateways create; the name is the setting's default."""
        self._gateway_key = secrets.token_hex(32)
        self._ports: list[int] = []
        bind = f"tcp://127.0.0.1:{self._free_port()}"
        self._settings = {"bind": bind, "producers": bind, **settings}
        self._folder = servers.folder / f"logs-{database}"
        self._folder.mkdir()

    def __enter__(self) -> Self:
        """Create the database and its tables; register the models, the first one live."""
        self.servers.database.create(self.database)
        schema.upgrade(self.settings)
        self._register_models()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            print(self.log_tails(), file=sys.stderr)
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.stop()
            give_back(worker.metrics_port)
        for port in self._ports:
            give_back(port)

    @property
    def workers(self) -> list[Worker]:
        """All processes, in the order of stopping."""
        return [*self.gateways, *self.consumers, *self.producers, *self.agents, *self.trainers]

    @property
    def settings(self) -> Settings:
        """Return the settings with which this process reaches the stack."""
        return read_settings(**self._common())

    @property
    def environment(self) -> dict[str, str]:
        """Return the same as a whole environment, for the `sluice` command, including the S3 account."""
        return plain_environment(**self._variables())

    def write_environment(self, path: Path) -> None:
        """Write the stack's own variables to a file for a shell to source, so that no terminal shows a password."""
        path.touch(mode=0o600)
        path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in self._variables().items()))

    def add_producer(self, **settings: object) -> Worker:
        """Add a producer, not started yet."""
        self.producers.append(self._worker("producer", len(self.producers), settings))
        return self.producers[-1]

    def add_consumer(self, **settings: object) -> Worker:
        """Add a consumer, not started yet."""
        self.consumers.append(self._worker("consumer", len(self.consumers), settings))
        return self.consumers[-1]

    def add_gateway(self, **settings: object) -> Gateway:
        """Add a gateway, not started yet; dropped pictures go to a bucket that is created for the stack."""
        bucket = f"gateway-{self.database}"
        with contextlib.suppress(self.servers.s3.client.exceptions.BucketAlreadyOwnedByYou):
            self.servers.s3.client.create_bucket(Bucket=bucket)
        own = {
            "gateway_store": f"s3://{bucket}/sluice/",
            "gateway_key": self._gateway_key,
            "gateway_admin_password": self.admin_password,
            **settings,
        }
        if "gateway_bind" not in own:
            own["gateway_bind"] = f"127.0.0.1:{self._free_port()}"
        name = f"gateway-{len(self.gateways)}"
        of_stack = self.servers.s3.environment
        self.gateways.append(Gateway(name, self._folder, self.servers.leash, {**self._common(), **own}, of_stack))
        return self.gateways[-1]

    def add_agent(self, torchserve: TorchServe, **settings: object) -> Worker:
        """Add the agent beside a TorchServe that takes models (WITH_AGENT), not started yet."""
        own = {
            "agent_management": f"http://127.0.0.1:{torchserve.ports['management_port']}",
            "agent_folder": torchserve.folder,
            **settings,
        }
        self.agents.append(self._worker("agent", len(self.agents), own, "handlers.agent"))
        return self.agents[-1]

    def add_trainer(self, **settings: object) -> Worker:
        """Add a trainer, not started yet."""
        self.trainers.append(self._worker("trainer", len(self.trainers), settings, "trainer"))
        return self.trainers[-1]

    def start_gateway(self, **settings: object) -> Gateway:
        """Add a gateway, start it, and wait until it is ready."""
        gateway = self.add_gateway(**settings)
        start_all(gateway)
        return gateway

    def start_workers(self, consumers: int = START_CONSUMERS, **settings: object) -> None:
        """Add one producer and some consumers, start them, and wait until they are ready."""
        start_all(self.add_producer(**settings), *(self.add_consumer(**settings) for _ in range(consumers)))

    def log_tails(self) -> str:
        """Return the end of each log, for debugging."""
        servers: list[Server] = [*self.workers, *self.servers.all]
        return "\n".join(f"--- {server.name}: the end of its log\n{server.log_tail()}" for server in servers)

    def _register_models(self) -> None:
        with Database(self.settings) as database:
            for number, archive in enumerate(self.servers.torchserve.archives):
                card = card_of(archive)
                what = [card[part] for part in ("name", "version", "digest", "preprocessing", "labels")]
                database.run(models.register, *what)
                if number == 0:
                    database.run(models.promote, *what[:2])

    def _worker(self, name: str, number: int, settings: Mapping[str, object], module: str = "") -> Worker:
        return Worker(
            f"{name}-{number}",
            module or name,
            self._folder,
            self.servers.leash,
            {**self._common(), **settings},
            self.servers.s3.environment,
        )

    def _free_port(self) -> int:
        """Reserve a port until the stack ends."""
        self._ports.append(free_port())
        return self._ports[-1]

    def _variables(self) -> dict[str, str]:
        named = {f"SLUICE_{name.upper()}": str(value) for name, value in self._common().items()}
        return {**named, **self.servers.s3.environment}

    def _common(self) -> dict[str, object]:
        return {
            "database_url": self.servers.database.url(self.database),
            "s3_endpoint": self.servers.s3.endpoint,
            "torchserve": self.servers.torchserve.address,
            **self._settings,
        }

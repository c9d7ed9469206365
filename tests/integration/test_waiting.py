"""Processes that start before their database, its tables, and their neighbours' names exist."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from sluice.ledger import schema
from sluice.settings import read_settings
from tools.stack import Servers, Stack, free_port
from tools.stack.workers import Worker

BEGINS_WITHIN_SECONDS = 5.0
"""Two seconds, on an idle machine."""


@contextmanager
def forwarding(port: int, to: int) -> Iterator[None]:
    """Forward the port `port` to the database at `to`."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken, _ = listening.accept()
                onward = socket.create_connection(("127.0.0.1", to))
                for pair in ((taken, onward), (onward, taken)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", port))) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def workers(servers: Servers, database_name: str, tmp_path: Path) -> Iterator[tuple[Worker, Worker, int]]:
    """Return a started producer and consumer, and the port at which they expect a database."""
    port = free_port()
    url = servers.database.create(database_name).replace(f":{servers.database.port}/", f":{port}/")
    bind = f"tcp://127.0.0.1:{free_port()}"
    settings = {"database_url": url, "bind": bind, "producers": bind, "torchserve": "http://127.0.0.1:9"}
    made = tuple(
        Worker(module, module, tmp_path, servers.leash, settings, {"SLUICE_HEARTBEAT": "0.5"})
        for module in ("producer", "consumer")
    )
    for worker in made:
        worker.start()
    yield made[0], made[1], port
    for worker in made:
        worker.stop()


def says(worker: Worker, what: str, seconds: float = 30.0) -> None:
    worker.wait_until(lambda: what in worker.why_not_ready(), seconds)


def test_workers_wait_for_a_database_and_its_tables_and_say_so(
    servers: Servers, database_name: str, workers: tuple[Worker, Worker, int]
) -> None:
    producer, consumer, port = workers
    pids = producer.pid, consumer.pid
    for worker in (producer, consumer):
        says(worker, "Connection refused")
    with forwarding(port, servers.database.port):
        for worker in (producer, consumer):
            says(worker, "the ledger has no tables yet: run `sluice db upgrade`", BEGINS_WITHIN_SECONDS)
        schema.upgrade(read_settings(database_url=servers.database.url(database_name)))
        upgraded = time.monotonic()
        for worker in (producer, consumer):
            # No model is known, so TorchServe isn't probed yet; it only needs an address.
            worker.wait_ready(upgraded + BEGINS_WITHIN_SECONDS - time.monotonic())
        assert (producer.pid, consumer.pid) == pids
        for worker in (producer, consumer):
            worker.stop()
            said = worker.log.read_text()
            assert worker.exit_code == 0
            assert "Traceback" not in said
            assert said.count("Connection refused") == 1, "each reason once"


def test_tables_that_go_stop_no_worker(
    servers: Servers, database_name: str, workers: tuple[Worker, Worker, int]
) -> None:
    """As when a person downgrades and upgrades them."""
    producer, consumer, port = workers
    settings = read_settings(database_url=servers.database.url(database_name))
    schema.upgrade(settings)
    with forwarding(port, servers.database.port):
        producer.wait_ready()
        schema.downgrade(settings, "base")
        says(producer, "no tables yet")
        schema.upgrade(settings)
        producer.wait_ready(BEGINS_WITHIN_SECONDS)
        assert consumer.pid is not None


def test_a_gateway_that_waiting_does_not_help_ends_and_says_why(stack: Stack) -> None:
    """It answered pages for ever, and knew nothing of its ledger."""
    wrong = stack.servers.database.url("nowhere")
    gateway = stack.add_gateway(database_url=wrong, gateway_anonymous="user")
    gateway.start()
    assert gateway.wait(60.0) == 2
    said = gateway.log.read_text()
    assert "gateway: there is no such database" in said
    assert "Traceback" not in said


def test_an_agent_says_why_it_knows_no_models(stack: Stack, tmp_path: Path) -> None:
    wrong = stack.servers.database.url("nowhere")
    agent = stack.add_agent(stack.servers.torchserve, database_url=wrong, model_store=f"file://{tmp_path}/")
    agent.start()
    says(agent, "models: there is no such database")

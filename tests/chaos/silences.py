"""Two ways for a consumer to fall silent with open connections: frozen, and disconnected from the network."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, Protocol
from urllib.parse import urlsplit

import pytest

from tools.stack import Stack
from tools.stack.server import Server
from tools.stack.workers import Worker

CHUNK: Final = 65_536


class Silence(Protocol):
    """A started consumer, and how to silence it."""

    def begin(self) -> None:
        """Silence it."""

    def end(self) -> None:
        """Let it continue."""


class Frozen:
    """A process that is stopped: its kernel keeps its connections alive."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def begin(self) -> None:
        os.kill(self._worker.pid or 0, signal.SIGSTOP)

    def end(self) -> None:
        os.kill(self._worker.pid or 0, signal.SIGCONT)


class CutOff:
    """A machine whose cable is pulled: nobody is notified, and data in transit is lost."""

    def __init__(self, link: str) -> None:
        self._link = link

    def begin(self) -> None:
        ip("link", "set", self._link, "down")

    def end(self) -> None:
        ip("link", "set", self._link, "up")


@contextmanager
def frozen(stack: Stack, _: pytest.MonkeyPatch) -> Iterator[Silence]:
    """Start a consumer that can be frozen."""
    worker = stack.add_consumer()
    worker.start()
    silence = Frozen(worker)
    try:
        yield silence
    finally:
        silence.end()


@contextmanager
def cut_off(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """Start a consumer in its own network namespace, with one link to the servers."""
    name, link = f"sluice-{os.getpid()}", f"sl{os.getpid()}"
    host, guest = (f"10.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.{last}" for last in (1, 2))
    with ExitStack() as undo:
        try:
            ip("netns", "add", name)
            undo.callback(ip, "netns", "delete", name)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("address", "add", f"{host}/30", "dev", link)
            ip("link", "set", link, "up")
            ip("-n", name, "address", "add", f"{guest}/30", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespace can be made here: {error}")
        settings: dict[str, object] = {}
        for setting, address in (
            ("database_url", stack.settings.database_url.get_secret_value()),
            ("producers", stack.settings.bind),
            ("torchserve", stack.servers.torchserve.address),
        ):
            here = urlsplit(address).port or 0
            there = undo.enter_context(forwarded(host, here))
            settings[setting] = address.replace(f"127.0.0.1:{here}", f"{host}:{there}")
        worker = stack.add_consumer(**settings)
        inside = ("ip", "netns", "exec", name)
        monkeypatch.setattr(worker, "spawn", lambda command, env: Server.spawn(worker, [*inside, *command], env))
        worker.start()
        undo.callback(worker.kill)
        yield CutOff(link)


def ip(*arguments: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def forwarded(host: str, port: int) -> Iterator[int]:
    """Forward connections to an address of this machine, on the returned port, to a server on loopback."""
    with socket.create_server((host, 0)) as listening, ExitStack() as open_ones:

        def accept() -> None:
            with suppress(OSError):  # the listening socket is shut down at the end
                while True:
                    near, _ = listening.accept()
                    far = socket.create_connection(("127.0.0.1", port))
                    open_ones.callback(near.close)
                    open_ones.callback(far.close)
                    threading.Thread(target=pump, args=(near, far), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def pump(one: socket.socket, other: socket.socket) -> None:
    """Forward bytes both ways until one side ends."""
    with selectors.DefaultSelector() as selector, one, other, suppress(OSError):
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for ready, _ in selector.select():
                assert isinstance(ready.fileobj, socket.socket)
                data = ready.fileobj.recv(CHUNK)
                if not data:
                    return
                ready.data.sendall(data)

"""Which worker reaches which server through which proxy, so that one worker's or all workers' links can be broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tools.stack import Servers, free_port
from tools.stack.ports import give_back
from tools.stack.proxy import Proxy, ProxyLoop
from tools.storm.unknown.draw import Cast

USER: Final = "storm"
"""Not the servers' own user, whom `read_only` doesn't restrict."""


class Links:
    """A proxy for each worker and each of its servers; each producer counts as a server of the consumers."""

    def __init__(self, loop: ProxyLoop, servers: Servers, database: str, cast: Cast) -> None:
        self._proxies: dict[tuple[str, str], list[Proxy]] = {}
        self._servers = servers
        self._schema = database
        self._binds = [free_port() for _ in range(cast.shards + 1)]
        ports = {
            "database": servers.database.port,
            "s3": servers.s3.port,
            "torchserve": servers.torchserve.ports["inference_port"],
        }
        for number in range(cast.consumers):
            name = f"consumer-{number}"
            self._proxies[name, "producers"] = [loop.add(port) for port in self._binds]
            for to, port in ports.items():
                self._proxies[name, to] = [loop.add(port)]
        for number in range(cast.shards + 1):
            for to in ("database", "s3"):
                self._proxies[f"producer-{number}", to] = [loop.add(ports[to])]

    def find(self, victim: str) -> list[Proxy]:
        """Return the proxies of a link such as `consumer-1:database`; `*` stands for all workers."""
        worker, _, to = victim.partition(":")
        return [
            proxy
            for (name, end), found in self._proxies.items()
            for proxy in found
            if worker in {"*", name} and end == to
        ]

    def settings(self, worker: str) -> Iterator[tuple[str, object]]:
        """Return the settings that make a worker use its proxies."""
        password = self._servers.database.password
        yield "database_url", f"mysql://{USER}:{password}@127.0.0.1:{self._port(worker, 'database')}/{self._schema}"
        yield "s3_endpoint", f"http://127.0.0.1:{self._port(worker, 's3')}"
        if worker.startswith("consumer"):
            yield "torchserve", f"http://127.0.0.1:{self._port(worker, 'torchserve')}"
            proxies = self._proxies[worker, "producers"]
            yield "producers", ",".join(f"tcp://127.0.0.1:{proxy.port}" for proxy in proxies)
        else:
            yield "bind", f"tcp://127.0.0.1:{self._binds[int(worker.rpartition('-')[2])]}"

    def heal(self) -> None:
        """Repair all links."""
        for found in self._proxies.values():
            for proxy in found:
                proxy.heal()

    def close(self) -> None:
        """Release the ports."""
        for port in self._binds:
            give_back(port)

    def _port(self, worker: str, to: str) -> int:
        return self._proxies[worker, to][0].port

"""The sockets that a gateway listens on; an address that can't be had is a wrong setting, and nothing starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from sluice.errors import ConfigurationError

BACKLOG: Final = 2048


async def listen(bind: str) -> list[socket.socket]:
    """Return sockets that listen on all addresses of SLUICE_GATEWAY_BIND."""
    host, port = _address(bind)
    with contextlib.ExitStack() as on_fault:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            listeners = [
                on_fault.enter_context(_listener(family, place)) for family, _, _, _, place in dict.fromkeys(found)
            ]
        except OSError as error:
            raise ConfigurationError(
                f"SLUICE_GATEWAY_BIND is {bind}: pages and API can't be served there ({error.strerror}): "
                "name an address of this machine with a free port"
            ) from error
        on_fault.pop_all()
    return listeners


def _listener(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - takes it by position only
    except OSError:
        listener.close()
        raise
    return listener


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 2**16:
        raise ConfigurationError(f"SLUICE_GATEWAY_BIND is {bind!r}: expected HOST:PORT, as 127.0.0.1:8000")
    return host.strip("[]"), int(port)

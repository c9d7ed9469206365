"""Ports that stay reserved until their server binds them.

A port is below the kernel's range for outgoing connections, and a lock file keeps other stacks of this user from taking
it as long as this process lives, so a killed server finds its port again.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

RANGE: Final = range(20_000, 32_000)
TRIES: Final = 200

_held: dict[int, int] = {}
"""Port -> the lock file's descriptor."""


def free_port(wanted: int | None = None) -> int:
    """Reserve a port of 127.0.0.1 for this process's servers: the wanted one, if it is free."""
    locks = Path(tempfile.gettempdir()) / f"sluice-ports-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    for port in (*([] if wanted is None else [wanted]), *random.sample(RANGE, TRIES)):
        if port in _held:
            continue
        descriptor = os.open(locks / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            bind(port)
        except OSError:
            os.close(descriptor)
            continue
        _held[port] = descriptor
        return port
    raise RuntimeError(f"none of {TRIES} ports between {RANGE.start} and {RANGE.stop} is free on 127.0.0.1")


def bind(port: int) -> None:
    """Bind a port of 127.0.0.1 and free it again; OSError says why a server can't have it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def give_back(port: int) -> None:
    """Release the port after its server has ended for good."""
    os.close(_held.pop(port))
